"""What the rules of a schema may not say: found when they are written, by the types that the schema gives their fields.

Source: apiextensions' validation of x-kubernetes-validations, and its schema/cel, which makes types of schemas.
"""

import re
from collections.abc import Iterator, Sequence

from .. import cel
from ..errors import FieldError
from .rules import RESERVED, RULES, escaped, program_of, typed
from .walk import EMBEDDED_RESOURCE, Schema, below

Problems = Iterator[FieldError]

_REASONS = ("FieldValueRequired", "FieldValueForbidden", "FieldValueInvalid", "FieldValueDuplicate")
_LINES = re.compile(r"[\n\r]")
_STEP = re.compile(r"\.([^.\[\]]+)|\['((?:[^'\\]|\\.)+)'\]")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_FORMATS: dict[str, cel.Scalar] = {
    "byte": "bytes",
    "duration": "duration",
    "date": "timestamp",
    "date-time": "timestamp",
}
_SCALARS: dict[str, cel.Scalar] = {"boolean": "bool", "number": "double", "integer": "int"}
_META = cel.Fields({"name": "string", "generateName": "string"})


def rule_problems(
    schema: Schema, path: str, *, wrong: Sequence[str] = (), root: bool = True, lost: str = ""
) -> Problems:
    """Of all rules in a schema. Where fields at `wrong` are no schema, the rules above them are not compiled.

    `lost` is where an outer list or map keeps old items from being found again.
    """
    rules = schema.get(RULES) or ()
    for index, rule in enumerate(rules):
        yield from _texts(rule, f"{path}.{RULES}[{index}]")
        yield from _field_path(rule, schema, f"{path}.{RULES}[{index}]")
    if rules and not any(field.startswith(path) for field in wrong):
        yield from _programs(schema, path, root=root, lost=lost)
    atomic = path if schema.get("x-kubernetes-map-type") == "atomic" else ""
    for name, inner in (schema.get("properties") or {}).items():
        if isinstance(inner, dict) and not (root and name == "metadata"):
            where = f"{path}.properties[{name}]"
            yield from rule_problems(inner, where, wrong=wrong, root=_embedded(inner), lost=lost or atomic)
    if isinstance(items := schema.get("items"), dict):
        apart = "" if schema.get("x-kubernetes-list-type") == "map" else path
        yield from rule_problems(items, f"{path}.items", wrong=wrong, root=_embedded(items), lost=lost or apart)
    if isinstance(extra := schema.get("additionalProperties"), dict):
        where = f"{path}.additionalProperties"
        yield from rule_problems(extra, where, wrong=wrong, root=_embedded(extra), lost=lost)


def _embedded(schema: Schema) -> bool:
    return bool(schema.get(EMBEDDED_RESOURCE))


def _texts(rule: Schema, where: str) -> Problems:
    message: str = rule.get("message") or ""
    if not (rule.get("rule") or "").strip():
        yield FieldError.required(f"{where}.rule", "rule is not specified")
    elif message and not message.strip():
        yield FieldError.invalid(f"{where}.message", message, "message must be non-empty if specified")
    elif _LINES.search(message.strip()):
        yield FieldError.invalid(f"{where}.message", message, "message must not contain line breaks")
    elif _LINES.search(rule["rule"].strip()) and not message.strip():
        yield FieldError.required(f"{where}.message", "message must be specified if rule contains line breaks")
    if rule.get("messageExpression") and not rule["messageExpression"].strip():
        yield FieldError.required(f"{where}.messageExpression", "messageExpression must be non-empty if specified")
    if rule.get("reason") and rule["reason"] not in _REASONS:
        yield FieldError.not_supported(f"{where}.reason", rule["reason"], _REASONS)


def _field_path(rule: Schema, schema: Schema, where: str) -> Problems:
    text: str = rule.get("fieldPath") or ""
    if text and not text.strip():
        yield FieldError.invalid(f"{where}.fieldPath", text, "fieldPath must be non-empty if specified")
    if _LINES.search(text):
        yield FieldError.invalid(f"{where}.fieldPath", text, "fieldPath must not contain line breaks")
    if text and not _leads(text, schema):
        yield FieldError.invalid(f"{where}.fieldPath", text, "fieldPath must be a valid path")


def _leads(path: str, schema: Schema) -> bool:
    """Whether a field path leads to a field of the schema; items of lists cannot be named."""
    at: Schema | None = schema
    position = 0
    while position < len(path):
        step = _STEP.match(path, position)
        at = below(at, step[1] or step[2]) if step and at is not None else None
        if step is None or at is None:
            return False
        position = step.end()
    return True


def _programs(schema: Schema, path: str, *, root: bool, lost: str) -> Problems:
    shape = shape_of(schema, root=root) or "dyn"
    checker = cel.Checker({"self": shape, "oldSelf": shape, "__old": shape})
    for index, rule in enumerate(schema.get(RULES) or ()):
        where = f"{path}.{RULES}[{index}]"
        if not (rule.get("rule") or "").strip():
            continue
        yield from _program(rule, "rule", "bool", where, checker)
        if (rule.get("messageExpression") or "").strip():
            yield from _program(rule, "messageExpression", "string", where, checker)
        yield from _old(rule, where, lost=lost)


def _program(rule: Schema, field: str, wanted: str, path: str, checker: cel.Checker) -> Problems:
    try:
        returns = checker.returns(typed(rule, field))
    except cel.Broken as error:
        yield FieldError.invalid(f"{path}.{field}", rule[field], f"compilation failed: {error}")
        return
    if returns not in (wanted, "dyn"):
        detail = f"cel expression must evaluate to a {wanted}"
        yield FieldError.invalid(f"{path}.{field}", rule[field], f"compilation failed: {detail}")


def _old(rule: Schema, path: str, *, lost: str) -> Problems:
    try:
        _, transition = program_of(rule)
    except cel.Broken:
        return  # said already
    if transition and lost:
        detail = f"oldSelf cannot be used on the uncorrelatable portion of the schema within {lost}"
        yield FieldError.invalid(f"{path}.rule", rule["rule"], detail)
    elif not transition and rule.get("optionalOldSelf") is not None:
        detail = "may not be set if oldSelf is not used in rule"
        yield FieldError.invalid(f"{path}.optionalOldSelf", rule["optionalOldSelf"], detail)


def shape_of(schema: Schema, *, root: bool = False) -> cel.Shape | None:
    """The type of a value in expressions; None for what they cannot reach.

    The `root` of a resource has apiVersion, kind and the names of its metadata, whatever the schema says.
    """
    if schema.get("x-kubernetes-int-or-string"):
        return "dyn"
    kind = schema.get("type") or ("object" if root else "")
    if kind == "string":
        return _FORMATS.get(schema.get("format") or "", "string")
    if kind == "array":
        items = schema.get("items")
        inner = shape_of(items, root=_embedded(items)) if isinstance(items, dict) else None
        return None if inner is None else cel.ListOf(inner)
    if kind == "object":
        return _object(schema, root=root)
    return _SCALARS.get(kind)


def _object(schema: Schema, *, root: bool) -> cel.Shape | None:
    extra = schema.get("additionalProperties")
    if isinstance(extra, dict):
        inner = shape_of(extra, root=_embedded(extra))
        return None if inner is None else cel.MapOf(inner)
    fields: dict[str, cel.Shape] = {}
    for name, member in (schema.get("properties") or {}).items():
        shape = shape_of(member, root=_embedded(member)) if isinstance(member, dict) else None
        if shape is not None and _NAME.fullmatch(key := escaped(name)):
            fields[key] = shape
            if name in RESERVED:  # it may also be written as it is
                fields[name] = shape
    if root:
        fields |= {"apiVersion": "string", "kind": "string", "metadata": _META}
    return cel.Fields(fields)
