"""Links, addresses, routes and neighbours as rtnetlink's bytes, and back. No I/O."""

import socket
import struct
from collections.abc import Callable
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from pybernetes.netlink.message import Message, attribute, attributes, pairs, string

from .model import Address, Hop, Link, Neighbour, Route

IFINFO = struct.Struct("=BxHiII")
IFADDR = struct.Struct("=BBBBI")
RTMSG = struct.Struct("=BBBBBBBBI")
NDMSG = struct.Struct("=BxxxiHBB")
U32 = struct.Struct("=I")
CACHEINFO = struct.Struct("=IIII")
"""Of an address: seconds preferred, seconds valid, and two times that the kernel fills in."""
_NEXTHOP = struct.Struct("=HBBi")

IFF_UP = 1
FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}
SCOPES = {"global": 0, "link": 253, "host": 254}
PERMANENT = 0x80
_DEPRECATED = 0x20
_KINDS = {"unicast": 1, "local": 2, "blackhole": 6, "unreachable": 7, "prohibit": 8}
_KIND_NAMES = {number: name for name, number in _KINDS.items()}
_ANY_SCOPE = 255
_SCOPE_NAMES = {number: name for name, number in SCOPES.items()}
_ONLINK = 4
_STATIC = 4


def link_options(*, mtu: int = 0, mac: str = "", master: int = 0) -> bytes:
    """Attributes of a link that are given; `master` is an index."""
    options = attribute(4, U32.pack(mtu)) if mtu else b""
    options += attribute(1, mac_bytes(mac)) if mac else b""
    return options + (attribute(10, U32.pack(master)) if master else b"")


def mac_bytes(mac: str) -> bytes:
    """Six bytes of "02:00:00:00:00:01"."""
    return bytes.fromhex(mac.replace(":", ""))


def mac_text(mac: bytes) -> str:
    """The spelling that `mac_bytes` reads; "" for none."""
    return mac.hex(":") if mac else ""


def _number(values: dict[int, bytes], kind: int) -> int:
    value = values.get(kind)
    return int.from_bytes(value, "little" if struct.pack("=H", 1)[0] else "big") if value else 0


def link(entry: Message) -> Link:
    """What a NEWLINK message says."""
    _, _, index, flags, _ = IFINFO.unpack_from(entry.body)
    values = attributes(entry.body, IFINFO.size)
    return Link(
        index=index,
        name=string(values.get(3, b"")),
        kind=string(attributes(values.get(18, b"")).get(1, b"")),
        up=bool(flags & IFF_UP),
        carrier=bool(_number(values, 33)),
        master=_number(values, 10),
        mtu=_number(values, 4),
        mac=mac_text(values.get(1, b"")),
    )


def address(entry: Message, names: dict[int, str]) -> Address:
    """What a NEWADDR message says; `names` are the links' by index."""
    _, prefix, flags, scope, index = IFADDR.unpack_from(entry.body)
    values = attributes(entry.body, IFADDR.size)
    text = f"{ip_address(values.get(2) or values[1])}/{prefix}"
    quiet = scope == SCOPES["host"] or bool(flags & _DEPRECATED)
    return Address(address=text, link=names.get(index, ""), quiet=quiet)


def route_words(route: Route) -> str:
    """A route as ip(8) would name it, for errors."""
    words: list[str] = [route.kind] if route.kind != "unicast" else []
    words.append(route.destination)
    for hop in route.hops or (Hop(via=route.via, link=route.link),):
        words += ["via", hop.via] if hop.via else []
        words += ["dev", hop.link] if hop.link else []
    words += ["src", route.source] if route.source else []
    return " ".join(words)


def _gateway(via: str, version: int) -> bytes:
    """A gateway of the other family (IPv4 by way of IPv6) has an attribute of its own."""
    address = ip_address(via)
    if address.version == version:
        return attribute(5, address.packed)
    return attribute(18, struct.pack("=H", FAMILY[address.version]) + address.packed)


def _network(destination: str) -> IPv4Network | IPv6Network:
    return ip_network("0.0.0.0/0" if destination == "default" else destination)


def route_body(route: Route, index_of: Callable[[str], int], *, deleting: bool) -> bytes:
    """The body of a request about a route; `index_of` finds a link by name. When deleting, any scope is meant."""
    network = _network(route.destination)
    scope = _ANY_SCOPE if deleting else SCOPES[route.scope]
    flags = _ONLINK if route.onlink else 0
    table = route.table if route.table <= 255 else 0
    family = FAMILY[network.version]
    body = RTMSG.pack(family, network.prefixlen, 0, 0, table, _STATIC, scope, _KINDS[route.kind], flags)
    body += attribute(1, network.network_address.packed) if network.prefixlen else b""
    body += attribute(15, U32.pack(route.table))
    body += _gateway(route.via, network.version) if route.via else b""
    body += attribute(4, U32.pack(index_of(route.link))) if route.link else b""
    body += attribute(7, ip_address(route.source).packed) if route.source else b""
    body += attribute(6, U32.pack(route.metric)) if route.metric else b""
    if route.hops:
        body += attribute(9, b"".join(_hop(hop, network.version, index_of, flags) for hop in route.hops))
    return body


def _hop(hop: Hop, version: int, index_of: Callable[[str], int], flags: int) -> bytes:
    options = _gateway(hop.via, version) if hop.via else b""
    index = index_of(hop.link) if hop.link else 0
    return _NEXTHOP.pack(_NEXTHOP.size + len(options), flags, hop.weight - 1, index) + options


def _hops(data: bytes, names: dict[int, str]) -> tuple[Hop, ...]:
    found = []
    while len(data) >= _NEXTHOP.size:
        length, _, weight, index = _NEXTHOP.unpack_from(data)
        via = _via(attributes(data[:length], _NEXTHOP.size))
        found.append(Hop(via=via, link=names.get(index, ""), weight=weight + 1))
        data = data[(length + 3) & ~3 :]
    return tuple(found)


def _via(values: dict[int, bytes]) -> str:
    if 5 in values:
        return str(ip_address(values[5]))
    return str(ip_address(values[18][2:])) if 18 in values else ""


def route(entry: Message, names: dict[int, str]) -> Route:
    """What a NEWROUTE message says; `names` are the links' by index."""
    family, prefix, _, _, table, _, scope, kind, flags = RTMSG.unpack_from(entry.body)
    values = dict(pairs(entry.body, RTMSG.size))
    default = b"\0" * (4 if family == socket.AF_INET else 16)
    return Route(
        destination=f"{ip_address(values.get(1, default))}/{prefix}"
        if prefix or family != socket.AF_INET
        else "default",
        via=_via(values),
        link=names.get(_number(values, 4), ""),
        kind=_KIND_NAMES.get(kind, "unicast"),  # type: ignore[arg-type]
        scope=_SCOPE_NAMES.get(scope, "global"),  # type: ignore[arg-type]
        source=str(ip_address(values[7])) if 7 in values else "",
        hops=_hops(values.get(9, b""), names),
        metric=_number(values, 6),
        table=_number(values, 15) or table,
        onlink=bool(flags & _ONLINK),
    )


def neighbour(entry: Message, names: dict[int, str]) -> Neighbour | None:
    """None for entries that are no IP neighbour's (bridge forwarding entries, ones without an address)."""
    family, index, state, _, _ = NDMSG.unpack_from(entry.body)
    values = attributes(entry.body, NDMSG.size)
    if family not in FAMILY.values() or 1 not in values:
        return None
    return Neighbour(
        link=names.get(index, ""),
        address=str(ip_address(values[1])),
        mac=mac_text(values.get(2, b"")),
        permanent=bool(state & PERMANENT),
    )
