"""ResourceQuota and LimitRange: how much a namespace may hold, and each object in it (core/validation)."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple

from .. import names
from ..errors import FieldError
from ..objects import Obj
from ..quantity import Quantity
from . import checks
from .pod_defaults import round_to_millis
from .resource_checks import any_name, container_name, is_quota_name, overcommits, quota_amounts
from .rules import Problems
from .strategy import Strategy

_FOR_COMPUTE = {"pods", "cpu", "memory", "limits.cpu", "limits.memory", "requests.cpu", "requests.memory"}
_SCOPES: Mapping[str, Collection[str]] = {
    "Terminating": _FOR_COMPUTE,
    "NotTerminating": _FOR_COMPUTE,
    "BestEffort": {"pods"},
    "NotBestEffort": _FOR_COMPUTE,
    "PriorityClass": _FOR_COMPUTE,
    "CrossNamespacePodAffinity": _FOR_COMPUTE,
    "VolumeAttributesClass": {"persistentvolumeclaims", "requests.storage"},
}
"""The resources that a quota of each scope may bound."""
_EXCLUSIVE = ({"BestEffort", "NotBestEffort"}, {"Terminating", "NotTerminating"})
_ONLY_EXISTS = ("BestEffort", "NotBestEffort", "Terminating", "NotTerminating", "CrossNamespacePodAffinity")
_ONLY_EXISTS_TEXT = (
    "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, "
    "ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity"
)


_BOUNDED = ("cpu", "memory", "storage", "ephemeral-storage")


class ResourceQuotaStrategy(Strategy):
    status = True

    def default(self, obj: Obj) -> None:
        for holder in (obj.get("spec"), obj.get("status")):
            for field in ("hard", "used"):
                round_to_millis((holder or {}).get(field))

    def check(self, new: Obj, old: Obj | None, *, part: str = "") -> Problems:
        spec: Obj = new.get("spec") or {}
        if part != "status":
            yield from quota_amounts(spec.get("hard"), "spec.hard")
            yield from _scopes(spec, "spec.scopes")
            if spec.get("scopeSelector") is not None:
                yield from _scope_selector(spec, "spec.scopeSelector.matchExpressions")
            if old is not None and set(spec.get("scopes") or ()) != set((old.get("spec") or {}).get("scopes") or ()):
                yield FieldError.invalid("spec.scopes", spec.get("scopes"), "field is immutable")
        if old is None or part == "status":
            for field in ("hard", "used"):
                yield from quota_amounts((new.get("status") or {}).get(field), f"status.{field}")

    def warnings(self, new: Obj, old: Obj | None, *, part: str = "") -> Iterator[str]:
        hard: Mapping[str, str] = (new.get("spec") or {}).get("hard") or {}
        for name in _BOUNDED if old is None else ():
            asked, most = f"requests.{name}", f"limits.{name}"
            if asked not in hard and name in ("cpu", "memory"):
                asked = name
            if asked in hard and most in hard:
                request, limit = Quantity.parse(hard[asked]), Quantity.parse(hard[most])
                if request.nano > limit.nano:
                    yield f"ResourceQuota {asked} ({request}) should be less than {most} ({limit})"


def _unfit(scope: str, spec: Obj) -> list[str]:
    """The standard resources that this scope says nothing of."""
    fit = _SCOPES.get(scope)
    return [] if fit is None else [n for n in sorted(spec.get("hard") or ()) if is_quota_name(n) and n not in fit]


def _scopes(spec: Obj, path: str) -> Problems:
    scopes: list[str] = spec.get("scopes") or []
    for scope in scopes:
        if scope not in _SCOPES:
            yield FieldError.invalid(path, scopes, "unsupported scope")
        for _ in _unfit(scope, spec):
            yield FieldError.invalid(path, scopes, "unsupported scope applied to resource")
    if any(pair <= set(scopes) for pair in _EXCLUSIVE):
        yield FieldError.invalid(path, scopes, "conflicting scopes")


def _scope_selector(spec: Obj, path: str) -> Problems:
    selector = spec["scopeSelector"]
    expressions = selector.get("matchExpressions") or []
    for expression in expressions:
        scope, operator = expression.get("scopeName") or "", expression.get("operator") or ""
        values = expression.get("values") or []
        if scope not in _SCOPES:
            yield FieldError.invalid(f"{path}.scopeName", scope, "unsupported scope")
        for _ in _unfit(scope, spec):
            yield FieldError.invalid(path, selector, "unsupported scope applied to resource")
        if scope in _ONLY_EXISTS and operator != "Exists":
            yield FieldError.invalid(f"{path}.operator", operator, _ONLY_EXISTS_TEXT)
        if operator in ("In", "NotIn"):
            if not values:
                detail = "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector"
                yield FieldError.required(f"{path}.values", detail)
        elif operator not in ("Exists", "DoesNotExist"):
            yield FieldError.invalid(f"{path}.operator", operator, "not a valid selector operator")
        elif values:
            detail = "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector"
            yield FieldError.invalid(f"{path}.values", values, detail)
    found = {expression.get("scopeName") or "" for expression in expressions}
    if any(pair <= found for pair in _EXCLUSIVE):
        yield FieldError.invalid(path, spec.get("scopes"), "conflicting scopes")


_LIMIT_FIELDS = ("max", "min", "default", "defaultRequest", "maxLimitRequestRatio")
_LIMIT_TYPES = ("Container", "PersistentVolumeClaim", "Pod")


class LimitRangeStrategy(Strategy):
    create_on_update = True

    def default(self, obj: Obj) -> None:
        for item in (obj.get("spec") or {}).get("limits") or ():
            for field in _LIMIT_FIELDS:
                round_to_millis(item.get(field))
            if item.get("type") != "Container":
                continue
            limits, requests = item.setdefault("default", {}), item.setdefault("defaultRequest", {})
            for name, amount in (item.get("max") or {}).items():
                limits.setdefault(name, amount)
            for name, amount in limits.items():
                requests.setdefault(name, amount)
            for name, amount in (item.get("min") or {}).items():
                requests.setdefault(name, amount)
            for field in ("default", "defaultRequest"):
                if not item[field]:
                    del item[field]

    def check(self, new: Obj, old: Obj | None, *, part: str = "") -> Problems:
        seen: set[str] = set()
        for index, item in enumerate((new.get("spec") or {}).get("limits") or ()):
            where, kind = f"spec.limits[{index}]", item.get("type") or ""
            problems = list(checks.named(kind, f"{where}.type", names.qualified))
            yield from problems
            if not problems and "/" not in kind and kind not in _LIMIT_TYPES:
                yield FieldError.invalid(f"{where}.type", kind, "must be a standard limit type or fully qualified")
            if kind in seen:
                yield FieldError.duplicate(f"{where}.type", kind)
            seen.add(kind)
            yield from _limits(item, where, kind=kind)


def _limits(item: dict[str, Any], path: str, *, kind: str) -> Problems:
    rule = container_name if kind in ("Pod", "Container") else any_name
    for field in _LIMIT_FIELDS:
        if kind == "Pod" and field in ("default", "defaultRequest"):
            if item.get(field):
                yield FieldError.forbidden(f"{path}.{field}", "may not be specified when `type` is 'Pod'")
            continue
        for name in item.get(field) or ():
            yield from rule(name, f"{path}.{field}[{name}]")
    if kind == "PersistentVolumeClaim" and not any("storage" in (item.get(one) or {}) for one in ("min", "max")):
        detail = "either minimum or maximum storage value is required, but neither was provided"
        yield FieldError.required(f"{path}.limits", detail)
    fields = [one for one in _LIMIT_FIELDS if kind != "Pod" or one not in ("default", "defaultRequest")]
    for name in sorted({name for one in fields for name in item.get(one) or {}}):
        yield from _ordered({one: str(item[one][name]) for one in fields if name in (item.get(one) or {})}, name, path)


class _Order(NamedTuple):
    """`low` is not more than `high`; else `shown` is wrong, at `at`."""

    low: str
    high: str
    at: str
    shown: str


_ORDERS = (
    _Order("min", "max", at="min", shown="min"),
    _Order("min", "defaultRequest", at="defaultRequest", shown="defaultRequest"),
    _Order("defaultRequest", "max", at="defaultRequest", shown="defaultRequest"),
    _Order("defaultRequest", "default", at="defaultRequest", shown="defaultRequest"),
    _Order("min", "default", at="default", shown="min"),
    _Order("default", "max", at="default", shown="max"),
)
_WORDS = {"defaultRequest": "default request"}


def _ordered(given: Mapping[str, str], name: str, path: str) -> Problems:
    """min <= defaultRequest <= default <= max, each where given, and a ratio that they allow."""
    nano = {field: Quantity.parse(amount).nano for field, amount in given.items()}
    for one in _ORDERS:
        if one.low in nano and one.high in nano and nano[one.low] > nano[one.high]:
            low, high = (_WORDS.get(field, field) for field in (one.low, one.high))
            if (one.low, one.high) == ("defaultRequest", "default"):
                high = "default limit"
            text = f"{low} value {given[one.low]} is greater than {high} value {given[one.high]}"
            yield FieldError.invalid(f"{path}.{one.at}[{name}]", given[one.shown], text)
    if "maxLimitRequestRatio" in given:
        yield from _ratio(given, nano, f"{path}.maxLimitRequestRatio[{name}]")
    if (
        not overcommits(name)
        and {"default", "defaultRequest"} <= set(nano)
        and nano["default"] != nano["defaultRequest"]
    ):
        limit, request = given["default"], given["defaultRequest"]
        text = f"default value {limit} must equal to defaultRequest value {request} in {name}"
        yield FieldError.invalid(f"{path}.defaultRequest[{name}]", request, text)


def _ratio(given: Mapping[str, str], nano: Mapping[str, int], path: str) -> Problems:
    ratio = given["maxLimitRequestRatio"]
    if Quantity.parse(ratio).nano < Quantity.parse(1).nano:
        yield FieldError.invalid(path, ratio, f"ratio {ratio} is less than 1")
    if nano.get("min") and "max" in nano:
        most = nano["max"] / nano["min"]
        if nano["maxLimitRequestRatio"] / Quantity.parse(1).nano > most:
            yield FieldError.invalid(path, ratio, f"ratio {ratio} is greater than max/min = {most:.6f}")
