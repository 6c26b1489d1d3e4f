"""How many UDP answers a client gets: a token bucket by address, so that nobody is flooded in somebody else's name.

Who is over the limit is told every second time to come back over TCP, where an address cannot be borrowed; the other
questions are dropped. Neither kind of reply is longer than its question, so a forged one gains nothing.
"""

from collections import OrderedDict

CLIENTS = 10_000
"""Addresses kept; beyond, the one that has been silent for longest is forgotten and begins with a full bucket."""


class Limit:
    """`rate` answers a second for each address, `burst` at once after a silence. The clock is the caller's."""

    def __init__(self, *, rate: int, burst: int, clients: int = CLIENTS) -> None:
        self.clients = clients
        self._each = 1 / rate
        self._most = burst / rate
        self._full_at: OrderedDict[str, float] = OrderedDict()
        """When the bucket of an address will be full again: one figure holds both its level and its time."""

    def __len__(self) -> int:
        return len(self._full_at)

    def allows(self, client: str, *, now: float) -> bool:
        """Take one token; False when there is none."""
        kept = self._full_at
        full = max(now, kept.pop(client, now)) + self._each
        within = full - now <= self._most + 1e-9
        kept[client] = full if within else full - self._each
        if len(kept) > self.clients:
            kept.popitem(last=False)
        return within


def limit_of(rate: int, burst: int) -> Limit | None:
    """None for no limit (rate 0). A burst of 0 is one second's worth."""
    return Limit(rate=rate, burst=burst or rate) if rate else None
