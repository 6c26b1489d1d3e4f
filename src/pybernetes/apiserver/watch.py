"""The body of a watch: initial events, changes, bookmarks, until its time is up, the peer leaves or it lags."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, Protocol

from pybernetes.aio.fanout import Overflow
from pybernetes.api.errors import ApiError
from pybernetes.api.objects import Obj
from pybernetes.api.resources import Resource
from pybernetes.store import Record, Revision

from .options import Selection
from .watchcache import Event, Item, Kind, Shelf, WatchCache, Watcher

BOOKMARK_SECONDS = 60.0
INITIAL_EVENTS_END = "k8s.io/initial-events-end"


Shown = Callable[[Sequence[Record]], Awaitable[Sequence[Record]]]
"""Records as the row of the watch has them. Raises ApiError."""


class Seen(NamedTuple):
    """An event and its objects as the watch sees them."""

    event: Event
    now: Item | None
    was: Item | None


class Form(Protocol):
    """A representation of objects inside watch events."""

    @property
    def name(self) -> str:
        """What tells its bytes from another's; "" for one that must not be shared."""
        ...

    @property
    def batch(self) -> int:
        """So many objects are encoded before others have their turn."""
        ...

    def packed(self, obj: Obj, /) -> bytes:
        """Any object, a Status or a bookmark, in the encoding of this form."""
        ...

    def framed(self, kind: str, body: bytes, /) -> bytes:
        """An event of such an object."""
        ...

    def line(self, record: Record, revision: Revision) -> bytes:
        """The object of an event; `revision` is its resourceVersion."""
        ...

    def bookmark(self, metadata: Obj) -> Obj:
        """The object of a bookmark."""
        ...


async def views_of(items: Sequence[Item], shown: Shown) -> list[Item]:
    """Items as their row shows them: the very same where that is how they are stored."""
    records = await shown([item.record for item in items])
    return [item if item.record is record else Item(record) for item, record in zip(items, records, strict=True)]


def encoded(kind: str, body: bytes) -> bytes:
    """An event in JSON, on a line of its own."""
    return b'{"type":"%s","object":%s}\n' % (kind.encode(), body)


def translate(event: Event | Seen, matches: Callable[[Item], bool] | None) -> Kind | None:
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
        shown: Shown | None = None,
        after: Revision | None,
        until: float,
        bookmarks: bool = False,
        mark_initial: bool = False,
    ) -> None:
        """`after` None sends what is there first; `shown` is given where records are not served as they are stored.

        `until` is loop time. Raises Compacted.
        """
        self._cache = cache
        self._shelf = shelf
        self._namespace = selection.namespace
        self._form = form
        self._shown = shown
        self._matches = selection.matches if selection else None
        self._until = until
        self._bookmarks = bookmarks
        self._initial: list[Item] = []
        self._done = False
        self._watcher: Watcher = shelf.watch(self._namespace, after=cache.revision if after is None else after)
        if after is None:
            found = shelf.scan(self._namespace)
            self._initial = self._chosen(found) if shown is None else list(found)
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
        try:
            while self._initial:
                if chunk := await self._initial_chunk():
                    return chunk
            if self._first_mark is not None:
                revision, self._first_mark = self._first_mark, None
                self._shelf.sent += 1
                return self._bookmark(revision, annotations={INITIAL_EVENTS_END: "true"})
            while not self._done:
                if chunk := await self._changes(await anext(self._watcher)):
                    return chunk
        except (Overflow, StopAsyncIteration):
            pass  # too slow, or the server stops: the peer comes back with the last revision it saw
        except ApiError as error:  # an object that cannot be shown: the peer is told, and lists again
            self._initial, self._first_mark = [], None
            await self.aclose()
            return self._form.framed("ERROR", self._form.packed(error.status))
        await self.aclose()
        raise StopAsyncIteration

    def _chosen(self, items: Sequence[Item]) -> list[Item]:
        return list(items) if self._matches is None else [item for item in items if self._matches(item)]

    async def _initial_chunk(self) -> bytes:
        items = [self._initial.pop() for _ in range(min(self._form.batch, len(self._initial)))]
        if self._shown is not None:
            items = self._chosen(await views_of(items, self._shown))
        framed, line = self._form.framed, self._form.line
        lines = [framed("ADDED", line(item.record, item.record.revision)) for item in items]
        self._shelf.sent += len(lines)
        return b"".join(lines)

    async def _seen(self, events: Sequence[Event]) -> Sequence[Event | Seen]:
        """Events with their objects as they are shown; of those that are encoded already they are not needed."""
        if self._shown is None:
            return events
        items: list[Item] = []
        for event in events:
            if self._matches is not None:
                items += [item for item in (event.was, event.now) if item is not None]
            elif not self._known(event):
                items += [item for item in (event.now or event.was,) if item is not None]
        views = {id(item): view for item, view in zip(items, await views_of(items, self._shown), strict=True)}
        return [
            Seen(event, *(item and views.get(id(item), item) for item in (event.now, event.was))) for event in events
        ]

    def _known(self, event: Event) -> bool:
        kind = translate(event, None)
        return kind is not None and bool(self._form.name) and (kind, self._form.name) in event.lines

    async def _changes(self, batch: Sequence[Event | None]) -> bytes:
        reached = self._cache.revision  # all up to here is in this batch or was in one before
        events = await self._seen([event for event in batch if event is not None])
        lines = [self._line(one, kind) for one in events if (kind := translate(one, self._matches)) is not None]
        if batch[-1] is None:
            self._done = self._loop.time() >= self._until
            if self._bookmarks:
                lines.append(self._bookmark(reached))
            if not self._done:
                self._timer = self._arm()
        elif None in batch:
            self._watcher.offer((None,))
        self._shelf.sent += len(lines)
        return b"".join(lines)

    def _line(self, seen: Event | Seen, kind: Kind) -> bytes:
        event = seen.event if isinstance(seen, Seen) else seen
        key = (kind, self._form.name)
        line = event.lines.get(key) if key[1] else None
        if line is None:
            item = seen.was if kind == "DELETED" else seen.now
            assert item is not None
            line = self._form.framed(kind, self._form.line(item.record, event.revision))
            if key[1]:
                event.lines[key] = line
        return line

    def _bookmark(self, revision: Revision, **metadata: object) -> bytes:
        obj = self._form.bookmark({"resourceVersion": str(revision), **metadata})
        return self._form.framed("BOOKMARK", self._form.packed(obj))

    async def aclose(self) -> None:
        self._done = True
        self._timer.cancel()
        self._watcher.close()
        self._shelf.leave(self._namespace, self._watcher)


def plain_bookmark(row: Resource, metadata: Obj) -> Obj:
    return {"kind": row.kind, "apiVersion": row.api_version, "metadata": metadata}
