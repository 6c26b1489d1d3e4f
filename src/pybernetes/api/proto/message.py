"""Messages into plain objects, driven by the table that tools/distil_protobuf.py wrote; each compiled at its first use.

What comes out is what the same Go client would have sent as JSON: zeros of `omitempty` fields are left out, those of
pointers and of plain fields stay, embedded structs are flattened, an empty Time is absent. (One difference: structs
that are no pointers are left out when empty. To the server they are the same, it fills them in.)
"""

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from ..objects import Obj
from .leaves import LEAVES, WIRE_TYPES, text
from .wire import BYTES, VARINT, Malformed, Value, fields, packed

TABLE = Path(__file__).parent / "table.json"


class _Table(msgspec.Struct):
    version: str
    kinds: dict[str, dict[str, str]]
    messages: dict[str, msgspec.Raw]


class Field(NamedTuple):
    name: str
    wire_type: int
    read: Callable[[Value], Any]
    shape: str
    """"" one value, "?" one that is left out when zero, "[]" a list, "{}" a map, "^" embedded."""


UNIONS: dict[str, Callable[[Obj], Any]] = {
    "apiextensions.v1.JSONSchemaPropsOrArray": lambda found: found.get("?jSONSchemas") or found.get("?schema"),
    "apiextensions.v1.JSONSchemaPropsOrBool": lambda found: found.get("?schema", found.get("?allows", False)),
    "apiextensions.v1.JSONSchemaPropsOrStringArray": lambda found: found.get("?property") or found.get("?schema"),
}
"""The value of messages that are one of several things in JSON."""


@cache
def table() -> _Table:
    return msgspec.json.decode(TABLE.read_bytes(), type=_Table)


def message_of(api_version: str, kind: str) -> str | None:
    """The message of a kind; options like DeleteOptions are meta/v1's whatever the group."""
    kinds = table().kinds
    return kinds.get(api_version, {}).get(kind) or kinds[""].get(kind)


@cache
def _fields(message: str) -> Mapping[int, Field]:
    rows = msgspec.json.decode(table().messages[message], type=dict[str, str])
    return dict(_field(name, row) for name, row in rows.items())


def _field(name: str, row: str) -> tuple[int, Field]:
    number, type_, *flags = row.split()
    shape = "^" if name.startswith("^") else flags[0] if flags else ""
    read = LEAVES.get(type_) or _reader(type_)
    return int(number), Field(name, BYTES if shape == "{}" else WIRE_TYPES.get(type_, BYTES), read, shape)


def _reader(message: str) -> Callable[[Value], Any]:
    def read(value: Value) -> Any:
        assert isinstance(value, bytes)
        return decode_message(message, value)

    return read


def decode_message(message: str, data: bytes) -> Any:
    """The object of a message (a list for a named list). Raises Malformed."""
    known = _fields(message)
    result: Obj = {}
    for number, wire_type, value in fields(data):
        field = known.get(number)
        if field is None:
            continue
        if wire_type != field.wire_type:
            if not (field.shape == "[]" and wire_type == BYTES and field.wire_type == VARINT and type(value) is bytes):
                raise Malformed(f"proto: wrong wireType = {wire_type} for field {field.name}")
            result.setdefault(field.name, []).extend(field.read(one) for one in packed(value))
            continue
        _store(result, field, value)
    if message in UNIONS:
        return UNIONS[message](result)
    return result if "*" not in (field.name for field in known.values()) else result.get("*", [])


def _store(result: Obj, field: Field, value: Value) -> None:
    if field.shape == "[]":
        result.setdefault(field.name, []).append(field.read(value))
    elif field.shape == "{}":
        key, inner = _entry(field, value)
        result.setdefault(field.name, {})[key] = inner
    elif field.shape == "^":
        result.update(field.read(value))
    else:
        found = field.read(value)
        if found is not None and (found or field.shape != "?"):
            result[field.name] = found


def _entry(field: Field, value: Value) -> tuple[str, Any]:
    """One entry of a map: key 1, value 2; an absent value is the zero value."""
    assert isinstance(value, bytes)
    parts = {number: part for number, _, part in fields(value)}
    key, inner = parts.get(1, b""), parts.get(2, b"")
    if not (isinstance(key, bytes) and isinstance(inner, bytes)):
        raise Malformed(f"proto: wrong wireType in map {field.name}")
    return text(key), field.read(inner)
