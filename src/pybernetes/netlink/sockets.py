"""A netlink socket that asks and hears the answer: requests with acknowledgement, dumps, errors as OSError.

The socket belongs to the namespace it was opened in, for good. Calls are synchronous: the kernel answers a netlink
request before send() returns, so nothing here waits for anything but the kernel's own work.
"""

import contextlib
import errno
import os
import socket
import struct
from collections.abc import Generator, Sequence

from pybernetes.netlink.message import (
    ACK,
    ACK_ATTRIBUTES,
    ACK_CAPPED,
    DONE,
    DUMP,
    DUMP_INTERRUPTED,
    ERROR,
    HEADER,
    REQUEST,
    Message,
    attributes,
    message,
    messages,
    string,
)
from pybernetes.netlink.namespaces import run_in

ROUTE, NETFILTER = 0, 12

_SOL_NETLINK, _CAP_ACK, _EXT_ACK, _STRICT = 270, 10, 11, 12
_SNDBUFFORCE, _RCVBUFFORCE = 32, 33
_RECEIVE_BYTES = 1 << 18
_DUMP_ATTEMPTS = 10


class Netlink:
    """One socket of one netlink family in one namespace. Not for several threads at once."""

    def __init__(self, protocol: int, *, namespace: str | None = None) -> None:
        self.socket = run_in(namespace, lambda: _open(protocol))
        self._sequence = 0

    def close(self) -> None:
        self.socket.close()

    def request(self, kind: int, body: bytes, *, flags: int = 0, attempt: str = "") -> None:
        """Send one request and hear its acknowledgement; raises OSError with errno and what was attempted."""
        self._send(kind, body, flags | ACK)
        while True:
            for reply in self._receive():
                if reply.type == ERROR:
                    raise_error(reply, attempt)
                    return

    def get(self, kind: int, body: bytes, *, flags: int = 0, attempt: str = "") -> Message:
        """Send one request and return the one message that answers it."""
        self._send(kind, body, flags)
        while True:
            for reply in self._receive():
                if reply.type == ERROR:
                    raise_error(reply, attempt)
                return reply

    def dump(self, kind: int, body: bytes, *, attempt: str = "") -> list[Message]:
        """All objects of a kind; asked again when they changed meanwhile."""
        for _ in range(_DUMP_ATTEMPTS):
            found, whole = self._dump(kind, body, attempt)
            if whole:
                return found
        raise OSError(errno.EINTR, f"{attempt}: kept changing while it was read")

    def _dump(self, kind: int, body: bytes, attempt: str) -> tuple[list[Message], bool]:
        found: list[Message] = []
        pieces = self.pieces(kind, body, attempt=attempt)
        while True:
            try:
                found += next(pieces)
            except StopIteration as end:
                return found, end.value

    def pieces(self, kind: int, body: bytes, *, attempt: str = "") -> Generator[list[Message], None, bool]:
        """All objects of a kind, as many at a time as come in one datagram (the kernel gathers the next ones when asked
        to); returns whether nothing changed meanwhile. Nothing else can be asked until it has come to its end.
        """
        self._send(kind, body, DUMP)
        whole = True
        while True:
            found: list[Message] = []
            for reply in self._receive():
                whole = whole and not reply.flags & DUMP_INTERRUPTED
                if reply.type == DONE:
                    if len(reply.body) >= 4 and (code := struct.unpack_from("=i", reply.body)[0]) < 0:
                        raise OSError(-code, f"{attempt}: {os.strerror(-code)}")
                    if found:
                        yield found
                    return whole
                if reply.type == ERROR:
                    raise_error(reply, attempt)
                found.append(reply)
            yield found

    def drain(self) -> None:
        """Throw away what a call that failed left unread: a socket that once overran takes nothing until it is read."""
        while True:
            try:
                self.socket.recv(_RECEIVE_BYTES, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise

    def _send(self, kind: int, body: bytes, flags: int) -> None:
        self.drain()
        self._sequence += 1
        self.socket.send(message(kind, body, flags=flags | REQUEST, sequence=self._sequence))

    def _receive(self) -> Sequence[Message]:
        """The next datagram's messages that answer the request at hand. What is not there by now never comes."""
        try:
            data = self.socket.recv(_RECEIVE_BYTES, socket.MSG_DONTWAIT)
        except BlockingIOError:
            raise OSError(errno.ENOBUFS, "the kernel's answer was lost") from None
        return [reply for reply in messages(data) if reply.sequence == self._sequence]


def raise_error(reply: Message, attempt: str) -> None:
    """Raise what an ERROR message reports; returns when it is an acknowledgement."""
    (code,) = struct.unpack_from("=i", reply.body)
    if code == 0:
        return
    detail = explain(reply)
    words = os.strerror(-code) + (f" ({detail})" if detail else "")
    raise OSError(-code, f"{attempt}: {words}" if attempt else words)


def explain(reply: Message) -> str:
    """The kernel's own sentence about an error, where it gives one (extended acknowledgements), else ""."""
    if not reply.flags & ACK_ATTRIBUTES:
        return ""
    offset = 4 + HEADER.size
    if not reply.flags & ACK_CAPPED:
        (length,) = struct.unpack_from("=I", reply.body, 4)
        offset = 4 + ((length + 3) & ~3)
    return string(attributes(reply.body, offset).get(1, b""))


def grow_send_buffer(sock: socket.socket, size: int) -> int:
    """Room for one datagram of `size` bytes; returns how much the kernel gave (less, when unprivileged)."""
    _grow(sock, _SNDBUFFORCE, socket.SO_SNDBUF, size)
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)


def grow_receive_buffer(sock: socket.socket, size: int) -> None:
    _grow(sock, _RCVBUFFORCE, socket.SO_RCVBUF, size)


def _grow(sock: socket.socket, force: int, plain: int, size: int) -> None:
    try:
        sock.setsockopt(socket.SOL_SOCKET, force, size)
    except PermissionError:
        sock.setsockopt(socket.SOL_SOCKET, plain, size)


def _open(protocol: int) -> socket.socket:
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
    try:
        sock.bind((0, 0))
        for option in (_CAP_ACK, _EXT_ACK, *((_STRICT,) if protocol == ROUTE else ())):
            with contextlib.suppress(OSError):  # older kernels: plainer errors, wider dumps
                sock.setsockopt(_SOL_NETLINK, option, 1)
    except BaseException:
        sock.close()
        raise
    return sock
