"""What is unwise in a schema, though valid: formats that nobody checks, sets of what cannot be compared.

Source: apiextensions-apiserver, customresourcedefinition/strategy.go (WarningsOnCreate) and SchemaHas.
"""

from collections.abc import Iterator, Mapping

from ..errors import quoted
from .formats import is_known
from .walk import Schema


def unwise(schema: Schema) -> Iterator[str]:
    """Formats in the order of the schema, then sets in the order of their texts."""
    every = list(_every(schema))
    for one in every:
        if (format_ := one.get("format")) and not is_known(format_, type_=one.get("type") or ""):
            yield f"unrecognized format {quoted(format_)}"
    yield from sorted({text for one in every for text in _odd_set(one)})


def _odd_set(schema: Schema) -> Iterator[str]:
    items = schema.get("items")
    kind = items.get("type") if isinstance(items, Mapping) else None
    if schema.get("x-kubernetes-list-type") == "set" and kind in ("object", "array"):
        yield (
            f"x-kubernetes-list-type: set for items of type {quoted(kind)} is not supported by server-side apply "
            "or CEL validation rules"
        )


def _every(schema: Schema) -> Iterator[Schema]:
    """The schema and all that are inside it."""
    yield schema
    items, extra = schema.get("items"), schema.get("additionalProperties")
    inner = [items] if isinstance(items, Mapping) else list(items or ())
    for field in ("allOf", "anyOf", "oneOf"):
        inner += schema.get(field) or ()
    inner += [schema.get("not"), *(schema.get("properties") or {}).values(), extra]
    for one in inner:
        if isinstance(one, Mapping):
            yield from _every(one)
