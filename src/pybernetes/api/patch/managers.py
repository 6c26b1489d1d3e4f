"""metadata.managedFields: its entries, read and written, and the rules that keep them few.

Source: k8s.io/apimachinery/pkg/util/managedfields. Entries of Update number ten at most; older ones are put together.
"""

from typing import Any, NamedTuple

from .. import times
from ..objects import Obj, metadata
from .fields import Fields, from_wire, to_wire

APPLY, UPDATE = "Apply", "Update"
MOST_UPDATERS = 10
OLD_UPDATES = "ancient-changes"
NEVER_OWNED: Fields = frozenset(
    {
        ("f:apiVersion",),
        ("f:kind",),
        ("f:metadata",),
        *(
            ("f:metadata", f"f:{name}")
            for name in (
                *("name", "namespace", "creationTimestamp", "selfLink", "uid", "clusterName"),
                *("generation", "managedFields", "resourceVersion"),
            )
        ),
    }
)


class Manager(NamedTuple):
    """Who an entry is of. An applier is the same one in every version, so its version is none of its identity."""

    name: str
    operation: str
    api_version: str = ""
    subresource: str = ""

    @classmethod
    def applier(cls, name: str, subresource: str = "") -> "Manager":
        return cls(name or "unknown", APPLY, "", subresource)

    @classmethod
    def updater(cls, name: str, *, api_version: str, subresource: str = "") -> "Manager":
        return cls(name or "unknown", UPDATE, api_version, subresource)

    def __str__(self) -> str:
        """As conflicts name it."""
        text = f'"{self.name}"'
        if self.subresource:
            text += f' with subresource "{self.subresource}"'
        return f"{text} using {self.api_version}" if self.operation == UPDATE else text


class Entry(NamedTuple):
    fields: Fields
    api_version: str
    time: float | None = None


Managers = dict[Manager, Entry]


def read(obj: Obj) -> Managers | None:
    """The entries of an object; None when they are malformed."""
    found: Managers = {}
    try:
        for entry in metadata(obj).get("managedFields") or ():
            _read(found, entry)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    return found


def _read(found: Managers, entry: Any) -> None:
    operation, api_version = entry["operation"], entry["apiVersion"]
    if operation not in (APPLY, UPDATE) or entry["fieldsType"] != "FieldsV1" or not api_version:
        raise ValueError("malformed managedFields entry")
    name, subresource = str(entry.get("manager", "")), str(entry.get("subresource", ""))
    manager = Manager(name, operation, "" if operation == APPLY else api_version, subresource)
    time = times.parse(entry["time"]) if entry.get("time") else None
    found[manager] = Entry(from_wire(entry.get("fieldsV1") or {}), api_version, time)


def of_write(old: Obj | None, new: Obj, *, subresource: str = "") -> Managers:
    """Whose fields count at an ordinary write: the new object's, which clients may edit; failing that, the old one's.

    An explicit [] or [{}] starts anew. Through a subresource they cannot be edited.
    """
    given = metadata(new).get("managedFields")
    if not subresource and given is not None and given in ([], [{}]):
        return {}
    if not subresource and (edited := read(new)):
        return edited
    return read(old or {}) or {}


def written(obj: Obj, managers: Managers) -> Obj:
    """A copy of the object with these entries."""
    meta = {key: value for key, value in metadata(obj).items() if key != "managedFields"}
    if entries := [_entry(*one) for one in sorted(capped(managers).items(), key=_rank)]:
        meta["managedFields"] = entries
    return obj | {"metadata": meta}


def _rank(one: tuple[Manager, Entry]) -> tuple[str, int, str, str, str]:
    manager, entry = one
    return manager.operation, int(entry.time or 0), manager.name, entry.api_version, manager.subresource


def _entry(manager: Manager, entry: Entry) -> Obj:
    found: Obj = {
        "manager": manager.name,
        "operation": manager.operation,
        "apiVersion": entry.api_version,
        "fieldsType": "FieldsV1",
        "fieldsV1": to_wire(entry.fields),
    }
    if entry.time is not None:
        found["time"] = times.stamp(entry.time)
    if manager.subresource:
        found["subresource"] = manager.subresource
    return found


def capped(managers: Managers) -> Managers:
    """At most MOST_UPDATERS entries of Update; the oldest of one version become one."""
    updaters = [one for one in managers.items() if one[0].operation == UPDATE]
    surplus = len(updaters) - MOST_UPDATERS
    if surplus <= 0:
        return managers
    kept = dict(managers)
    first: dict[str, Manager] = {}
    for manager, entry in sorted(updaters, key=_rank):
        if surplus <= 0:
            break
        bucket = Manager.updater(OLD_UPDATES, api_version=entry.api_version)
        if entry.api_version not in first:
            first[entry.api_version] = manager
            continue
        if bucket not in kept:
            kept[bucket] = kept.pop(first[entry.api_version])
        if manager != bucket:
            del kept[manager]
            kept[bucket] = Entry(kept[bucket].fields | entry.fields, entry.api_version, entry.time)
            surplus -= 1
    return kept


def owned(managers: Managers, *, first: str) -> dict[str, Fields]:
    """What anybody owns, by version; the one named comes first."""
    found: dict[str, Fields] = {first: frozenset()}
    for entry in managers.values():
        found[entry.api_version] = found.get(entry.api_version, frozenset()) | entry.fields
    return found
