"""Logs over a WebSocket: binary.k8s.io (also when nothing is asked for), or base64.binary.k8s.io in text messages."""

import asyncio
import base64
import functools
from collections.abc import AsyncIterable

from pybernetes.api.errors import BadRequest
from pybernetes.wire import Channel, Request, Response, Upgrade, offered
from pybernetes.wire.answer import close_body

_BASE64 = "base64.binary.k8s.io"
_PROTOCOLS = ("binary.k8s.io", _BASE64)


def chosen_protocol(request: Request) -> str:
    """Raises BadRequest when none that is offered is spoken here."""
    names = offered(request)
    found = next((name for name in names if name in _PROTOCOLS), None)
    if names and found is None:
        raise BadRequest("none of the subprotocols offered is spoken here")
    return found or ""


def log_socket(protocol: str, body: bytes | AsyncIterable[bytes]) -> Response:
    """One message for each chunk of the log; it ends with the log, or when the client leaves."""
    return Response(upgrade=Upgrade(protocol=protocol, run=functools.partial(_send, body=body)))


async def _send(channel: Channel, *, body: bytes | AsyncIterable[bytes]) -> None:
    sending = asyncio.create_task(_copy(channel, body))
    leaving = asyncio.create_task(_gone(channel))
    try:
        await asyncio.wait((sending, leaving), return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (sending, leaving):
            task.cancel()
        await asyncio.gather(sending, leaving, return_exceptions=True)
        await close_body(body)


async def _copy(channel: Channel, body: bytes | AsyncIterable[bytes]) -> None:
    text = channel.protocol == _BASE64
    if isinstance(body, bytes):
        if body:
            await channel.send(base64.b64encode(body) if text else body, text=text)
        return
    async for chunk in body:
        await channel.send(base64.b64encode(chunk) if text else chunk, text=text)


async def _gone(channel: Channel) -> None:
    while await channel.receive() is not None:
        pass  # a reader has nothing to say
