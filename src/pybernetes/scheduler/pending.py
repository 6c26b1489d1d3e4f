"""Pods that wait for a node: ready to be tried, backing off, or parked until the cluster changes.

Bounded by design: a pod is here once, so the number of unscheduled pods is the bound.
"""

import asyncio
import heapq
from collections.abc import Hashable, Iterator

FIRST_BACKOFF_SECONDS, LAST_BACKOFF_SECONDS = 0.1, 10.0
PARKED_SECONDS = 300.0
"""Parked pods are tried again after so long even if nothing seems to have changed."""


class Pending:
    """Higher priority first, then in order of arrival (kube-scheduler's PrioritySort)."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Hashable]] = []
        self._ready: dict[Hashable, int] = {}
        self._parked: dict[Hashable, float] = {}
        self._backing: dict[Hashable, asyncio.TimerHandle] = {}
        self._attempts: dict[Hashable, int] = {}
        self._priority: dict[Hashable, int] = {}
        self._count = 0
        self._some = asyncio.Event()

    @property
    def sizes(self) -> Iterator[tuple[str, int]]:
        """By the names of the metric scheduler_pending_pods."""
        yield "active", len(self._ready)
        yield "backoff", len(self._backing)
        yield "unschedulable", len(self._parked)

    def add(self, key: Hashable, *, priority: int = 0) -> None:
        """A new or changed pod: try it now, unless it is backing off."""
        self._priority[key] = priority
        if key not in self._ready and key not in self._backing:
            self._parked.pop(key, None)
            self._make_ready(key)

    async def get(self) -> Hashable:
        """The next to try; it is no longer here until added, parked or backed off."""
        while True:
            while self._heap:
                _, number, key = heapq.heappop(self._heap)
                if self._ready.get(key) == number:
                    del self._ready[key]
                    return key
            self._some.clear()
            await self._some.wait()

    def park(self, key: Hashable) -> None:
        """It fits nowhere: wait for a change."""
        self._attempts[key] = self._attempts.get(key, 0) + 1
        self._parked[key] = asyncio.get_running_loop().time()

    def back_off(self, key: Hashable) -> None:
        """Its binding failed: try again after its back-off."""
        self._attempts[key] = self._attempts.get(key, 0) + 1
        self._delay(key)

    def wake_all(self) -> None:
        """The cluster changed: parked pods are tried again, each after its back-off."""
        for key in list(self._parked):
            del self._parked[key]
            self._delay(key)

    def wake_old(self) -> None:
        """What has been parked for long is tried again."""
        now = asyncio.get_running_loop().time()
        for key, since in list(self._parked.items()):
            if now - since > PARKED_SECONDS:
                del self._parked[key]
                self._make_ready(key)

    def remove(self, key: Hashable) -> None:
        """It has a node, or is gone."""
        self._ready.pop(key, None)
        self._parked.pop(key, None)
        self._attempts.pop(key, None)
        self._priority.pop(key, None)
        if (timer := self._backing.pop(key, None)) is not None:
            timer.cancel()

    def close(self) -> None:
        for timer in self._backing.values():
            timer.cancel()
        self._backing.clear()

    def _delay(self, key: Hashable) -> None:
        if key in self._backing:
            return
        attempts = self._attempts.get(key, 1)
        seconds = min(LAST_BACKOFF_SECONDS, FIRST_BACKOFF_SECONDS * 2 ** min(attempts - 1, 10))
        self._backing[key] = asyncio.get_running_loop().call_later(seconds, self._return, key)

    def _return(self, key: Hashable) -> None:
        del self._backing[key]
        self._make_ready(key)

    def _make_ready(self, key: Hashable) -> None:
        self._count += 1
        self._ready[key] = self._count
        heapq.heappush(self._heap, (-self._priority.get(key, 0), self._count, key))
        self._some.set()
