"""Links, addresses, routes and neighbours of one namespace over rtnetlink.

`Links(namespace)` opens its socket inside the namespace once; each call is a request and its answer, well under a
millisecond. Adding what is there already is no error, so whatever builds a network may be run again; pairs are the
exception, since nobody knows where the other end is. Errors are OSError with errno and what was attempted.
"""

import errno
import os
import socket
import time
from collections.abc import Sequence
from ipaddress import ip_address, ip_interface
from types import TracebackType
from typing import Self

from pybernetes.netlink.message import CREATE, EXCLUSIVE, REPLACE, attribute, nested, text
from pybernetes.netlink.sockets import ROUTE, Netlink

from . import codec
from .model import MAIN, Address, Hop, Link, Neighbour, Route, RouteKind, Scope

_NEWLINK, _DELLINK, _GETLINK = 16, 17, 18
_NEWADDR, _DELADDR, _GETADDR = 20, 21, 22
_NEWROUTE, _DELROUTE, _GETROUTE = 24, 25, 26
_NEWNEIGH, _DELNEIGH, _GETNEIGH = 28, 29, 30
_REACHABLE = 0x02
_NODAD = 0x02
_AF_BRIDGE = 7
_FOREVER = 0xFFFFFFFF
_POLL_SECONDS = 0.002


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
        found = self.netlink.dump(_GETLINK, codec.IFINFO.pack(0, 0, 0, 0, 0), attempt="list links")
        return sorted((codec.link(entry) for entry in found), key=lambda link: link.index)

    def get(self, name: str) -> Link:
        """One link; raises OSError(ENODEV)."""
        body = codec.IFINFO.pack(0, 0, 0, 0, 0) + text(3, name)
        return codec.link(self.netlink.get(_GETLINK, body, attempt=f"get link {name}"))

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
        options = nested(2, attribute(5, codec.U32.pack(0)), attribute(1, codec.U32.pack(0)))
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
        info = codec.IFINFO.pack(0, 0, 0, 0, 0) + text(3, peer) + codec.link_options(mtu=mtu, mac=peer_mac)
        if peer_namespace is None:
            return self._add(name, "veth", nested(2, attribute(1, info)), master=master, mtu=mtu, mac=mac)
        fd = os.open(peer_namespace, os.O_RDONLY | os.O_CLOEXEC)
        try:
            info += attribute(28, codec.U32.pack(fd))
            return self._add(name, "veth", nested(2, attribute(1, info)), master=master, mtu=mtu, mac=mac)
        finally:
            os.close(fd)

    def delete(self, name: str, *, missing_ok: bool = False) -> None:
        """Remove a link (of a pair: both ends). Its name may live on a moment in other namespaces: see wait_gone."""
        body = codec.IFINFO.pack(0, 0, 0, 0, 0) + text(3, name)
        with _tolerating(errno.ENODEV if missing_ok else 0):
            self.netlink.request(_DELLINK, body, attempt=f"delete link {name}")

    def up(self, name: str) -> None:
        self._set(name, b"", flags=codec.IFF_UP, change=codec.IFF_UP, attempt=f"set link {name} up")

    def down(self, name: str) -> None:
        self._set(name, b"", change=codec.IFF_UP, attempt=f"set link {name} down")

    def set_master(self, name: str, master: str) -> None:
        """Make a link a port of a bridge; "" takes it out."""
        index = self.get(master).index if master else 0
        self._set(name, attribute(10, codec.U32.pack(index)), attempt=f"set link {name} master {master or 'none'}")

    def set_mtu(self, name: str, mtu: int) -> None:
        self._set(name, attribute(4, codec.U32.pack(mtu)), attempt=f"set link {name} mtu {mtu}")

    def set_mac(self, name: str, mac: str) -> None:
        self._set(name, attribute(1, codec.mac_bytes(mac)), attempt=f"set link {name} address {mac}")

    def rename(self, name: str, to: str) -> None:
        """Give a link that is down another name."""
        index = self.get(name).index
        body = codec.IFINFO.pack(0, 0, index, 0, 0) + text(3, to)
        self.netlink.request(_NEWLINK, body, attempt=f"rename link {name} to {to}")

    def set_hairpin(self, name: str, on: bool = True) -> None:
        """Whether a bridge port may send a frame back out of the port it came in by."""
        body = codec.IFINFO.pack(_AF_BRIDGE, 0, self.get(name).index, 0, 0) + nested(12, attribute(4, bytes([on])))
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
        head = codec.IFINFO.pack(0, 0, 0, codec.IFF_UP, codec.IFF_UP)
        body = head + text(3, name) + codec.link_options(mtu=mtu, mac=mac, master=index)
        body += nested(18, text(1, kind), data)
        self.netlink.request(_NEWLINK, body, flags=CREATE | EXCLUSIVE, attempt=f"add {kind} {name}")
        return self.get(name)

    def _set(self, name: str, options: bytes, *, attempt: str, flags: int = 0, change: int = 0) -> None:
        body = codec.IFINFO.pack(0, 0, 0, flags, change) + text(3, name) + options
        self.netlink.request(_NEWLINK, body, attempt=attempt)

    # Addresses

    def addresses(self, name: str = "") -> Sequence[Address]:
        """The addresses of one link, or of all."""
        names = {link.index: link.name for link in self.list()}
        found = self.netlink.dump(_GETADDR, codec.IFADDR.pack(0, 0, 0, 0, 0), attempt=f"list addresses {name}".rstrip())
        addresses = (codec.address(entry, names) for entry in found)
        return [address for address in addresses if name in ("", address.link)]

    def add_address(self, name: str, address: str, *, quiet: bool = False) -> None:
        """Give a link an address with its prefix ("10.244.0.1/24"); IPv6 is usable at once (no duplicate detection).

        The kernel never chooses a quiet one for what is sent; who binds it answers from it all the same.
        """
        body = self._address_body(name, address, quiet=quiet)
        with _tolerating(errno.EEXIST):
            attempt = f"add address {address} to {name}"
            self.netlink.request(_NEWADDR, body, flags=CREATE | EXCLUSIVE, attempt=attempt)

    def delete_address(self, name: str, address: str, *, missing_ok: bool = False) -> None:
        body = self._address_body(name, address)
        with _tolerating(errno.EADDRNOTAVAIL if missing_ok else 0):
            self.netlink.request(_DELADDR, body, attempt=f"delete address {address} of {name}")

    def _address_body(self, name: str, address: str, *, quiet: bool = False) -> bytes:
        """Of IPv4 it is the scope that keeps an address quiet, of IPv6, which derives the scope, a preference that is
        over.
        """
        interface = ip_interface(address)
        six, packed = interface.version == 6, interface.ip.packed
        scope = codec.SCOPES["host"] if interface.ip.is_loopback or (quiet and not six) else 0
        head = codec.IFADDR.pack(
            codec.FAMILY[interface.version], interface.network.prefixlen, _NODAD * six, scope, self.get(name).index
        )
        lifetimes = attribute(6, codec.CACHEINFO.pack(0, _FOREVER, 0, 0)) if quiet and six else b""
        return head + attribute(2, packed) + attribute(1, packed) + lifetimes

    # Routes

    def routes(self, *, table: int = MAIN, version: int = 0) -> Sequence[Route]:
        """The routes of a table, of IPv4 and IPv6 or of one version."""
        names = {link.index: link.name for link in self.list()}
        found: list[Route] = []
        for family in (codec.FAMILY[version],) if version else (socket.AF_INET, socket.AF_INET6):
            body = codec.RTMSG.pack(family, 0, 0, 0, 0, 0, 0, 0, 0)
            dumped = self.netlink.dump(_GETROUTE, body, attempt="list routes")
            found += [route for entry in dumped if (route := codec.route(entry, names)).table == table]
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
        attempt = f"{verb} route {codec.route_words(route)}"
        try:
            body = codec.route_body(route, lambda name: self.get(name).index, deleting=kind == _DELROUTE)
        except OSError as error:
            raise OSError(error.errno, f"{attempt}: {error.strerror}") from error
        self.netlink.request(kind, body, flags=flags, attempt=attempt)

    # Neighbours

    def neighbours(self, name: str = "") -> Sequence[Neighbour]:
        """The neighbour table (ARP and ND) of one link, or of all."""
        names = {link.index: link.name for link in self.list()}
        dumped = self.netlink.dump(_GETNEIGH, codec.NDMSG.pack(0, 0, 0, 0, 0), attempt="list neighbours")
        found = filter(None, (codec.neighbour(entry, names) for entry in dumped))
        return [each for each in found if name in ("", each.link)]

    def set_neighbour(self, neighbour: Neighbour) -> None:
        """Add an entry, or replace the one of that address: no ARP or ND is needed to reach it."""
        state = codec.PERMANENT if neighbour.permanent else _REACHABLE
        body = self._neighbour_body(neighbour, state) + attribute(2, codec.mac_bytes(neighbour.mac))
        attempt = f"set neighbour {neighbour.address} at {neighbour.mac} on {neighbour.link}"
        self.netlink.request(_NEWNEIGH, body, flags=CREATE | REPLACE, attempt=attempt)

    def delete_neighbour(self, neighbour: Neighbour, *, missing_ok: bool = False) -> None:
        body = self._neighbour_body(neighbour, 0)
        with _tolerating(errno.ENOENT if missing_ok else 0):
            attempt = f"delete neighbour {neighbour.address} on {neighbour.link}"
            self.netlink.request(_DELNEIGH, body, attempt=attempt)

    def _neighbour_body(self, neighbour: Neighbour, state: int) -> bytes:
        address = ip_address(neighbour.address)
        head = codec.NDMSG.pack(codec.FAMILY[address.version], self.get(neighbour.link).index, state, 0, 1)
        return head + attribute(1, address.packed)


class _tolerating:
    """Swallow OSError of the given numbers (0 is none)."""

    def __init__(self, *numbers: int) -> None:
        self.numbers = numbers

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> bool:
        return isinstance(error, OSError) and bool(error.errno) and error.errno in self.numbers
