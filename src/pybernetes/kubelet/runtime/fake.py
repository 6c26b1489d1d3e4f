"""Containers in memory: a working model of a runtime, with handles to make things happen in tests.

A started container runs until it is stopped, or until a test calls `exit`. `programs` gives argv[0] a behaviour:
an exit code at once, or a failure to start.
"""

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

from pybernetes.api.objects import Obj, uid_of

from ..images import BadImage, resolve
from .protocol import ContainerSpec, ContainerState, ImageMissing, Phase, RuntimeFailure, Streams

Program = Callable[[Sequence[str], Streams], Awaitable[int]]


class FakeRuntime:
    """Runtime in memory; `clock` gives the time of states."""

    def __init__(self, *, clock: Callable[[], float] | None = None) -> None:
        self.clock = clock or time.time
        self.states: dict[str, ContainerState] = {}
        self.specs: dict[str, ContainerSpec] = {}
        self.sandboxes: dict[str, str] = {}
        self.exits_at_once: dict[str, int] = {}
        """argv[0] -> exit code of containers that end as soon as they are started."""
        self.cannot_start: dict[str, str] = {}
        """argv[0] -> why a container cannot be started."""
        self.programs: dict[str, Program] = {}
        """argv[0] -> what exec of it does; others print nothing and exit with 0."""
        self.ignores_term: set[str] = set()
        """Names of containers that only SIGKILL ends."""
        self.execs: list[tuple[str, tuple[str, ...]]] = []
        self._numbers = itertools.count(1)
        self._subscribers: set[asyncio.Queue[ContainerState]] = set()

    async def open(self) -> None:
        return None

    async def close(self) -> None:
        return None

    async def pull(self, image: str, *, credentials: Mapping[str, str] | None = None) -> str:
        try:
            return resolve(image)
        except BadImage as error:
            raise ImageMissing(error.reason, error.message) from error

    async def sandbox(self, pod: Obj, *, netns: str) -> str:
        self.sandboxes[uid_of(pod)] = netns
        return uid_of(pod)

    async def create(self, sandbox: str, spec: ContainerSpec, *, image: str) -> str:
        if not spec.argv:
            raise RuntimeFailure("CreateContainerConfigError", f'container "{spec.name}" has no command')
        container = f"fake-{next(self._numbers):04d}"
        self.specs[container] = spec
        self._note(
            ContainerState(
                id=container,
                sandbox=sandbox,
                name=spec.name,
                attempt=spec.attempt,
                image=image,
                created_at=self.clock(),
                log=spec.log,
                annotations=dict(spec.annotations),
            )
        )
        return container

    async def start(self, container: str) -> None:
        spec = self.specs[container]
        if why := self.cannot_start.get(spec.argv[0]):
            message = f"failed to start container process: {why}"
            self.exit(container, 128, reason="StartError", message=message)
            raise RuntimeFailure("RunContainerError", message)
        self._note(replace(self.states[container], phase=Phase.RUNNING, pid=1, started_at=self.clock()))
        if spec.argv[0] in self.exits_at_once:
            self.exit(container, self.exits_at_once[spec.argv[0]])

    async def stop(self, container: str, *, grace: float) -> None:
        state = self.states.get(container)
        if state is None or state.phase is not Phase.RUNNING:
            return
        if state.name in self.ignores_term or grace <= 0:
            await asyncio.sleep(max(grace, 0.0))
            self.exit(container, 137, signal=9)
        else:
            self.exit(container, 143, signal=15)

    async def remove(self, target: str) -> None:
        for container in [c for c, state in self.states.items() if target in (c, state.sandbox)]:
            await self.stop(container, grace=0)
            self.states.pop(container, None)
            self.specs.pop(container, None)
        self.sandboxes.pop(target, None)

    async def list(self) -> Sequence[ContainerState]:
        return list(self.states.values())

    async def exec(self, container: str, argv: Sequence[str], *, io: Streams, tty: bool = False) -> int:
        state = self.states.get(container)
        if state is None or state.phase is not Phase.RUNNING:
            raise RuntimeFailure("NotRunning", f"container {container} is not running")
        self.execs.append((state.name, tuple(argv)))
        program = self.programs.get(argv[0])
        return await program(argv, io) if program else 0

    async def attach(self, container: str, *, io: Streams) -> None:
        async with self.events() as events:
            if self.states[container].phase is Phase.RUNNING:
                async for state in events:
                    if state.id == container and state.phase is Phase.EXITED:
                        return

    @asynccontextmanager
    async def events(self) -> AsyncIterator[AsyncIterator[ContainerState]]:
        queue: asyncio.Queue[ContainerState] = asyncio.Queue(1000)
        self._subscribers.add(queue)

        async def stream() -> AsyncIterator[ContainerState]:
            while True:
                yield await queue.get()

        try:
            yield stream()
        finally:
            self._subscribers.discard(queue)

    # Handles for tests

    def exit(self, container: str, code: int = 0, *, signal: int = 0, reason: str = "", message: str = "") -> None:
        """End a container."""
        state = self.states[container]
        if state.phase is Phase.EXITED:
            return
        self._note(
            replace(
                state,
                phase=Phase.EXITED,
                pid=0,
                finished_at=self.clock(),
                exit_code=code,
                signal=signal,
                reason=reason or ("Completed" if code == 0 else "Error"),
                message=message,
            )
        )

    def running(self, name: str) -> str:
        """The id of the running container of that name."""
        return next(s.id for s in self.states.values() if s.name == name and s.phase is Phase.RUNNING)

    def _note(self, state: ContainerState) -> None:
        self.states[state.id] = state
        for queue in self._subscribers:
            with contextlib.suppress(asyncio.QueueFull):
                queue.put_nowait(state)
