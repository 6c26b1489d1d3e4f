"""What is wrong with the objects inside custom resources (x-kubernetes-embedded-resource).

Source: apiextensions-apiserver, pkg/apiserver/schema/objectmeta/validation.go.
"""

from typing import Any

from .. import names
from ..errors import FieldError
from ..objects import Obj
from ..structural.walk import EMBEDDED_RESOURCE, Schema, below, child, keyed
from . import meta
from .strategy import Problems

_UNNAMED = "unnamed"
"""An embedded object needs no name, so that one is put in before metadata is looked at."""


def problems(value: Any, schema: Schema, path: str = "") -> Problems:
    """Of all embedded objects in a value, at any depth."""
    if isinstance(value, list):
        items = schema.get("items") or {}
        for index, item in enumerate(value):
            yield from problems(item, items, f"{path}[{index}]")
    elif isinstance(value, dict):
        if schema.get(EMBEDDED_RESOURCE):
            yield from _embedded(value, path)
        for name, member in value.items():
            inner = below(schema, name)
            if inner is not None:
                yield from problems(member, inner, keyed(path, schema, name))


def _embedded(obj: Obj, path: str) -> Problems:
    for field in ("apiVersion", "kind"):
        where, value = child(path, field), obj.get(field)
        if value is None or value == "":
            yield FieldError.required(where)
        elif not isinstance(value, str):
            yield FieldError.invalid(where, value, "must be a string")
        elif field == "kind" and (texts := list(names.label_1035(value.lower()))):
            detail = "may have mixed case, but should otherwise match: " + ",".join(texts)
            yield FieldError.invalid(where, value, detail)
        elif field == "apiVersion" and value.count("/") > 1:
            yield FieldError.invalid(where, value, f"unexpected GroupVersion string: {value}")
    if isinstance(found := obj.get("metadata"), dict):
        named = {"metadata": found | {"name": found.get("name") or _UNNAMED}}
        where = child(path, "metadata")
        yield from meta.validate(named, None, name_rule=meta.path_name, path=where, owned_finalizers=False)
