"""SPDY/3.1 frames as port-forward needs them: streams with headers, data, ends; sans I/O.

kubectl tunnels these bytes in the messages of a WebSocket (KEP-4006). Like the implementation that Kubernetes uses on
both ends, this one has no flow control: WINDOW_UPDATE and SETTINGS are read and forgotten.
"""

import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from .spdy_dictionary import DICTIONARY

_SYN_STREAM, _SYN_REPLY, _RST_STREAM, _PING, _GOAWAY = 1, 2, 3, 6, 7
_FIN = 1
_VERSION = 0x8003
_LENGTH_LIMIT = 1 << 20


@dataclass(frozen=True, slots=True)
class Opened:
    stream: int
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Received:
    stream: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Ended:
    """The peer sends no more on this stream; `reset` when it wants nothing more either."""

    stream: int
    reset: bool = False


@dataclass(frozen=True, slots=True)
class Send:
    """Bytes that the protocol itself owes the peer."""

    data: bytes


class BadSpdy(ValueError):
    """Bytes that are not SPDY/3.1."""


class Spdy:
    """One end of a connection: `receive` bytes, get what they say; the other methods give the bytes to send."""

    def __init__(self) -> None:
        self._buffer = b""
        self._inflate = zlib.decompressobj(zdict=DICTIONARY)
        self._deflate = zlib.compressobj(zdict=DICTIONARY)

    def receive(self, data: bytes) -> Iterator[Opened | Received | Ended | Send]:
        """Raises BadSpdy."""
        self._buffer += data
        while len(self._buffer) >= 8:
            head, rest = struct.unpack_from(">II", self._buffer)
            length, flags = rest & 0xFFFFFF, rest >> 24
            if length > _LENGTH_LIMIT:
                raise BadSpdy(f"a frame of {length} bytes")
            if len(self._buffer) < 8 + length:
                return
            body, self._buffer = self._buffer[8 : 8 + length], self._buffer[8 + length :]
            if head >> 31:
                yield from self._control(head, flags, body)
                continue
            if body:
                yield Received(head, body)
            if flags & _FIN:
                yield Ended(head)

    def _control(self, head: int, flags: int, body: bytes) -> Iterator[Opened | Ended | Send]:
        kind = head & 0xFFFF
        if head >> 16 != _VERSION:
            raise BadSpdy(f"version {head >> 16 & 0x7FFF}")
        if kind == _PING:
            yield Send(_frame(_PING, 0, body))
        elif kind == _RST_STREAM and len(body) >= 4:
            yield Ended(struct.unpack_from(">I", body)[0], reset=True)
        elif kind == _SYN_STREAM:
            if len(body) < 10:
                raise BadSpdy("a short SYN_STREAM")
            stream = struct.unpack_from(">I", body)[0] & 0x7FFFFFFF
            headers = self._headers(body[10:])
            yield Send(_frame(_SYN_REPLY, 0, struct.pack(">I", stream) + self._compressed({})))
            yield Opened(stream, headers)
            if flags & _FIN:
                yield Ended(stream)

    def open(self, stream: int, headers: Mapping[str, str]) -> bytes:
        """SYN_STREAM, as a client begins one (odd numbers)."""
        return _frame(_SYN_STREAM, 0, struct.pack(">IIH", stream, 0, 0) + self._compressed(headers))

    def data(self, stream: int, data: bytes, *, end: bool = False) -> bytes:
        return struct.pack(">II", stream, (_FIN if end else 0) << 24 | len(data)) + data

    def _headers(self, block: bytes) -> dict[str, str]:
        try:
            plain = self._inflate.decompress(block, _LENGTH_LIMIT)
            (count,) = struct.unpack_from(">I", plain)
            words, at = [], 4
            for _ in range(2 * count):
                (length,) = struct.unpack_from(">I", plain, at)
                words.append(plain[at + 4 : at + 4 + length].decode())
                at += 4 + length
        except (zlib.error, struct.error, UnicodeDecodeError) as error:
            raise BadSpdy(f"headers: {error}") from error
        return {name.lower(): value for name, value in zip(words[::2], words[1::2], strict=True)}

    def _compressed(self, headers: Mapping[str, str]) -> bytes:
        plain = struct.pack(">I", len(headers))
        for name, value in headers.items():
            for word in (name.lower().encode(), value.encode()):
                plain += struct.pack(">I", len(word)) + word
        return self._deflate.compress(plain) + self._deflate.flush(zlib.Z_SYNC_FLUSH)


def _frame(kind: int, flags: int, body: bytes) -> bytes:
    return struct.pack(">HHI", _VERSION, kind, flags << 24 | len(body)) + body
