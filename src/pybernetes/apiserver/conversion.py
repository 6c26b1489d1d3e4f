"""Custom resources in each version of their definition, as they are read and as they are stored.

A record is restored by the schema of the version it was stored in (pruned, defaulted: the schema may be another one
since), brought into the version asked for by name alone or by a webhook, and pruned by that version's schema. What
comes out is a record again, so that whatever encodes, selects or patches objects needs to know nothing of versions.
Source: apiextensions-apiserver, pkg/apiserver/customresource_handler.go and conversion.
"""

import asyncio
import time
import uuid
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import NamedTuple

from pybernetes.api.kinds.custom import CustomStrategy
from pybernetes.api.objects import Obj, copied, decode, name_of
from pybernetes.api.resources import Resource
from pybernetes.api.schema import Type
from pybernetes.store import Record, Revision

from .codec import in_order
from .metrics import ConversionCall
from .webhooks import CallFailed
from .webhooks.conversion import CALL, ConversionFailed, converted, review, shown, version_of

TIMEOUT_SECONDS = 30.0
_BATCH = 500
"""Objects in one review; longer lists are asked for in several, one after another."""
_MOST_BYTES = 32 << 20
"""Of the records that a definition keeps in other forms than the stored one; past that the least used go."""
_OVERHEAD = 200

Ask = Callable[[Obj, Obj], Awaitable[Obj]]
"""Post a review to a clientConfig. Raises CallFailed."""


class _Kept(NamedTuple):
    """What a stored value looks like in some version; None when it is the same."""

    source: bytes
    value: bytes | None

    @property
    def size(self) -> int:
        return _OVERHEAD + len(self.value or b"")


_Slot = tuple[str, str, bytes]
"""Key, API version, stored value."""
_Outcome = bytes | ConversionFailed | None
"""What came of a conversion that is under way: None when who asked for it went away."""


class Converter:
    """The records of one definition; `strategies` are those of all its versions, by name, served or not."""

    def __init__(
        self,
        crd: Obj,
        strategies: Mapping[str, CustomStrategy],
        *,
        ask: Ask,
        observe: Callable[[ConversionCall], None] = lambda _: None,
    ) -> None:
        spec = crd["spec"]
        conversion = spec.get("conversion") or {}
        self._name = name_of(crd)
        self._strategies = {f"{spec['group']}/{version}": one for version, one in strategies.items()}
        self._webhook: Obj | None = conversion.get("webhook") if conversion.get("strategy") == "Webhook" else None
        self._ask = ask
        self._observe = observe
        self._kept: OrderedDict[tuple[str, str, Revision], _Kept] = OrderedDict()
        self._bytes = 0
        self._pending: dict[_Slot, asyncio.Future[_Outcome]] = {}

    async def records(self, found: Sequence[Record], row: Resource) -> list[Record]:
        """These as the row's version has them, in order; the very record where that is how it is stored.

        Raises ConversionFailed.
        """
        version = row.api_version
        done = [self._known(record, version) for record in found]
        missing = [record for record, known in zip(found, done, strict=True) if known is None]
        if missing:
            made: list[Record] = []
            for start in range(0, len(missing), _BATCH):
                if start:
                    await asyncio.sleep(0)  # others have their turn
                made += await self._made(missing[start : start + _BATCH], version)
            fresh = iter(made)
            return [known or next(fresh) for known in done]
        return [known for known in done if known is not None]

    async def convert(self, obj: Obj, version: str) -> Obj:
        """An object of any version in the API version named. Raises ConversionFailed."""
        (found,) = await self._converted([obj], version)
        return found

    def type(self, version: str) -> Type | None:
        """Of the objects of a version, served or not; None when there is no such version."""
        strategy = self._strategies.get(version)
        return None if strategy is None else strategy.type

    def note(self, record: Record, row: Resource) -> None:
        """What was just written in the row's version is as it would be read."""
        if record.value.startswith(_head(row.api_version)):
            self._keep(record, row.api_version, None)

    def is_settled(self, record: Record, seen: Record, row: Resource) -> bool:
        """Whether a record, seen so, is stored as it would be written today in the row's storage version."""
        return seen is record and record.value.startswith(_head(row.storage.api_version))

    def _known(self, record: Record, version: str) -> Record | None:
        slot = (record.key, version, record.revision)
        kept = self._kept.get(slot)
        if kept is None or (kept.source is not record.value and kept.source != record.value):
            return None
        self._kept.move_to_end(slot)
        return record if kept.value is None else record._replace(value=kept.value)

    def _keep(self, record: Record, version: str, value: bytes | None) -> Record:
        slot = (record.key, version, record.revision)
        if (before := self._kept.pop(slot, None)) is not None:
            self._bytes -= before.size
        kept = self._kept[slot] = _Kept(record.value, value)
        self._bytes += kept.size
        while self._bytes > _MOST_BYTES:
            _, gone = self._kept.popitem(last=False)
            self._bytes -= gone.size
        return record if value is None else record._replace(value=value)

    async def _made(self, records: Sequence[Record], version: str) -> list[Record]:
        """At once what needs no webhook; the rest together."""
        made: dict[int, Record] = {}
        foreign: dict[int, Record] = {}
        for index, record in enumerate(records):
            if self._webhook is not None and not record.value.startswith(_head(version)):
                foreign[index] = record
                continue
            (obj,) = await self._converted([self._restored(record)], version)
            value = in_order(obj)
            made[index] = self._keep(record, version, None if value == record.value else value)
        if foreign:
            values = await self._shared(list(foreign.values()), version)
            for (index, record), value in zip(foreign.items(), values, strict=True):
                made[index] = self._keep(record, version, value)
        return [made[index] for index in range(len(records))]

    async def _shared(self, records: Sequence[Record], version: str) -> list[bytes]:
        """By the webhook. What somebody else is asking for already is waited for, and not asked for twice."""
        slots = [(record.key, version, record.value) for record in records]
        found: dict[_Slot, bytes] = {}
        while left := [index for index, slot in enumerate(slots) if slot not in found]:
            mine = [index for index in left if slots[index] not in self._pending]
            theirs = [self._pending[slots[index]] for index in left if slots[index] in self._pending]
            found |= await self._asked({slots[index]: records[index] for index in mine}, version)
            if theirs:
                await asyncio.wait(set(theirs))
            for index, future in zip((index for index in left if index not in mine), theirs, strict=True):
                outcome = future.result()
                if isinstance(outcome, ConversionFailed):
                    raise outcome
                if outcome is not None:
                    found[slots[index]] = outcome
        return [found[slot] for slot in slots]

    async def _asked(self, wanted: Mapping[_Slot, Record], version: str) -> dict[_Slot, bytes]:
        """Ask, while others wait for the same."""
        if not wanted:
            return {}
        for slot in wanted:
            self._pending[slot] = asyncio.get_running_loop().create_future()
        outcomes: dict[_Slot, _Outcome] = dict.fromkeys(wanted)
        try:
            objs = await self._converted([self._restored(record) for record in wanted.values()], version)
            values = {slot: in_order(obj) for slot, obj in zip(wanted, objs, strict=True)}
            outcomes |= values
            return values
        except ConversionFailed as error:
            outcomes = dict.fromkeys(wanted, error)
            raise
        finally:
            for slot in wanted:
                self._pending.pop(slot).set_result(outcomes[slot])

    def _restored(self, record: Record) -> Obj:
        obj: Obj = decode(record.value)
        strategy = self._strategies.get(obj["apiVersion"])
        if strategy is None:
            text = f"request to convert CR from an invalid group/version: {obj['apiVersion']}"
            raise ConversionFailed(text)
        strategy.restore(obj)
        return obj

    async def _converted(self, objs: Sequence[Obj], version: str) -> list[Obj]:
        """Objects in any version in this one; what is so already comes back itself."""
        target = self._strategies[version]
        if all(obj["apiVersion"] == version for obj in objs):
            return list(objs)
        if self._webhook is None:
            found = [copied(obj | {"apiVersion": version}) for obj in objs]
        else:
            found = await self._answered(objs, version)
        for obj in found:
            target.trim(obj)
        return found

    async def _answered(self, objs: Sequence[Obj], version: str) -> list[Obj]:
        """All by one call of the webhook; none of them is in the version that is wanted."""
        begun = time.perf_counter()
        failure = CALL
        try:
            found = await self._called(objs, version)
            failure = ""
            return found
        except ConversionFailed as error:
            failure = error.failure or CALL
            raise
        finally:
            source = str(objs[0]["apiVersion"])
            took = time.perf_counter() - begun
            self._observe(ConversionCall(self._name, _short(source), _short(version), took, failure))

    async def _called(self, objs: Sequence[Obj], version: str) -> list[Obj]:
        assert self._webhook is not None
        spoken = version_of(self._webhook.get("conversionReviewVersions") or ())
        uid = str(uuid.uuid4())
        question = review(objs, version, uid=uid, version=spoken)
        try:
            answer = await self._ask(self._webhook.get("clientConfig") or {}, question)
        except CallFailed as error:
            text = f"conversion webhook for {shown(objs[0])} failed: {error.cause}"
            raise ConversionFailed(text, failure=CALL) from error
        return converted(answer, objs, version, uid=uid, version=spoken)


def _head(version: str) -> bytes:
    """How a value stored in a version begins."""
    return b'{"apiVersion":"%s",' % version.encode()


def _short(version: str) -> str:
    return version.rpartition("/")[2]
