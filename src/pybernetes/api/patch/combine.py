"""A live object and an applied configuration made one: the configuration wins, what it does not name stays.

Source: structured-merge-diff, typed/merge.go; the order of lists follows the configuration, with the live list's own
elements where they stood.
"""

from typing import Any

from ..objects import Obj
from ..schema import Type
from .fields import below, is_keyed, is_map, items_by_element

_ABSENT: Any = object()


def combined(live: Any, config: Any, type_: Type | None) -> Any:
    """Neither is edited; unchanged parts are shared."""
    if config is _ABSENT:
        return live
    if live is _ABSENT:
        return config
    if is_map(type_, live) and is_map(type_, config):
        return _maps(live, config, type_)
    if type_ is not None and is_keyed(type_) and isinstance(live, list) and isinstance(config, list):
        return _lists(live, config, type_)
    return config


def _maps(live: Obj, config: Obj, type_: Type | None) -> Obj:
    merged = dict(live)
    for key, value in config.items():
        merged[key] = combined(live.get(key, _ABSENT), value, below(type_, f"f:{key}"))
    return merged


def _lists(live: list[Any], config: list[Any], type_: Type) -> list[Any]:
    have = dict(items_by_element(type_, live, strict=False))
    want = dict(items_by_element(type_, config, strict=False))
    merged: list[Any] = []
    for element in _order(list(have), list(want)):
        merged.append(combined(have.get(element, _ABSENT), want.get(element, _ABSENT), type_.items))
    return merged


def _order(have: list[str], want: list[str]) -> list[str]:
    """The elements of both: those of `want` in its order, the others where `have` has them among the shared ones."""
    had, wanted = set(have), set(want)
    shared = iter([element for element in want if element in had])
    following = next(shared, None)
    order: list[str] = []
    done: set[str] = set()
    left = right = 0
    while left < len(have) or right < len(want):
        if left < len(have) and right < len(want):
            if have[left] == want[right]:
                done.add(have[left])
                order.append(have[left])
                left, right, following = left + 1, right + 1, next(shared, None)
                continue
            if have[left] in wanted and following is not None and have[left] != following:
                left += 1
                continue
        if left < len(have):
            if have[left] not in wanted:
                order.append(have[left])
                left += 1
                continue
            if have[left] in done:
                left += 1
        if right < len(want):
            done.add(want[right])
            order.append(want[right])
            if want[right] == following:
                following = next(shared, None)
            right += 1
    return order
