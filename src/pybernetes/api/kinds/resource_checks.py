"""Compute resources by name and amount: in containers, pods, quotas and ranges (core/validation, core/helper)."""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import lru_cache

from .. import names
from ..errors import FieldError, quoted
from ..objects import Obj
from ..quantity import Quantity
from . import checks
from .rules import Check, Problems

_NOT_INTEGER = "must be an integer"
POD_LEVEL = ("cpu", "memory")
HUGE = "hugepages-"
_NATIVE = "kubernetes.io/"
_CONTAINER = {"cpu", "memory", "ephemeral-storage"}
_COUNTED = {
    *("pods", "services", "replicationcontrollers", "resourcequotas", "secrets", "configmaps"),
    *("persistentvolumeclaims", "services.nodeports", "services.loadbalancers"),
}
_QUOTA = {
    *("cpu", "memory", "ephemeral-storage", "requests.cpu", "requests.memory", "requests.storage"),
    *("requests.ephemeral-storage", "limits.cpu", "limits.memory", "limits.ephemeral-storage"),
    *_COUNTED,
}
_STANDARD = _QUOTA | {"storage"}
_REQUESTED_HUGE = "requests.hugepages-"
_HUGE_SIZE = re.compile(r"hugepages-(.+)")


def is_huge(name: str) -> bool:
    return name.startswith(HUGE)


def is_quota_name(name: str) -> bool:
    """IsStandardQuotaResourceName."""
    return name in _QUOTA or is_huge(name) or name.startswith(_REQUESTED_HUGE)


def is_native(name: str) -> bool:
    """Without a domain, or of kubernetes.io's."""
    return "/" not in name or _NATIVE in name


def is_extended(name: str) -> bool:
    """A resource of a device plugin: of another domain, and good as "requests.<name>" in a quota."""
    if is_native(name) or name.startswith("requests."):
        return False
    return not any(names.qualified(f"requests.{name}"))


def overcommits(name: str) -> bool:
    """Whether more may be promised than there is (IsOvercommitAllowed)."""
    return is_native(name) and not is_huge(name)


def _is_integer(name: str) -> bool:
    return name in _COUNTED or is_extended(name)


@lru_cache(maxsize=1024)
def _name_problems(name: str) -> tuple[str, ...]:
    if found := tuple(names.qualified(name)):
        return found
    standard = name in _STANDARD or is_huge(name) or name.startswith(_REQUESTED_HUGE)
    if "/" not in name and not standard:
        return ("must be a standard resource type or fully qualified",)
    return ()


@lru_cache(maxsize=1024)
def _container_problems(name: str) -> tuple[str, ...]:
    found = _name_problems(name)
    if "/" not in name:
        if name not in _CONTAINER and not is_huge(name):
            return (*found, "must be a standard resource for containers")
    elif not is_native(name) and not is_extended(name):
        return (*found, "doesn't follow extended resource name standard")
    return found


@lru_cache(maxsize=1024)
def _quota_problems(name: str) -> tuple[str, ...]:
    found = _name_problems(name)
    if "/" not in name and not is_quota_name(name):
        return (*found, "must be a standard resource for quota")
    return found


def _by(problems: Callable[[str], tuple[str, ...]]) -> Check:
    def check(name: str, path: str) -> Problems:
        for text in problems(name):
            yield FieldError.invalid(path, name, text)

    return check


any_name = _by(_name_problems)
container_name = _by(_container_problems)
quota_name = _by(_quota_problems)


def pod_name(name: str, path: str) -> Problems:
    """A resource that a pod as a whole may ask for."""
    found = list(any_name(name, path))
    yield from found
    if not found and name not in POD_LEVEL and not is_huge(name):
        yield FieldError.not_supported(path, name, ("cpu", "hugepages-", "memory"))


def amount(name: str, value: str, path: str) -> Problems:
    """ValidateResourceQuantityValue: not negative, and whole where things are counted."""
    quantity = Quantity.parse(value)
    if quantity.nano < 0:
        yield FieldError.invalid(path, value, checks.NOT_NEGATIVE)
    if _is_integer(name) and quantity.milli % 1000:
        yield FieldError.invalid(path, value, _NOT_INTEGER)


def quota_amounts(found: Mapping[str, str] | None, path: str) -> Problems:
    for name, value in (found or {}).items():
        where = f"{path}[{name}]"
        yield from quota_name(name, where)
        yield from amount(name, value, where)


def _huge_amount(name: str, value: str, path: str) -> Problems:
    """Whole pages of the size in the name."""
    match = _HUGE_SIZE.fullmatch(name)
    try:
        size = Quantity.parse(match[1]).value if match else 0
    except ValueError:
        size = 0
    if size <= 0 or Quantity.parse(value).value % size:
        yield FieldError.invalid(path, value, f"{value} is not positive integer multiple of {name}")


def requirements(found: Obj, path: str, *, claims: Collection[str] = (), name_rule: Check = container_name) -> Problems:
    """ResourceRequirements: names, amounts, requests within limits."""
    limits: Mapping[str, str] = found.get("limits") or {}
    requests: Mapping[str, str] = found.get("requests") or {}
    for title, amounts in (("limits", limits), ("requests", requests)):
        for name, value in amounts.items():
            where = f"{path}.{title}[{name}]"
            yield from name_rule(name, where)
            yield from amount(name, value, where)
            if title == "requests":
                yield from _within(name, value, limits, path)
            if is_huge(name):
                yield from _huge_amount(name, value, where)
    every = {*limits, *requests}
    if any(map(is_huge, every)) and every.isdisjoint(POD_LEVEL):
        yield FieldError.forbidden(path, "HugePages require cpu or memory")
    if found.get("claims"):
        yield from _claims(found["claims"], f"{path}.claims", known=claims)


def _within(name: str, value: str, limits: Mapping[str, str], path: str) -> Problems:
    limit = limits.get(name)
    if limit is None:
        if not overcommits(name):
            yield FieldError.required(f"{path}.limits", "Limit must be set for non overcommitable resources")
        return
    asked, most = Quantity.parse(value).nano, Quantity.parse(limit).nano
    if asked != most and not overcommits(name):
        yield FieldError.invalid(f"{path}.requests", value, f"must be equal to {name} limit of {limit}")
    elif asked > most:
        yield FieldError.invalid(f"{path}.requests", value, f"must be less than or equal to {name} limit of {limit}")


def _claims(found: list[Obj], path: str, *, known: Collection[str]) -> Problems:
    """References to spec.resourceClaims, each once, whole or by request."""
    seen: set[str] = set()
    for index, claim in enumerate(found):
        where, name, request = f"{path}[{index}]", claim.get("name") or "", claim.get("request") or ""
        if not name:
            yield FieldError.required(where)
            continue
        key = f"{name}/{request}" if request else name
        if request and name not in seen:
            yield from (FieldError.invalid(f"{where}.request", request, text) for text in names.label(request))
        if name in seen or key in seen:
            yield FieldError.duplicate(where, name if name in seen else key)
        elif not request and any(one.startswith(f"{name}/") for one in seen):
            yield FieldError.duplicate(where, name)
        seen.add(key)
        if name not in known:
            listed = f": {', '.join(sorted(known))}" if known else " which is empty"
            detail = f"must be one of the names in pod.spec.resourceClaims{listed}"
            yield FieldError("FieldValueNotFound", where, detail, name)


def pod_requirements(spec: Obj, path: str, *, requested: Mapping[str, Quantity]) -> Problems:
    """spec.resources of a pod against those of its containers; `requested` is what they ask for in sum."""
    found: Obj = spec["resources"]
    if found.get("claims") is not None:
        yield FieldError.forbidden(f"{path}.claims", "claims cannot be set for Resources at pod-level")
    yield from requirements({**found, "claims": []}, path, name_rule=pod_name)
    asked: Mapping[str, str] = found.get("requests") or {}
    for name, total in requested.items():
        if total.nano > Quantity.parse(asked.get(name)).nano:
            detail = f"must be greater than or equal to aggregate container requests of {total}"
            yield FieldError.invalid(f"{path}.requests[{name}]", asked.get(name, "0"), detail)
    most: Mapping[str, str] = found.get("limits") or {}
    for index, container in enumerate(spec.get("containers") or ()):
        for name, limit in ((container.get("resources") or {}).get("limits") or {}).items():
            if name in most and Quantity.parse(limit).nano > Quantity.parse(most[name]).nano:
                where = f"{path}.containers[{index}][{name}].limits"
                yield FieldError.invalid(where, limit, f"must be less than or equal to pod limits of {most[name]}")


BYTES = ("memory", "ephemeral-storage")
"""Resources of a pod that are counted in bytes."""


def fractions(amounts: Mapping[str, str] | None, path: str, resources: Iterable[str] = BYTES) -> Iterator[str]:
    """Of what is counted in bytes, there is no part."""
    for name in resources:
        value = Quantity.parse((amounts or {}).get(name))
        if value.milli % 1000:
            yield f"{path}[{name}]: fractional byte value {quoted(str(value))} is invalid, must be an integer"
