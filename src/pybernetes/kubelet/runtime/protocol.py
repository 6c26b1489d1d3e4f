"""The door to containers: one protocol for the in-memory fake, the process runtime and engines.

A runtime knows nothing of the API server. It is handed the pod and a `ContainerSpec` in which everything is resolved
(environment expanded, volumes as host paths), and reports `ContainerState` values. Ids are opaque strings.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from pybernetes.api.objects import Obj


class Phase(StrEnum):
    """Life of a container; it never goes back."""

    CREATED = "created"
    RUNNING = "running"
    EXITED = "exited"


class RuntimeFailure(Exception):
    """A runtime could not do it. `reason` is what a container status shows, `exit_code` what it ended with."""

    def __init__(self, reason: str, message: str, *, exit_code: int = 128) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.exit_code = exit_code


class ImageMissing(RuntimeFailure):
    """The image cannot be had: ErrImagePull, ErrImageNeverPull, InvalidImageName."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """A file or directory of the node that the container sees at `target`."""

    source: str
    target: str
    read_only: bool = False
    propagate: bool = False
    """Mounts made under `source` later appear inside (HostToContainer)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of a container; 0 is none. `cpu_shares` as cgroup v1 counts them (1024 is one core's weight)."""

    memory_bytes: int = 0
    cpu_quota_cores: float = 0.0
    cpu_shares: int = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who the process is and what it may do."""

    uid: int = 0
    gid: int = 0
    groups: tuple[int, ...] = ()
    add_capabilities: tuple[str, ...] = ()
    drop_capabilities: tuple[str, ...] = ()
    privileged: bool = False
    no_new_privileges: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerSpec:
    """One container with nothing left to look up."""

    name: str
    attempt: int = 0
    argv: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    directory: str = ""
    hostname: str = ""
    mounts: tuple[Mount, ...] = ()
    limits: Limits = Limits()
    identity: Identity = Identity()
    read_only_root: bool = False
    tty: bool = False
    stdin: bool = False
    stdin_once: bool = False
    log: str = ""
    """File of the CRI log format; "" keeps none."""
    target: str = ""
    """The id of a running container whose process namespace it joins; "" for one of its own."""
    annotations: Mapping[str, str] = field(default_factory=dict)
    """Kept beside the container and given back in its state (spec hash, grace period)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerState:
    """What a runtime knows of one container. Times are seconds since the epoch, 0.0 for not yet."""

    id: str
    sandbox: str
    name: str
    attempt: int = 0
    phase: Phase = Phase.CREATED
    image: str = ""
    pid: int = 0
    created_at: float = 0.0
    started_at: float = 0.0
    finished_at: float = 0.0
    exit_code: int = 0
    signal: int = 0
    reason: str = ""
    """Completed, Error, OOMKilled, StartError, ContainerStatusUnknown; "" while it lives."""
    message: str = ""
    log: str = ""
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class Streams:
    """The ends of an exec or attach: `stdin` ends with b""; outputs get each chunk; sizes are (width, height)."""

    stdin: asyncio.Queue[bytes] | None = None
    stdout: "Output | None" = None
    stderr: "Output | None" = None
    resize: asyncio.Queue[tuple[int, int]] | None = None


class Output(Protocol):
    async def __call__(self, data: bytes, /) -> None: ...


class Runtime(Protocol):
    """Containers of one node. Every call may raise RuntimeFailure; calls about what is gone do nothing."""

    async def pull(self, image: str, *, credentials: Mapping[str, str] | None = None) -> str:
        """Have the image; returns its reference. Raises ImageMissing."""
        ...

    async def sandbox(self, pod: Obj, *, netns: str) -> str:
        """The place a pod's containers live in, made if it is not there; returns its id (the pod's uid).

        `netns` is the file of its network namespace, "" for the node's own.
        """
        ...

    async def create(self, sandbox: str, spec: ContainerSpec, *, image: str) -> str:
        """Prepare a container; returns its id. Nothing runs yet."""
        ...

    async def start(self, container: str) -> None:
        """Run it. When it cannot be started it becomes EXITED with reason StartError, and RuntimeFailure is raised."""
        ...

    async def stop(self, container: str, *, grace: float) -> None:
        """SIGTERM, then SIGKILL after `grace` seconds; returns when it has exited."""
        ...

    async def remove(self, target: str) -> None:
        """Forget an exited container, or a sandbox with all that is left of it (running containers are killed)."""
        ...

    async def list(self) -> Sequence[ContainerState]:
        """All containers, those of an earlier run of the agent included."""
        ...

    async def exec(self, container: str, argv: Sequence[str], *, io: Streams, tty: bool = False) -> int:
        """Run a command in a running container until it exits; returns its exit code. Cancelling kills it."""
        ...

    async def attach(self, container: str, *, io: Streams) -> None:
        """Follow the running container's own output, and write its stdin if it has one, until it exits."""
        ...

    def events(self) -> AbstractAsyncContextManager[AsyncIterator[ContainerState]]:
        """State changes from now on."""
        ...
