"""One publisher, many readers, none of whom can hold it up: each has a bounded inbox and is closed when it is full.

Policy: overflow ends the reader, who starts afresh from the current state. Dropping single items would leave it wrong
for ever, and waiting would let the slowest reader set the pace.
"""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Generic, TypeVar

T = TypeVar("T")


class Overflow(Exception):
    """This reader did not keep up and was closed."""


class Inbox(Generic[T]):
    """An async iterator of batches: everything that came since the last one. One reader."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._pending: list[T] = []
        self._waiter: asyncio.Future[None] | None = None
        self._closed: Exception | None = None

    @property
    def empty(self) -> bool:
        return not self._pending

    def offer(self, items: Sequence[T]) -> bool:
        """Put items in; False when the inbox was or is now closed."""
        if self._closed is not None:
            return False
        if len(self._pending) + len(items) > self._limit:
            self._pending.clear()
            self.close(Overflow(f"more than {self._limit} items were waiting"))
            return False
        self._pending.extend(items)
        self._wake()
        return True

    def close(self, reason: Exception | None = None) -> None:
        """No more items. The reader gets those that wait, then the reason, or the end of the iteration."""
        if self._closed is None:
            self._closed = reason or StopAsyncIteration()
            self._wake()

    def __aiter__(self) -> "Inbox[T]":
        return self

    async def __anext__(self) -> Sequence[T]:
        while not self._pending:
            if self._closed is not None:
                raise self._closed
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        batch, self._pending = self._pending, []
        return batch

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Fanout(Generic[T]):
    """Publishes to all subscribed inboxes."""

    def __init__(self, *, limit: int = 1000) -> None:
        self._limit = limit
        self._inboxes: set[Inbox[T]] = set()

    def __len__(self) -> int:
        return len(self._inboxes)

    def publish(self, *items: T) -> None:
        for inbox in [one for one in self._inboxes if not one.offer(items)]:
            self._inboxes.discard(inbox)

    @contextmanager
    def subscribe(self) -> Iterator[Inbox[T]]:
        """An inbox for the time of the `with`; reading it raises Overflow when it was too slow."""
        inbox: Inbox[T] = Inbox(self._limit)
        self._inboxes.add(inbox)
        try:
            yield inbox
        finally:
            self._inboxes.discard(inbox)

    def close(self) -> None:
        """End every reader's iteration."""
        for inbox in self._inboxes:
            inbox.close()
        self._inboxes.clear()
