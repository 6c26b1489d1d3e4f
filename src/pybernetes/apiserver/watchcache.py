"""The watch cache: every object of the store in memory, and its changes told to watchers, each encoded once.

One watch of the store feeds all of it, so one revision says how far everything is: a list, a get and a bookmark are
consistent by construction. The bytes are the store's own; labels and selectable fields are read from them when first
asked for. A watcher that does not keep up is closed (it lists again) and never slows another.
"""

import asyncio
import logging
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Literal

from pybernetes.aio.fanout import Inbox
from pybernetes.api.objects import Obj
from pybernetes.store import Change, Compacted, Lagged, Page, Record, Revision, Store

from .fields import view_of

log = logging.getLogger("pybernetes.apiserver.watchcache")

ROOT = "/registry/"
HISTORY = 5000
"""So many revisions before a restart stay watchable, if the store still has them."""
RING = 1000
"""Changes kept for each resource."""
WARM = 64
"""Encoded forms are dropped from changes this far back: the watchers have them by then."""
QUEUE = 4000
"""Changes that may wait for one watcher; past that it is closed."""

Kind = Literal["ADDED", "MODIFIED", "DELETED"]
Observer = Callable[[str, Record | None], None]
"""Told of every record under a prefix, and of None for one that is gone, before any watcher is."""


class Item:
    """One object: its record, and what selectors look at (read from the bytes when first needed)."""

    __slots__ = ("_view", "record")

    def __init__(self, record: Record) -> None:
        self.record = record
        self._view: Obj | None = None

    def view(self, prefix: str) -> Obj:
        """Name, namespace, labels and selectable fields; nothing else of the object."""
        if self._view is None:
            self._view = view_of(prefix, self.record.value)
        return self._view


class Event:
    """One change of one object. `lines` holds its encoded forms, by watch type and representation."""

    __slots__ = ("lines", "namespace", "now", "revision", "was")

    def __init__(self, revision: Revision, *, now: Item | None, was: Item | None, namespace: str) -> None:
        self.revision = revision
        self.now = now
        self.was = was
        self.namespace = namespace
        self.lines: dict[tuple[Kind, str], bytes] = {}


Watcher = Inbox[Event | None]
"""What a watch reads. None is a tick: its own timer puts it in, so that there is one timer a watch and none a batch."""


class Shelf:
    """The objects of one storage prefix, in key order, with the ring of their last changes."""

    def __init__(self, prefix: str, *, loaded: Revision, observers: Sequence[Observer] = ()) -> None:
        self.prefix = prefix
        self._observers = observers
        self.items: dict[str, Item] = {}
        self.changed: Revision = 0
        """The revision of the last change here."""
        self.oldest: Revision = loaded
        """Watches can start after this revision or a later one."""
        self.sent = 0
        """Events that watches were sent, bookmarks among them."""
        self._trimmed: Revision = 0
        self._keys: list[str] = []
        self._ring: deque[Event] = deque()
        self._watchers: dict[str, set[Watcher]] = {}

    def load(self, records: Iterable[Record]) -> None:
        for record in records:
            self.items[record.key] = Item(record)
            self._keys.append(record.key)
            self.changed = max(self.changed, record.revision)
            for observer in self._observers:
                observer(record.key, record)
        self._keys.sort()

    def get(self, key: str) -> Item | None:
        return self.items.get(key)

    def scan(self, namespace: str = "", *, after: str = "") -> Sequence[Item]:
        """In key order; of one namespace if given; those after the key `after` only."""
        keys, items = self._keys, self.items
        low, high = 0, len(keys)
        if namespace:
            prefix = f"{self.prefix}{namespace}/"
            low, high = bisect_left(keys, prefix), bisect_left(keys, f"{self.prefix}{namespace}0")  # "0" follows "/"
        if after:
            low = max(low, bisect_left(keys, after + "\0"))
        return [items[key] for key in keys[low:high]]

    def apply(self, change: Change, *, known: bool) -> None:
        """Take in one change and tell the watchers; a `known` one (from before the load) only enters the ring."""
        now = Item(change.now) if change.now is not None else None
        record = change.now or change.was
        assert record is not None
        if known:
            was = Item(change.was) if change.was is not None else None
        else:
            was = self._place(record.key, now)
        namespace = record.key[len(self.prefix) :].partition("/")[0]
        event = Event(change.revision, now=now, was=was, namespace=namespace)
        self._remember(event)
        if not known:
            self.changed = change.revision
            for observer in self._observers:
                observer(record.key, change.now)
            for watcher in (*self._watchers.get("", ()), *self._watchers.get(namespace, ())):
                watcher.offer((event,))

    def _place(self, key: str, now: Item | None) -> Item | None:
        if now is None:
            was = self.items.pop(key, None)
            if was is not None:
                del self._keys[bisect_left(self._keys, key)]
            return was
        was = self.items.get(key)
        self.items[key] = now
        if was is None:
            insort(self._keys, key)
        return was

    def _remember(self, event: Event) -> None:
        ring = self._ring
        ring.append(event)
        if len(ring) > RING:
            self._trimmed = ring.popleft().revision
            self.oldest = max(self.oldest, self._trimmed)
        if len(ring) > WARM:
            ring[-WARM].lines = {}

    def watch(self, namespace: str, *, after: Revision) -> Watcher:
        """A watcher of what follows `after`. Raises Compacted when that is too long ago."""
        if after < self.oldest:
            raise Compacted(after, self.oldest)
        missed = [
            event for event in self._ring if event.revision > after and (not namespace or event.namespace == namespace)
        ]
        watcher: Watcher = Inbox(QUEUE + len(missed))
        if missed:
            watcher.offer(missed)
        self._watchers.setdefault(namespace, set()).add(watcher)
        return watcher

    def reach_back(self, after: Revision) -> None:
        """The ring now holds all changes after this revision, less those it has dropped."""
        self.oldest = max(after, self._trimmed)

    def leave(self, namespace: str, watcher: Watcher) -> None:
        watchers = self._watchers.get(namespace)
        if watchers is not None:
            watchers.discard(watcher)
            if not watchers:
                del self._watchers[namespace]

    def retire(self, successor: "Shelf") -> None:
        """Another shelf has taken over: observers hear of what is gone, watchers list again."""
        for key in self.items.keys() - successor.items.keys():
            for observer in self._observers:
                observer(key, None)
        self.close()

    @property
    def watchers(self) -> int:
        return sum(len(group) for group in self._watchers.values())

    def close(self) -> None:
        for group in self._watchers.values():
            for watcher in group:
                watcher.close()


class WatchCache:
    """All shelves. `run` keeps them true until cancelled."""

    def __init__(self, store: Store) -> None:
        self.revision: Revision = 0
        """Everything up to here is in the cache and in the queues of the watchers."""
        self.loaded = asyncio.Event()
        self.loads = 0
        """How often everything was loaded: 1 in a life without trouble."""
        self._store = store
        self._base: Revision = 0
        self._shelves: dict[str, Shelf] = {}
        self._observers: dict[str, list[Observer]] = {}
        self._waiting: list[tuple[Revision, asyncio.Future[None]]] = []

    def shelf(self, prefix: str) -> Shelf:
        """The shelf of a storage prefix; empty for one with no objects yet."""
        found = self._shelves.get(prefix)
        if found is None:
            observers = self._observers.get(prefix, ())
            found = self._shelves[prefix] = Shelf(prefix, loaded=self._base, observers=observers)
        return found

    def observe(self, prefix: str, observer: Observer) -> None:
        """Call `observer` for all records of a prefix, from the first load on. Before `run`."""
        self._observers.setdefault(prefix, []).append(observer)

    @property
    def shelves(self) -> Sequence[Shelf]:
        return list(self._shelves.values())

    async def run(self) -> None:
        while True:
            self._take_over(await self._store.scan(ROOT))
            try:
                await self._follow()
            except (Lagged, Compacted) as error:
                log.warning("store watch lost, loading again error=%r", error)

    async def fresh(self) -> Revision:
        """Wait until all writes acknowledged so far are in the cache; returns its revision."""
        if not self.loaded.is_set():
            await self.loaded.wait()
        committed = self._store.revision
        if self.revision < committed:
            await self.reached(committed)
        return self.revision

    async def reached(self, revision: Revision) -> None:
        """Wait until the cache is at `revision` or later."""
        if self.revision >= revision and self.loaded.is_set():
            return
        waiting = asyncio.get_running_loop().create_future()
        self._waiting.append((revision, waiting))
        await waiting

    def _take_over(self, page: Page) -> None:
        """Everything as the store has it, in one breath; readers see the old state until then, watches end."""
        before, self._shelves = self._shelves, {}
        self._base = page.revision
        self.loads += 1
        groups: dict[str, list[Record]] = {}
        for record in page.records:
            groups.setdefault(prefix_of(record.key), []).append(record)
        for prefix, records in groups.items():
            self.shelf(prefix).load(records)
        for prefix, shelf in before.items():
            shelf.retire(self.shelf(prefix))
        self.loaded.set()
        self._advance(page.revision)

    async def _follow(self) -> None:
        """Changes from before the load first (they only fill the rings), then the present."""
        base = self._base
        after = max(0, base - HISTORY)
        try:
            await self._read(after, base)
        except Compacted as error:
            await self._read(min(max(error.oldest, after), base), base)

    async def _read(self, after: Revision, base: Revision) -> None:
        async with self._store.watch(ROOT, after=after) as batches:
            async for batch in batches:
                for change in batch:
                    if change.kind != "mark":
                        self._apply(change, base)
                    if change.revision >= base and self._base > after:
                        self._base = after
                        for shelf in self._shelves.values():
                            shelf.reach_back(after)
                self._advance(batch[-1].revision)

    def _apply(self, change: Change, base: Revision) -> None:
        record = change.now or change.was
        assert record is not None
        self.shelf(prefix_of(record.key)).apply(change, known=change.revision <= base)

    def _advance(self, revision: Revision) -> None:
        if revision <= self.revision and self.loaded.is_set() and not self._waiting:
            return
        self.revision = max(self.revision, revision)
        if self._waiting:
            kept = []
            for wanted, waiting in self._waiting:
                if wanted > self.revision:
                    kept.append((wanted, waiting))
                elif not waiting.done():
                    waiting.set_result(None)
            self._waiting = kept

    def close(self) -> None:
        """End all watches."""
        for shelf in self._shelves.values():
            shelf.close()


def prefix_of(key: str) -> str:
    """ "/registry/apps/deployments/ns/name" -> "/registry/apps/deployments/"."""
    return key[: key.index("/", key.index("/", len(ROOT)) + 1) + 1]
