"""What all passes over a structural schema share: the schema below a field, paths, names of JSON types."""

from collections.abc import Mapping
from typing import Any

Schema = Mapping[str, Any]

EMBEDDED = ("apiVersion", "kind", "metadata")
"""Fields that every object has, whatever its schema says."""
PRESERVE = "x-kubernetes-preserve-unknown-fields"
EMBEDDED_RESOURCE = "x-kubernetes-embedded-resource"
MISSING: Any = object()
"""No old value: it is new, or cannot be told which one it was."""


def below(schema: Schema, name: str) -> Schema | None:
    """The schema of a field; None when nothing is said of it."""
    properties = schema.get("properties") or {}
    if name in properties:
        found: Schema = properties[name]
        return found
    extra = schema.get("additionalProperties")
    return extra if isinstance(extra, Mapping) else None


def child(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def keyed(path: str, schema: Schema, name: str) -> str:
    """The path of a member: a field, or a key of a map."""
    if name in (schema.get("properties") or {}) or not path:
        return child(path, name)
    return f"{path}[{name}]" if isinstance(schema.get("additionalProperties"), Mapping) else child(path, name)


def type_name(value: Any) -> str:
    """The JSON type of a value, as error texts name it."""
    if isinstance(value, bool):
        return "boolean"
    names = {dict: "object", list: "array", str: "string", int: "integer", float: "number", type(None): "null"}
    return names.get(type(value), "object")


def old_items(schema: Schema, old: Any) -> dict[Any, Any]:
    """Of a list of type map the old items by their keys; of other lists none can be told apart."""
    if schema.get("x-kubernetes-list-type") != "map" or not isinstance(old, list):
        return {}
    return {key_of(schema, item): item for item in old if isinstance(item, dict)}


def key_of(schema: Schema, item: Any) -> Any:
    """The identity of an item of a list of type map."""
    if not isinstance(item, dict):
        return None
    properties = (schema.get("items") or {}).get("properties") or {}
    keys = schema.get("x-kubernetes-list-map-keys") or ()
    return tuple(repr(item.get(key, (properties.get(key) or {}).get("default"))) for key in keys)
