"""Bodies over a WebSocket, for clients that have no other streams: logs in pieces, a watch event by event.

A watch is one message an event, a text or the bytes of protobuf, whatever subprotocol is offered
(apiserver/pkg/endpoints/handlers/watch.go). Logs are binary.k8s.io (also when nothing is asked for), or
base64.binary.k8s.io in text messages.
"""

import asyncio
import base64
import functools
from collections.abc import AsyncIterable, Callable, Iterable

from pybernetes.api import proto
from pybernetes.api.errors import BadRequest
from pybernetes.wire import Channel, Pace, Request, Response, Upgrade, offered
from pybernetes.wire.answer import close_body

_BASE64 = "base64.binary.k8s.io"
_PROTOCOLS = ("binary.k8s.io", _BASE64)

Body = bytes | AsyncIterable[bytes]
Messages = Callable[[bytes], Iterable[bytes]]
"""What a chunk of a body is sent as."""


def chosen_protocol(request: Request) -> str:
    """Of a log. Raises BadRequest when none that is offered is spoken here."""
    names = offered(request)
    found = next((name for name in names if name in _PROTOCOLS), None)
    if names and found is None:
        raise BadRequest("none of the subprotocols offered is spoken here")
    return found or ""


def log_socket(protocol: str, body: Body) -> Response:
    """One message for each chunk of the log; it ends with the log, or when the client leaves."""
    text = protocol == _BASE64
    messages: Messages = (lambda chunk: (base64.b64encode(chunk),)) if text else lambda chunk: (chunk,)
    run = functools.partial(_send, body=body, messages=messages, text=text)
    return Response(upgrade=Upgrade(protocol=protocol, run=run))


def watch_socket(request: Request, response: Response) -> Response:
    """The watch that a response is the beginning of, as messages; an error stays as it is."""
    if isinstance(response.body, bytes):
        return response
    text = response.headers.get("content-type") != proto.WATCH_TYPE
    messages: Messages = bytes.splitlines if text else proto.frames
    run = functools.partial(_send, body=response.body, messages=messages, text=text)
    protocol = next(iter(offered(request)), "")
    return Response(upgrade=Upgrade(protocol=protocol, run=run, pace=Pace.LIVE))


async def _send(channel: Channel, *, body: Body, messages: Messages, text: bool) -> None:
    sending = asyncio.create_task(_copy(channel, body, messages, text=text))
    leaving = asyncio.create_task(_gone(channel))
    try:
        await asyncio.wait((sending, leaving), return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (sending, leaving):
            task.cancel()
        await asyncio.gather(sending, leaving, return_exceptions=True)
        await close_body(body)


async def _copy(channel: Channel, body: Body, messages: Messages, *, text: bool) -> None:
    if isinstance(body, bytes):
        for message in messages(body) if body else ():
            await channel.send(message, text=text)
        return
    async for chunk in body:
        for message in messages(chunk):
            await channel.send(message, text=text)


async def _gone(channel: Channel) -> None:
    while await channel.receive() is not None:
        pass  # a reader has nothing to say
