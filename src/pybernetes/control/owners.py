"""Who owns whom: adopt what the selector matches and nobody owns, let go of what it no longer matches.

The rules are those of Kubernetes' controller references (design "controllerRef"): a controller claims orphans that its
selector matches, releases what it owns but does not match, and never touches what another controller owns.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from pybernetes.api.errors import Invalid, NotFound
from pybernetes.api.objects import Key, Obj, controller_of, is_deleting, key_of, namespace_of, owner_reference, uid_of
from pybernetes.api.resources import Resource
from pybernetes.client import Client, Delta, Index, Informer

from .queue import KeyQueue

OWNER = "owner"
"""Name of the index `by_owner`."""
ORPHANS = "orphans"
"""Name of the index `by_orphan`."""


def by_owner(obj: Obj) -> Iterable[str]:
    """Index: uid of the controlling owner."""
    owner = controller_of(obj)
    return (str(owner.get("uid", "")),) if owner else ()


def by_orphan(obj: Obj) -> Iterable[str]:
    """Index: namespace, of objects that no controller owns."""
    return () if controller_of(obj) else (namespace_of(obj),)


OWNER_INDEXES: dict[str, Index] = {OWNER: by_owner, ORPHANS: by_orphan}


class Claims(NamedTuple):
    """What belongs to an owner now, what it should adopt, and what it should release."""

    owned: list[Obj]
    adopt: list[Obj]
    release: list[Obj]


def claims(owner: Obj, candidates: Iterable[Obj], matches: Callable[[Obj], bool]) -> Claims:
    """Sort candidates (owned by `owner`, or nobody's in its namespace) by the rules above; pure."""
    found = Claims([], [], [])
    uid = uid_of(owner)
    for obj in candidates:
        controller = controller_of(obj)
        if controller is not None:
            if controller.get("uid") != uid:
                continue
            if matches(obj):
                found.owned.append(obj)
            elif not is_deleting(owner):
                found.release.append(obj)
        elif matches(obj) and not is_deleting(owner) and not is_deleting(obj):
            found.adopt.append(obj)
    return found


class Claimer:
    """Carries claims out on one resource, for owners of another."""

    def __init__(self, client: Client, resource: Resource, *, owners: Resource) -> None:
        self.client = client
        self.resource = resource
        self.owners = owners

    async def claim(self, owner: Obj, candidates: Iterable[Obj], matches: Callable[[Obj], bool]) -> list[Obj]:
        """The objects that are the owner's after adopting and releasing."""
        found = claims(owner, candidates, matches)
        for obj in found.release:
            await self._release(owner, obj)
        if found.adopt and await self._is_current(owner):
            for obj in found.adopt:
                if (adopted := await self._adopt(owner, obj)) is not None:
                    found.owned.append(adopted)
        return found.owned

    async def _is_current(self, owner: Obj) -> bool:
        """Asked of the server, not the cache, before an adoption: the same owner still, and not being deleted?"""
        try:
            fresh = await self.client.get(self.owners, key_of(owner))
        except NotFound:
            return False
        return uid_of(fresh) == uid_of(owner) and not is_deleting(fresh)

    async def _adopt(self, owner: Obj, obj: Obj) -> Obj | None:
        references = [*((obj.get("metadata") or {}).get("ownerReferences") or []), owner_reference(owner)]
        patch = {"metadata": {"uid": uid_of(obj), "ownerReferences": references} | _at(obj)}
        try:
            return await self.client.patch(self.resource, key_of(obj), patch)
        except NotFound:
            return None

    async def _release(self, owner: Obj, obj: Obj) -> None:
        references = (obj.get("metadata") or {}).get("ownerReferences") or []
        kept = [reference for reference in references if reference.get("uid") != uid_of(owner)]
        patch = {"metadata": {"uid": uid_of(obj), "ownerReferences": kept or None} | _at(obj)}
        try:
            await self.client.patch(self.resource, key_of(obj), patch)
        except (NotFound, Invalid):
            return  # gone, or deleted and made again: nothing of ours is left on it


def _at(obj: Obj) -> Obj:
    """The revision precondition: ownerReferences is replaced as a whole by a merge patch."""
    return {"resourceVersion": obj["metadata"]["resourceVersion"]}


def enqueue(queue: KeyQueue[Key]) -> Callable[[Delta], None]:
    """Handler: the object itself."""

    def handle(delta: Delta) -> None:
        queue.add(delta.key)

    return handle


def enqueue_owner(queue: KeyQueue[Key], kind: str) -> Callable[[Delta], None]:
    """Handler: the controlling owner of that kind, before and after the change."""

    def handle(delta: Delta) -> None:
        for obj in (delta.was, delta.now):
            if obj is None:
                continue
            owner = controller_of(obj)
            if owner is not None and owner.get("kind") == kind:
                queue.add(Key(namespace_of(obj), str(owner.get("name", ""))))

    return handle


def candidates(informer: Informer, owner: Obj) -> Sequence[Obj]:
    """What `claims` may look at: objects of the owner and orphans of its namespace (informer with OWNER_INDEXES)."""
    cache = informer.cache
    return [*cache.indexed(OWNER, uid_of(owner)), *cache.indexed(ORPHANS, namespace_of(owner))]
