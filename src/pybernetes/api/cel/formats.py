"""format.dns1123Label().validate(text) and its like: the named formats of Kubernetes, and what is wrong with a text.

What validate gives is an optional list to Kubernetes; the evaluator takes no optional from a function, so that here it
is a list, empty for "none", with hasValue and value. Source: k8s.io/apiserver/pkg/cel/library/format.go.
"""

from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import urlsplit

from .. import names
from ..structural.formats import fits
from .functions import Function

Check = Callable[[str], Iterable[str]]


def _told(wrong: str, format_: str) -> Check:
    """One text for all that is not of a format of schemas."""
    return lambda text: [] if fits(text, format_) else [wrong]


def _prefix(check: Check) -> Check:
    """Of what generateName may be: a dash at the end is to be followed by something."""
    return lambda text: check(f"{text[:-2]}a" if len(text) > 1 and text.endswith("-") else text)


def _uri(text: str) -> list[str]:
    parts = urlsplit(text)
    if parts.scheme or text.startswith("/"):
        return []
    return [f'parse "{text}": invalid URI for request']


FORMATS: dict[str, Check] = {
    "dns1123Label": names.label,
    "dns1123Subdomain": names.subdomain,
    "dns1035Label": names.label_1035,
    "qualifiedName": names.qualified,
    "dns1123LabelPrefix": _prefix(names.label),
    "dns1123SubdomainPrefix": _prefix(names.subdomain),
    "dns1035LabelPrefix": _prefix(names.label_1035),
    "labelValue": names.label_value,
    "uri": _uri,
    "uuid": _told("does not match the UUID format", "uuid"),
    "byte": _told("invalid base64", "byte"),
    "date": _told("invalid date", "date"),
    "datetime": _told("invalid datetime", "datetime"),
}


def _constant(name: str) -> Callable[[], dict[str, str]]:
    return lambda: {"format": name}


def _named(name: str) -> dict[str, str]:
    return {"format": name} if name in FORMATS else {}


def _validate(value: dict[str, Any], text: str) -> list[str]:
    return list(FORMATS[value["format"]](text))


def _value(found: Any) -> Any:
    if not found:
        raise ValueError("optional.none() dereference")
    return found


FORMAT_FUNCTIONS: tuple[Function, ...] = (
    *(Function(f"format.{name}", (), "dyn", _constant(name), member=False) for name in FORMATS),
    Function("format.named", ("string",), "dyn", _named, member=False),
    Function("validate", ("dyn", "string"), "dyn", _validate),
    Function("hasValue", ("texts",), "bool", bool),
    Function("hasValue", ("map",), "bool", bool),
    Function("value", ("texts",), "texts", _value),
    Function("value", ("map",), "dyn", _value),
)
