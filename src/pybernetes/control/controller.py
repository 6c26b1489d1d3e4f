"""The controller loop: workers take keys from a queue and reconcile them, for ever.

An exception is logged and the key comes round again after its back-off. A Conflict or a NotFound comes round quietly
the first few times, since it only means that the cache was behind.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Generic, NamedTuple, TypeVar

from pybernetes.api.errors import ApiError, Conflict, NotFound
from pybernetes.client import Informer

from .queue import KeyQueue

log = logging.getLogger(__name__)

K = TypeVar("K", bound=Hashable)

_QUIET_RETRIES = 4


class Again(NamedTuple):
    """A reconcile's wish to be called again for this key."""

    after: float
    """In so many seconds."""


Reconcile = Callable[[K], Awaitable[Again | None]]


class Controller(Generic[K]):
    """A named queue and the workers on it. Feed `queue` from informer handlers; `run` until cancelled."""

    def __init__(
        self, name: str, reconcile: Reconcile[K], *, workers: int = 5, informers: Sequence[Informer] = ()
    ) -> None:
        """Workers start once all of `informers` have their first list."""
        self.name = name
        self.queue: KeyQueue[K] = KeyQueue(name)
        self._reconcile = reconcile
        self._workers = workers
        self._informers = list(informers)

    def wait_for(self, *informers: Informer) -> None:
        """Start no worker before these have synced."""
        self._informers.extend(informers)

    async def run(self) -> None:
        for informer in self._informers:
            await informer.synced.wait()
        try:
            async with asyncio.TaskGroup() as group:
                for number in range(self._workers):
                    group.create_task(self._work(), name=f"{self.name}-{number}")
        finally:
            self.queue.close()

    async def _work(self) -> None:
        while True:
            key = await self.queue.get()
            try:
                await self.once(key)
            finally:
                self.queue.done(key)

    async def once(self, key: K) -> None:
        """Reconcile one key and settle it with the queue."""
        try:
            again = await self._reconcile(key)
        except (ApiError, ConnectionError, TimeoutError) as error:
            behind = isinstance(error, (Conflict, NotFound)) and self.queue.retries(key) < _QUIET_RETRIES
            level = logging.DEBUG if behind else logging.WARNING
            log.log(level, "reconcile failed controller=%s key=%s error=%r", self.name, key, error)
            self.queue.retry(key)
        except Exception:
            log.exception("reconcile failed controller=%s key=%s", self.name, key)
            self.queue.retry(key)
        else:
            self.queue.forget(key)
            if again is not None:
                self.queue.add(key, after=max(again.after, 1e-6))
