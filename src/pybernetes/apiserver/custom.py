"""Custom resources: definitions become rows of the scheme as they are established, and leave it when they are deleted.

A definition's rows are made in the very moment its record comes into the cache, so that all servers of one store have
the same; its status is written by a task of its own. Sources: apiextensions-apiserver, pkg/controller/status,
establish, finalizer.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from pybernetes.api import times
from pybernetes.api.errors import ApiError, NotFound
from pybernetes.api.kinds.custom import CustomStrategy, Version, strategies_of, versions_of
from pybernetes.api.kinds.definitions import CLEANUP, approval
from pybernetes.api.objects import Obj, condition, condition_is, decode, encode, is_deleting, metadata, name_of
from pybernetes.api.resources import CUSTOM_RESOURCE_DEFINITIONS, RESOURCES, Resource
from pybernetes.api.scheme import Entry
from pybernetes.store import Record

from .conversion import TIMEOUT_SECONDS, Converter
from .metrics import ConversionCall
from .registry import Registry

log = logging.getLogger("pybernetes.apiserver.custom")

_RETRY_SECONDS = 1.0
_LOOK_SECONDS = 0.1
"""Between two looks whether the objects of a deleted definition are gone."""


class Names(NamedTuple):
    """What one definition calls its resource, in the order in which conflicts are told."""

    plural: str
    singular: str
    short: tuple[str, ...]
    kind: str
    list_kind: str


class _Served(NamedTuple):
    """What is served of a definition. `told` is all that it depends on, as bytes; empty for nothing."""

    crd: Obj
    strategies: Mapping[str, CustomStrategy] = {}
    versions: tuple[Version, ...] = ()
    told: bytes = b""

    @property
    def rows(self) -> tuple[Resource, ...]:
        return tuple(version.row for version in self.versions)


_NOTHING = _Served({})


class CustomResources:
    """Keeps the scheme's custom rows as the definitions say; `run` writes their status and empties deleted ones."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._rows: dict[str, _Served] = {}
        self.observe: Callable[[ConversionCall], None] = lambda _: None
        """Told of every call of a conversion webhook."""
        self._groups: dict[str, str] = {}
        self._accepted: dict[str, Names] = {}
        """The names that definitions have, by definition."""
        self._due: asyncio.Queue[str] = asyncio.Queue()
        """Names of definitions to look at; as many as there are definitions, since a name waits once."""
        self._waiting: set[str] = set()
        registry.cache.observe(CUSTOM_RESOURCE_DEFINITIONS.prefix, self._observe)

    def _observe(self, key: str, record: Record | None) -> None:
        name = key.removeprefix(CUSTOM_RESOURCE_DEFINITIONS.prefix)
        if record is None:
            self._serve(name, _NOTHING)
            self._accepted.pop(name, None)
            group = self._groups.pop(name, "")
            for other in [other for other, theirs in self._groups.items() if theirs == group]:
                self._look(other)  # it may have waited for a name
            return
        crd = decode(record.value)
        self._groups[name] = crd["spec"]["group"]
        if condition_is(crd, "NamesAccepted"):
            self._accepted[name] = _names(crd)
        else:
            self._accepted.pop(name, None)
        self._serve(name, _readable(crd))
        self._look(name)

    def _serve(self, name: str, served: "_Served") -> None:
        """The rows of a definition are these and no others; nothing happens when nothing of them has changed."""
        before = self._rows.pop(name, _NOTHING)
        if served.versions:
            self._rows[name] = served
        if served.told == before.told:
            self._rows[name] = before
            return
        registry = self._registry
        rows = before.rows
        for prefix in {row.prefix for row in rows}:
            registry.converters.pop(prefix, None)
        for prefix in {row.prefix for row in served.rows}:
            registry.converters[prefix] = self._converter(served)
        registry.scheme.swap(rows, [_entry(version) for version in served.versions])
        for prefix in {row.prefix for row in rows}:
            registry.cache.shelf(prefix).close()  # what watches have sent may be otherwise now: they begin anew

    def _converter(self, served: _Served) -> Converter:
        def ask(client: Obj, review: Obj) -> Awaitable[Obj]:
            return self._registry.caller.call(client, review, timeout_seconds=TIMEOUT_SECONDS)

        return Converter(served.crd, served.strategies, ask=ask, observe=lambda call: self.observe(call))

    def _look(self, name: str, *, after: float = 0.0) -> None:
        if after:
            asyncio.get_running_loop().call_later(after, self._look, name)
        elif name not in self._waiting:
            self._waiting.add(name)
            self._due.put_nowait(name)

    async def run(self) -> None:
        """Until cancelled."""
        await self._registry.cache.loaded.wait()
        while True:
            name = await self._due.get()
            self._waiting.discard(name)
            try:
                await self._settle(name)
            except NotFound:
                continue  # gone meanwhile
            except ApiError as error:
                log.warning("custom resource definition not settled name=%s error=%s", name, error)
                self._look(name, after=_RETRY_SECONDS)

    async def _settle(self, name: str) -> None:
        registry = self._registry
        crd = registry.read(CUSTOM_RESOURCE_DEFINITIONS, "", name)
        if crd is None:
            return
        if is_deleting(crd):
            if CLEANUP in (metadata(crd).get("finalizers") or ()):
                await self._empty(crd)
            return
        taken = list(self._taken(name, crd["spec"]["group"]))
        if settled(crd, taken, now=registry.now()) == crd.get("status"):
            return

        def edit(current: Obj) -> Obj:
            return current | {"status": settled(current, taken, now=registry.now())}

        await registry.write_status(CUSTOM_RESOURCE_DEFINITIONS, name, edit, namespace="")

    def _taken(self, name: str, group: str) -> Iterator[Names]:
        """The names that others have in a group: definitions, and what is built in."""
        for other, names in self._accepted.items():
            if other != name and self._groups[other] == group:
                yield names
        for row in RESOURCES:
            if row.group == group:
                yield Names(row.plural, row.singular, row.short, row.kind, row.list_kind)

    async def _terminating(self, crd: Obj, said: tuple[str, str, str]) -> None:
        now = self._registry.now()
        await self._registry.write_status(
            CUSTOM_RESOURCE_DEFINITIONS, name_of(crd), lambda current: terminating(current, said, now=now), namespace=""
        )

    async def _empty(self, crd: Obj) -> None:
        """Delete all objects of a deleted definition, and let it go when there are none left."""
        registry, name = self._registry, name_of(crd)
        await self._terminating(crd, _IN_PROGRESS)
        shelf = registry.cache.shelf(prefix_of_objects(crd))
        for item in shelf.scan():
            await registry.purge(item.record)
        if shelf.items:
            self._look(name, after=_LOOK_SECONDS)
            return
        await self._terminating(crd, _COMPLETED)

        def edit(current: Obj) -> Obj:
            meta = dict(metadata(current))
            meta["finalizers"] = [one for one in meta.get("finalizers") or () if one != CLEANUP]
            return current | {"metadata": meta}

        # with the status, for the rest of it may have been valid once only
        await registry.write_status(CUSTOM_RESOURCE_DEFINITIONS, name, edit, namespace="")


def _readable(crd: Obj) -> _Served:
    """What to serve of a definition: nothing of one that was stored under other rules, lest it ends the server."""
    try:
        strategies = strategies_of(crd)
        versions = tuple(versions_of(crd, strategies))
    except (AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        log.error("custom resource definition cannot be served name=%s error=%r", name_of(crd), error)
        return _NOTHING
    if not versions:
        return _NOTHING
    told = [crd["spec"], (crd.get("status") or {}).get("acceptedNames"), is_deleting(crd)]
    return _Served(crd, strategies, versions, encode(told))


def prefix_of_objects(crd: Obj) -> str:
    """Where the objects of a definition are stored, served or not."""
    return Resource(group=crd["spec"]["group"], plural=crd["spec"]["names"]["plural"], kind="").prefix


def _entry(version: Version) -> Entry:
    return Entry(
        version.row,
        version.strategy,
        openapi=version.schema,
        conform=version.strategy.conform,
        warning=version.warning,
    )


def _names(crd: Obj) -> Names:
    found = crd["spec"].get("names") or {}
    return Names(
        found.get("plural") or "",
        found.get("singular") or "",
        tuple(found.get("shortNames") or ()),
        found.get("kind") or "",
        found.get("listKind") or "",
    )


def conflict(wanted: Names, taken: Sequence[Names]) -> tuple[str, str]:
    """The first name that somebody else has: a condition's reason and message; empty for none."""
    resources = {name for one in taken for name in (one.plural, one.singular, *one.short) if name}
    kinds = {name for one in taken for name in (one.kind, one.list_kind) if name}
    for reason, names, used in (
        ("PluralConflict", (wanted.plural,), resources),
        ("SingularConflict", (wanted.singular,), resources),
        ("ShortNamesConflict", wanted.short, resources),
        ("KindConflict", (wanted.kind,), kinds),
        ("ListKindConflict", (wanted.list_kind,), kinds),
    ):
        for name in names:
            if name in used:
                return reason, f'"{name}" is already in use'
    return "", ""


def settled(crd: Obj, taken: Sequence[Names], *, now: float) -> Obj:
    """The status of a definition: which names it has, and whether it is served."""
    status: Obj = dict(crd.get("status") or {})
    reason, message = conflict(_names(crd), taken)
    if reason:
        conditions = {
            "NamesAccepted": ("False", reason, message),
            "Established": ("False", "NotAccepted", "not all names are accepted"),
        }
        if condition_is(crd, "Established"):
            del conditions["Established"]  # what is served stays
    else:
        conditions = {
            "NamesAccepted": ("True", "NoConflicts", "no conflicts found"),
            "Established": ("True", "InitialNamesAccepted", "the initial names have been accepted"),
        }
        status["acceptedNames"] = dict(crd["spec"]["names"])
    reason, message = approval(crd)
    if reason:
        conditions[_CONFORMANT] = ("True" if reason == "ApprovedAnnotation" else "False", reason, message)
    status["conditions"] = _conditions(crd, conditions, now=now)
    return status


_CONFORMANT = "KubernetesAPIApprovalPolicyConformant"
_IN_PROGRESS = ("True", "InstanceDeletionInProgress", "CustomResource deletion is in progress")
_COMPLETED = ("False", "InstanceDeletionCompleted", "removed all instances")


def terminating(crd: Obj, said: tuple[str, str, str], *, now: float) -> Obj:
    """The definition as one whose objects are being deleted, or are."""
    status = crd.get("status") or {}
    return crd | {"status": status | {"conditions": _conditions(crd, {"Terminating": said}, now=now)}}


def _conditions(crd: Obj, wanted: Mapping[str, tuple[str, str, str]], *, now: float) -> list[Obj]:
    """Those that are there keep their places; other controllers' stay as they are."""
    found = {str(one.get("type")): one for one in (crd.get("status") or {}).get("conditions") or ()}
    for kind, (status, reason, message) in wanted.items():
        before = condition(crd, kind) or {}
        changed = before.get("status") != status
        found[kind] = {
            "type": kind,
            "status": status,
            "reason": reason,
            "message": message,
            "lastTransitionTime": times.stamp(now) if changed else before.get("lastTransitionTime"),
        }
    return list(found.values())
