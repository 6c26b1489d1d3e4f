"""The OpenAPI v2 document: one for all that is served, as JSON and in gnostic's protobuf form.

kubectl 1.27 and 1.28 read it in protobuf only, for `apply` and `explain`; later ones ask when v3 lacks a kind. It is
made of the same definitions and paths as the v3 documents.
Field numbers: github.com/google/gnostic-models, OpenAPIv2.proto.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from . import openapi, openapi_custom
from .objects import Obj, decode, encode
from .proto import wire
from .scheme import Scheme

_DROPPED = ("oneOf", "anyOf", "not", "nullable")
"""Words of schemas that v2 does not have."""


def document(scheme: Scheme) -> Obj:
    """GET /openapi/v2."""
    info = {"title": "Kubernetes", "version": f"v{openapi.release()}"}
    definitions: Obj = {}
    paths: Obj = {}
    for group in scheme.groups():
        for version in group.versions:
            found = openapi.document(scheme, group.name, version)
            if found is None:
                continue
            whole = decode(found)
            for name, schema in whole["components"]["schemas"].items():
                if name not in definitions:
                    definitions[name] = _schema(schema)
            for path, item in whole["paths"].items():
                paths[path] = _item(item)
            for row in scheme.in_version(group.name, version):
                if row.custom:
                    definitions |= openapi_custom.schemas(row, dict(scheme.entry(row).openapi or {}), v2=True)
    return {"swagger": "2.0", "info": info, "paths": paths, "definitions": definitions}


def _schema(schema: Any) -> Any:
    """A v3 schema in the words of v2: a reference with a description stands by itself, not in allOf."""
    if not isinstance(schema, dict):
        return schema
    out: Obj = {}
    for key, value in schema.items():
        if key in _DROPPED:
            continue
        if key == "$ref":
            out[key] = value.replace(openapi_custom.V3, openapi_custom.V2)
        elif key == "properties":
            out[key] = {name: _schema(one) for name, one in value.items()}
        elif key in ("items", "additionalProperties"):
            out[key] = _schema(value)
        elif key == "allOf":
            pieces = [_schema(one) for one in value]
            out |= pieces[0] if len(pieces) == 1 and "$ref" in pieces[0] else {"allOf": pieces}
        else:
            out[key] = value
    if "oneOf" in schema and "type" not in out:
        out["type"] = "string"  # IntOrString and Quantity, as Kubernetes has them in v2
    return out


def _item(item: Obj) -> Obj:
    found = {method: _operation(one) for method, one in item.items() if method != "parameters"}
    return found | {"parameters": [_parameter(one) for one in item.get("parameters", ())]}


def _operation(operation: Obj) -> Obj:
    parameters = [_parameter(one) for one in operation.get("parameters", ())]
    body = operation.get("requestBody")
    found: Obj = {
        key: value for key, value in operation.items() if key not in ("requestBody", "responses", "parameters")
    }
    if body is not None:
        found["consumes"] = list(body["content"])
        schema = _schema(next(iter(body["content"].values()))["schema"])
        required = {"required": True} if body.get("required") else {}
        parameters.insert(0, {"name": "body", "in": "body", "schema": schema} | required)
    if parameters:
        found["parameters"] = parameters
    answers = operation["responses"]
    found["produces"] = list(answers["200"]["content"])
    found["responses"] = {
        code: {"description": one["description"], "schema": _schema(next(iter(one["content"].values()))["schema"])}
        for code, one in answers.items()
    }
    return found


def _parameter(parameter: Obj) -> Obj:
    found = {key: value for key, value in parameter.items() if key != "schema"}
    schema: Obj = parameter["schema"]
    return found | schema


# Protobuf


def packed(document: Obj) -> bytes:
    """The document as an openapi.v2.Document."""
    info = document["info"]
    paths = b"".join(_named(2, path, _packed_item(item)) for path, item in document["paths"].items())
    return (
        _text(1, document["swagger"])
        + _bytes(2, _text(1, info["title"]) + _text(2, info["version"]))
        + _bytes(8, paths)
        + _bytes(9, b"".join(_named(1, name, _packed_schema(one)) for name, one in document["definitions"].items()))
    )


_PATH_METHODS = {"get": 2, "put": 3, "post": 4, "delete": 5, "options": 6, "head": 7, "patch": 8}


def _packed_item(item: Obj) -> bytes:
    methods = b"".join(
        _bytes(_PATH_METHODS[name], _packed_operation(item[name])) for name in _PATH_METHODS if name in item
    )
    return methods + b"".join(_bytes(9, _packed_parameter(one)) for one in item["parameters"])


def _packed_operation(operation: Obj) -> bytes:
    out = b"".join(_text(1, tag) for tag in operation.get("tags", ()))
    out += _text(5, operation["operationId"])
    out += b"".join(_text(6, media) for media in operation.get("produces", ()))
    out += b"".join(_text(7, media) for media in operation.get("consumes", ()))
    out += b"".join(_bytes(8, _packed_parameter(one)) for one in operation.get("parameters", ()))
    responses = b"".join(
        _named(1, code, _bytes(1, _packed_response(one))) for code, one in operation["responses"].items()
    )
    return out + _bytes(9, responses) + _extensions(13, operation)


def _packed_response(response: Obj) -> bytes:
    return _text(1, response["description"]) + _bytes(2, _bytes(1, _packed_schema(response["schema"])))


def _packed_parameter(parameter: Obj) -> bytes:
    """A ParametersItem."""
    place, name = parameter["in"], parameter["name"]
    required = _number(4 if place == "body" else 1, 1) if parameter.get("required") else b""
    if place == "body":
        body = _text(2, name) + _text(3, place) + required + _bytes(5, _packed_schema(parameter["schema"]))
        return _bytes(1, _bytes(1, body))
    plain = required + _text(2, place) + _text(4, name)
    plain += _text(5, parameter["type"]) if place == "path" else _text(6, parameter["type"])
    return _bytes(1, _bytes(2, _bytes(4 if place == "path" else 3, plain)))


_TEXTS = {"$ref": 1, "format": 2, "title": 3, "description": 4, "pattern": 13}
_NUMBERS = {"maxLength": 11, "minLength": 12, "maxItems": 14, "minItems": 15, "maxProperties": 17, "minProperties": 18}


def _packed_schema(schema: Mapping[str, Any]) -> bytes:
    out = b"".join(_text(number, schema[key]) for key, number in _TEXTS.items() if schema.get(key))
    if "default" in schema:
        out += _bytes(5, _any(schema["default"]))
    out += b"".join(_number(number, int(schema[key])) for key, number in _NUMBERS.items() if key in schema)
    out += b"".join(_text(19, name) for name in schema.get("required", ()))
    out += b"".join(_bytes(20, _any(value)) for value in schema.get("enum", ()))
    more = schema.get("additionalProperties")
    if isinstance(more, bool):
        out += _bytes(21, _number(2, int(more)))
    elif more is not None:
        out += _bytes(21, _bytes(1, _packed_schema(more)))
    if schema.get("type"):
        out += _bytes(22, _text(1, schema["type"]))
    if isinstance(schema.get("items"), dict):
        out += _bytes(23, _bytes(1, _packed_schema(schema["items"])))
    out += b"".join(_bytes(24, _packed_schema(one)) for one in schema.get("allOf", ()))
    if schema.get("properties"):
        fields = (_named(1, name, _packed_schema(one)) for name, one in schema["properties"].items())
        out += _bytes(25, b"".join(fields))
    return out + _extensions(31, schema)


def _extensions(number: int, value: Mapping[str, Any]) -> bytes:
    """x-...: NamedAny, whose values are YAML (JSON is)."""
    found: Iterator[str] = (key for key in value if key.startswith("x-"))
    return b"".join(_named(number, key, _any(value[key])) for key in found)


def _any(value: Any) -> bytes:
    return _bytes(2, encode(value) + b"\n")


def _named(number: int, name: str, value: bytes) -> bytes:
    """A message of a name and a value: NamedSchema, NamedPathItem, NamedAny, ..."""
    return _bytes(number, _text(1, name) + _bytes(2, value))


def _text(number: int, value: str) -> bytes:
    return _bytes(number, value.encode())


def _bytes(number: int, value: bytes) -> bytes:
    return wire.number(number << 3 | 2) + wire.sized(value)


def _number(number: int, value: int) -> bytes:
    return wire.number(number << 3) + wire.number(value)
