"""The store: revisioned bytes under keys, with watches. Three implementations pass one contract suite.

One global revision counts every acknowledged write. Readers and watchers see a write only after it is durable,
in revision order. Keys are paths such as "/core/pods/default/web-0"; values are opaque bytes.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Literal, NamedTuple, Protocol

Revision = int


class Record(NamedTuple):
    """One stored value: `created` and `revision` are the revisions of its first and latest write."""

    key: str
    value: bytes
    created: Revision
    revision: Revision


class Change(NamedTuple):
    """One write as watchers see it: `now` is None for a delete, `was` is the record before; `mark` is progress only."""

    kind: Literal["put", "delete", "mark"]
    revision: Revision
    now: Record | None = None
    was: Record | None = None


class Page(NamedTuple):
    """Records in key order, the revision they were read at, and how many follow."""

    records: Sequence[Record]
    revision: Revision
    remaining: int


class Stale(Exception):
    """A compare-and-set found another revision. `current` is the record there now, None when there is none."""

    def __init__(self, key: str, current: Record | None) -> None:
        super().__init__(f"{key}: found {current.revision if current else 'nothing'}")
        self.key = key
        self.current = current


class Compacted(Exception):
    """The revision asked for is no longer kept; `oldest` is the oldest to read at, or to watch after."""

    def __init__(self, asked: Revision, oldest: Revision) -> None:
        super().__init__(f"revision {asked} is compacted; the oldest kept is {oldest}")
        self.asked = asked
        self.oldest = oldest


class Lagged(Exception):
    """This watcher did not keep up with its bounded queue and was closed; list again."""


class Unavailable(Exception):
    """The store is closed, or could not make a write durable: that write did not happen."""


class Store(Protocol):
    """at=0 is now. A mismatch raises Stale(current), an old read raises Compacted."""

    @property
    def revision(self) -> Revision:
        """The latest committed revision."""
        ...

    async def get(self, key: str, *, at: Revision = 0) -> tuple[Record | None, Revision]:
        """The record under a key and the revision it was read at."""
        ...

    async def scan(self, prefix: str, *, after: str = "", limit: int = 0, at: Revision = 0) -> Page:
        """Records under a prefix in key order, those after the key `after` only; limit 0 is all."""
        ...

    async def create(self, key: str, value: bytes, *, ttl: float | None = None) -> Record:
        """Write a new key; raises Stale when it exists. With `ttl` it is deleted that many seconds after a write."""
        ...

    async def update(self, key: str, value: bytes, *, expect: Revision) -> Record:
        """Write over the record whose revision is `expect`; raises Stale."""
        ...

    async def delete(self, key: str, *, expect: Revision) -> Record:
        """Remove the record whose revision is `expect`; returns it with the revision of the deletion. Raises Stale."""
        ...

    def watch(self, prefix: str, *, after: Revision) -> AbstractAsyncContextManager[AsyncIterator[Sequence[Change]]]:
        """All changes under a prefix after a revision, in order, none twice, in batches.

        Raises Compacted on entry, Lagged while read.
        """
        ...

    async def compact(self, before: Revision) -> None:
        """Forget superseded revisions before this one."""
        ...

    async def close(self) -> None:
        """Flush and release; further calls raise."""
        ...
