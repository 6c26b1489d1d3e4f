"""The sockets of one address: bound so that a next process can have them too, and left so that no question is lost.

As CoreDNS does, each socket has SO_REUSEPORT: further processes of the same user bind the same address and port, and
the kernel deals the clients out among them. A process that ends first leaves this group with its sockets still open:

- over UDP by connecting to itself, for the kernel chooses no connected socket for a stranger's datagram; what has
  arrived by then is still there to be answered;
- over TCP by a filter that drops who knocks anew (they knock again a second later), while those inside are served.
"""

import ctypes
import socket
import struct
from typing import NamedTuple

UDP_BUFFER = 1 << 20
_IP_FREEBIND, _IPV6_FREEBIND = 15, 78
_SO_ATTACH_FILTER = 26
# a socket filter sees a segment from its TCP header on: byte 13 holds the flags, 2 is SYN
_LOAD_BYTE, _JUMP_IF_SET, _RETURN = 0x30, 0x45, 0x06
_NO_SYN = ((_LOAD_BYTE, 0, 0, 13), (_JUMP_IF_SET, 0, 1, 2), (_RETURN, 0, 0, 0), (_RETURN, 0, 0, 0xFFFFFFFF))


class Pair(NamedTuple):
    """Both of one address and port, non-blocking; `tcp` listens once it is served."""

    udp: socket.socket
    tcp: socket.socket

    def close(self) -> None:
        self.udp.close()
        self.tcp.close()


def bind(host: str, port: int, *, shared: bool = False) -> Pair:
    """A UDP and a TCP socket on one address and port (0: one that is free for both). Raises OSError that says which.

    `shared`: others may have the same, who must say so too.
    """
    attempts = 1 if port else 20
    for attempt in range(attempts):
        udp = _bound(host, port, socket.SOCK_DGRAM, shared)
        try:
            return Pair(udp, _bound(host, udp.getsockname()[1], socket.SOCK_STREAM, shared))
        except OSError:
            udp.close()
            if attempt == attempts - 1:
                raise
    raise AssertionError


def _bound(host: str, port: int, kind: socket.SocketKind, shared: bool) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, kind)
    try:
        sock.setblocking(False)
        if shared and port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if kind == socket.SOCK_STREAM:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        else:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, UDP_BUFFER)
        # the address may come to this node a moment after us
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_FREEBIND, 1)
        else:
            sock.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)
        sock.bind((host, port))
    except OSError as problem:
        sock.close()
        raise OSError(problem.errno, f"cannot bind {host} port {port}: {problem.strerror}") from problem
    return sock


def leave(pair: Pair) -> None:
    """Let new questions go to who shares the address; with nobody there they fail as if we had closed.

    Raises OSError where the kernel does not let us; then nothing has changed for that socket.
    """
    if _shared(pair.udp):
        pair.udp.connect(pair.udp.getsockname())
    if _shared(pair.tcp):
        _attach(pair.tcp)


def _shared(sock: socket.socket) -> bool:
    return bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT))


def _attach(listener: socket.socket) -> None:
    program = b"".join(struct.pack("=HBBI", *instruction) for instruction in _NO_SYN)
    held = ctypes.create_string_buffer(program, len(program))
    listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("@HP", len(_NO_SYN), ctypes.addressof(held)))
