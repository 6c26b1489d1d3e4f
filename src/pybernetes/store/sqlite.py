"""The durable Store: MemoryStore over a SQLite log, written by one thread, many writes to a commit (facts/store.md).

A write is decided at once against what is there or under way (compare-and-set on the pending head), and waits in the
queue while a commit is under way; then all that wait are committed together. Only then do they become visible, in
order, and their callers hear of it. A commit that fails takes down everything that was decided on top of it.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from pybernetes.aio.thread import Worker

from . import Change, Record, Revision, Stale, Unavailable
from .history import FIRST, History, Window, superseded
from .journal import Failed, Journal, Row
from .memory import MemoryStore, Write, decide, outcome

log = logging.getLogger("pybernetes.store")

_BATCH = 512
_GARBAGE = 512
"""Superseded rows are removed so many at a time."""
_CHECKPOINT_BYTES = 4 << 20


@dataclass(slots=True, eq=False)
class _Entry:
    """A write under way."""

    change: Change
    key: str
    ttl: float | None
    done: "asyncio.Future[None]"


class SqliteStore(MemoryStore):
    """Store in a file, made by `open`."""

    @classmethod
    async def open(
        cls,
        path: str | Path,
        *,
        window: Window | None = None,
        watch_limit: int = 10_000,
        progress_seconds: float = 5.0,
    ) -> Self:
        """Read the file, or begin an empty one. Raises Unavailable when it is in use or cannot be used."""
        writer = Worker("store-writer")
        history = History(window or Window())
        try:
            journal = await writer.call(Journal, Path(path))
            garbage, expiring = await writer.call(_read, journal, history)
        except BaseException:
            await writer.close()
            raise
        store = cls(window=window, watch_limit=watch_limit, progress_seconds=progress_seconds)
        store._begin(journal, writer, history, garbage)
        now = time.time()
        for row in expiring:
            store._expires_in(row.key, row.revision, ttl=row.ttl or 0.0, seconds=(row.expires or 0.0) - now)
        return store

    def _begin(self, journal: Journal, writer: Worker, history: History, garbage: list[Revision]) -> None:
        self._history = history
        self._journal = journal
        self._writer = writer
        self._checkpointer = Worker("store-checkpoint")
        self._head = history.revision
        """The revision of the latest write decided."""
        self._queue: list[_Entry] = []
        self._under_way: dict[str, _Entry] = {}
        """The latest write decided to each key that is not committed yet."""
        self._busy = False
        """The writer has work, or will be given some in this turn of the loop."""
        self._garbage = garbage
        self._unsaved = 0
        """Bytes in the write-ahead log since the last checkpoint began, about."""
        self._checkpointing = False
        self._truncate = False
        self._released = False

    async def close(self) -> None:
        if self._released:
            return
        self._released = True
        while self._under_way:
            await asyncio.wait([entry.done for entry in self._under_way.values()])
        await super().close()
        await self._checkpointer.close()
        try:
            await self._writer.call(self._journal.close)
        finally:
            await self._writer.close()

    async def _write(self, write: Write) -> Record:
        while True:
            self._check()
            entry = self._under_way.get(write.key)
            current = entry.change.now if entry else self._history.records.get(write.key)
            try:
                change = decide(write, current, self._head + 1)
                break
            except Stale:
                if entry is None:
                    raise
                await asyncio.wait([entry.done])  # nobody may hear of a record that is not durable yet
        entry = _Entry(change, write.key, write.ttl, asyncio.get_running_loop().create_future())
        self._head = change.revision
        self._under_way[write.key] = entry
        self._queue.append(entry)
        if not self._busy:
            self._busy = True
            asyncio.get_running_loop().call_soon(self._next)  # together with what others write in this turn
        await asyncio.shield(entry.done)  # a caller that gives up does not undo what others build on
        return outcome(change)

    def _check(self) -> None:
        super()._check()
        if self._released:
            raise Unavailable("the store is closed")

    def _next(self) -> None:
        """Give the writer its next transaction."""
        if self._closed is not None:
            self._busy = False
        elif len(self._garbage) >= _GARBAGE:
            some, self._garbage = self._garbage[:_GARBAGE], self._garbage[_GARBAGE:]
            self._submit(self._tidied, self._journal.compact, some, self._history.oldest)
        elif self._truncate:
            self._truncate = False
            self._submit(self._tidied, self._journal.truncate)
        elif self._queue:
            batch, self._queue = self._queue[:_BATCH], self._queue[_BATCH:]
            rows = _rows(batch)
            self._unsaved += sum(len(row.value or b"") for row in rows) + (len(rows) + 2) * 4096
            self._submit(lambda error: self._committed(batch, error), self._journal.commit, rows)
        else:
            self._busy = False

    def _submit(self, then: Callable[[BaseException | None], None], call: Callable[..., None], *args: Any) -> None:
        self._busy = True
        self._writer.submit(call, *args).add_done_callback(lambda done: then(done.exception()))

    def _committed(self, batch: Sequence[_Entry], error: BaseException | None) -> None:
        if error is not None:
            self._fail(batch, error)
        else:
            for entry in batch:
                if self._under_way.get(entry.key) is entry:
                    del self._under_way[entry.key]
            self._apply([(entry.change, entry.ttl) for entry in batch])
            for entry in batch:
                entry.done.set_result(None)
            if self._unsaved > _CHECKPOINT_BYTES and not self._checkpointing:
                self._unsaved = 0
                self._checkpointing = True
                self._checkpointer.submit(self._journal.checkpoint).add_done_callback(self._checkpointed)
        self._next()

    def _fail(self, batch: Sequence[_Entry], error: BaseException) -> None:
        """Nothing of the batch happened, nor of what was decided after it; back to the state that is durable."""
        fatal = not isinstance(error, Failed) or error.fatal
        log.error("commit failed writes=%d fatal=%s error=%s", len(batch), fatal, error)
        failure = Unavailable(f"the write failed: {error}")
        if fatal:
            self._shut(failure)
            self._broken.set()
        undone = [*batch, *self._queue]
        self._queue.clear()
        self._under_way.clear()
        self._head = self._history.revision
        for entry in undone:
            entry.done.set_exception(failure)

    def _tidied(self, error: BaseException | None) -> None:
        """After a compaction or truncation. One that failed is merely not done: the next start makes up for it."""
        if error is not None:
            log.warning("clean-up of the store failed error=%s", error)
        self._next()

    def _checkpointed(self, done: "asyncio.Future[bool]") -> None:
        self._checkpointing = False
        if (error := done.exception()) is not None:
            log.warning("checkpoint failed error=%s", error)
        else:
            self._truncate = done.result()

    def _forget(self, changes: Sequence[Change]) -> None:
        self._garbage += superseded(changes)
        if len(self._garbage) >= _GARBAGE and not self._busy:
            self._next()


def _rows(batch: Sequence[_Entry]) -> list[Row]:
    now = time.time()
    return [
        Row(
            entry.change.revision,
            entry.key,
            entry.change.now.created if entry.change.now else 0,
            entry.change.now.value if entry.change.now else None,
            entry.ttl,
            None if entry.ttl is None else now + entry.ttl,
        )
        for entry in batch
    ]


def _read(journal: Journal, history: History) -> tuple[list[Revision], list[Row]]:
    """Rebuild the history from the log; returns the revisions of rows that are not needed, and the rows that expire."""
    oldest = max(journal.oldest(), FIRST)
    state: dict[str, Record] = {}
    expiring: dict[str, Row] = {}
    garbage: list[Revision] = []
    loaded = False
    for row in journal.rows():
        if not loaded and row.revision > oldest:
            history.load(state.values(), at=oldest)
            loaded = True
        now = None if row.value is None else Record(row.key, row.value, row.created, row.revision)
        change = Change(
            "put" if now else "delete", row.revision, now, (history.records if loaded else state).get(row.key)
        )
        if loaded:
            garbage += superseded(history.apply(change))
        else:  # a clean-up that was cut short left what the state before it needs no more
            garbage += superseded([change])
            state.pop(row.key, None)
            if now is not None:
                state[row.key] = now
        expiring.pop(row.key, None)
        if now is not None and row.ttl is not None:
            expiring[row.key] = row
    if not loaded:
        history.load(state.values(), at=oldest)
    return garbage, list(expiring.values())
