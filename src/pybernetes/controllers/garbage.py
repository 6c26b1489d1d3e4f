"""The garbage collector: what is owned goes with its owners (kubernetes/pkg/controller/garbagecollector).

A graph by uid is kept from informers on every deletable resource (metadata only, except where another controller holds
the whole objects anyway). Keys are objects in that graph: one is looked at when its owners may have gone, and when it
is itself being deleted in the foreground or is to leave orphans behind. Absence is always confirmed by a live read.
"""

import asyncio
import contextlib
import logging
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from pybernetes.api.errors import ApiError, MethodNotAllowed, NotFound
from pybernetes.api.objects import Key, Obj, is_deleting, key_of, metadata, owners_of, revision_of, uid_of
from pybernetes.api.resources import (
    CUSTOM_RESOURCE_DEFINITIONS,
    DAEMON_SETS,
    DEPLOYMENTS,
    ENDPOINT_SLICES,
    ENDPOINTS,
    NAMESPACES,
    NODES,
    PODS,
    REPLICA_SETS,
    RESOURCES,
    SERVICES,
    Resource,
    find_kind,
)
from pybernetes.client import Delta, Informer, Slim
from pybernetes.client.client import Propagation
from pybernetes.control import Again, Controller
from pybernetes.control.pods import slim as slim_pod

from .custom import custom_resources
from .shared import Shared

log = logging.getLogger(__name__)

_SYNC_SECONDS = 30.0
FOREGROUND, ORPHAN = "foregroundDeletion", "orphan"
_IGNORED = frozenset({"events"})
_WHOLE = (NAMESPACES, NODES, SERVICES, ENDPOINTS, ENDPOINT_SLICES, DEPLOYMENTS, REPLICA_SETS, DAEMON_SETS)
"""Held whole by other controllers: their informers are shared."""
_METADATA = ("name", "namespace", "uid", "resourceVersion", "ownerReferences", "finalizers", "deletionTimestamp")
BY_OWNER, BY_UID = "gc-owner", "gc-uid"


class Item(NamedTuple):
    """One object of the graph."""

    resource: Resource
    key: Key
    uid: str

    def __str__(self) -> str:
        return f"{self.resource.qualified}:{self.key}"


class Sorted(NamedTuple):
    """An object's owner references by what is known of the owner."""

    solid: list[Obj]
    gone: list[Obj]
    waiting: list[Obj]
    """Owners deleted in the foreground, which wait for this object."""


def slim(obj: Obj) -> Obj:
    meta = metadata(obj)
    return {
        "apiVersion": obj.get("apiVersion"),
        "kind": obj.get("kind"),
        "metadata": {field: meta[field] for field in _METADATA if field in meta},
    }


def projection_of(row: Resource) -> Slim | None:
    """What is kept of a resource's objects; the same function is the same informer."""
    return None if row in _WHOLE else slim_pod if row == PODS else slim


def owner_uids(obj: Obj) -> Iterable[str]:
    return [str(owner.get("uid")) for owner in owners_of(obj)]


def collected(rows: Iterable[Resource]) -> list[Resource]:
    """The rows that can be watched and deleted, each storage once."""
    wanted = {"list", "watch", "delete", "patch"}
    return [row for row in rows if wanted <= set(row.verbs) and row.stored_as is None and row.plural not in _IGNORED]


class GarbageCollector:
    def __init__(self, shared: Shared) -> None:
        self.client = shared.client
        self.shared = shared
        self.informers: dict[Resource, Informer] = {}
        self.absent: set[str] = set()
        """Uids that a live read did not find (bounded: cleared when it grows)."""
        self.controller: Controller[Item] = Controller("garbage_collector", self.reconcile, workers=8)
        self.custom = shared.informers.of(CUSTOM_RESOURCE_DEFINITIONS)
        self.custom.subscribe(self._definition_changed)

    async def run(self) -> None:
        for row in collected(RESOURCES):
            self._watch(row)
        with contextlib.suppress(TimeoutError):  # a resource that cannot be listed must not hold up the others
            async with asyncio.timeout(_SYNC_SECONDS):
                for informer in list(self.informers.values()):
                    await informer.synced.wait()
        await self.controller.run()

    def _watch(self, row: Resource) -> None:
        if row in self.informers:
            return
        informer = self.shared.informers.of(
            row, slim=projection_of(row), indexes={BY_OWNER: owner_uids, BY_UID: _own_uid}
        )
        self.informers[row] = informer
        informer.subscribe(lambda delta: self._changed(row, delta))

    def _definition_changed(self, delta: Delta) -> None:
        rows = list(custom_resources(delta.now)) if delta.now is not None else []
        for row in rows:
            self._watch(row)
        gone = [row for row in custom_resources(delta.was) if row not in rows] if delta.was is not None else []
        for row in gone:
            if (informer := self.informers.pop(row, None)) is not None:
                self.shared.informers.drop(informer)

    # -- the graph --------------------------------------------------------------------------------------------------

    def _changed(self, row: Resource, delta: Delta) -> None:
        obj = delta.obj
        if delta.now is None:
            self._note_absent(uid_of(obj))
            self._enqueue_dependents(obj)
            self._enqueue_owners(obj)
            return
        if owners_of(obj) and (delta.was is None or owners_of(delta.was) != owners_of(obj)):
            self._enqueue(row, obj)
        if is_deleting(obj) and {FOREGROUND, ORPHAN} & set(metadata(obj).get("finalizers") or ()):
            self._enqueue(row, obj)
            self._enqueue_dependents(obj)
        if delta.was is not None and owners_of(delta.was) != owners_of(obj):
            self._enqueue_owners(delta.was)

    def _enqueue(self, row: Resource, obj: Obj) -> None:
        self.controller.queue.add(Item(row, key_of(obj), uid_of(obj)))

    def _enqueue_dependents(self, owner: Obj) -> None:
        for row, dependent in self._dependents(uid_of(owner)):
            self._enqueue(row, dependent)

    def _enqueue_owners(self, obj: Obj) -> None:
        """Owners that wait for this object in the foreground."""
        for uid in owner_uids(obj):
            if (found := self._find(uid)) is not None and is_deleting(found[1]):
                self._enqueue(*found)

    def _dependents(self, uid: str) -> list[tuple[Resource, Obj]]:
        return [(row, obj) for row, informer in self.informers.items() for obj in informer.cache.indexed(BY_OWNER, uid)]

    def _find(self, uid: str) -> tuple[Resource, Obj] | None:
        for row, informer in self.informers.items():
            if found := informer.cache.indexed(BY_UID, uid):
                return row, found[0]
        return None

    def _note_absent(self, uid: str) -> None:
        if len(self.absent) > 10_000:
            self.absent.clear()
        self.absent.add(uid)

    # -- one object -------------------------------------------------------------------------------------------------

    async def reconcile(self, item: Item) -> Again | None:
        informer = self.informers.get(item.resource)
        obj = informer.cache.get(item.key) if informer is not None else None
        if obj is None or uid_of(obj) != item.uid:
            return None
        try:
            if is_deleting(obj):
                await self._deleting(item, obj)
            elif owners_of(obj):
                await self._owned(item, obj)
        except NotFound:
            return None
        return None

    async def _deleting(self, item: Item, obj: Obj) -> None:
        finalizers = metadata(obj).get("finalizers") or ()
        dependents = self._dependents(item.uid)
        if ORPHAN in finalizers:
            for row, dependent in dependents:
                await self._drop_references(row, dependent, {item.uid})
            await self._drop_finalizer(item, obj, ORPHAN)
        elif FOREGROUND in finalizers:
            blocking = [one for one in dependents if _blocks(one[1], item.uid)]
            if not blocking:
                await self._drop_finalizer(item, obj, FOREGROUND)
            for row, dependent in blocking:
                self._enqueue(row, dependent)

    async def _owned(self, item: Item, obj: Obj) -> None:
        """Delete it if no owner is left; else cut the references to those that are gone."""
        owners = await self._sort(obj)
        if owners.solid:
            if stale := {str(owner["uid"]) for owner in (*owners.gone, *owners.waiting)}:
                await self._drop_references(item.resource, obj, stale)
            return
        if not owners.gone and not owners.waiting:
            return
        propagation: Propagation = "Background"
        if owners.waiting and (dependents := self._dependents(item.uid)):
            propagation = "Foreground"
            if any(_awaits(one) for _, one in dependents):
                obj = await self._unblock(item, obj)
        elif not owners.waiting:
            finalizers = metadata(obj).get("finalizers") or ()
            propagation = (
                "Orphan" if ORPHAN in finalizers else "Foreground" if FOREGROUND in finalizers else propagation
            )
        log.info("collecting object=%s propagation=%s", item, propagation)
        await self.client.delete(
            item.resource, item.key, uid=item.uid, revision=revision_of(obj), propagation=propagation
        )

    async def _unblock(self, item: Item, obj: Obj) -> Obj:
        """Let owners no longer wait for it, where it will wait itself: each in a circle would wait for the next."""
        log.info("circle of owners opened object=%s", item)
        owners = [dict(owner) | {"blockOwnerDeletion": False} for owner in owners_of(obj)]
        meta = {"uid": item.uid, "resourceVersion": revision_of(obj), "ownerReferences": owners}
        return await self.client.patch(item.resource, item.key, {"metadata": meta})

    async def _sort(self, obj: Obj) -> Sorted:
        found = Sorted([], [], [])
        for owner in owners_of(obj):
            uid = str(owner.get("uid"))
            known = self._find(uid)
            if known is None:
                lives = uid not in self.absent and await self._lives(obj, owner)
                (found.solid if lives else found.gone).append(owner)
            elif _awaits(known[1]) and owner.get("blockOwnerDeletion"):
                found.waiting.append(owner)
            else:
                found.solid.append(owner)
        return found

    async def _lives(self, obj: Obj, owner: Mapping[str, str]) -> bool:
        """Ask the server whether an owner that the graph does not have is really gone."""
        row = self._row_of(owner)
        if row is None:
            return True  # a kind we know nothing of: leave it alone
        namespace = key_of(obj).namespace if row.namespaced else ""
        if row.namespaced and not namespace:
            return True  # a cluster-scoped object cannot have a namespaced owner: not ours to judge
        try:
            live = await self.client.get(row, Key(namespace, str(owner.get("name"))))
        except NotFound:
            live = {}
        except (MethodNotAllowed, ApiError) as error:
            log.debug("owner not read owner=%s why=%s", owner.get("name"), error)
            return True
        if uid_of(live) == owner.get("uid"):
            return True
        self._note_absent(str(owner.get("uid")))
        return False

    def _row_of(self, owner: Mapping[str, str]) -> Resource | None:
        version, kind = str(owner.get("apiVersion")), str(owner.get("kind"))
        if (row := find_kind(version, kind)) is not None:
            return row
        group = version.rpartition("/")[0]
        return next((r for r in self.informers if r.custom and (r.group, r.kind) == (group, kind)), None)

    async def _drop_references(self, row: Resource, obj: Obj, uids: set[str]) -> None:
        kept = [owner for owner in owners_of(obj) if owner.get("uid") not in uids]
        meta = {"uid": uid_of(obj), "resourceVersion": revision_of(obj), "ownerReferences": kept or None}
        try:
            await self.client.patch(row, key_of(obj), {"metadata": meta})
        except NotFound:
            return

    async def _drop_finalizer(self, item: Item, obj: Obj, finalizer: str) -> None:
        kept = [one for one in metadata(obj).get("finalizers") or () if one != finalizer]
        meta = {"uid": item.uid, "resourceVersion": revision_of(obj), "finalizers": kept or None}
        await self.client.patch(item.resource, item.key, {"metadata": meta})


def _own_uid(obj: Obj) -> Iterable[str]:
    return (uid_of(obj),)


def _awaits(owner: Obj) -> bool:
    return is_deleting(owner) and FOREGROUND in (metadata(owner).get("finalizers") or ())


def _blocks(obj: Obj, owner: str) -> bool:
    return any(ref.get("uid") == owner and ref.get("blockOwnerDeletion") for ref in owners_of(obj))
