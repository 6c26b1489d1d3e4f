"""Containers without an engine: the zygote forks them, a shim keeps each, a directory each remembers them.

Nothing here is needed for a container to go on: after a restart, `open` reads the directories, checks pid and start
time, and waits for the shims again through pidfds.
"""

import asyncio
import contextlib
import logging
import os
import secrets
import signal
import struct
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from pybernetes.api.objects import Obj, uid_of

from ...images import BadImage, resolve
from ..protocol import ContainerSpec, ContainerState, ImageMissing, Phase, RuntimeFailure, Streams
from . import spec as specs
from .caller import Zygote, readable, writable
from .cgroups import Cgroups
from .kernel import resize_tty
from .records import Record, all_records, boot_id, read, write

log = logging.getLogger(__name__)

_CHUNK = 65536
_QUEUE = 1000


class ProcessRuntime:
    """Runtime of processes. `directory` keeps the records; `hidden` are the node's paths no container may see."""

    def __init__(
        self,
        directory: Path,
        *,
        cgroup: str = "pybernetes",
        hidden: Sequence[str] = (),
        log_max_bytes: int = 10 << 20,
        log_files: int = 5,
    ) -> None:
        self.containers = directory / "containers"
        self.sandboxes = directory / "sandboxes"
        self.base = directory / "base"
        """Where each container mounts its root, in a mount namespace of its own: always empty here."""
        self.hidden = tuple(hidden)
        self.log_max_bytes, self.log_files = log_max_bytes, log_files
        self.zygote = Zygote()
        self.cgroups = Cgroups(cgroup)
        self.overlay: bool | None = None
        self.warnings: list[str] = []
        """What this node lacks, for the node's condition or an event."""
        self._records: dict[str, Record] = {}
        self._states: dict[str, ContainerState] = {}
        self._exits: dict[str, asyncio.Event] = {}
        self._watched: dict[str, int] = {}
        self._subscribers: set[asyncio.Queue[ContainerState]] = set()
        self._tidying: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Find out what this node can do, and take over the containers of an earlier run."""
        for path in (self.containers, self.sandboxes, self.base):
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
        await self._probe()
        if self.cgroups.missing:
            self.warnings.append(f"memory and CPU limits are not enforced: {self.cgroups.missing}")
        for record in all_records(self.containers):
            self._records[record.id] = record
            self._exits[record.id] = asyncio.Event()
            self._note(record.state())
            if self._states[record.id].phase is Phase.RUNNING:
                self._watch(record)

    async def _probe(self) -> None:
        with self.zygote.request("probe", directory=str(self.base)) as answers:
            values = (await answers.next()).values
        self.overlay = bool(values.get("overlay"))
        if not self.overlay:
            why = values.get("why") or values.get("error") or "unknown"
            self.warnings.append(f"overlayfs cannot be used, containers see the node's files read-only: {why}")

    async def close(self) -> None:
        """Let go of everything; containers go on."""
        for fd in self._watched.values():
            asyncio.get_running_loop().remove_reader(fd)
            os.close(fd)
        self._watched.clear()
        for task in self._tidying:
            task.cancel()
        self.zygote.close()

    # Images and sandboxes

    async def pull(self, image: str, *, credentials: Mapping[str, str] | None = None) -> str:
        try:
            return resolve(image)
        except BadImage as error:
            raise ImageMissing(error.reason, error.message) from error

    async def sandbox(self, pod: Obj, *, netns: str) -> str:
        uid = uid_of(pod)
        write(self.sandboxes / f"{uid}.json", {"netns": netns})
        return uid

    # Life of a container

    async def create(self, sandbox: str, spec: ContainerSpec, *, image: str) -> str:
        if not spec.argv:
            raise RuntimeFailure(
                "CreateContainerConfigError",
                f'container "{spec.name}" has no command: image "{image}" runs on the node\'s own files and has none '
                "of its own, set `command` in the container",
            )
        container = secrets.token_hex(32)
        path = self.containers / container
        path.mkdir(parents=True, mode=0o700)
        group = self.cgroups.create(sandbox, container[:16], spec.limits)
        place = specs.Place(
            base=str(self.base),
            netns=read(self.sandboxes / f"{sandbox}.json").get("netns", ""),
            pidns=self._processes_of(spec.target),
            overlay=bool(self.overlay),
            hidden=self.hidden,
            log_max_bytes=self.log_max_bytes,
            log_files=self.log_files,
        )
        if spec.log:
            Path(spec.log).parent.mkdir(parents=True, exist_ok=True)
        write(path / "spec.json", specs.zygote_spec(spec, place, group))
        meta = {"sandbox": sandbox, "name": spec.name, "attempt": spec.attempt, "image": image, "log": spec.log}
        meta |= {"created_at": time.time(), "boot": boot_id(), "annotations": dict(spec.annotations)}
        write(path / "meta.json", meta | {"cgroups": list(group.directories)})
        record = Record(path)
        self._records[container] = record
        self._exits[container] = asyncio.Event()
        self._note(record.state())
        return container

    def _processes_of(self, target: str) -> str:
        """The file of a running container's process namespace, "" for no target."""
        if not target:
            return ""
        state = self._states.get(target)
        if state is None or state.phase is not Phase.RUNNING:
            raise RuntimeFailure("CreateContainerError", "the target container is not running")
        return f"/proc/{state.pid}/ns/pid"

    async def start(self, container: str) -> None:
        record = self._record(container)
        record.meta["starting"] = True
        write(record.path / "meta.json", record.meta)
        values = await self._asked_to_start(record)
        if error := values.get("error", "" if values else "the zygote ended while starting it"):
            self._fail(record, error)
        self._note(record.state())
        self._watch(record)

    async def _asked_to_start(self, record: Record) -> dict[str, Any]:
        """The shim's answer. A zygote that was killed with the request unread is replaced, and asked again."""
        for _ in range(2):
            with self.zygote.request("start", directory=str(record.path)) as answers:
                values = (await answers.next()).values
            if values or record.running:
                return values
        return {}

    def _fail(self, record: Record, error: str) -> None:
        message = f"failed to start container process: {error}"
        ended = {"exit_code": 128, "signal": 0, "reason": "StartError", "message": message, "finished_at": time.time()}
        write(record.path / "exit.json", ended)
        self._note(record.state())
        raise RuntimeFailure("RunContainerError", message)

    async def stop(self, container: str, *, grace: float) -> None:
        record = self._records.get(container)
        if record is None or self._states[container].phase is not Phase.RUNNING:
            return
        ended = self._exits[container]
        if grace > 0:
            record.signal(signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(grace):
                    await ended.wait()
                return
        record.kill()
        await ended.wait()

    async def remove(self, target: str) -> None:
        if target in self._records:
            await self._remove(target)
            return
        for state in [state for state in self._states.values() if state.sandbox == target]:
            await self._remove(state.id)
        (self.sandboxes / f"{target}.json").unlink(missing_ok=True)

    async def _remove(self, container: str) -> None:
        await self.stop(container, grace=0)
        record = self._records.pop(container, None)
        if record is None:
            return
        self._states.pop(container, None)
        self._exits.pop(container, None)
        if groups := record.groups():
            await self._remove_groups(groups)
        record.remove()

    async def _remove_groups(self, groups: list[str]) -> None:
        for _ in range(50):
            if self.cgroups.remove(groups):
                return
            await asyncio.sleep(0.02)
        log.warning("control group stays busy groups=%s", groups)

    async def list(self) -> Sequence[ContainerState]:
        return list(self._states.values())

    # Events

    @asynccontextmanager
    async def events(self) -> AsyncIterator[AsyncIterator[ContainerState]]:
        queue: asyncio.Queue[ContainerState] = asyncio.Queue(_QUEUE)
        self._subscribers.add(queue)

        async def stream() -> AsyncIterator[ContainerState]:
            while True:
                yield await queue.get()

        try:
            yield stream()
        finally:
            self._subscribers.discard(queue)

    def _note(self, state: ContainerState) -> None:
        if self._states.get(state.id) == state:
            return
        self._states[state.id] = state
        if state.phase is Phase.EXITED:
            self._exits[state.id].set()
        for queue in self._subscribers:
            with contextlib.suppress(asyncio.QueueFull):  # a subscriber lists anyway from time to time
                queue.put_nowait(state)

    def _watch(self, record: Record) -> None:
        """Wait for the shim's end: its exit record is there by then."""
        running = record.running
        try:
            fd = os.pidfd_open(running["shim"])
        except ProcessLookupError:
            self._ended(record)
            return
        if not record.shim_alive(running):  # it ended before the descriptor was there, or the pid is another's
            os.close(fd)
            self._ended(record)
            return
        self._watched[record.id] = fd
        asyncio.get_running_loop().add_reader(fd, self._on_exit, record)

    def _on_exit(self, record: Record) -> None:
        fd = self._watched.pop(record.id)
        asyncio.get_running_loop().remove_reader(fd)
        os.close(fd)
        self._ended(record)

    def _ended(self, record: Record) -> None:
        if record.id not in self._records:
            return
        if not (record.path / "exit.json").exists():
            record.kill()  # its keeper was killed: the container must not go on unseen
        self._note(record.state())

    # Inside a running container

    async def exec(self, container: str, argv: Sequence[str], *, io: Streams, tty: bool = False) -> int:
        record = self._record(container)
        state = self._states[container]
        if state.phase is not Phase.RUNNING:
            raise RuntimeFailure("NotRunning", f"container {state.name} is not running")
        pipes = _Pipes(io, tty=tty)
        try:
            values = {"directory": str(record.path), "pid": state.pid, "argv": list(argv), "tty": tty}
            with self.zygote.request("exec", fds=pipes.theirs, **values) as answers:
                pipes.close_theirs()
                while True:
                    answer = await answers.next()
                    if answer.fds:
                        pipes.terminal(answer.fds[0])
                    elif "error" in answer.values:
                        raise RuntimeFailure("ExecError", answer.values["error"])
                    elif "pid" in answer.values:
                        pipes.start()
                    elif "exit_code" in answer.values:
                        await pipes.drain()
                        return int(answer.values["exit_code"])
                    else:
                        raise RuntimeFailure("ExecError", "the command was lost: the container or its node ended it")
        finally:
            await pipes.close()

    async def attach(self, container: str, *, io: Streams) -> None:
        record = self._record(container)
        directory = os.open(record.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            reader, writer = await asyncio.open_unix_connection(f"/proc/self/fd/{directory}/attach", limit=1 << 21)
        except OSError as error:
            raise RuntimeFailure("NotRunning", f"container {self._states[container].name} is not running") from error
        finally:
            os.close(directory)
        outputs = {1: io.stdout, 2: io.stderr}
        feeding = asyncio.create_task(_feed(writer, io))
        try:
            while True:
                channel, length = struct.unpack("!BI", await reader.readexactly(5))
                data = await reader.readexactly(length)
                if (output := outputs.get(channel)) is not None:
                    await output(data)
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            feeding.cancel()
            writer.close()

    def _record(self, container: str) -> Record:
        record = self._records.get(container)
        if record is None:
            raise RuntimeFailure("NotFound", f"no container {container}")
        return record


async def _feed(writer: asyncio.StreamWriter, io: Streams) -> None:
    async def sizes() -> None:
        while io.resize is not None:
            width, height = await io.resize.get()
            writer.write(struct.pack("!BIHH", 4, 4, width, height))

    async def keys() -> None:
        while io.stdin is not None:
            data = await io.stdin.get()
            writer.write(struct.pack("!BI", 0, len(data)) + data)
            await writer.drain()
            if not data:
                return

    with contextlib.suppress(ConnectionError):
        async with asyncio.TaskGroup() as group:
            group.create_task(sizes())
            group.create_task(keys())


class _Pipes:
    """The stdio of an exec: three pipes, or the terminal whose master the zygote hands over."""

    def __init__(self, io: Streams, *, tty: bool) -> None:
        self.io = io
        self.tty = tty
        self.theirs: list[int] = []
        self.stdin = self.stdout = self.stderr = -1
        self._outputs: list[asyncio.Task[None]] = []
        self._inputs: list[asyncio.Task[None]] = []
        if tty:
            return
        if io.stdin is None:
            self.theirs.append(os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC))
        else:
            theirs, self.stdin = os.pipe()
            self.theirs.append(theirs)
        self.stdout, out = os.pipe()
        self.stderr, err = os.pipe()
        self.theirs += [out, err]

    def close_theirs(self) -> None:
        for fd in self.theirs:
            os.close(fd)
        self.theirs.clear()

    def terminal(self, master: int) -> None:
        self.stdin = self.stdout = master

    def start(self) -> None:
        for fd, output in ((self.stdout, self.io.stdout), (self.stderr, self.io.stderr)):
            if fd >= 0:
                os.set_blocking(fd, False)
                self._outputs.append(asyncio.create_task(self._read(fd, output)))
        if self.stdin >= 0 and self.io.stdin is not None:
            os.set_blocking(self.stdin, False)
            self._inputs.append(asyncio.create_task(self._write(self.io.stdin)))
        if self.tty and self.io.resize is not None:
            self._inputs.append(asyncio.create_task(self._resize(self.io.resize)))

    async def drain(self) -> None:
        """What was written before the end; a background child that holds the pipe is not waited for long."""
        if self._outputs:
            await asyncio.wait(self._outputs, timeout=1.0)

    async def close(self) -> None:
        tasks = [*self._outputs, *self._inputs]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        self.close_theirs()
        for fd in {self.stdin, self.stdout, self.stderr} - {-1}:
            os.close(fd)
        self.stdin = self.stdout = self.stderr = -1

    async def _read(self, fd: int, output: object) -> None:
        while True:
            try:
                data = os.read(fd, _CHUNK)
            except BlockingIOError:
                await readable(fd)
                continue
            except OSError:  # EIO: nobody has the terminal any more
                return
            if not data:
                return
            if callable(output):
                await output(data)

    async def _write(self, source: asyncio.Queue[bytes]) -> None:
        while data := await source.get():
            while data:
                try:
                    data = data[os.write(self.stdin, data) :]
                except BlockingIOError:
                    await writable(self.stdin)
                except OSError:  # it does not read any more
                    return
        if self.tty:
            os.write(self.stdin, b"\x04")
        else:
            os.close(self.stdin)
            self.stdin = -1

    async def _resize(self, sizes: asyncio.Queue[tuple[int, int]]) -> None:
        while True:
            resize_tty(self.stdin, *(await sizes.get()))
