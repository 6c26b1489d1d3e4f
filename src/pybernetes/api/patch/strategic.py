"""Strategic merge patch: maps merge, lists of objects merge by the key that the schema declares, with directives.

Directives: `$patch: replace|delete|merge`, `$retainKeys`, `$setElementOrder/<list>`, `$deleteFromPrimitiveList/<list>`.
Source: sig-api-machinery/strategic-merge-patch.md and cli/preserve-order-in-strategic-merge-patch.md of Kubernetes'
community repository. Nothing handed in is edited; parts that do not change are shared with the result.

One deliberate difference: directives below a map that the object does not have yet are dropped instead of stored.
"""

from collections.abc import Sequence
from typing import Any

from ..errors import BadRequest
from ..objects import Obj
from ..schema import Type
from .equal import scalar_key
from .json_patch import go_name
from .limits import bounded

PATCH, RETAIN = "$patch", "$retainKeys"
ORDER, DELETE = "$setElementOrder", "$deleteFromPrimitiveList"
BAD_ORDER = "invalid patch format of setElementOrder list"
BAD_DELETE = "invalid patch format of primitive list"
BAD_RETAIN = "invalid patch format of retainKeys"


@bounded
def strategic_merge(document: Obj, patch: Any, *, type_: Type) -> Obj:
    """The document after the patch. Raises BadRequest for a patch that contradicts itself or its schema."""
    if not isinstance(patch, dict):
        text = f"json: cannot unmarshal {go_name(patch)} into Go value of type map[string]interface {{}}"
        raise BadRequest(f"error decoding patch: {text}")
    return _map(document, patch, type_)


def _map(live: Obj, patch: Obj, type_: Type | None) -> Obj:
    if PATCH in patch:
        match patch[PATCH]:
            case "replace":
                replacement: Obj = _stripped(patch)
                return replacement
            case "delete":
                return {}
            case "merge":
                patch = {key: value for key, value in patch.items() if key != PATCH}
            case other:
                raise BadRequest(f"unknown patch type: {go_text(other)} in map: {go_text(patch)}")
    fresh = _retained(live, patch)
    ordered = _ordered(fresh, patch, type_)
    for key, value in patch.items():
        if key == RETAIN or key in ordered or key.startswith(ORDER):
            continue
        if key.startswith(DELETE):
            _delete_scalars(fresh, _target(key, DELETE), value)
        elif value is None:
            fresh.pop(key, None)
        else:
            _field(fresh, key, value, below(type_, key))
    return fresh


def _field(fresh: Obj, key: str, value: Any, type_: Type | None) -> None:
    """Merge one field of the patch into the copied map."""
    live = fresh.get(key)
    replace = type_ is not None and "replace" in type_.hints.strategies
    if isinstance(value, dict) and isinstance(live, dict) and not replace:
        fresh[key] = _map(live, value, type_)
    elif isinstance(value, dict) and value.get(PATCH) == "delete":
        fresh.pop(key, None)
    elif isinstance(value, list) and isinstance(live, list) and merges(type_):
        fresh[key] = _list(live, value, type_)
    else:
        fresh[key] = _stripped(value)


def merges(type_: Type | None) -> bool:
    return type_ is not None and "merge" in type_.hints.strategies


def below(type_: Type | None, key: str) -> Type | None:
    return None if type_ is None else type_.at(key)


def _target(key: str, prefix: str) -> str:
    """The list that "$setElementOrder/ports" speaks of."""
    start, slash, name = key.partition("/")
    if start != prefix or not slash:
        raise BadRequest(BAD_ORDER if prefix == ORDER else BAD_DELETE)
    return name


def _retained(live: Obj, patch: Obj) -> Obj:
    """A copy of the live map, without what `$retainKeys` leaves out."""
    if RETAIN not in patch:
        return dict(live)
    keys = patch[RETAIN]
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise BadRequest(BAD_RETAIN)
    for key, value in patch.items():
        if value is not None and not key.startswith((RETAIN, DELETE, ORDER)) and key not in keys:
            raise BadRequest(BAD_RETAIN)
    return {key: value for key, value in live.items() if key in keys}


def _delete_scalars(fresh: Obj, key: str, unwanted: Any) -> None:
    live = fresh.get(key)
    if not isinstance(live, list):
        return
    if not isinstance(unwanted, list):
        raise BadRequest(BAD_DELETE)
    gone = {scalar_key(value) for value in unwanted}
    fresh[key] = [value for value in live if scalar_key(value) not in gone]


def _ordered(fresh: Obj, patch: Obj, type_: Type | None) -> set[str]:
    """Merge the lists that have a `$setElementOrder/`; their names."""
    done: set[str] = set()
    for directive, order in patch.items():
        if not directive.startswith(ORDER):
            continue
        key = _target(directive, ORDER)
        if not isinstance(order, list):
            raise BadRequest(f"expected a []interface {{}}, but received a {_go_type(order)}")
        field = below(type_, key)
        if field is None:
            name = type_.struct if type_ is not None else ""
            raise BadRequest(f'unable to find api field in struct {name} for the json field "{key}"')
        live, change = fresh.get(key), patch.get(key)
        if change is None and key in patch:
            continue
        merged = _in_order(live, change, order, field)
        if merged is not None:
            fresh[key] = merged
        done.add(key)
    return done


def _in_order(live: Any, change: Any, order: list[Any], field: Type) -> list[Any] | None:
    for value in (live, change):
        if value is not None and not isinstance(value, list):
            raise BadRequest(f"expected a []interface {{}}, but received a {_go_type(value)}")
    merge_key = field.hints.merge_key
    if change:
        _check_order(change, order, merge_key)
    if live is None and change is None:
        return None
    if change is None:
        merged = live
    elif live is None:
        merged = [_stripped(value) for value in change if not _has_marker(value)]
    else:
        merged = _list(live, change, field) if merges(field) else _stripped(change)
    return _arranged(merged, order, live or [], merge_key)


def _check_order(change: list[Any], order: list[Any], merge_key: str) -> None:
    """The patch's elements must stand in the order list, in that order."""
    if not order:
        return
    wanted = [identity(value, merge_key) for value in change if not _has_marker(value)]
    places = iter([identity(value, merge_key) for value in order])
    if not all(value in places for value in wanted):
        raise BadRequest(
            f"The order in patch list:\n{go_text(change)}\n doesn't match {ORDER} list:\n{go_text(order)}\n"
        )


def _list(live: list[Any], change: list[Any], type_: Type | None) -> list[Any]:
    """A list with strategy merge."""
    if not live and not change:
        return live
    kinds = {isinstance(value, dict) for value in (*live, *change)}
    if any(isinstance(value, list) for value in (*live, *change)):
        raise BadRequest("lists of lists are not supported")
    if len(kinds) > 1:
        raise BadRequest("expected a map, but received a scalar in a list")
    if not kinds.pop():
        merged = unique([*live, *change])
        return _arranged(merged, change, live, "")
    return _objects(live, change, type_)


def _objects(live: list[Any], change: list[Any], type_: Type | None) -> list[Any]:
    merge_key = type_.hints.merge_key if type_ is not None else ""
    if not merge_key:
        raise BadRequest(f"cannot merge lists without merge key for {type_.struct if type_ is not None else ''}")
    plain = [value for value in change if PATCH not in value]
    replace = False
    for value in change:
        match value.get(PATCH):
            case None:
                continue
            case "delete":
                gone = identity(value, merge_key)
                live = [other for other in live if identity(other, merge_key, strict=False) != gone]
            case "replace":
                replace = True
            case "merge":
                raise BadRequest("merging lists cannot yet be specified in the patch")
            case other:
                raise BadRequest(f"unknown patch type: {go_text(other)} in map: {go_text(value)}")
    if replace:
        return [_stripped(value) for value in plain]
    merged = list(live)
    for value in plain:
        wanted = identity(value, merge_key)
        found = (at for at, other in enumerate(merged) if identity(other, merge_key, strict=False) == wanted)
        if (at := next(found, None)) is None:
            merged.append(_stripped(value))
        else:
            merged[at] = _map(merged[at], value, type_.items if type_ is not None else None)
    return _arranged(merged, plain, live, merge_key)


def identity(value: Any, merge_key: str, *, strict: bool = True) -> tuple[bool, Any] | None:
    """What makes an element of a merging list the same element."""
    if not merge_key:
        return scalar_key(value)
    if not isinstance(value, dict):
        raise BadRequest(f"expected a map[string]interface {{}}, but received a {_go_type(value)}")
    if merge_key not in value:
        if strict:
            raise BadRequest(f"map: {go_text(value)} does not contain declared merge key: {merge_key}")
        return None
    return scalar_key(value[merge_key])


def _arranged(merged: list[Any], order: Sequence[Any], live: Sequence[Any], merge_key: str) -> list[Any]:
    """Elements named in `order` in that order; the others where the live list had them, as far as both can be had."""
    ranks = _ranks(order, merge_key)
    was = _ranks(live, merge_key)
    named: list[Any] = []
    others: list[Any] = []
    for value in merged:
        (named if identity(value, merge_key) in ranks else others).append(value)
    named.sort(key=lambda value: ranks[identity(value, merge_key)])
    others.sort(key=lambda value: was.get(identity(value, merge_key), len(was)))
    result: list[Any] = []
    left, right = 0, 0
    while left < len(others) and right < len(named):
        one, two = was.get(identity(others[left], merge_key)), was.get(identity(named[right], merge_key))
        if one is not None and two is not None and one < two:
            result.append(others[left])
            left += 1
        else:
            result.append(named[right])
            right += 1
    return [*result, *others[left:], *named[right:]]


def _ranks(values: Sequence[Any], merge_key: str) -> dict[tuple[bool, Any] | None, int]:
    ranks: dict[tuple[bool, Any] | None, int] = {}
    for at, value in enumerate(values):
        if not _has_marker(value):
            ranks.setdefault(identity(value, merge_key, strict=False), at)
    return ranks


def unique(values: list[Any]) -> list[Any]:
    return list({scalar_key(value): value for value in values}.values())


def _has_marker(value: Any) -> bool:
    return isinstance(value, dict) and PATCH in value


def _stripped(value: Any) -> Any:
    """A value of the patch taken as it is: without directives, and without nulls in maps."""
    if isinstance(value, dict):
        return {
            key: _stripped(inner)
            for key, inner in value.items()
            if inner is not None and not key.startswith((PATCH, RETAIN, ORDER, DELETE)) and not _deletes(inner)
        }
    if isinstance(value, list):
        return [_stripped(inner) for inner in value if not _has_marker(inner)]
    return value


def _deletes(value: Any) -> bool:
    return isinstance(value, dict) and value.get(PATCH) == "delete"


def go_text(value: Any) -> str:
    """As Go's %v prints decoded JSON: map[a:1 b:[x y]]."""
    if isinstance(value, dict):
        return "map[" + " ".join(f"{key}:{go_text(value[key])}" for key in sorted(value)) + "]"
    if isinstance(value, list):
        return "[" + " ".join(map(go_text, value)) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    return "<nil>" if value is None else str(value)


def _go_type(value: Any) -> str:
    names = {dict: "map[string]interface {}", list: "[]interface {}", bool: "bool", int: "int64", float: "float64"}
    return "string" if isinstance(value, str) else names.get(type(value), "nil")
