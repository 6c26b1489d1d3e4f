"""What both transports do around a handler, so that the loopback one cannot be told from the socket."""

import logging
import re
from collections.abc import AsyncIterable, Mapping
from typing import Any

from pybernetes.api.errors import ApiError, InternalError
from pybernetes.api.objects import encode

from .message import Channel, Handler, Request, Response, Upgrade
from .url import shown

log = logging.getLogger("pybernetes.wire")

BODY_BYTES = 3 << 20
"""The largest request body, as in kube-apiserver."""
JSON = "application/json"
_ONE_HOP = frozenset(
    {"connection", "content-length", "expect", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}
)


def goes_on(name: str) -> bool:
    """Whether a header (in lower case) is about the message, not about one connection (RFC 9110 7.6.1)."""
    return name not in _ONE_HOP and not name.startswith("sec-websocket-")


def end_to_end(headers: Mapping[str, str]) -> dict[str, str]:
    """Headers that go on to the next connection, with lower-case names. The length is counted anew."""
    return {name: value for key, value in headers.items() if goes_on(name := key.lower())}


def takes_gzip(accept_encoding: str) -> bool:
    """Whether a client that sends this header reads gzip (RFC 9110 section 12.5.3)."""
    for clause in accept_encoding.split(","):
        name, _, weight = clause.partition(";")
        if name.strip().lower() == "gzip":
            return re.fullmatch(r"\s*q\s*=\s*0(\.0*)?\s*", weight) is None
    return False


def add_header(headers: dict[str, str], name: str, value: str) -> None:
    """With the values of a repeated one joined (see Response for `set-cookie`)."""
    key = name.lower()
    if key not in headers:
        headers[key] = value
    elif key == "set-cookie":
        headers[key] += "\n" + value
    else:
        headers[key] += ", " + value


def error_response(error: ApiError, **headers: str) -> Response:
    """An error as its Status body."""
    return Response(
        status=int(error.status.get("code") or error.code),
        headers={"content-type": JSON} | headers,
        body=encode(error.status),
    )


async def answer(handler: Handler, request: Request) -> Response:
    """The handler's response; an error that it lets through becomes a Status. Only a chain's own bug gets this far."""
    try:
        return await handler(request)
    except ApiError as error:
        return error_response(error)
    except Exception:  # the edge of the process: a peer is always answered
        log.exception("request failed method=%s path=%s", request.method, shown(request.path))
        return error_response(InternalError("Internal Server Error"))


async def converse(upgrade: Upgrade, channel: Channel) -> None:
    """Run what was agreed on, then close; errors are logged, and end the channel with 1011."""
    try:
        await upgrade.run(channel)
    except ConnectionError:
        pass  # the peer left in the middle; `run` has cleaned up on its way out
    except Exception:  # the edge, as in `answer`
        log.exception("channel failed protocol=%s", upgrade.protocol)
        await channel.close(1011, "internal error")
    finally:
        await channel.close()


async def whole(body: bytes | AsyncIterable[bytes]) -> bytes:
    """All of a body; a stream is closed after it."""
    if isinstance(body, bytes):
        return body
    try:
        return b"".join([chunk async for chunk in body])
    finally:
        await close_body(body)


async def close_body(body: Any) -> None:
    """Close a streamed body, as a peer that leaves does; bytes and plain iterables need nothing."""
    close = getattr(body, "aclose", None)
    if close is not None:
        await close()
