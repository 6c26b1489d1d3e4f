"""One HTTP/1.1 connection: uvicorn's httptools protocol, subclassed for what an API server needs besides.

Added to uvicorn's: the peer's certificate, limits on heads, bodies, pipelines and slow peers, error bodies that are
Status objects, streams that end with their peer, leaving HTTP for SPDY, answers to HTTP/1.0.
"""

import asyncio
import time
from collections.abc import Callable
from email.utils import formatdate
from http import HTTPStatus
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from pybernetes.api.errors import ApiError

from .answer import error_response
from .asgi import Stream, library_log
from .limits import Limits
from .message import Channel, Pace, Peer
from .raw import RawChannel
from .sockets import address_of

_UNENDING = 1 << 62
_LINGER_SECONDS = 0.2


class State(ServerState):
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


class Joined:
    """What uvicorn writes answers to: a held head goes out with its body, in one TLS record and one system call."""

    __slots__ = ("_head", "_transport", "hold")

    def __init__(self, transport: asyncio.Transport) -> None:
        self.hold = False
        """The next write is a head whose body follows at once."""
        self._head = b""
        self._transport = transport

    def write(self, data: bytes) -> None:
        if self._transport.is_closing():  # uvloop's refuses
            self.hold, self._head = False, b""
        elif self.hold:
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


class Refused(Exception):
    """Raised inside the parser's callbacks: what this request is answered, before the connection is closed."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


_TOO_MUCH = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "the request's head is too large"
_REASONS = {HTTPStatus.BAD_REQUEST: "BadRequest", HTTPStatus.EXPECTATION_FAILED: "ExpectationFailed"}


class Connection(HttpToolsProtocol):
    """`left` is called once, when the connection is over, whatever protocol it has then."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        limits: Limits,
        left: Callable[[], None] = lambda: None,
        spliced: Callable[[bytes], bool] | None = None,
    ) -> None:
        """`spliced` says of a request's target that its WebSockets are not opened here but passed on as bytes."""
        super().__init__(config, server_state, app_state, _loop)
        self.logger = library_log
        self.limits = limits
        self.left = left
        self.spliced = spliced
        self.stream: Stream | None = None
        self.pace = Pace.WHOLE
        """Of the answer that is under way."""
        self.reading_since = 0.0
        """Loop time at which the request that is being read began; 0 between requests."""
        self.answering_since = 0.0
        """Loop time at which the answer began; 0 between answers."""
        self.stalled_since = 0.0
        """Loop time since which the peer has left too much unread; 0 while it reads."""
        self._head_bytes = 0
        self._in_head = True
        self._refused: Refused | None = None
        self._over = False
        """After a refusal: whatever comes is thrown away."""
        self._raw: bytes | None = None
        """After a request to leave HTTP: what came behind it."""

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        tls = transport.get_extra_info("ssl_object")
        certificate = tls.getpeercert(binary_form=True) if tls is not None else None
        peer = Peer(address=address_of(transport.get_extra_info("peername")), certificate=certificate)
        self.app_state = {"peer": peer, "connection": self}  # uvicorn hands a copy to each request, WebSockets too
        self.reading_since = self.loop.time()
        self._joined = Joined(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._unset_keepalive_if_required()
        self.pipeline.clear()
        self.left()
        if self.stream is not None:
            self.stream.end()

    def data_received(self, data: bytes) -> None:
        if self._raw is not None:  # between a request to upgrade and its answer nothing is due
            self._raw += data
            self.transport.pause_reading()
            return
        if self._over or self.transport.is_closing():
            return
        super().data_received(data)
        if self._in_head and not self._over and not self.transport.is_closing():
            self._head_bytes += len(data)  # of a field that does not end: the parser tells of whole ones
            if self._head_bytes > self.limits.head_bytes + self.limits.target_bytes:
                self._refuse(Refused(*_TOO_MUCH))

    def pause_writing(self) -> None:
        super().pause_writing()
        self.stalled_since = self.loop.time()

    def resume_writing(self) -> None:
        super().resume_writing()
        self.stalled_since = 0.0

    def overdue(self, now: float) -> bool:
        """Whether the peer takes longer, at loop time `now`, than it may."""
        limits = self.limits
        if self.reading_since:
            bound = limits.head_seconds if self._in_head else limits.request_seconds
            if now - self.reading_since > bound:
                return True
        if self.pace is Pace.FREE:
            return False
        if self.stalled_since and now - self.stalled_since > limits.write_seconds:
            return True
        whole = self.pace is Pace.WHOLE and self.answering_since
        return bool(whole) and now - self.answering_since > limits.answer_seconds

    # For the application (asgi.Line)

    @property
    def lost(self) -> bool:
        return self.transport.is_closing()

    def join(self) -> None:
        """The answer's head waits for its body, which is sent next."""
        self._joined.hold = True

    def begin(self, pace: Pace) -> None:
        """An answer begins."""
        self.pace = pace
        self.answering_since = self.loop.time()

    def finish(self) -> None:
        self.pace = Pace.WHOLE
        self.answering_since = 0.0

    def unhurried(self) -> None:
        """The request's body may take as long as it likes."""
        self.reading_since = 0.0

    def unframed(self, *, last: bool) -> None:
        """The answer ends with its connection, for peers that know no chunks (HTTP/1.0); `last` before its end."""
        self.cycle.chunked_encoding = False
        self.cycle.expected_content_length = 0 if last else _UNENDING

    def cut(self) -> None:
        self.transport.abort()

    def upgrade(self, head: bytes, *, protocol: str) -> Channel | None:
        if self._raw is None or self.lost:
            return None
        self.connections.discard(self)
        self._unset_keepalive_if_required()
        self.cycle.disconnected = True  # its answer is given here
        self.transport.write(head)
        return RawChannel(
            self.transport, protocol=protocol, connections=self.connections, early=self._raw, left=self.left
        )

    # Refusals

    def send_400_response(self, msg: str) -> None:
        refused, self._refused = self._refused, None
        self._refuse(refused or Refused(HTTPStatus.BAD_REQUEST, "the request is malformed"))

    def _refuse(self, refused: Refused) -> None:
        """Answer what is not even looked at, and close; nothing when an answer is already under way."""
        if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
            status, message = refused.status, str(refused)
            body = ApiError(message).status | {"code": int(status), "reason": _REASONS.get(status, "")}
            response = error_response(ApiError(message, status=body))
            assert isinstance(response.body, bytes)
            head = f"HTTP/1.1 {int(status)} {status.phrase}\r\ncontent-type: application/json\r\nconnection: close\r\n"
            self.transport.write(f"{head}content-length: {len(response.body)}\r\n\r\n".encode() + response.body)
        self._over = True
        self.pipeline.clear()
        # At once, with bytes unread, the kernel would throw the answer away
        self.loop.call_later(_LINGER_SECONDS, self.transport.close)

    def _not(self, status: HTTPStatus, message: str) -> None:
        """Raises Refused, which ends the parser's work."""
        self._refused = Refused(status, message)
        raise self._refused

    # The parser's callbacks

    def on_message_begin(self) -> None:
        self._in_head = True
        self._head_bytes = 0
        self.reading_since = self.reading_since or self.loop.time()
        if len(self.pipeline) >= self.limits.pipelined:
            self._not(HTTPStatus.BAD_REQUEST, "too many requests are sent ahead of their answers")
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        if len(self.url) > self.limits.target_bytes:
            self._not(HTTPStatus.REQUEST_URI_TOO_LONG, "the request's target is too long")

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._in_head:  # what follows the body are trailers: a proxy in front has not looked at them
            return
        super().on_header(name, value)
        self._head_bytes += len(name) + len(value)
        if len(self.headers) > self.limits.headers or self._head_bytes > self.limits.head_bytes:
            self._not(*_TOO_MUCH)

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._head_bytes = 0
        self._check_head()
        super().on_headers_complete()
        if self.cycle is not None:
            self.cycle.transport = self._joined  # type: ignore[assignment] # all that a cycle uses of a transport

    def _check_head(self) -> None:
        """What a parser does not look at (RFC 9112 section 3.2, RFC 9110 section 10.1.1)."""
        names = [name for name, _ in self.headers]
        if b"host" not in names and self.parser.get_http_version() == "1.1":
            self._not(HTTPStatus.BAD_REQUEST, "missing required Host header")
        if b"expect" in names and not self.expect_100_continue:
            self._not(HTTPStatus.EXPECTATION_FAILED, "the expectation cannot be met")

    def on_message_complete(self) -> None:
        self.reading_since = 0.0
        super().on_message_complete()

    def _should_upgrade(self) -> bool:
        return super()._should_upgrade() and not (self.spliced is not None and self.spliced(self.url))

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
