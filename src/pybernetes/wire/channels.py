"""exec and attach over a WebSocket: the remotecommand protocol, several streams in the messages of one Channel.

Each message is a channel number and its bytes: 0 stdin, 1 stdout, 2 stderr, 3 the final Status, 4 terminal sizes.
v5 adds message 255 N, "no more on channel N", without which stdin cannot end; before v4 channel 3 carries a text.
The base64 variants are text: a digit, then base64 (k8s.io/apimachinery remotecommand, KEP-4006).
"""

import asyncio
import base64
import binascii
from collections.abc import AsyncIterator
from typing import Any, NamedTuple, Self

import msgspec

from pybernetes.api.errors import InternalError
from pybernetes.api.objects import Obj, decode, encode

from .message import Channel

STDIN, STDOUT, STDERR, ERROR, RESIZE = range(5)
_CLOSE = 255

PROTOCOLS = (
    "v5.channel.k8s.io",
    "v4.channel.k8s.io",
    "v4.base64.channel.k8s.io",
    "channel.k8s.io",
    "base64.channel.k8s.io",
    "",
)
"""What a server of exec and attach speaks; "" is as channel.k8s.io."""
_STDIN_MESSAGES = 32
"""Unread messages of stdin; past that the peer's are left on the wire."""


def choose(offered: str) -> str | None:
    """The subprotocol for a sec-websocket-protocol header ("" without one); None when nothing in it is spoken here."""
    names = [name.strip() for name in offered.split(",") if name.strip()]
    if not names:
        return ""
    return next((name for name in names if name in PROTOCOLS), None)


class Frame(NamedTuple):
    """One message: bytes of a channel, or its end (`closes`)."""

    channel: int
    data: bytes = b""
    closes: bool = False


class BadFrame(ValueError):
    """A message that is not of the protocol."""


def read_frame(protocol: str, message: bytes) -> Frame:
    """Raises BadFrame."""
    if not message:
        raise BadFrame("an empty message")
    if "base64" in protocol:
        try:
            return Frame(int(message[:1]), base64.b64decode(message[1:], validate=True))
        except (ValueError, binascii.Error) as error:
            raise BadFrame("not a digit and base64") from error
    if message[0] == _CLOSE and protocol.startswith("v5."):
        if len(message) != 2:
            raise BadFrame("a CLOSE of no channel")
        return Frame(message[1], closes=True)
    return Frame(message[0], message[1:])


def write_frame(protocol: str, frame: Frame) -> bytes:
    if "base64" in protocol:
        return str(frame.channel).encode() + base64.b64encode(frame.data)
    if frame.closes:
        return bytes((_CLOSE, frame.channel))
    return bytes((frame.channel,)) + frame.data


async def send_frame(channel: Channel, frame: Frame) -> None:
    """Raises ConnectionError when the peer has gone."""
    await channel.send(write_frame(channel.protocol, frame), text="base64" in channel.protocol)


class Input(asyncio.Queue[bytes]):
    """Chunks of stdin; b"" is its end. Also an async iterator, which stops there."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while chunk := await self.get():
            yield chunk


class Remote:
    """The server's end of an exec or attach, for the time of an `async with`.

    `stdin` (ends with b"") and `resize` (width, height) are queues, `stdout` and `stderr` are awaited with each chunk;
    say the end with `exit` or `fail`. When the peer leaves before that, the body of the `async with` is cancelled and
    ConnectionResetError raised. (A peer that leaves while stdin is full and unread is noticed by the next output only.)
    """

    def __init__(self, channel: Channel) -> None:
        self.stdin = Input(_STDIN_MESSAGES)
        self.resize: asyncio.Queue[tuple[int, int]] = asyncio.Queue(16)
        self._channel = channel
        self._owner: asyncio.Task[Any] | None = None
        self._reader: asyncio.Task[None] | None = None
        self._left = False
        self._finished = False

    async def __aenter__(self) -> Self:
        # Says that the connection stands; clients wait for it before they send (kubelet, remotecommand/websocket.go)
        await send_frame(self._channel, Frame(STDOUT))
        self._owner = asyncio.current_task()
        self._reader = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        assert self._reader is not None
        assert self._owner is not None
        self._finished = True
        self._reader.cancel()
        if self._left and self._owner.uncancel() == 0 and isinstance(error, asyncio.CancelledError):
            raise ConnectionResetError("the peer has left") from None

    async def stdout(self, data: bytes) -> None:
        await send_frame(self._channel, Frame(STDOUT, data))

    async def stderr(self, data: bytes) -> None:
        await send_frame(self._channel, Frame(STDERR, data))

    async def exit(self, code: int) -> None:
        """The command has ended with this exit code."""
        await self._finish(exit_status(code))

    async def fail(self, message: str) -> None:
        """The command could not be run, or was lost."""
        await self._finish(InternalError(message).status)

    async def _finish(self, status: Obj) -> None:
        self._finished = True
        succeeded = status["status"] == "Success"
        if self._channel.protocol.startswith(("v4.", "v5.")):
            await send_frame(self._channel, Frame(ERROR, encode(status)))
        elif not succeeded:
            await send_frame(self._channel, Frame(ERROR, str(status["message"]).encode()))
        await self._channel.close()

    async def _read(self) -> None:
        while (message := await self._channel.receive()) is not None:
            try:
                frame = read_frame(self._channel.protocol, message)
            except BadFrame as error:
                await self._channel.close(1002, str(error))
                break
            if frame.channel == STDIN:
                if frame.data:
                    await self.stdin.put(frame.data)
                elif frame.closes:
                    await self.stdin.put(b"")
            elif frame.channel == RESIZE:
                self._resized(frame.data)
        self._leave()

    def _resized(self, data: bytes) -> None:
        """Only the latest sizes matter; what is not a size is ignored, as kubelet does."""
        try:
            size = msgspec.json.decode(data, type=_Size)
        except msgspec.DecodeError:
            return
        if self.resize.full():
            self.resize.get_nowait()
        self.resize.put_nowait((size.width, size.height))

    def _leave(self) -> None:
        if not self._finished and self._owner is not None:
            self._left = True
            self._owner.cancel()


class _Size(msgspec.Struct, rename="pascal"):
    width: int
    height: int


def exit_status(code: int) -> Obj:
    """The Status that tells an exit code (kubectl makes it its own)."""
    if code == 0:
        return {"metadata": {}, "status": "Success"}
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"command terminated with non-zero exit code: exit status {code}",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
    }


def exit_code(status: bytes) -> int | None:
    """The exit code that a Status on channel 3 tells; None when the command did not run to an end."""
    try:
        found = decode(status)
        if found["status"] == "Success":
            return 0
        causes = found["details"]["causes"]
        return int(next(cause["message"] for cause in causes if cause["reason"] == "ExitCode"))
    except (KeyError, TypeError, ValueError, StopIteration):
        return None


async def relay(one: Channel, other: Channel) -> None:
    """Carry messages both ways until either end closes, then close both. The two must have agreed on one protocol."""
    text = "base64" in one.protocol

    async def carry(source: Channel, target: Channel) -> None:
        try:
            while (message := await source.receive()) is not None:
                await target.send(message, text=text)
        except ConnectionError:
            pass  # the other direction ends for the same reason
        finally:
            await target.close()

    async with asyncio.TaskGroup() as group:
        group.create_task(carry(one, other))
        group.create_task(carry(other, one))
