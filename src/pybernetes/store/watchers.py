"""Who watches what: watchers found by prefix, so that a write costs what its own watchers cost, not all of them."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager

from pybernetes.aio.fanout import Inbox, Overflow

from . import Change, Lagged, Revision


class Watcher:
    """One watch: an async iterator of batches. Raises Lagged once it is too far behind."""

    def __init__(self, prefix: str, *, limit: int, seen: Revision) -> None:
        self.prefix = prefix
        self.seen = seen
        """It has been told of everything up to here."""
        self.inbox: Inbox[Change] = Inbox(limit)

    def offer(self, changes: Sequence[Change]) -> bool:
        """Put changes in, but those that it need not be told of; False when it lags."""
        if changes[0].revision <= self.seen:  # it was asked for from the future on
            changes = [change for change in changes if change.revision > self.seen]
            if not changes:
                return True
        self.seen = changes[-1].revision
        return self.inbox.offer(changes)

    def __aiter__(self) -> AsyncIterator[Sequence[Change]]:
        return self

    async def __anext__(self) -> Sequence[Change]:
        try:
            return await anext(self.inbox)
        except Overflow as error:
            raise Lagged(f"watch of {self.prefix}: {error}") from error


class Watchers:
    """Hands each published change to the watchers of its prefixes.

    A prefix that ends in "/" is found by cutting the key at its slashes; any other is compared with every key.
    """

    def __init__(self, *, limit: int, progress_seconds: float) -> None:
        self._limit = limit
        self._progress_seconds = progress_seconds
        self._by_prefix: dict[str, set[Watcher]] = {}
        self._odd: set[str] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._revision: Revision = 0

    @contextmanager
    def watcher(self, prefix: str, history: Sequence[Change], *, after: Revision, now: Revision) -> Iterator[Watcher]:
        """Registered for the time of the `with`, with the history in its inbox: no gap, none twice."""
        watcher = Watcher(prefix, limit=max(self._limit, len(history)), seen=after)
        if history:
            watcher.offer(history)
        self._revision = now
        self._by_prefix.setdefault(prefix, set()).add(watcher)
        if not prefix.endswith("/"):
            self._odd.add(prefix)
        if watcher.seen < now:
            self._mark_later()
        try:
            yield watcher
        finally:
            self._remove(watcher)

    def publish(self, changes: Sequence[Change]) -> None:
        """Changes in revision order, each delivered once; a watcher gets its share as one batch."""
        self._revision = changes[-1].revision
        if not self._by_prefix:
            return
        shares: defaultdict[Watcher, list[Change]] = defaultdict(list)
        for change in changes:
            record = change.now or change.was
            for prefix in self._prefixes(record.key if record else ""):
                for watcher in self._by_prefix.get(prefix, ()):
                    shares[watcher].append(change)
        for watcher, share in shares.items():
            if not watcher.offer(share):
                self._remove(watcher)
        self._mark_later()

    def close(self, reason: Exception | None = None) -> None:
        """End every watch."""
        if self._timer is not None:
            self._timer.cancel()
        for watchers in self._by_prefix.values():
            for watcher in watchers:
                watcher.inbox.close(reason)
        self._by_prefix.clear()

    def _prefixes(self, key: str) -> list[str]:
        found = [prefix for prefix in self._odd if key.startswith(prefix)] if self._odd else []
        end = key.find("/")
        while end >= 0:
            found.append(key[: end + 1])
            end = key.find("/", end + 1)
        return found

    def _remove(self, watcher: Watcher) -> None:
        watchers = self._by_prefix.get(watcher.prefix)
        if watchers is not None:
            watchers.discard(watcher)
            if not watchers:
                del self._by_prefix[watcher.prefix]
                self._odd.discard(watcher.prefix)

    def _mark_later(self) -> None:
        """One timer for all, only while somebody has not heard of the latest revision."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._progress_seconds, self._mark)

    def _mark(self) -> None:
        self._timer = None
        mark = Change("mark", self._revision)
        for watchers in list(self._by_prefix.values()):
            for watcher in list(watchers):
                if watcher.seen < self._revision and not watcher.offer([mark]):
                    self._remove(watcher)
