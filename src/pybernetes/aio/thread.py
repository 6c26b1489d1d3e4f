"""A thread of one's own for calls that block: they run in order, one at a time, away from the event loop."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class Worker:
    """One thread. What it was given runs to its end, also when the caller is cancelled meanwhile."""

    def __init__(self, name: str) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix=name)

    def submit(self, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> "asyncio.Future[R]":
        """Queue a call; cancelling the future does not stop a call that runs. Raises RuntimeError once closed."""
        return asyncio.wrap_future(self._pool.submit(call, *args, **kwargs))

    async def call(self, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Queue a call and wait for its result."""
        return await asyncio.shield(self.submit(call, *args, **kwargs))

    async def close(self) -> None:
        """Wait for what is queued, then end the thread."""
        await asyncio.shield(self.submit(lambda: None))
        self._pool.shutdown(wait=True)
