"""Services that run for ever, and what happens when one does not: said here, once.

A service that raises or returns is logged and started again after a back-off; one that ran well for a minute begins
with a short one. Fatal is not mended by trying again: it ends all of them. Cancelling ends all of them in order.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from .backoff import Backoff

log = logging.getLogger("pybernetes.supervise")

_WELL_SECONDS = 60.0


class Service(Protocol):
    """Something that runs until it is cancelled, and cleans up then."""

    async def run(self) -> None: ...


class Fatal(Exception):
    """Raised by a service that starting again would not help (a port in use, a store that is broken)."""


async def supervise(*services: Service, backoff: Callable[[], Backoff] = Backoff) -> None:
    """Run all until cancelled. Raises Fatal as the first that did; the others have ended then."""
    try:
        async with asyncio.TaskGroup() as group:
            for service in services:
                group.create_task(keep_running(service, backoff=backoff()), name=_name(service))
    except* Fatal as errors:
        raise _first(errors) from None


async def stacked(ground: Sequence[Service], *upper: Sequence[Service]) -> None:
    """Layers that stand on each other: cancelling ends the uppermost first, those below after it. Raises Fatal."""
    if not upper:
        await supervise(*ground)
        return
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(supervise(*ground))
            await stacked(*upper)
    except* Fatal as errors:
        raise _first(errors) from None


async def keep_running(service: Service, *, backoff: Backoff) -> None:
    """One service, started again whenever it ends. Raises Fatal."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    while True:
        started = loop.time()
        try:
            await service.run()
            log.error("service ended by itself service=%s", _name(service))
        except Fatal:
            raise
        except asyncio.CancelledError:
            if task is None or task.cancelling():
                raise
            log.exception("service awaited what was cancelled service=%s", _name(service))
        except Exception:
            log.exception("service failed service=%s", _name(service))
        if loop.time() - started > _WELL_SECONDS:
            backoff.reset()
        await asyncio.sleep(backoff.next())


def _name(service: Service) -> str:
    return type(service).__name__.lower()


def _first(errors: BaseExceptionGroup[Fatal]) -> Fatal:
    first = errors.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first
