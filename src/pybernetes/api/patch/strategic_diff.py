"""The strategic merge patch that makes one object of another, as a client would send it.

The law: strategic_merge(source, strategic_diff(source, target)) == target, for objects without nulls.
"""

from typing import Any

from ..objects import Obj
from ..schema import Type
from .equal import same, scalar_key
from .strategic import DELETE, ORDER, PATCH, RETAIN, below, identity, merges, unique


def strategic_diff(source: Obj, target: Obj, *, type_: Type | None) -> Obj:
    """A two-way strategic merge patch that makes `target` of `source`, with element orders; {} when they are equal."""
    patch: Obj = dict.fromkeys(source.keys() - target.keys())
    for key, value in target.items():
        field = below(type_, key)
        if key not in source:
            patch[key] = value
        elif not same(source[key], value):
            _diff_field(patch, key, (source[key], value), field)
    if patch and type_ is not None and "retainKeys" in type_.hints.strategies:
        patch[RETAIN] = sorted(target)
    return patch


def _diff_field(patch: Obj, key: str, values: tuple[Any, Any], field: Type | None) -> None:
    was, now = values
    if isinstance(was, dict) and isinstance(now, dict):
        replaces = field is not None and "replace" in field.hints.strategies
        patch[key] = now if replaces else strategic_diff(was, now, type_=field)
    elif not (isinstance(was, list) and isinstance(now, list) and field is not None and merges(field)):
        patch[key] = now
    elif any(isinstance(value, dict) for value in (*was, *now)):
        _diff_objects(patch, key, (was, now), field)
    elif len(unique(now)) < len(now) or len(unique(was)) < len(was):
        raise ValueError(f"{key}: a merging list cannot hold a value twice")
    else:
        kept, had = {scalar_key(value) for value in now}, {scalar_key(value) for value in was}
        patch[f"{ORDER}/{key}"] = now
        if gone := [value for value in was if scalar_key(value) not in kept]:
            patch[f"{DELETE}/{key}"] = gone
        if added := [value for value in now if scalar_key(value) not in had]:
            patch[key] = added


def _diff_objects(patch: Obj, key: str, values: tuple[list[Any], list[Any]], field: Type) -> None:
    was, now = values
    merge_key = field.hints.merge_key
    old = {identity(value, merge_key, strict=False): value for value in was}
    new = {identity(value, merge_key, strict=False): value for value in now}
    if len(old) < len(was) or len(new) < len(now) or None in old or None in new:
        patch[key] = [*now, {PATCH: "replace"}]
        return
    changes: list[Obj] = []
    for name, value in new.items():
        if name not in old:
            changes.append(value)
        elif inner := strategic_diff(old[name], value, type_=_retaining(field)):
            changes.append({merge_key: value[merge_key]} | inner)
    changes += [{PATCH: "delete", merge_key: value[merge_key]} for name, value in old.items() if name not in new]
    patch[f"{ORDER}/{key}"] = [{merge_key: value[merge_key]} for value in now]
    if changes:
        patch[key] = changes


def _retaining(field: Type) -> Type | None:
    """The element type; "merge,retainKeys" on a list speaks of its elements."""
    items = field.items
    if items is not None and "retainKeys" in field.hints.strategies:
        return items.with_hints(field.hints)
    return items
