"""A Store in memory: nothing outlives the process. It is the whole store but for durability, which SqliteStore adds."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple

from pybernetes.aio.supervise import Fatal

from . import Change, Page, Record, Revision, Stale, Unavailable
from .expiry import Expiry
from .history import History, Window
from .watchers import Watchers


class Write(NamedTuple):
    """What a caller asks for: `value` None deletes, `expect` None creates."""

    key: str
    value: bytes | None
    expect: Revision | None
    ttl: float | None = None


class MemoryStore:
    """Store in memory. A watcher with more than `watch_limit` changes unread is closed with Lagged.

    Every `progress_seconds` a watcher that has heard nothing of the latest revision gets a mark of it.
    """

    def __init__(
        self, *, window: Window | None = None, watch_limit: int = 10_000, progress_seconds: float = 5.0
    ) -> None:
        self._history = History(window or Window())
        self._watchers = Watchers(limit=watch_limit, progress_seconds=progress_seconds)
        self._expiry = Expiry(self._expire)
        self._ttls: dict[str, float] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed: Exception | None = None
        self._broken = asyncio.Event()

    @property
    def revision(self) -> Revision:
        return self._history.revision

    async def get(self, key: str, *, at: Revision = 0) -> tuple[Record | None, Revision]:
        self._check()
        at = self._history.resolve(at)
        return self._history.get(key, at), at

    async def scan(self, prefix: str, *, after: str = "", limit: int = 0, at: Revision = 0) -> Page:
        self._check()
        return self._history.scan(prefix, after=after, limit=limit, at=self._history.resolve(at))

    async def create(self, key: str, value: bytes, *, ttl: float | None = None) -> Record:
        return await self._write(Write(key, value, None, ttl))

    async def update(self, key: str, value: bytes, *, expect: Revision) -> Record:
        return await self._write(Write(key, value, expect, self._ttls.get(key)))

    async def delete(self, key: str, *, expect: Revision) -> Record:
        return await self._write(Write(key, None, expect))

    @asynccontextmanager
    async def watch(self, prefix: str, *, after: Revision) -> AsyncIterator[AsyncIterator[Sequence[Change]]]:
        self._check()
        history = self._history.changes(prefix, after=after)
        with self._watchers.watcher(prefix, history, after=after, now=self.revision) as watcher:
            yield watcher

    async def compact(self, before: Revision) -> None:
        self._check()
        self._forget(self._history.compact(min(before, self.revision)))

    async def close(self) -> None:
        self._shut(Unavailable("the store is closed"))
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def run(self) -> None:
        """As a service beside those that use the store: Fatal once it is broken, for nothing goes on without it."""
        await self._broken.wait()
        raise Fatal(str(self._closed))

    async def _write(self, write: Write) -> Record:
        """Decide and apply in one breath. Raises Stale."""
        self._check()
        change = decide(write, self._history.records.get(write.key), self.revision + 1)
        self._apply([(change, write.ttl)])
        return outcome(change)

    def _apply(self, batch: Sequence[tuple[Change, float | None]]) -> None:
        """Make durable changes visible: state, watchers, expiry."""
        fallen: list[Change] = []
        for change, ttl in batch:
            fallen += self._history.apply(change)
            if change.now is not None and ttl is not None:
                self._expires_in(change.now.key, change.revision, ttl=ttl, seconds=ttl)
            elif change.now is None and change.was is not None:
                self._ttls.pop(change.was.key, None)
        if fallen:
            self._forget(fallen)
        self._watchers.publish([change for change, _ in batch])

    def _forget(self, changes: Sequence[Change]) -> None:
        """Changes have left the ring for good."""

    def _expires_in(self, key: str, revision: Revision, *, ttl: float, seconds: float) -> None:
        self._ttls[key] = ttl
        self._expiry.add(key, revision, seconds=seconds)

    def _expire(self, due: Sequence[tuple[str, Revision]]) -> None:
        task = asyncio.get_running_loop().create_task(self._delete_expired(due))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _delete_expired(self, due: Sequence[tuple[str, Revision]]) -> None:
        records = self._history.records
        still = [(key, revision) for key, revision in due if key in records and records[key].revision == revision]
        await asyncio.gather(*(self.delete(key, expect=revision) for key, revision in still), return_exceptions=True)

    def _check(self) -> None:
        if self._closed is not None:
            raise Unavailable(str(self._closed))

    def _shut(self, reason: Exception) -> None:
        if self._closed is None:
            self._closed = reason
        self._expiry.close()
        self._watchers.close()


def decide(write: Write, current: Record | None, revision: Revision) -> Change:
    """The change that a write makes to the record there now. Raises Stale. Pure."""
    if (current.revision if current else None) != write.expect:
        raise Stale(write.key, current)
    if write.value is None:
        return Change("delete", revision, None, current)
    created = current.created if current else revision
    return Change("put", revision, Record(write.key, write.value, created, revision), current)


def outcome(change: Change) -> Record:
    """What the caller gets: the new record, or the deleted one with the revision of its deletion."""
    if change.now is not None:
        return change.now
    assert change.was is not None
    return change.was._replace(revision=change.revision)
