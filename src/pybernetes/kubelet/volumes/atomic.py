"""A directory whose files change all at once: `..data` is a symbolic link to the version in force, replaced by rename.

The layout is Kubernetes' (pkg/volume/util/atomic_writer.go), since programs watch for exactly it.
"""

import contextlib
import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

_DATA, _NEW = "..data", "..data_tmp"


class File(NamedTuple):
    data: bytes
    mode: int = 0o644


class AtomicDirectory:
    """`write` makes the directory show exactly these files (relative paths, possibly in subdirectories)."""

    def __init__(self, path: Path, *, gid: int = -1) -> None:
        self.path = path
        self.gid = gid

    def write(self, files: Mapping[str, File]) -> bool:
        """Returns whether anything changed."""
        self.path.mkdir(parents=True, exist_ok=True)
        os.chmod(self.path, 0o755)
        current = self._current()
        if current is not None and self._same(current, files):
            return False
        version = f"..{time.strftime('%Y_%m_%d_%H_%M_%S', time.gmtime())}.{time.monotonic_ns()}"
        self._fill(self.path / version, files)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path / _NEW)
        os.symlink(version, self.path / _NEW)
        os.replace(self.path / _NEW, self.path / _DATA)
        self._link(files)
        if current is not None:
            shutil.rmtree(current, ignore_errors=True)
        return True

    def _current(self) -> Path | None:
        try:
            return self.path / os.readlink(self.path / _DATA)
        except OSError:
            return None

    def _same(self, current: Path, files: Mapping[str, File]) -> bool:
        have = {str(path.relative_to(current)) for path in current.rglob("*") if path.is_file()}
        if have != set(files):
            return False
        return all(
            (current / name).read_bytes() == file.data and (current / name).stat().st_mode & 0o7777 == file.mode
            for name, file in files.items()
        )

    def _fill(self, version: Path, files: Mapping[str, File]) -> None:
        version.mkdir()
        os.chmod(version, 0o755)
        for name, file in files.items():
            target = version / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.data)
            os.chmod(target, file.mode)
            if self.gid >= 0:
                os.chown(target, -1, self.gid)

    def _link(self, files: Mapping[str, File]) -> None:
        """One symbolic link per top-level name, through ..data; those of names that are gone are removed."""
        names = {name.split("/", 1)[0] for name in files}
        for name in names:
            if not os.path.islink(self.path / name):
                os.symlink(f"{_DATA}/{name}", self.path / name)
        for entry in os.scandir(self.path):
            if not entry.name.startswith("..") and entry.name not in names and entry.is_symlink():
                os.unlink(entry.path)
