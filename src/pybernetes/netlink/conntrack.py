"""Connection tracking entries over netlink: find them and delete them by what they match, the kernel doing the search.

A translated connection has two sides: the original (client to service address) and the reply (backend to client). An
entry whose backend is gone keeps sending a UDP client's packets there; deleting it lets the next packet choose anew.
"""

import errno
import socket
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from types import TracebackType
from typing import NamedTuple, Self

from pybernetes.netlink.message import Message, attribute, attributes, nested
from pybernetes.netlink.sockets import NETFILTER, Netlink

_CTNETLINK = 1 << 8
_GET, _DELETE = 1, 2
_HEAD = struct.Struct(">BBH")
_FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}
_SOURCE, _DESTINATION, _PROTOCOL, _SOURCE_PORT, _DESTINATION_PORT = 1, 2, 8, 16, 32

TCP, UDP, SCTP = 6, 17, 132


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """What entries to take: those whose original side goes to `destination`:`port`, and replies come from `backend`.

    "" and 0 match anything. One address at least says which IP version is meant, or `family` (4 or 6) does.
    """

    protocol: int
    destination: str = ""
    port: int = 0
    backend: str = ""
    backend_port: int = 0
    family: int = 0

    @property
    def version(self) -> int:
        return self.family or ip_address(self.destination or self.backend).version


class Entry(NamedTuple):
    """One connection: who called whom, and who answers."""

    protocol: int
    source: str
    source_port: int
    destination: str
    port: int
    backend: str
    backend_port: int


class Conntrack:
    """The connections of a namespace (None: the caller's). Not for several threads at once."""

    def __init__(self, namespace: str | None = None) -> None:
        self.netlink = Netlink(NETFILTER, namespace=namespace)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self.netlink.close()

    def delete(self, match: Match) -> None:
        """Delete all entries that match; none is no error. For IPv4 the kernel does it in one walk of its table."""
        if match.version == 6:
            self.delete_each(match)
            return
        try:
            self.netlink.request(_CTNETLINK | _DELETE, _filter(match), attempt=f"delete connections {match}")
        except OSError as error:
            if error.errno == errno.ENOENT:
                return
            if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
                raise
            self.delete_each(match)  # before Linux 6.9: filters work for dumps only

    def entries(self, match: Match) -> Sequence[Entry]:
        """The entries that match."""
        found = (_entry(reply) for reply in self._dump(_filter(match), match))
        return [entry for entry in found if _matches(entry, match)]

    def _dump(self, body: bytes, match: Match) -> Sequence[Message]:
        return self.netlink.dump(_CTNETLINK | _GET, body, attempt=f"list connections {match}")

    def delete_each(self, match: Match) -> None:
        """Delete what matches by listing it first: what `delete` does for IPv6, and on kernels before 6.9."""
        for reply in self._dump(_filter(match), match):
            if not _matches(_entry(reply), match):
                continue
            values = attributes(reply.body, _HEAD.size)
            exact = reply.body[: _HEAD.size] + nested(1, values[1]) + attribute(12, values[12])
            try:
                self.netlink.request(_CTNETLINK | _DELETE, exact, attempt="delete connection")
            except FileNotFoundError:
                continue  # it ended by itself


def _filter(match: Match) -> bytes:
    """What the kernel is asked to look for. Of IPv6 only protocol and ports: its comparison of IPv6 addresses is
    inverted (Linux 6.18: asked for ::1 it gives all but ::1), and deleting by that would hit everybody else.
    """
    addresses = match.version == 4
    destination, backend = (match.destination, match.backend) if addresses else ("", "")
    original, original_flags = _tuple(match.protocol, destination=destination, destination_port=match.port)
    reply, reply_flags = _tuple(match.protocol, source=backend, source_port=match.backend_port)
    flags = attribute(1, struct.pack("=I", original_flags)) + attribute(2, struct.pack("=I", reply_flags))
    return _HEAD.pack(_FAMILY[match.version], 0, 0) + nested(1, original) + nested(2, reply) + nested(25, flags)


def _tuple(
    protocol: int, *, source: str = "", source_port: int = 0, destination: str = "", destination_port: int = 0
) -> tuple[bytes, int]:
    """One side's attributes, and the flags that say which of them count."""
    flags = _PROTOCOL
    addresses = b""
    for address, kind, flag in ((source, 1, _SOURCE), (destination, 2, _DESTINATION)):
        if address:
            parsed = ip_address(address)
            addresses += attribute(kind + (2 if parsed.version == 6 else 0), parsed.packed)
            flags |= flag
    ports = attribute(1, bytes([protocol]))
    for port, kind, flag in ((source_port, 2, _SOURCE_PORT), (destination_port, 3, _DESTINATION_PORT)):
        if port:
            ports += attribute(kind, struct.pack(">H", port))
            flags |= flag
    return nested(1, addresses) + nested(2, ports), flags


def _side(value: bytes) -> tuple[int, str, int, str, int]:
    """Protocol, source and its port, destination and its port."""
    values = attributes(value)
    addresses, ports = attributes(values[1]), attributes(values[2])
    source, destination = (str(ip_address(addresses.get(kind) or addresses[kind + 2])) for kind in (1, 2))
    source_port, destination_port = (int.from_bytes(ports.get(kind, b""), "big") for kind in (2, 3))
    return ports[1][0], source, source_port, destination, destination_port


def _entry(reply: Message) -> Entry:
    values = attributes(reply.body, _HEAD.size)
    protocol, source, source_port, destination, port = _side(values[1])
    _, backend, backend_port, _, _ = _side(values[2])
    return Entry(protocol, source, source_port, destination, port, backend, backend_port)


def _pairs(entry: Entry, match: Match) -> Iterator[tuple[object, object]]:
    yield match.protocol, entry.protocol
    yield match.destination, entry.destination
    yield match.port, entry.port
    yield match.backend, entry.backend
    yield match.backend_port, entry.backend_port


def _matches(entry: Entry, match: Match) -> bool:
    return all(not wanted or wanted == found for wanted, found in _pairs(entry, match))
