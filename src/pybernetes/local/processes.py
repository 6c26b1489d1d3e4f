"""Processes that outlive the command which started them: started in a namespace, recorded, found again, ended.

A process is known by its pid and its start time (field 22 of /proc/PID/stat), so that a reused pid is never signalled.
"""

import contextlib
import os
import select
import signal
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from pybernetes.netlink import namespaces


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One started process."""

    name: str
    pid: int
    started: int
    log: str

    @property
    def alive(self) -> bool:
        return start_time(self.pid) == self.started


def start_time(pid: int) -> int | None:
    """Clock ticks after boot at which a process started; None when it is gone or a zombie."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])


class Processes:
    """The records of one cluster's processes, a JSON file each."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def spawn(self, name: str, argv: Sequence[str], *, log: Path, namespace: str | None = None) -> Record:
        """Start a process in a session of its own, in a network namespace if given; its output goes to `log`."""

        def start() -> int:
            with log.open("ab") as output:
                process = subprocess.Popen(
                    argv,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                    cwd="/",
                    env=os.environ | MALLOC,
                )
            process.returncode = 0  # it outlives us by design: no warning about a running child
            return process.pid

        log.parent.mkdir(parents=True, exist_ok=True)
        pid = namespaces.run_in(namespace, start) if namespace else start()
        started = start_time(pid)
        if started is None:
            raise ChildProcessError(f"{name} ended at once; its output is in {log}")
        record = Record(name=name, pid=pid, started=started, log=str(log))
        self.directory.mkdir(parents=True, exist_ok=True)
        (self.directory / f"{name}.json").write_bytes(msgspec.json.encode(record))
        return record

    def find(self, name: str) -> Record | None:
        """The record of a process, if there is one (it may have ended)."""
        with contextlib.suppress(FileNotFoundError):
            return msgspec.json.decode((self.directory / f"{name}.json").read_bytes(), type=Record)
        return None

    def all(self) -> list[Record]:
        if not self.directory.is_dir():
            return []
        return [msgspec.json.decode(path.read_bytes(), type=Record) for path in sorted(self.directory.glob("*.json"))]


MALLOC = {"MALLOC_TRIM_THRESHOLD_": "67108864", "MALLOC_MMAP_THRESHOLD_": "33554432", "MALLOC_ARENA_MAX": "2"}
"""glibc settings: big lists are 2 to 5 times cheaper when their memory is not returned at once (docs/benchmarks.md)."""


def stop(records: Iterable[Record], *, grace_seconds: float) -> list[Record]:
    """SIGTERM all, wait, SIGKILL the rest; returns those that had to be killed."""
    waiting = {fd: record for record in records if (fd := _signal(record, signal.SIGTERM)) is not None}
    killed = _wait(waiting, grace_seconds)
    for fd, record in killed.items():
        signal.pidfd_send_signal(fd, signal.SIGKILL)
        waiting[fd] = record
    left = _wait(killed, 10.0)
    for fd in waiting:
        os.close(fd)
    if left:
        raise TimeoutError("cannot end " + ", ".join(f"{r.name} (pid {r.pid})" for r in left.values()))
    return list(killed.values())


def _signal(record: Record, number: signal.Signals) -> int | None:
    try:
        fd = os.pidfd_open(record.pid)
    except ProcessLookupError:
        return None
    if not record.alive:
        os.close(fd)
        return None
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(fd, number)
    return fd


def _wait(processes: dict[int, Record], seconds: float) -> dict[int, Record]:
    """Those that have not ended in that time."""
    poll = select.poll()
    for fd in processes:
        poll.register(fd, select.POLLIN)
    left = dict(processes)
    deadline = os.times().elapsed + seconds
    while left and (remaining := deadline - os.times().elapsed) > 0:
        for fd, _ in poll.poll(remaining * 1000):
            poll.unregister(fd)
            left.pop(fd)
    return left


def inhabitants(namespace: str) -> list[Record]:
    """All processes whose network namespace is the one of this path (made by us, so they are ours to end)."""
    try:
        wanted = os.stat(namespace)
    except FileNotFoundError:
        return []
    found = []
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit():
            continue
        try:
            theirs = os.stat(f"/proc/{entry.name}/ns/net")
        except (FileNotFoundError, PermissionError, ProcessLookupError):
            continue
        pid = int(entry.name)
        if (theirs.st_dev, theirs.st_ino) != (wanted.st_dev, wanted.st_ino) or pid == os.getpid():
            continue
        if (started := start_time(pid)) is not None:
            found.append(Record(name=f"process {pid}", pid=pid, started=started, log=""))
    return found
