"""API objects into messages, byte for byte as Kubernetes' own types write them; each message compiled at its first use.

Fields go in the order of their numbers, entries of a map in the order of their keys. What is no pointer in Go is always
written, zero or not; a pointer when the object has the field; null is what is not there.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import msgspec

from ..objects import Obj
from .leaves import WIRE_TYPES
from .message import UNIONS, table
from .wire import BYTES, number, sized
from .writers import WRITERS, ZEROS, Writer


class _Row(NamedTuple):
    """A field of table.json."""

    name: str
    number: int
    type: str
    shape: str

    @property
    def tag(self) -> bytes:
        wire_type = BYTES if self.shape == "{}" else WIRE_TYPES.get(self.type, BYTES)
        return number(self.number << 3 | wire_type)

    @property
    def delimited(self) -> bool:
        return self.type not in WIRE_TYPES or WIRE_TYPES[self.type] == BYTES


@cache
def _rows(message: str) -> list[_Row]:
    found = []
    for name, text in msgspec.json.decode(table().messages[message], type=dict[str, str]).items():
        at, type_, *flags = text.split()
        found.append(_Row(name, int(at), type_, "^" if name.startswith("^") else flags[0] if flags else ""))
    return sorted(found, key=lambda row: row.number)


@cache
def writer_of(type_: str) -> Writer:
    """The content of a value of a type: a scalar, one of Kubernetes' own forms, or a message."""
    if (leaf := WRITERS.get(type_)) is not None:
        return leaf
    if type_ in UNIONS:
        return _UNION_WRITERS[type_]
    rows = _rows(type_)
    if _is_list(rows):
        return _list(rows[0])
    return _message(rows)


def _message(rows: list[_Row]) -> Writer:
    """As many parts as there are fields, those of the object replaced: what is not there costs nothing."""
    template = [_absent(row) for row in rows]
    slots = _LazySlots(rows)
    embedded = [(at, row.tag, row.type) for at, row in enumerate(rows) if row.shape == "^"]

    def write(obj: Obj) -> bytes:
        parts = template.copy()
        for name, value in obj.items():
            if value is not None and (slot := slots[name]) is not None:
                parts[slot[0]] = slot[1](value)
        for at, tag, type_ in embedded:
            parts[at] = tag + sized(writer_of(type_)(obj))
        return b"".join(parts)

    return write


class _LazySlots(dict[str, tuple[int, Writer] | None]):
    """Compiled when first asked for, for messages contain themselves; None for what the message has not itself."""

    def __init__(self, rows: list[_Row]) -> None:
        self._rows = {row.name: (at, row) for at, row in enumerate(rows)}

    def __missing__(self, name: str) -> tuple[int, Writer] | None:
        found = self._rows.get(name)
        if found is None:
            return None
        slot = self[name] = found[0], _field(found[1])
        return slot


def _absent(row: _Row) -> bytes:
    """What is written of a field that the object has not."""
    if row.shape in ("*", "[]", "{}") or _is_slice(row.type):
        return b""
    zero = _zero(row.type)
    return row.tag + (sized(zero) if row.delimited else zero)


def _is_list(rows: list[_Row]) -> bool:
    return bool(rows) and rows[0].name == "*"


def _is_slice(type_: str) -> bool:
    """Bytes and named lists, which may be nil in Go without being pointers."""
    return type_ == "bytes" or (type_ not in ZEROS and _is_list(_rows(type_)))


def _zero(type_: str) -> bytes:
    """The content of a value that has nothing in it."""
    if (zero := ZEROS.get(type_)) is not None:
        return zero
    return b"" if _is_slice(type_) else b"".join(map(_absent, _rows(type_)))


def _field(row: _Row) -> Writer:
    """What writes a whole field."""
    one = _one(row.tag, row.type, delimited=row.delimited)
    if row.shape == "[]":
        return lambda values: b"".join([one(value) for value in values])
    if row.shape == "{}":
        return _map(row)
    return one


def _one(tag: bytes, type_: str, *, delimited: bool) -> Writer:
    write, zero = writer_of(type_), _zero(type_)
    if not delimited:
        return lambda value: tag + (zero if value is None else write(value))

    def field(value: Any) -> bytes:
        content = zero if value is None else write(value)
        size = len(content)
        return tag + (_SMALL[size] if size < 128 else number(size)) + content

    return field


_SMALL = [bytes((size,)) for size in range(128)]


def _map(row: _Row) -> Writer:
    """Entries are messages of key and value."""
    tag, one = row.tag, _one(b"\x12", row.type, delimited=row.delimited)
    absent = b"" if row.type == "bytes" else b"\x12" + sized(_zero(row.type))

    def entry(key: str, value: Any) -> bytes:
        head = b"\x0a" + sized(key.encode())
        return head + (absent if value is None else one(value))

    return lambda values: b"".join([tag + sized(entry(key, values[key])) for key in sorted(values)])


def _list(row: _Row) -> Writer:
    """A named list: a message with the elements in its only field."""
    return _field(row)


def _items(value: Any) -> bytes:
    """JSONSchemaPropsOrArray: one schema, or a list of them."""
    write = writer_of("apiextensions.v1.JSONSchemaProps")
    if isinstance(value, list):
        return b"".join([b"\x12" + sized(write(one)) for one in value])
    return b"\x0a" + sized(write(value))


def _or_flag(value: Any) -> bytes:
    """JSONSchemaPropsOrBool: what is a schema allows."""
    if isinstance(value, bool):
        return b"\x08\x01" if value else b"\x08\x00"
    return b"\x08\x01\x12" + sized(writer_of("apiextensions.v1.JSONSchemaProps")(value))


def _or_names(value: Any) -> bytes:
    """JSONSchemaPropsOrStringArray."""
    if isinstance(value, list):
        return b"".join([b"\x12" + sized(one.encode()) for one in value])
    return b"\x0a" + sized(writer_of("apiextensions.v1.JSONSchemaProps")(value))


_UNION_WRITERS: dict[str, Callable[[Any], bytes]] = {
    "apiextensions.v1.JSONSchemaPropsOrArray": _items,
    "apiextensions.v1.JSONSchemaPropsOrBool": _or_flag,
    "apiextensions.v1.JSONSchemaPropsOrStringArray": _or_names,
}


def item_of(list_message: str) -> Writer:
    """What writes an item of a list as the field that it is of the list's message."""
    (row,) = (row for row in _rows(list_message) if row.name == "items")
    return _one(row.tag, row.type, delimited=True)
