"""Values whose JSON is a single one, as the bytes of a protobuf field: the counterpart of leaves.py.

A writer takes the JSON value and gives the content of a length-delimited field, or the varint or fixed number that a
scalar is; tag and length are put before by encoding.py.
"""

import base64
import struct
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from .. import times
from ..objects import encode
from ..quantity import canonical
from .wire import number, sized

Writer = Callable[[Any], bytes]

_GO_ZERO = "0001-01-01T00:00:00"
_INT_OR_STRING = b"\x08\x00\x10%b\x1a\x00", b"\x08\x01\x10\x00\x1a%b"


def _bytes(value: str) -> bytes:
    return base64.b64decode(value)


def _quantity(value: Any) -> bytes:
    return b"\x0a" + sized((value if isinstance(value, str) else canonical(value)).encode())


def _int_or_string(value: int | str) -> bytes:
    number_form, text_form = _INT_OR_STRING
    return text_form % sized(value.encode()) if isinstance(value, str) else number_form % number(int(value))


@lru_cache(maxsize=4096)
def _time(text: str, *, micro: bool = False) -> bytes:
    """Seconds and nanoseconds; Go's zero time is the empty message. Objects are full of the same times."""
    if text.startswith(_GO_ZERO):
        return b""
    seconds, micros = times.exact(text)
    return b"\x08%b\x10%b" % (number(seconds), number(micros * 1000 if micro else 0))


def _micro_time(text: str) -> bytes:
    return _time(text, micro=True)


def _json(value: Any) -> bytes:
    """FieldsV1, RawExtension and JSON; a null has no bytes, as in Go."""
    return b"" if value is None else b"\x0a" + sized(encode(value))


def _double(value: float) -> bytes:
    return struct.pack("<d", value)


def _flag(value: bool) -> bytes:
    return b"\x01" if value else b"\x00"


WRITERS: dict[str, Writer] = {
    "string": str.encode,
    "bytes": _bytes,
    "bool": _flag,
    "int32": number,
    "int64": number,
    "double": _double,
    "apiextensions.v1.JSON": _json,
    "api.resource.Quantity": _quantity,
    "util.intstr.IntOrString": _int_or_string,
    "meta.v1.Time": _time,
    "meta.v1.MicroTime": _micro_time,
    "meta.v1.FieldsV1": _json,
    "pkg.runtime.RawExtension": _json,
}

ZEROS: dict[str, bytes] = {
    "string": b"",
    "bool": b"\x00",
    "int32": b"\x00",
    "int64": b"\x00",
    "double": bytes(8),
    "api.resource.Quantity": b"\x0a\x010",
    "util.intstr.IntOrString": b"\x08\x00\x10\x00\x1a\x00",
    "meta.v1.Time": b"",
    "meta.v1.MicroTime": b"",
    "apiextensions.v1.JSON": b"",
    "meta.v1.FieldsV1": b"",
    "pkg.runtime.RawExtension": b"",
    "apiextensions.v1.JSONSchemaPropsOrArray": b"",
    "apiextensions.v1.JSONSchemaPropsOrBool": b"\x08\x00",
    "apiextensions.v1.JSONSchemaPropsOrStringArray": b"",
}
"""What Go writes for a value that is no pointer and has nothing in it."""
