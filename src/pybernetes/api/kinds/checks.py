"""The small checks that validation is made of; each yields a FieldError in apimachinery's words for what is wrong."""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

from .. import names
from ..errors import FieldError
from ..objects import Obj
from ..selectors import of
from . import meta

Problems = Iterator[FieldError]

NOT_NEGATIVE = "must be greater than or equal to 0"
PROTOCOLS = ("SCTP", "TCP", "UDP")


def named(value: str, path: str, rule: Callable[[str], Iterator[str]]) -> Problems:
    """The value must follow a rule of `names`."""
    yield from (FieldError.invalid(path, value, text) for text in rule(value))


def required(obj: Mapping[str, Any], field: str, path: str, detail: str = "") -> Problems:
    """The field must be there and not empty."""
    if obj.get(field) in (None, "", [], {}):
        yield FieldError.required(f"{path}.{field}" if path else field, detail)


def required_name(obj: Mapping[str, Any], path: str, rule: Callable[[str], Iterator[str]]) -> Problems:
    """`name` must be there and follow the rule."""
    if name := obj.get("name"):
        yield from named(name, f"{path}.name", rule)
    else:
        yield FieldError.required(f"{path}.name")


def one_of(value: Any, path: str, supported: Collection[str]) -> Problems:
    """The value must be one of those; required when empty."""
    if not value:
        yield FieldError.required(path)
    elif value not in supported:
        yield FieldError.not_supported(path, value, sorted(supported))


def one_of_if_set(value: Any, path: str, supported: Collection[str]) -> Problems:
    if value:
        yield from one_of(value, path, supported)


def not_negative(value: int | None, path: str) -> Problems:
    if value is not None and value < 0:
        yield FieldError.invalid(path, value, NOT_NEGATIVE)


def port(value: int | None, path: str) -> Problems:
    """A port number that must be given."""
    yield from (FieldError.invalid(path, value or 0, text) for text in names.port_number(value or 0))


def port_or_name(value: int | str | None, path: str) -> Problems:
    """An IntOrString that names a port."""
    if isinstance(value, str):
        yield from named(value, path, names.port_name)
    else:
        yield from port(value, path)


_HTTP_PATH = re.compile(r"[A-Za-z0-9/\-._~%!$&'()*+,;=:]+")


def domain_prefixed_path(value: str, path: str) -> Problems:
    """acme.io/foo (IsDomainPrefixedPath)."""
    host, slash, rest = value.partition("/")
    if not value:
        yield FieldError.required(path)
    elif not host or not slash or not rest:
        yield FieldError.invalid(path, value, 'must be a domain-prefixed path (such as "acme.io/foo")')
    else:
        yield from named(host, path, names.subdomain)
        if not _HTTP_PATH.fullmatch(rest):
            detail = f"Invalid path (regex used for validation is '{_HTTP_PATH.pattern}')"
            yield FieldError.invalid(path, rest, detail)


def unique(values: Iterable[Any], path: Callable[[int], str]) -> Problems:
    """No value twice; empty ones do not count."""
    seen: set[Any] = set()
    for index, value in enumerate(values):
        if value in seen and value not in (None, ""):
            yield FieldError.duplicate(path(index), value)
        seen.add(value)


_SELECTOR_OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist")


def selector(found: Obj | None, path: str) -> Problems:
    """A meta/v1 LabelSelector."""
    yield from meta.labels((found or {}).get("matchLabels"), f"{path}.matchLabels")
    for index, expression in enumerate((found or {}).get("matchExpressions") or ()):
        yield from _expression(expression, f"{path}.matchExpressions[{index}]")


def _expression(expression: Obj, path: str) -> Problems:
    yield from operator(expression, path, known=_SELECTOR_OPERATORS)
    yield from named(expression.get("key", ""), f"{path}.key", names.qualified)
    for index, value in enumerate(expression.get("values") or ()):
        yield from named(value, f"{path}.values[{index}]", names.label_value)


def operator(expression: Obj, path: str, *, known: Collection[str]) -> Problems:
    """A known operator, with values or without as it wants."""
    found, values = expression.get("operator"), expression.get("values") or []
    if found not in known:
        yield FieldError.invalid(f"{path}.operator", found or "", "not a valid selector operator")
    elif found in ("In", "NotIn") and not values:
        yield FieldError.required(f"{path}.values", "must be specified when `operator` is 'In' or 'NotIn'")
    elif found in ("Exists", "DoesNotExist") and values:
        detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
        yield FieldError.forbidden(f"{path}.values", detail)
    elif found in ("Gt", "Lt") and len(values) != 1:
        detail = "must be specified single value when `operator` is 'Lt' or 'Gt'"
        yield FieldError.required(f"{path}.values", detail)


def workload_selector(spec: Obj, path: str, *, kind: str = "") -> Problems:
    """spec.selector of a workload: given, matching the template's labels and, of a `kind` named, not empty."""
    found = spec.get("selector")
    if found is None:
        yield FieldError.required(f"{path}.selector")
    else:
        yield from selector(found, f"{path}.selector")
        if kind and not found.get("matchLabels") and not found.get("matchExpressions"):
            yield FieldError.invalid(f"{path}.selector", found, f"empty selector is invalid for {kind}")
            return
    labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels")
    try:
        matched = of(found).matches(labels or {})
    except ValueError:
        return
    if not matched:
        where = f"{path}.template.metadata.labels"
        yield FieldError.invalid(where, labels, "`selector` does not match template `labels`")
