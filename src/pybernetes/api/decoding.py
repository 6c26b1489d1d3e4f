"""A decoded body made what its type says, as Kubernetes' strict JSON decoding does (sigs.k8s.io/json).

Walks once over the fresh dict and edits it in place: nulls and unknown fields go, quantities, times become canonical.
A wrong type is a BadRequest in the words of Go's decoder; unknown fields are reported (fieldValidation decides).
"""

import base64
import json
from collections.abc import Callable
from typing import Any

from . import quantity, times
from .errors import BadRequest
from .objects import Obj
from .schema import Type, type_of

_MOST_PROBLEMS = 100


class _Wrong(Exception):
    """The value cannot be decoded; the text is Go's."""


class _Walk:
    """One pass. `names` is the path Go prints (no indexes), `problems` what strict decoding reports."""

    __slots__ = ("first", "names", "problems", "structs")

    def __init__(self) -> None:
        self.names: list[str] = []
        self.structs: list[str] = []
        self.problems: list[str] = []
        self.first = ""

    def mistyped(self, shown: str, type_: Type) -> None:
        """Go goes on after a wrong type and reports the first."""
        if not self.first:
            where = f"Go struct field {self.structs[-1]}.{'.'.join(self.names)}" if self.structs else "Go value"
            self.first = f"json: cannot unmarshal {shown} into {where} of type {type_.go}"

    def value(self, value: Any, type_: Type, path: str) -> Any:
        kind = type_.kind
        if kind == "struct":
            if type(value) is not dict:
                return self.mistyped(_shown(value), type_)
            return self.struct(value, type_, path)
        if kind == "string":
            return value if type(value) is str else self.mistyped(_shown(value), type_)
        if kind == "list":
            return self.list(value, type_, path)
        if kind == "map":
            return self.map(value, type_, path)
        if kind == "any":
            return self.union(value, type_) if type_.struct in _UNIONS else value
        return _LEAVES[kind](self, value, type_)

    def struct(self, value: Obj, type_: Type, path: str) -> Obj:
        fields = type_.fields
        self.structs.append(type_.struct)
        names = self.names
        for name in list(value):
            field = fields.get(name)
            if field is None:
                if not type_.preserve:
                    self.unknown(f"{path}.{name}" if path else name)
                    del value[name]
                continue
            inner = value[name]
            if inner is None:
                del value[name]
                continue
            names.append(name)
            made = value[name] = self.value(inner, field, f"{path}.{name}" if path else name)
            names.pop()
            if not made and field.kind in _OMITTED and made is not None and name not in type_.required:
                del value[name]
        self.structs.pop()
        return value

    def unknown(self, path: str) -> None:
        if len(self.problems) < _MOST_PROBLEMS:
            self.problems.append(f'unknown field "{path}"')

    def list(self, value: Any, type_: Type, path: str) -> Any:
        if type(value) is not list:
            return self.mistyped(_shown(value), type_)
        items = type_.items
        assert items is not None
        if items.kind == "string" and all(type(one) is str for one in value):
            return value
        for index, one in enumerate(value):
            value[index] = _zero(items) if one is None else self.value(one, items, f"{path}[{index}]")
        return value

    def map(self, value: Any, type_: Type, path: str) -> Any:
        if type(value) is not dict:
            return self.mistyped(_shown(value), type_)
        items = type_.items
        assert items is not None
        for key, one in value.items():
            if type(one) is not str or items.kind != "string":
                value[key] = _zero(items) if one is None else self.value(one, items, f"{path}.{key}")
        return value

    def union(self, value: Any, type_: Type) -> Any:
        """A schema or something else, which Go decodes apart: what it does not know inside goes, and is not told of."""
        inner, schema = _Walk(), type_of(_SCHEMA)
        inner.names, inner.structs = self.names, self.structs
        if type(value) is dict:
            found: Any = inner.struct(value, schema, "")
        elif type_.struct.endswith("OrBool"):
            if type(value) is not bool:
                raise _Wrong("boolean or JSON schema expected")
            found = value
        elif type(value) is list:
            items = _TEXT if type_.struct.endswith("OrStringArray") else schema
            found = inner.list(value, Type("list", go=f"[]{items.go}", items=items), "")
        else:
            found = None  # as Go has it
        self.first = self.first or inner.first
        return found

    def object(self, value: Any, type_: Type) -> Any:
        return value if type(value) is dict else self.mistyped(_shown(value), type_)

    def integer(self, value: Any, type_: Type) -> Any:
        if type(value) is int:
            edge = 1 << (type_.bits - 1)
            return value if -edge <= value < edge else self.mistyped(f"number {value}", type_)
        if type(value) is float:
            return self.mistyped(f"number {json.dumps(value)}", type_)
        return self.mistyped(_shown(value), type_)

    def number(self, value: Any, type_: Type) -> Any:
        return value if type(value) in (int, float) else self.mistyped(_shown(value), type_)

    def boolean(self, value: Any, type_: Type) -> Any:
        return value if type(value) is bool else self.mistyped(_shown(value), type_)

    def int_or_string(self, value: Any, type_: Type) -> Any:
        if type(value) is str:
            return value
        if type(value) is int and -(1 << 31) <= value < 1 << 31:
            return value
        shown = f"number {value}" if type(value) in (int, float) else _shown(value)
        raise _Wrong(f"json: cannot unmarshal {shown} into Go value of type int32")

    def quantity(self, value: Any, type_: Type) -> Any:
        if type(value) not in (str, int, float):
            raise _Wrong(quantity.FORMAT_TEXT)
        try:
            return quantity.canonical(value)
        except ValueError as error:
            raise _Wrong(str(error)) from error

    def time(self, value: Any, type_: Type) -> Any:
        if type(value) is not str:
            raise _Wrong(f"json: cannot unmarshal {_shown(value)} into Go value of type string")
        try:
            return times.canonical(value, micro=type_.kind == "micro-time")
        except ValueError as error:
            raise _Wrong(str(error)) from error

    def bytes(self, value: Any, type_: Type) -> Any:
        if type(value) is not str:
            return self.mistyped(_shown(value), type_)
        text = value.replace("\n", "").replace("\r", "")
        try:
            base64.b64decode(text, validate=True)
        except ValueError as error:  # binascii.Error, or text outside ASCII
            raise _Wrong(f"illegal base64 data at input byte {_bad_base64(text)}") from error
        return text


_OMITTED = ("list", "map")
"""Optional ones are not there when they are empty: Go leaves them out (omitempty), and so they are never stored."""

_SCHEMA = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps"
_UNIONS = frozenset(f"JSONSchemaPropsOr{other}" for other in ("Array", "Bool", "StringArray"))
"""Types of CustomResourceDefinitions whose value is a schema or something else; to patches they are any value."""
_TEXT = Type("string", go="string")

_LEAVES: dict[str, Callable[[_Walk, Any, Type], Any]] = {
    "object": _Walk.object,
    "integer": _Walk.integer,
    "number": _Walk.number,
    "boolean": _Walk.boolean,
    "int-or-string": _Walk.int_or_string,
    "quantity": _Walk.quantity,
    "time": _Walk.time,
    "micro-time": _Walk.time,
    "bytes": _Walk.bytes,
}


def _shown(value: Any) -> str:
    if type(value) is bool:
        return "bool"
    if type(value) in (int, float):
        return "number"
    return {str: "string", list: "array", dict: "object", type(None): "null"}.get(type(value), "value")


def _zero(type_: Type) -> Any:
    """What Go has where JSON says null inside a list or map."""
    match type_.kind:
        case "struct" | "map" | "object":
            return {}
        case "list":
            return []
        case "integer" | "number" | "int-or-string":
            return 0
        case "boolean":
            return False
        case "quantity":
            return "0"
    return ""


def _bad_base64(text: str) -> int:
    """Where Go's decoder stops: at the first byte outside the alphabet, else at the end."""
    for position, character in enumerate(text):
        if not (character.isascii() and (character.isalnum() or character in "+/")):
            return position
    return len(text) - len(text) % 4


def conform(obj: Any, type_: Type, *, version: str = "", kind: str = "", path: str = "") -> list[str]:
    """Make `obj` what `type_` says, in place; returns what strict decoding would complain of (unknown fields).

    `path` is where it stands in what was sent.

    Raises BadRequest for a wrong type: `Deployment in version "v1" cannot be handled as a Deployment: json: ...`.
    """
    walk = _Walk()
    try:
        walk.value(obj, type_, path)
        if not walk.first:
            return walk.problems
        text = walk.first
    except _Wrong as error:
        text = walk.first or str(error)
    raise BadRequest(unfit(text, version=version, kind=kind))


def unfit(text: str, *, version: str, kind: str) -> str:
    """The sentence around a decoding error."""
    return f'{kind} in version "{version}" cannot be handled as a {kind}: {text}' if kind else text


def strict(problems: list[str], *, version: str, kind: str) -> BadRequest:
    """The error for fieldValidation=Strict."""
    return BadRequest(unfit("strict decoding error: " + ", ".join(problems), version=version, kind=kind))


class _Duplicated(Exception):
    pass


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _Duplicated
    return found


def duplicates(body: bytes) -> bool:
    """Whether a key stands twice in one JSON object; quick, for it looks at every body."""
    try:
        json.loads(body, object_pairs_hook=_pairs)
    except _Duplicated:
        return True
    except ValueError:
        return False
    return False


def strict_problems(body: bytes, type_: Type) -> list[str]:
    """What strict decoding says of unknown and of doubled fields, in the order of the document.

    The slow way, for a body that has duplicates: `conform` alone sees only the last of each.
    """
    found: dict[str, None] = {}
    _collect(json.loads(body, object_pairs_hook=_Pairs), type_, "", found)
    return list(found)[:_MOST_PROBLEMS]


class _Pairs(list[tuple[str, Any]]):
    """The members of a JSON object, doubles and all."""


def _collect(value: Any, type_: Type | None, path: str, found: dict[str, None]) -> None:
    if isinstance(value, _Pairs):
        seen: set[str] = set()
        known = type_.fields if type_ is not None and type_.kind == "struct" else None
        for key, inner in value:
            where = f"{path}.{key}" if path else key
            field = known.get(key) if known is not None else type_.items if type_ is not None else None
            if known is not None and field is None and type_ is not None and not type_.preserve:
                found[f'unknown field "{where}"'] = None
                continue
            if key in seen:
                found[f'duplicate field "{where}"'] = None
            seen.add(key)
            _collect(inner, field, where, found)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            _collect(inner, type_.items if type_ is not None else None, f"{path}[{index}]", found)
