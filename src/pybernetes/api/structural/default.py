"""Defaults of a structural schema (docs: custom resources, "Defaulting and nullable")."""

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
        for name, member in value.items():
            found = below(schema, name)
            if found is not None:
                apply_defaults(member, found)


def _fresh(value: Any) -> Any:
    return copied({"value": value})["value"] if isinstance(value, dict | list) else value
