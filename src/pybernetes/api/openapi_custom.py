"""Custom kinds in the OpenAPI documents: their schemas as clients can take them, in v3 and in v2.

Source: apiextensions-apiserver, pkg/controller/openapi/builder and v2.
"""

from typing import Any

from . import openapi_builtin
from .objects import Obj
from .resources import Resource
from .structural.walk import EMBEDDED_RESOURCE, PRESERVE

V3, V2 = "#/components/schemas/", "#/definitions/"
"""Where references find definitions."""
_LIST_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta"
_JUNCTIONS = ("allOf", "anyOf", "oneOf", "not")
_INNER = ("items", "additionalProperties")


def schemas(row: Resource, schema: Obj, *, v2: bool = False) -> Obj:
    """The definitions of a row and of its list, by name."""
    return {row.definition: _kind(row, schema, v2=v2), row.list_definition: _list(row, v2=v2)}


def _kind(row: Resource, schema: Obj, *, v2: bool) -> Obj:
    """With properties clients refuse all others, so that a kind that takes any has none in v2."""
    names = {"x-kubernetes-group-version-kind": [_gvk(row, row.kind)]}
    if not schema or (v2 and schema.get(PRESERVE)):
        return {"type": "object"} | names
    found: Obj = _published(_in_v2(schema) if v2 else schema, v2=v2)
    found["properties"] = (found.get("properties") or {}) | _own(v2=v2)
    return found | names


def _published(schema: Any, *, v2: bool) -> Any:
    """Embedded objects have what every object has."""
    if not isinstance(schema, dict):
        return schema
    found = dict(schema)
    if "properties" in schema:
        found["properties"] = {name: _published(one, v2=v2) for name, one in schema["properties"].items()}
    for word in _INNER:
        if word in schema:
            found[word] = _published(schema[word], v2=v2)
    if schema.get(EMBEDDED_RESOURCE) and not (v2 and schema.get(PRESERVE)):
        found["properties"] = (found.get("properties") or {}) | _own(v2=v2)
        required = list(schema.get("required") or ())
        found["required"] = required + [name for name in ("kind", "apiVersion") if name not in required]
    return found


def _in_v2(schema: Any) -> Any:
    """Without what v2 has no words for, and what kubectl cannot read there."""
    if not isinstance(schema, dict):
        return schema
    found = {word: value for word, value in schema.items() if word not in (*_JUNCTIONS, "nullable")}
    if schema.get("nullable"):
        found = {word: value for word, value in found.items() if word not in ("type", "items", "properties")}
    if schema.get(PRESERVE):
        found = {word: value for word, value in found.items() if word not in ("items", "properties")}
        if found.get("type") == "object":
            del found["type"]
    if found.get("type") == "array" and "items" not in found:
        del found["type"]
    if "properties" in found:
        nullable = {name for name, one in found["properties"].items() if one.get("nullable")}
        found["properties"] = {name: _in_v2(one) for name, one in found["properties"].items()}
        _without_required(found, nullable)
    for word in _INNER:
        if word in found:
            found[word] = _in_v2(found[word])
    return found


def _without_required(schema: Obj, names: set[str]) -> None:
    kept = [name for name in schema.get("required") or () if name not in names]
    schema.pop("required", None)
    if kept:
        schema["required"] = kept


def _own(*, v2: bool) -> Obj:
    fields = openapi_builtin.own_fields()
    if not v2:
        return dict(fields)
    reference = {"$ref": fields["metadata"]["allOf"][0]["$ref"].replace(V3, V2)}
    return fields | {"metadata": reference | {"description": fields["metadata"]["description"]}}


def _list(row: Resource, *, v2: bool) -> Obj:
    prefix = V2 if v2 else V3
    about = "https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md"
    own = openapi_builtin.own_fields()
    reference: Obj = {"$ref": prefix + _LIST_META}
    items = {
        "type": "array",
        "items": {"$ref": prefix + row.definition},
        "description": f"List of {row.plural}. More info: {about}",
    }
    properties = {name: own[name] for name in ("apiVersion", "kind")}
    properties |= {"items": items, "metadata": reference if v2 else {"allOf": [reference]}}
    return {
        "description": f"{row.list_kind} is a list of {row.kind}",
        "type": "object",
        "required": ["items"],
        "properties": properties,
        "x-kubernetes-group-version-kind": [_gvk(row, row.list_kind)],
    }


def _gvk(row: Resource, kind: str) -> Obj:
    return {"group": row.group, "version": row.version, "kind": kind}
