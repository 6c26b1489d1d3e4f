"""Equality of JSON values: Python takes True for 1, JSON does not."""

from typing import Any


def same(one: Any, other: Any) -> bool:
    """Deep equality; numbers by value, booleans only with booleans."""
    if isinstance(one, dict):
        return (
            isinstance(other, dict)
            and one.keys() == other.keys()
            and all(same(value, other[key]) for key, value in one.items())
        )
    if isinstance(one, list):
        return isinstance(other, list) and len(one) == len(other) and all(map(same, one, other))
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


def scalar_key(value: Any) -> tuple[bool, Any]:
    """A hashable identity of a scalar in which True is not 1. A map or list is taken by its text."""
    return isinstance(value, bool), value if not isinstance(value, dict | list) else repr(value)
