"""The client's side of the socket, on aiohttp: requests, streamed bodies and WebSockets to one server.

Importing this costs some 0.2 s; nothing else does it (see the package's docstring).
"""

import asyncio
import copy
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from typing import Any

import aiohttp
from aiohttp.client_ws import ClientWebSocketResponse
from yarl import URL

from pybernetes import __version__
from pybernetes.api.errors import ApiError, error_of

from .answer import add_header, end_to_end
from .message import Channel, Request, Response, Spliced
from .sockets import open_socket
from .splice import Target, head_of, splice
from .tls import client_context
from .url import encode_target

_MESSAGE_BYTES = 16 << 20
_AGENT = f"pybernetes/{__version__}"


class HttpTransport:
    """A Transport to the server at a base URL ("https://10.0.0.1:6443").

    `ca`, `certificate` and `key` are PEM bytes; with `ca` no other authority is trusted. `token` is asked for before
    every request ("" for none), so it may read a file that is renewed. Connections are kept and used again; a watch
    has one of its own. `timeout_seconds` bounds a whole exchange, or for a streamed answer its beginning.
    """

    def __init__(
        self,
        server: str,
        *,
        ca: bytes = b"",
        certificate: bytes = b"",
        key: bytes = b"",
        token: Callable[[], str] | None = None,
        server_name: str = "",
        insecure: bool = False,
        timeout_seconds: float = 60.0,
        connect_seconds: float = 10.0,
    ) -> None:
        self.server = server.rstrip("/")
        self._token = token
        self._server_name = server_name or None
        self._whole = aiohttp.ClientTimeout(total=timeout_seconds, connect=connect_seconds)
        self._streamed = aiohttp.ClientTimeout(connect=connect_seconds)
        self._timeout_seconds = timeout_seconds
        self._ca, self._insecure = ca, insecure
        self._tls: ssl.SSLContext | None = None
        self.show(certificate, key)
        self._pool = _Pool()

    def show(self, certificate: bytes, key: bytes) -> None:
        """Show this certificate (PEM) on every new connection; those that are open, watches among them, stay."""
        if self.server.startswith("https:"):
            self._tls = client_context(ca=self._ca, certificate=certificate, key=key, insecure=self._insecure)

    async def send(self, request: Request) -> Response:
        with _translated(self.server):
            if not request.stream:
                async with await self._start(request, self._whole) as answer:
                    return Response(status=answer.status, headers=_headers(answer), body=await answer.read())
            async with asyncio.timeout(None if request.patient else self._timeout_seconds):
                answer = await self._start(request, self._streamed)
                if answer.status >= 400 and not request.patient:
                    return Response(status=answer.status, headers=_headers(answer), body=await answer.read())
        body, length = _Body(answer, self.server), answer.content_length
        return Response(status=answer.status, headers=_headers(answer), body=body, length=length)

    async def connect(self, request: Request, *, protocols: Sequence[str]) -> Channel:
        with _translated(self.server):
            async with asyncio.timeout(self._timeout_seconds):
                socket = await self._pool.session(self.server).ws_connect(
                    self._url(request),
                    protocols=protocols,
                    headers=self._headers(request),
                    max_msg_size=_MESSAGE_BYTES,
                    **self._tls_options(),
                )
        return _SocketChannel(socket)

    async def splice(self, request: Request) -> Spliced:
        url = URL(self.server)
        tls = self._tls if url.scheme == "https" else None
        target = Target(url.host or "", url.port or 0, tls, self._server_name or url.host)
        headers = {"host": url.authority, **request.headers}
        head = head_of(request.method, self._url(request).raw_path_qs, headers)
        with _translated(self.server):
            return await splice(target, head)

    def to(self, server: str) -> "HttpTransport":
        """One to another server, with the same trust and credentials and the same pool; closed with this one."""
        found = copy.copy(self)
        found.server = server.rstrip("/")
        return found

    async def close(self) -> None:
        await self._pool.close()

    async def _start(self, request: Request, timeout: aiohttp.ClientTimeout) -> aiohttp.ClientResponse:
        return await self._pool.session(self.server).request(
            request.method,
            self._url(request),
            headers=self._headers(request),
            data=_data(request),
            timeout=timeout,
            allow_redirects=False,
            raise_for_status=False,
            **self._tls_options(),
        )

    def _url(self, request: Request) -> URL:
        return URL(self.server + (request.target or encode_target(request.path, request.query)), encoded=True)

    def _headers(self, request: Request) -> dict[str, str]:
        headers = {"user-agent": _AGENT, **end_to_end(request.headers)}
        if request.upload is not None and request.upload.length is not None:
            headers["content-length"] = str(request.upload.length)
        if self._token is not None and "authorization" not in headers and (token := self._token()):
            headers["authorization"] = f"Bearer {token}"
        return headers

    def _tls_options(self) -> dict[str, Any]:
        return {"ssl": self._tls, "server_hostname": self._server_name} if self._tls is not None else {}


class _Pool:
    """Connections that are kept and used again; made in the loop that first sends."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None
        self._closed = False

    async def close(self) -> None:
        self._closed = True
        if self._session is not None:
            await self._session.close()
            self._session = None

    def session(self, server: str) -> aiohttp.ClientSession:
        """Raises ConnectionError after `close`."""
        if self._closed:
            raise ConnectionError(f"{server}: the transport is closed")
        if self._session is None:
            # No limit: each watch holds a connection, and a limit would let them starve the calls
            connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=60.0, socket_factory=open_socket)
            self._session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,  # who asks for an encoding gets it; a proxy passes it on
                skip_auto_headers=("accept-encoding", "user-agent", "content-type"),
                raise_for_status=_refused_upgrade,
            )
        return self._session


class _Body:
    """The chunks of an answer as they come."""

    def __init__(self, answer: aiohttp.ClientResponse, server: str) -> None:
        self._answer = answer
        self._server = server

    def __aiter__(self) -> "_Body":
        return self

    async def __anext__(self) -> bytes:
        with _translated(self._server):
            try:
                chunk = await self._answer.content.readany()
            except BaseException:
                self._answer.close()
                raise
        if not chunk:
            raise StopAsyncIteration
        return chunk

    async def aclose(self) -> None:
        """Drop the connection unless the body is at its end; the server sees the peer leave."""
        self._answer.close()


class _SocketChannel:
    """A Channel over aiohttp's WebSocket."""

    def __init__(self, socket: "ClientWebSocketResponse[bool]") -> None:
        self._socket = socket

    @property
    def protocol(self) -> str:
        return self._socket.protocol or ""

    async def receive(self) -> bytes | None:
        message = await self._socket.receive()
        if message.type is aiohttp.WSMsgType.BINARY:
            return bytes(message.data)
        if message.type is aiohttp.WSMsgType.TEXT:
            return str(message.data).encode()
        return None

    async def send(self, data: bytes, *, text: bool = False) -> None:
        if self._socket.closed:
            raise ConnectionResetError("the channel is closed")
        with _translated("channel"):
            await (self._socket.send_str(data.decode()) if text else self._socket.send_bytes(data))

    async def close(self, code: int = 1000, reason: str = "") -> None:
        await self._socket.close(code=code, message=reason.encode()[:100])


def _data(request: Request) -> Any:
    """What aiohttp sends: an upload piece by piece, bytes in one go (of which it warns when that is much)."""
    if request.upload is not None:
        return aiter(request.upload)
    return (BytesIO(request.body) if len(request.body) > 1 << 20 else request.body) or None


async def _refused_upgrade(answer: aiohttp.ClientResponse) -> None:
    """aiohttp would throw away the body of a refused WebSocket handshake; the session calls this before."""
    if answer.status != 101:
        raise error_of(answer.status, await answer.read())


def _headers(answer: aiohttp.ClientResponse) -> dict[str, str]:
    headers: dict[str, str] = {}
    for name, value in answer.headers.items():
        add_header(headers, name, value)
    return headers


@contextmanager
def _translated(server: str) -> Iterator[None]:
    """aiohttp's errors as the protocol's: ConnectionError, TimeoutError."""
    try:
        yield
    except (ApiError, ConnectionError):
        raise
    except aiohttp.ConnectionTimeoutError as error:
        raise ConnectionError(f"{server}: no connection in time") from error
    except TimeoutError as error:
        raise TimeoutError(f"{server}: no answer in time") from error
    except (aiohttp.ClientError, OSError) as error:
        raise ConnectionError(f"{server}: {error}") from error
