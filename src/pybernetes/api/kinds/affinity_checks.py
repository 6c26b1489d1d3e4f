"""Where a pod may run: tolerations, node and pod affinity, topology spread (core/validation)."""

from collections.abc import Collection, Mapping

from .. import names
from ..errors import FieldError
from ..objects import Obj
from . import checks
from .rules import Problems, Table, among, at_least, follow, given, need

EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_NODE_OPERATORS = ("DoesNotExist", "Exists", "Gt", "In", "Lt", "NotIn")
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"


def tolerations(found: Collection[Obj], path: str) -> Problems:
    for index, toleration in enumerate(found):
        yield from _toleration(toleration, f"{path}[{index}]")


def _toleration(toleration: Obj, path: str) -> Problems:
    key, operator = toleration.get("key") or "", toleration.get("operator") or ""
    effect, value = toleration.get("effect") or "", toleration.get("value") or ""
    if key:
        yield from checks.named(key, f"{path}.key", names.qualified)
    elif operator != "Exists":
        detail = 'operator must be Exists when `key` is empty, which means "match all values and all keys"'
        yield FieldError.invalid(f"{path}.operator", operator, detail)
    if toleration.get("tolerationSeconds") is not None and effect != "NoExecute":
        detail = "effect must be 'NoExecute' when `tolerationSeconds` is set"
        yield FieldError.invalid(f"{path}.effect", effect, detail)
    match operator:
        case "Equal" | "":
            if problems := list(names.label_value(value)):
                yield FieldError.invalid(f"{path}.operator", value, ";".join(problems))
        case "Exists":
            if value:
                yield FieldError.invalid(f"{path}.operator", value, "value must be empty when `operator` is 'Exists'")
        case "Gt" | "Lt":
            if not _is_integer(value):
                yield FieldError.invalid(f"{path}.value", value, "value must be a valid integer")
        case _:
            yield FieldError.not_supported(f"{path}.operator", operator, ("Equal", "Exists"))
    if effect and effect not in EFFECTS:
        yield FieldError.not_supported(f"{path}.effect", effect, EFFECTS)


def _is_integer(text: str) -> bool:
    """A 64-bit integer without leading zeros or a plus."""
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit()) or (len(digits) > 1 and digits[0] == "0"):
        return False
    return -(1 << 63) <= int(text) < 1 << 63


def affinity(found: Obj, path: str) -> Problems:
    if node := found.get("nodeAffinity"):
        yield from _node_affinity(node, f"{path}.nodeAffinity")
    for field in ("podAffinity", "podAntiAffinity"):
        if pods := found.get(field):
            yield from _pod_affinity(pods, f"{path}.{field}")


def _node_affinity(found: Obj, path: str) -> Problems:
    if (wanted := found.get(REQUIRED)) is not None:
        yield from node_selector(wanted, f"{path}.{REQUIRED}")
    for index, wish in enumerate(found.get(_PREFERRED) or ()):
        where = f"{path}.{_PREFERRED}[{index}]"
        yield from _weight(wish.get("weight") or 0, f"{where}.weight")
        yield from node_term(wish.get("preference") or {}, f"{where}.preference", values=False)


def _weight(weight: int, path: str) -> Problems:
    if not 1 <= weight <= 100:
        yield FieldError.invalid(path, weight, "must be in the range 1-100")


def node_selector(found: Obj, path: str) -> Problems:
    """A NodeSelector: terms, at least one."""
    terms = found.get("nodeSelectorTerms") or []
    if not terms:
        yield FieldError.required(f"{path}.nodeSelectorTerms", "must have at least one node selector term")
    for index, term in enumerate(terms):
        yield from node_term(term, f"{path}.nodeSelectorTerms[{index}]")


def node_term(term: Obj, path: str, *, values: bool = True) -> Problems:
    """A NodeSelectorTerm; values of a wish are not checked, for a wish may come true or not."""
    for index, expression in enumerate(term.get("matchExpressions") or ()):
        where = f"{path}.matchExpressions[{index}]"
        yield from checks.operator(expression, where, known=_NODE_OPERATORS)
        yield from checks.named(expression.get("key") or "", f"{where}.key", names.qualified)
        for number, value in enumerate((expression.get("values") or ()) if values else ()):
            yield from checks.named(value, f"{where}.values[{number}]", names.label_value)
    for index, expression in enumerate(term.get("matchFields") or ()):
        yield from _node_field(expression, f"{path}.matchFields[{index}]")


def _node_field(expression: Obj, path: str) -> Problems:
    operator, values = expression.get("operator") or "", expression.get("values") or []
    if operator not in ("In", "NotIn"):
        yield FieldError.invalid(f"{path}.operator", operator, "not a valid selector operator")
    elif len(values) != 1:
        detail = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector"
        yield FieldError.required(f"{path}.values", detail)
    if expression.get("key") != "metadata.name":
        yield FieldError.invalid(f"{path}.key", expression.get("key") or "", "not a valid field selector key")
        return
    for index, value in enumerate(values):
        yield from checks.named(value, f"{path}.values[{index}]", names.subdomain)


def _pod_affinity(found: Obj, path: str) -> Problems:
    for index, term in enumerate(found.get(REQUIRED) or ()):
        yield from _pod_term(term, f"{path}.{REQUIRED}[{index}]")
    for index, wish in enumerate(found.get(_PREFERRED) or ()):
        where = f"{path}.{_PREFERRED}[{index}]"
        yield from _weight(wish.get("weight") or 0, f"{where}.weight")
        yield from _pod_term(wish.get("podAffinityTerm") or {}, f"{where}.podAffinityTerm")


def _pod_term(term: Obj, path: str) -> Problems:
    selector = term.get("labelSelector")
    yield from checks.selector(selector, f"{path}.labelSelector")
    yield from checks.selector(term.get("namespaceSelector"), f"{path}.namespaceSelector")
    for name in term.get("namespaces") or ():
        yield from checks.named(name, f"{path}.namespace", names.label)
    matched, unmatched = term.get("matchLabelKeys") or [], term.get("mismatchLabelKeys") or []
    for field, keys in (("matchLabelKeys", matched), ("mismatchLabelKeys", unmatched)):
        yield from _label_keys(keys, f"{path}.{field}", selector=selector)
    yield from _said_twice(matched, selector, path)
    for index, key in enumerate(matched):
        if key in unmatched:
            detail = "exists in both matchLabelKeys and mismatchLabelKeys"
            yield FieldError.invalid(f"{path}.matchLabelKeys[{index}]", key, detail)
    if not term.get("topologyKey"):
        yield FieldError.required(f"{path}.topologyKey", "can not be empty")
    yield from checks.named(term.get("topologyKey") or "", f"{path}.topologyKey", names.qualified)


def _label_keys(keys: list[str], path: str, *, selector: Obj | None) -> Problems:
    if keys and selector is None:
        yield FieldError.forbidden(path, "must not be specified when labelSelector is not set")
        return
    for index, key in enumerate(keys):
        yield from checks.named(key, f"{path}[{index}]", names.qualified)


def _said_twice(keys: list[str], selector: Obj | None, path: str) -> Problems:
    """matchLabelKeys are merged into the selector when a pod is made: once there is right, twice is not."""
    found = selector or {}
    seen = set(found.get("matchLabels") or {})
    for expression in found.get("matchExpressions") or ():
        key = expression.get("key") or ""
        if key in keys and key in seen:
            detail = "exists in both matchLabelKeys and labelSelector"
            yield FieldError.invalid(f"{path}[{keys.index(key)}]", key, detail)
        seen.add(key)


_MANY = at_least(1, "must be greater than zero")
_SPREAD: Table = {
    "topologyKey": need(detail="can not be empty"),
    "whenUnsatisfiable": given(among("DoNotSchedule", "ScheduleAnyway")),
    "nodeAffinityPolicy": given(among("Honor", "Ignore")),
    "nodeTaintsPolicy": given(among("Honor", "Ignore")),
}


def spread(found: Collection[Obj], path: str) -> Problems:
    """spec.topologySpreadConstraints."""
    pairs = [(one.get("topologyKey"), one.get("whenUnsatisfiable")) for one in found]
    for index, constraint in enumerate(found):
        where = f"{path}[{index}]"
        yield from _MANY(constraint.get("maxSkew") or 0, f"{where}.maxSkew")
        yield from follow(constraint, _SPREAD, where)
        if pairs[index] in pairs[index + 1 :]:
            shown = f"{{{pairs[index][0]}, {pairs[index][1]}}}"
            yield FieldError.duplicate(f"{where}.{{topologyKey, whenUnsatisfiable}}", shown)
        yield from _min_domains(constraint, f"{where}.minDomains")
        yield from _spread_keys(constraint, f"{where}.matchLabelKeys")
        yield from checks.selector(constraint.get("labelSelector"), f"{where}.labelSelector")


def _min_domains(constraint: Obj, path: str) -> Problems:
    least, action = constraint.get("minDomains"), constraint.get("whenUnsatisfiable")
    if least is None:
        return
    yield from _MANY(least, path)
    if action != "DoNotSchedule":
        detail = f"can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {action}"
        yield FieldError.invalid(path, least, detail)


def _spread_keys(constraint: Obj, path: str) -> Problems:
    keys: list[str] = constraint.get("matchLabelKeys") or []
    selector = constraint.get("labelSelector")
    if keys and selector is None:
        yield FieldError.forbidden(path, "must not be specified when labelSelector is not set")
    for index, key in enumerate(keys):
        yield from checks.named(key, f"{path}[{index}]", names.qualified)
    yield from _said_twice(keys, selector, path)


def select_own(spec: Obj, labels: Mapping[str, str]) -> None:
    """A new pod's matchLabelKeys and mismatchLabelKeys become expressions of the selectors beside them (KEP-3633)."""
    for field in ("podAffinity", "podAntiAffinity"):
        found = (spec.get("affinity") or {}).get(field) or {}
        wishes = (wish.get("podAffinityTerm") or {} for wish in found.get(_PREFERRED) or ())
        for term in (*(found.get(REQUIRED) or ()), *wishes):
            _merge_keys(term, labels, "matchLabelKeys", "In")
            _merge_keys(term, labels, "mismatchLabelKeys", "NotIn")
    for constraint in spec.get("topologySpreadConstraints") or ():
        _merge_keys(constraint, labels, "matchLabelKeys", "In")


def _merge_keys(term: Obj, labels: Mapping[str, str], field: str, operator: str) -> None:
    selector = term.get("labelSelector")
    if selector is None:
        return
    for key in term.get(field) or ():
        if key in labels:
            expression = {"key": key, "operator": operator, "values": [labels[key]]}
            found = selector.get("matchExpressions") or []
            if expression not in found:
                selector["matchExpressions"] = [*found, expression]
