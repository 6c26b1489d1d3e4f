"""A local, always converging copy of one resource: list once, then watch for ever.

It never dies: a lost connection is resumed from the last revision seen (after a back-off with jitter), and only a
revision that is too old, or an answer that makes no sense, costs a new list; what vanished meanwhile is then reported
as deleted. Handlers are called synchronously, in order, in the same breath as the cache changes, so a handler always
finds the cache as the delta says. They must be quick: put a key on a queue.

An object that cannot be slimmed is left out, as if it were not there, and said so: one that somebody wrote in bad faith
must not hold up all others.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from pybernetes.api.errors import ApiError, Expired, Forbidden, Gone, TooManyRequests, Unauthorized
from pybernetes.api.objects import Key, Obj, key_of, revision_of, uid_of
from pybernetes.api.resources import Resource

from .cache import Index, IndexedCache
from .client import Client, WatchEvent, is_initial_end

log = logging.getLogger(__name__)

Slim = Callable[[Obj], Obj]
"""Keeps what a component uses of an object (metadata name, namespace, uid and resourceVersion must stay)."""


class Delta(NamedTuple):
    """One change of the cache: `was` is None for a new object, `now` is None for one that is gone."""

    was: Obj | None
    now: Obj | None

    @property
    def obj(self) -> Obj:
        """The newest state known."""
        obj = self.now if self.now is not None else self.was
        assert obj is not None
        return obj

    @property
    def key(self) -> Key:
        return key_of(self.obj)


Handler = Callable[[Delta], None]

_FIRST_WAIT, _LONGEST_WAIT = 0.05, 5.0
_WATCH_SECONDS = (300, 600)
_KEEP = (Unauthorized, Forbidden, TooManyRequests)


class Informer:
    """One resource, one selector, one cache. `run` until cancelled; `synced` is set after the first list."""

    def __init__(
        self,
        client: Client,
        resource: Resource,
        *,
        namespace: str = "",
        labels: str = "",
        fields: str = "",
        slim: Slim | None = None,
        indexes: Mapping[str, Index] | None = None,
        idle_seconds: float = 150.0,
    ) -> None:
        """After `idle_seconds` without a line (bookmarks count) a watch is given up as dead and resumed."""
        self.client = client
        self.resource = resource
        self.namespace, self.labels, self.fields = namespace, labels, fields
        self.cache = IndexedCache(indexes=indexes)
        self.synced = asyncio.Event()
        self.revision = ""
        self.last_event = 0.0
        """Loop time of the last line of the watch (0.0 before the first)."""
        self.lists = 0
        """How often everything was listed: 1 in a life without trouble."""
        self.idle_seconds = idle_seconds
        self._slim = slim
        self._handlers: list[Handler] = []
        self._streamed_list = True
        self._failures = 0

    def __repr__(self) -> str:
        return f"Informer({self.resource.qualified})"

    def subscribe(self, handler: Handler) -> None:
        """Call `handler` for each delta from now on; what is in the cache already is told at once, as new."""
        self._handlers.append(handler)
        for obj in self.cache.select():
            self._call(handler, Delta(None, obj))

    def unsubscribe(self, handler: Handler) -> None:
        self._handlers.remove(handler)

    async def run(self) -> None:
        """Keep the cache true until cancelled."""
        while True:
            began = asyncio.get_running_loop().time()
            try:
                await self._follow()
                failure: Exception | None = None
            except (Gone, Expired) as error:
                self._forget(error)
                continue
            except Exception as error:  # noqa: BLE001 - whatever happens on the road, the informer stays alive
                failure = error
            if asyncio.get_running_loop().time() - began > _LONGEST_WAIT:
                self._failures = 0
            await self._recover(failure)

    async def _follow(self) -> None:
        """One watch, after a list if there is no revision to resume from."""
        if not self.revision and not self._streamed_list:
            await self._list()
        initial = not self.revision
        seconds = random.randint(*_WATCH_SECONDS)  # spread, so that not all watches of a cluster end at once
        async with self.client.watch(
            self.resource,
            namespace=self.namespace,
            labels=self.labels,
            fields=self.fields,
            after=self.revision,
            initial=initial,
            timeout_seconds=seconds,
        ) as events:
            loop = asyncio.get_running_loop()
            async with asyncio.timeout(self.idle_seconds) as idle:
                fresh: dict[Key, Obj] | None = {} if initial else None
                async for event in events:
                    self.last_event = loop.time()
                    idle.reschedule(self.last_event + self.idle_seconds)
                    if fresh is None:
                        self._apply(event)
                        self._failures = 0
                    elif is_initial_end(event):
                        self._replace(fresh.values(), revision_of(event.object))
                        fresh = None
                    elif event.type == "ADDED" and (obj := self._slimmed(event.object)) is not None:
                        fresh[key_of(obj)] = obj

    async def _list(self) -> None:
        found = await self.client.list(
            self.resource, namespace=self.namespace, labels=self.labels, fields=self.fields, limit=0
        )
        slimmed = (self._slimmed(item) for item in found.items)
        self._replace([obj for obj in slimmed if obj is not None], found.revision)

    def _apply(self, event: WatchEvent) -> None:
        """The cache and all handlers, in one breath."""
        obj = event.object
        if event.type in ("ADDED", "MODIFIED", "DELETED"):
            slimmed = self._slimmed(obj)
            if slimmed is not None and event.type != "DELETED":
                self._put(slimmed)
            elif (was := self.cache.remove(key_of(obj))) is not None:
                # the last state is the event's own: the cached one may be older
                self._tell(Delta(slimmed if slimmed is not None else was, None))
        self.revision = revision_of(obj) or self.revision

    def _put(self, obj: Obj) -> None:
        was = self.cache.get(key_of(obj))
        if was is not None and uid_of(was) != uid_of(obj):
            self.cache.remove(key_of(obj))
            self._tell(Delta(was, None))
            was = None
        self.cache.put(obj)
        self._tell(Delta(was, obj))

    def _replace(self, objects: Iterable[Obj], revision: str) -> None:
        """A whole new truth: deletes for what is not in it, then what is new or changed."""
        fresh = {key_of(obj): obj for obj in objects}
        for key in self.cache:
            if key not in fresh:
                was = self.cache.remove(key)
                self._tell(Delta(was, None))
        for key, obj in fresh.items():
            was = self.cache.get(key)
            if was is None or revision_of(was) != revision_of(obj) or uid_of(was) != uid_of(obj):
                self._put(obj)
        self.revision = revision
        self.lists += 1
        self.synced.set()

    def _slimmed(self, obj: Obj) -> Obj | None:
        """What is kept of an object; None for one that makes no sense to whoever slims it."""
        (obj.get("metadata") or {}).pop("managedFields", None)
        try:
            return self._slim(obj) if self._slim else obj
        except Exception:
            log.exception("object left out resource=%s key=%s", self.resource.qualified, key_of(obj))
            return None

    def _tell(self, delta: Delta) -> None:
        for handler in self._handlers:
            self._call(handler, delta)

    def _call(self, handler: Handler, delta: Delta) -> None:
        try:
            handler(delta)
        except Exception:
            log.exception("handler failed resource=%s key=%s", self.resource.qualified, delta.key)

    def _forget(self, error: Exception) -> None:
        """The next round lists again."""
        log.info("listing again resource=%s after=%s why=%s", self.resource.qualified, self.revision, error)
        self.revision = ""

    async def _recover(self, failure: Exception | None) -> None:
        """Back off before the next round; decide whether the revision is still good for resuming."""
        if failure is None and self._failures == 0:
            self._failures = 1
            return  # the server ended the watch in good order: resume at once
        self._failures += 1
        if isinstance(failure, ApiError) and not isinstance(failure, _KEEP) and failure.code < 500:
            if not self.revision and self._streamed_list:
                self._streamed_list = False  # this server does not stream lists: list, then watch
            self._forget(failure)
        elif isinstance(failure, ApiError) and failure.code == 504 and self.revision:
            self._forget(failure)  # "Too large resource version": the store is a younger one than ours
        elif failure is not None and not isinstance(failure, (ConnectionError, TimeoutError, ApiError)):
            log.warning("watch failed resource=%s", self.resource.qualified, exc_info=failure)
        if self._failures in (6, 30):
            log.warning("watch keeps failing resource=%s error=%r", self.resource.qualified, failure)
        limit = min(_LONGEST_WAIT, _FIRST_WAIT * 2 ** min(self._failures - 1, 10))
        await asyncio.sleep(limit * random.uniform(0.5, 1.0))


class _Selection(NamedTuple):
    resource: Resource
    namespace: str
    labels: str
    fields: str
    slim: Slim | None


class Informers:
    """The informers that components of one process share: one per resource, selector and projection."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self._informers: dict[_Selection, Informer] = {}
        self._tasks: dict[Informer, asyncio.Task[None]] = {}
        self._group: asyncio.TaskGroup | None = None

    def of(
        self,
        resource: Resource,
        *,
        namespace: str = "",
        labels: str = "",
        fields: str = "",
        slim: Slim | None = None,
        indexes: Mapping[str, Index] | None = None,
    ) -> Informer:
        """The informer of a selection, made on first call; indexes are added to those it has."""
        selection = _Selection(resource, namespace, labels, fields, slim)
        informer = self._informers.get(selection)
        if informer is None:
            informer = Informer(
                self.client, resource, namespace=namespace, labels=labels, fields=fields, slim=slim, indexes=indexes
            )
            self._informers[selection] = informer
            self._start(informer)
        else:
            for name, function in (indexes or {}).items():
                informer.cache.add_index(name, function)
        return informer

    @property
    def all(self) -> Sequence[Informer]:
        return list(self._informers.values())

    def drop(self, informer: Informer) -> None:
        """Stop an informer that nobody needs any more (its resource is no longer served)."""
        self._informers = {key: held for key, held in self._informers.items() if held is not informer}
        if (task := self._tasks.pop(informer, None)) is not None:
            task.cancel()

    def _start(self, informer: Informer) -> None:
        if self._group is not None:
            self._tasks[informer] = self._group.create_task(informer.run(), name=repr(informer))

    async def synced(self) -> None:
        """Wait until every informer asked for so far has its first list."""
        for informer in self.all:
            await informer.synced.wait()

    async def run(self) -> None:
        """Run all of them, also those asked for later, until cancelled."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            try:
                for informer in self.all:
                    self._start(informer)
                await asyncio.get_running_loop().create_future()
            finally:
                self._group = None
                self._tasks.clear()
