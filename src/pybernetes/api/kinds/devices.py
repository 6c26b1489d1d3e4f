"""resource.k8s.io: claims of devices and classes of them (pkg/apis/resource).

CEL expressions of selectors are bounded in length here and read when they are evaluated.
"""

import re
from collections.abc import Callable, Collection
from typing import Any

from .. import names
from ..errors import FieldError
from ..objects import Obj, encode, is_deleting
from . import checks, meta
from .affinity_checks import node_selector
from .claim_checks import template_metadata
from .pod_defaults import fill
from .resource_checks import is_extended
from .rules import Check, Problems, Table, among, follow, given, inside, matching, may, need, no_longer_than
from .strategy import Strategy
from .volume_sources import driver_name

MOST_LISTED, _MOST_ALTERNATIVES = 32, 8
_MOST_EXPRESSION_BYTES = _MOST_PARAMETER_BYTES = 10 * 1024
_MOST_POOL_BYTES, _MOST_ID_BYTES = 253, 32
_MOST_RESERVED = 256
EFFECTS = among("NoExecute", "NoSchedule", "None")
LABEL, _SUBDOMAIN, QUALIFIED = matching(names.label), matching(names.subdomain), matching(names.qualified)
_C_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_C_IDENTIFIER_TEXT = (
    "a valid C identifier must start with alphabetic character or '_', followed by a string of alphanumeric "
    "characters or '_' (e.g. 'my_name',  or 'MY_NAME',  or 'MyName', regex used for validation is "
    "'[A-Za-z_][A-Za-z0-9_]*')"
)


def listed(check: Check, most: int, *, key: Callable[[Any], Any] | None = None) -> Check:
    """A list of so many, each checked; `key` says what no two may share. A longer one is not looked into."""

    def items(values: list[Any], path: str) -> Problems:
        if len(values) > most:
            yield FieldError.too_many(path, len(values), most)
            return
        for index, value in enumerate(values):
            yield from check(value, f"{path}[{index}]")
        if key is not None:
            yield from checks.unique(map(key, values), lambda index: f"{path}[{index}]")

    return items


def by_name(value: Obj) -> Any:
    return value.get("name")


def itself(value: str) -> str:
    return value


def pool_name(value: str, path: str) -> Problems:
    yield from no_longer_than(_MOST_POOL_BYTES)(value, path)
    for part in value.split("/"):
        yield from _SUBDOMAIN(part, path)


def _selector(found: Obj, path: str) -> Problems:
    expression: Table = {"expression": need(no_longer_than(_MOST_EXPRESSION_BYTES))}
    if found.get("cel") is None:
        yield FieldError.required(f"{path}.cel")
    else:
        yield from follow(found["cel"], expression, f"{path}.cel")


def _toleration(found: Obj, path: str) -> Problems:
    yield from follow(found, {"key": may(QUALIFIED)}, path)
    value = found.get("value") or ""
    match found.get("operator") or "":
        case "Exists" if value:
            yield FieldError.invalid(f"{path}.value", value, "must be empty for operator `Exists`")
        case "Equal":
            yield from matching(names.label_value)(value, f"{path}.value")
        case "":
            yield FieldError.required(f"{path}.operator")
        case operator:
            yield from among("Equal", "Exists")(operator, f"{path}.operator")
    yield from follow(found, {"effect": may(EFFECTS)}, path)


def _amount(found: Obj, path: str) -> Problems:
    mode, count = found.get("allocationMode") or "", found.get("count") or 0
    if mode == "All" and count:
        yield FieldError.invalid(f"{path}.count", count, "must not be specified when allocationMode is 'All'")
    elif mode == "ExactCount" and count <= 0:
        yield FieldError.invalid(f"{path}.count", count, "must be greater than zero")
    elif mode not in ("All", "ExactCount"):
        yield FieldError.not_supported(f"{path}.allocationMode", mode, ("All", "ExactCount"))


_ASKED: Table = {"deviceClassName": need(_SUBDOMAIN), "selectors": may(listed(_selector, MOST_LISTED))}
_TOLERATED: Table = {"tolerations": may(listed(_toleration, 1 << 30))}


def _exactly(found: Obj, path: str) -> Problems:
    yield from follow(found, _ASKED, path)
    yield from _amount(found, path)
    yield from follow(found, _TOLERATED, path)


def _alternative(found: Obj, path: str) -> Problems:
    yield from LABEL(found.get("name") or "", f"{path}.name")
    yield from _exactly(found, path)


def _request(found: Obj, path: str) -> Problems:
    yield from LABEL(found.get("name") or "", f"{path}.name")
    exactly, first = found.get("exactly"), found.get("firstAvailable")
    one = "exactly one of `exactly` or `firstAvailable` is required"
    if exactly is None and not first:
        yield FieldError.required(path, one)
    elif exactly is not None and first:
        yield FieldError.invalid(path, None, f"{one}, but multiple fields are set")
    elif exactly is not None:
        yield from _exactly(exactly, f"{path}.exactly")
    else:
        yield from listed(_alternative, _MOST_ALTERNATIVES, key=by_name)(first or [], f"{path}.firstAvailable")


def _requests_of(devices: Obj) -> set[str]:
    """Names that a constraint or a configuration may refer to: of requests, and "request/alternative"."""
    known: set[str] = set()
    for request in devices.get("requests") or ():
        name = request.get("name") or ""
        known |= {name, *(f"{name}/{one.get('name')}" for one in request.get("firstAvailable") or ())}
    return known


def _reference(known: Collection[str]) -> Check:
    detail = "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'"

    def check(value: str, path: str) -> Problems:
        parts = value.split("/")
        for part in parts if len(parts) <= 2 else ():
            yield from LABEL(part, path)
        if value not in known:
            yield FieldError.invalid(path, value, detail)

    return check


def identifier(value: str, path: str) -> Problems:
    yield from no_longer_than(_MOST_ID_BYTES)(value, path)
    if not _C_IDENTIFIER.fullmatch(value):
        yield FieldError.invalid(path, value, _C_IDENTIFIER_TEXT)


def attribute_name(value: str, path: str) -> Problems:
    domain, slash, name = value.partition("/")
    if not slash:
        yield from identifier(value, path)
        return
    for part, what, check in ((domain, "domain", driver_name), (name, "name", identifier)):
        if part:
            yield from check(part, path)
        else:
            yield FieldError.invalid(path, "", f"the {what} must not be empty")


def _full_name(value: str, path: str) -> Problems:
    yield from attribute_name(value, path)
    if "/" not in value:
        detail = "a fully qualified name must be a domain and a name separated by a slash"
        yield FieldError.invalid(path, value, detail)


def _constraint(known: Collection[str]) -> Check:
    asked: Table = {"requests": may(listed(_reference(known), MOST_LISTED, key=itself))}

    def check(found: Obj, path: str) -> Problems:
        yield from follow(found, asked, path)
        for field in ("matchAttribute", "distinctAttribute"):
            if found.get(field) is not None:
                yield from _full_name(found[field], f"{path}.{field}")
                return
        detail = 'exactly one of "matchAttribute" or "distinctAttribute" is required, but multiple fields are set'
        yield FieldError.required(path, detail)

    return check


def _parameters(value: Any, path: str) -> Problems:
    if not isinstance(value, dict):
        yield FieldError.invalid(path, "<value omitted>", "must be a valid JSON object")
    elif len(encode(value)) > _MOST_PARAMETER_BYTES:
        yield FieldError.too_long(path, "", _MOST_PARAMETER_BYTES)


def _configuration(found: Obj, path: str) -> Problems:
    opaque = found.get("opaque")
    if opaque is None:
        yield FieldError.required(f"{path}.opaque")
        return
    yield from follow(opaque, {"driver": need(driver_name)}, f"{path}.opaque")
    if opaque.get("parameters") is None:
        yield FieldError.required(f"{path}.opaque.parameters")
    else:
        yield from _parameters(opaque["parameters"], f"{path}.opaque.parameters")


def _claim_configuration(known: Collection[str]) -> Check:
    asked: Table = {"requests": may(listed(_reference(known), MOST_LISTED, key=itself))}

    def check(found: Obj, path: str) -> Problems:
        yield from follow(found, asked, path)
        yield from _configuration(found, path)

    return check


def claim_spec(spec: Obj, path: str) -> Problems:
    devices, where = spec.get("devices") or {}, f"{path}.devices"
    known = _requests_of(devices)
    table: Table = {
        "requests": may(listed(_request, MOST_LISTED, key=by_name)),
        "constraints": may(listed(_constraint(known), MOST_LISTED)),
        "config": may(listed(_claim_configuration(known), MOST_LISTED)),
    }
    yield from follow(devices, table, where)


def _default_claim(spec: Obj) -> None:
    for request in (spec.get("devices") or {}).get("requests") or ():
        for asked in (request.get("exactly"), *(request.get("firstAvailable") or ())):
            if asked is None:
                continue
            fill(asked, {"allocationMode": "ExactCount"})
            if asked["allocationMode"] == "ExactCount" and not asked.get("count"):
                asked["count"] = 1
            for toleration in asked.get("tolerations") or ():
                fill(toleration, {"operator": "Equal"})


class ResourceClaimStrategy(Strategy):
    status = True

    def default(self, obj: Obj) -> None:
        _default_claim(obj.setdefault("spec", {}))

    def check(self, new: Obj, old: Obj | None, *, part: str = "") -> Problems:
        spec: Obj = new.get("spec") or {}
        if old is None:
            yield from claim_spec(spec, "spec")
        elif part == "status":
            yield from _claim_status(new, old)
        else:
            yield from meta.immutable(spec, old.get("spec") or {}, "spec")


_CONSUMER: Table = {"resource": need(), "name": need(), "uid": need()}


def _claim_status(new: Obj, old: Obj) -> Problems:
    status, before = new.get("status") or {}, old.get("status") or {}
    held, allocation = status.get("reservedFor") or [], status.get("allocation")
    reserved = listed(inside(_CONSUMER), _MOST_RESERVED, key=lambda one: one.get("uid"))
    yield from reserved(held, "status.reservedFor")
    if held and allocation is None:
        yield FieldError.forbidden("status.reservedFor", "may not be specified when `allocated` is not set")
    elif is_deleting(new) and not _only(held, before.get("reservedFor") or []):
        detail = "new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set"
        yield FieldError.forbidden("status.reservedFor", detail)
    if allocation is not None and before.get("allocation") is not None:
        yield from meta.immutable(allocation, before["allocation"], "status.allocation")
    elif allocation is not None:
        yield from _allocation(allocation, "status.allocation", new.get("spec") or {})


def _only(values: list[Obj], known: list[Obj]) -> bool:
    return all(value in known for value in values)


def _allocation(found: Obj, path: str, spec: Obj) -> Problems:
    known = _requests_of(spec.get("devices") or {})
    result: Table = {"driver": need(driver_name), "pool": need(pool_name), "device": given(LABEL)}

    def each_result(one: Obj, where: str) -> Problems:
        yield from _reference(known)(one.get("request") or "", f"{where}.request")
        yield from follow(one, result, where)

    results: Table = {"results": may(listed(each_result, MOST_LISTED))}
    yield from follow(found.get("devices") or {}, results, f"{path}.devices")
    if found.get("nodeSelector") is not None:
        yield from node_selector(found["nodeSelector"], f"{path}.nodeSelector")


class ResourceClaimTemplateStrategy(Strategy):
    def default(self, obj: Obj) -> None:
        _default_claim(obj.setdefault("spec", {}).setdefault("spec", {}))

    def check(self, new: Obj, old: Obj | None, *, part: str = "") -> Problems:
        spec: Obj = new.get("spec") or {}
        if old is not None:
            yield from meta.immutable(spec, old.get("spec") or {}, "spec")
            return
        yield from template_metadata(spec.get("metadata") or {}, "spec.metadata")
        yield from claim_spec(spec.get("spec") or {}, "spec.spec")


def _extended(value: str, path: str) -> Problems:
    if not is_extended(value):
        yield FieldError.invalid(path, value, "must be a valid extended resource name")


_CLASS: Table = {
    "selectors": may(listed(_selector, MOST_LISTED)),
    "config": may(listed(_configuration, MOST_LISTED)),
    "extendedResourceName": given(_extended),
}


class DeviceClassStrategy(Strategy):
    generation = True

    def check(self, new: Obj, old: Obj | None, *, part: str = "") -> Problems:
        yield from follow(new.get("spec") or {}, _CLASS, "spec")
