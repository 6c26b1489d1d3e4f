"""What a schema must be to be structural (docs: custom resources, "Specifying a structural schema")."""

from collections.abc import Iterator, Sequence
from typing import Any

from .. import regex
from ..errors import FieldError
from ..objects import copied
from .check import problems
from .prune import prune
from .rule_checks import rule_problems
from .walk import EMBEDDED_RESOURCE, PRESERVE, Schema

Problems = Iterator[FieldError]

_TYPES = ("array", "boolean", "integer", "number", "object", "string")
_LOGIC = ("allOf", "anyOf", "oneOf")
_BANNED = (
    "$ref",
    "definitions",
    "dependencies",
    "patternProperties",
    "additionalItems",
    "deprecated",
    "discriminator",
    "id",
)
_STRUCTURE = ("additionalProperties", "default", "nullable", "description", "title", "type", PRESERVE)
_LIST_TYPES = ("atomic", "map", "set")
_DEEPEST = 60


def schema_problems(schema: Schema, path: str) -> Problems:
    """All that keeps it from being structural, or its rules from being asked."""
    found = list(_structure(schema, path))
    yield from found
    yield from rule_problems(schema, path, wrong=[problem.field for problem in found])


def _structure(schema: Schema, path: str, *, root: bool = True, depth: int = 0) -> Problems:
    if depth > _DEEPEST:
        yield FieldError.invalid(path, "", "the schema is nested too deeply")
        return
    yield from _type(schema, path, root=root)
    yield from _banned(schema, path)
    yield from _lists(schema, path)
    yield from _pattern(schema, path)
    for name, inner in (schema.get("properties") or {}).items():
        where = f"{path}.properties[{name}]"
        if root and name == "metadata":
            yield from _metadata(inner, where)
        else:
            yield from _inner(inner, where, "object fields", depth)
    if isinstance(schema.get("items"), dict):
        yield from _inner(schema["items"], f"{path}.items", "array items", depth)
    if isinstance(extra := schema.get("additionalProperties"), dict):
        yield from _inner(extra, f"{path}.additionalProperties", "object fields", depth)
    for name in _LOGIC:
        for index, branch in enumerate(schema.get(name) or ()):
            yield from _logic(branch, f"{path}.{name}[{index}]", free=bool(schema.get("x-kubernetes-int-or-string")))
    if isinstance(schema.get("not"), dict):
        yield from _logic(schema["not"], f"{path}.not", free=False)


def _inner(schema: Schema, path: str, what: str, depth: int) -> Problems:
    if not schema.get("type") and not schema.get("x-kubernetes-int-or-string") and not schema.get(PRESERVE):
        yield FieldError.required(f"{path}.type", f"must not be empty for specified {what}")
    yield from _structure(schema, path, root=False, depth=depth + 1)
    if "default" in schema:
        yield from _default(schema, f"{path}.default")


def _default(schema: Schema, path: str) -> Problems:
    """A default must be what pruning leaves and validation passes."""
    value = copied({"value": schema["default"]})["value"]
    for unknown in prune(value, schema):
        yield FieldError.invalid(path, schema["default"], f"unknown field {unknown!r}")
    yield from problems(schema["default"], schema, path)


def _type(schema: Schema, path: str, *, root: bool) -> Problems:
    kind = schema.get("type") or ""
    if root and kind != "object":
        yield (
            FieldError.invalid(f"{path}.type", kind, "must be object at the root")
            if kind
            else FieldError.required(f"{path}.type", "must not be empty at the root")
        )
    elif kind and kind not in _TYPES:
        yield FieldError.not_supported(f"{path}.type", kind, _TYPES)
    if kind == "array" and not isinstance(schema.get("items"), dict):
        yield FieldError.required(f"{path}.items", "must be specified")
    if schema.get("properties") and schema.get("additionalProperties"):
        yield FieldError.forbidden(
            f"{path}.additionalProperties", "additionalProperties and properties are mutual exclusive"
        )
    if root and schema.get("additionalProperties"):
        yield FieldError.forbidden(f"{path}.additionalProperties", "must not be used at the root")
    if schema.get(EMBEDDED_RESOURCE):
        if kind != "object":
            yield FieldError.invalid(f"{path}.type", kind, f"must be object if {EMBEDDED_RESOURCE} is true")
        if not schema.get("properties") and not schema.get(PRESERVE):
            detail = f"must not be empty if {EMBEDDED_RESOURCE} is true without {PRESERVE}"
            yield FieldError.required(f"{path}.properties", detail)
    if schema.get("x-kubernetes-int-or-string"):  # a type beside it says nothing
        for other in (PRESERVE, EMBEDDED_RESOURCE):
            if schema.get(other):
                detail = "must be false if x-kubernetes-int-or-string is true"
                yield FieldError.invalid(f"{path}.{other}", True, detail)


def _banned(schema: Schema, path: str) -> Problems:
    for name in _BANNED:
        if schema.get(name):
            yield FieldError.forbidden(f"{path}.{name}", f"{name} is not supported")
    if schema.get("uniqueItems"):
        detail = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic"
        yield FieldError.forbidden(f"{path}.uniqueItems", detail)
    if schema.get("additionalProperties") is False:
        yield FieldError.forbidden(f"{path}.additionalProperties", "additionalProperties cannot be set to false")
    if schema.get(PRESERVE) is False:
        yield FieldError.invalid(f"{path}.{PRESERVE}", False, "must be true or undefined")


def _lists(schema: Schema, path: str) -> Problems:
    kind, keys = schema.get("x-kubernetes-list-type"), schema.get("x-kubernetes-list-map-keys") or []
    where = f"{path}.x-kubernetes-list-type"
    if kind is not None:
        if kind not in _LIST_TYPES:
            yield FieldError.not_supported(where, kind, _LIST_TYPES)
        if schema.get("type") != "array":
            detail = "must be array if x-kubernetes-list-type is specified"
            yield FieldError.invalid(f"{path}.type", schema.get("type") or "", detail)
    items = schema.get("items")
    if kind in ("map", "set") and isinstance(items, dict) and items.get("nullable"):
        yield FieldError.forbidden(
            f"{path}.items.nullable", f"cannot be nullable when x-kubernetes-list-type is {kind}"
        )
    if kind == "set" and isinstance(items, dict):
        yield from _set_items(items, f"{path}.items")
    if kind == "map":
        yield from _map_keys(schema.get("items") or {}, keys, path)
    elif keys:
        yield FieldError.invalid(where, kind or "", "must be map if x-kubernetes-list-map-keys is non-empty")
    map_type = schema.get("x-kubernetes-map-type")
    if map_type is not None and schema.get("type") != "object":
        detail = "must be object if x-kubernetes-map-type is specified"
        yield FieldError.invalid(f"{path}.type", schema.get("type") or "", detail)
    if map_type is not None and map_type not in ("atomic", "granular"):
        yield FieldError.not_supported(f"{path}.x-kubernetes-map-type", map_type, ("atomic", "granular"))


def _set_items(items: Schema, path: str) -> Problems:
    """What is in a set is written whole: a list is so by itself, an object only when it says so."""
    which = {"array": "x-kubernetes-list-type", "object": "x-kubernetes-map-type"}.get(items.get("type") or "")
    if which is None:
        return
    found = items.get(which)
    if found != "atomic" and not (found is None and items["type"] == "array"):
        yield FieldError.invalid(
            f"{path}.{which}", found, "must be atomic as item of a list with x-kubernetes-list-type=set"
        )


def _map_keys(items: Schema, keys: Sequence[str], path: str) -> Problems:
    if not keys:
        detail = "must not be empty if x-kubernetes-list-type is map"
        yield FieldError.required(f"{path}.x-kubernetes-list-map-keys", detail)
    if items.get("type") != "object":
        detail = "must be object if parent array's x-kubernetes-list-type is map"
        yield FieldError.invalid(f"{path}.items.type", items.get("type") or "", detail)
    if len(set(keys)) < len(keys):
        detail = "must not contain duplicate entries"
        yield FieldError.invalid(f"{path}.x-kubernetes-list-map-keys", list(keys), detail)
    properties = items.get("properties") or {}
    for index, key in enumerate(keys):
        yield from _map_key(properties.get(key) or {}, f"{path}.items.properties[{key}]")
        if key not in properties:
            detail = "entries must all be names of item properties"
            yield FieldError.invalid(f"{path}.x-kubernetes-list-map-keys[{index}]", key, detail)
        elif key not in (items.get("required") or ()) and "default" not in properties[key]:
            detail = (
                "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property"
            )
            yield FieldError.required(f"{path}.items.properties[{key}].default", detail)


def _map_key(schema: Schema, path: str) -> Problems:
    """An entry is known by values that are there and can be compared."""
    if schema.get("type") in ("array", "object"):
        detail = "must be a scalar type if parent array's x-kubernetes-list-type is map"
        yield FieldError.invalid(f"{path}.type", schema["type"], detail)
    if schema.get("nullable"):
        detail = "this property is in x-kubernetes-list-map-keys, so it cannot be nullable"
        yield FieldError.forbidden(f"{path}.nullable", detail)


def _pattern(schema: Schema, path: str) -> Problems:
    if text := schema.get("pattern"):
        try:
            regex.compiled(text)
        except regex.BadPattern as error:
            yield FieldError.invalid(f"{path}.pattern", text, f"must be a valid regular expression, but isn't: {error}")


def _metadata(schema: Any, path: str) -> Problems:
    allowed = {"type", "properties", "description"}
    inner = set((schema.get("properties") or {}) if isinstance(schema, dict) else ())
    if set(schema) - allowed or inner - {"name", "generateName"}:
        detail = "must not specify anything other than name and generateName, but metadata is implicitly specified"
        yield FieldError.forbidden(path, detail)


def _logic(schema: Schema, path: str, *, free: bool) -> Problems:
    """Branches of logic may restrict values, and not say what they are."""
    for name in _STRUCTURE:
        if name in schema and not (name == "type" and free):
            yield FieldError.forbidden(f"{path}.{name}", "must be empty to be structural")
    for name, inner in (schema.get("properties") or {}).items():
        yield from _logic(inner, f"{path}.properties[{name}]", free=free)
    if isinstance(schema.get("items"), dict):
        yield from _logic(schema["items"], f"{path}.items", free=free)
