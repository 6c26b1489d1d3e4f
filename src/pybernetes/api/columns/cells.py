"""Pieces of cells that several kinds share, as kube-apiserver's printers word them."""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from .. import times
from ..objects import Obj, metadata

NONE, UNSET, UNKNOWN = "<none>", "<unset>", "<unknown>"
NIL = "<nil>"
"""A quantity that is not given, as Go prints it."""


@lru_cache(maxsize=32_768)
def seconds(text: str) -> float:
    """Lists are shown again and again, and parsing times is half the cost of a row. Raises ValueError."""
    return times.parse(text)


def since(then: str | None, now: float) -> str:
    """The time since a Time or MicroTime, for people."""
    if not then:
        return UNKNOWN
    try:
        return times.human(now - seconds(then))
    except ValueError:
        return UNKNOWN


def age(obj: Obj, now: float) -> str:
    return since(metadata(obj).get("creationTimestamp"), now)


def name(obj: Obj) -> str:
    return str(metadata(obj).get("name", ""))


def spec(obj: Obj) -> Obj:
    return obj.get("spec") or {}


def status(obj: Obj) -> Obj:
    return obj.get("status") or {}


def count(values: Mapping[str, Any], field: str) -> int:
    """A number that is left out when it is zero."""
    return int(values.get(field) or 0)


def labels(values: Mapping[str, str] | None) -> str:
    """A map of labels, sorted."""
    return ",".join(f"{key}={value}" for key, value in sorted((values or {}).items())) or NONE


def selector(value: Obj | None) -> str:
    """A LabelSelector, its terms by key; "<error>" if it has an operator that there is not."""
    given = value or {}
    terms = [(key, f"{key}={wanted}") for key, wanted in (given.get("matchLabels") or {}).items()]
    try:
        terms += [(one.get("key", ""), _expression(one)) for one in given.get("matchExpressions") or ()]
    except KeyError:
        return "<error>"
    return ",".join(text for _, text in sorted(terms, key=lambda term: term[0])) or NONE


_EXPRESSIONS = {
    "In": "{key} in ({values})",
    "NotIn": "{key} notin ({values})",
    "Exists": "{key}",
    "DoesNotExist": "!{key}",
}


def _expression(expression: Obj) -> str:
    """As labels.Requirement writes it: other than in a query, one value stays in its parentheses. Raises KeyError."""
    values = ",".join(sorted(expression.get("values") or ()))
    return _EXPRESSIONS[expression.get("operator", "")].format(key=expression.get("key", ""), values=values)


def containers(template: Obj) -> list[str]:
    """The cells Containers and Images of a pod template."""
    found = spec(template).get("containers") or []
    return [",".join(str(one.get(field, "")) for one in found) for field in ("name", "image")]


def template(obj: Obj) -> Obj:
    return spec(obj).get("template") or {}


def some(values: Iterable[str], *, limit: int = 3) -> str:
    """The first few, and how many more."""
    found = list(values)
    text = ",".join(found[:limit])
    if len(found) > limit:
        return f"{text} + {len(found) - limit} more..."
    return text or UNSET


def flag(value: bool | None) -> str:
    return UNSET if value is None else str(bool(value))


def condition_true(obj: Obj, kind: str) -> bool:
    for condition in status(obj).get("conditions") or ():
        if condition.get("type") == kind:
            return bool(condition.get("status") == "True")
    return False
