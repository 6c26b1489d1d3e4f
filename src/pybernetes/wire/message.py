"""The values that cross the wire, the same on the socket, on the loopback transport and in tests."""

from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NamedTuple, Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """Who is at the other end: address ("ip:port"), and the verified client certificate as DER (None without one)."""

    address: str = ""
    certificate: bytes | None = None


class Pace(Enum):
    """How long the peer may take to read an answer (the bounds are `limits.Limits`')."""

    WHOLE = "whole"
    """It has an end, which the peer reads within minutes."""
    LIVE = "live"
    """It goes on, and the peer keeps up: a watch."""
    FREE = "free"
    """As the peer likes: logs in a pager, what comes through a proxy."""


class Upload(Protocol):
    """A request's body as it comes; `length` is what the head announces, None when it does not."""

    length: int | None

    async def read(self) -> bytes:
        """All of it. Raises TooLarge, ConnectionResetError when the peer leaves."""
        ...

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Its pieces, without limit. Raises ConnectionResetError."""
        ...


@dataclass(slots=True, kw_only=True)
class Request:
    """One request. `path` is percent-decoded and without the query; header names are lower case."""

    method: str = "GET"
    path: str = "/"
    query: Mapping[str, Sequence[str]] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    raw: tuple[bytes, bytes] | None = None
    """Path and query as they came, for who passes them on or writes them down; None where they did not come so."""
    target: str = ""
    """Sending side only, instead of path and query: both as they stand in the request line."""
    body: bytes = b""
    upload: Upload | None = None
    """Instead of `body`: from a Server with `uploads`, and to who is to be sent a body as it comes."""
    peer: Peer = Peer()
    stream: bool = False
    """Sending side only: the caller reads the response body as it comes (watch, follow)."""
    patient: bool = False
    """Sending side only, of a stream: no deadline, and an error's body comes as a stream too."""
    context: dict[str, Any] = field(default_factory=dict)
    """What filters learn on the way in (user, request id, audit); never sent."""

    def param(self, name: str, default: str = "") -> str:
        """The first value of a query parameter."""
        values = self.query.get(name)
        return values[0] if values else default

    def flag(self, name: str) -> bool:
        """A boolean query parameter as Kubernetes reads it: given is true, unless it says 0 or false in any case."""
        values = self.query.get(name)
        return values[0].lower() not in ("0", "false") if values else False


class Channel(Protocol):
    """A message-framed duplex connection (WebSocket, or a pair of queues in tests)."""

    @property
    def protocol(self) -> str:
        """The subprotocol both ends agreed on, "" for none."""
        ...

    async def receive(self) -> bytes | None:
        """The next message; None once the peer has closed."""
        ...

    async def send(self, data: bytes, *, text: bool = False) -> None:
        """Send one message; waits while the peer is slow. Raises ConnectionError when it has gone."""
        ...

    async def close(self, code: int = 1000, reason: str = "") -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Upgrade:
    """Instead of a body: accept the WebSocket with this subprotocol ("" for none), then run until it returns.

    "SPDY/3.1+NAME" is a channel of bytes: after `Upgrade: SPDY/3.1` those of the socket, on a WebSocket a tunnel.
    """

    protocol: str
    run: Callable[[Channel], Awaitable[None]]
    pace: Pace = Pace.FREE
    headers: Mapping[str, str] | None = None
    """Of the 101 that another server has given: from there on the channel is the socket's bytes, whatever they mean."""


@dataclass(slots=True, kw_only=True)
class Response:
    """One response. A streamed body is an async iterable of chunks; it is closed (aclose) when the peer goes away.

    Several `set-cookie` are one value with line breaks between them: it is the one header that cannot be joined.
    """

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | AsyncIterable[bytes] = b""
    upgrade: Upgrade | None = None
    pace: Pace = Pace.WHOLE
    length: int | None = None
    """Of a streamed body, where it is known."""


class Spliced(NamedTuple):
    """The answer to a request to upgrade; after a 101 the connection, whose messages are bytes as they come."""

    answer: Response
    channel: Channel | None = None


SPDY = "SPDY/3.1+"


def offered(request: Request) -> list[str]:
    """The protocols a request to upgrade offers, best first: of a WebSocket, or of SPDY ("SPDY/3.1+NAME")."""
    kind = request.headers.get("upgrade", "").lower()
    spdy = kind == "spdy/3.1"
    text = request.headers.get("x-stream-protocol-version" if spdy else "sec-websocket-protocol", "")
    names = [name.strip() for name in text.split(",") if name.strip()]
    return [SPDY + name for name in names or ["channel.k8s.io"]] if spdy else names


def wants_upgrade(request: Request) -> bool:
    """Whether it asks for a WebSocket or for SPDY."""
    return request.headers.get("upgrade", "").lower() in ("websocket", "spdy/3.1")


Handler = Callable[[Request], Awaitable[Response]]


class Transport(Protocol):
    """How a client reaches a server: HttpTransport over TLS, LoopbackTransport(handler) inside one process."""

    async def send(self, request: Request) -> Response:
        """Raises ConnectionError when the server cannot be reached, TimeoutError when it does not answer in time."""
        ...

    async def connect(self, request: Request, *, protocols: Sequence[str]) -> Channel:
        """Open a WebSocket. Raises ApiError (wire-shaped) when the server answers with an error instead."""
        ...

    async def close(self) -> None: ...


class RawTransport(Transport, Protocol):
    """One that also passes on what a request upgrades to, as bytes."""

    async def splice(self, request: Request) -> Spliced:
        """Send a request to upgrade, its headers as they are. Raises ConnectionError, TimeoutError."""
        ...
