"""Listening sockets, and the options that find vanished peers."""

import socket
from collections.abc import Sequence
from typing import Any

_IP_FREEBIND, _IPV6_FREEBIND = 15, 78


def bind(listen: Sequence[tuple[str, int]], *, shared: bool = False) -> list[socket.socket]:
    """One bound socket for each (host, port); none when one of them fails. Raises OSError that names the address.

    `shared`: another process of the same user may have the same, if it says so too (SO_REUSEPORT), and the address may
    come to this machine later.
    """
    found: list[socket.socket] = []
    try:
        for host, port in listen:
            infos = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            family, kind, protocol, _, address = infos[0]
            listener = socket.socket(family, kind, protocol)  # asyncio sets TCP_NODELAY only where this says TCP
            found.append(listener)
            listener.setblocking(False)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if shared:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                if family == socket.AF_INET6:
                    listener.setsockopt(socket.IPPROTO_IPV6, _IPV6_FREEBIND, 1)
                else:
                    listener.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)
            keep_alive(listener)  # what a listener has set, the connections it accepts have too (Linux)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            try:
                listener.bind(address)
            except OSError as error:
                raise OSError(error.errno, f"cannot listen on {host}:{port}: {error.strerror}") from error
    except BaseException:
        for listener in found:
            listener.close()
        raise
    return found


def keep_alive(sock: socket.socket) -> None:
    """Find a peer that vanished without a word within about a minute, or while data is under way within five."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 300_000)


def open_socket(info: Any) -> socket.socket:
    """A client's socket for one getaddrinfo entry."""
    family, kind, protocol, _, _ = info
    sock = socket.socket(family, kind, protocol)
    keep_alive(sock)
    return sock


def address_of(name: Any) -> str:
    """ "ip:port" of a socket's name, "" for another kind of socket."""
    if not isinstance(name, tuple) or len(name) < 2:
        return ""
    return f"[{name[0]}]:{name[1]}" if ":" in name[0] else f"{name[0]}:{name[1]}"
