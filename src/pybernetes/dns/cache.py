"""Forwarded answers and denials, kept for as long as they say, within bounds."""

from collections import OrderedDict
from typing import NamedTuple

from .foreign import Reply, aged
from .message import CD, Query
from .question import Rcode

_FAILURE_SECONDS = 5

CacheKey = tuple[bytes, bool, bool]


def key_of(query: Query) -> CacheKey:
    """Replies differ by question, by the wish for DNSSEC records, and by checking disabled."""
    return query.wire.lower(), bool(query.edns and query.edns.dnssec), bool(query.flags & CD)


class _Kept(NamedTuple):
    reply: Reply
    born: float
    until: float


class AnswerCache:
    """Least recently used goes first when it is full. The clock is the caller's."""

    def __init__(self, *, entries: int, seconds: int, denial_seconds: int, least_seconds: int) -> None:
        self.entries = entries
        self.seconds, self.denial_seconds, self.least_seconds = seconds, denial_seconds, least_seconds
        self.hits = {"success": 0, "denial": 0}
        self.misses = 0
        self.evictions = 0
        self._kept: OrderedDict[CacheKey, _Kept] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, query: Query, *, now: float) -> Reply | None:
        """What is kept for a question, its TTLs as they are now."""
        key = key_of(query)
        kept = self._kept.get(key)
        if kept is not None and now < kept.until:
            self._kept.move_to_end(key)
            self.hits["denial" if kept.reply.denial else "success"] += 1
            return aged(kept.reply, int(now - kept.born))
        self._kept.pop(key, None)
        self.misses += 1
        return None

    def put(self, query: Query, reply: Reply, *, now: float) -> None:
        """Keep a reply if it may be kept: not a truncated one, and of errors only SERVFAIL, for five seconds."""
        seconds = self._lasting(reply)
        if not seconds or not self.entries:
            return
        key = key_of(query)
        self._kept[key] = _Kept(reply, now, now + seconds)
        self._kept.move_to_end(key)
        while len(self._kept) > self.entries:
            self._kept.popitem(last=False)
            self.evictions += 1

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
