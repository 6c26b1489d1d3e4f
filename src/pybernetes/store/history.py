"""The state in memory: what is there now, in key order, and a bounded ring of the latest changes. Pure, no I/O.

A value that is current is held once. The ring lets a read go back, and a watch start, as far as it reaches: an older
state is the current one with the later changes undone.
"""

from bisect import bisect_left, bisect_right, insort
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from . import Change, Compacted, Page, Record, Revision

FIRST: Revision = 1
"""The revision of an empty store; the first write has the next one, as in etcd."""
_LAST = "\U0010ffff"


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """How much of the past is kept: at most so many changes, of at most so many bytes of superseded values."""

    changes: int = 10_000
    bytes: int = 32 << 20


class History:
    """Records under keys, and how they came to be. All methods are synchronous, hence atomic."""

    def __init__(self, window: Window) -> None:
        self.revision = FIRST
        self.oldest = FIRST
        """The oldest revision to read at, or to watch after."""
        self.records: dict[str, Record] = {}
        self._window = window
        self._keys: list[str] = []
        self._ring: deque[Change] = deque()
        self._bytes = 0

    def load(self, records: Iterable[Record], *, at: Revision) -> None:
        """Begin with this state; later changes follow through `apply`."""
        self.records = {record.key: record for record in records}
        self._keys = sorted(self.records)
        self.revision = self.oldest = at

    def apply(self, change: Change) -> list[Change]:
        """Take in the next change; returns those that fell out of the ring for it."""
        if change.now is not None:
            if change.was is None:
                insort(self._keys, change.now.key)
            self.records[change.now.key] = change.now
        elif change.was is not None:
            del self.records[change.was.key]
            del self._keys[bisect_left(self._keys, change.was.key)]
        self.revision = change.revision
        self._ring.append(change)
        self._bytes += _weight(change)
        return self._trim()

    def compact(self, before: Revision) -> list[Change]:
        """Make `before` the oldest revision; returns the changes that fell out."""
        fallen = []
        while self._ring and self._ring[0].revision <= before:
            fallen.append(self._drop())
        return fallen

    def get(self, key: str, at: Revision) -> Record | None:
        record = self.records.get(key)
        for change in self._since(at):
            if _key(change) == key:
                record = change.was
        return record

    def scan(self, prefix: str, *, after: str, limit: int, at: Revision) -> Page:
        undone = {_key(change): change.was for change in self._since(at) if _key(change).startswith(prefix)}
        keys = self._between(prefix, after)
        if undone:
            there = {key for key in keys if key not in undone}
            there |= {key for key, record in undone.items() if record is not None and key > after}
            keys = sorted(there)
        chosen = keys[:limit] if limit else keys
        records = [undone[key] or self.records[key] if key in undone else self.records[key] for key in chosen]
        return Page(records, at, len(keys) - len(chosen))

    def changes(self, prefix: str, *, after: Revision) -> list[Change]:
        """What happened under a prefix after a revision, oldest first. Raises Compacted."""
        if after < self.oldest:
            raise Compacted(after, self.oldest)
        found = [change for change in self._since(after) if _key(change).startswith(prefix)]
        found.reverse()
        return found

    def resolve(self, at: Revision) -> Revision:
        """The revision to read at; 0 is now. Raises Compacted, ValueError for the future."""
        if at == 0:
            return self.revision
        if at < self.oldest:
            raise Compacted(at, self.oldest)
        if at > self.revision:
            raise ValueError(f"revision {at} is in the future; the latest is {self.revision}")
        return at

    def _since(self, at: Revision) -> Iterator[Change]:
        """The changes after a revision, latest first."""
        for change in reversed(self._ring):
            if change.revision <= at:
                return
            yield change

    def _between(self, prefix: str, after: str) -> list[str]:
        low = bisect_left(self._keys, prefix)
        if after >= prefix:
            low = max(low, bisect_right(self._keys, after))
        return self._keys[low : bisect_left(self._keys, prefix + _LAST)]

    def _trim(self) -> list[Change]:
        fallen = []
        while len(self._ring) > self._window.changes or (self._bytes > self._window.bytes and len(self._ring) > 1):
            fallen.append(self._drop())
        return fallen

    def _drop(self) -> Change:
        change = self._ring.popleft()
        self._bytes -= _weight(change)
        self.oldest = change.revision
        return change


def _key(change: Change) -> str:
    record = change.now or change.was
    return record.key if record else ""


def _weight(change: Change) -> int:
    """Bytes that only the ring keeps alive, about."""
    return 400 + (len(change.was.value) if change.was else 0)


def superseded(changes: Sequence[Change]) -> list[Revision]:
    """The revisions whose rows a log needs no more once these changes have left the ring."""
    found = [change.was.revision for change in changes if change.was is not None]
    found += [change.revision for change in changes if change.now is None]
    return found
