"""SPDY/3.1 as exec, attach and port-forward use it: streams with headers, data, half-closes, resets; sans I/O.

Clients up to kubectl 1.30 speak it after `Upgrade: SPDY/3.1`; later ones tunnel port-forward's in the messages of a
WebSocket (KEP-4006). The library on the other end, moby/spdystream, neither obeys windows nor opens them. So ours are
opened as what arrived is read (a peer that obeys them never floods), and the peer's bind us from the first that it
opens; what a peer without windows may have unread is bounded by the reader (streams.py leaves the
rest on the wire).
"""

import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from .spdy_dictionary import DICTIONARY

_SYN_STREAM, _SYN_REPLY, _RST_STREAM, _SETTINGS, _PING, _GOAWAY, _HEADERS, _WINDOW_UPDATE = 1, 2, 3, 4, 6, 7, 8, 9
_FIN, _UNIDIRECTIONAL = 1, 2
_VERSION = 0x8003
_CONTROL_LIMIT = 1 << 18
_STREAM_LIMIT = 2000
_INITIAL_WINDOW_SETTING = 7
_WINDOW = 64 << 10
"""Bytes a side may send before the other opens the window further (SPDY/3.1, 2.6.8)."""
_ID = 0x7FFFFFFF
INVALID_STREAM, REFUSED_STREAM, CANCEL = 2, 3, 5
"""Reasons of a reset."""


@dataclass(frozen=True, slots=True)
class Opened:
    """The peer wants a stream: `reply` to it or `reset` it."""

    stream: int
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Replied:
    """The peer takes a stream that was opened here."""

    stream: int
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Received:
    """Data; say with `read` when it has been used."""

    stream: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Ended:
    """The peer sends no more on this stream; `reset` when it wants nothing more either."""

    stream: int
    reset: bool = False


@dataclass(frozen=True, slots=True)
class Widened:
    """More may be sent than before: on one stream, or with 0 on all."""

    stream: int


@dataclass(frozen=True, slots=True)
class Leaving:
    """The peer opens no more streams; those that are open go on (GOAWAY)."""


Event = Opened | Replied | Received | Ended | Widened | Leaving


class BadSpdy(ValueError):
    """Bytes that are not SPDY/3.1."""


class _State(StrEnum):
    OPEN = "open"
    ENDED_HERE = "ended here"
    ENDED_THERE = "ended there"
    CLOSED = "closed"


_END_HERE = {_State.OPEN: _State.ENDED_HERE, _State.ENDED_THERE: _State.CLOSED}
_END_THERE = {_State.OPEN: _State.ENDED_THERE, _State.ENDED_HERE: _State.CLOSED}


@dataclass(slots=True)
class _Stream:
    state: _State
    sent: int = 0
    granted: int = 0
    """What the peer has opened its window by."""
    unreported: int = 0
    """Bytes read here that the peer does not know of yet."""


class Spdy:
    """One end of a connection. `receive` gives events, the others queue frames, `take` gives the bytes to send."""

    def __init__(self, *, client: bool = False) -> None:
        self._in = bytearray()
        self._out = bytearray()
        self._inflate = zlib.decompressobj(zdict=DICTIONARY)
        self._deflate = zlib.compressobj(zdict=DICTIONARY)
        self._streams: dict[int, _Stream] = {}
        self._next = 1 if client else 2
        self._theirs = 0
        """The last stream that the peer opened."""
        self._data_left = 0
        self._data_head = (0, 0)
        self._whole = _Stream(_State.OPEN)
        self._windows = False
        """Whether the peer opens windows, so that ours are limited."""
        self._initial = _WINDOW
        self._gone = False

    def take(self) -> bytes:
        """The bytes that are to be sent now, in this order."""
        out, self._out = bytes(self._out), bytearray()
        return out

    # What the peer says

    def receive(self, data: bytes) -> Iterator[Event]:
        """Raises BadSpdy. Data comes as it arrives: a frame's head is enough."""
        self._in += data
        while True:
            if self._data_left:
                if not self._in:
                    return
                yield from self._some_data()
                continue
            if len(self._in) < 8:
                return
            head, rest = struct.unpack_from(">II", self._in)
            length, flags = rest & 0xFFFFFF, rest >> 24
            if not head >> 31:
                del self._in[:8]
                self._data_left, self._data_head = length, (head, flags)
                if not length:
                    yield from self._data_end()
                continue
            if length > _CONTROL_LIMIT:
                raise BadSpdy(f"a control frame of {length} bytes")
            if len(self._in) < 8 + length:
                return
            body = bytes(self._in[8 : 8 + length])
            del self._in[: 8 + length]
            yield from self._control(head, flags, body)

    def _some_data(self) -> Iterator[Event]:
        piece = bytes(self._in[: self._data_left])
        del self._in[: len(piece)]
        self._data_left -= len(piece)
        stream = self._data_head[0]
        found = self._streams.get(stream)
        if found is not None and found.state in _END_THERE:
            yield Received(stream, piece)
        else:
            self._count(self._whole, 0, len(piece))
            if stream > self._theirs and stream % 2 != self._next % 2:
                self._reset(stream, INVALID_STREAM)
        if not self._data_left:
            yield from self._data_end()

    def _data_end(self) -> Iterator[Event]:
        stream, flags = self._data_head
        if flags & _FIN:
            yield from self._end_there(stream)

    def _end_there(self, stream: int) -> Iterator[Event]:
        found = self._streams.get(stream)
        if found is not None and found.state in _END_THERE:
            self._move(stream, _END_THERE[found.state])
            yield Ended(stream)

    def _control(self, head: int, flags: int, body: bytes) -> Iterator[Event]:
        kind = head & 0xFFFF
        if head >> 16 != _VERSION:
            raise BadSpdy(f"version {head >> 16 & 0x7FFF}")
        try:
            match kind:
                case 1:
                    yield from self._syn_stream(flags, body)
                case 2 | 8:
                    (stream,) = struct.unpack_from(">I", body)
                    headers = self._headers(body[4:])  # read in any case: compression has one context
                    if kind == _SYN_REPLY and stream in self._streams:
                        yield Replied(stream, headers)
                    if flags & _FIN:
                        yield from self._end_there(stream)
                case 3:
                    (stream, _) = struct.unpack_from(">II", body)
                    if self._streams.pop(stream & _ID, None) is not None:
                        yield Ended(stream & _ID, reset=True)
                case 4:
                    yield from self._settings(body)
                case 6:
                    (number,) = struct.unpack_from(">I", body)
                    if number % 2 != self._next % 2:  # else it answers one of ours
                        self._frame(_PING, 0, body[:4])
                case 7:
                    yield Leaving()
                case 9:
                    yield from self._window_update(body)
        except struct.error as error:
            raise BadSpdy(f"a short control frame of type {kind}") from error

    def _syn_stream(self, flags: int, body: bytes) -> Iterator[Event]:
        stream = struct.unpack_from(">IIH", body)[0] & _ID
        headers = self._headers(body[10:])
        if stream <= self._theirs or stream % 2 == self._next % 2:
            raise BadSpdy(f"stream {stream} is out of order")
        self._theirs = stream
        if len(self._streams) >= _STREAM_LIMIT or self._gone:
            self._reset(stream, REFUSED_STREAM)
            return
        self._streams[stream] = _Stream(_State.ENDED_HERE if flags & _UNIDIRECTIONAL else _State.OPEN)
        yield Opened(stream, headers)
        if flags & _FIN:
            yield from self._end_there(stream)

    def _settings(self, body: bytes) -> Iterator[Event]:
        (count,) = struct.unpack_from(">I", body)
        for index in range(min(count, len(body) // 8)):
            name, value = struct.unpack_from(">II", body, 4 + 8 * index)
            if name & 0xFFFFFF == _INITIAL_WINDOW_SETTING:
                self._windows, self._initial = True, value & _ID
                yield Widened(0)

    def _window_update(self, body: bytes) -> Iterator[Event]:
        stream, more = (value & _ID for value in struct.unpack_from(">II", body))
        self._windows = True
        if (found := self._streams.get(stream) if stream else self._whole) is not None:
            found.granted += more
            yield Widened(stream)

    # What this end says

    def open(self, headers: Mapping[str, str]) -> int:
        """A new stream; its number."""
        stream, self._next = self._next, self._next + 2
        self._streams[stream] = _Stream(_State.OPEN)
        self._frame(_SYN_STREAM, 0, struct.pack(">IIH", stream, 0, 0) + self._compressed(headers))
        return stream

    def reply(self, stream: int) -> None:
        """Take a stream that the peer has opened."""
        if stream in self._streams:
            self._frame(_SYN_REPLY, 0, struct.pack(">I", stream) + self._compressed({}))

    def room(self, stream: int) -> int | None:
        """How many bytes may be sent on a stream now; None once nothing more can be."""
        found = self._streams.get(stream)
        if found is None or found.state not in _END_HERE:
            return None
        if not self._windows:
            return 1 << 20
        whole = _WINDOW + self._whole.granted - self._whole.sent
        return max(0, min(whole, self._initial + found.granted - found.sent))

    def send(self, stream: int, data: bytes) -> None:
        """Data within `room`."""
        found = self._streams[stream]
        found.sent += len(data)
        self._whole.sent += len(data)
        self._out += struct.pack(">II", stream, len(data)) + data

    def end(self, stream: int) -> None:
        """No more from here; the peer may go on."""
        found = self._streams.get(stream)
        if found is not None and found.state in _END_HERE:
            self._out += struct.pack(">II", stream, _FIN << 24)
            self._move(stream, _END_HERE[found.state])

    def reset(self, stream: int) -> None:
        """Nothing more, either way."""
        if self._streams.pop(stream, None) is not None:
            self._reset(stream, CANCEL)

    def read(self, stream: int, size: int) -> None:
        """So much of what was received has been used: the peer may send as much more."""
        self._count(self._whole, 0, size)
        found = self._streams.get(stream)
        if found is not None and found.state in _END_THERE:
            self._count(found, stream, size)

    def ping(self, number: int) -> None:
        """`number` is odd for a client, even for a server."""
        self._frame(_PING, 0, struct.pack(">I", number))

    def leave(self) -> None:
        """No new streams any more (GOAWAY)."""
        if not self._gone:
            self._gone = True
            self._frame(_GOAWAY, 0, struct.pack(">II", self._theirs, 0))

    def _count(self, counted: _Stream, stream: int, size: int) -> None:
        counted.unreported += size
        if counted.unreported >= _WINDOW // 2:
            self._frame(_WINDOW_UPDATE, 0, struct.pack(">II", stream, counted.unreported))
            counted.unreported = 0

    def _move(self, stream: int, state: _State) -> None:
        if state is _State.CLOSED:
            del self._streams[stream]
        else:
            self._streams[stream].state = state

    def _reset(self, stream: int, reason: int) -> None:
        self._frame(_RST_STREAM, 0, struct.pack(">II", stream, reason))

    def _frame(self, kind: int, flags: int, body: bytes) -> None:
        self._out += struct.pack(">HHI", _VERSION, kind, flags << 24 | len(body)) + body

    def _headers(self, block: bytes) -> dict[str, str]:
        try:
            plain = self._inflate.decompress(block, _CONTROL_LIMIT)
            if self._inflate.unconsumed_tail:
                raise BadSpdy("headers of too many bytes")
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
