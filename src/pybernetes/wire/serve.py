"""The server: sockets, TLS, connections and their end. Runs on uvloop and on asyncio's own loop (facts/http.md).

uvicorn gives the protocols (connection.py, websocket.py) as bare ASGI; its signals, lifespan and access logs are not
used. Connections are accepted here, to be counted before their handshake (listen.py).
"""

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable, Sequence
from typing import Any, Self

from uvicorn.config import Config

from .asgi import App
from .connection import Connection, State
from .door import Door, Entry
from .limits import Limits
from .listen import Listener, room
from .message import Handler
from .sockets import bind
from .tls import TlsFiles

__all__ = ["Limits", "Server", "TlsFiles"]

log = logging.getLogger("pybernetes.wire")

_BACKLOG = 1024
_SWEEP = 5.0


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
        shared: bool = False,
        uploads: bool = False,
        spliced: Callable[[bytes], bool] | None = None,
        any_target: bool = False,
    ) -> None:
        """`shared`: the next process may listen before this one ends.

        `stopping` is called when the end begins, `delay_seconds` before no more connections are taken.

        With `uploads` the handler gets bodies unread, as `Request.upload`, so that it can ask who sends them first.
        `spliced` says of a request's target that what it upgrades to is for the handler as bytes, WebSockets too.
        With `any_target` escaped separators, dot segments, control characters and what is no UTF-8 are for the handler.
        """
        self.addresses: tuple[tuple[str, int], ...] = ()
        self._limits = limits or Limits()
        self.door = Door(total=room(self._limits.connections), each=self._limits.connections_each)
        self.failed_handshakes = 0
        self.cut = 0
        """Connections that were ended because their peers were too slow."""
        self._handler = handler
        self._listen = listen
        self._tls = tls
        self._stopping = stopping
        self._shared = shared
        self._uploads = uploads
        self._spliced = spliced
        self._any_target = any_target
        self._state = State()
        self._listeners: list[Listener] = []
        self._greeting: set[asyncio.Task[None]] = set()
        self._context: ssl.SSLContext | None = None
        self._sweep: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        """Bind and accept. Raises OSError that names the address, ssl.SSLError or OSError for the TLS files."""
        loop = asyncio.get_running_loop()
        config = self._config()
        context = self._context = self._tls.server_context() if self._tls else None

        def enter(connection: socket.socket, entry: Entry) -> None:
            task = loop.create_task(self._greet(config, context, connection, entry))
            self._greeting.add(task)
            task.add_done_callback(self._greeting.discard)

        for sock in bind(self._listen, shared=self._shared):
            self._listeners.append(Listener(sock, self.door, enter))
        for listener in self._listeners:
            listener.start(backlog=_BACKLOG)
        self.addresses = tuple(one.sock.getsockname()[:2] for one in self._listeners)
        self._sweep = loop.call_later(_SWEEP, self._end_slow)

    def _config(self) -> Config:
        config = Config(
            app=App(self._handler, self._limits, uploads=self._uploads, any_target=self._any_target),
            http=Connection,
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
        return config

    async def _greet(
        self, config: Config, context: ssl.SSLContext | None, connection: socket.socket, entry: Entry
    ) -> None:
        """The handshake, if there is one; from then on the connection is its protocol's."""
        loop = asyncio.get_running_loop()
        protocol = Connection(
            config, self._state, {}, loop, limits=self._limits, left=entry.leave, spliced=self._spliced
        )
        timeouts: dict[str, Any] = {}
        if context is not None:
            timeouts = {"ssl_handshake_timeout": self._limits.handshake_seconds, "ssl_shutdown_timeout": 1.0}
        try:
            await loop.connect_accepted_socket(lambda: protocol, connection, ssl=context, **timeouts)
        except OSError as error:  # ssl.SSLError and TimeoutError are some
            self.failed_handshakes += 1
            entry.leave()
            connection.close()
            log.debug("handshake failed error=%s", error)
        except BaseException:
            entry.leave()
            connection.close()
            raise

    def reload(self, tls: TlsFiles) -> None:
        """Show this certificate on every new connection; those that are open stay. Raises OSError, ssl.SSLError."""
        self._tls = tls
        if self._context is not None:
            self._context.load_cert_chain(tls.certificate, tls.key)

    async def run(self) -> None:
        """Serve until cancelled."""
        if not self._listeners:
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
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()
        greeting = list(self._greeting)
        for task in greeting:
            task.cancel()
        await asyncio.gather(*greeting, return_exceptions=True)
        await self._drain(loop.time() + self._limits.grace_seconds)

    async def _drain(self, until: float) -> None:
        """Let what is under way end, until loop time `until`; cut the rest."""
        loop = asyncio.get_running_loop()
        connections: set[Any] = self._state.connections
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
        """Cut those who take too long; not when the loop itself is late, and has not read what they have sent."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        late = self._sweep is not None and now - self._sweep.when() > _SWEEP / 2
        for connection in () if late else list(self._state.connections):
            overdue = getattr(connection, "overdue", None)  # one that has left HTTP has no bounds
            if overdue is not None and overdue(now):
                self.cut += 1
                connection.transport.abort()
        self._sweep = loop.call_later(_SWEEP, self._end_slow)


def _websocket(*args: Any, **kwargs: Any) -> asyncio.Protocol:
    """One WebSocket connection; its library is imported with the first."""
    from .websocket import WebSocket

    return WebSocket(*args, **kwargs)
