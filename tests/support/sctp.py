"""The beginning of SCTP associations by hand, for kernels without SCTP sockets: INIT and INIT ACK over raw sockets.

That is enough to see where rules lead to: the kernel's connection tracking follows and translates these packets, and a
checksum that did not fit would be dropped (RFC 9260 sections 3.1 to 3.3.3, appendix A).
"""

import socket
import struct
from typing import NamedTuple

PROTOCOL = 132
INIT, INIT_ACK = 1, 2

_HEAD = struct.Struct(">HHII")
_CHUNK = struct.Struct(">BBH")
_INIT = struct.Struct(">IIHHI")
_COOKIE = 7


def _table() -> tuple[int, ...]:
    found = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        found.append(value)
    return tuple(found)


_CRC = _table()


def checksum(data: bytes) -> int:
    """CRC32c."""
    value = 0xFFFFFFFF
    for byte in data:
        value = value >> 8 ^ _CRC[(value ^ byte) & 0xFF]
    return value ^ 0xFFFFFFFF


class Packet(NamedTuple):
    """One chunk of kind INIT or INIT ACK. `tag` is the receiver's, 0 in an INIT; `own_tag` the sender's."""

    source_port: int
    port: int
    kind: int
    own_tag: int
    tag: int = 0
    cookie: bytes = b""

    def encode(self) -> bytes:
        body = _INIT.pack(self.own_tag, 65536, 1, 1, 1)
        if self.cookie:
            body += struct.pack(">HH", _COOKIE, 4 + len(self.cookie)) + self.cookie
        chunk = _CHUNK.pack(self.kind, 0, _CHUNK.size + len(body)) + body + bytes(-len(body) % 4)
        crc = checksum(_HEAD.pack(self.source_port, self.port, self.tag, 0) + chunk)
        head = struct.pack(">HHI", self.source_port, self.port, self.tag) + struct.pack("<I", crc)
        return head + chunk


def decode(data: bytes) -> Packet | None:
    """The packet, from behind the IP header; None for another kind of chunk. Raises ValueError if it is damaged."""
    source_port, port, tag, _ = _HEAD.unpack_from(data)
    if checksum(data[:8] + bytes(4) + data[12:]) != int.from_bytes(data[8:12], "little"):
        raise ValueError(f"SCTP checksum of a packet to port {port}")
    kind, _, size = _CHUNK.unpack_from(data, _HEAD.size)
    if kind not in (INIT, INIT_ACK):
        return None
    at = _HEAD.size + _CHUNK.size
    (own_tag,) = struct.unpack_from(">I", data, at)
    cookie = data[at + _INIT.size + 4 : _HEAD.size + size]
    return Packet(source_port, port, kind, own_tag, tag, cookie)


def opened(family: int) -> socket.socket:
    return socket.socket(family, socket.SOCK_RAW, PROTOCOL)


def received(sock: socket.socket) -> tuple[Packet | None, str]:
    """The next packet and who sent it. IPv4 raw sockets hand out the IP header too."""
    data, sender = sock.recvfrom(2000)
    if sock.family == socket.AF_INET:
        data = data[(data[0] & 15) * 4 :]
    return decode(data), sender[0]


def answered(sock: socket.socket, port: int, name: str) -> None:
    """Read one packet; an INIT to `port` is acknowledged with a cookie: the name and whom it came from."""
    packet, sender = received(sock)
    if packet is None or (packet.kind, packet.port) != (INIT, port):
        return
    cookie = f"{name} {sender}".encode()
    reply = Packet(port, packet.source_port, INIT_ACK, own_tag=7, tag=packet.own_tag, cookie=cookie)
    sock.sendto(reply.encode(), (sender, 0))


def asked(sock: socket.socket, *, source_port: int, port: int) -> str:
    """The cookie of whoever acknowledges an INIT over a connected raw socket. Raises what the socket does."""
    refused: PermissionError | None = None
    try:
        sock.send(Packet(source_port, port, INIT, own_tag=source_port).encode())
    except (
        PermissionError
    ) as error:  # refused, or dropped, on its way out: only a refusal is told to the socket as well
        refused = error
    while True:
        packet, _ = received(sock)
        if packet is not None and (packet.kind, packet.port, packet.tag) == (INIT_ACK, source_port, source_port):
            assert refused is None
            return packet.cookie.decode()
