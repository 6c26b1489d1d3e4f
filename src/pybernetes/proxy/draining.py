"""Endpoints that went, and whose TCP connections may live on for the time their Service gives them.

Until then such an endpoint is one of those that take nothing new (`Front.resting`); when it is none any more, its
connections are stale like those of any other endpoint that went. One that comes back is simply there again.
"""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace

from pybernetes.api.objects import Key

from .model import Backend, Front, ServicePort

Spot = tuple[str, int]
"""Address and port of an endpoint."""

_EARLY_SECONDS = 0.01
"""A timer may fire a little before its time."""


class Draining:
    """`again` is called with a Service's key when the time of one of its endpoints is over."""

    def __init__(self, again: Callable[[Key], None]) -> None:
        self._again = again
        self._deadlines: dict[ServicePort, dict[Spot, float]] = {}

    def keep(self, key: Key, port: ServicePort, front: Front, was: Front | None) -> Front:
        """The front with those of `was` that went and still have time."""
        if not front.drain_seconds or was is None:
            self.forget(port)
            return front
        loop = asyncio.get_running_loop()
        deadlines = self._deadlines.pop(port, {})
        there = set(_spots(front))
        kept: dict[Spot, float] = {}
        for spot in dict.fromkeys(_spots(was)):
            if spot in there:
                continue
            if spot not in deadlines:
                loop.call_later(front.drain_seconds, self._again, key)
            deadline = deadlines.get(spot, loop.time() + front.drain_seconds)
            if deadline > loop.time() + _EARLY_SECONDS:
                kept[spot] = deadline
        if not kept:
            return front
        self._deadlines[port] = kept
        return replace(front, resting=(*front.resting, *(Backend(*spot) for spot in kept)))

    def forget(self, port: ServicePort) -> None:
        """The Service port is gone, or gives no time."""
        self._deadlines.pop(port, None)


def _spots(front: Front) -> Iterator[Spot]:
    for backend in (*front.backends, *front.local_backends, *front.resting):
        yield backend.address, backend.port
