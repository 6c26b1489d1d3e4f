"""Values against a structural schema, in the words of kube-openapi and apiextensions-apiserver.

What an update leaves as it was is not complained of again: a schema can be made stricter (KEP-4008, ratcheting).
"""

from collections.abc import Iterator
from typing import Any

from .. import regex
from ..errors import FieldError
from ..objects import encode
from .formats import fits
from .walk import EMBEDDED, EMBEDDED_RESOURCE, MISSING, PRESERVE, Schema, below, key_of, keyed, old_items, type_name

Problems = Iterator[FieldError]
_LEAST, _MOST = -(1 << 63), (1 << 63) - 1

_JUNCTIONS = {
    "allOf": "must validate all the schemas (allOf)",
    "anyOf": "must validate at least one schema (anyOf)",
    "oneOf": "must validate one and only one schema (oneOf)",
}


def problems(value: Any, schema: Schema, path: str = "", *, old: Any = MISSING, root: bool = False) -> Problems:
    """All that is wrong with a pruned and defaulted value."""
    if old is not MISSING and old == value:
        return
    if not _typed(value, schema):
        yield _mistyped(value, schema, path)
        return
    if value is None:
        return
    yield from _keywords(value, schema, path)
    if isinstance(value, dict):
        yield from _object(value, schema, path, old=old, root=root)
    elif isinstance(value, list):
        yield from _array(value, schema, path, old=old)
    yield from _junctions(value, schema, path)


def _typed(value: Any, schema: Schema) -> bool:
    if value is None:
        return bool(schema.get("nullable")) or (bool(schema.get(PRESERVE)) and not schema.get("type"))
    found = type_name(value)
    whole = found == "integer" and _LEAST <= value <= _MOST  # what is larger, Go reads as a float
    if schema.get("x-kubernetes-int-or-string"):
        return whole or found == "string"
    wanted = schema.get("type") or ""
    if wanted == "number":
        return found in ("number", "integer")
    return whole if wanted == "integer" else not wanted or wanted == found


def _mistyped(value: Any, schema: Schema, path: str) -> FieldError:
    found = type_name(value)
    if found == "integer" and not _LEAST <= value <= _MOST:
        found = "number"
    wanted = "integer,string" if schema.get("x-kubernetes-int-or-string") else schema.get("type") or ""
    return FieldError.type_invalid(path or "<nil>", found, f'{path} in body must be of type {wanted}: "{found}"')


def _keywords(value: Any, schema: Schema, path: str) -> Problems:
    if (allowed := schema.get("enum")) is not None and value not in allowed:
        yield FieldError.not_supported(path, value, [one if isinstance(one, str) else _json(one) for one in allowed])
    if isinstance(value, str):
        yield from _string(value, schema, path)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield from _number(value, schema, path)


def _string(value: str, schema: Schema, path: str) -> Problems:
    if (most := schema.get("maxLength")) is not None and len(value) > most:
        yield FieldError.too_long(path, value, most)
    if (least := schema.get("minLength")) is not None and len(value) < least:
        yield FieldError.invalid(path, value, f"{path} in body should be at least {least} chars long")
    if (pattern := schema.get("pattern")) and not regex.compiled(pattern).search(value):
        yield FieldError.invalid(path, value, f"{path} in body should match '{pattern}'")
    if (format_ := schema.get("format")) and not fits(value, format_):
        yield FieldError.invalid(path, value, f'{path} in body must be of type {format_}: "{value}"')


def _number(value: float, schema: Schema, path: str) -> Problems:
    if (least := schema.get("minimum")) is not None:
        open_ = bool(schema.get("exclusiveMinimum"))
        if value < least or (open_ and value == least):
            words = "greater than" if open_ else "greater than or equal to"
            yield FieldError.invalid(path, value, f"{path} in body should be {words} {_plain(least)}")
    if (most := schema.get("maximum")) is not None:
        open_ = bool(schema.get("exclusiveMaximum"))
        if value > most or (open_ and value == most):
            words = "less than" if open_ else "less than or equal to"
            yield FieldError.invalid(path, value, f"{path} in body should be {words} {_plain(most)}")
    if (step := schema.get("multipleOf")) and not float(value / step).is_integer():
        yield FieldError.invalid(path, value, f"{path} in body should be a multiple of {_plain(step)}")


def _plain(number: float) -> str:
    return str(int(number)) if float(number).is_integer() else str(number)


def _json(value: Any) -> str:
    return encode(value).decode()


def _object(value: dict[str, Any], schema: Schema, path: str, *, old: Any, root: bool) -> Problems:
    for name in schema.get("required") or ():
        if name not in value:
            yield FieldError.required(keyed(path, schema, name))
    size = len(value)
    if (most := schema.get("maxProperties")) is not None and size > most:
        yield FieldError("FieldValueTooMany", path, f"must have at most {most} items", size)
    if (least := schema.get("minProperties")) is not None and size < least:
        yield FieldError.invalid(path, value, f"{path} in body should have at least {least} properties")
    before = old if isinstance(old, dict) else {}
    embedded = root or bool(schema.get(EMBEDDED_RESOURCE))
    for name, member in value.items():
        found = below(schema, name)
        if root and name == "metadata":
            found = _named_metadata(found)
        elif embedded and name in EMBEDDED:
            continue
        if found is not None:
            yield from problems(member, found, keyed(path, schema, name), old=before.get(name, MISSING))


def _named_metadata(schema: Schema | None) -> Schema | None:
    """Of an object's own metadata a schema may restrict the name only."""
    rules = ((schema or {}).get("properties") or {}).get("name")
    return {"type": "object", "properties": {"name": rules}} if rules else None


def _array(value: list[Any], schema: Schema, path: str, *, old: Any) -> Problems:
    size = len(value)
    if (most := schema.get("maxItems")) is not None and size > most:
        yield FieldError("FieldValueTooMany", path, f"must have at most {most} items", size)
    if (least := schema.get("minItems")) is not None and size < least:
        yield FieldError.invalid(path, value, f"{path} in body should have at least {least} items")
    items = schema.get("items") or {}
    before = old_items(schema, old)
    kind = schema.get("x-kubernetes-list-type")
    seen: set[Any] = set()
    for index, item in enumerate(value):
        where = f"{path}[{index}]"
        key = key_of(schema, item) if kind == "map" else _json(item) if kind == "set" else None
        if key is not None:
            if key in seen:
                yield FieldError.duplicate(where, _identity(schema, item))
            seen.add(key)
        yield from problems(item, items, where, old=before.get(key, MISSING) if before else MISSING)


def _identity(schema: Schema, item: Any) -> Any:
    if schema.get("x-kubernetes-list-type") == "set":
        return item
    return {key: item.get(key) for key in schema.get("x-kubernetes-list-map-keys") or () if key in item}


def _junctions(value: Any, schema: Schema, path: str) -> Problems:
    shown = f'"{path}"'
    for name, text in _JUNCTIONS.items():
        if not (branches := schema.get(name)):
            continue
        passed = sum(not any(problems(value, branch, path)) for branch in branches)
        if name == "oneOf" and passed != 1:
            many = "Found none valid" if passed == 0 else f"Found {passed} valid alternatives"
            yield FieldError.invalid(path, _shown(value), f"{shown} {text}. {many}")
        elif (name == "allOf" and passed < len(branches)) or (name == "anyOf" and passed == 0):
            yield FieldError.invalid(path, _shown(value), f"{shown} {text}")
        if name != "oneOf" and passed < (len(branches) if name == "allOf" else 1):
            for branch in branches:
                yield from problems(value, branch, path)
    if (banned := schema.get("not")) and not any(problems(value, banned, path)):
        yield FieldError.invalid(path, _shown(value), f"{shown} must not validate the schema (not)")


def _shown(value: Any) -> Any:
    return type_name(value) if isinstance(value, dict | list) else value
