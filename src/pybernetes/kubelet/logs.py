"""Reading a container's log file (CRI format: `TIME STREAM F|P TEXT`), and following it through rotation."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pybernetes.api import times

_CHUNK = 1 << 16
_POLL_SECONDS = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class LogOptions:
    """As the API's PodLogOptions; `since` is seconds since the epoch."""

    follow: bool = False
    tail: int | None = None
    since: float = 0.0
    timestamps: bool = False
    limit_bytes: int | None = None
    stream: str = ""
    """stdout, stderr, or both."""


async def read_log(path: Path, options: LogOptions, *, running: Callable[[], bool]) -> AsyncIterator[bytes]:
    """Chunks of text. Following ends when the container does (`running`) and all is read."""
    left = options.limit_bytes
    async for chunk in _raw(path, options, running):
        text = b"".join(_shown(chunk, options))
        if left is not None:
            text, left = text[:left], left - len(text)
        if text:
            yield text
        if left is not None and left <= 0:
            return


async def _raw(path: Path, options: LogOptions, running: Callable[[], bool]) -> AsyncIterator[list[bytes]]:
    """Whole lines of the file, in lists."""
    fd = -1
    rest = b""
    try:
        while fd < 0:
            try:
                fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                if not options.follow or not running():
                    return
                await asyncio.sleep(_POLL_SECONDS)
        if options.tail is not None:
            os.lseek(fd, _tail_offset(fd, options.tail), os.SEEK_SET)
        while True:
            alive = running()
            while data := os.read(fd, _CHUNK):
                *lines, rest = (rest + data).split(b"\n")
                if lines:
                    yield lines
                await asyncio.sleep(0)
            if not options.follow or not alive:
                return
            if (fresh := _rotated(path, fd)) >= 0:
                os.close(fd)
                fd = fresh
                continue
            await asyncio.sleep(_POLL_SECONDS)
    finally:
        if fd >= 0:
            os.close(fd)


def _rotated(path: Path, fd: int) -> int:
    """A descriptor of the new file when the path leads to another one; -1 while it does not."""
    with contextlib.suppress(FileNotFoundError):
        fresh = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        if os.fstat(fresh).st_ino != os.fstat(fd).st_ino:
            return fresh
        os.close(fresh)
    return -1


def _tail_offset(fd: int, lines: int) -> int:
    """Where the last so many lines begin."""
    position = os.fstat(fd).st_size
    needed = lines + 1
    while position > 0:
        start = max(0, position - _CHUNK)
        block = os.pread(fd, position - start, start)
        if position == os.fstat(fd).st_size and not block.endswith(b"\n"):
            needed -= 1
        found = block.count(b"\n")
        if found >= needed:
            index = len(block)
            for _ in range(needed):
                index = block.rindex(b"\n", 0, index)
            return start + index + 1
        needed -= found
        position = start
    return 0


def _shown(lines: list[bytes], options: LogOptions) -> Iterator[bytes]:
    for line in lines:
        parts = line.split(b" ", 3)
        if len(parts) < 4:
            continue
        stamp, stream, mark, text = parts
        if options.stream and stream.decode() != options.stream:
            continue
        if options.since and _time(stamp) < options.since:
            continue
        head = stamp + b" " if options.timestamps else b""
        yield head + text + (b"\n" if mark.startswith(b"F") else b"")


def _time(stamp: bytes) -> float:
    try:
        return times.parse(stamp.decode())
    except ValueError:
        return 0.0
