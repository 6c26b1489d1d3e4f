"""The filter: requests go through at once while there is room, and else in fair turn.

There is one event loop, so what is scarce first is its time: GETs run from begin to end in one go and never hold a
seat for long. So besides the seats there is a bound on how long new requests may begin in one turn of the loop; those
beyond it wait for the next turns, a few in each, whose turn it is by `queues`. A quiet user then waits for one
turn, however many requests another has sent. Without contention none of this is touched: a look-up and some sums.
"""

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any

from pybernetes.api.errors import TooManyRequests
from pybernetes.wire import Handler, Request, Response

from ..held import Held
from ..users import route_of, user_of
from .levels import LEVELS, Classifier, Schema
from .queues import Level, Queues, Ticket

SEATS = 600
"""kube-apiserver's --max-requests-inflight (400) and --max-mutating-requests-inflight (200) together."""
WAIT_SECONDS = 15.0
"""A quarter of a request's time, as in Kubernetes."""
TURN_SECONDS = 0.005
"""So long may requests that were not queued begin in one turn of the loop."""
_MOST_A_TURN = 64
_UNIT_BYTES = 32 << 10
"""A body of this size costs about as much again as a small request."""
_FORGET_SECONDS = 1.0
BUCKETS = (0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0)


@dataclass(slots=True)
class Counts:
    """What happened to the requests of one schema."""

    level: str
    executing: int = 0
    queued: int = 0
    dispatched: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    waited: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS) + 1))
    waited_seconds: float = 0.0


class Gate:
    """A filter. `counts` are by flow schema."""

    def __init__(self, *, seats: int = SEATS, wait_seconds: float = WAIT_SECONDS) -> None:
        self.queues = Queues(LEVELS, seats=seats)
        self.counts: dict[str, Counts] = {}
        self._wait_seconds = wait_seconds
        self._classifier = Classifier()
        self._began = 0.0
        self._armed = False
        self._a_turn = 8
        self._forgotten = 0.0

    def filter(self, handler: Handler) -> Handler:
        async def fair(request: Request) -> Response:
            route, user = route_of(request), user_of(request)
            schema = self._classifier.of(user, route)
            if schema.level is None or "inside" in request.context or (route.long_running and route.verb != "watch"):
                return await handler(request)
            flow = route.namespace if schema.by_namespace else user.name
            return await self._admit(request, handler, schema, flow)

        return fair

    async def _admit(self, request: Request, handler: Handler, schema: Schema, flow: str) -> Response:
        assert schema.level is not None
        level = self.queues.levels[schema.level.name]
        counts = self.counts.get(schema.name)
        if counts is None:
            counts = self.counts[schema.name] = Counts(level.name)
        if self._at_once(level):
            self.queues.start(level)
            counts.waited[0] += 1
        else:
            await self._wait(level, flow, counts)
        counts.dispatched += 1
        counts.executing += 1
        held = True
        try:
            response = await handler(request)
            body = response.body
            if isinstance(body, bytes):
                if len(body) + len(request.body) > _UNIT_BYTES:
                    self.queues.charge(level, flow, (len(body) + len(request.body)) / _UNIT_BYTES)
            elif route_of(request).verb != "watch":
                held = False  # until the last chunk has gone
                response.body = Held(
                    body, lambda cost: self._chunk(level, flow, cost), lambda: self._end(level, counts)
                )
            return response
        finally:
            if held:
                self._end(level, counts)

    def _at_once(self, level: Level) -> bool:
        if self.queues.waiting or not self.queues.room(level):
            return False
        now = time.monotonic()
        if not self._armed:
            self._arm()
            self._began = now
            return True
        return now - self._began < TURN_SECONDS

    async def _wait(self, level: Level, flow: str, counts: Counts) -> None:
        """Raises TooManyRequests when the queue is full, or its turn does not come in time."""
        ticket = self.queues.offer(level, flow)
        if ticket is None:
            raise _later(counts, "queue-full")
        ticket.wake = woken = asyncio.get_running_loop().create_future()
        counts.queued += 1
        self._arm()
        began = time.monotonic()
        try:
            async with asyncio.timeout(self._wait_seconds):
                await woken
        except TimeoutError:
            self._leave(ticket, level)
            raise _later(counts, "time-out") from None
        except asyncio.CancelledError:
            self._leave(ticket, level)
            counts.rejected["cancelled"] = counts.rejected.get("cancelled", 0) + 1
            raise
        finally:
            counts.queued -= 1
        took = time.monotonic() - began
        counts.waited[next((n for n, limit in enumerate(BUCKETS) if took <= limit), len(BUCKETS))] += 1
        counts.waited_seconds += took

    def _leave(self, ticket: Ticket, level: Level) -> None:
        if ticket.gone:  # its turn had come in the same moment: give the seat back
            self.queues.done(level)
            self._arm()
        else:
            self.queues.leave(ticket)

    def _chunk(self, level: Level, flow: str, size: int) -> None:
        self.queues.charge(level, flow, size / _UNIT_BYTES)

    def _end(self, level: Level, counts: Counts) -> None:
        counts.executing -= 1
        self.queues.done(level)
        if self.queues.waiting:
            self._arm()

    def _arm(self) -> None:
        if not self._armed:
            self._armed = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        """A new turn of the loop: some of those who wait begin, fewer when the last turn took long."""
        self._armed = False
        now = time.monotonic()
        if not self.queues.waiting:
            if now - self._forgotten > _FORGET_SECONDS:
                self._forgotten = now
                self.queues.forget()
            return
        long = now - self._began > TURN_SECONDS
        self._a_turn = max(1, self._a_turn // 2) if long else min(_MOST_A_TURN, self._a_turn + 1)
        self._began = now
        for _ in range(self._a_turn):
            ticket = self.queues.next()
            if ticket is None:
                return  # no seats: the next that ends arms again
            woken: Any = ticket.wake
            if not woken.done():
                woken.set_result(None)
        if self.queues.waiting:
            self._arm()


def _later(counts: Counts, reason: str) -> TooManyRequests:
    counts.rejected[reason] = counts.rejected.get(reason, 0) + 1
    return TooManyRequests("Too many requests, please try again later.", details={"retryAfterSeconds": 1})
