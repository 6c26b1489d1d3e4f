"""Links, addresses, routes and neighbours of one namespace over rtnetlink.

`Links(namespace)` opens its socket inside the namespace once; each call is a request and its answer, well under a
millisecond. Adding what is there already is no error, so whatever builds a network may be run again; pairs are the
exception, since nobody knows where the other end is. Errors are OSError with errno and what was attempted.
"""

import errno
import os
import socket
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_interface, ip_network
from types import TracebackType
from typing import Literal, Self

from pybernetes.netlink.message import (
    CREATE,
    EXCLUSIVE,
    REPLACE,
    Message,
    attribute,
    attributes,
    nested,
    pairs,
    string,
    text,
)
from pybernetes.netlink.sockets import ROUTE, Netlink

_NEWLINK, _DELLINK, _GETLINK = 16, 17, 18
_NEWADDR, _DELADDR, _GETADDR = 20, 21, 22
_NEWROUTE, _DELROUTE, _GETROUTE = 24, 25, 26
_NEWNEIGH, _DELNEIGH, _GETNEIGH = 28, 29, 30

_IFINFO = struct.Struct("=BxHiII")
_IFADDR = struct.Struct("=BBBBI")
_RTMSG = struct.Struct("=BBBBBBBBI")
_NDMSG = struct.Struct("=BxxxiHBB")
_NEXTHOP = struct.Struct("=HBBi")
_U32 = struct.Struct("=I")

_IFF_UP = 1
_FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}
_KINDS = {"unicast": 1, "local": 2, "blackhole": 6, "unreachable": 7, "prohibit": 8}
_KIND_NAMES = {number: name for name, number in _KINDS.items()}
_SCOPES = {"global": 0, "link": 253, "host": 254}
_ANY_SCOPE = 255
_SCOPE_NAMES = {number: name for name, number in _SCOPES.items()}
_ONLINK = 4
_PERMANENT = 0x80
_NODAD = 0x02
_STATIC = 4
_AF_BRIDGE = 7
_POLL_SECONDS = 0.002

RouteKind = Literal["unicast", "local", "blackhole", "unreachable", "prohibit"]
Scope = Literal["global", "link", "host"]

MAIN = 254
"""The routing table in use unless rules say otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A link as the kernel shows it. `master` is the index of the bridge it is a port of, 0 for none."""

    index: int
    name: str
    kind: str = ""
    """"veth", "bridge", ...; "" for plain devices and loopback."""
    up: bool = False
    carrier: bool = False
    master: int = 0
    mtu: int = 0
    mac: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """An address with its prefix ("10.244.0.1/24") and the name of the link that has it."""

    address: str
    link: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Hop:
    """One next hop of a multipath route; `weight` is its share."""

    via: str = ""
    link: str = ""
    weight: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One route. `destination` is a network ("10.244.1.0/24") or "default"; `via` and `link`, or `hops`, lead there."""

    destination: str
    via: str = ""
    link: str = ""
    kind: RouteKind = "unicast"
    scope: Scope = "global"
    source: str = ""
    """The address to speak from, "" for the kernel's choice."""
    hops: tuple[Hop, ...] = ()
    metric: int = 0
    table: int = MAIN
    onlink: bool = False
    """The gateway is on the link although no address says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbour:
    """A neighbour entry; `permanent` ones are never asked for or forgotten."""

    link: str
    address: str
    mac: str
    permanent: bool = True


class Links:
    """The links of a namespace (None: the caller's). Not for several threads at once; close it, or use `with`."""

    def __init__(self, namespace: str | None = None) -> None:
        self.netlink = Netlink(ROUTE, namespace=namespace)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self.netlink.close()

    # Links

    def list(self) -> Sequence[Link]:
        """All links, by index."""
        found = self.netlink.dump(_GETLINK, _IFINFO.pack(0, 0, 0, 0, 0), attempt="list links")
        return sorted((_link(entry) for entry in found), key=lambda link: link.index)

    def get(self, name: str) -> Link:
        """One link; raises OSError(ENODEV)."""
        body = _IFINFO.pack(0, 0, 0, 0, 0) + text(3, name)
        return _link(self.netlink.get(_GETLINK, body, attempt=f"get link {name}"))

    def find(self, name: str) -> Link | None:
        """One link, or None when there is none of that name."""
        try:
            return self.get(name)
        except OSError as error:
            if error.errno == errno.ENODEV:
                return None
            raise

    def add_bridge(self, name: str, *, mtu: int = 0, mac: str = "") -> Link:
        """A bridge without spanning tree and without forward delay: a new port carries traffic at once. It is up."""
        if (found := self.find(name)) is not None and found.kind == "bridge":
            return found
        options = nested(2, attribute(5, _U32.pack(0)), attribute(1, _U32.pack(0)))
        return self._add(name, "bridge", options, mtu=mtu, mac=mac)

    def add_veth(
        self,
        name: str,
        peer: str,
        *,
        peer_namespace: str | None = None,
        master: str = "",
        mtu: int = 0,
        mac: str = "",
        peer_mac: str = "",
    ) -> Link:
        """A pair: `name` here, up, a port of `master` if given; `peer` born inside `peer_namespace`, still down.

        Raises OSError(EEXIST) when either name is taken.
        """
        info = _IFINFO.pack(0, 0, 0, 0, 0) + text(3, peer) + _link_options(mtu=mtu, mac=peer_mac)
        if peer_namespace is None:
            return self._add(name, "veth", nested(2, attribute(1, info)), master=master, mtu=mtu, mac=mac)
        fd = os.open(peer_namespace, os.O_RDONLY | os.O_CLOEXEC)
        try:
            info += attribute(28, _U32.pack(fd))
            return self._add(name, "veth", nested(2, attribute(1, info)), master=master, mtu=mtu, mac=mac)
        finally:
            os.close(fd)

    def delete(self, name: str, *, missing_ok: bool = False) -> None:
        """Remove a link (of a pair: both ends). Its name may live on a moment in other namespaces: see wait_gone."""
        body = _IFINFO.pack(0, 0, 0, 0, 0) + text(3, name)
        with _tolerating(errno.ENODEV if missing_ok else 0):
            self.netlink.request(_DELLINK, body, attempt=f"delete link {name}")

    def up(self, name: str) -> None:
        self._set(name, b"", flags=_IFF_UP, change=_IFF_UP, attempt=f"set link {name} up")

    def down(self, name: str) -> None:
        self._set(name, b"", change=_IFF_UP, attempt=f"set link {name} down")

    def set_master(self, name: str, master: str) -> None:
        """Make a link a port of a bridge; "" takes it out."""
        index = self.get(master).index if master else 0
        self._set(name, attribute(10, _U32.pack(index)), attempt=f"set link {name} master {master or 'none'}")

    def set_mtu(self, name: str, mtu: int) -> None:
        self._set(name, attribute(4, _U32.pack(mtu)), attempt=f"set link {name} mtu {mtu}")

    def set_mac(self, name: str, mac: str) -> None:
        self._set(name, attribute(1, _mac_bytes(mac)), attempt=f"set link {name} address {mac}")

    def rename(self, name: str, to: str) -> None:
        """Give a link that is down another name."""
        index = self.get(name).index
        body = _IFINFO.pack(0, 0, index, 0, 0) + text(3, to)
        self.netlink.request(_NEWLINK, body, attempt=f"rename link {name} to {to}")

    def set_hairpin(self, name: str, on: bool = True) -> None:
        """Whether a bridge port may send a frame back out of the port it came in by."""
        body = _IFINFO.pack(_AF_BRIDGE, 0, self.get(name).index, 0, 0) + nested(12, attribute(4, bytes([on])))
        self.netlink.request(_NEWLINK + 3, body, attempt=f"set bridge port {name} hairpin {on}")

    def wait_gone(self, name: str, *, timeout_seconds: float = 5.0) -> None:
        """Wait until no link has the name: a removed namespace's links go a little later than its file.

        Blocks (in an async program call it in a thread); raises TimeoutError.
        """
        deadline = time.monotonic() + timeout_seconds
        while self.find(name) is not None:
            if time.monotonic() > deadline:
                raise TimeoutError(f"link {name} still there after {timeout_seconds} s")
            time.sleep(_POLL_SECONDS)

    def _add(self, name: str, kind: str, data: bytes, *, master: str = "", mtu: int = 0, mac: str = "") -> Link:
        index = self.get(master).index if master else 0
        body = _IFINFO.pack(0, 0, 0, _IFF_UP, _IFF_UP) + text(3, name) + _link_options(mtu=mtu, mac=mac, master=index)
        body += nested(18, text(1, kind), data)
        self.netlink.request(_NEWLINK, body, flags=CREATE | EXCLUSIVE, attempt=f"add {kind} {name}")
        return self.get(name)

    def _set(self, name: str, options: bytes, *, attempt: str, flags: int = 0, change: int = 0) -> None:
        body = _IFINFO.pack(0, 0, 0, flags, change) + text(3, name) + options
        self.netlink.request(_NEWLINK, body, attempt=attempt)

    # Addresses

    def addresses(self, name: str = "") -> Sequence[Address]:
        """The addresses of one link, or of all."""
        names = {link.index: link.name for link in self.list()}
        found = self.netlink.dump(_GETADDR, _IFADDR.pack(0, 0, 0, 0, 0), attempt=f"list addresses {name}".rstrip())
        addresses = (_address(entry, names) for entry in found)
        return [address for address in addresses if name in ("", address.link)]

    def add_address(self, name: str, address: str) -> None:
        """Give a link an address with its prefix ("10.244.0.1/24"); IPv6 is usable at once (no duplicate detection)."""
        body = self._address_body(name, address)
        with _tolerating(errno.EEXIST):
            attempt = f"add address {address} to {name}"
            self.netlink.request(_NEWADDR, body, flags=CREATE | EXCLUSIVE, attempt=attempt)

    def delete_address(self, name: str, address: str, *, missing_ok: bool = False) -> None:
        body = self._address_body(name, address)
        with _tolerating(errno.EADDRNOTAVAIL if missing_ok else 0):
            self.netlink.request(_DELADDR, body, attempt=f"delete address {address} of {name}")

    def _address_body(self, name: str, address: str) -> bytes:
        interface = ip_interface(address)
        packed, family = interface.ip.packed, _FAMILY[interface.version]
        scope = _SCOPES["host"] if interface.ip.is_loopback else 0
        flags = _NODAD if interface.version == 6 else 0
        head = _IFADDR.pack(family, interface.network.prefixlen, flags, scope, self.get(name).index)
        return head + attribute(2, packed) + attribute(1, packed)

    # Routes

    def routes(self, *, table: int = MAIN, version: int = 0) -> Sequence[Route]:
        """The routes of a table, of IPv4 and IPv6 or of one version."""
        names = {link.index: link.name for link in self.list()}
        found: list[Route] = []
        for family in (_FAMILY[version],) if version else (socket.AF_INET, socket.AF_INET6):
            body = _RTMSG.pack(family, 0, 0, 0, 0, 0, 0, 0, 0)
            dumped = self.netlink.dump(_GETROUTE, body, attempt="list routes")
            found += [route for entry in dumped if (route := _route(entry, names)).table == table]
        return found

    def add_route(
        self,
        destination: str,
        *,
        via: str = "",
        link: str = "",
        kind: RouteKind = "unicast",
        scope: Scope | None = None,
        source: str = "",
        hops: Sequence[Hop | str] = (),
        metric: int = 0,
        table: int = MAIN,
        onlink: bool = False,
    ) -> None:
        """Add a route, or put it in the place of the one to the same network with the same metric.

        Without `scope`: link where there is no gateway, else global. `hops` share the traffic (addresses, or Hop).
        Raises OSError: ENETUNREACH when no link leads to a gateway, ENODEV for a link that is not there.
        """
        route = Route(
            destination=destination,
            via=via,
            link=link,
            kind=kind,
            scope=scope or ("link" if link and not via and ":" not in destination else "global"),
            source=source,
            hops=tuple(Hop(via=hop) if isinstance(hop, str) else hop for hop in hops),
            metric=metric,
            table=table,
            onlink=onlink,
        )
        self._route(_NEWROUTE, route, flags=CREATE | REPLACE, verb="add")

    def delete_route(
        self,
        destination: str,
        *,
        via: str = "",
        link: str = "",
        kind: RouteKind = "unicast",
        metric: int = 0,
        table: int = MAIN,
        missing_ok: bool = False,
    ) -> None:
        """Remove a route; of several to the same network the first that has what is named. Raises OSError(ESRCH)."""
        route = Route(destination=destination, via=via, link=link, kind=kind, metric=metric, table=table)
        with _tolerating(*((errno.ESRCH, errno.ENODEV) if missing_ok else ())):
            self._route(_DELROUTE, route, flags=0, verb="delete")

    def _route(self, kind: int, route: Route, *, flags: int, verb: str) -> None:
        attempt = f"{verb} route {_route_words(route)}"
        try:
            body = _route_body(route, lambda name: self.get(name).index, deleting=kind == _DELROUTE)
        except OSError as error:
            raise OSError(error.errno, f"{attempt}: {error.strerror}") from error
        self.netlink.request(kind, body, flags=flags, attempt=attempt)

    # Neighbours

    def neighbours(self, name: str = "") -> Sequence[Neighbour]:
        """The neighbour table (ARP and ND) of one link, or of all."""
        names = {link.index: link.name for link in self.list()}
        found = []
        for entry in self.netlink.dump(_GETNEIGH, _NDMSG.pack(0, 0, 0, 0, 0), attempt="list neighbours"):
            family, index, state, _, _ = _NDMSG.unpack_from(entry.body)
            values = attributes(entry.body, _NDMSG.size)
            if family in _FAMILY.values() and 1 in values and name in ("", names.get(index, "")):
                address = str(ip_address(values[1]))
                mac = _mac_text(values.get(2, b""))
                permanent = bool(state & _PERMANENT)
                found.append(Neighbour(link=names.get(index, ""), address=address, mac=mac, permanent=permanent))
        return found

    def set_neighbour(self, neighbour: Neighbour) -> None:
        """Add an entry, or replace the one of that address: no ARP or ND is needed to reach it."""
        state = _PERMANENT if neighbour.permanent else 0x02
        body = self._neighbour_body(neighbour, state) + attribute(2, _mac_bytes(neighbour.mac))
        attempt = f"set neighbour {neighbour.address} at {neighbour.mac} on {neighbour.link}"
        self.netlink.request(_NEWNEIGH, body, flags=CREATE | REPLACE, attempt=attempt)

    def delete_neighbour(self, neighbour: Neighbour, *, missing_ok: bool = False) -> None:
        body = self._neighbour_body(neighbour, 0)
        with _tolerating(errno.ENOENT if missing_ok else 0):
            attempt = f"delete neighbour {neighbour.address} on {neighbour.link}"
            self.netlink.request(_DELNEIGH, body, attempt=attempt)

    def _neighbour_body(self, neighbour: Neighbour, state: int) -> bytes:
        address = ip_address(neighbour.address)
        head = _NDMSG.pack(_FAMILY[address.version], self.get(neighbour.link).index, state, 0, 1)
        return head + attribute(1, address.packed)


class _tolerating:
    """Swallow OSError of the given numbers (0 is none)."""

    def __init__(self, *numbers: int) -> None:
        self.numbers = numbers

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> bool:
        return isinstance(error, OSError) and bool(error.errno) and error.errno in self.numbers


def _link_options(*, mtu: int = 0, mac: str = "", master: int = 0) -> bytes:
    options = attribute(4, _U32.pack(mtu)) if mtu else b""
    options += attribute(1, _mac_bytes(mac)) if mac else b""
    return options + (attribute(10, _U32.pack(master)) if master else b"")


def _mac_bytes(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))


def _mac_text(mac: bytes) -> str:
    return mac.hex(":") if mac else ""


def _number(values: dict[int, bytes], kind: int) -> int:
    value = values.get(kind)
    return int.from_bytes(value, "little" if struct.pack("=H", 1)[0] else "big") if value else 0


def _link(entry: Message) -> Link:
    _, _, index, flags, _ = _IFINFO.unpack_from(entry.body)
    values = attributes(entry.body, _IFINFO.size)
    return Link(
        index=index,
        name=string(values.get(3, b"")),
        kind=string(attributes(values.get(18, b"")).get(1, b"")),
        up=bool(flags & _IFF_UP),
        carrier=bool(_number(values, 33)),
        master=_number(values, 10),
        mtu=_number(values, 4),
        mac=_mac_text(values.get(1, b"")),
    )


def _address(entry: Message, names: dict[int, str]) -> Address:
    _, prefix, _, _, index = _IFADDR.unpack_from(entry.body)
    values = attributes(entry.body, _IFADDR.size)
    return Address(address=f"{ip_address(values.get(2) or values[1])}/{prefix}", link=names.get(index, ""))


def _route_words(route: Route) -> str:
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
    return attribute(18, struct.pack("=H", _FAMILY[address.version]) + address.packed)


def _network(destination: str) -> IPv4Network | IPv6Network:
    return ip_network("0.0.0.0/0" if destination == "default" else destination)


def _route_body(route: Route, index_of: Callable[[str], int], *, deleting: bool) -> bytes:
    network = _network(route.destination)
    scope = _ANY_SCOPE if deleting else _SCOPES[route.scope]
    flags = _ONLINK if route.onlink else 0
    table = route.table if route.table <= 255 else 0
    family = _FAMILY[network.version]
    body = _RTMSG.pack(family, network.prefixlen, 0, 0, table, _STATIC, scope, _KINDS[route.kind], flags)
    body += attribute(1, network.network_address.packed) if network.prefixlen else b""
    body += attribute(15, _U32.pack(route.table))
    body += _gateway(route.via, network.version) if route.via else b""
    body += attribute(4, _U32.pack(index_of(route.link))) if route.link else b""
    body += attribute(7, ip_address(route.source).packed) if route.source else b""
    body += attribute(6, _U32.pack(route.metric)) if route.metric else b""
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


def _route(entry: Message, names: dict[int, str]) -> Route:
    family, prefix, _, _, table, _, scope, kind, flags = _RTMSG.unpack_from(entry.body)
    values = dict(pairs(entry.body, _RTMSG.size))
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
