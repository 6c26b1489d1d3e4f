"""Unknown fields go (docs: custom resources, "Field pruning")."""

from typing import Any

from .walk import EMBEDDED, EMBEDDED_RESOURCE, PRESERVE, Schema, below, child


def prune(value: Any, schema: Schema, *, root: bool = False) -> list[str]:
    """Take away, in place, what the schema does not name; the paths of what went, as strict decoding reports them."""
    unknown: list[str] = []
    _prune(value, schema, "", unknown, embedded=root)
    return unknown


def _prune(value: Any, schema: Schema, path: str, unknown: list[str], *, embedded: bool) -> None:
    if isinstance(value, list):
        items = schema.get("items")
        if items is None and schema.get(PRESERVE):
            return  # any JSON: nothing is said of what is in it
        items = items or {}
        for index, item in enumerate(value):
            _prune(item, items, f"{path}[{index}]", unknown, embedded=bool(items.get(EMBEDDED_RESOURCE)))
        return
    if not isinstance(value, dict):
        return
    keeps = bool(schema.get(PRESERVE)) or schema.get("additionalProperties") is True
    for name in list(value):
        if embedded and name in EMBEDDED:
            continue  # of an object's own metadata the caller takes care
        found = below(schema, name)
        if found is not None:
            inside = bool(found.get(EMBEDDED_RESOURCE))
            _prune(value[name], found, child(path, name), unknown, embedded=inside)
        elif not keeps:
            unknown.append(child(path, name))
            del value[name]
