"""Rows, types and strategies together: what the API server knows of each resource it serves.

A CustomResourceDefinition adds rows at run time. Objects are stored in one version; rows sharing storage are converted.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from . import decoding, deprecated, schema
from .kinds import CONVERSIONS, Conversion, strategy_of
from .kinds.strategy import Strategy
from .objects import Obj
from .resources import RESOURCES, Resource, definition_of
from .schema import Type


class Group(NamedTuple):
    """An API group as discovery shows it; the first version is the preferred one."""

    name: str
    versions: tuple[str, ...]


class Conform(Protocol):
    """Makes a decoded body fit, in place; the strict problems are returned. Raises BadRequest."""

    def __call__(self, obj: Obj, *, version: str, kind: str) -> list[str]: ...


@dataclass(slots=True)
class Entry:
    """What is known of one row."""

    resource: Resource
    strategy: Strategy
    type: Type | None = None
    """None: the custom row's schema or the built-in definition, compiled at the first use."""
    openapi: Mapping[str, Any] | None = None
    """A custom row's schema for the OpenAPI document."""
    openapi_hash: str = ""
    """Of that schema; worked out when first asked for."""
    conversion: Conversion | None = None
    """To and from the stored version; None when it is the same."""
    conform: Conform | None = None
    """Of a custom row: it goes by its schema in place of a type."""
    warning: str = ""
    """What a client of a deprecated version is told."""


@dataclass(slots=True)
class Scheme:
    """The rows that are served now. `changed` is called after every `add` and `remove`."""

    _entries: dict[tuple[str, str, str], Entry] = field(default_factory=dict)
    _kinds: dict[tuple[str, str], Entry] = field(default_factory=dict)
    changed: list[Callable[[], None]] = field(default_factory=list)

    @classmethod
    def builtin(cls) -> "Scheme":
        """All of Kubernetes' own rows. Reads no schema: that comes with the first use of a type."""
        scheme = cls()
        for resource in RESOURCES:
            kind = (resource.group, resource.version, resource.kind)
            warning = deprecated.WARNINGS.get(kind, "")
            scheme._put(Entry(resource, strategy_of(resource), conversion=CONVERSIONS.get(kind), warning=warning))
        return scheme

    def _put(self, entry: Entry) -> None:
        resource = entry.resource
        self._entries[resource.group, resource.version, resource.plural] = entry
        self._kinds[resource.api_version, resource.kind] = entry

    def add(self, entry: Entry) -> None:
        """Serve a row, or serve it anew."""
        self._put(entry)
        for callback in self.changed:
            callback()

    def remove(self, resource: Resource) -> None:
        self._entries.pop((resource.group, resource.version, resource.plural), None)
        self._kinds.pop((resource.api_version, resource.kind), None)
        for callback in self.changed:
            callback()

    def swap(self, gone: Iterable[Resource], entries: Iterable[Entry]) -> None:
        """Rows go and others come, in one change."""
        for resource in gone:
            self._entries.pop((resource.group, resource.version, resource.plural), None)
            self._kinds.pop((resource.api_version, resource.kind), None)
        for entry in entries:
            self._put(entry)
        for callback in self.changed:
            callback()

    @property
    def resources(self) -> tuple[Resource, ...]:
        """Every row served, in the order of the table, custom ones after them."""
        return tuple(entry.resource for entry in self._entries.values())

    def find(self, group: str, version: str, plural: str) -> Resource | None:
        entry = self._entries.get((group, version, plural))
        return entry.resource if entry else None

    def find_kind(self, api_version: str, kind: str) -> Resource | None:
        entry = self._kinds.get((api_version, kind))
        return entry.resource if entry else None

    def entry(self, resource: Resource) -> Entry:
        """Raises KeyError when the row is not served."""
        return self._entries[resource.group, resource.version, resource.plural]

    def warning(self, resource: Resource) -> str:
        """What a client of a deprecated row is told; "" for others, and for a row that is gone."""
        entry = self._entries.get((resource.group, resource.version, resource.plural))
        return entry.warning if entry else ""

    def strategy(self, resource: Resource) -> Strategy:
        return self.entry(resource).strategy

    def type(self, resource: Resource, part: str = "") -> Type:
        """The type of a row's objects, or of the bodies of a subresource (pods/eviction: Eviction)."""
        found = resource.subresource(part) if part else None
        if found is not None and (found.group or found.version or found.kind != resource.kind):
            group = found.group or resource.group
            return schema.type_of(definition_of(group, found.version or resource.version, found.kind))
        entry = self.entry(resource)
        if entry.type is None:
            if entry.openapi is not None:
                entry.type = schema.of_openapi(entry.openapi, root=True)
            else:
                entry.type = schema.type_of(resource.definition)
        return entry.type

    def groups(self) -> list[Group]:
        """The groups in order of discovery, versions newest first; the core group is ""."""
        found: dict[str, list[str]] = {}
        for resource in self.resources:
            versions = found.setdefault(resource.group, [])
            if resource.version not in versions:
                versions.append(resource.version)
        return [Group(name, tuple(sorted(versions, key=version_order))) for name, versions in found.items()]

    def in_version(self, group: str, version: str) -> list[Resource]:
        """The rows of one group and version, by plural."""
        rows = (row for row in self.resources if (row.group, row.version) == (group, version))
        return sorted(rows, key=lambda row: row.plural)

    def conform(self, obj: Obj, resource: Resource, *, part: str = "") -> list[str]:
        """Make a freshly decoded body fit its type, in place; the strict problems are returned. Raises BadRequest."""
        found = resource.subresource(part) if part else None
        kind, version = (found.kind, found.version) if found else (resource.kind, "")
        if resource.custom and (found is None or found.kind == resource.kind):
            conform_ = self.entry(resource).conform
            if conform_ is not None:
                return conform_(obj, version=resource.version, kind=resource.kind)
        type_ = self.type(resource, part)
        return decoding.conform(obj, type_, version=version or resource.version, kind=kind)

    def to_storage(self, obj: Obj, resource: Resource) -> Obj:
        """The object in the version it is stored in."""
        conversion = self.entry(resource).conversion
        return conversion.to_storage(obj) if conversion else obj

    def from_storage(self, obj: Obj, resource: Resource) -> Obj:
        """A stored object in this row's version."""
        conversion = self.entry(resource).conversion
        return conversion.from_storage(obj) if conversion else obj


def version_order(version: str) -> tuple[int, int, int, str]:
    """Kubernetes' order of versions as a sort key: v2, v1, v2beta1, v1beta1, v1alpha1, then anything else by name."""
    text, stage, number = version.removeprefix("v"), 0, "0"
    for rank, name in ((1, "beta"), (2, "alpha")):
        if name in text:
            text, _, number = text.partition(name)
            stage = rank
    if not (version.startswith("v") and text.isdigit() and number.isdigit()):
        return (3, 0, 0, version)
    return (stage, -int(text), -int(number), version)
