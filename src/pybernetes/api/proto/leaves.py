"""Types whose JSON is a single value: scalars, and Kubernetes' messages with a JSON form of their own.

Each reads the value of one field; None is Go's JSON null, which objects leave out.
"""

import base64
import struct
from collections.abc import Callable
from typing import Any

from .. import times
from ..objects import decode
from .wire import BYTES, FIXED64, VARINT, Malformed, Value, fields, signed

Leaf = Callable[[Value], Any]


def text(value: Value) -> str:
    assert isinstance(value, bytes)
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise Malformed("proto: string is not valid UTF-8") from error


def _number(value: Value) -> int:
    assert isinstance(value, int)
    return signed(value)


def _double(value: Value) -> float | int:
    """Whole numbers lose their point, as in Go's JSON."""
    assert isinstance(value, int)
    (found,) = struct.unpack("<d", value.to_bytes(8, "little"))
    return int(found) if abs(found) < 1e15 and found.is_integer() else float(found)


def _int32(value: Value) -> int:
    low = _number(value) & 0xFFFF_FFFF
    return low - (1 << 32) if low >> 31 else low


def _parts(value: Value) -> dict[int, Value]:
    assert isinstance(value, bytes)
    return {number: part for number, _, part in fields(value)}


def _bytes(value: Value) -> str:
    assert isinstance(value, bytes)
    return base64.b64encode(value).decode()


def _quantity(value: Value) -> str:
    part = _parts(value).get(1, b"")
    return (text(part) if isinstance(part, bytes) else "") or "0"


def _int_or_string(value: Value) -> int | str:
    parts = _parts(value)
    if parts.get(1, 0) == 1:
        found = parts.get(3, b"")
        return text(found) if isinstance(found, bytes) else ""
    number = parts.get(2, 0)
    return _int32(number) if isinstance(number, int) else 0


def _moment(value: Value) -> tuple[int, int] | None:
    """Seconds and nanoseconds; None for the empty message, Go's zero time."""
    if not value:
        return None
    parts = _parts(value)
    seconds, nanos = parts.get(1, 0), parts.get(2, 0)
    if not (isinstance(seconds, int) and isinstance(nanos, int)):
        raise Malformed("proto: wrong wireType for a Time")
    whole, rest = divmod(_int32(nanos), 10**9)
    found = signed(seconds) + whole
    if not -62_135_596_800 <= found < 253_402_300_800:
        raise Malformed("a time outside the years 1 to 9999")
    return found, rest


def _time(value: Value) -> str | None:
    """To the second: what JSON cannot say is dropped, in Go too."""
    found = _moment(value)
    return None if found is None else times.stamp(found[0])


def _micro_time(value: Value) -> str | None:
    found = _moment(value)
    return None if found is None else f"{times.stamp(found[0])[:-1]}.{found[1] // 1000:06}Z"


def _json(value: Value) -> Any:
    """FieldsV1, RawExtension and JSON: raw JSON in field 1."""
    raw = _parts(value).get(1, b"")
    if not raw:
        return None
    try:
        return decode(raw) if isinstance(raw, bytes) else None
    except ValueError as error:
        raise Malformed(f"an embedded object is not JSON: {error}") from error


WIRE_TYPES = {
    "string": BYTES, "bytes": BYTES, "bool": VARINT, "int32": VARINT, "int64": VARINT, "double": FIXED64,
}  # fmt: skip
"""Of the scalars; every other type has the wire type of messages."""

LEAVES: dict[str, Leaf] = {
    "string": text,
    "bytes": _bytes,
    "bool": bool,
    "int32": _int32,
    "int64": _number,
    "double": _double,
    "apiextensions.v1.JSON": _json,
    "api.resource.Quantity": _quantity,
    "util.intstr.IntOrString": _int_or_string,
    "meta.v1.Time": _time,
    "meta.v1.MicroTime": _micro_time,
    "meta.v1.FieldsV1": _json,
    "pkg.runtime.RawExtension": _json,
}
