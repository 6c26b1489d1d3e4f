"""Reading one's own writes: a reconciler must not act on a cache that has not seen what it did last time.

Kubernetes' controllers count expected creations and deletions; here the order of revisions says the same with less:
a cache at revision R has seen every write up to R (resource versions are comparable, KEP-5504).
"""

import asyncio
from collections.abc import Hashable
from typing import Generic, NamedTuple, TypeVar

from pybernetes.api.objects import Obj, is_deleting, revision_of, uid_of
from pybernetes.client import Informer

K = TypeVar("K", bound=Hashable)

PATIENCE_SECONDS = 30.0


class _Write(NamedTuple):
    revision: int
    at: float


class Writes(Generic[K]):
    """The newest write per key, and what is already asked to be deleted."""

    def __init__(self, informer: Informer) -> None:
        self._informer = informer
        self._newest: dict[K, _Write] = {}
        self._deleted: dict[K, set[str]] = {}

    def wrote(self, key: K, obj: Obj) -> None:
        """Note the answer of a create, update or patch."""
        revision = _number(revision_of(obj))
        newest = self._newest.get(key)
        if newest is None or revision > newest.revision:
            self._newest[key] = _Write(revision, asyncio.get_running_loop().time())

    def deleted(self, key: K, obj: Obj) -> None:
        """Note that this object was asked to be deleted: `gone` is true of it at once."""
        self._deleted.setdefault(key, set()).add(uid_of(obj))

    def gone(self, key: K, obj: Obj) -> bool:
        """Whether it is being deleted, in the cache or by a call of ours that the cache has not seen."""
        return is_deleting(obj) or uid_of(obj) in self._deleted.get(key, ())

    def seen(self, key: K) -> bool:
        """Whether the cache has all writes noted for the key; after 30 s of waiting it is believed anyway."""
        newest = self._newest.get(key)
        if newest is None:
            return True
        waited = asyncio.get_running_loop().time() - newest.at
        if _number(self._informer.revision) >= newest.revision or waited > PATIENCE_SECONDS:
            del self._newest[key]
            return True
        return False

    def keep(self, key: K, present: list[Obj]) -> None:
        """Forget deletions of what is no longer present."""
        if found := self._deleted.get(key):
            found &= {uid_of(obj) for obj in present}
            if not found:
                del self._deleted[key]

    def forget(self, key: K) -> None:
        self._newest.pop(key, None)
        self._deleted.pop(key, None)


def _number(revision: str) -> int:
    return int(revision) if revision.isdigit() else 0
