"""A connection that has left HTTP: a Channel of bytes, whose messages have no meaning of their own."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

_HIGH, _LOW = 256 << 10, 64 << 10
"""Unread bytes at which reading stops, and goes on."""
_LINGER_SECONDS = 5.0
"""How long a closed connection waits for the peer to have read everything and close too."""


class RawChannel(asyncio.Protocol):
    """Made with what had already arrived; becomes the transport's protocol."""

    def __init__(
        self,
        transport: asyncio.Transport,
        *,
        protocol: str,
        connections: set[Any],
        early: bytes = b"",
        left: Callable[[], None] = lambda: None,
    ) -> None:
        """`left` is called when the connection is over."""
        self.protocol = protocol
        self.transport = transport
        self._connections = connections
        self._left = left
        self._chunks: deque[bytes] = deque([early] if early else [])
        self._size = len(early)
        self._ended = transport.is_closing()
        self._closing = False
        self._paused = False
        self._changed = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        connections.add(self)
        transport.set_protocol(self)
        transport.resume_reading()

    async def receive(self) -> bytes | None:
        while not self._chunks:
            if self._ended or self._closing:
                return None
            self._changed.clear()
            await self._changed.wait()
        data = self._chunks.popleft()
        self._size -= len(data)
        if self._paused and self._size < _LOW:
            self._paused = False
            self.transport.resume_reading()
        return data

    async def send(self, data: bytes, *, text: bool = False) -> None:
        del text
        await self._writable.wait()
        if self._ended or self._closing or self.transport.is_closing():
            raise ConnectionResetError("the peer has gone")
        self.transport.write(data)
        await self._writable.wait()

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """What was sent still arrives: closing at once, with bytes unread, would make the kernel throw it away."""
        del code, reason
        if self._closing:
            return
        self._closing = True
        self._changed.set()
        self._forget()
        if not self._ended:
            asyncio.get_running_loop().call_later(_LINGER_SECONDS, self.transport.close)

    def shutdown(self) -> None:
        """The server ends."""
        self._ended = True
        self._changed.set()
        self.transport.close()

    def _forget(self) -> None:
        self._chunks.clear()
        self._size = 0
        if self._paused:
            self._paused = False
            self.transport.resume_reading()

    # asyncio.Protocol

    def data_received(self, data: bytes) -> None:
        if self._closing:
            return
        self._chunks.append(data)
        self._size += len(data)
        self._changed.set()
        if self._size > _HIGH and not self._paused:
            self._paused = True
            self.transport.pause_reading()

    def eof_received(self) -> bool:
        self._ended = True
        self._changed.set()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended = True
        self._connections.discard(self)
        self._left()
        self._changed.set()
        self._writable.set()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()
