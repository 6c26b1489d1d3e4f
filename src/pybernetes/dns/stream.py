"""Questions to an upstream over one TCP or TLS connection: several at once, answered in any order (RFC 7766, RFC 7858).

The connection is made when it is needed and kept while it is used, since a handshake costs several times the question.
One that the upstream has closed meanwhile costs a second try, not an answer; one that swallows questions is given up.
"""

import asyncio
import secrets
import ssl
from typing import cast

from .address import Address
from .foreign import BadReply, Reply, read_reply
from .message import CD, HEADER, RD, Query, opt

IDLE_SECONDS = 10.0
"""A connection that nobody has used for so long is closed (CoreDNS: expire)."""
_TRIES = 2
"""An upstream that has tired of the kept connection is asked once more over a new one."""
_MOST = 1000
"""Questions under way on one connection; one more fails."""


class Closed(ConnectionError):
    """The connection ended before the reply came."""


def tls_context(ca: str) -> ssl.SSLContext:
    """For upstreams that prove who they are to `ca` (PEM; "" is the system's authorities). Raises ValueError."""
    try:
        context = ssl.create_default_context(cadata=ca or None)
    except ssl.SSLError as error:
        raise ValueError(f"no certificates in PEM: {error.reason or error}") from error
    context.set_alpn_protocols(["dot"])
    return context


def packet_of(query: Query, *, id: bytes, size: int) -> bytes:
    """The question as it is asked of an upstream. `size` is what we announce by EDNS."""
    header = HEADER.pack(0, RD | query.flags & CD, 1, 0, 0, 1)[2:]
    dnssec = bool(query.edns and query.edns.dnssec)
    return id + header + query.wire + opt(size=size, dnssec=dnssec)


class Connection(asyncio.Protocol):
    """One connection and the questions under way on it."""

    def __init__(self) -> None:
        self.closed = False
        self.received = 0
        """How often anything came."""
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._waiting: dict[bytes, tuple[Query, asyncio.Future[Reply]]] = {}
        self._buffer = bytearray()
        self._idle: asyncio.TimerHandle | None = None

    async def ask(self, query: Query, *, size: int) -> Reply:
        """The reply. Raises Closed, BadReply."""
        if self._transport is None or self.closed:
            raise Closed("connection closed")
        if len(self._waiting) >= _MOST:
            raise BadReply("too many questions on one connection")
        id = self._free_id()
        before = self.received
        future: asyncio.Future[Reply] = self._loop.create_future()
        self._waiting[id] = query, future
        self._rest()
        packet = packet_of(query, id=id, size=size)
        self._transport.write(len(packet).to_bytes(2) + packet)
        try:
            return await future
        except asyncio.CancelledError:
            if self.received == before:
                self.close()  # a dead connection would swallow the next question too
            raise
        finally:
            self._waiting.pop(id, None)
            self._rest()

    def close(self) -> None:
        """End it at once; whoever waits gets Closed."""
        self.closed = True
        if self._transport is not None:
            self._transport.abort()

    def _free_id(self) -> bytes:
        id = secrets.token_bytes(2)
        while id in self._waiting:
            id = secrets.token_bytes(2)
        return id

    def _rest(self) -> None:
        """Count the idle time from now, if nobody waits."""
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        if not self._waiting and not self.closed:
            self._idle = self._loop.call_later(IDLE_SECONDS, self.close)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are none by their class

    def data_received(self, data: bytes) -> None:
        self.received += 1
        buffer = self._buffer
        buffer += data
        while len(buffer) > 2 and len(buffer) >= (end := 2 + int.from_bytes(buffer[:2])):
            self._reply(bytes(buffer[2:end]))
            del buffer[:end]

    def _reply(self, data: bytes) -> None:
        query, future = self._waiting.get(data[:2], (None, None))
        if query is None or future is None or future.done():
            return  # to a question that was given up
        try:
            future.set_result(read_reply(data, query, id=data[:2]))
        except BadReply as error:
            future.set_exception(error)

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        for _, future in self._waiting.values():
            if not future.done():
                future.set_exception(Closed(f"connection closed: {exc}" if exc else "connection closed"))
        self._rest()


class Stream:
    """The way to one upstream. `tls` None is plain TCP."""

    def __init__(self, address: Address, *, tls: ssl.SSLContext | None, size: int) -> None:
        self.address = address
        self.tls = tls
        self.size = size
        self.opened = 0
        self.asked = 0
        self._connection: Connection | None = None
        self._opening = asyncio.Lock()

    async def ask(self, query: Query) -> Reply:
        """The reply. Raises OSError (a certificate that is not the upstream's, too) and BadReply."""
        before = self._connection
        for _ in range(_TRIES):
            connection = await self._open()
            self.asked += 1
            try:
                return await connection.ask(query, size=self.size)
            except Closed as error:
                if connection is not before:
                    raise BadReply(str(error)) from error
        raise BadReply("connection closed")

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()

    async def _open(self) -> Connection:
        async with self._opening:
            if self._connection is None or self._connection.closed:
                loop, (host, port, *_) = asyncio.get_running_loop(), self.address
                name = (self.address.server_name or host) if self.tls else None
                _, self._connection = await loop.create_connection(
                    Connection, host, port, ssl=self.tls, server_hostname=name
                )
                self.opened += 1
            return self._connection
