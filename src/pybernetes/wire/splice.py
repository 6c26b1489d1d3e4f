"""A connection to a server that leaves HTTP: the request to upgrade goes out as it came, and after a 101 bytes flow.

What they mean (WebSocket with its extensions, SPDY, anything) is between the two ends. httptools reads the answer.
"""

import asyncio
import contextlib
import ssl
from collections.abc import Mapping
from http import HTTPStatus
from typing import NamedTuple

import httptools

from .answer import add_header
from .message import Response, Spliced

_READ_BYTES = 64 << 10
_HEAD_BYTES = 64 << 10
_ERROR_BYTES = 1 << 20
"""Of the body of an answer that is no 101."""
_CONNECT_SECONDS = 10.0
_ANSWER_SECONDS = 60.0
_CLOSE_SECONDS = 2.0


class Target(NamedTuple):
    """Where to connect. `server_name` is whom the certificate must name, with TLS."""

    host: str
    port: int
    tls: ssl.SSLContext | None = None
    server_name: str | None = None


async def splice(target: Target, head: bytes) -> Spliced:
    """Raises OSError, TimeoutError, ConnectionError for an answer that is not HTTP."""
    async with asyncio.timeout(_CONNECT_SECONDS):
        reader, writer = await asyncio.open_connection(
            target.host, target.port, ssl=target.tls, server_hostname=target.server_name if target.tls else None
        )
    connection = _Connection(reader, writer)
    try:
        async with asyncio.timeout(_ANSWER_SECONDS):
            writer.write(head)
            await writer.drain()
            answer = await _answered(reader)
    except BaseException:
        await connection.close()
        raise
    response = Response(status=answer.status, headers=answer.headers, body=bytes(answer.body))
    if answer.early is None:
        await connection.close()
        return Spliced(response)
    connection.early = answer.early
    return Spliced(response, connection)


class _Answer:
    """Callbacks of the parser."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = bytearray()
        self.early: bytes | None = None
        """After a 101: what has come behind it."""
        self.over = False
        self.parser = httptools.HttpResponseParser(self)

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.status:
            add_header(self.headers, name.decode("latin-1"), value.decode("latin-1"))

    def on_headers_complete(self) -> None:
        self.status = self.parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.over = self.status >= HTTPStatus.OK  # before it come informational ones
        if self.status < HTTPStatus.OK and self.status != HTTPStatus.SWITCHING_PROTOCOLS:
            self.status = 0
            self.headers.clear()

    def feed(self, data: bytes) -> None:
        """Raises ConnectionError."""
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self.early = data[upgrade.args[0] :]
            self.over = True
        except httptools.HttpParserError as error:
            raise ConnectionError(f"the answer is not HTTP: {error}") from error
        if len(self.body) > _ERROR_BYTES:
            self.over = True
            del self.body[_ERROR_BYTES:]


async def _answered(reader: asyncio.StreamReader) -> _Answer:
    answer = _Answer()
    unknown = 0
    while not answer.over:
        data = await reader.read(_READ_BYTES)
        if not data:
            if not answer.status:
                raise ConnectionResetError("the server closed without an answer")
            break  # a body without a length ends so
        answer.feed(data)
        if not answer.status and (unknown := unknown + len(data)) > _HEAD_BYTES:
            raise ConnectionError("the answer's head is too large")
    return answer


class _Connection:
    """A Channel over a pair of streams."""

    protocol = ""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.early = b""
        self._reader = reader
        self._writer = writer

    async def receive(self) -> bytes | None:
        early, self.early = self.early, b""
        if early:
            return early
        try:
            return await self._reader.read(_READ_BYTES) or None
        except (OSError, ssl.SSLError) as error:
            raise ConnectionResetError("the peer has gone") from error

    async def send(self, data: bytes, *, text: bool = False) -> None:
        del text
        if self._writer.is_closing():
            raise ConnectionResetError("the channel is closed")
        self._writer.write(data)
        await self._writer.drain()

    async def close(self, code: int = 1000, reason: str = "") -> None:
        del code, reason
        self._writer.close()
        with contextlib.suppress(OSError, ssl.SSLError, TimeoutError):
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self._writer.wait_closed()
        self._writer.transport.abort()


def head_of(method: str, target: str, headers: Mapping[str, str]) -> bytes:
    """Of a request. Values have no line breaks: they came through a parser."""
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    return "\r\n".join(lines).encode("latin-1", "replace")
