"""The agent's end of the zygote: starts it, starts it again when it has died, sends requests, waits for answers."""

import array
import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

_PROGRAM = str(Path(__file__).with_name("zygote.py"))


class Answer(NamedTuple):
    """One datagram: its JSON ({} once the other end is closed) and the descriptors beside it."""

    values: dict[str, Any]
    fds: list[int]


class Answers:
    """The answers to one request. Close it, or use `with`."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self.connection = connection

    def __enter__(self) -> "Answers":
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    async def next(self) -> Answer:
        while True:
            try:
                data, fds, _, _ = socket.recv_fds(self.connection, 1 << 16, 4, socket.MSG_CMSG_CLOEXEC)
                return Answer(json.loads(data) if data else {}, fds)
            except BlockingIOError:
                await readable(self.connection.fileno())
            except ConnectionError:
                return Answer({}, [])


class Zygote:
    """One zygote process, made on first use."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[bytes] | None = None
        self.control: socket.socket | None = None

    @property
    def pid(self) -> int:
        return self.process.pid if self.process else 0

    def request(self, operation: str, *, fds: Sequence[int] = (), **values: Any) -> Answers:
        """Send a request; a zygote that has died is replaced."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        data = json.dumps({"op": operation} | values).encode()
        handed = array.array("i", [theirs.fileno(), *fds])
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, handed)]
        try:
            for fresh in (False, True):
                control = self._control(fresh=fresh)
                try:
                    control.sendmsg([data], rights)
                    return Answers(ours)
                except ConnectionError:
                    continue
        finally:
            theirs.close()
        ours.close()
        raise ConnectionError("the zygote does not start")

    def _control(self, *, fresh: bool) -> socket.socket:
        if fresh or self.process is None or self.process.poll() is not None:
            self.close()
        if self.control is None:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with theirs:
                self.process = subprocess.Popen(
                    [sys.executable, "-I", "-S", _PROGRAM, str(theirs.fileno())],
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    start_new_session=True,
                    cwd="/",
                    env={"PATH": os.defpath, "MALLOC_ARENA_MAX": "1"},
                )
            self.control = ours
        return self.control

    def close(self) -> None:
        """End the zygote; what it forked goes on."""
        if self.control is not None:
            self.control.close()
            self.control = None
        if self.process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(2)
            if self.process.returncode is None:
                self.process.kill()
                self.process.wait()
            self.process = None


async def readable(fd: int) -> None:
    """Wait until a read of `fd` would not block."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    loop.add_reader(fd, _set, ready)
    try:
        await ready
    finally:
        loop.remove_reader(fd)


async def writable(fd: int) -> None:
    """Wait until a write to `fd` would not block."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    loop.add_writer(fd, _set, ready)
    try:
        await ready
    finally:
        loop.remove_writer(fd)


def _set(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
