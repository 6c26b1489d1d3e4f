"""Objects inside objects (x-kubernetes-embedded-resource): their metadata is ObjectMeta, whatever the schema says."""

from typing import Any

from .. import decoding
from ..errors import BadRequest
from ..schema import OBJECT_META, type_of
from .walk import EMBEDDED_RESOURCE, Schema, below, child


def has_embedded(schema: Schema) -> bool:
    """Whether anything below says so: most schemas do not, and their objects need not be walked."""
    if schema.get(EMBEDDED_RESOURCE):
        return True
    inner = [*(schema.get("properties") or {}).values(), schema.get("items"), schema.get("additionalProperties")]
    return any(isinstance(one, dict) and has_embedded(one) for one in inner)


def fit_metadata(value: Any, schema: Schema, path: str = "", *, stored: bool = False) -> list[str]:
    """Make the metadata of embedded objects fit, in place; what strict decoding says of it is returned.

    Raises BadRequest for what is no metadata; of a `stored` object that goes silently.
    """
    found: list[str] = []
    if isinstance(value, list):
        items = schema.get("items") or {}
        for index, item in enumerate(value):
            found += fit_metadata(item, items, f"{path}[{index}]", stored=stored)
    elif isinstance(value, dict):
        if schema.get(EMBEDDED_RESOURCE) and "metadata" in value:
            found += _fitted(value, child(path, "metadata"), stored=stored)
        for name, member in value.items():
            inner = below(schema, name)
            if inner is not None:
                found += fit_metadata(member, inner, child(path, name), stored=stored)
    return found


def _fitted(obj: dict[str, Any], path: str, *, stored: bool) -> list[str]:
    try:
        return decoding.conform(obj["metadata"], type_of(OBJECT_META), path=path)
    except BadRequest as error:
        if not stored:
            raise BadRequest(f"{path}: Invalid value: {error.message}") from error
        del obj["metadata"]
        return []
