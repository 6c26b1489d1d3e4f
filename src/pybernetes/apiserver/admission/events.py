"""EventRateLimit: how fast events may be written into one namespace, and by one user.

A controller in a loop writes events without end, and each is a write of the store; others should not pay for it. Every
limit is charged for every event, whether or not another refuses it. Source: plugin/pkg/admission/eventratelimit (names,
words, the cache of 4,096 buckets a limit); unlike there it is always on, and the answer says when to come again.
"""

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

from pybernetes.api import resources
from pybernetes.api.errors import TooManyRequests

from .call import Call

_BUCKETS = 4096
"""Of one limit; past that the one unused longest is forgotten, so it is full when it comes again."""


class Rate(NamedTuple):
    """Events a second in the long run, and how many may come at once."""

    qps: float
    burst: int


OF_NAMESPACE = Rate(500.0, 5000)
OF_USER = Rate(250.0, 2500)
"""A thousand pods that come at once make some three thousand events in one namespace, a third by the scheduler."""


class EventRateLimit:
    """An admission step. `now` is in seconds, from any start."""

    def __init__(self, *, namespace: Rate, user: Rate, now: Callable[[], float] = time.monotonic) -> None:
        self._namespaces = Buckets(namespace)
        self._users = Buckets(user)
        self._now = now

    def __call__(self, call: Call) -> None:
        """Raises TooManyRequests. A delete, and what a dry run would write, costs nothing."""
        if call.row.storage is not resources.EVENTS or call.new is None or call.dry_run:
            return
        now = self._now()
        charges = (
            ("Namespace", call.namespace, self._namespaces.take(call.namespace, now=now)),
            ("User", call.user.name, self._users.take(call.user.name, now=now)),
        )
        refused = [(type_, key) for type_, key, wait in charges if wait]
        if refused:
            type_, key = refused[-1]
            seconds = max(1, math.ceil(max(wait for _, _, wait in charges)))
            text = f"Too many requests: limit reached on type {type_} for key {key}"
            raise TooManyRequests(text, details={"retryAfterSeconds": seconds})


class Buckets:
    """A token bucket for each key, all of one rate."""

    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()
        """Tokens, and when there were so many; the key used last is last."""

    def take(self, key: str, *, now: float) -> float:
        """Take a token: 0, or the seconds until there is one."""
        tokens, then = self._left.pop(key, (float(self._rate.burst), now))
        tokens = min(self._rate.burst, tokens + (now - then) * self._rate.qps)
        wait = 0.0 if tokens >= 1 else (1 - tokens) / self._rate.qps
        self._left[key] = (tokens if wait else tokens - 1, now)
        if len(self._left) > _BUCKETS:
            self._left.popitem(last=False)
        return wait
