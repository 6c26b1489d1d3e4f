"""The simple JSON paths of CustomResourceDefinitions: `.status.conditions[?(@.type=="Ready")].status`.

Fields (a dot in a name is escaped), quoted fields, indexes, slices, `*`, `..` and filters of one comparison: what
printer columns, scale and selectable fields use (docs: kubectl, "JSONPath support").
"""

import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

Step = Callable[[Any], Iterator[Any]]

_TOKEN = re.compile(
    r"""
    (?P<deep>\.\.?)(?P<field>(?:\\.|[^\s.,\[\]$@{}\\])+)  # .name, .a\.b, .*, ..name
    | \[\s*(?P<quote>['"])(?P<quoted>.*?)(?P=quote)\s*\]  # ['a.b/c']
    | \[\s*(?P<index>\*|(?:-?\d+(?:\s*,\s*-?\d+)*)?)\s*\]  # [0], [*], [0,2], [] which is the first
    | \[\s*(?P<start>-?\d*)\s*:\s*(?P<end>-?\d*)\s*(?::\s*(?P<step>\d*)\s*)?\]  # [1:3], [::2]
    | \[\?\(\s*@(?P<left>[^=!<>]*?)\s*(?:(?P<operator>==|!=|<=|>=|<|>)\s*(?P<right>[^)]*?))?\s*\)\]
    """,
    re.X,
)
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "==": lambda one, other: one == other,
    "!=": lambda one, other: one != other,
    "<": lambda one, other: one < other,
    "<=": lambda one, other: one <= other,
    ">": lambda one, other: one > other,
    ">=": lambda one, other: one >= other,
}


@lru_cache(maxsize=1024)
def parse(path: str) -> tuple[Step, ...]:
    """Raises ValueError for a path that is not understood."""
    text = path.strip()
    if text.startswith("{") and text.endswith("}"):
        text = text[1:-1]
    text = text.removeprefix("$")
    steps: list[Step] = []
    at = 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            raise ValueError(f"{path!r} is not a simple JSON path")
        steps += _steps(found)
        at = found.end()
    return tuple(steps)


def _steps(found: re.Match[str]) -> Iterator[Step]:
    if found["deep"] == "..":
        yield _everything
    yield _step(found)


def _step(found: re.Match[str]) -> Step:
    if (field := found["field"]) is not None:
        return _all if field == "*" else _field(field.replace("\\", ""))
    if found["start"] is not None:
        part = slice(*(int(found[name]) if found[name] else None for name in ("start", "end", "step")))
        return _part(part)
    if found["quote"]:
        return _field(found["quoted"])
    if (index := found["index"]) is not None:
        return _all if index == "*" else _items(tuple(int(one) for one in (index or "0").split(",")))
    left = parse(found["left"])
    return _filter(left, found["operator"], _literal(found["right"]) if found["operator"] else None)


def _field(name: str) -> Step:
    def step(value: Any) -> Iterator[Any]:
        if isinstance(value, dict) and name in value:
            yield value[name]

    return step


def _items(indexes: tuple[int, ...]) -> Step:
    def step(value: Any) -> Iterator[Any]:
        for index in indexes if isinstance(value, list) else ():
            if -len(value) <= index < len(value):
                yield value[index]

    return step


def _part(part: slice) -> Step:
    def step(value: Any) -> Iterator[Any]:
        if isinstance(value, list) and part.step != 0:
            yield from value[part]

    return step


def _everything(value: Any) -> Iterator[Any]:
    """A value and all that is in it, at any depth."""
    yield value
    for inner in _all(value):
        yield from _everything(inner)


def _all(value: Any) -> Iterator[Any]:
    if isinstance(value, list):
        yield from value
    elif isinstance(value, dict):
        yield from value.values()


def _filter(left: tuple[Step, ...], operator: str | None, right: Any) -> Step:
    def step(value: Any) -> Iterator[Any]:
        for item in _all(value):
            found = _walk(item, left)
            if operator is None:
                if found:
                    yield item
            elif any(_holds(operator, one, right) for one in found):
                yield item

    return step


def _holds(operator: str, one: Any, other: Any) -> bool:
    try:
        return _COMPARE[operator](one, other)
    except TypeError:
        return False


def _literal(text: str) -> Any:
    if len(text) >= 2 and text[0] in "'\"" and text[-1] == text[0]:
        return text[1:-1]
    if text in ("true", "false"):
        return text == "true"
    try:
        return int(text)
    except ValueError:
        return float(text)


def _walk(value: Any, steps: tuple[Step, ...]) -> list[Any]:
    found = [value]
    for step in steps:
        found = [inner for one in found for inner in step(one)]
    return found


def find(value: Any, path: str) -> list[Any]:
    """All values at a path; none where a field is missing."""
    return _walk(value, parse(path))


_SIMPLE = re.compile(r"(\.[A-Za-z_][\w-]*)+")


def is_simple(path: str) -> bool:
    """Whether a path is nothing but fields: .spec.replicas."""
    return _SIMPLE.fullmatch(path) is not None


def put(value: dict[str, Any], path: str, found: Any) -> None:
    """Set the field at a simple path, making what leads to it."""
    *outer, last = path.removeprefix(".").split(".")
    for name in outer:
        inner = value.get(name)
        if not isinstance(inner, dict):
            inner = value[name] = {}
        value = inner
    value[last] = found
