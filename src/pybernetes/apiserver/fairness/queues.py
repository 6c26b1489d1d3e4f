"""Who is next: start-time fair queueing over the levels by their shares, and over the flows of each level. Pure.

Every level and every flow has a virtual time: the cost of what it was given so far. The next request is the oldest of
the flow that had least, in the level that had least for its shares. One that comes after a pause begins at the
present, so nobody saves up; one whose last request was dear (a long list) pays for it before its next.
"""

import heapq
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from .levels import LevelSpec

FLOW_LENGTH = 200
"""Requests of one flow that may wait; further ones are refused."""
LEVEL_LENGTH = 2000
_LEVEL_DEBT = 1.0
"""What a level still owes after a pause: as many requests of another level as that has shares."""


@dataclass(slots=True, eq=False)
class Ticket:
    """One request that waits. `gone` tickets are skipped."""

    level: str
    flow: str
    gone: bool = False
    wake: object = None
    """The caller's."""


@dataclass(slots=True, eq=False)
class _Flow:
    virtual: float
    waiting: deque[Ticket] = field(default_factory=deque)


@dataclass(slots=True, eq=False)
class Level:
    name: str
    shares: int
    nominal: int
    reserved: int
    """Seats that no other level may use."""
    running: int = 0
    waiting: int = 0
    virtual: float = 0.0
    now: float = 0.0
    """Virtual time of the flow that was served last."""
    flows: dict[str, _Flow] = field(default_factory=dict)
    heap: list[tuple[float, int, str]] = field(default_factory=list)


class Queues:
    """`seats` requests run at a time, over all levels."""

    def __init__(self, specs: Iterable[LevelSpec], *, seats: int) -> None:
        found = tuple(specs)
        total = sum(spec.shares for spec in found)
        self.levels: dict[str, Level] = {}
        for spec in found:
            nominal = -(-seats * spec.shares // total)
            reserved = nominal * (100 - spec.lendable) // 100
            self.levels[spec.name] = Level(spec.name, spec.shares, nominal, reserved)
        self.seats = seats
        self.running = 0
        self.waiting = 0
        self._free = seats - sum(level.reserved for level in self.levels.values())
        self._now = 0.0
        self._count = 0

    def room(self, level: Level) -> bool:
        """Whether one more of this level may run: on its own seats, or on what no other level has reserved."""
        if self.running < self._free or level.running < level.reserved:
            return True
        owed = sum(max(0, other.reserved - other.running) for other in self.levels.values() if other is not level)
        return self.running + owed < self.seats

    def start(self, level: Level) -> None:
        level.running += 1
        self.running += 1

    def done(self, level: Level) -> None:
        level.running -= 1
        self.running -= 1

    def offer(self, level: Level, flow: str) -> Ticket | None:
        """A place in the queue; None when there is none left."""
        found = level.flows.get(flow)
        if found is None:
            found = level.flows[flow] = _Flow(level.now)
        if len(found.waiting) >= FLOW_LENGTH or level.waiting >= LEVEL_LENGTH:
            return None
        if not level.waiting:
            level.virtual = min(max(level.virtual, self._now), self._now + _LEVEL_DEBT)
        ticket = Ticket(level.name, flow)
        found.waiting.append(ticket)
        if len(found.waiting) == 1:
            found.virtual = max(found.virtual, level.now)
            self._push(level, flow, found)
        level.waiting += 1
        self.waiting += 1
        return ticket

    def leave(self, ticket: Ticket) -> None:
        """A request that does not wait any more: its time is up or its peer has gone."""
        if ticket.gone:
            return
        ticket.gone = True
        level = self.levels[ticket.level]
        level.flows[ticket.flow].waiting.remove(ticket)
        level.waiting -= 1
        self.waiting -= 1

    def next(self) -> Ticket | None:
        """The request to run now; its seat is taken. None when nobody waits, or there is no seat for those who do."""
        able = [level for level in self.levels.values() if level.waiting and self.room(level)]
        if not able:
            return None
        level = min(able, key=lambda one: one.virtual)
        self._now = level.virtual
        level.virtual += 1 / level.shares
        ticket = self._first(level)
        ticket.gone = True
        level.waiting -= 1
        self.waiting -= 1
        self.start(level)
        return ticket

    def _first(self, level: Level) -> Ticket:
        while True:
            virtual, _, name = heapq.heappop(level.heap)
            flow = level.flows.get(name)
            if flow is None or not flow.waiting:
                continue
            if flow.virtual > virtual:  # it was charged while it waited
                self._push(level, name, flow)
                continue
            level.now = max(level.now, virtual)
            flow.virtual += 1
            ticket = flow.waiting.popleft()
            if flow.waiting:
                self._push(level, name, flow)
            return ticket

    def charge(self, level: Level, flow: str, cost: float) -> None:
        """What a request cost beyond the one unit of every request, known only now."""
        found = level.flows.get(flow)
        if found is None:
            found = level.flows[flow] = _Flow(level.now)
        found.virtual = max(found.virtual, level.now) + cost
        level.virtual += cost / level.shares

    def forget(self) -> None:
        """Drop flows that have nothing waiting: debts too. For when nobody waits."""
        for level in self.levels.values():
            if not level.waiting:
                level.flows.clear()
                level.heap.clear()

    def _push(self, level: Level, name: str, flow: _Flow) -> None:
        self._count += 1
        heapq.heappush(level.heap, (flow.virtual, self._count, name))
