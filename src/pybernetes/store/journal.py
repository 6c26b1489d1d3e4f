"""The durable log under SqliteStore: one row a write, in a SQLite file. Synchronous; every call blocks on the disk.

A row is never changed, only removed when it is superseded and the ring no longer reaches back to it. So the file holds
the current state and the recent changes at once, each value a single time. With the removal goes a mark of how far
back the changes are complete; revisions go on after it even when no row is left, so none is ever used twice.
"""

import contextlib
import fcntl
import os
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from . import Revision, Unavailable

_SCHEMA = """
CREATE TABLE IF NOT EXISTS log (
    revision INTEGER PRIMARY KEY,
    key TEXT NOT NULL,
    created INTEGER NOT NULL,
    value BLOB,
    ttl REAL,
    expires REAL
);
CREATE TABLE IF NOT EXISTS oldest (id INTEGER PRIMARY KEY CHECK (id = 1), revision INTEGER NOT NULL);
"""
_VERSION = 1
_PAGE_BYTES = 8192
_WAL_BYTES = 64 << 20
"""A write-ahead log longer than this is emptied even if writers have to wait."""
_SURVIVED = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_TOOBIG})
"""Errors after which the file is as it was. After any other the state on disk is unknown, as after a failed fsync."""


class Row(NamedTuple):
    """One write. `value` None is a delete; `expires` is wall-clock time, for keys with a `ttl`."""

    revision: Revision
    key: str
    created: Revision
    value: bytes | None
    ttl: float | None = None
    expires: float | None = None


class Failed(Exception):
    """A transaction failed. `fatal`: nobody knows what is on disk, so nothing may be written after it."""

    def __init__(self, error: sqlite3.Error) -> None:
        super().__init__(str(error))
        self.fatal = (getattr(error, "sqlite_errorcode", 0) & 0xFF) not in _SURVIVED


class Journal:
    """One file, locked against other processes. One thread writes; `checkpoint` belongs to another."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = os.open(path.with_name(f"{path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
        self._opened = contextlib.ExitStack()
        self._opened.callback(os.close, lock)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            self._db = self._connect(path)
            self._version(path)
            self._db.executescript(_SCHEMA)
            self._checkpointer = self._connect(path)
        except BaseException as error:
            self.close()
            if isinstance(error, BlockingIOError):
                raise Unavailable(f"{path} is in use by another process") from error
            if isinstance(error, sqlite3.Error):
                raise Unavailable(f"{path}: {error}") from error
            raise
        _sync_directory(path.parent)

    def oldest(self) -> Revision:
        """All changes after this revision are there; of the time before, only what is still current. 0 at first."""
        found = self._db.execute("SELECT revision FROM oldest").fetchone()
        return int(found[0]) if found else 0

    def rows(self) -> Iterator[Row]:
        """All rows in revision order."""
        return map(Row._make, self._db.execute("SELECT * FROM log ORDER BY revision"))

    def commit(self, rows: Sequence[Row]) -> None:
        """Add rows; durable when this returns. Raises Failed, then none of them was added."""
        with self._transaction():
            self._db.executemany("INSERT INTO log VALUES (?, ?, ?, ?, ?, ?)", rows)

    def compact(self, revisions: Sequence[Revision], oldest: Revision) -> None:
        """Remove rows at or before `oldest` that nobody needs. Raises Failed."""
        with self._transaction():
            self._db.executemany("DELETE FROM log WHERE revision = ?", [(one,) for one in revisions])
            self._db.execute("INSERT OR REPLACE INTO oldest VALUES (1, ?)", (oldest,))

    def checkpoint(self) -> bool:
        """Move the write-ahead log into the file without holding writers up; True when `truncate` is due."""
        try:
            _, frames, _ = self._checkpointer.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        except sqlite3.Error as error:
            raise Failed(error) from error
        return bool(frames * _PAGE_BYTES > _WAL_BYTES)

    def truncate(self) -> None:
        """Empty the write-ahead log; in the writer's thread, so no writer is in the way. Raises Failed."""
        try:
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except sqlite3.Error as error:
            raise Failed(error) from error

    def close(self) -> None:
        """Release the file; the last connection to go empties the write-ahead log into it."""
        self._opened.close()

    def _connect(self, path: Path) -> sqlite3.Connection:
        db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=30.0)
        self._opened.callback(db.close)
        db.execute(f"PRAGMA page_size={_PAGE_BYTES}")
        (mode,) = db.execute("PRAGMA journal_mode=WAL").fetchone()
        if mode != "wal":
            raise Unavailable(f"{path}: this file system has no write-ahead log (mode {mode})")
        db.execute("PRAGMA synchronous=FULL")  # NORMAL may lose commits, and their revisions would be used again
        db.execute("PRAGMA wal_autocheckpoint=0")
        db.execute("PRAGMA cache_size=-1024")  # rows are read once, at start; the values in memory are the store's
        return db

    def _version(self, path: Path) -> None:
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version not in (0, _VERSION):
            raise Unavailable(f"{path} was written by another version of this program (format {version})")
        self._db.execute(f"PRAGMA user_version={_VERSION}")

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        try:
            self._db.execute("BEGIN IMMEDIATE")
            yield
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            failed = Failed(error)
            try:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
            except sqlite3.Error:
                failed.fatal = True
            raise failed from error


def _sync_directory(path: Path) -> None:
    """A new file is there after a power cut only if its directory was synced."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
