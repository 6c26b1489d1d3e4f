"""SPDY streams over a Channel of bytes: the socket after `Upgrade: SPDY/3.1`, or the messages of a WebSocket.

`Session` is the shell around spdy.py. `remote_channel` makes the streams of an exec or attach (k8s.io/apimachinery
remotecommand, v1 to v4) look like the WebSocket protocol, so that channels.Remote serves both.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Sequence
from typing import Any, Self

from pybernetes.api.objects import decode

from .channels import ERROR, RESIZE, STDERR, STDIN, STDOUT, Frame, Remote, read_frame, write_frame
from .message import SPDY, Channel
from .spdy import BadSpdy, Ended, Event, Leaving, Opened, Received, Spdy, Widened

_UNREAD_BYTES = 256 << 10
"""Of one stream; past that the peer's bytes are left on the wire, all streams' with them."""
_CHUNK = 32 << 10
SPDY_PLAIN = f"{SPDY}channel.k8s.io"
"""What a client speaks that names no protocol."""
SPDY_PROTOCOLS = (*(f"{SPDY}v{number}.channel.k8s.io" for number in (4, 3, 2)), SPDY_PLAIN)
"""What a server of exec and attach speaks over SPDY."""
STREAMS_SECONDS = 30.0
"""A client opens the streams of an exec within this time."""


class Stream:
    """One stream of a session."""

    def __init__(self, session: "Session", number: int, headers: dict[str, str]) -> None:
        self.headers = headers
        self._session = session
        self._number = number
        self._chunks: deque[bytes] = deque()
        self._unread = 0
        self._ended = False
        self._reset = False
        self._ignored = False

    async def receive(self) -> bytes | None:
        """The next bytes; None when the peer has ended, reset or left."""
        while not self._chunks:
            if self._ended:
                return None
            await self._session.changed()
        data = self._chunks.popleft()
        self._unread -= len(data)
        self._session.read(self._number, len(data))
        await self._session.flush()
        return data

    async def send(self, data: bytes) -> None:
        """Waits while the peer is slow. Raises ConnectionError when it has gone or wants no more."""
        view = memoryview(data)
        while view:
            room = self._session.room(self._number)
            if room is None or self._reset:
                raise ConnectionResetError("the stream is closed")
            if room == 0:
                await self._session.changed()
                continue
            piece, view = view[: min(room, _CHUNK)], view[min(room, _CHUNK) :]
            await self._session.send(self._number, bytes(piece))

    async def end(self) -> None:
        """No more from this side."""
        await self._session.end(self._number)

    def ignore(self) -> None:
        """Whatever else comes is thrown away."""
        self._ignored = True
        self._chunks.clear()
        self._unread = 0
        self._session.change()

    # For the session

    def feed(self, data: bytes) -> bool:
        """Whether the data is kept for a reader."""
        if self._ignored:
            return False
        self._chunks.append(data)
        self._unread += len(data)
        return True

    def feed_end(self, *, reset: bool) -> None:
        self._ended = True
        self._reset = self._reset or reset

    @property
    def full(self) -> bool:
        return self._unread > _UNREAD_BYTES and not self._ignored


class Session:
    """The server's end, for the time of an `async with`; after it the peer is told (GOAWAY), the channel closed."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._spdy = Spdy()
        self._streams: dict[int, Stream] = {}
        self._new: deque[Stream] = deque()
        self._left = False
        self._changed = asyncio.Event()
        self._writing = asyncio.Lock()
        self._reader: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._reader = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *exc: object) -> None:
        assert self._reader is not None
        for stream in list(self._streams.values()):
            stream.ignore()
        self._spdy.leave()
        with contextlib.suppress(ConnectionError):
            await self.flush()
        self._reader.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)
        await self._channel.close()

    async def accept(self) -> Stream | None:
        """The next stream that the peer opens; None when it opens no more."""
        while not self._new:
            if self._left:
                return None
            await self.changed()
        return self._new.popleft()

    async def gone(self) -> None:
        """Returns when the peer has left."""
        while not self._left:
            await self.changed()

    # For streams

    def change(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def changed(self) -> None:
        await self._changed.wait()

    def room(self, number: int) -> int | None:
        return None if self._left else self._spdy.room(number)

    def read(self, number: int, size: int) -> None:
        self._spdy.read(number, size)
        self.change()

    async def send(self, number: int, data: bytes) -> None:
        self._spdy.send(number, data)
        await self.flush()

    async def end(self, number: int) -> None:
        self._spdy.end(number)
        await self.flush()

    async def flush(self) -> None:
        """Send what is queued, in order. Raises ConnectionError."""
        async with self._writing:
            if data := self._spdy.take():
                await self._channel.send(data)

    async def _read(self) -> None:
        try:
            while (data := await self._channel.receive()) is not None:
                for event in self._spdy.receive(data):
                    self._take(event)
                self.change()
                await self.flush()
                while any(stream.full for stream in self._streams.values()):
                    await self.changed()
        except BadSpdy as error:
            await self._channel.close(1002, str(error))
        except ConnectionError:
            pass  # as when it closes: the streams end below
        finally:
            self._left = True
            for stream in self._streams.values():
                stream.feed_end(reset=True)
            self.change()

    def _take(self, event: Event) -> None:
        match event:
            case Opened(number, headers):
                stream = self._streams[number] = Stream(self, number, dict(headers))
                self._spdy.reply(number)
                self._new.append(stream)
            case Received(number, data):
                if not self._streams[number].feed(data):
                    self._spdy.read(number, len(data))
            case Ended(number, reset):
                self._streams[number].feed_end(reset=reset)
                del self._streams[number]
            case Widened() | Leaving():
                pass  # who waits for it is woken after every message


_STREAMS = {"stdin": STDIN, "stdout": STDOUT, "stderr": STDERR, "error": ERROR, "resize": RESIZE}


class RemoteChannel:
    """The streams of an exec or attach as messages of v5.channel.k8s.io."""

    protocol = "v5.channel.k8s.io"

    def __init__(self, session: Session, streams: dict[str, Stream], *, text_status: bool) -> None:
        self._session = session
        self._streams = streams
        self._text_status = text_status
        self._messages: asyncio.Queue[bytes | None] = asyncio.Queue(4)
        self._tasks = [asyncio.create_task(self._carry(name)) for name in ("stdin", "resize") if name in streams]
        self._tasks.append(asyncio.create_task(self._watch()))
        self._closed = False

    async def receive(self) -> bytes | None:
        return await self._messages.get()

    async def send(self, data: bytes, *, text: bool = False) -> None:
        del text
        frame = read_frame(self.protocol, data)
        name = next(name for name, number in _STREAMS.items() if number == frame.channel)
        payload = _plain(frame.data) if name == "error" and self._text_status else frame.data
        if name in self._streams and payload:
            await self._streams[name].send(payload)

    async def close(self, code: int = 1000, reason: str = "") -> None:
        del code, reason
        if self._closed:
            return
        self._closed = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for name, stream in self._streams.items():
            if name in ("stdin", "resize"):
                stream.ignore()
            with contextlib.suppress(ConnectionError):
                await stream.end()

    async def _carry(self, name: str) -> None:
        stream, number = self._streams[name], _STREAMS[name]
        rest = b""
        with contextlib.suppress(ConnectionError):
            while (data := await stream.receive()) is not None:
                if name == "stdin":
                    await self._messages.put(write_frame(self.protocol, Frame(number, data)))
                    continue
                *sizes, rest = (rest + data)[-1000:].split(b"}")  # JSON values in a row
                for size in sizes:
                    await self._messages.put(write_frame(self.protocol, Frame(number, size + b"}")))
        if name == "stdin":
            await self._messages.put(write_frame(self.protocol, Frame(number, closes=True)))

    async def _watch(self) -> None:
        await self._session.gone()
        await self._messages.put(None)


def _plain(status: bytes) -> bytes:
    """What protocols before v4 say of a Status: nothing, or the message."""
    found: Any = decode(status)
    return b"" if found.get("status") == "Success" else str(found.get("message", "")).encode()


async def remote_channel(session: Session, *, wanted: Sequence[str], protocol: str) -> RemoteChannel:
    """Wait for the streams of an exec: "error", and those wanted ("stdin", "stdout", "stderr", "resize").

    Raises ConnectionError when the peer leaves before, TimeoutError when it is too slow.
    """
    missing = {"error", *wanted}
    streams: dict[str, Stream] = {}
    async with asyncio.timeout(STREAMS_SECONDS):
        while missing:
            stream = await session.accept()
            if stream is None:
                raise ConnectionResetError("the peer left before it had opened its streams")
            name = stream.headers.get("streamtype", "")
            streams[name] = stream
            missing.discard(name)
    return RemoteChannel(session, streams, text_status=not protocol.startswith("v4."))


@contextlib.asynccontextmanager
async def remote_of(channel: Channel, *, wanted: Sequence[str]) -> AsyncIterator[Remote]:
    """The server's end of an exec or attach, in the framing that was agreed on (`wanted` as in `remote_channel`)."""
    if not channel.protocol.startswith(SPDY):
        async with Remote(channel) as remote:
            yield remote
        return
    protocol = channel.protocol.removeprefix(SPDY)
    if protocol in ("v2.channel.k8s.io", "channel.k8s.io"):  # they know no terminal sizes
        wanted = [name for name in wanted if name != "resize"]
    async with Session(channel) as session:
        try:
            streams = await remote_channel(session, wanted=wanted, protocol=protocol)
        except TimeoutError as error:
            raise ConnectionResetError("the peer did not open its streams in time") from error
        try:
            async with Remote(streams) as remote:
                yield remote
        finally:
            await streams.close()
