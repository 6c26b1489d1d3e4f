"""The log: one JSON line an event, in a file that is put aside when it is large; old ones are removed."""

import logging
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from pybernetes.api.objects import Obj, encode

log = logging.getLogger("pybernetes.apiserver.audit")


class AuditLog:
    """Path "-" is standard output. A line goes to the kernel at once, so a crash of the process loses none."""

    def __init__(self, path: str, *, max_size_mb: int = 100, max_age_days: int = 0, max_backups: int = 0) -> None:
        """Raises OSError. 0 days, 0 backups: all are kept; 0 megabytes is 100, as in Kubernetes."""
        self.written = 0
        self.failed = 0
        self._path = Path(path)
        self._limit = (max_size_mb or 100) << 20
        self._age_seconds = max_age_days * 86400
        self._backups = max_backups
        self._rotates = path != "-"
        self._file: BinaryIO = self._open() if self._rotates else sys.stdout.buffer
        self._size = self._file.tell() if self._rotates else 0

    def _open(self) -> BinaryIO:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        made = self._path.open("ab", buffering=0)
        self._path.chmod(0o600)
        return made

    def write(self, event: Obj) -> None:
        """A line that cannot be written is counted; the first of a series is told of."""
        line = encode(event) + b"\n"
        try:
            if self._rotates and self._size + len(line) > self._limit and self._size:
                self._rotate()
            self._file.write(line)
            if not self._rotates:
                self._file.flush()
        except OSError as error:
            self.failed += 1
            if self.failed == 1:
                log.error("audit event lost path=%s error=%s", self._path, error)
            return
        self._size += len(line)
        self.written += 1

    def _rotate(self) -> None:
        self._file.close()
        now = datetime.now(UTC)
        stamp = now.strftime("%Y-%m-%dT%H-%M-%S.%f")
        self._path.rename(self._path.with_name(f"{self._path.stem}-{stamp}{self._path.suffix}"))
        self._file, self._size = self._open(), 0
        aside = sorted(self._path.parent.glob(f"{self._path.stem}-????-??-??T*{self._path.suffix}"))
        extra = aside[: -self._backups] if self._backups else []
        if self._age_seconds:
            extra += [one for one in aside if now.timestamp() - one.stat().st_mtime > self._age_seconds]
        for one in set(extra):
            one.unlink(missing_ok=True)

    def close(self) -> None:
        if self._rotates:
            self._file.close()
