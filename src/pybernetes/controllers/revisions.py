"""ControllerRevisions: the past templates of a DaemonSet or StatefulSet, which `kubectl rollout undo` goes back to.

Source: kubernetes/pkg/controller/history. A revision's data is the strategic merge patch that restores its template.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from pybernetes.api import selectors
from pybernetes.api.errors import AlreadyExists, NotFound
from pybernetes.api.objects import Key, Obj, copied, key_of, labels_of, name_of, namespace_of, owner_reference, uid_of
from pybernetes.api.resources import CONTROLLER_REVISIONS, Resource
from pybernetes.client import Client, Informer, Informers
from pybernetes.control import OWNER_INDEXES, Claimer, Writes
from pybernetes.control.owners import candidates

from .hashing import template_hash

HASH = "controller-revision-hash"


class History(NamedTuple):
    """The revision of the present template, and the others, oldest first."""

    current: Obj
    old: list[Obj]


def data_of(owner: Obj) -> Obj:
    template = copied(owner["spec"]["template"])
    (template.get("metadata") or {}).pop("creationTimestamp", None)
    return {"spec": {"template": template | {"$patch": "replace"}}}


def hash_of(revision: Obj) -> str:
    """What pods of this revision bear in their label."""
    return labels_of(revision).get(HASH, "")


class Revisions:
    """Keeps the history of the owners of one resource."""

    def __init__(self, client: Client, informers: Informers, owners: Resource) -> None:
        self.client = client
        self.owners = owners
        self.informer: Informer = informers.of(CONTROLLER_REVISIONS, indexes=OWNER_INDEXES)
        self.claimer = Claimer(client, CONTROLLER_REVISIONS, owners=owners)
        self.writes: Writes[Key] = Writes(self.informer)

    async def sync(self, owner: Obj, *, collisions: int = 0) -> History | None:
        """The history with the present template in it as the newest; None while the cache is behind."""
        key = key_of(owner)
        if not self.writes.seen(key):
            return None
        matches = selectors.of(owner["spec"].get("selector")).matches_object
        found = await self.claimer.claim(owner, candidates(self.informer, owner), matches)
        found = sorted(found, key=_number)
        data = data_of(owner)
        newest = max((_number(one) for one in found), default=0)
        same = [one for one in found if one.get("data") == data]
        if not same:
            current = await self._create(owner, data, newest + 1, collisions)
            return None if current is None else History(current, found)
        current = same[-1]
        if _number(current) < newest:
            current = await self._patch(key, current, {"revision": newest + 1})
        return History(current, [one for one in found if uid_of(one) != uid_of(current)])

    async def clean(self, owner: Obj, history: History, in_use: Iterable[str]) -> None:
        """Delete the oldest beyond revisionHistoryLimit, but none whose hash is in use."""
        used = set(in_use)
        limit = int(owner["spec"].get("revisionHistoryLimit", 10))
        idle = [one for one in history.old if hash_of(one) not in used]
        for revision in idle[: max(0, len(idle) - limit)]:
            try:
                await self.client.delete(CONTROLLER_REVISIONS, key_of(revision), uid=uid_of(revision))
            except NotFound:
                continue

    async def _create(self, owner: Obj, data: Obj, number: int, collisions: int) -> Obj | None:
        digest = template_hash(data["spec"]["template"], collisions)
        template_labels = labels_of(owner["spec"]["template"])
        revision: Obj = {
            "apiVersion": CONTROLLER_REVISIONS.api_version,
            "kind": CONTROLLER_REVISIONS.kind,
            "metadata": {
                "namespace": namespace_of(owner),
                "name": f"{name_of(owner)}-{digest}",
                "labels": dict(template_labels) | {HASH: digest},
                "ownerReferences": [owner_reference(owner)],
            },
            "data": data,
            "revision": number,
        }
        try:
            made = await self.client.create(CONTROLLER_REVISIONS, revision)
        except AlreadyExists:
            taken = await self.client.get(CONTROLLER_REVISIONS, key_of(revision))
            if taken.get("data") == data:
                return taken
            patch = {"status": {"collisionCount": collisions + 1}}
            await self.client.patch(self.owners, key_of(owner), patch, subresource="status")
            return None
        self.writes.wrote(key_of(owner), made)
        return made

    async def _patch(self, key: Key, revision: Obj, patch: Obj) -> Obj:
        written = await self.client.patch(CONTROLLER_REVISIONS, key_of(revision), patch)
        self.writes.wrote(key, written)
        return written


def _number(revision: Obj) -> int:
    return int(revision.get("revision") or 0)


def by_hash(revisions: Sequence[Obj]) -> dict[str, Obj]:
    return {hash_of(revision): revision for revision in revisions}
