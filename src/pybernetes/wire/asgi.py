"""The bridge: ASGI 3 events on one side, a Handler on the other. It knows no HTTP library."""

import asyncio
import gzip
import logging
from collections.abc import AsyncIterable, Sequence
from typing import Any, Protocol

from pybernetes.api.errors import BadRequest, TooLarge

from .answer import answer, close_body, converse, error_response, goes_on, takes_gzip, whole
from .limits import Limits
from .message import SPDY, Channel, Handler, Pace, Peer, Request, Response, Upgrade
from .packed import Packed
from .upload import Upload
from .url import BadTarget, any_path, decode_path, decode_query

library_log = logging.getLogger("pybernetes.wire.library")
library_log.setLevel(logging.ERROR)  # uvicorn tells of every handshake at INFO and of every bad peer at WARNING

_JOINED_BYTES = 64 << 10
"""Bodies up to this size go out with their head: joining costs a copy."""
_PIECE_BYTES = 256 << 10
"""Longer bodies go out in pieces, each when the peer has read most of the one before."""
_CLOSE_SECONDS = 5.0
_ONCE = frozenset({"authorization", "content-type", "host"})
"""Headers whose repetition has no honest reading."""


class Line(Protocol):
    """The connection under a request, in scope["state"]["connection"]."""

    stream: "Stream | None"

    @property
    def lost(self) -> bool: ...

    def join(self) -> None:
        """The head that is sent next goes out together with its body."""
        ...

    def begin(self, pace: Pace) -> None:
        """An answer begins."""
        ...

    def finish(self) -> None:
        """It is over."""
        ...

    def unhurried(self) -> None:
        """The request's body may take as long as it likes."""
        ...

    def unframed(self, *, last: bool) -> None:
        """The answer's end is the connection's; said before it begins, and with `last` before it ends."""
        ...

    def cut(self) -> None:
        """End the connection at once."""
        ...

    def upgrade(self, head: bytes, *, protocol: str) -> Channel | None:
        """Leave HTTP with this head; None when the request did not ask for it properly."""
        ...


class Stream:
    """A body on its way out, pulled by the task that made this; `end` stops it from outside."""

    def __init__(self, body: AsyncIterable[bytes]) -> None:
        self.waiting = False
        """Between two chunks, as a watch is most of the time."""
        self._body = body
        self._iterator = aiter(body)
        self._task = asyncio.current_task()
        self._ending = asyncio.Event()

    def end(self) -> None:
        """No further chunk; the one that is waited for is not waited for any more."""
        if not self._ending.is_set():
            self._ending.set()
            if self.waiting and self._task is not None:
                self._task.cancel()

    async def next(self) -> bytes | None:
        """The next chunk, None at the end."""
        if self._ending.is_set():
            return None
        self.waiting = True
        try:
            return await anext(self._iterator, None)
        except asyncio.CancelledError:
            if not self._ending.is_set() or self._task is None or self._task.uncancel() > 0:
                raise
            return None
        finally:
            self.waiting = False

    async def close(self) -> None:
        await close_body(self._body)


class App:
    """An ASGI application that calls a Handler."""

    def __init__(self, handler: Handler, limits: Limits, *, uploads: bool = False, any_target: bool = False) -> None:
        self._handler = handler
        self._limits = limits
        self._uploads = uploads
        self._any_target = any_target

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
            return
        upload: Upload | None = None
        try:
            request = _request(scope, any_target=self._any_target)
            if "content-length" in request.headers or "transfer-encoding" in request.headers:
                upload = request.upload = self._upload(scope, request, receive)
                if not self._uploads:
                    request.body, request.upload = await upload.read(), None
        except ConnectionError:
            return
        except (BadRequest, TooLarge) as error:
            response = error_response(error)
        else:
            response = await answer(self._handler, request)
            if response.upgrade is not None:
                if await self._leave(scope, request, response.upgrade):
                    return
                response = error_response(BadRequest("this needs a WebSocket"))
            response = await self._compressed(request, response)
        if b"expect" in dict(scope["headers"]) and (upload is None or not upload.begun):
            # Nobody knows whether the body will come
            response.headers = {**response.headers, "connection": "close"}
        await self._respond(scope, send, response)

    def _upload(self, scope: Any, request: Request, receive: Any) -> Upload:
        length = request.headers.get("content-length", "")
        line: Line = scope["state"]["connection"]
        return Upload(
            receive,
            length=int(length) if length.isdecimal() else None,
            limit=self._limits.body_bytes,
            unhurried=line.unhurried,
        )

    async def _leave(self, scope: Any, request: Request, upgrade: Upgrade) -> bool:
        """Run what was agreed on after `Upgrade: SPDY/3.1`, or with another server; False when it was not asked for."""
        if upgrade.headers is not None:
            lines = [f"{name}: {_clean(one)}" for name, value in upgrade.headers.items() for one in value.split("\n")]
        elif upgrade.protocol.startswith(SPDY) and request.headers.get("upgrade", "").lower() == "spdy/3.1":
            lines = ["connection: Upgrade", "upgrade: SPDY/3.1"]
            lines.append(f"x-stream-protocol-version: {upgrade.protocol.removeprefix(SPDY)}")
        else:
            return False
        head = "\r\n".join(("HTTP/1.1 101 Switching Protocols", *lines, "", ""))
        channel = scope["state"]["connection"].upgrade(head.encode(), protocol=upgrade.protocol)
        if channel is None:
            return False
        await converse(upgrade, channel)
        return True

    async def _compressed(self, request: Request, response: Response) -> Response:
        """Long bodies, and lists that are streamed because they are long; not what goes on, or is another's."""
        threshold, body = self._limits.gzip_bytes, response.body
        if not threshold or response.pace is not Pace.WHOLE or "content-encoding" in response.headers:
            return response
        if isinstance(body, bytes) and len(body) < threshold:
            return response
        if not takes_gzip(request.headers.get("accept-encoding", "")):
            return response
        if isinstance(body, bytes):
            response.body = await asyncio.to_thread(gzip.compress, body, 1, mtime=0)
        else:
            response.body = Packed(body)
        vary = response.headers.get("vary", "")
        vary = f"{vary}, Accept-Encoding" if vary else "Accept-Encoding"
        response.headers = {**response.headers, "content-encoding": "gzip", "vary": vary}
        return response

    async def _respond(self, scope: Any, send: Any, response: Response) -> None:
        connection: Line = scope["state"]["connection"]
        connection.begin(response.pace)
        try:
            if isinstance(response.body, bytes):
                await self._send_whole(scope, send, response)
            else:
                await self._send_stream(scope, send, response)
        finally:
            connection.finish()

    async def _send_whole(self, scope: Any, send: Any, response: Response) -> None:
        headers, body = _encoded(response), response.body
        assert isinstance(body, bytes)
        if response.status not in (204, 304):
            headers.append((b"content-length", str(len(body)).encode()))
        if 0 < len(body) <= _JOINED_BYTES and scope["method"] != "HEAD":
            connection: Line = scope["state"]["connection"]
            connection.join()
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        if len(body) > _PIECE_BYTES and scope["method"] != "HEAD":
            view = memoryview(body)
            for start in range(0, len(view), _PIECE_BYTES):
                await send(
                    {"type": "http.response.body", "body": view[start : start + _PIECE_BYTES], "more_body": True}
                )
            body = b""
        await send({"type": "http.response.body", "body": body})

    async def _send_stream(self, scope: Any, send: Any, response: Response) -> None:
        connection: Line = scope["state"]["connection"]
        assert not isinstance(response.body, bytes)
        stream = connection.stream = Stream(response.body)
        unframed = scope["http_version"] == "1.0" and response.length is None
        try:
            if connection.lost:
                return
            headers = _encoded(response)
            if response.length is not None:
                headers.append((b"content-length", str(response.length).encode()))
            if unframed:
                connection.unframed(last=False)
            await send({"type": "http.response.start", "status": response.status, "headers": headers})
            if scope["method"] != "HEAD":
                while (chunk := await stream.next()) is not None:
                    if chunk:
                        await send({"type": "http.response.body", "body": chunk, "more_body": True})
            if unframed:
                connection.unframed(last=True)
            await send({"type": "http.response.body", "body": b""})
        except ConnectionError:
            connection.cut()  # the body broke off: its reader must not take it for whole
        finally:
            connection.stream = None
            await stream.close()

    async def _websocket(self, scope: Any, receive: Any, send: Any) -> None:
        await receive()  # websocket.connect
        try:
            request = _request(scope, any_target=self._any_target)
        except BadRequest as error:
            response = error_response(error)
        else:
            response = await answer(self._handler, request)
        if response.upgrade is not None and response.upgrade.headers is None:
            protocol = response.upgrade.protocol
            await send({"type": "websocket.accept", "subprotocol": protocol or None, "headers": []})
            connection: Line = scope["state"]["connection"]
            connection.begin(response.upgrade.pace)
            await converse(response.upgrade, _SocketChannel(protocol, receive, send, connection))
            return
        if response.upgrade is not None:
            response = error_response(BadRequest("this connection cannot be passed on"))
        headers, body = _encoded(response), await whole(response.body)
        headers.append((b"content-length", str(len(body)).encode()))
        await send({"type": "websocket.http.response.start", "status": response.status, "headers": headers})
        await send({"type": "websocket.http.response.body", "body": body})


class _SocketChannel:
    """A Channel over ASGI's WebSocket events."""

    def __init__(self, protocol: str, receive: Any, send: Any, line: Line) -> None:
        self.protocol = protocol
        self._line = line
        self._receive = receive
        self._send = send
        self._closed = False

    async def receive(self) -> bytes | None:
        if self._closed:
            return None
        event = await self._receive()
        if event["type"] == "websocket.receive":
            data: bytes | None = event.get("bytes")
            return event["text"].encode() if data is None else data
        self._closed = True
        return None

    async def send(self, data: bytes, *, text: bool = False) -> None:
        if self._closed:
            raise ConnectionResetError("the channel is closed")
        try:
            await self._send({"type": "websocket.send"} | ({"text": data.decode()} if text else {"bytes": data}))
        except OSError as error:  # uvicorn's ClientDisconnected
            self._closed = True
            raise ConnectionResetError("the peer has gone") from error

    async def close(self, code: int = 1000, reason: str = "") -> None:
        if self._closed:
            return
        self._closed = True
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self._send({"type": "websocket.close", "code": code, "reason": reason[:100]})
        except TimeoutError:
            self._line.cut()  # it does not even read the goodbye
        except (OSError, RuntimeError):
            return  # the peer, or a shutdown, was first


def _request(scope: Any, *, any_target: bool) -> Request:
    """A Request without its body. Raises BadRequest."""
    fields = scope["headers"]
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in fields}
    if len(headers) != len(fields):
        headers = _joined(fields)
    method = scope.get("method", "GET")
    if scope["type"] == "websocket":  # wsproto has taken these out
        headers |= {"connection": "upgrade", "upgrade": "websocket"}
        if scope["subprotocols"]:
            headers["sec-websocket-protocol"] = ", ".join(scope["subprotocols"])
    try:
        raw: tuple[bytes, bytes] = scope["raw_path"], scope["query_string"]
        path = any_path(raw[0]) if any_target else decode_path(raw[0])
        query = decode_query(raw[1], errors="replace" if any_target else "strict")
    except BadTarget as error:
        raise BadRequest(str(error)) from error
    peer: Peer = scope["state"]["peer"]
    return Request(method=method, path=path, query=query, headers=headers, raw=raw, peer=peer)


def _joined(raw: Sequence[tuple[bytes, bytes]]) -> dict[str, str]:
    """Headers of which some are repeated. Raises BadRequest."""
    headers: dict[str, str] = {}
    for name, value in ((name.decode("latin-1"), value.decode("latin-1")) for name, value in raw):
        if name in headers:
            if name in _ONCE:
                raise BadRequest(f"the header {name!r} is repeated")
            headers[name] += ("; " if name == "cookie" else ", ") + value
        else:
            headers[name] = value
    return headers


def _encoded(response: Response) -> list[tuple[bytes, bytes]]:
    headers: list[tuple[bytes, bytes]] = []
    for key, value in response.headers.items():
        name = key.lower()
        if name == "set-cookie":
            headers += [(b"set-cookie", _clean(one).encode()) for one in value.split("\n")]
        elif goes_on(name):
            headers.append((name.encode(), _clean(value).encode()))
        elif name == "connection" and value == "close":
            headers.append((b"connection", b"close"))
    return headers


_CONTROLS = dict.fromkeys((*range(32), 127), " ")


def _clean(value: str) -> str:
    """A line break in a value would begin another header, or body; as in Go, it becomes a space."""
    return value if value.isprintable() else value.translate(_CONTROLS)
