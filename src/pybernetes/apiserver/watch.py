"""The body of a watch: initial events, changes, bookmarks, until its time is up, the peer leaves or it lags."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

from pybernetes.aio.fanout import Overflow
from pybernetes.api.objects import Obj, encode
from pybernetes.api.resources import Resource
from pybernetes.store import Record, Revision

from .options import Selection
from .watchcache import Event, Item, Kind, Shelf, WatchCache, Watcher

BOOKMARK_SECONDS = 60.0
_CHUNK = 500
INITIAL_EVENTS_END = "k8s.io/initial-events-end"


class Form(Protocol):
    """A representation of objects inside watch events."""

    @property
    def name(self) -> str:
        """What tells its bytes from another's; "" for one that must not be shared."""
        ...

    def line(self, record: Record, revision: Revision) -> bytes:
        """The object of an event; `revision` is its resourceVersion."""
        ...

    def bookmark(self, metadata: Obj) -> Obj:
        """The object of a bookmark."""
        ...


def encoded(kind: str, body: bytes) -> bytes:
    return b'{"type":"%s","object":%s}\n' % (kind.encode(), body)


def translate(event: Event, matches: Callable[[Item], bool] | None) -> Kind | None:
    """The type of an event as a watch with a selector sees it; None when it does not."""
    if matches is None:
        if event.now is None:
            return "DELETED"
        return "MODIFIED" if event.was is not None else "ADDED"
    before = event.was is not None and matches(event.was)
    after = event.now is not None and matches(event.now)
    if after:
        return "MODIFIED" if before else "ADDED"
    return "DELETED" if before else None


class WatchBody:
    """An async iterable of bytes; `aclose` (or its end) takes the watcher off the shelf."""

    def __init__(
        self,
        cache: WatchCache,
        shelf: Shelf,
        *,
        selection: Selection,
        form: Form,
        after: Revision | None,
        until: float,
        bookmarks: bool = False,
        mark_initial: bool = False,
    ) -> None:
        """`after` None sends what is there first. Raises Compacted. `until` is loop time."""
        self._cache = cache
        self._shelf = shelf
        self._namespace = selection.namespace
        self._form = form
        self._matches = selection.matches if selection else None
        self._until = until
        self._bookmarks = bookmarks
        self._initial: list[Item] = []
        self._done = False
        self._watcher: Watcher = shelf.watch(self._namespace, after=cache.revision if after is None else after)
        if after is None:
            found = shelf.scan(self._namespace)
            self._initial = [item for item in found if self._matches is None or self._matches(item)]
            self._initial.reverse()
        self._first_mark = cache.revision if mark_initial else None
        self._loop = asyncio.get_running_loop()
        self._timer = self._arm()

    def _arm(self) -> asyncio.TimerHandle:
        """Wake for the next bookmark, or for the end."""
        at = min(self._until, self._loop.time() + BOOKMARK_SECONDS) if self._bookmarks else self._until
        return self._loop.call_at(at, self._watcher.offer, (None,))

    def __aiter__(self) -> "WatchBody":
        return self

    async def __anext__(self) -> bytes:
        if self._initial:
            return self._initial_chunk()
        if self._first_mark is not None:
            revision, self._first_mark = self._first_mark, None
            self._shelf.sent += 1
            return self._bookmark(revision, annotations={INITIAL_EVENTS_END: "true"})
        try:
            while not self._done:
                chunk = self._changes(await anext(self._watcher))
                if chunk:
                    return chunk
        except (Overflow, StopAsyncIteration):
            pass  # too slow, or the server stops: the peer comes back with the last revision it saw
        await self.aclose()
        raise StopAsyncIteration

    def _initial_chunk(self) -> bytes:
        lines = []
        for _ in range(min(_CHUNK, len(self._initial))):
            record = self._initial.pop().record
            lines.append(encoded("ADDED", self._form.line(record, record.revision)))
        self._shelf.sent += len(lines)
        return b"".join(lines)

    def _changes(self, batch: Sequence[Event | None]) -> bytes:
        lines = [
            self._line(event, kind)
            for event in batch
            if event is not None and (kind := translate(event, self._matches)) is not None
        ]
        if batch[-1] is None:
            self._done = self._loop.time() >= self._until
            if self._bookmarks:  # everything up to the cache's revision was in this batch or one before
                lines.append(self._bookmark(self._cache.revision))
            if not self._done:
                self._timer = self._arm()
        elif None in batch:
            self._watcher.offer((None,))
        self._shelf.sent += len(lines)
        return b"".join(lines)

    def _line(self, event: Event, kind: Kind) -> bytes:
        key = (kind, self._form.name)
        line = event.lines.get(key) if key[1] else None
        if line is None:
            item = event.was if kind == "DELETED" else event.now
            assert item is not None
            line = encoded(kind, self._form.line(item.record, event.revision))
            if key[1]:
                event.lines[key] = line
        return line

    def _bookmark(self, revision: Revision, **metadata: object) -> bytes:
        obj = self._form.bookmark({"resourceVersion": str(revision), "creationTimestamp": None, **metadata})
        return encoded("BOOKMARK", encode(obj))

    async def aclose(self) -> None:
        self._done = True
        self._timer.cancel()
        self._watcher.close()
        self._shelf.leave(self._namespace, self._watcher)


def plain_bookmark(row: Resource, metadata: Obj) -> Obj:
    return {"kind": row.kind, "apiVersion": row.api_version, "metadata": metadata}
