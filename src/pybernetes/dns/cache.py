"""Forwarded answers and denials, kept for as long as they say, within bounds."""

from collections import OrderedDict
from dataclasses import dataclass

from .foreign import Reply, aged, lasting
from .message import CD, Query, uncased
from .question import Rcode

_FAILURE_SECONDS = 5

CacheKey = tuple[bytes, bool, bool]


def key_of(query: Query) -> CacheKey:
    """Replies differ by question, by the wish for DNSSEC records, and by checking disabled."""
    return uncased(query.wire), bool(query.edns and query.edns.dnssec), bool(query.flags & CD)


STALE_TTL = 30
"""Seconds that an answer past its time is said to hold (RFC 8767)."""
_PREFETCH_HITS, _PREFETCH_SHARE = 2, 0.1
"""An answer asked for so often is asked anew in the last tenth of its time, before anybody has to wait for it."""


@dataclass(slots=True)
class _Kept:
    reply: Reply
    born: float
    until: float
    hits: int = 0


class AnswerCache:
    """Least recently used goes first when it is full. The clock is the caller's."""

    def __init__(
        self, *, entries: int, seconds: int, denial_seconds: int, least_seconds: int, stale_seconds: int = 0
    ) -> None:
        self.entries = entries
        self.stale_seconds = stale_seconds
        self.seconds, self.denial_seconds, self.least_seconds = seconds, denial_seconds, least_seconds
        self.hits = {"success": 0, "denial": 0}
        self.misses = 0
        self.evictions = {"success": 0, "denial": 0}
        self.stale_served = 0
        self._kept: OrderedDict[CacheKey, _Kept] = OrderedDict()

    def clear(self) -> None:
        """Forget all answers; what was counted stays."""
        self._kept.clear()

    def __len__(self) -> int:
        return len(self._kept)

    def sizes(self) -> dict[str, int]:
        """How many answers and denials are kept."""
        found = {"success": 0, "denial": 0}
        for kept in self._kept.values():
            found[_kind(kept.reply)] += 1
        return found

    def get(self, query: Query, *, now: float) -> Reply | None:
        """What is kept for a question, its TTLs as they are now."""
        key = key_of(query)
        kept = self._kept.get(key)
        if kept is not None and now < kept.until:
            self._kept.move_to_end(key)
            kept.hits += 1
            self.hits[_kind(kept.reply)] += 1
            return aged(kept.reply, int(now - kept.born))
        if kept is not None and now >= kept.until + self.stale_seconds:
            del self._kept[key]
        self.misses += 1
        return None

    def due(self, query: Query, *, now: float) -> bool:
        """Whether what is kept is popular and runs out soon. True once for one that is kept."""
        kept = self._kept.get(key_of(query))
        if kept is None or kept.hits < _PREFETCH_HITS or now < kept.until - (kept.until - kept.born) * _PREFETCH_SHARE:
            return False
        kept.hits = 0
        return True

    def keeps(self, query: Query) -> bool:
        """Whether there is an answer for it, in time or not."""
        return key_of(query) in self._kept

    def stale(self, query: Query, *, now: float) -> Reply | None:
        """What held until a while ago, for when nobody can say what holds now; failures are not kept that long."""
        kept = self._kept.get(key_of(query))
        if kept is None or now >= kept.until + self.stale_seconds or kept.reply.body.rcode == Rcode.SERVFAIL:
            return None
        self.stale_served += 1
        return lasting(kept.reply, STALE_TTL)

    def put(self, query: Query, reply: Reply, *, now: float) -> None:
        """Keep a reply if it may be kept: not a truncated one, and of errors only SERVFAIL, for five seconds.

        A failure does not take the place of an answer that may still be served stale.
        """
        seconds = self._lasting(reply)
        was = self._kept.get(key_of(query))
        fails = reply.body.rcode == Rcode.SERVFAIL
        if fails and was and was.reply.body.rcode != Rcode.SERVFAIL and now < was.until + self.stale_seconds:
            return
        if not seconds or not self.entries:
            return
        key = key_of(query)
        self._kept[key] = _Kept(reply, now, now + seconds)
        self._kept.move_to_end(key)
        while len(self._kept) > self.entries:
            _, gone = self._kept.popitem(last=False)
            self.evictions[_kind(gone.reply)] += 1

    def _lasting(self, reply: Reply) -> int:
        if reply.truncated:
            return 0
        match reply.body.rcode:
            case Rcode.SERVFAIL:
                return _FAILURE_SECONDS
            case Rcode.NOERROR | Rcode.NXDOMAIN:
                longest = self.denial_seconds if reply.denial else self.seconds
                return min(longest, max(self.least_seconds, reply.lasting))
        return 0


def _kind(reply: Reply) -> str:
    return "denial" if reply.denial else "success"
