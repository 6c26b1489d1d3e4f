"""A transport inside one process: the handler is called, with what a socket would have done to the request.

It is the road of `pybernetes server` to its own API, and of tests; one contract suite holds for it and HttpTransport.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pybernetes.api.errors import BadRequest, TooLarge, error_of

from .answer import BODY_BYTES, answer, close_body, converse, end_to_end, error_response, whole
from .message import Channel, Handler, Peer, Request, Response, Spliced, Upgrade, Upload
from .upload import too_large
from .url import BadTarget, checked_path


class LoopbackTransport:
    """A Transport to a handler. `context` is what each request's context begins with: who the process itself is."""

    def __init__(
        self,
        handler: Handler,
        *,
        peer: Peer = Peer(address="127.0.0.1:0"),
        context: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        body_bytes: int = BODY_BYTES,
    ) -> None:
        self._handler = handler
        self._peer = peer
        self._context = dict(context or {})
        self._headers = dict(headers or {})
        self._body_bytes = body_bytes
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    async def send(self, request: Request) -> Response:
        response = await self._answer(request, {})
        if response.upgrade is not None:
            response = error_response(BadRequest("this needs a WebSocket"))
        body = response.body
        headers = end_to_end(response.headers)
        if request.method == "HEAD":
            await close_body(body)
            body = b""
        elif request.stream and response.status < 400:
            body = _Body(body)
        elif not isinstance(body, bytes):
            body = await whole(_Body(body))
        return Response(status=response.status, headers=headers, body=body)

    async def connect(self, request: Request, *, protocols: Sequence[str]) -> Channel:
        headers = {"connection": "upgrade", "upgrade": "websocket"}
        if protocols:
            headers["sec-websocket-protocol"] = ", ".join(protocols)
        response = await self._answer(replace(request, method="GET", body=b""), headers)
        if response.upgrade is None:
            raise error_of(response.status, await whole(response.body))
        return self._converse(response.upgrade)

    def _converse(self, upgrade: Upgrade) -> Channel:
        ours, theirs = channel_pair(upgrade.protocol)
        task = asyncio.create_task(converse(upgrade, theirs))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return ours

    async def splice(self, request: Request) -> Spliced:
        """A handler says itself what it upgrades to."""
        response = await self._answer(replace(request, body=b""), {**request.headers})
        upgrade = response.upgrade
        if upgrade is None:
            return Spliced(replace(response, body=await whole(response.body)))
        if upgrade.headers is None:
            return Spliced(error_response(BadRequest("this needs a WebSocket")))
        channel = self._converse(upgrade)
        return Spliced(Response(status=101, headers=upgrade.headers), channel)

    async def close(self) -> None:
        self._closed = True
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _answer(self, request: Request, more: Mapping[str, str]) -> Response:
        if self._closed:
            raise ConnectionError("the transport is closed")
        body = request.body
        try:
            if request.upload is not None:
                body = await self._whole(request.upload)
            if len(body) > self._body_bytes:
                raise too_large(self._body_bytes)
            checked_path(request.path)
        except TooLarge as error:
            return error_response(error)
        except BadTarget as error:
            return error_response(BadRequest(str(error)))
        headers = end_to_end(request.headers)
        arrived = Request(
            method=request.method,
            path=request.path,
            query={name: list(values) for name, values in request.query.items() if values},
            raw=request.raw,
            headers={**self._headers, **headers, **more},
            body=body,
            peer=self._peer,
            context=dict(self._context),
        )
        return await answer(self._handler, arrived)

    async def _whole(self, upload: Upload) -> bytes:
        """A body that is sent as it comes, as its receiver reads it. Raises TooLarge."""
        chunks, size = [], 0
        async for chunk in upload:
            chunks.append(chunk)
            size += len(chunk)
            if size > self._body_bytes:
                raise too_large(self._body_bytes)
        return b"".join(chunks)


class _Body:
    """A streamed body; what breaks it inside is a broken connection outside, as over a socket."""

    def __init__(self, body: bytes | AsyncIterable[bytes]) -> None:
        self._body = body
        self._iterator = aiter(_once(body) if isinstance(body, bytes) else body)

    def __aiter__(self) -> "_Body":
        return self

    async def __anext__(self) -> bytes:
        try:
            while not (chunk := await anext(self._iterator)):
                pass
        except (StopAsyncIteration, ConnectionError):
            raise
        except Exception as error:  # the edge: over a socket the client sees a cut
            raise ConnectionResetError("the body broke off") from error
        return chunk

    async def aclose(self) -> None:
        await close_body(self._iterator)
        await close_body(self._body)


async def _once(body: bytes) -> AsyncIterable[bytes]:
    yield body


_MESSAGES = 32
"""Messages under way in one direction of a pair; a sender waits while they are unread."""


def channel_pair(protocol: str = "") -> tuple[Channel, Channel]:
    """Two ends of a Channel in memory."""
    there, back = _Pipe(), _Pipe()
    return _PairChannel(protocol, back, there), _PairChannel(protocol, there, back)


class _Pipe:
    """One direction: a bounded queue that either end can close."""

    def __init__(self) -> None:
        self.messages: deque[bytes] = deque()
        self.closed = False
        self._changed = asyncio.Event()

    def change(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def changed(self) -> None:
        await self._changed.wait()


class _PairChannel:
    def __init__(self, protocol: str, incoming: _Pipe, outgoing: _Pipe) -> None:
        self.protocol = protocol
        self._in = incoming
        self._out = outgoing

    async def receive(self) -> bytes | None:
        while not self._in.messages:
            if self._in.closed:
                return None
            await self._in.changed()
        message = self._in.messages.popleft()
        self._in.change()
        return message

    async def send(self, data: bytes, *, text: bool = False) -> None:
        del text
        while len(self._out.messages) >= _MESSAGES and not self._out.closed:
            await self._out.changed()
        if self._out.closed:
            raise ConnectionResetError("the channel is closed")
        self._out.messages.append(bytes(data))
        self._out.change()

    async def close(self, code: int = 1000, reason: str = "") -> None:
        del code, reason
        for pipe in (self._in, self._out):
            pipe.closed = True
            pipe.change()
