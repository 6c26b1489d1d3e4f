"""Where node ports are open: which of a node's addresses. Pure, but for the last two, which speak to the kernel.

The words are those of kube-proxy's --nodeport-addresses.
"""

from collections.abc import Iterable, Sequence
from ipaddress import ip_address, ip_interface, ip_network
from typing import Protocol

from pybernetes.api.objects import Obj
from pybernetes.netlink import sysctl
from pybernetes.netlink.links import AddressWatch, Links

PRIMARY = "primary"
"""The node's own address of each family, in place of ranges."""

LOOPBACK = "127.0.0.1"
"""Where node ports are open to the node itself, if at all. No setting lets the kernel route ::1."""


class BadAddresses(ValueError):
    """What cannot be a selection of addresses; the text says why."""


def checked(wanted: Sequence[str]) -> None:
    """Raises BadAddresses unless it is `primary` alone, or CIDRs."""
    if PRIMARY in wanted and len(wanted) > 1:
        raise BadAddresses(f"{PRIMARY!r} and CIDRs exclude each other")
    for each in wanted:
        if each != PRIMARY and not _is_range(each):
            raise BadAddresses(f"{each!r} is neither a CIDR nor {PRIMARY!r}")


def _is_range(text: str) -> bool:
    try:
        ip_network(text, strict=False)
    except ValueError:
        return False
    return "/" in text


def selected(ranges: Sequence[str], *, own: Iterable[str]) -> tuple[str, ...]:
    """Those of a namespace's own addresses that are in one of the ranges; all of them for no range."""
    if not ranges:
        return tuple(own)
    networks = [ip_network(each, strict=False) for each in ranges]
    return tuple(each for each in own if any(ip_address(each) in network for network in networks))


def primary_addresses(node: Obj | None) -> tuple[str, ...]:
    """The first internal address of each family in a Node's status, else the first external one; () for no Node.

    An address that is none (a cloud provider may write anything) does not count.
    """
    found: dict[int, str] = {}
    listed = ((node or {}).get("status") or {}).get("addresses") or ()
    for kind in ("InternalIP", "ExternalIP"):
        for each in listed:
            address = _address(each.get("address", "")) if each.get("type") == kind else ""
            if address:
                found.setdefault(6 if ":" in address else 4, address)
    return tuple(found.values())


def _address(text: str) -> str:
    """As the kernel writes it, "" if it is none."""
    try:
        return str(ip_address(text))
    except ValueError:
        return ""


class OwnAddresses(Protocol):
    """The addresses that a node's namespace has."""

    def read(self) -> Sequence[str]:
        """All but those of loopback and of a single link. May block; raises OSError."""
        ...

    async def changed(self) -> None:
        """Return when they may have changed since the last call. Raises OSError."""
        ...

    def close(self) -> None: ...


class KernelAddresses:
    """Those of a namespace (None: the process's own)."""

    def __init__(self, namespace: str | None) -> None:
        self.namespace = namespace
        self._watch: AddressWatch | None = None

    def read(self) -> Sequence[str]:
        with Links(self.namespace) as links:
            found = [ip_interface(each.address).ip for each in links.addresses()]
        usable = (str(each) for each in found if not each.is_loopback and not each.is_link_local)
        return tuple(dict.fromkeys(usable))

    async def changed(self) -> None:
        """See OwnAddresses. The first call returns at once: nobody watched before."""
        if self._watch is None:
            self._watch = AddressWatch(self.namespace)
            return
        await self._watch.wait()

    def close(self) -> None:
        if self._watch is not None:
            self._watch.close()
            self._watch = None


def route_localnet(namespace: str | None, on: bool) -> None:
    """Whether packets may leave and enter links with an address of loopback. Raises OSError."""
    sysctl.write("net.ipv4.conf.all.route_localnet", int(on), namespace=namespace)
