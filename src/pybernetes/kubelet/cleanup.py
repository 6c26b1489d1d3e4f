"""Removing all that a kubelet made, without a kubelet: after its kill -9, twice, or when there is nothing left.

Only what was recorded is touched: processes by pid and start time, mounts under our own directories, links by the
names that uids give.
"""

import logging
import os
import shutil
import signal
import time
from collections.abc import Iterable
from pathlib import Path

from pybernetes.netlink import namespaces

from .agent import cgroup_of, digest_of
from .hostports import remove_tables
from .runtime.process.cgroups import Cgroups
from .runtime.process.kernel import umount
from .runtime.process.records import Record, all_records
from .volumes import PodVolumes

log = logging.getLogger(__name__)

_WAIT_SECONDS = 10.0
_POLL_SECONDS = 0.01


def remove_everything(state_directory: Path, run_directory: Path) -> None:
    """End all containers, then remove namespaces, mounts, control groups and files. The agent must not run."""
    state, run = Path(state_directory), Path(run_directory)
    records = list(all_records(state / "runtime" / "containers"))
    for record in records:
        record.kill()
    _wait(records)
    cgroups = Cgroups(cgroup_of(state), probe=False)
    for record in records:
        _remove_groups(cgroups, record)
        record.remove()
    cgroups.remove_all()
    for path in _entries(run / "netns"):
        namespaces.delete(str(path))
    if (
        state / "hostports"
    ).is_dir():  # after the namespaces: with the rules goes what protects loopback from their pods
        remove_tables(digest_of(state))
    for path in _entries(state / "pods"):
        PodVolumes(path).remove()
    for name in ("runtime", "addresses", "hostports", "logs", "pods"):
        _remove_tree(state / name)
    for directory in (run / "netns", run, state):
        if directory.is_dir() and not any(directory.iterdir()):
            directory.rmdir()


def _entries(directory: Path) -> Iterable[Path]:
    return sorted(directory.iterdir()) if directory.is_dir() else ()


def _wait(records: list[Record]) -> None:
    """Until processes and their shims are gone (a shim ends once it has written how its container ended)."""
    deadline = time.monotonic() + _WAIT_SECONDS
    while time.monotonic() < deadline:
        left = [r for r in records if (running := r.running) and (r.process_alive(running) or r.shim_alive(running))]
        if not left:
            return
        time.sleep(_POLL_SECONDS)
    for record in left:
        log.warning("container does not end container=%s pid=%s", record.id, record.running.get("pid"))
        if record.shim_alive(record.running):
            os.kill(record.running["shim"], signal.SIGKILL)


def _remove_groups(cgroups: Cgroups, record: Record) -> None:
    deadline = time.monotonic() + 1.0
    while not cgroups.remove(record.groups()) and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)


def _remove_tree(path: Path) -> None:
    """Unmount what is mounted below, then remove; what stays mounted stays (never remove a mount point)."""
    if not path.is_dir():
        return
    below = str(path) + "/"
    for target in reversed([point for point in _mount_points() if point.startswith(below)]):
        umount(target)
    if any(point.startswith(below) for point in _mount_points()):
        log.warning("still mounted path=%s", path)
        return
    shutil.rmtree(path, ignore_errors=True)


def _mount_points() -> list[str]:
    lines = Path("/proc/self/mountinfo").read_text(errors="surrogateescape").splitlines()
    return [line.split(" ")[4].replace("\\040", " ") for line in lines]
