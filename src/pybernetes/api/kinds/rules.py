"""Rules as data: a table says of each field whether it must be there and what it must be; `follow` walks the table.

A rule sees a value only when there is one: what Go leaves at its zero counts as absent, except where `given` says that
an empty value is looked at too (a pointer in Go).
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from ..errors import FieldError
from ..objects import Obj

Problems = Iterator[FieldError]
Check = Callable[[Any, str], Problems]
"""What is wrong with a value at a path."""
NameRule = Callable[[str], Iterator[str]]

_EMPTY: tuple[Any, ...] = (None, "", [], {})


class Rule(NamedTuple):
    check: Check | None = None
    required: bool = False
    detail: str = ""
    """Said of a required field that is absent."""
    empty: bool = False
    """"" and [] are checked too."""


Table = Mapping[str, Rule]


def need(check: Check | None = None, detail: str = "") -> Rule:
    """The field must be there; then the check."""
    return Rule(check, True, detail)


def may(check: Check) -> Rule:
    """The field may be there and not empty; then the check."""
    return Rule(check)


def given(check: Check) -> Rule:
    """Checked whenever it is there, empty or not."""
    return Rule(check, empty=True)


def follow(obj: Obj, table: Table, path: str) -> Problems:
    """All that is wrong with the object's fields, in the order of the table. `path` is "" at the top."""
    for field, rule in table.items():
        value = obj.get(field)
        if value in _EMPTY and not (rule.empty and value is not None):
            if rule.required:
                yield FieldError.required(f"{path}.{field}" if path else field, rule.detail)
        elif rule.check is not None:
            yield from rule.check(value, f"{path}.{field}" if path else field)


def matching(rule: NameRule) -> Check:
    """The text follows a rule of `names`."""

    def check(value: str, path: str) -> Problems:
        for text in rule(value):
            yield FieldError.invalid(path, value, text)

    return check


def among(*supported: str) -> Check:
    """One of those; they are listed in this order."""

    def check(value: str, path: str) -> Problems:
        if value not in supported:
            yield FieldError.not_supported(path, value, supported)

    return check


def between(low: int, high: int) -> Check:
    def check(value: int, path: str) -> Problems:
        if not low <= value <= high:
            yield FieldError.invalid(path, value, f"must be between {low} and {high}, inclusive")

    return check


def at_least(least: int, detail: str) -> Check:
    def check(value: int, path: str) -> Problems:
        if value < least:
            yield FieldError.invalid(path, value, detail)

    return check


NOT_NEGATIVE = at_least(0, "must be greater than or equal to 0")


def each(check: Check) -> Check:
    """Of a list: every item."""

    def items(values: list[Any], path: str) -> Problems:
        for index, value in enumerate(values):
            yield from check(value, f"{path}[{index}]")

    return items


def inside(table: Table) -> Check:
    """Of an object: a table of its own."""

    def check(value: Obj, path: str) -> Problems:
        yield from follow(value, table, path)

    return check


def both(*checks: Check) -> Check:
    def check(value: Any, path: str) -> Problems:
        for one in checks:
            yield from one(value, path)

    return check


def distinct(values: list[Any], path: str) -> Problems:
    """Of a list: no item twice."""
    seen: list[Any] = []
    for index, value in enumerate(values):
        if value in seen:
            yield FieldError.duplicate(f"{path}[{index}]", value)
        seen.append(value)


def at_most(limit: int) -> Check:
    """Of a list: so many items."""

    def check(values: list[Any], path: str) -> Problems:
        if len(values) > limit:
            yield FieldError.too_many(path, len(values), limit)

    return check


def no_longer_than(limit: int) -> Check:
    """Of a text: so many bytes."""

    def check(value: str, path: str) -> Problems:
        if len(value.encode()) > limit:
            yield FieldError.too_long(path, value, limit)

    return check
