"""Server-side apply and the tracking of ordinary writes (KEP-555): who owns which field of an object.

Sources: sigs.k8s.io/structured-merge-diff (merge/update.go) and k8s.io/apimachinery/pkg/util/managedfields.
"""

from typing import Any

from ..errors import BadRequest, Conflict
from ..objects import Obj, annotations_of, decode, encode, metadata
from ..schema import Type
from . import managers as entries
from .combine import combined
from .compare import Comparison
from .equal import same
from .fields import EMPTY, Fields, Path, Untyped, beneath, fields_of, shown, with_named_parents, without
from .limits import bounded
from .managers import NEVER_OWNED, Entry, Manager, Managers
from .versions import Change, Translate, Writing

BEFORE_FIRST_APPLY = "before-first-apply"
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
KUBECTL = "kubectl"


@bounded
def track(
    old: Obj | None,
    new: Obj,
    *,
    manager: str,
    api_version: str,
    time: float,
    type_: Type | None,
    subresource: str = "",
    reset: tuple[Path, ...] | None = None,
    translate: Translate | None = None,
) -> Obj:
    """The new object with metadata.managedFields after an ordinary write (create, update, any patch but apply).

    The manager takes every field it added or changed; others lose what it changed or removed. Both objects must be
    defaulted alike, or the writer would own defaults. `reset` are paths that this write cannot set; by default status
    for the main resource, and spec and metadata for its status. `translate` is for managers in other versions of the
    group; without it their fields are taken as they stand. Neither object is edited.
    """
    paths = _reset(reset, subresource, type_)
    write = Writing(api_version=api_version, time=time, type_=type_, reset=paths, translate=translate)
    who = Manager.updater(manager, api_version=api_version, subresource=subresource)
    before = entries.of_write(old, new, subresource=subresource)
    return entries.written(new, _after_update(before, _bare(old or _empty(new)), _bare(new), who=who, write=write))


@bounded
def apply(
    live: Obj | None,
    config: Obj,
    *,
    manager: str,
    api_version: str,
    time: float,
    type_: Type | None,
    force: bool = False,
    subresource: str = "",
    reset: tuple[Path, ...] | None = None,
    translate: Translate | None = None,
) -> Obj:
    """The object after `manager` applies `config`, with metadata.managedFields; `live` None creates it.

    Fields the manager applied before, and does not now, go unless somebody else owns them. Raises Conflict with a cause
    for each field that another manager owns and the configuration would change, unless `force`; BadRequest for a
    configuration that does not fit its type. The result is not defaulted; nothing handed in is edited.
    """
    appliable(config, api_version)
    paths = _reset(reset, subresource, type_)
    write = Writing(api_version=api_version, time=time, type_=type_, reset=paths, translate=translate)
    who = Manager.applier(manager, subresource)
    before = _managers_before(live, write)
    body = _bare(live or _empty(config))
    try:
        merged, after = _applied(body, config, before, who=who, write=write, force=force)
    except _Conflicts as conflicts:
        if manager != KUBECTL or not conflicts.only(_client_side(body, write)):
            raise conflicts.error() from None
        merged, after = _applied(body, config, before, who=who, write=write, force=True)
    if manager == KUBECTL and LAST_APPLIED in annotations_of(body):
        merged = _with_last_applied(merged, config)
    return entries.written(merged, after)


def appliable(config: Obj, api_version: str) -> None:
    """Raises BadRequest for one that brings managed fields, or is of another version."""
    if metadata(config).get("managedFields") is not None:
        raise BadRequest("metadata.managedFields must be nil")
    if config.get("apiVersion") != api_version:
        raise BadRequest(
            "Incorrect version specified in apply patch. "
            f"Specified patch version: {config.get('apiVersion') or ''}, expected: {api_version}"
        )


def _reset(reset: tuple[Path, ...] | None, subresource: str, type_: Type | None) -> tuple[Path, ...]:
    if reset is not None:
        return reset
    if subresource == "status":
        return ("f:spec",), ("f:metadata",)
    return (("f:status",),) if type_ is not None and "status" in type_.fields else ()


def _bare(obj: Obj) -> Obj:
    """Without managedFields, which nobody owns."""
    meta = metadata(obj)
    if "managedFields" not in meta:
        return obj
    return obj | {"metadata": {key: value for key, value in meta.items() if key != "managedFields"}}


def _empty(obj: Obj) -> Obj:
    """What a created object is compared with: the top fields are there, and empty."""
    empty: Obj = {field: obj[field] for field in ("apiVersion", "kind") if field in obj}
    return empty | {field: {} for field in ("metadata", "spec", "status") if isinstance(obj.get(field), dict)}


def _managers_before(live: Obj | None, write: Writing) -> Managers:
    """The entries of the live object; one that has none was written by somebody before its first apply."""
    found = entries.read(live or {}) or {}
    if found or not live:
        return found
    who = Manager.updater(BEFORE_FIRST_APPLY, api_version=write.api_version)
    return _after_update({}, _empty(live), _bare(live), who=who, write=write)


def _after_update(before: Managers, old: Obj, new: Obj, *, who: Manager, write: Writing) -> Managers:
    change = Change(old, new, write)
    after = _lose(before, change)
    taken = change.own.taken - NEVER_OWNED
    if taken:
        mine = after[who].fields if who in after else EMPTY
        after[who] = Entry(mine | taken, write.api_version, write.time)
    return after


def _lose(managers: Managers, change: Change, *, besides: Manager | None = None) -> Managers:
    """Everybody but one loses what was changed or removed."""
    after: Managers = {}
    for manager, entry in managers.items():
        left = entry.fields
        if manager != besides:
            seen = change.seen(entry.api_version)
            left = left - seen.taken - seen.removed if seen is not None else EMPTY
        if left:
            after[manager] = entry._replace(fields=left)
    return after


class _Conflicts(Exception):
    """Fields that others own."""

    def __init__(self, found: dict[Manager, Fields]) -> None:
        super().__init__("conflicts")
        self.found = found

    def only(self, allowed: Fields) -> bool:
        """Whether all are in `allowed`; those that are count no more."""
        self.found = {manager: left for manager, fields in self.found.items() if (left := fields - allowed)}
        return not self.found

    def error(self) -> Conflict:
        ordered = sorted(self.found, key=lambda manager: (manager.name, str(manager)))
        pairs = [(manager, shown(path)) for manager in ordered for path in sorted(self.found[manager])]
        causes = [
            {"reason": "FieldManagerConflict", "message": f"conflict with {manager}", "field": path}
            for manager, path in pairs
        ]
        return Conflict(_conflict_text(pairs), details={"causes": causes})


def _conflict_text(pairs: list[tuple[Manager, str]]) -> str:
    if len(pairs) == 1:
        return f"Apply failed with 1 conflict: conflict with {pairs[0][0]}: {pairs[0][1]}"
    lines: list[str] = []
    said: Manager | None = None
    for manager, path in pairs:
        if manager != said:
            lines.append(f"conflicts with {manager}:")
            said = manager
        lines.append(f"- {path}")
    return f"Apply failed with {len(pairs)} conflicts: " + "\n".join(lines)


def _applied(
    live: Obj, config: Obj, before: Managers, *, who: Manager, write: Writing, force: bool
) -> tuple[Obj, Managers]:
    wanted = _wanted(config, write)
    merged: Obj = combined(live, config, write.type_)
    was = before.get(who)
    mine = wanted - beneath(wanted, write.reset)
    now = before | {who: Entry(mine, write.api_version, was.time if was else write.time)}
    if was is not None and was.fields:
        merged = _pruned(merged, was, now, write)
    change = Change(live, merged, write)
    if not force and (conflicts := _conflicts(now, change, who)):
        raise _Conflicts(conflicts)
    after = _lose(now, change, besides=who)
    if left := mine - NEVER_OWNED:
        after[who] = Entry(left, write.api_version, write.time if change.own or was is None else was.time)
    else:
        after.pop(who, None)
    return merged, after


def declared(config: Obj, type_: Type | None, *, api_version: str, name: str, namespace: str = "") -> Fields:
    """The fields of a configuration. Raises BadRequest for one that its type does not know."""
    try:
        return fields_of(config, type_, strict=True)
    except Untyped as error:
        where = f"{namespace}/{name}; {api_version}, Kind={config.get('kind', '')}"
        raise BadRequest(f"failed to create typed patch object ({where}): {error}") from error


def _wanted(config: Obj, write: Writing) -> Fields:
    meta = metadata(config)
    name, namespace = meta.get("name", ""), meta.get("namespace", "")
    return declared(config, write.type_, api_version=write.api_version, name=name, namespace=namespace)


def _conflicts(managers: Managers, change: Change, who: Manager) -> dict[Manager, Fields]:
    """What others own of it, each in the terms of its version."""
    found = {}
    for manager, entry in managers.items():
        seen = change.seen(entry.api_version) if manager != who else None
        if seen is not None and (fields := entry.fields & seen.taken):
            found[manager] = fields
    return found


def _pruned(merged: Obj, was: Entry, managers: Managers, write: Writing) -> Obj:
    """Without what was applied last time, is not applied now and is owned by nobody."""
    seen = write.view(merged, was.api_version)
    if seen is None:
        return merged
    last = with_named_parents(was.fields, seen.type_)
    pruned: Obj = without(seen.obj, last, seen.type_)
    whole, body = seen.obj, seen.obj
    for api_version, fields in entries.owned(managers, first=was.api_version).items():
        all_of, left_of = write.view(whole, api_version), write.view(pruned, api_version)
        if all_of is None or left_of is None:
            continue
        type_ = all_of.type_
        kept = _members(left_of.obj, type_) | with_named_parents(fields, type_)
        whole, pruned = all_of.obj, without(all_of.obj, _members(all_of.obj, type_) - kept, type_)
    back = write.view(pruned, was.api_version)
    assert back is not None  # it was there just now
    gone = (_members(body, seen.type_) - _members(back.obj, seen.type_)) & last
    found = write.view(without(body, gone, seen.type_), write.api_version)
    return merged if found is None else found.obj


def _members(obj: Obj, type_: Type | None) -> Fields:
    return with_named_parents(fields_of(obj, type_), type_)


def _client_side(live: Obj, write: Writing) -> Fields:
    """The fields that client-side apply set and nobody changed since: kubectl takes these over without a conflict."""
    try:
        applied: Any = decode(annotations_of(live).get(LAST_APPLIED, ""))
        if applied.get("apiVersion") != write.api_version:
            return EMPTY
        fields = fields_of(applied, write.type_)
    except (ValueError, AttributeError):
        return EMPTY
    change = Comparison(applied, live, write.type_)
    return fields - change.taken - change.removed


def _with_last_applied(merged: Obj, config: Obj) -> Obj:
    """Client-side apply's annotation kept in step, so that one can go back to it."""
    meta = metadata(config)
    annotations = {key: value for key, value in (meta.get("annotations") or {}).items() if key != LAST_APPLIED}
    plain = config | {"metadata": meta | {"annotations": annotations}}
    text = encode(plain).decode() + "\n"
    live = metadata(merged).get("annotations") or {}
    if same(decode(live.get(LAST_APPLIED) or "null"), plain):
        return merged
    return merged | {"metadata": metadata(merged) | {"annotations": live | {LAST_APPLIED: text}}}
