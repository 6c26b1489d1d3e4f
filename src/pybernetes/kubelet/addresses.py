"""Addresses of this node's pods: one file each, named by the address and holding the pod's uid, so nothing is lost."""

import os
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path

_RESERVED_LOW = 2
"""The network's own address and the first one, which other set-ups give to a bridge."""


class Exhausted(Exception):
    """The node's pod range has no free address."""


class AddressPool:
    """Addresses of one range. The next one is taken in turn, so that one just freed rests for long."""

    def __init__(self, directory: Path, pod_range: str) -> None:
        self.directory = directory
        self.network: IPv4Network | IPv6Network = ip_network(pod_range)
        directory.mkdir(parents=True, exist_ok=True)
        self._owners = {path.name: path.read_text() for path in directory.iterdir() if not path.name.startswith(".")}
        self._by_owner = {owner: address for address, owner in self._owners.items()}
        self._last = self._number(max(self._owners, key=self._age, default=""))

    def _age(self, address: str) -> float:
        return (self.directory / address).stat().st_mtime

    def _number(self, address: str) -> int:
        from ipaddress import ip_address

        try:
            number = int(ip_address(address)) - int(self.network.network_address)
        except ValueError:
            return _RESERVED_LOW - 1
        return number if 0 <= number < self.network.num_addresses else _RESERVED_LOW - 1

    @property
    def owners(self) -> set[str]:
        return set(self._by_owner)

    def of(self, owner: str) -> str:
        """The address an owner has; "" for none."""
        return self._by_owner.get(owner, "")

    def take(self, owner: str) -> str:
        """The owner's address, or a free one. Raises Exhausted."""
        if found := self.of(owner):
            return found
        size = self.network.num_addresses - 1 - _RESERVED_LOW
        for step in range(1, size + 1):
            number = _RESERVED_LOW + (self._last - _RESERVED_LOW + step) % size
            address = str(self.network[number])
            if address not in self._owners:
                self._last = number
                self._keep(address, owner)
                return address
        raise Exhausted(f"no free address in {self.network}: {len(self._owners)} pods have one")

    def release(self, owner: str) -> None:
        address = self._by_owner.pop(owner, "")
        if address:
            del self._owners[address]
            (self.directory / address).unlink(missing_ok=True)

    def _keep(self, address: str, owner: str) -> None:
        temporary = self.directory / f".{address}"
        temporary.write_text(owner)
        os.replace(temporary, self.directory / address)
        self._owners[address] = owner
        self._by_owner[owner] = address
