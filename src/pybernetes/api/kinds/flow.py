"""Flow control of the API server: FlowSchema and PriorityLevelConfiguration (pkg/apis/flowcontrol/validation)."""

import math
from collections.abc import Mapping

from .. import names
from ..errors import FieldError
from ..objects import Obj, name_of
from . import checks
from .pod_defaults import fill
from .rules import Problems, Table, among, at_least, between, each, follow, given, inside, matching, may, need
from .strategy import Strategy

_MOST_PRECEDENCE = 10000
_MOST_QUEUES = 10_000_000
_MOST_HASH_BITS = 60
_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch")
_ALL = ["*"]


def _everything(*groups: str) -> list[Obj]:
    subjects = [{"kind": "Group", "group": {"name": group}} for group in groups]
    resources = {"verbs": _ALL, "apiGroups": _ALL, "resources": _ALL, "clusterScope": True, "namespaces": _ALL}
    others = {"verbs": _ALL, "nonResourceURLs": _ALL}
    return [{"subjects": subjects, "resourceRules": [resources], "nonResourceRules": [others]}]


_FIXED_SCHEMAS: Mapping[str, Obj] = {
    "exempt": {
        "priorityLevelConfiguration": {"name": "exempt"},
        "matchingPrecedence": 1,
        "rules": _everything("system:masters"),
    },
    "catch-all": {
        "priorityLevelConfiguration": {"name": "catch-all"},
        "matchingPrecedence": _MOST_PRECEDENCE,
        "distinguisherMethod": {"type": "ByUser"},
        "rules": _everything("system:unauthenticated", "system:authenticated"),
    },
}
_FIXED_LEVELS: Mapping[str, Obj] = {
    "exempt": {"type": "Exempt"},
    "catch-all": {
        "type": "Limited",
        "limited": {"nominalConcurrencyShares": 5, "lendablePercent": 0, "limitResponse": {"type": "Reject"}},
    },
}
"""What every cluster has, as it must be; of "exempt", spec.exempt may be set."""


def _conditions(found: list[Obj], path: str) -> Problems:
    yield from checks.unique((one.get("type") for one in found), lambda index: f"{path}[{index}].type")
    yield from each(inside({"type": need(None, "must not be empty")}))(found, path)


_STATUS: Table = {"conditions": may(_conditions)}


class FlowSchemaStrategy(Strategy):
    generation = True
    status = True

    def default(self, obj: Obj) -> None:
        spec = obj.setdefault("spec", {})
        spec["matchingPrecedence"] = spec.get("matchingPrecedence") or 1000

    def check(self, new: Obj, old: Obj | None, *, part: str = "") -> Problems:
        yield from follow(new.get("status") or {}, _STATUS, "status")
        if part == "status":
            return
        spec: Obj = new.get("spec") or {}
        yield from _precedence(spec.get("matchingPrecedence") or 0, "spec.matchingPrecedence", name=name_of(new))
        yield from follow(spec, {"distinguisherMethod": given(_distinguisher)}, "spec")
        level = spec.get("priorityLevelConfiguration") or {}
        yield from follow(level, _LEVEL_NAME, "spec.priorityLevelConfiguration")
        yield from follow(spec, {"rules": may(each(_rule))}, "spec")
        fixed = _FIXED_SCHEMAS.get(name_of(new))
        if fixed is not None and spec != fixed:
            yield FieldError.invalid("spec", spec, f"spec of '{name_of(new)}' must equal the fixed value")


def _precedence(value: int, path: str, *, name: str) -> Problems:
    if value <= 0:
        yield FieldError.invalid(path, value, "must be a positive value")
    if value > _MOST_PRECEDENCE:
        yield FieldError.invalid(path, value, f"must not be greater than {_MOST_PRECEDENCE}")
    if value == 1 and name != "exempt":
        yield FieldError.invalid(path, value, "only the schema named 'exempt' may have matchingPrecedence 1")


def _rule(rule: Obj, path: str) -> Problems:
    yield from follow(rule, {"subjects": need(each(_subject), "subjects must contain at least one value")}, path)
    if not rule.get("resourceRules") and not rule.get("nonResourceRules"):
        detail = "at least one of resourceRules and nonResourceRules has to be non-empty"
        yield FieldError.required(path, detail)
    yield from follow(rule, {"resourceRules": may(each(_resource)), "nonResourceRules": may(each(_other))}, path)


def _account(name: str, path: str) -> Problems:
    if name != "*":
        yield from checks.named(name, path, names.subdomain)


_SUBJECTS: Mapping[str, tuple[str, Table]] = {
    "ServiceAccount": (
        "serviceAccount",
        {
            "name": need(_account),
            "namespace": need(matching(names.label), "must specify namespace for service account"),
        },
    ),
    "User": ("user", {"name": need()}),
    "Group": ("group", {"name": need()}),
}


def _subject(subject: Obj, path: str) -> Problems:
    kind = subject.get("kind") or ""
    if kind not in _SUBJECTS:
        yield FieldError.not_supported(f"{path}.kind", kind, sorted(_SUBJECTS))
        return
    field, table = _SUBJECTS[kind]
    if subject.get(field) is None:
        yield FieldError.required(f"{path}.{field}", f"{field} is required when subject kind is '{kind}'")
    else:
        yield from follow(subject[field], table, f"{path}.{field}")
    for other, (unwanted, _) in _SUBJECTS.items():
        if other != kind and subject.get(unwanted) is not None:
            detail = f"{unwanted} is forbidden when subject kind is not '{other}'"
            yield FieldError.forbidden(f"{path}.{unwanted}", detail)


def _alone(values: list[str], path: str, what: str) -> Problems:
    if "*" in values and len(values) > 1:
        yield FieldError.invalid(path, values, f"if '*' is present, must not specify other {what}")


def _verbs(verbs: list[str], path: str) -> Problems:
    yield from _alone(verbs, path, "verbs")
    if "*" not in verbs and not set(verbs) <= set(_VERBS):
        yield FieldError.not_supported(path, verbs, _VERBS)


def _groups(found: list[str], path: str) -> Problems:
    yield from _alone(found, path, "api groups")


def _resources(found: list[str], path: str) -> Problems:
    yield from _alone(found, path, "resources")


_VERB_RULE = need(_verbs, "verbs must contain at least one value")
_RESOURCE: Table = {
    "verbs": _VERB_RULE,
    "apiGroups": need(_groups, "resource rules must supply at least one api group"),
    "resources": need(_resources, "resource rules must supply at least one resource"),
}


def _resource(rule: Obj, path: str) -> Problems:
    yield from follow(rule, _RESOURCE, path)
    found, where = rule.get("namespaces") or [], f"{path}.namespaces"
    if not found and not rule.get("clusterScope"):
        detail = "resource rules that are not cluster scoped must supply at least one namespace"
        yield FieldError.required(where, detail)
    yield from _alone(found, where, "namespaces")
    for index, name in enumerate(found if "*" not in found else ()):
        for text in names.label(name):
            detail = f"each member of this list must be '*' or a DNS-1123 label; {text}"
            yield FieldError.invalid(f"{where}[{index}]", name, detail)


def _urls(found: list[str], path: str) -> Problems:
    yield from _alone(found, path, "non-resource URLs")
    for index, url in enumerate(found if "*" not in found else ()):
        if wrong := _bad_url(url):
            yield FieldError.invalid(f"{path}[{index}]", url, wrong)


def _bad_url(url: str) -> str:
    if not url:
        return "must not be empty"
    if not url.startswith("/"):
        return "must start with slash"
    if " " in url:
        return "must not contain white-space"
    if "//" in url:
        return "must not contain double slash"
    return "wildcard can only do suffix matching" if "*" in url.removesuffix("/*") else ""


_other = inside(
    {
        "verbs": _VERB_RULE,
        "nonResourceURLs": need(_urls, "nonResourceURLs must contain at least one value"),
    }
)


def _distinguisher(found: Obj, path: str) -> Problems:
    known = ("ByNamespace", "ByUser")
    if found.get("type") not in known:
        yield FieldError.not_supported(f"{path}.type", found, known)


_LEVEL_NAME: Table = {"name": need(matching(names.subdomain), "must reference a priority level")}


_QUEUING = {"handSize": 8, "queues": 64, "queueLengthLimit": 50}
"""For zeros too, as these are no pointers in Go."""


class PriorityLevelStrategy(Strategy):
    generation = True
    status = True

    def default(self, obj: Obj) -> None:
        spec = obj.setdefault("spec", {})
        limited = spec.get("limited")
        if limited is not None:
            fill(limited, {"nominalConcurrencyShares": 30, "lendablePercent": 0})
            response = limited.setdefault("limitResponse", {})
            fill(response, {"type": "Reject"})
            if response["type"] == "Queue":
                response.setdefault("queuing", {})
            if (queuing := response.get("queuing")) is not None:
                queuing |= {field: queuing.get(field) or value for field, value in _QUEUING.items()}
        exempt = spec.setdefault("exempt", {}) if spec.get("type") == "Exempt" else spec.get("exempt")
        if exempt is not None:
            fill(exempt, {"nominalConcurrencyShares": 0, "lendablePercent": 0})

    def check(self, new: Obj, old: Obj | None, *, part: str = "") -> Problems:
        yield from follow(new.get("status") or {}, _STATUS, "status")
        if part == "status":
            return
        spec, name = new.get("spec") or {}, name_of(new)
        yield from _level(spec, "spec", name=name)
        fixed = _FIXED_LEVELS.get(name)
        if fixed is not None and {key: value for key, value in spec.items() if key != "exempt"} != fixed:
            detail = f"spec of '{name}' must equal the fixed value"
            if name == "exempt":
                detail = f"spec of '{name}' except the 'spec.exempt' field must equal the fixed value"
            yield FieldError.invalid("spec", spec, detail)


def _level(spec: Obj, path: str, *, name: str) -> Problems:
    kind = spec.get("type") or ""
    if (name == "exempt") != (kind == "Exempt"):
        detail = "type must be 'Exempt' if and only if name is 'exempt'"
        yield FieldError.invalid(f"{path}.type", kind, detail)
    if kind == "Exempt":
        if spec.get("limited") is not None:
            yield FieldError.forbidden(f"{path}.limited", "must be nil if the type is not Limited")
        yield from follow(spec.get("exempt") or {}, _SHARES, f"{path}.exempt")
    elif kind == "Limited":
        if spec.get("exempt") is not None:
            yield FieldError.forbidden(f"{path}.exempt", "must be nil if the type is Limited")
        if spec.get("limited") is None:
            yield FieldError.required(f"{path}.limited", "must not be empty when type is Limited")
        else:
            yield from _limited(spec["limited"], f"{path}.limited")
    else:
        yield FieldError.not_supported(f"{path}.type", kind, ("Exempt", "Limited"))


_SHARES: Table = {
    "nominalConcurrencyShares": given(at_least(0, "must be a non-negative integer")),
    "lendablePercent": given(between(0, 100)),
}
_BORROWING: Table = {"borrowingLimitPercent": given(at_least(0, "if specified, must be a non-negative integer"))}


def _limited(found: Obj, path: str) -> Problems:
    yield from follow(found, _SHARES, path)
    response, where = found.get("limitResponse") or {}, f"{path}.limitResponse"
    queuing = response.get("queuing")
    yield from among("Queue", "Reject")(response.get("type") or "", f"{where}.type")
    if response.get("type") == "Reject" and queuing is not None:
        yield FieldError.forbidden(f"{where}.queuing", "must be nil if limited.limitResponse.type is not Limited")
    elif response.get("type") == "Queue" and queuing is None:
        detail = "must not be empty if limited.limitResponse.type is Limited"
        yield FieldError.required(f"{where}.queuing", detail)
    elif response.get("type") == "Queue":
        yield from _queuing(queuing or {}, f"{where}.queuing")
    yield from follow(found, _BORROWING, path)


def _queuing(found: Obj, path: str) -> Problems:
    queues, hand, length = (found.get(field) or 0 for field in ("queues", "handSize", "queueLengthLimit"))
    for field, value in (("queueLengthLimit", length), ("queues", queues), ("handSize", hand)):
        if value <= 0:
            yield FieldError.invalid(f"{path}.{field}", value, "must be positive")
    if queues > _MOST_QUEUES:
        yield FieldError.invalid(f"{path}.queues", queues, f"must not be greater than {_MOST_QUEUES}")
    if hand <= 0:
        return
    if hand > queues:
        yield FieldError.invalid(f"{path}.handSize", hand, f"should not be greater than queues ({queues})")
    elif math.ceil(sum(math.log2(queues - index) for index in range(min(hand, queues)))) > _MOST_HASH_BITS:
        detail = (
            f"required entropy bits of deckSize {queues} and handSize {hand} should not be greater than "
            f"{_MOST_HASH_BITS}"
        )
        yield FieldError.invalid(f"{path}.handSize", hand, detail)
