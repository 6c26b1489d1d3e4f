"""Keys that expire: a heap of deadlines and one timer for the nearest."""

import asyncio
import heapq
from collections.abc import Callable, Sequence

from . import Revision

_AT_ONCE = 500
"""Keys handed over in one go; the rest in the next turn of the loop, so that nobody waits for a flood of them."""


class Expiry:
    """Tells `expire` of (key, revision) pairs whose time has come; one that was written again is told of later.

    The caller compares the revision: an entry of the past is simply stale. Times are the loop's.
    """

    def __init__(self, expire: Callable[[Sequence[tuple[str, Revision]]], None]) -> None:
        self._expire = expire
        self._heap: list[tuple[float, str, Revision]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    def add(self, key: str, revision: Revision, *, seconds: float) -> None:
        """The key, if still at that revision, expires so many seconds from now."""
        loop = asyncio.get_running_loop()
        heapq.heappush(self._heap, (loop.time() + seconds, key, revision))
        if self._heap[0][1:] == (key, revision):
            self._arm()

    def close(self) -> None:
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._heap and not self._closed:
            self._timer = asyncio.get_running_loop().call_at(self._heap[0][0], self._due)

    def _due(self) -> None:
        self._timer = None
        now = asyncio.get_running_loop().time()
        due: list[tuple[str, Revision]] = []
        while self._heap and self._heap[0][0] <= now and len(due) < _AT_ONCE:
            _, key, revision = heapq.heappop(self._heap)
            due.append((key, revision))
        self._arm()
        if due:
            self._expire(due)
