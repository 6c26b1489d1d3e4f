"""What is on disk about containers: a directory each, with files that are written whole or not at all.

meta.json (at create, by the agent), spec.json (what the zygote reads), running.json and exit.json (by the shim).
A process is known by pid and start time in one boot, so that a reused pid is never taken for it.
"""

import contextlib
import functools
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..protocol import ContainerState, Phase
from .kernel import start_time

_FILES = ("attach", "running.json", "exit.json", "spec.json", "meta.json", ".running.json", ".exit.json")


@functools.cache
def boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def write(path: Path, value: object) -> None:
    """JSON in a file that others see whole or not at all; private, since environments hold secrets."""
    temporary = path.with_name("." + path.name)
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(fd, "w") as file:
        json.dump(value, file)
    os.replace(temporary, path)


def read(path: Path) -> dict[str, Any]:
    """{} when it is not there or was never finished."""
    try:
        value: dict[str, Any] = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return value


class Record:
    """One container's directory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.id = path.name
        self.meta = read(path / "meta.json")

    @property
    def running(self) -> dict[str, Any]:
        return read(self.path / "running.json")

    @property
    def attach(self) -> Path:
        return self.path / "attach"

    def groups(self) -> list[str]:
        found: list[str] = self.meta.get("cgroups", [])
        return found

    def shim_alive(self, running: dict[str, Any]) -> bool:
        return self.meta.get("boot") == boot_id() and start_time(running["shim"]) == running["shim_start_time"]

    def process_alive(self, running: dict[str, Any]) -> bool:
        return self.meta.get("boot") == boot_id() and start_time(running["pid"]) == running["start_time"]

    def kill(self) -> None:
        """SIGKILL the container's first process, if it is still the one recorded; its pid namespace follows."""
        self.signal(signal.SIGKILL)

    def signal(self, number: int) -> None:
        running = self.running
        if not running:
            return
        with contextlib.suppress(ProcessLookupError):
            fd = os.pidfd_open(running["pid"])
            try:
                if self.process_alive(running):
                    signal.pidfd_send_signal(fd, number)
            finally:
                os.close(fd)

    def state(self) -> ContainerState:
        """The truth on disk, with the processes looked at."""
        meta, running, ended = self.meta, self.running, read(self.path / "exit.json")
        phase, reason = Phase.CREATED, ""
        if ended:
            phase, reason = Phase.EXITED, ended["reason"]
        elif running and self.shim_alive(running):
            phase = Phase.RUNNING
        elif running or meta.get("starting"):
            # its keeper was killed, or the machine restarted: nobody saw how it ended
            phase, reason = Phase.EXITED, "ContainerStatusUnknown"
            ended = {"exit_code": 137, "message": "The container could not be located when its keeper had ended"}
        return ContainerState(
            id=self.id,
            sandbox=meta.get("sandbox", ""),
            name=meta.get("name", ""),
            attempt=meta.get("attempt", 0),
            phase=phase,
            image=meta.get("image", ""),
            pid=running.get("pid", 0) if phase is Phase.RUNNING else 0,
            created_at=meta.get("created_at", 0.0),
            started_at=running.get("started_at", 0.0),
            finished_at=ended.get("finished_at", 0.0),
            exit_code=ended.get("exit_code", 0),
            signal=ended.get("signal", 0),
            reason=reason,
            message=ended.get("message", ""),
            log=meta.get("log", ""),
            annotations=meta.get("annotations", {}),
        )

    def remove(self) -> None:
        """Only names that we make, and only empty directories: what is mounted or unknown stays."""
        for name in _FILES:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.path / name)
        with contextlib.suppress(OSError):
            os.rmdir(self.path)


def all_records(directory: Path) -> Iterator[Record]:
    """Every container recorded under a directory; leftovers of an interrupted create are cleared."""
    if not directory.is_dir():
        return
    for path in sorted(directory.iterdir()):
        record = Record(path)
        if record.meta:
            yield record
        else:
            record.remove()
