"""Cluster IPs and node ports: who has which, in memory, rebuilt from the Services at start.

A claim is made before the Service is written and settled after: with what was written, or with what was there before.
So a failed write gives everything back and nothing is ever half stored.
"""

import random
from collections.abc import Callable, Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Generic, TypeVar

from pybernetes.api.errors import FieldError, InternalError, Invalid
from pybernetes.api.objects import Obj, name_of

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address
T = TypeVar("T", int, str)

_WITH_PORTS = ("NodePort", "LoadBalancer")


class _Pool(Generic[T]):
    """Values and their owners."""

    def __init__(self) -> None:
        self.owners: dict[T, str] = {}
        self.held: dict[str, set[T]] = {}

    def taken(self, value: T, owner: str) -> bool:
        """By somebody else."""
        return self.owners.get(value, owner) != owner

    def take(self, value: T, owner: str) -> None:
        self.owners[value] = owner
        self.held.setdefault(owner, set()).add(value)

    def settle(self, owner: str, values: Iterable[T]) -> None:
        """`owner` has exactly these."""
        for value in self.held.pop(owner, ()):
            if self.owners.get(value) == owner:
                del self.owners[value]
        for value in values:
            if not self.taken(value, owner):
                self.take(value, owner)


class Allocator:
    """`ranges` are the service ranges, the first one's family is the default; `ports` are first and last node port."""

    def __init__(self, ranges: Sequence[str], ports: tuple[int, int], *, rng: random.Random | None = None) -> None:
        self.ranges: tuple[Network, ...] = tuple(ip_network(one) for one in ranges)
        self.ports = ports
        self._rng = rng or random.Random()
        self._ips: _Pool[str] = _Pool()
        self._node_ports: _Pool[int] = _Pool()

    def settle(self, key: str, service: Obj | None) -> None:
        """What the Service under `key` now is; None when it is gone."""
        spec = (service or {}).get("spec") or {}
        self._ips.settle(key, _addresses(spec))
        self._node_ports.settle(key, _node_ports(spec))

    def claim(self, key: str, new: Obj, old: Obj | None) -> None:
        """Give `new` the addresses and ports it needs, in place; what it names itself is checked. Raises Invalid.

        What an update leaves out was carried over from `old` before (the Service's strategy).
        """
        spec = new["spec"]
        try:
            problems = [*self._claim_ips(key, spec), *self._claim_ports(key, spec)]
            if problems:
                raise Invalid.of("Service", name_of(new), problems)
        except BaseException:
            self.settle(key, old)
            raise

    def _claim_ips(self, key: str, spec: Obj) -> list[FieldError]:
        if spec.get("type") == "ExternalName":
            return []
        families = self._families(spec)
        given = list(spec.get("clusterIPs") or ([spec["clusterIP"]] if spec.get("clusterIP") else []))
        if given[:1] == ["None"]:
            spec["clusterIP"], spec["clusterIPs"] = "None", given
            spec["ipFamilies"] = families if spec.get("selector") else (spec.get("ipFamilies") or families)
            return []
        problems = self._foreign(families)
        if problems is None:
            return []  # no families at all: the validation of the Service says it better
        for address in given:
            problem = self._claim_ip(key, address)
            if problem:
                text = f"failed to allocate IP {address}: {problem}"
                problems.append(FieldError.invalid("spec.clusterIPs", given, text))
        if problems:
            return problems
        for family in families[len(given) :]:
            given.append(self._next_ip(key, family))
        if given:
            spec["clusterIP"], spec["clusterIPs"] = given[0], given
            spec["ipFamilies"] = [_family(one) for one in given] if all(map(_valid, given)) else families
        return []

    def _foreign(self, families: Sequence[str]) -> list[FieldError] | None:
        """What is wrong with families that this cluster has no range of; None for what is no family."""
        ours = {f"IPv{network.version}" for network in self.ranges}
        if not {"IPv4", "IPv6"}.issuperset(families):
            return None
        return [
            FieldError.invalid(f"spec.ipFamilies[{index}]", family, "not configured on this cluster")
            for index, family in enumerate(families)
            if family not in ours
        ]

    def _families(self, spec: Obj) -> list[str]:
        """The families it is to have, and its policy filled in."""
        ours = [f"IPv{network.version}" for network in self.ranges]
        asked = list(spec.get("ipFamilies") or ())
        given = [_family(one) for one in spec.get("clusterIPs") or () if _valid(one)]
        found = asked or given
        policy = spec.setdefault("ipFamilyPolicy", "SingleStack" if len(found) < 2 else "RequireDualStack")
        if not found:
            found = ours[:1]
        if policy in ("PreferDualStack", "RequireDualStack") and len(ours) > 1 and len(found) < 2:
            found = [found[0], *(one for one in ours if one != found[0])]
        return found if policy != "SingleStack" else found[:1]

    def _claim_ip(self, key: str, text: str) -> str:
        """Take this one; returns why not."""
        if not _valid(text):
            return ""  # the validation of the Service says it better
        address = ip_address(text)
        ours = [network for network in self.ranges if network.version == address.version]
        if not any(address in network and self._usable(address, network) for network in ours):
            ranges = ", ".join(str(network) for network in ours or self.ranges)
            return f"the provided IP ({address}) is not in the valid range. The range of valid IPs is {ranges}"
        if self._ips.taken(str(address), key):
            return "provided IP is already allocated"
        self._ips.take(str(address), key)
        return ""

    def _usable(self, address: Address, network: Network) -> bool:
        return address != network.network_address and (network.version == 6 or address != network.broadcast_address)

    def _next_ip(self, key: str, family: str) -> str:
        """A free address; while they last, of those that are not kept for choosing by hand (KEP-3070)."""
        network = next(one for one in self.ranges if f"IPv{one.version}" == family)
        size = min(network.num_addresses, 1 << 20) - (2 if network.version == 4 else 1)
        low = min(max(16, size // 16), 256) if size > 32 else 0
        found = self._pick(low, size, lambda number: self._ips.taken(text_at(network, number), ""))
        if found is None:
            raise InternalError("failed to allocate a serviceIP: range is full")
        text = text_at(network, found)
        self._ips.take(text, key)
        return text

    def _pick(self, low: int, size: int, taken: Callable[[int], bool]) -> int | None:
        """A random free number of low..size-1, else the first free one of 0..size-1."""
        for _ in range(16):
            if low < size and not taken(number := self._rng.randrange(low, size)):
                return number
        return next((number for number in (*range(low, size), *range(low)) if not taken(number)), None)

    def _claim_ports(self, key: str, spec: Obj) -> list[FieldError]:
        ports: list[Obj] = spec.get("ports") or []
        if spec.get("type") not in _WITH_PORTS:
            return []
        wanted = spec.get("type") == "NodePort" or spec.get("allocateLoadBalancerNodePorts") is not False
        by_number = {port["port"]: port["nodePort"] for port in ports if port.get("nodePort") and port.get("port")}
        problems = []
        for index, port in enumerate(ports):
            number = port.get("nodePort") or 0
            if not number and wanted:
                number = by_number.get(port.get("port"), 0)
            if number:
                problem = self._claim_port(key, number)
                if problem:
                    problems.append(FieldError.invalid(f"spec.ports[{index}].nodePort", number, problem))
            elif wanted:
                number = self._next_port(key)
                by_number.setdefault(port.get("port", 0), number)
            if number:
                port["nodePort"] = number
        return problems or self._claim_health(key, spec)

    def _claim_health(self, key: str, spec: Obj) -> list[FieldError]:
        if spec.get("type") != "LoadBalancer" or spec.get("externalTrafficPolicy") != "Local":
            return []
        number = spec.get("healthCheckNodePort") or 0
        if number:
            problem = self._claim_port(key, number)
            return [FieldError.invalid("spec.healthCheckNodePort", number, problem)] if problem else []
        spec["healthCheckNodePort"] = self._next_port(key)
        return []

    def _claim_port(self, key: str, number: int) -> str:
        low, high = self.ports
        if not low <= number <= high:
            return f"provided port is not in the valid range. The range of valid ports is {low}-{high}"
        if self._node_ports.taken(number, key):
            return "provided port is already allocated"
        self._node_ports.take(number, key)
        return ""

    def _next_port(self, key: str) -> int:
        low, high = self.ports
        size = high - low + 1
        kept = min(max(16, size // 32), 128) if size > 32 else 0
        found = self._pick(kept, size, lambda number: (low + number) in self._node_ports.owners)
        if found is None:
            raise InternalError("failed to allocate a nodePort: range is full")
        self._node_ports.take(low + found, key)
        return low + found


def text_at(network: Network, number: int) -> str:
    """The address of a number: 0 is the first usable one."""
    return str(network[number + 1])


def _valid(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _family(text: str) -> str:
    return f"IPv{ip_address(text).version}"


def _addresses(spec: Obj) -> list[str]:
    found = spec.get("clusterIPs") or ([spec["clusterIP"]] if spec.get("clusterIP") else [])
    return [str(ip_address(one)) for one in found if _valid(one)]


def _node_ports(spec: Obj) -> list[int]:
    found = [port["nodePort"] for port in spec.get("ports") or () if port.get("nodePort")]
    return found + ([spec["healthCheckNodePort"]] if spec.get("healthCheckNodePort") else [])
