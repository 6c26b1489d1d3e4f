"""The work queue: keys, not events.

Laws (client-go's, tests/property): a key is with one worker at a time; adds coalesce; an add while the key is being
worked on means exactly one more run; a delayed add arrives no earlier than asked, and the earliest of several counts.
Bounded by design: a key is here at most once ready and once delayed, so the number of objects is the bound.
"""

import asyncio
from collections import deque
from collections.abc import Hashable
from typing import Generic, Protocol, TypeVar

from .metrics import QueueMetrics

K = TypeVar("K", bound=Hashable)

FIRST_RETRY_SECONDS = 0.005
LAST_RETRY_SECONDS = 60.0


class WorkQueue(Protocol[K]):
    """What a controller loop needs."""

    def add(self, key: K, *, after: float = 0.0) -> None:
        """Have the key worked on, now or `after` seconds."""
        ...

    async def get(self) -> K:
        """The next key; it is this worker's until `done`."""
        ...

    def done(self, key: K) -> None:
        """Give the key back; if it was added meanwhile it is ready again."""
        ...

    def retry(self, key: K) -> None:
        """Add after the key's own back-off: 5 ms doubled at each retry, a minute at most."""
        ...

    def forget(self, key: K) -> None:
        """The key went well: its back-off starts anew."""
        ...


class KeyQueue(Generic[K]):
    """The work queue of one event loop; all but `get` is synchronous and so atomic."""

    def __init__(self, name: str = "") -> None:
        """`name` labels the workqueue_* metrics; none are kept without one."""
        self._ready: dict[K, float] = {}  # in order of arrival; value: when
        self._busy: dict[K, float] = {}
        self._again: set[K] = set()
        self._delayed: dict[K, asyncio.TimerHandle] = {}
        self._retries: dict[K, int] = {}
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._metrics = QueueMetrics.of(name) if name else None

    def __len__(self) -> int:
        return len(self._ready)

    @property
    def idle(self) -> bool:
        """Nothing ready and nothing being worked on (delayed keys do not count)."""
        return not self._ready and not self._busy

    def add(self, key: K, *, after: float = 0.0) -> None:
        if after > 0:
            self._delay(key, after)
            return
        if key in self._busy:
            if key not in self._again:
                self._again.add(key)
                self._count_add()
        elif key not in self._ready:
            self._count_add()
            self._make_ready(key)

    async def get(self) -> K:
        while not self._ready:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                if waiter in self._waiting:
                    self._waiting.remove(waiter)
                elif self._ready:
                    self._wake()  # our turn goes to the next in line
                raise
        key = next(iter(self._ready))
        added = self._ready.pop(key)
        now = self._busy[key] = asyncio.get_running_loop().time()
        if self._metrics:
            self._metrics.got(len(self._ready), now - added)
        return key

    def done(self, key: K) -> None:
        began = self._busy.pop(key)
        if self._metrics:
            self._metrics.worked(asyncio.get_running_loop().time() - began)
        if key in self._again:
            self._again.discard(key)
            self._make_ready(key)

    def retry(self, key: K) -> None:
        count = self._retries.get(key, 0)
        self._retries[key] = count + 1
        if self._metrics:
            self._metrics.retries.inc()
        self._delay(key, min(LAST_RETRY_SECONDS, FIRST_RETRY_SECONDS * 2 ** min(count, 20)))

    def forget(self, key: K) -> None:
        self._retries.pop(key, None)

    def retries(self, key: K) -> int:
        """How often the key was retried since it last went well."""
        return self._retries.get(key, 0)

    def close(self) -> None:
        """Drop the timers of delayed keys."""
        for timer in self._delayed.values():
            timer.cancel()
        self._delayed.clear()

    def _delay(self, key: K, after: float) -> None:
        loop = asyncio.get_running_loop()
        when = loop.time() + after
        if (timer := self._delayed.get(key)) is not None:
            if timer.when() <= when:
                return
            timer.cancel()
        self._delayed[key] = loop.call_at(when, self._arrive, key)

    def _arrive(self, key: K) -> None:
        del self._delayed[key]
        self.add(key)

    def _make_ready(self, key: K) -> None:
        self._ready[key] = asyncio.get_running_loop().time()
        if self._metrics:
            self._metrics.depth.set(len(self._ready))
        self._wake()

    def _wake(self) -> None:
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    def _count_add(self) -> None:
        if self._metrics:
            self._metrics.adds.inc()
