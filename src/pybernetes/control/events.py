"""Events: what happened to an object, as `kubectl describe` prints it (core/v1 Event).

Recording is synchronous and never waits. The same event again raises the count of the one there is (a patch); many
different messages with one reason become one "combined from similar events"; an object that never stops talking is
rate-limited. All three follow client-go's event correlator. The outbox is bounded: beyond it the newest are dropped.
"""

import asyncio
import logging
from collections import OrderedDict
from dataclasses import dataclass
from time import time, time_ns
from typing import NamedTuple, Protocol, TypeVar

from pybernetes.api import times
from pybernetes.api.errors import AlreadyExists, ApiError, Forbidden, NotFound
from pybernetes.api.objects import Key, Obj, name_of, namespace_of, revision_of, uid_of
from pybernetes.api.resources import EVENTS
from pybernetes.client import Client

log = logging.getLogger(__name__)

OUTBOX = 2000
REMEMBERED = 4096
SIMILAR_MAX, SIMILAR_SECONDS = 10, 600.0
BURST, REFILL_SECONDS = 25.0, 300.0
FLUSH_SECONDS = 3.0
_TRIES = 5


class EventSink(Protocol):
    """What a component needs to record events: a Recorder, or a list in tests."""

    def event(
        self, about: Obj, reason: str, message: str, *, type: str = "Normal", field_path: str = "", action: str = ""
    ) -> None:
        """Record that `reason` happened to `about`. `type` is Normal or Warning."""
        ...


class _Subject(NamedTuple):
    uid: str
    kind: str
    namespace: str
    name: str
    field_path: str


class _Sort(NamedTuple):
    """Events of one sort may be combined when there are many messages."""

    subject: _Subject
    type: str
    reason: str


class _Same(NamedTuple):
    sort: _Sort
    message: str


@dataclass(slots=True)
class _Pending:
    event: Obj
    more: int = 0
    """Times it happened again while it waited."""


@dataclass(slots=True)
class _Known:
    name: str
    count: int


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float


class Recorder:
    """Records events as one component. `run` sends them; on cancel what is pending is flushed within 3 s."""

    def __init__(self, client: Client, component: str, *, host: str = "") -> None:
        self.client = client
        self.component = component
        self.host = host
        self._outbox: OrderedDict[_Same, _Pending] = OrderedDict()
        self._some = asyncio.Event()
        self._known: OrderedDict[_Same, _Known] = OrderedDict()
        self._messages: OrderedDict[_Sort, tuple[float, set[str]]] = OrderedDict()
        self._buckets: OrderedDict[_Subject, _Bucket] = OrderedDict()
        self.dropped = 0
        """Events not recorded because of the rate limit or the bound."""

    def event(
        self, about: Obj, reason: str, message: str, *, type: str = "Normal", field_path: str = "", action: str = ""
    ) -> None:
        subject = _Subject(uid_of(about), str(about.get("kind", "")), namespace_of(about), name_of(about), field_path)
        sort = _Sort(subject, type, reason)
        now = time_ns() / 1e9
        message = message if len(message) <= 1024 else message[:1021] + "..."
        same, message = self._combined(sort, message, now)
        if not self._allowed(subject, now):
            self.dropped += 1
            return
        if (pending := self._outbox.get(same)) is not None:
            pending.more += 1
            pending.event["message"] = message
            pending.event["lastTimestamp"] = times.stamp(time())
            return
        if len(self._outbox) >= OUTBOX:
            self.dropped += 1
            return
        self._outbox[same] = _Pending(self._new(about, sort, message, action))
        self._some.set()

    async def run(self) -> None:
        """Send until cancelled; then flush."""
        try:
            while True:
                await self._some.wait()
                await self._send_all()
        finally:
            try:
                async with asyncio.timeout(FLUSH_SECONDS):
                    await self._send_all()
            except TimeoutError:
                log.warning("events lost at stop component=%s count=%d", self.component, len(self._outbox))

    async def _send_all(self) -> None:
        while self._outbox:
            same, pending = next(iter(self._outbox.items()))
            sent = await self._send(same, pending)
            del self._outbox[same]
            if pending.more and sent:
                await self._again(same, pending, pending.more)
        self._some.clear()

    async def _send(self, same: _Same, pending: _Pending) -> bool:
        for attempt in range(_TRIES):
            try:
                if same in self._known and await self._again(same, pending, 1):
                    return True
                self._remember(same, await self.client.create(EVENTS, pending.event))
                return True
            except AlreadyExists:  # an answer to an earlier try was lost
                self._remember(same, pending.event)
                return True
            except (Forbidden, NotFound) as error:
                log.debug("event refused reason=%s why=%s", same.sort.reason, error)  # its namespace is going away
                return False
            except ApiError as error:
                log.warning("event not recorded reason=%s why=%s", same.sort.reason, error)
                if error.code < 500 and error.code != 429:
                    return False
            except (ConnectionError, TimeoutError) as error:
                log.debug("event not sent reason=%s why=%r", same.sort.reason, error)
            await asyncio.sleep(0.2 * 2**attempt)
        self.dropped += 1
        return False

    def _remember(self, same: _Same, event: Obj) -> None:
        _put(self._known, same, _Known(name_of(event), 1))

    async def _again(self, same: _Same, pending: _Pending, times: int) -> bool:
        """Raise the count of an event that is stored; False when it no longer is."""
        known = self._known.get(same)
        if known is None:
            return False
        patch = {
            "count": known.count + times,
            "lastTimestamp": pending.event["lastTimestamp"],
            "message": pending.event["message"],
        }
        key = Key(pending.event["metadata"]["namespace"], known.name)
        try:
            await self.client.patch(EVENTS, key, patch)
        except NotFound:
            self._known.pop(same, None)
            return False
        known.count += times
        self._known.move_to_end(same)
        return True

    def _combined(self, sort: _Sort, message: str, now: float) -> tuple[_Same, str]:
        began, messages = self._messages.get(sort, (now, set()))
        if now - began > SIMILAR_SECONDS:
            began, messages = now, set()
        if len(messages) < SIMILAR_MAX:
            messages.add(message)
        _put(self._messages, sort, (began, messages))
        if message in messages:
            return _Same(sort, message), message
        return _Same(sort, ""), f"(combined from similar events): {message}"

    def _allowed(self, subject: _Subject, now: float) -> bool:
        bucket = self._buckets.get(subject) or _Bucket(BURST, now)
        bucket.tokens = min(BURST, bucket.tokens + (now - bucket.at) / REFILL_SECONDS)
        bucket.at = now
        allowed = bucket.tokens >= 1
        if allowed:
            bucket.tokens -= 1
        _put(self._buckets, subject, bucket)
        return allowed

    def _new(self, about: Obj, sort: _Sort, message: str, action: str) -> Obj:
        subject = sort.subject
        namespace = subject.namespace or "default"
        now = times.stamp(time())
        involved = {
            "kind": subject.kind,
            "namespace": subject.namespace,
            "name": subject.name,
            "uid": subject.uid,
            "apiVersion": about.get("apiVersion", ""),
            "resourceVersion": revision_of(about),
            "fieldPath": subject.field_path,
        }
        source = {"component": self.component} | ({"host": self.host} if self.host else {})
        event: Obj = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"{subject.name}.{time_ns():x}", "namespace": namespace},
            "involvedObject": {field: value for field, value in involved.items() if value},
            "reason": sort.reason,
            "message": message,
            "source": source,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
            "type": sort.type,
            "reportingComponent": self.component,
            "reportingInstance": self.host,
        }
        if action:
            event["action"] = action
        return event


K = TypeVar("K")
V = TypeVar("V")


def _put(memory: OrderedDict[K, V], key: K, value: V) -> None:
    memory[key] = value
    memory.move_to_end(key)
    if len(memory) > REMEMBERED:
        memory.popitem(last=False)
