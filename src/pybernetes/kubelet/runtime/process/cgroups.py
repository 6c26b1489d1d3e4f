"""Memory and CPU bounds by control groups, version 1 or 2, whichever this node lets us write.

Groups are directories that only we make and remove (see the trap in docs: never remove what may be a mount point).
"""

import contextlib
import errno
import os
from pathlib import Path
from typing import NamedTuple

from ..protocol import Limits

_PERIOD = 100_000
_V2_CONTROLLERS = "+memory +cpu"


class Group(NamedTuple):
    """The groups of one container: what its process joins, and the file that counts its OOM kills."""

    directories: tuple[str, ...] = ()
    oom: str = ""


class Cgroups:
    """Groups under one parent of ours. `missing` says why there are none, "" when all is well."""

    def __init__(self, name: str, *, root: Path = Path("/sys/fs/cgroup"), probe: bool = True) -> None:
        """`probe` makes the parent groups; without it there is only removing."""
        self.name = name
        self.root = root
        self.missing = ""
        self.version = self._probe() if probe else 0

    def _probe(self) -> int:
        if (self.root / "cgroup.controllers").exists():
            return 2 if self._delegate() else 0
        wanted = [self.root / kind for kind in ("memory", "cpu")]
        if all((path / "cgroup.procs").exists() for path in wanted):
            try:
                for path in wanted:
                    (path / self.name).mkdir(parents=True, exist_ok=True)
            except OSError as error:
                self.missing = f"control groups cannot be written: {error}"
                return 0
            return 1
        self.missing = f"no memory and cpu control groups under {self.root}"
        return 0

    def _delegate(self) -> bool:
        """Turn the controllers on from the root down to our parent group."""
        here = self.root
        try:
            for part in ("", *Path(self.name).parts):
                here = here / part
                here.mkdir(exist_ok=True)
                (here / "cgroup.subtree_control").write_text(_V2_CONTROLLERS)
        except OSError as error:
            self.missing = f"control groups cannot be delegated: {error}"
            return False
        return True

    def create(self, sandbox: str, container: str, limits: Limits) -> Group:
        """The groups of a container with bounds; none for one without, or where there are no control groups."""
        if limits == Limits() or not self.version:
            return Group()
        if self.version == 2:
            return self._create_v2(sandbox, container, limits)
        memory = self.root / "memory" / self.name / sandbox / container
        cpu = self.root / "cpu" / self.name / sandbox / container
        for path in (memory, cpu):
            path.mkdir(parents=True, exist_ok=True)
        if limits.memory_bytes:
            (memory / "memory.limit_in_bytes").write_text(str(limits.memory_bytes))
            with contextlib.suppress(OSError):  # swap accounting may be off
                (memory / "memory.memsw.limit_in_bytes").write_text(str(limits.memory_bytes))
        (cpu / "cpu.shares").write_text(str(max(2, limits.cpu_shares)))
        if limits.cpu_quota_cores:
            (cpu / "cpu.cfs_period_us").write_text(str(_PERIOD))
            (cpu / "cpu.cfs_quota_us").write_text(str(_quota(limits)))
        return Group((str(memory), str(cpu)), str(memory / "memory.oom_control"))

    def _create_v2(self, sandbox: str, container: str, limits: Limits) -> Group:
        parent = self.root / self.name / sandbox
        parent.mkdir(exist_ok=True)
        (parent / "cgroup.subtree_control").write_text(_V2_CONTROLLERS)
        path = parent / container
        path.mkdir(exist_ok=True)
        if limits.memory_bytes:
            (path / "memory.max").write_text(str(limits.memory_bytes))
            with contextlib.suppress(OSError):
                (path / "memory.swap.max").write_text("0")
        shares = min(max(limits.cpu_shares, 2), 262144)
        (path / "cpu.weight").write_text(str(1 + (shares - 2) * 9999 // 262142))
        if limits.cpu_quota_cores:
            (path / "cpu.max").write_text(f"{_quota(limits)} {_PERIOD}")
        return Group((str(path),), str(path / "memory.events"))

    def remove(self, directories: list[str]) -> bool:
        """Remove a container's groups and those above that are empty; False when some are still busy (try again)."""
        for directory in directories:
            if not _remove(directory):
                return False
            with contextlib.suppress(OSError):
                os.rmdir(os.path.dirname(directory))  # the pod's, once its last container's is gone
        return True

    def remove_all(self) -> None:
        """Remove our parent groups with all empty groups below: the name is ours alone."""
        for path in (self.root / "memory" / self.name, self.root / "cpu" / self.name, self.root / self.name):
            for directory, _, _ in os.walk(path, topdown=False):
                with contextlib.suppress(OSError):
                    os.rmdir(directory)
            with contextlib.suppress(OSError):
                os.rmdir(path.parent if path.parent.name == Path(self.name).parts[0] else path)


def _quota(limits: Limits) -> int:
    return max(1000, int(limits.cpu_quota_cores * _PERIOD))


def _remove(directory: str) -> bool:
    try:
        os.rmdir(directory)
    except FileNotFoundError:
        return True
    except OSError as error:
        if error.errno in (errno.EBUSY, errno.ENOTEMPTY):
            return False  # the kernel needs a moment after the last exit
        raise
    return True
