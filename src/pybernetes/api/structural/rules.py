"""x-kubernetes-validations: CEL rules of a schema, transition rules with oldSelf among them (KEP-2876)."""

import base64
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any

from .. import cel
from ..errors import FieldError
from .formats import duration
from .walk import EMBEDDED, MISSING, Schema, below, key_of, keyed, old_items, type_name

RULES = "x-kubernetes-validations"
_OLD = "__old"
"""Holds the old value of a rule whose oldSelf is optional."""
RESERVED = frozenset(
    (
        *("true", "false", "null", "in", "as", "break", "const", "continue", "else", "for", "function", "if"),
        *("import", "let", "loop", "package", "namespace", "return", "var", "void", "while"),
    )
)
_REASONS: Mapping[str, Callable[[str, Any, str], FieldError]] = {
    "FieldValueRequired": lambda path, _, text: FieldError.required(path, text),
    "FieldValueForbidden": lambda path, _, text: FieldError.forbidden(path, text),
    "FieldValueDuplicate": lambda path, value, text: FieldError("FieldValueDuplicate", path, text, value),
}


def has_rules(schema: Schema) -> bool:
    """Whether a schema has rules anywhere: most have none, and then nothing is walked."""
    if schema.get(RULES):
        return True
    inner = [*(schema.get("properties") or {}).values(), schema.get("items"), schema.get("additionalProperties")]
    return any(isinstance(one, dict) and has_rules(one) for one in inner)


def program_of(rule: Mapping[str, Any], field: str = "rule") -> tuple[cel.Program, bool]:
    """The program of a rule or of its messageExpression, and whether it names oldSelf. Raises cel.Broken."""
    expression = rule[field]
    try:
        return cel.compiled(expression, ("self",)), False
    except cel.Broken:
        if "oldSelf" not in expression:
            raise
    if rule.get("optionalOldSelf"):
        return cel.compiled(_bound(expression, f"{_OLD}[?'value']"), ("self", _OLD)), True
    return cel.compiled(expression, ("self", "oldSelf")), True


def typed(rule: Mapping[str, Any], field: str = "rule") -> str:
    """The expression for a checker that knows self, oldSelf and __old, all three of the value's type."""
    expression: str = rule[field]
    return _bound(expression, f"optional.of({_OLD})") if rule.get("optionalOldSelf") else expression


def _bound(expression: str, old: str) -> str:
    return f"cel.bind(oldSelf, {old}, {expression}\n)"


def broken_rules(
    value: Any,
    schema: Schema,
    path: str = "",
    *,
    old: Any = MISSING,
    root: bool = False,
    within: bool = False,
    before: bool = False,
) -> Iterator[FieldError]:
    """What the rules say against a value that fits its schema, and that was not so before.

    `before` asks for what was so before instead: it stays as it is, and its author is told (KEP-4008). `within` what
    has not changed nothing has, also where nobody can tell which the old value was.
    """
    if value is None:
        return
    unchanged = within or (old is not MISSING and old == value)
    for rule in schema.get(RULES) or ():
        program, transition = program_of(rule)
        if before is not (unchanged and not transition):
            continue
        if transition and old is MISSING and not rule.get("optionalOldSelf"):
            continue
        yield from _broken(program, rule, _variables(rule, value, schema, old), value, path)
    for member, inner, where, was in _inside(value, schema, path, old, root=root):
        yield from broken_rules(member, inner, where, old=was, within=unchanged, before=before)


def _inside(value: Any, schema: Schema, path: str, old: Any, *, root: bool) -> Iterator[tuple[Any, Schema, str, Any]]:
    """Fields or items that have a schema: each with it, its path and its old value."""
    if isinstance(value, dict):
        former = old if isinstance(old, dict) else {}
        for name, member in value.items():
            found = below(schema, name)
            if found is not None and not (root and name in EMBEDDED):
                yield member, found, keyed(path, schema, name), former.get(name, MISSING)
    elif isinstance(value, list):
        items, known = schema.get("items") or {}, old_items(schema, old)
        for index, item in enumerate(value):
            was = known.get(key_of(schema, item), MISSING) if known else MISSING
            yield item, items, f"{path}[{index}]", was


def _variables(rule: Mapping[str, Any], value: Any, schema: Schema, old: Any) -> dict[str, Any]:
    found = {"self": converted(value, schema)}
    was = MISSING if old is MISSING else converted(old, schema)
    if rule.get("optionalOldSelf"):
        found[_OLD] = {} if was is MISSING else {"value": was}
    elif was is not MISSING:
        found["oldSelf"] = was
    return found


def _broken(
    program: cel.Program, rule: Mapping[str, Any], variables: dict[str, Any], value: Any, path: str
) -> Iterator[FieldError]:
    """Nothing for a rule that holds."""
    where = path + (rule.get("fieldPath") or "") if path else (rule.get("fieldPath") or "").removeprefix(".")
    where = where or "<nil>"
    shown = type_name(value) if isinstance(value, dict | list) else value
    try:
        if program.evaluate(variables) is True:
            return
    except cel.Failed as error:
        text = f"{error} evaluating rule: {rule.get('message') or rule['rule'].strip()}"
        yield FieldError.invalid(where, shown, text)
        return
    make = _REASONS.get(rule.get("reason") or "", FieldError.invalid)
    yield make(where, shown, _message(rule, variables))


def _message(rule: Mapping[str, Any], variables: dict[str, Any]) -> str:
    if rule.get("messageExpression"):
        try:
            text = program_of(rule, "messageExpression")[0].evaluate(variables)
        except cel.Failed:
            text = None  # Kubernetes too falls back to what else there is
        if isinstance(text, str) and text.strip() and "\n" not in text:
            return text.strip()
    return rule.get("message") or f"failed rule: {rule['rule'].strip()}"


def converted(value: Any, schema: Schema) -> Any:
    """A value as rules see it: fields by their CEL names, times and durations as such, numbers as doubles."""
    if isinstance(value, dict):
        return _members(value, schema)
    if isinstance(value, list):
        items = schema.get("items") or {}
        return [converted(item, items) for item in value]
    if isinstance(value, int) and not isinstance(value, bool) and schema.get("type") == "number":
        return float(value)
    if isinstance(value, str) and (convert := _FORMATS.get(schema.get("format") or "")) is not None:
        return convert(value)
    return value


_FORMATS: Mapping[str, Callable[[str], Any]] = {
    "byte": base64.b64decode,
    "duration": lambda text: cel.duration(duration(text)),
    "date": lambda text: cel.timestamp(datetime.fromisoformat(f"{text}T00:00:00+00:00")),
    "date-time": lambda text: cel.timestamp(datetime.fromisoformat(text.replace("Z", "+00:00"))),
}


def _members(value: dict[str, Any], schema: Schema) -> dict[str, Any]:
    properties = schema.get("properties") or {}
    found = {}
    for name, member in value.items():
        inner = below(schema, name)
        if inner is None and name not in EMBEDDED:
            continue  # unknown fields that are preserved are not seen
        key = escaped(name) if name in properties or name in EMBEDDED else name
        if member is not None or (inner or {}).get("nullable"):
            found[key] = converted(member, inner or {}) if inner is not None else member
            if key != name and name in RESERVED:
                found[name] = found[key]  # a.namespace is what a.__namespace__ is
    return found


def escaped(name: str) -> str:
    """A field's name in expressions (docs: CRD validation rules, "escaping")."""
    if name in RESERVED:
        return f"__{name}__"
    for text, escape in (("__", "__underscores__"), (".", "__dot__"), ("-", "__dash__"), ("/", "__slash__")):
        name = name.replace(text, escape)
    return name
