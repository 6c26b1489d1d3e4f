"""An OpenAPI v3 document in gnostic's protobuf form, which some clients prefer for it is read faster in Go.

Driven by tables of the messages: what a document has that they have not is left out, as protobuf cannot say it.
Field numbers: github.com/google/gnostic-models, OpenAPIv3.proto. Values that may be anything are YAML, and JSON is.
"""

import struct
from collections.abc import Callable, Mapping
from typing import Any

from .objects import Obj, encode
from .proto.wire import number, sized

Writer = Callable[[int, Any], bytes]
"""Of a field's number and value: all of the field."""


def packed(document: Obj) -> bytes:
    """The document as an openapi.v3.Document."""
    return _message("Document", document)


def _message(name: str, value: Mapping[str, Any]) -> bytes:
    fields, extensions = _MESSAGES[name]
    known = [(*fields[key], one) for key, one in value.items() if key in fields]
    written = b"".join(write(at, one) for at, write, one in sorted(known, key=lambda field: field[0]))
    others = ((key, one) for key, one in value.items() if key.startswith("x-"))
    return written + b"".join(_delimited(extensions, _named(key, _any(one))) for key, one in others if extensions)


def _delimited(at: int, content: bytes) -> bytes:
    return number(at << 3 | 2) + sized(content)


def _named(name: str, content: bytes) -> bytes:
    return _delimited(1, name.encode()) + _delimited(2, content)


def _any(value: Any) -> bytes:
    return _delimited(2, encode(value) + b"\n")


def _text(at: int, value: str) -> bytes:
    return _delimited(at, value.encode()) if value else b""


def _whole(at: int, value: int) -> bytes:
    return number(at << 3) + number(int(value)) if value else b""


def _real(at: int, value: float) -> bytes:
    return number(at << 3 | 1) + struct.pack("<d", value) if value else b""


def _texts(at: int, values: list[str]) -> bytes:
    return b"".join(_delimited(at, one.encode()) for one in values)


def _anys(at: int, values: list[Any]) -> bytes:
    return b"".join(_delimited(at, _any(one)) for one in values)


def _of(name: str) -> Writer:
    return lambda at, value: _delimited(at, _message(name, value))


def _or_reference(name: str) -> Callable[[Any], bytes]:
    """The content of a message that is either one of this name or a reference."""

    def content(value: Any) -> bytes:
        if "$ref" in value:
            return _delimited(2, _message("Reference", value))
        return _delimited(1, _message(name, value))

    return content


_schema = _or_reference("Schema")


def _one(content: Callable[[Any], bytes]) -> Writer:
    return lambda at, value: _delimited(at, content(value))


def _many(content: Callable[[Any], bytes]) -> Writer:
    return lambda at, values: b"".join(_delimited(at, content(one)) for one in values)


def _map(content: Callable[[Any], bytes]) -> Writer:
    """A message whose only field is a list of named things."""
    return lambda at, values: _delimited(
        at, b"".join(_delimited(1, _named(name, content(one))) for name, one in values.items())
    )


def _items(at: int, value: Any) -> bytes:
    return _delimited(at, b"".join(_delimited(1, _schema(one)) for one in _listed(value)))


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _additional(at: int, value: Any) -> bytes:
    if isinstance(value, bool):
        return _delimited(at, b"\x10" + number(int(value)))
    return _delimited(at, _delimited(1, _schema(value)))


def _default(at: int, value: Any) -> bytes:
    """A number, a flag or a text; of all others only that there is one."""
    if isinstance(value, bool):
        return _delimited(at, b"\x10" + number(int(value)))
    if isinstance(value, int | float):
        return _delimited(at, b"\x09" + struct.pack("<d", value))
    return _delimited(at, _delimited(3, value.encode()) if isinstance(value, str) else b"")


def _responses(at: int, value: Obj) -> bytes:
    content = _or_reference("Response")
    named = (_delimited(2, _named(code, content(one))) for code, one in value.items() if code != "default")
    default = _delimited(1, content(value["default"])) if "default" in value else b""
    return _delimited(at, default + b"".join(named))


_CONTENT = _map(lambda value: _message("MediaType", value))
_METHODS = {"get": 4, "put": 5, "post": 6, "delete": 7, "options": 8, "head": 9, "patch": 10, "trace": 11}

_MESSAGES: dict[str, tuple[dict[str, tuple[int, Writer]], int]] = {
    "Document": (
        {
            "openapi": (1, _text),
            "info": (2, _of("Info")),
            "paths": (4, _map(lambda value: _message("PathItem", value))),
            "components": (5, _of("Components")),
        },
        9,
    ),
    "Info": ({"title": (1, _text), "description": (2, _text), "version": (6, _text)}, 7),
    "Components": ({"schemas": (1, _map(_schema))}, 10),
    "Reference": ({"$ref": (1, _text)}, 0),
    "PathItem": (
        {method: (at, _of("Operation")) for method, at in _METHODS.items()}
        | {"parameters": (13, _many(_or_reference("Parameter")))},
        14,
    ),
    "Operation": (
        {
            "tags": (1, _texts),
            "summary": (2, _text),
            "description": (3, _text),
            "operationId": (5, _text),
            "parameters": (6, _many(_or_reference("Parameter"))),
            "requestBody": (7, _one(_or_reference("RequestBody"))),
            "responses": (8, _responses),
            "deprecated": (10, _whole),
        },
        13,
    ),
    "Parameter": (
        {
            "name": (1, _text),
            "in": (2, _text),
            "description": (3, _text),
            "required": (4, _whole),
            "schema": (10, _one(_schema)),
        },
        14,
    ),
    "RequestBody": ({"description": (1, _text), "content": (2, _CONTENT), "required": (3, _whole)}, 4),
    "Response": ({"description": (1, _text), "content": (3, _CONTENT)}, 5),
    "MediaType": ({"schema": (1, _one(_schema))}, 5),
    "ExternalDocs": ({"description": (1, _text), "url": (2, _text)}, 3),
    "Schema": (
        {
            "nullable": (1, _whole),
            "readOnly": (3, _whole),
            "writeOnly": (4, _whole),
            "externalDocs": (6, _of("ExternalDocs")),
            "example": (7, _one(_any)),
            "deprecated": (8, _whole),
            "title": (9, _text),
            "multipleOf": (10, _real),
            "maximum": (11, _real),
            "exclusiveMaximum": (12, _whole),
            "minimum": (13, _real),
            "exclusiveMinimum": (14, _whole),
            "maxLength": (15, _whole),
            "minLength": (16, _whole),
            "pattern": (17, _text),
            "maxItems": (18, _whole),
            "minItems": (19, _whole),
            "uniqueItems": (20, _whole),
            "maxProperties": (21, _whole),
            "minProperties": (22, _whole),
            "required": (23, _texts),
            "enum": (24, _anys),
            "type": (25, _text),
            "allOf": (26, _many(_schema)),
            "oneOf": (27, _many(_schema)),
            "anyOf": (28, _many(_schema)),
            "not": (29, _of("Schema")),
            "items": (30, _items),
            "properties": (31, _map(_schema)),
            "additionalProperties": (32, _additional),
            "default": (33, _default),
            "description": (34, _text),
            "format": (35, _text),
        },
        36,
    ),
}
"""By name: its fields by their names in the document, and the number of its extensions (0 for none)."""
