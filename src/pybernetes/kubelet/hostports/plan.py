"""From pods to what the kernel is told: elements, the operations between two states of them, and connections that a
change leaves behind. Pure.
"""

from collections.abc import Iterable, Iterator, Mapping
from ipaddress import ip_address

from pybernetes.netlink.conntrack import SCTP, UDP, Match
from pybernetes.netlink.nft import AddElements, AddTable, Data, DeleteElements, DeleteTable, Operation

from .layout import Layout, field, packed
from .mapping import PROTOCOLS, PodPorts

Elements = Mapping[str, Mapping[bytes, Data]]
"""The content of the table's sets by their names."""

NONE: Elements = {"addresses": {}, "ports": {}, "hairpin": {}}


def elements(pods: Iterable[PodPorts], version: int) -> Elements:
    """What the sets of that IP version hold; of two pods with one port the later has it."""
    addresses: dict[bytes, Data] = {}
    ports: dict[bytes, Data] = {}
    hairpin: dict[bytes, Data] = {}
    for pod in pods:
        own = pod.address_of(version)
        if not own:
            continue
        for each in pod.mappings:
            if not each.is_for(version):
                continue
            key = field(PROTOCOLS[each.protocol], 1) + field(each.host_port, 2)
            target = packed(own) + field(each.container_port, 2)
            if each.address:
                addresses[packed(each.address) + key] = target
            else:
                ports[key] = target
            hairpin[packed(own) * 2] = None
    return {"addresses": addresses, "ports": ports, "hairpin": hairpin}


def is_empty(wanted: Elements) -> bool:
    return not any(wanted.values())


def replacement(layout: Layout, wanted: Elements) -> list[Operation]:
    """The table anew, whatever is there; gone if it is to hold nothing."""
    gone: list[Operation] = [AddTable(), DeleteTable()]
    return gone if is_empty(wanted) else [*gone, *layout.skeleton(), *changes(NONE, wanted)]


def changes(before: Elements, after: Elements) -> list[Operation]:
    """Operations on a table with the content `before`, after which it is `after`."""
    operations: list[Operation] = []
    for name, wanted in after.items():
        held = before[name]
        gone = [key for key, data in held.items() if key not in wanted or wanted[key] != data]
        new = {key: data for key, data in wanted.items() if key not in held or held[key] != data}
        operations += [DeleteElements(name, gone)] if gone else []
        operations += [AddElements(name, new)] if new else []
    return operations


def stale(before: Elements, after: Elements, version: int) -> Iterator[Match]:
    """Connections of UDP and SCTP that the change leaves behind: those to a pod that the port no longer leads to, and
    those that were tracked to the port before it led to where it does now. TCP ends by itself.
    """
    for name in ("addresses", "ports"):
        for key, data in before[name].items():
            if after[name].get(key) != data and isinstance(data, bytes):
                yield from _left(key, version, target=data)
        for key, data in after[name].items():
            if before[name].get(key) != data:
                yield from _left(key, version)


def _left(key: bytes, version: int, *, target: bytes = b"") -> Iterator[Match]:
    length = 4 if version == 4 else 16
    address, protocol, port = key[:-8], key[-8], int.from_bytes(key[-4:-2], "big")
    if protocol in (UDP, SCTP):
        yield Match(
            protocol=protocol,
            family=version,
            destination=str(ip_address(address)) if address else "",
            port=port,
            backend=str(ip_address(target[:length])) if target else "",
            backend_port=int.from_bytes(target[length : length + 2], "big"),
        )
