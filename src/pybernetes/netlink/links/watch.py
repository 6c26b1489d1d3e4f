"""When addresses of a namespace come and go, told by the kernel instead of asked for again and again (rtnetlink(7))."""

import asyncio
import errno
import socket
from types import TracebackType
from typing import Self

from pybernetes.netlink.namespaces import run_in
from pybernetes.netlink.sockets import ROUTE

_GROUPS = 0x10 | 0x100  # RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR
_BYTES = 1 << 16


class AddressWatch:
    """Of a namespace (None: the caller's). Open it before you read its addresses; close it, or use `with`."""

    def __init__(self, namespace: str | None = None) -> None:
        self.socket = run_in(namespace, _open)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self.socket.close()

    async def wait(self) -> None:
        """Return when something has changed since it was opened, or since the last call; many changes are one.

        Raises OSError.
        """
        try:
            await asyncio.get_running_loop().sock_recv(self.socket, _BYTES)
            while self.socket.recv(_BYTES):
                pass
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno != errno.ENOBUFS:  # there were more than it could hold: that is a change, too
                raise


def _open() -> socket.socket:
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, ROUTE)
    try:
        sock.bind((0, _GROUPS))
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return sock
