"""resource.k8s.io: claims of devices, classes of them and the slices that drivers publish (pkg/apis/resource).

CEL expressions of selectors are bounded in length here and read when they are evaluated.
"""

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

from .. import names
from ..errors import FieldError
from ..objects import Obj, encode
from . import checks, meta
from .affinity_checks import node_selector
from .claim_checks import template_metadata
from .pod_defaults import fill
from .resource_checks import is_extended
from .rules import Check, Problems, Table, among, at_least, follow, given, inside, matching, may, need, no_longer_than
from .strategy import Strategy
from .volume_sources import driver_name

_MOST_LISTED, _MOST_ALTERNATIVES = 32, 8
_MOST_EXPRESSION_BYTES = _MOST_PARAMETER_BYTES = 10 * 1024
_MOST_POOL_BYTES, _MOST_ID_BYTES, _MOST_VALUE_BYTES = 253, 32, 64
_MOST_DEVICES, _MOST_TAINTED_DEVICES, _MOST_COUNTER_SETS, _MOST_ATTRIBUTES = 128, 64, 8, 32
_MOST_TAINTS, _MOST_RESERVED, _MOST_BINDING_CONDITIONS = 16, 256, 4
_EFFECTS = among("NoExecute", "NoSchedule", "None")
_LABEL, _SUBDOMAIN, _QUALIFIED = matching(names.label), matching(names.subdomain), matching(names.qualified)
_C_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_C_IDENTIFIER_TEXT = (
    "a valid C identifier must start with alphabetic character or '_', followed by a string of alphanumeric "
    "characters or '_' (e.g. 'my_name',  or 'MY_NAME',  or 'MyName', regex used for validation is "
    "'[A-Za-z_][A-Za-z0-9_]*')"
)
_SEMVER = re.compile(
    r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)"
    r"(-(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(\.(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*)?"
    r"(\+[0-9a-zA-Z-]+(\.[0-9a-zA-Z-]+)*)?"
)


def _listed(check: Check, most: int, *, key: Callable[[Any], Any] | None = None) -> Check:
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


def _name(value: Obj) -> Any:
    return value.get("name")


def _same(value: str) -> str:
    return value


def _pool(value: str, path: str) -> Problems:
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
    yield from follow(found, {"key": may(_QUALIFIED)}, path)
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
    yield from follow(found, {"effect": may(_EFFECTS)}, path)


def _amount(found: Obj, path: str) -> Problems:
    mode, count = found.get("allocationMode") or "", found.get("count") or 0
    if mode == "All" and count:
        yield FieldError.invalid(f"{path}.count", count, "must not be specified when allocationMode is 'All'")
    elif mode == "ExactCount" and count <= 0:
        yield FieldError.invalid(f"{path}.count", count, "must be greater than zero")
    elif mode not in ("All", "ExactCount"):
        yield FieldError.not_supported(f"{path}.allocationMode", mode, ("All", "ExactCount"))


_ASKED: Table = {"deviceClassName": need(_SUBDOMAIN), "selectors": may(_listed(_selector, _MOST_LISTED))}
_TOLERATED: Table = {"tolerations": may(_listed(_toleration, 1 << 30))}


def _exactly(found: Obj, path: str) -> Problems:
    yield from follow(found, _ASKED, path)
    yield from _amount(found, path)
    yield from follow(found, _TOLERATED, path)


def _alternative(found: Obj, path: str) -> Problems:
    yield from _LABEL(found.get("name") or "", f"{path}.name")
    yield from _exactly(found, path)


def _request(found: Obj, path: str) -> Problems:
    yield from _LABEL(found.get("name") or "", f"{path}.name")
    exactly, first = found.get("exactly"), found.get("firstAvailable")
    one = "exactly one of `exactly` or `firstAvailable` is required"
    if exactly is None and not first:
        yield FieldError.required(path, one)
    elif exactly is not None and first:
        yield FieldError.invalid(path, None, f"{one}, but multiple fields are set")
    elif exactly is not None:
        yield from _exactly(exactly, f"{path}.exactly")
    else:
        yield from _listed(_alternative, _MOST_ALTERNATIVES, key=_name)(first or [], f"{path}.firstAvailable")


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
            yield from _LABEL(part, path)
        if value not in known:
            yield FieldError.invalid(path, value, detail)

    return check


def _identifier(value: str, path: str) -> Problems:
    yield from no_longer_than(_MOST_ID_BYTES)(value, path)
    if not _C_IDENTIFIER.fullmatch(value):
        yield FieldError.invalid(path, value, _C_IDENTIFIER_TEXT)


def _attribute_name(value: str, path: str) -> Problems:
    domain, slash, name = value.partition("/")
    if not slash:
        yield from _identifier(value, path)
        return
    for part, what, check in ((domain, "domain", driver_name), (name, "name", _identifier)):
        if part:
            yield from check(part, path)
        else:
            yield FieldError.invalid(path, "", f"the {what} must not be empty")


def _full_name(value: str, path: str) -> Problems:
    yield from _attribute_name(value, path)
    if "/" not in value:
        detail = "a fully qualified name must be a domain and a name separated by a slash"
        yield FieldError.invalid(path, value, detail)


def _constraint(known: Collection[str]) -> Check:
    asked: Table = {"requests": may(_listed(_reference(known), _MOST_LISTED, key=_same))}

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
    asked: Table = {"requests": may(_listed(_reference(known), _MOST_LISTED, key=_same))}

    def check(found: Obj, path: str) -> Problems:
        yield from follow(found, asked, path)
        yield from _configuration(found, path)

    return check


def claim_spec(spec: Obj, path: str) -> Problems:
    devices, where = spec.get("devices") or {}, f"{path}.devices"
    known = _requests_of(devices)
    table: Table = {
        "requests": may(_listed(_request, _MOST_LISTED, key=_name)),
        "constraints": may(_listed(_constraint(known), _MOST_LISTED)),
        "config": may(_listed(_claim_configuration(known), _MOST_LISTED)),
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
    reserved = _listed(inside(_CONSUMER), _MOST_RESERVED, key=lambda one: one.get("uid"))
    yield from reserved(held, "status.reservedFor")
    if held and allocation is None:
        yield FieldError.forbidden("status.reservedFor", "may not be specified when `allocated` is not set")
    elif (new.get("metadata") or {}).get("deletionTimestamp") and not _only(held, before.get("reservedFor") or []):
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
    result: Table = {"driver": need(driver_name), "pool": need(_pool), "device": given(_LABEL)}

    def each_result(one: Obj, where: str) -> Problems:
        yield from _reference(known)(one.get("request") or "", f"{where}.request")
        yield from follow(one, result, where)

    results: Table = {"results": may(_listed(each_result, _MOST_LISTED))}
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
    "selectors": may(_listed(_selector, _MOST_LISTED)),
    "config": may(_listed(_configuration, _MOST_LISTED)),
    "extendedResourceName": given(_extended),
}


class DeviceClassStrategy(Strategy):
    generation = True

    def check(self, new: Obj, old: Obj | None, *, part: str = "") -> Problems:
        yield from follow(new.get("spec") or {}, _CLASS, "spec")


def _default_taint(taint: Obj, created: str | None) -> None:
    if taint.get("timeAdded") is None and created:
        taint["timeAdded"] = created


class DeviceTaintRuleStrategy(Strategy):
    generation = True
    status = True

    def prepare(self, new: Obj, old: Obj | None, *, part: str = "") -> None:
        super().prepare(new, old, part=part)
        if old is None and (taint := (new.get("spec") or {}).get("taint")):
            _default_taint(taint, (new.get("metadata") or {}).get("creationTimestamp"))

    def check(self, new: Obj, old: Obj | None, *, part: str = "") -> Problems:
        if part == "status":
            return
        spec: Obj = new.get("spec") or {}
        yield from follow(spec, {"deviceSelector": may(inside(_TAINTED))}, "spec")
        yield from _taint(spec.get("taint") or {}, "spec.taint")


_TAINTED: Table = {"driver": given(driver_name), "pool": given(_pool), "device": given(_LABEL)}


def _taint(found: Obj, path: str) -> Problems:
    yield from _QUALIFIED(found.get("key") or "", f"{path}.key")
    yield from follow(found, {"value": may(matching(names.label_value)), "effect": need(_EFFECTS)}, path)


_POOL: Table = {
    "name": need(_pool),
    "resourceSliceCount": given(at_least(1, "must be greater than zero")),
    "generation": given(at_least(0, "must be greater than or equal to zero")),
}


class ResourceSliceStrategy(Strategy):
    generation = True

    def prepare(self, new: Obj, old: Obj | None, *, part: str = "") -> None:
        super().prepare(new, old, part=part)
        for device in (new.get("spec") or {}).get("devices") or () if old is None else ():
            for taint in device.get("taints") or ():
                _default_taint(taint, (new.get("metadata") or {}).get("creationTimestamp"))

    def check(self, new: Obj, old: Obj | None, *, part: str = "") -> Problems:
        spec: Obj = new.get("spec") or {}
        yield from follow(spec, {"driver": need(driver_name)}, "spec")
        pool: Obj = spec.get("pool") or {}
        yield from follow({"resourceSliceCount": 0, **pool}, _POOL, "spec.pool")
        if old is not None:
            before: Obj = old.get("spec") or {}
            was: Obj = before.get("pool") or {}
            yield from meta.immutable(pool.get("name"), was.get("name"), "spec.pool.name")
            for field in ("driver", "nodeName"):
                yield from meta.immutable(spec.get(field), before.get(field), f"spec.{field}")
        yield from _placed(spec, "spec")
        yield from _devices(spec, "spec")


def _true(value: bool, path: str) -> Problems:
    if not value:
        yield FieldError.invalid(path, value, "must be either unset or set to true")


def _node_name(value: str, path: str) -> Problems:
    if not value:
        yield FieldError.invalid(path, value, "must be either unset or set to a non-empty string")
    else:
        yield from _SUBDOMAIN(value, path)


_PLACES: Mapping[str, Check] = {
    "nodeName": _node_name,
    "nodeSelector": node_selector,
    "allNodes": _true,
    "perDeviceNodeSelection": _true,
}


def _placed(spec: Obj, path: str) -> Problems:
    """Where the devices of the slice are reached, said in one way."""
    for field, check in _PLACES.items():
        if spec.get(field) is not None:
            yield from check(spec[field], f"{path}.{field}")
    terms = (spec.get("nodeSelector") or {}).get("nodeSelectorTerms") or []
    if spec.get("nodeSelector") is not None and len(terms) != 1:
        detail = "must have exactly one node selector term"
        yield FieldError.invalid(f"{path}.nodeSelector.nodeSelectorTerms", terms, detail)
    said = [f"`{field}`" for field in _PLACES if spec.get(field) or (field == "nodeSelector" and field in spec)]
    detail = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required"
    if not said:
        yield FieldError.required(path, detail)
    elif len(said) > 1:
        yield FieldError.invalid(path, f"{{{', '.join(said)}}}", f"{detail}, but multiple fields are set")


def _devices(spec: Obj, path: str) -> Problems:
    devices, sets = spec.get("devices") or [], spec.get("sharedCounters") or []
    if devices and sets:
        yield FieldError.invalid(path, "", "only one of `sharedCounters` or `devices` is allowed")
    heavy = any(device.get("taints") or device.get("consumesCounters") for device in devices)
    each_device = _listed(_device, _MOST_TAINTED_DEVICES if heavy else _MOST_DEVICES, key=_name)
    yield from each_device(devices, f"{path}.devices")
    yield from _listed(_counter_set, _MOST_COUNTER_SETS, key=_name)(sets, f"{path}.sharedCounters")


def _counter_set(found: Obj, path: str) -> Problems:
    yield from follow(found, {"name": need(_LABEL), "counters": need(_counters)}, path)


def _counters(found: Obj, path: str) -> Problems:
    if len(found) > _MOST_LISTED:
        yield FieldError.too_many(path, len(found), _MOST_LISTED)
        return
    for name in found:
        yield from _LABEL(name, f"{path}[{name}]")


def _consumption(found: Obj, path: str) -> Problems:
    yield from follow(found, {"counterSet": need(_LABEL), "counters": need(_counters)}, path)


def _version(value: str, path: str) -> Problems:
    if not _SEMVER.fullmatch(value):
        yield FieldError.invalid(path, value, "must be a string compatible with semver.org spec 2.0.0")
    yield from no_longer_than(_MOST_VALUE_BYTES)(value, path)


_VALUES: Table = {"string": given(no_longer_than(_MOST_VALUE_BYTES)), "version": given(_version)}


def _device(found: Obj, path: str) -> Problems:
    yield from _LABEL(found.get("name") or "", f"{path}.name")
    attributes, capacity = found.get("attributes") or {}, found.get("capacity") or {}
    if (total := len(attributes) + len(capacity)) > _MOST_ATTRIBUTES:
        detail = f"the total number of attributes and capacities must not exceed {_MOST_ATTRIBUTES}"
        yield FieldError.invalid(path, total, detail)
    for name, value in attributes.items():
        where = f"{path}.attributes[{name}]"
        yield from _attribute_name(name, where)
        yield from follow(value, _VALUES, where)
        if len(value) != 1:
            yield FieldError.invalid(where, value or "", "exactly one value must be specified")
    for name, value in capacity.items():
        yield from _attribute_name(name, f"{path}.capacity[{name}]")
        if value.get("requestPolicy") is not None and not found.get("allowMultipleAllocations"):
            detail = "allowMultipleAllocations must be true"
            yield FieldError.forbidden(f"{path}.capacity[{name}].requestPolicy", detail)
    yield from follow(found, _DEVICE, path)
    yield from _binding(found, path)


_DEVICE: Table = {
    "taints": may(_listed(_taint, _MOST_TAINTS)),
    "consumesCounters": may(_listed(_consumption, _MOST_LISTED, key=lambda one: one.get("counterSet"))),
}


def _binding(found: Obj, path: str) -> Problems:
    """Conditions that a device waits for come with those that say it failed."""
    ready, failed = (found.get(field) or [] for field in ("bindingConditions", "bindingFailureConditions"))
    for field, values in (("bindingConditions", ready), ("bindingFailureConditions", failed)):
        yield from _listed(_QUALIFIED, _MOST_BINDING_CONDITIONS, key=_same)(values, f"{path}.{field}")
    for index, condition in enumerate(failed):
        if condition in ready:
            detail = "bindingFailureConditions must not overlap with bindingConditions"
            yield FieldError.invalid(f"{path}.bindingFailureConditions[{index}]", condition, detail)
    if bool(ready) != bool(failed):
        missing, there = ("bindingConditions", "bindingFailureConditions")[:: -1 if ready else 1]
        yield FieldError.invalid(f"{path}.{missing}", [], f"{missing} are required to use {there}")
