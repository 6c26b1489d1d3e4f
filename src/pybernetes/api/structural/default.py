"""Defaults and nulls of a structural schema (docs: custom resources, "Defaulting and nullable")."""

from typing import Any

from ..objects import copied
from .walk import Schema, below


def apply_defaults(value: Any, schema: Schema) -> None:
    """Fill in, in place, what is absent, and what is null where null may not stand."""
    if isinstance(value, list):
        items = schema.get("items") or {}
        for item in value:
            apply_defaults(item, items)
    elif isinstance(value, dict):
        for name, inner in (schema.get("properties") or {}).items():
            if "default" in inner and (name not in value or (value[name] is None and not inner.get("nullable"))):
                value[name] = _fresh(inner["default"])
        extra = schema.get("additionalProperties")
        if isinstance(extra, dict) and "default" in extra and not extra.get("nullable"):
            for name in [name for name, member in value.items() if member is None]:
                value[name] = _fresh(extra["default"])
        for name, member in value.items():
            found = below(schema, name)
            if found is not None:
                apply_defaults(member, found)


def drop_nulls(value: Any, schema: Schema) -> None:
    """Take away, in place, every null where null may not stand and no default takes its place."""
    if isinstance(value, list):
        items = schema.get("items") or {}
        for item in value:
            drop_nulls(item, items)
    elif isinstance(value, dict):
        for name in list(value):
            found = below(schema, name)
            if found is None:
                continue
            if value[name] is None and not found.get("nullable") and found.get("default") is None:
                del value[name]
            else:
                drop_nulls(value[name], found)


def _fresh(value: Any) -> Any:
    return copied({"value": value})["value"] if isinstance(value, dict | list) else value
