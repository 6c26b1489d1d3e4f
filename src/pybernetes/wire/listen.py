"""Accepting connections: each is counted, and refused past the bounds, before a byte of TLS is spent on it.

asyncio's own servers accept without asking, and let every peer begin a handshake.
"""

import asyncio
import errno
import logging
import resource
import socket
import struct
from collections.abc import Callable
from typing import Any

from .door import Door, Entry

log = logging.getLogger("pybernetes.wire")

_AT_ONCE = 64
"""Connections accepted in one turn of the loop."""
_RESERVED_FILES = 256
"""Of the files that the process may open, those that are not for connections: store, logs, kubelets."""
_FULL = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_WAIT_SECONDS = 1.0
_TELL_SECONDS = 10.0
_RESET = struct.pack("ii", 1, 0)

Enter = Callable[[socket.socket, Entry], None]


class Listener:
    """One listening socket; `enter` is called with each connection that is let in, and owns it."""

    def __init__(self, sock: socket.socket, door: Door, enter: Enter) -> None:
        self.sock = sock
        self._door = door
        self._enter = enter
        self._loop = asyncio.get_running_loop()
        self._again: asyncio.TimerHandle | None = None
        self._told = -_TELL_SECONDS
        self._untold = 0

    def start(self, *, backlog: int) -> None:
        self.sock.listen(backlog)
        self._accept_on()

    def close(self) -> None:
        if self._again is not None:
            self._again.cancel()
        self._loop.remove_reader(self.sock)
        self.sock.close()

    def _accept_on(self) -> None:
        self._again = None
        self._loop.add_reader(self.sock, self._accept)

    def _accept(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                connection, address = self.sock.accept()
            except OSError as error:
                if error.errno not in _FULL:
                    return  # nobody waits, or one has gone again: errors of its own connection (accept(2))
                log.error("accepting waits for files or memory error=%s", error)
                self._loop.remove_reader(self.sock)
                self._again = self._loop.call_later(_WAIT_SECONDS, self._accept_on)
                return
            entry = self._door.enter(str(address[0]))
            if entry is None:
                self._refuse(connection, address)
                continue
            connection.setblocking(False)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._enter(connection, entry)

    def _refuse(self, connection: socket.socket, address: Any) -> None:
        """Reset it: a connection closed in order would stay in the kernel's tables for a minute."""
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        connection.close()
        self._untold += 1
        now = self._loop.time()
        if now - self._told >= _TELL_SECONDS:
            log.warning(
                "connections refused count=%d latest=%s open=%d bound=%d",
                self._untold,
                address[0],
                self._door.open,
                self._door.total,
            )
            self._told, self._untold = now, 0


def room(wanted: int) -> int:
    """As many connections as the process may have files for, at most `wanted`."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return wanted
    return max(1, min(wanted, files - min(_RESERVED_FILES, files // 4)))
