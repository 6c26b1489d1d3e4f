"""The generic verbs over the store: every resource is read and written here, whatever it is.

A write is: decode, default, admit, prepare, allocate, validate, encode, compare-and-set. Reads come from the watch
cache. What kinds differ in is in their strategies (api.kinds) and in the admission steps.
"""

import asyncio
import contextlib
import random
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from weakref import WeakValueDictionary

from pybernetes.api import names, times
from pybernetes.api.errors import (
    AlreadyExists,
    ApiError,
    BadRequest,
    Conflict,
    FieldError,
    InternalError,
    Invalid,
    NotFound,
)
from pybernetes.api.objects import Obj, copied, decode, encode, is_deleting, metadata, name_of, uid_of
from pybernetes.api.resources import EVENTS, SERVICES, Resource
from pybernetes.api.scheme import Scheme
from pybernetes.store import Record, Revision, Stale, Store

from . import deletion
from .admission import VALIDATION, Admission, Call, node_restriction
from .admission.quotas import Quotas
from .admission.timing import AdmissionTimes
from .allocate import Allocator
from .auth.authorize import Authorizer
from .codec import restored, stored
from .conversion import Converter
from .deletion import DeleteOptions
from .managers import Versions, tracked, worth_tracking
from .served import Served, checked
from .users import MASTERS, User
from .watchcache import Shelf, WatchCache
from .webhooks import Caller
from .webhooks.dispatch import Webhooks
from .writes import Write, Written, single_owners

_TRIES = 8
_NO_TURN = nullcontext()
_SELF = User("system:apiserver", (MASTERS,))
_OTHER_BODY = frozenset({"binding", "scale"})
"""Parts whose body is not the object: who reads it shows it to the webhooks."""
EVENT_SECONDS = 3600.0
"""Events are deleted so long after their last write."""

Edit = Callable[[Obj], Obj]
"""The wanted object of the one that is there (a fresh dict of the caller's own). May raise ApiError."""


class Registry:
    """`now` is POSIX time."""

    def __init__(
        self,
        store: Store,
        cache: WatchCache,
        scheme: Scheme,
        *,
        allocator: Allocator,
        admission: Sequence[Admission],
        validation: Sequence[Admission] = VALIDATION,
        now: Callable[[], float] = time.time,
        rng: random.Random | None = None,
    ) -> None:
        self.cache = cache
        self.authorizer = Authorizer(cache)
        self.scheme = scheme
        self.now = now
        self.allocator = allocator
        self._store = store
        self._admission = admission
        self._validation = validation
        self._rng = rng or random.Random()
        self.converters: dict[str, Converter] = {}
        """By storage prefix, of custom resources."""
        self._served: dict[tuple[str, str, str], Served] = {}
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self.caller = Caller(self)
        self.webhooks = Webhooks(cache, scheme, self.caller)
        self._quotas = Quotas(self)
        self.times = AdmissionTimes()
        cache.observe(SERVICES.prefix, self._observe_service)
        scheme.changed.append(self._served.clear)

    def served(self, row: Resource) -> Served:
        key = (row.group, row.version, row.plural)
        found = self._served.get(key)
        if found is None:
            found = self._served[key] = Served(
                row, self.scheme, self.converters.get(row.prefix) if row.custom else None
            )
        return found

    def shelf(self, row: Resource) -> Shelf:
        return self.cache.shelf(row.prefix)

    # reading

    def find(self, row: Resource, namespace: str, name: str) -> Record | None:
        """From memory, as it is now."""
        item = self.shelf(row).get(row.key(namespace, name))
        return item.record if item else None

    def read(self, row: Resource, namespace: str, name: str) -> Obj | None:
        """The object of a built-in kind, from memory."""
        record = self.find(row, namespace, name)
        return self.served(row).codec.obj(record) if record else None

    def select(self, row: Resource, namespace: str = "") -> list[Obj]:
        """All objects of a built-in kind, from memory."""
        codec = self.served(row).codec
        return [codec.obj(item.record) for item in self.shelf(row).scan(namespace)]

    def get(self, row: Resource, namespace: str, name: str) -> Record:
        """Raises NotFound."""
        record = self.find(row, namespace, name)
        if record is None:
            raise NotFound.of(row.plural, name, group=row.group)
        return record

    async def in_version(self, obj: Obj, row: Resource, other: Resource) -> Obj:
        """An object of one row as another row of the same storage shows it. Raises ConversionFailed."""
        return await self.served(row).in_version(obj, other)

    # writing

    async def create(self, row: Resource, obj: Obj, *, namespace: str, write: Write) -> Written:
        """Raises AlreadyExists, Invalid, BadRequest, Forbidden."""
        meta = metadata(obj)
        if meta.get("resourceVersion") and not write.dry_run:  # a dry run does not get so far as to be asked
            raise BadRequest("resourceVersion should not be set on objects to be created")
        _place(obj, row, namespace)
        single_owners(obj, write)
        await self.cache.fresh()
        if meta.get("name") or not meta.get("generateName"):
            async with self._turn(row, row.key(namespace, name_of(obj))):
                return await self._create(row, obj, namespace, write)
        base = str(meta["generateName"])
        for attempt in range(_TRIES):
            again = copied(obj)
            again["metadata"]["name"] = names.generated(base, self._rng)
            try:
                async with self._turn(row, row.key(namespace, name_of(again))):
                    return await self._create(row, again, namespace, write)
            except AlreadyExists as error:
                if attempt == _TRIES - 1:
                    raise _exhausted(error) from error
        raise InternalError("unreachable")

    async def _create(self, row: Resource, obj: Obj, namespace: str, write: Write) -> Written:
        served = self.served(row)
        key = row.key(namespace, name_of(obj))
        try:
            await self._ready(Versions(served), obj, None, write, key=key)
            value = await served.kept(obj)
            if write.dry_run:
                return Written(await served.one(Record(key, value, 0, 0)), created=True)
            ttl = EVENT_SECONDS if row.storage is EVENTS else None
            record = await self._seen(await self._store.create(key, value, ttl=ttl))
        except Stale:
            raise AlreadyExists.of(row.plural, name_of(obj), group=row.group) from None
        finally:
            self._settle(row, key)
        return Written(await served.written(record), created=True)

    async def update(
        self,
        row: Resource,
        name: str,
        edit: Edit,
        *,
        namespace: str,
        write: Write,
        part: str = "",
        patch: bool = False,
        absent: Callable[[], Obj] | None = None,
        versions: Versions | None = None,
    ) -> Written:
        """Read, edit, write, again while others write too; `absent` makes what is not there.

        A resourceVersion or uid in the edited object that is not the current one is a Conflict.
        """
        served = self.served(row)
        key = row.key(namespace, name)
        for attempt in range(_TRIES * 2):
            await self.cache.fresh()
            item = self.shelf(row).get(key)
            if item is None:
                if absent is None:
                    raise NotFound.of(row.plural, name, group=row.group)
                return await self.create(row, absent(), namespace=namespace, write=write)
            try:
                async with self._turn(row, key):
                    known = versions or Versions(served)
                    return await self._update(known, item.record, edit, write, part=part, patch=patch)
            except Stale as error:
                if attempt == _TRIES * 2 - 1:
                    raise Conflict.of(row.plural, name, group=row.group) from error
        raise InternalError("unreachable")

    async def _update(
        self, versions: Versions, record: Record, edit: Edit, write: Write, *, part: str, patch: bool
    ) -> Written:
        served = versions.served
        row, codec = served.row, served.codec
        seen = await served.one(record)
        old = codec.obj(seen)
        new = await versions.settle(lambda: edit(codec.obj(seen)))
        self._match(row, new, old, required=not patch and not served.strategy.unconditional_update)
        expected = metadata(new).get("resourceVersion")
        if not patch:
            single_owners(new, write)
        try:
            await self._ready(versions, new, old, write, key=record.key, part=part)
            if deletion.finished(new) and not write.dry_run:
                gone = await self._remove(record)
                return gone._replace(record=gone.record._replace(value=seen.value))
            new["metadata"]["resourceVersion"] = old["metadata"]["resourceVersion"]
            if new == old and served.unchanged(record, seen):
                return Written(record)
            value = await served.kept(new)
            if new == old and decode(value) == decode(record.value):
                return Written(seen)
            if write.dry_run:
                return Written(await served.one(record._replace(value=value)))
            written = await self._seen(await self._store.update(record.key, value, expect=record.revision))
        except Stale:
            if expected and not patch:
                raise Conflict.of(row.plural, name_of(old), group=row.group) from None
            raise
        finally:
            self._settle(row, record.key)
        return Written(await served.written(written))

    async def write_status(self, row: Resource, name: str, edit: Edit, *, namespace: str) -> Written:
        """A status that the server itself keeps."""
        write = Write(user=_SELF, manager="kube-apiserver")
        return await self.update(row, name, edit, namespace=namespace, write=write, part="status", patch=True)

    def _turn(self, row: Resource, key: str) -> AbstractAsyncContextManager[None]:
        """One writer of a Service at a time: between a claim and its settling nobody else's is undone."""
        if row is not SERVICES:
            return _NO_TURN
        return self._turns.setdefault(key, asyncio.Lock())

    def _match(self, row: Resource, new: Obj, old: Obj, *, required: bool) -> None:
        """The preconditions that an object brings. Raises Conflict, Invalid, BadRequest."""
        meta, before = new["metadata"], old["metadata"]
        name = before["name"]
        meta.setdefault("name", name)
        if row.namespaced:
            meta.setdefault("namespace", before["namespace"])
        if meta["name"] != name:
            raise BadRequest(f"the name of the object ({meta['name']}) does not match the name on the URL ({name})")
        if meta.get("namespace") != before.get("namespace"):
            raise _elsewhere()
        version = meta.get("resourceVersion")
        if version and version != before["resourceVersion"]:
            raise Conflict.of(row.plural, name, group=row.group)
        if not version and required:
            problem = FieldError.invalid("metadata.resourceVersion", 0, "must be specified for an update")
            raise Invalid.of(row.kind, name, [problem], group=row.group)
        if meta.get("uid") and meta["uid"] != before["uid"]:
            why = f"Precondition failed: UID in precondition: {meta['uid']}, UID in object meta: {before['uid']}"
            raise Conflict.of(row.plural, name, group=row.group, why=why)

    async def _ready(
        self, versions: Versions, new: Obj, old: Obj | None, write: Write, *, key: str, part: str = ""
    ) -> None:
        """Make an object what is stored, in place. Raises what is wrong with it."""
        row, strategy = versions.served.row, versions.served.strategy
        strategy.default(new)
        call = self._call(row, write, new=new, old=old, part=part)
        if old is None:
            self._born(new)
            strategy.prepare(new, None)  # a Job's selector holds its uid
            await self._admit(call)
            strategy.default(new)
            single_owners(new, write, admitted=True)
            strategy.stamp(new, None, now=self.now())
        else:
            await self._admit(call)
            single_owners(new, write, admitted=True)
            if part != "binding":  # the server's own edit, status and all
                strategy.prepare(new, old, part=part)
                strategy.stamp(new, old, now=self.now(), part=part)
        if row is SERVICES and not part:
            self.allocator.claim(key, new, old)
        if not write.apply and worth_tracking(old, write.user):
            await self._track(new, old, versions, write, part=part)
        problems = list(strategy.validate(new, old, part=part))
        problems = problems or list(strategy.untimely(new, old, now=self.now(), part=part))
        if problems:
            raise Invalid.of(row.kind, name_of(new), problems, group=row.group)
        if old is None and self.shelf(row).get(key) is not None:  # before a quota is charged for nothing
            raise AlreadyExists.of(row.plural, name_of(new), group=row.group)
        write.warn(strategy.warnings(new, old, part=part))
        await self._approve(call)

    async def _track(self, new: Obj, old: Obj | None, versions: Versions, write: Write, *, part: str) -> None:
        """Enter what was changed into the managed fields."""
        now = self.now()
        found = await versions.settle(lambda: tracked(new, old, versions, manager=write.manager, part=part, now=now))
        new["metadata"].pop("managedFields", None)
        new["metadata"] |= {name: value for name, value in found.items() if value}

    def _call(self, row: Resource, write: Write, *, new: Obj | None, old: Obj | None, part: str = "") -> Call:
        return Call(
            row=row,
            part=part,
            new=new,
            old=old,
            user=write.user,
            registry=self,
            dry_run=write.dry_run,
            manager=write.manager,
            warnings=write.warnings,
            annotations=write.annotations,
        )

    async def _admit(self, call: Call) -> None:
        """What may change the object: the built-in steps, then the mutating webhooks."""
        with self.times.step(call, kind="admit"):
            self.times.run(self._admission, call, kind="admit")
            if call.part not in _OTHER_BODY and self.webhooks.mutators(call.row, call.part, call.operation):
                await self.webhooks.mutate(call, lambda: call.run(self._admission))

    async def _approve(self, call: Call) -> None:
        """What may only refuse it, as it will be stored."""
        with self.times.step(call, kind="validate"):
            self.times.run(self._validation, call, kind="validate")
            if call.part not in _OTHER_BODY and self.webhooks.validators(call.row, call.part, call.operation):
                await self.webhooks.validate(call)
            if self._quotas.concern(call):
                await self._quotas.charge(call)

    async def consult(self, call: Call) -> None:
        """Show admission a body that is not the object: a Binding, a Scale, an Eviction, the options of an exec."""
        node_restriction(call)
        if self.webhooks.wants(call.row, call.part, call.operation):
            await self.webhooks.mutate(call, lambda: None)
            await self.webhooks.validate(call)

    def _born(self, new: Obj) -> None:
        meta = new["metadata"]
        meta["uid"] = str(uuid.UUID(int=self._rng.getrandbits(128), version=4))
        meta["creationTimestamp"] = times.stamp(self.now())

    def _settle(self, row: Resource, key: str) -> None:
        """Give back what a failed write claimed: the Service is what the cache says, now and at its next change."""
        if row is SERVICES:
            item = self.shelf(row).get(key)
            self._observe_service(key, item.record if item else None)

    def _observe_service(self, key: str, record: Record | None) -> None:
        self.allocator.settle(key, decode(record.value) if record else None)

    async def delete(
        self, row: Resource, name: str, options: DeleteOptions, *, namespace: str, write: Write
    ) -> Written:
        """Raises NotFound, Conflict. The record of a custom resource comes as it is stored."""
        served = self.served(row)
        key = row.key(namespace, name)
        for _ in range(_TRIES):
            await self.cache.fresh()
            item = self.shelf(row).get(key)
            if item is None:
                raise NotFound.of(row.plural, name, group=row.group)
            try:
                return await self._delete(served, item.record, options, write)
            except Stale:
                continue
        raise Conflict.of(row.plural, name, group=row.group)

    async def _delete(self, served: Served, record: Record, options: DeleteOptions, write: Write) -> Written:
        row = served.row
        obj = old = restored(record) if row.custom else served.codec.obj(record)
        deletion.check(obj, options, row)
        if row.custom and self.webhooks.wants(row, "", "DELETE"):  # else a dead conversion webhook keeps nothing alive
            old = served.codec.obj(await served.one(record))
        call = self._call(row, write, new=None, old=old)
        call.dry_run = write.dry_run or options.dry_run
        await self._admit(call)
        await self._approve(call)
        if not is_deleting(obj):
            served.strategy.terminating(obj)
        if served.strategy.orphans and not options.policy:
            write.warn(filter(None, [served.strategy.orphans_warning]))
            options = deletion.orphaning(options, obj)
        grace = served.strategy.grace_seconds(obj, options.grace_seconds)
        act, marked = deletion.plan(obj, options, grace_seconds=grace, now=self.now())
        if write.dry_run or options.dry_run or act == "keep":
            return Written(record, deleted=act == "remove")
        if act == "remove":
            return await self._remove(record)
        value = checked(stored(marked, row.storage)) if row.custom else await served.kept(marked)
        return Written(await self._seen(await self._store.update(record.key, value, expect=record.revision)))

    async def purge(self, record: Record) -> None:
        """Delete a custom resource whose definition goes: nobody is asked, but its finalizers hold it."""
        options = DeleteOptions(policy="Background")
        act, marked = deletion.plan(restored(record), options, grace_seconds=0, now=self.now())
        with contextlib.suppress(Stale):  # who comes by again sees what it is now
            if act == "remove":
                await self._remove(record)
            elif act == "mark":
                del marked["metadata"]["resourceVersion"]
                await self._seen(await self._store.update(record.key, encode(marked), expect=record.revision))

    async def _remove(self, record: Record) -> Written:
        return Written(await self._seen(await self._store.delete(record.key, expect=record.revision)), deleted=True)

    async def _seen(self, record: Record) -> Record:
        """A write is answered when the cache has it: what its author does next finds it, authorization included."""
        await self.cache.reached(record.revision)
        return record

    async def delete_all(
        self, row: Resource, records: Sequence[Record], options: DeleteOptions, *, write: Write
    ) -> list[Record]:
        """Delete these; what is gone already, or changes so often that it cannot be, is left out."""
        gone = []
        for record in records:
            obj = restored(record)
            namespace, name = metadata(obj).get("namespace", ""), name_of(obj)
            only = DeleteOptions(
                grace_seconds=options.grace_seconds, policy=options.policy, uid=uid_of(obj), dry_run=options.dry_run
            )
            try:
                gone.append((await self.delete(row, name, only, namespace=namespace, write=write)).record)
            except (NotFound, Conflict):
                continue
        return gone

    async def scan(
        self, row: Resource, namespace: str, *, after: str, limit: int, at: Revision
    ) -> tuple[Sequence[Record], Revision]:
        """Records as they were at a revision, from the store. Raises Compacted."""
        prefix = f"{row.prefix}{namespace}/" if namespace else row.prefix
        page = await self._store.scan(prefix, after=after, limit=limit, at=at)
        return page.records, page.revision


def _place(obj: Obj, row: Resource, namespace: str) -> None:
    """The namespace of the URL. Raises BadRequest when the object says another."""
    meta = obj["metadata"]
    if not row.namespaced:
        if meta.get("namespace"):
            raise _elsewhere()
        return
    if meta.get("namespace", namespace) not in ("", namespace):
        raise _elsewhere()
    meta["namespace"] = namespace


def _exhausted(error: AlreadyExists) -> AlreadyExists:
    text = f"{error.message}, the server was not able to generate a unique name for the object"
    return AlreadyExists(text, details=error.details | {"retryAfterSeconds": 1})


def _elsewhere() -> ApiError:
    return BadRequest("the namespace of the provided object does not match the namespace sent on the request")


def still_creatable(obj: Obj | None) -> bool:
    """Whether content can be created in a namespace."""
    return obj is not None and not is_deleting(obj)
