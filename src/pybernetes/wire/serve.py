"""The server: uvicorn's httptools protocol as bare ASGI, subclassed for what an API server needs besides.

Added to uvicorn's: the peer's certificate (WebSockets too), listening on several addresses, streams that end with
their peer and at shutdown, limits on bodies, heads and slow requests, error bodies that are Status objects. Signals,
lifespan and access logs are not used. Runs on uvloop and on asyncio's own loop (facts/http.md).
"""

import asyncio
import functools
import time
from collections.abc import Callable, Sequence
from email.utils import formatdate
from typing import Any, Self

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from pybernetes.api.errors import ApiError

from .answer import error_response
from .asgi import App, Limits, Stream, library_log
from .message import Channel, Handler, Peer
from .raw import RawChannel
from .sockets import address_of, bind
from .tls import TlsFiles

__all__ = ["Limits", "Server", "TlsFiles"]


class Server:
    """Serves a handler until `run` is cancelled, or for the time of an `async with`.

    Each entry of `listen` is (host, port); port 0 takes a free one, told by `addresses` once started. Cancelling stops
    accepting, ends streams that wait for their next chunk (watches) with a proper last chunk, gives the other requests
    `grace_seconds`, then cuts. A handler is not cancelled when its peer leaves; a streamed body is (aclose).
    """

    def __init__(
        self,
        handler: Handler,
        *,
        listen: Sequence[tuple[str, int]] = (("127.0.0.1", 0),),
        tls: TlsFiles | None = None,
        limits: Limits | None = None,
        stopping: Callable[[], None] | None = None,
    ) -> None:
        """`stopping` is called when the end begins, `delay_seconds` before no more connections are taken."""
        self.addresses: tuple[tuple[str, int], ...] = ()
        self._handler = handler
        self._listen = listen
        self._tls = tls
        self._stopping = stopping
        self._limits = limits or Limits()
        self._state = _State()
        self._servers: list[asyncio.Server] = []
        self._sweep: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        """Bind and accept. Raises OSError that names the address, ssl.SSLError or OSError for the TLS files."""
        app = App(self._handler, self._limits)
        config = Config(
            app=app,
            http=_Connection,
            ws=_websocket,  # type: ignore[arg-type] # it calls what it is given
            loop="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=self._limits.idle_seconds,
            ws_max_size=self._limits.message_bytes,
            ws_per_message_deflate=False,
            ws_ping_interval=30.0,
            ws_ping_timeout=None,  # a peer that reads late is not gone; TCP keepalive finds those that are
        )
        config.load()
        loop = asyncio.get_running_loop()
        factory = functools.partial(_Connection, config, self._state, {}, loop, limits=self._limits)
        context = self._tls.server_context() if self._tls else None
        timeouts: dict[str, Any] = {"ssl_handshake_timeout": 10.0, "ssl_shutdown_timeout": 1.0} if context else {}
        try:
            for listener in bind(self._listen):
                server = await loop.create_server(factory, sock=listener, ssl=context, backlog=1024, **timeouts)
                self._servers.append(server)
        except BaseException:
            await self.stop()
            raise
        self.addresses = tuple(one.getsockname()[:2] for server in self._servers for one in server.sockets)
        self._sweep = loop.call_later(_SWEEP, self._end_slow)

    async def run(self) -> None:
        """Serve until cancelled."""
        if not self._servers:
            await self.start()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            await self.stop()

    async def stop(self) -> None:
        """End gracefully; safe to call twice."""
        loop = asyncio.get_running_loop()
        stopping, self._stopping = self._stopping, None
        if stopping is not None:
            stopping()
            await asyncio.sleep(self._limits.delay_seconds)
        if self._sweep is not None:
            self._sweep.cancel()
        for server in self._servers:
            server.close()
        self._servers.clear()
        connections: set[Any] = self._state.connections
        until = loop.time() + self._limits.grace_seconds
        while (connections or self._state.tasks) and loop.time() < until:
            for connection in list(connections):
                connection.shutdown()
            await asyncio.sleep(0.02)
        for connection in list(connections):
            connection.transport.abort()
        await asyncio.sleep(0)
        tasks = list(self._state.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.stop()

    def _end_slow(self) -> None:
        loop = asyncio.get_running_loop()
        oldest = loop.time() - self._limits.request_seconds
        for connection in list(self._state.connections):
            if isinstance(connection, _Connection) and 0 < connection.reading_since < oldest:
                connection.transport.abort()
        self._sweep = loop.call_later(_SWEEP, self._end_slow)


_SWEEP = 10.0


class _State(ServerState):
    """uvicorn's, with a Date header that is made at most once a second instead of by a timer."""

    def __init__(self) -> None:
        self._second = 0
        self._headers: list[tuple[bytes, bytes]] = []
        super().__init__()

    @property
    def default_headers(self) -> list[tuple[bytes, bytes]]:
        now = int(time.time())
        if now != self._second:
            self._second = now
            self._headers = [(b"date", formatdate(now, usegmt=True).encode())]
        return self._headers

    @default_headers.setter
    def default_headers(self, value: list[tuple[bytes, bytes]]) -> None:
        pass


class _Joined:
    """What uvicorn writes answers to: a held head goes out with its body, in one TLS record and one system call."""

    __slots__ = ("_head", "_transport", "hold")

    def __init__(self, transport: asyncio.Transport) -> None:
        self.hold = False
        """The next write is a head whose body follows at once."""
        self._head = b""
        self._transport = transport

    def write(self, data: bytes) -> None:
        if self.hold:
            self.hold, self._head = False, data
        elif self._head:
            head, self._head = self._head, b""
            self._transport.write(head + data)
        else:
            self._transport.write(data)

    def close(self) -> None:
        if self._head:
            self.write(b"")
        self._transport.close()

    def is_closing(self) -> bool:
        return self._transport.is_closing()


class _Connection(HttpToolsProtocol):
    """One HTTP/1.1 connection."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        limits: Limits,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.logger = library_log
        self.limits = limits
        self.stream: Stream | None = None
        self.reading_since = 0.0
        """Loop time at which the request that is being read began; 0 between requests."""
        self._head_bytes = 0
        self._in_head = True
        self._raw: bytes | None = None
        """After a request to leave HTTP: what came behind it."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        tls = transport.get_extra_info("ssl_object")
        certificate = tls.getpeercert(binary_form=True) if tls is not None else None
        peer = Peer(address=address_of(transport.get_extra_info("peername")), certificate=certificate)
        self.app_state = {"peer": peer, "connection": self}  # uvicorn hands a copy to each request, WebSockets too
        self.reading_since = self.loop.time()
        self._joined = _Joined(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self.stream is not None:
            self.stream.end()

    @property
    def lost(self) -> bool:
        return self.transport.is_closing()

    def join(self) -> None:
        """The answer's head waits for its body, which is sent next."""
        self._joined.hold = True

    def data_received(self, data: bytes) -> None:
        if self._raw is not None:  # between a request to upgrade and its answer nothing is due
            self._raw += data
            self.transport.pause_reading()
            return
        super().data_received(data)
        if self._in_head and not self.transport.is_closing():
            self._head_bytes += len(data)
            if self._head_bytes > self.limits.head_bytes:
                self._refuse(431, "RequestHeaderFieldsTooLarge", "the request's head is too large")

    def upgrade(self, head: bytes, *, protocol: str) -> Channel | None:
        if self._raw is None or self.lost:
            return None
        self.connections.discard(self)
        self._unset_keepalive_if_required()
        self.cycle.disconnected = True  # its answer is given here
        self.transport.write(head)
        return RawChannel(self.transport, protocol=protocol, connections=self.connections, early=self._raw)

    def send_400_response(self, msg: str) -> None:
        self._refuse(400, "BadRequest", "the request is malformed")

    def _refuse(self, code: int, reason: str, message: str) -> None:
        """Answer what cannot even be parsed, and close; nothing when an answer is already under way."""
        if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
            status = ApiError(message).status | {"code": code, "reason": reason}
            response = error_response(ApiError(message, status=status))
            assert isinstance(response.body, bytes)
            head = f"HTTP/1.1 {code} {reason}\r\ncontent-type: application/json\r\nconnection: close\r\n"
            self.transport.write(f"{head}content-length: {len(response.body)}\r\n\r\n".encode() + response.body)
        self.transport.close()

    def on_message_begin(self) -> None:
        self._in_head = True
        self.reading_since = self.reading_since or self.loop.time()
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:  # what follows the body are trailers: a proxy in front has not looked at them
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._head_bytes = 0
        super().on_headers_complete()
        if self.cycle is not None:
            self.cycle.transport = self._joined  # type: ignore[assignment] # all that a cycle uses of a transport

    def on_message_complete(self) -> None:
        self.reading_since = 0.0
        super().on_message_complete()

    def handle_websocket_upgrade(self) -> None:
        self.reading_since = 0.0
        super().handle_websocket_upgrade()

    def _unsupported_upgrade_warning(self) -> None:
        """An upgrade that is not offered: the request is answered as it is; the parser is of no use after it."""
        self.reading_since = 0.0
        self._raw = b""
        if self.cycle is not None:
            self.cycle.keep_alive = False
            self.cycle.more_body = False
            self.cycle.message_event.set()

    def shutdown(self) -> None:
        super().shutdown()
        if self.stream is not None and self.stream.waiting:
            self.stream.end()


def _websocket(*args: Any, **kwargs: Any) -> asyncio.Protocol:
    """One WebSocket connection; its library is imported with the first."""
    from .websocket import WebSocket

    return WebSocket(*args, **kwargs)
