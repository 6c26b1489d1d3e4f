"""ValidatingAdmissionPolicy, MutatingAdmissionPolicy and their bindings: what they match and what they say of it.

Expressions must be there; what they mean is found when they are evaluated.
"""

import re
from collections.abc import Iterator

from .. import names
from ..errors import FieldError
from ..objects import Obj, name_of
from . import checks
from .condition_checks import conditions
from .pod_defaults import fill
from .rules import Check, NameRule, Problems, Table, among, at_most, each, follow, given, inside, matching, may, need
from .strategy import Strategy
from .webhooks import operation_rule, reserved_name, reserved_name_warnings

_FAILURES, _MATCHES = among("Fail", "Ignore"), among("Equivalent", "Exact")
_MUTABLE = ("*", "CONNECT", "CREATE", "UPDATE")
_REASONS = ("Forbidden", "Invalid", "RequestEntityTooLarge")
_MOST_NOTES, _MOST_NOTE_BYTES, _MOST_CONDITIONS = 20, 5 * 1024, 64
_IDENTIFIER = re.compile(r"[_a-zA-Z][_a-zA-Z0-9]*")
_RESERVED = frozenset(
    (
        *("true", "false", "null", "in", "as", "break", "const", "continue", "else", "for", "function", "if", "import"),
        *("let", "loop", "package", "namespace", "return", "var", "void", "while"),
    )
)


def _default_matches(found: Obj | None) -> None:
    if found is None:
        return
    fill(found, {"matchPolicy": "Equivalent"})
    for field in ("namespaceSelector", "objectSelector"):
        if found.get(field) is None:
            found[field] = {}
    for field in ("resourceRules", "excludeResourceRules"):
        for rule in found.get(field) or ():
            fill(rule, {"scope": "*"})


def _named_rule(rule: Obj, path: str) -> Problems:
    names_ = rule.get("resourceNames") or []
    yield from each(matching(names.path_segment))(names_, f"{path}.resourceNames")
    yield from checks.unique(names_, lambda index: f"{path}.resourceNames[{index}]")
    yield from operation_rule(rule, path)


_SELECTOR = given(checks.selector)
_MATCHED: Table = {
    "matchPolicy": need(_MATCHES),
    "namespaceSelector": _SELECTOR,
    "objectSelector": _SELECTOR,
    "resourceRules": may(each(_named_rule)),
    "excludeResourceRules": may(each(_named_rule)),
}


def _text(detail: str = "") -> Table:
    """An expression that must not be blank."""
    return {"expression": need(_not_blank(detail), detail)}


def _not_blank(detail: str) -> Check:
    def check(value: str, path: str) -> Problems:
        if not value.strip():
            yield FieldError.required(path, detail)

    return check


_CONDITION: Table = {**_text(), "name": need(matching(names.qualified))}


def _conditions(found: list[Obj], path: str) -> Problems:
    yield from at_most(_MOST_CONDITIONS)(found, path)
    yield from each(inside(_CONDITION))(found, path)
    yield from checks.unique((one.get("name") for one in found), lambda index: f"{path}[{index}].name")


def _identifier(value: str, path: str) -> Problems:
    if not value.strip():
        yield FieldError.required(path, "name is not specified")
    elif not _IDENTIFIER.fullmatch(value) or value in _RESERVED:
        yield FieldError.invalid(path, value, "must be a valid CEL identifier")


_VARIABLE: Table = {"name": need(_identifier, "name is not specified"), **_text("expression is not specified")}


def _param_kind(found: Obj, path: str) -> Problems:
    version = found.get("apiVersion") or ""
    if not version:
        yield FieldError.required(f"{path}.apiVersion")
    elif version.count("/") > 1:
        detail = f"unexpected GroupVersion string: {version}"
        yield FieldError.invalid(f"{path}.apiVersion", version, detail)
    else:
        group, _, last = version.rpartition("/")
        if group:
            yield from _joined(group, f"{path}.apiVersion", names.subdomain)
        if not last:
            yield FieldError.invalid(f"{path}.apiVersion", version, "version must be specified")
        else:
            yield from _joined(last, f"{path}.apiVersion", names.label_1035)
    kind = found.get("kind") or ""
    if not kind:
        yield FieldError.required(f"{path}.kind")
    elif wrong := ",".join(names.label_1035(kind.lower())):
        detail = f"may have mixed case, but should otherwise match: {wrong}"
        yield FieldError.invalid(f"{path}.kind", kind, detail)


def _joined(value: str, path: str, rule: NameRule) -> Problems:
    if wrong := ",".join(rule(value)):
        yield FieldError.invalid(path, value, wrong)


def _policy(spec: Obj, path: str) -> Problems:
    """What both kinds of policy share, up to the variables."""
    yield from follow(spec, {"failurePolicy": need(_FAILURES), "paramKind": given(_param_kind)}, path)
    constraints = spec.get("matchConstraints")
    if constraints is None:
        yield FieldError.required(f"{path}.matchConstraints")
    else:
        yield from follow(constraints, _MATCHED, f"{path}.matchConstraints")
        if not constraints.get("resourceRules"):
            yield FieldError.required(f"{path}.matchConstraints.resourceRules")


_REST: Table = {"matchConditions": may(_conditions), "variables": may(each(inside(_VARIABLE)))}


def _mutable_only(found: Obj | None, path: str) -> Problems:
    """Nothing is left to change of what is deleted."""
    for rule in (found or {}).get("resourceRules") or ():
        for operation in rule.get("operations") or ():
            yield from among(*_MUTABLE)(operation, f"{path}.resourceRules.operations")


class _PolicyStrategy(Strategy):
    unconditional_update = False
    generation = True

    def default(self, obj: Obj) -> None:
        spec = obj.setdefault("spec", {})
        fill(spec, {"failurePolicy": "Fail"})
        _default_matches(spec.get("matchConstraints"))

    def warnings(self, new: Obj, old: Obj | None, *, part: str = "") -> Iterator[str]:
        if not part:
            yield from reserved_name_warnings(new, old)


class ValidatingPolicyStrategy(_PolicyStrategy):
    status = True

    def check(self, new: Obj, old: Obj | None, *, part: str = "") -> Problems:
        if part == "status":
            yield from follow(new.get("status") or {}, _STATUS, "status")
            return
        spec: Obj = new.get("spec") or {}
        yield from reserved_name(new, old)
        yield from _policy(spec, "spec")
        yield from follow(spec, _REST, "spec")
        validations, notes = spec.get("validations") or [], spec.get("auditAnnotations") or []
        if not validations and not notes:
            detail = "validations or auditAnnotations must contain at least one item"
            yield FieldError.required("spec.validations", detail)
            yield FieldError.required("spec.auditAnnotations", detail)
        yield from each(_validation)(validations, "spec.validations")
        if len(notes) > _MOST_NOTES:
            detail = f"must not have more than {_MOST_NOTES} auditAnnotations"
            yield FieldError.invalid("spec.auditAnnotations", notes, detail)
        for index, note in enumerate(notes):
            yield from _note(note, f"spec.auditAnnotations[{index}]", policy=name_of(new))
        yield from checks.unique((note.get("key") for note in notes), lambda i: f"spec.auditAnnotations[{i}].key")


_WARNING: Table = {"warning": need(), "fieldRef": need()}
_STATUS: Table = {
    "typeChecking": may(inside({"expressionWarnings": may(each(inside(_WARNING)))})),
    "conditions": may(conditions),
}


def _validation(found: Obj, path: str) -> Problems:
    yield from follow(found, _text("expression is not specified"), path)
    for field in ("messageExpression", "message"):
        text = found.get(field) or ""
        if text and not text.strip():
            yield FieldError.invalid(f"{path}.{field}", text, "must be non-empty if specified")
        elif field == "message" and re.search(r"[\n\r]", text.strip()):
            yield FieldError.invalid(f"{path}.{field}", text, "must not contain line breaks")
    yield from follow(found, {"reason": given(among(*_REASONS))}, path)


def _note(note: Obj, path: str, *, policy: str) -> Problems:
    """A key of the audit annotations, to which the policy's name is the prefix."""
    yield from checks.named(f"{policy}/{note.get('key') or ''}", f"{path}.key", names.qualified)
    expression = (note.get("valueExpression") or "").strip()
    if not expression:
        yield FieldError.required(f"{path}.valueExpression", "valueExpression is not specified")
    elif len(expression.encode()) > _MOST_NOTE_BYTES:
        detail = f"must not exceed {_MOST_NOTE_BYTES} bytes in length"
        yield FieldError.required(f"{path}.valueExpression", detail)


class MutatingPolicyStrategy(_PolicyStrategy):
    def default(self, obj: Obj) -> None:
        super().default(obj)
        fill(obj["spec"], {"reinvocationPolicy": "Never"})

    def check(self, new: Obj, old: Obj | None, *, part: str = "") -> Problems:
        spec: Obj = new.get("spec") or {}
        yield from reserved_name(new, old)
        yield from _policy(spec, "spec")
        yield from _mutable_only(spec.get("matchConstraints"), "spec.matchConstraints")
        yield from follow(spec, _REST, "spec")
        yield from follow(spec, _MUTATING, "spec")


_PATCHES = {"JSONPatch": "jsonPatch", "ApplyConfiguration": "applyConfiguration"}


def _mutation(found: Obj, path: str) -> Problems:
    kind = found.get("patchType") or ""
    yield from follow(found, {"patchType": need(among(*sorted(_PATCHES)))}, path)
    for name, field in _PATCHES.items() if kind in _PATCHES else ():
        value = found.get(field)
        if name == kind and value is None:
            yield FieldError.required(f"{path}.{field}", f"must be specified when patchType is {kind}")
        elif name == kind:
            yield from follow(value or {}, _text(), f"{path}.{field}")
        elif value is not None:
            detail = f"must not be specified when patchType is {kind}"
            yield FieldError.invalid(f"{path}.{field}", f"{{{field}}}", detail)


_MUTATING: Table = {
    "mutations": need(each(_mutation), "mutations must contain at least one item"),
    "reinvocationPolicy": need(among("IfNeeded", "Never")),
}


def _param_reference(found: Obj, path: str) -> Problems:
    name, selector = found.get("name") or "", found.get("selector")
    both = "name and selector are mutually exclusive"
    yield from follow(found, {"name": may(matching(names.path_segment))}, path)
    if name and selector is not None:
        yield FieldError.forbidden(f"{path}.name", both)
    yield from follow(found, {"selector": _SELECTOR}, path)
    if name and selector is not None:
        yield FieldError.forbidden(f"{path}.selector", both)
    if not name and selector is None:
        yield FieldError.required(path, "one of name or selector must be specified")
    yield from follow(found, {"parameterNotFoundAction": need(among("Deny", "Allow"))}, path)


def _actions(found: list[str], path: str) -> Problems:
    yield from each(among("Audit", "Deny", "Warn"))(found, path)
    yield from checks.unique(found, lambda index: f"{path}[{index}]")
    if "Deny" in found and "Warn" in found:
        detail = (
            "must not contain both Deny and Warn (repeating the same validation failure information in the API "
            "response and headers serves no purpose)"
        )
        yield FieldError.invalid(path, found, detail)


_BINDING: Table = {
    "policyName": need(matching(names.subdomain)),
    "paramRef": given(_param_reference),
    "matchResources": given(inside(_MATCHED)),
}


class PolicyBindingStrategy(Strategy):
    unconditional_update = False
    generation = True

    def __init__(self, *, mutating: bool) -> None:
        self.mutating = mutating

    def default(self, obj: Obj) -> None:
        _default_matches(obj.setdefault("spec", {}).get("matchResources"))

    def check(self, new: Obj, old: Obj | None, *, part: str = "") -> Problems:
        spec: Obj = new.get("spec") or {}
        yield from reserved_name(new, old)
        yield from follow(spec, _BINDING, "spec")
        if self.mutating:
            yield from _mutable_only(spec.get("matchResources"), "spec.matchResources")
        else:
            actions = {"validationActions": need(_actions, "at least one validation action is required")}
            yield from follow(spec, actions, "spec")

    def warnings(self, new: Obj, old: Obj | None, *, part: str = "") -> Iterator[str]:
        if not part:
            yield from reserved_name_warnings(new, old)
