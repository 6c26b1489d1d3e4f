"""resource.k8s.io: the slices in which drivers publish their devices, and taints of devices (pkg/apis/resource)."""

import re
from collections.abc import Iterator, Mapping

from .. import names, times
from ..errors import FieldError, quoted
from ..objects import Obj
from ..quantity import Quantity
from . import meta
from .affinity_checks import node_selector
from .condition_checks import conditions
from .devices import (
    EFFECTS,
    LABEL,
    MOST_LISTED,
    QUALIFIED,
    attribute_name,
    by_name,
    itself,
    listed,
    pool_name,
)
from .rules import (
    Check,
    Problems,
    Table,
    at_least,
    at_most,
    both,
    follow,
    given,
    inside,
    matching,
    may,
    need,
    no_longer_than,
)
from .strategy import Strategy
from .volume_sources import driver_name

_MOST_DEVICES, _MOST_TAINTED_DEVICES, _MOST_COUNTER_SETS, _MOST_ATTRIBUTES = 128, 64, 8, 32
_MOST_TAINTS, _MOST_BINDING_CONDITIONS, _MOST_CONDITIONS, _MOST_VALUE_BYTES = 16, 4, 8, 64
_SUBDOMAIN = matching(names.subdomain)
_SEMVER = re.compile(
    r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)"
    r"(-(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(\.(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*)?"
    r"(\+[0-9a-zA-Z-]+(\.[0-9a-zA-Z-]+)*)?"
)


_ADDED = "timeAdded"


class DeviceTaintRuleStrategy(Strategy):
    generation = True
    status = True

    def stamp(self, new: Obj, old: Obj | None, *, now: float, part: str = "") -> None:
        """The time is the effect's: another effect has one of its own, even where the old one was sent back."""
        taint: Obj = (new.get("spec") or {}).get("taint") or {}
        before: Obj = ((old or {}).get("spec") or {}).get("taint") or {}
        other = taint.get("effect") != before.get("effect") and taint.get(_ADDED) == before.get(_ADDED)
        if taint and (other or taint.get(_ADDED) is None):
            taint[_ADDED] = times.stamp(now)

    def check(self, new: Obj, old: Obj | None, *, part: str = "") -> Problems:
        if part == "status":
            held = both(at_most(_MOST_CONDITIONS), conditions)
            yield from follow(new.get("status") or {}, {"conditions": may(held)}, "status")
            return
        spec: Obj = new.get("spec") or {}
        yield from follow(spec, {"deviceSelector": may(inside(_TAINTED))}, "spec")
        yield from _taint(spec.get("taint") or {}, "spec.taint")


_TAINTED: Table = {"driver": given(driver_name), "pool": given(pool_name), "device": given(LABEL)}


def _taint(found: Obj, path: str) -> Problems:
    yield from QUALIFIED(found.get("key") or "", f"{path}.key")
    yield from follow(found, {"value": may(matching(names.label_value)), "effect": need(EFFECTS)}, path)


_POOL: Table = {
    "name": need(pool_name),
    "resourceSliceCount": given(at_least(1, "must be greater than zero")),
    "generation": given(at_least(0, "must be greater than or equal to zero")),
}


class ResourceSliceStrategy(Strategy):
    generation = True

    def stamp(self, new: Obj, old: Obj | None, *, now: float, part: str = "") -> None:
        for device in (new.get("spec") or {}).get("devices") or ():
            for taint in device.get("taints") or ():
                if taint.get(_ADDED) is None:
                    taint[_ADDED] = times.stamp(now)

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

    def warnings(self, new: Obj, old: Obj | None, *, part: str = "") -> Iterator[str]:
        driver = (new.get("spec") or {}).get("driver") or ""
        if driver != driver.lower():
            yield f"spec.driver: driver names should be lowercase; {quoted(driver)} contains uppercase characters"


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
    most = _MOST_TAINTED_DEVICES if heavy else _MOST_DEVICES
    yield from listed(_device(each_placed=bool(spec.get("perDeviceNodeSelection"))), most, key=by_name)(
        devices, f"{path}.devices"
    )
    yield from listed(_counter_set, _MOST_COUNTER_SETS, key=by_name)(sets, f"{path}.sharedCounters")


def _counters(found: Obj, path: str) -> Problems:
    if len(found) > MOST_LISTED:
        yield FieldError.too_many(path, len(found), MOST_LISTED)
        return
    for name in found:
        yield from LABEL(name, f"{path}[{name}]")


_counter_set = inside({"name": need(LABEL), "counters": need(_counters)})
_consumption = inside({"counterSet": need(LABEL), "counters": need(_counters)})


def _version(value: str, path: str) -> Problems:
    if not _SEMVER.fullmatch(value):
        yield FieldError.invalid(path, value, "must be a string compatible with semver.org spec 2.0.0")
    yield from no_longer_than(_MOST_VALUE_BYTES)(value, path)


_VALUES: Table = {"string": given(no_longer_than(_MOST_VALUE_BYTES)), "version": given(_version)}


def _device(*, each_placed: bool) -> Check:
    """`each_placed`: the devices say for themselves where they are reached."""

    def check(found: Obj, path: str) -> Problems:
        yield from _contents(found, path)
        yield from follow(found, _DEVICE, path)
        yield from _own_place(found, path, wanted=each_placed)
        yield from _binding(found, path)

    return check


_OWN_PLACES = ("nodeName", "nodeSelector", "allNodes")


def _own_place(found: Obj, path: str, *, wanted: bool) -> Problems:
    there = [field for field in _OWN_PLACES if found.get(field) is not None]
    only = "`perDeviceNodeSelection` is set to true in the ResourceSlice spec"
    if not wanted:
        if there:
            detail = f"`nodeName`, `nodeSelector` and `allNodes` can only be set if {only}"
            yield FieldError.invalid(path, None, detail)
        return
    for field in there:
        yield from _PLACES[field](found[field], f"{path}.{field}")
    said = [f"`{field}`" for field in there if found[field] or field == "nodeSelector"]
    detail = f"exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when {only}"
    if not said:
        yield FieldError.required(path, detail)
    elif len(said) > 1:
        yield FieldError.invalid(path, f"{{{', '.join(said)}}}", detail)


def _policy(found: Obj, path: str, *, most: str) -> Problems:
    """Which amounts of a shared capacity may be asked for."""
    values, limits, usual = found.get("validValues") or [], found.get("validRange"), found.get("default")
    if values and limits is not None:
        both = 'exactly one policy can be specified, cannot specify "validValues" and "validRange" at the same time'
        yield FieldError.forbidden(path, both)
    elif (values or limits is not None) and usual is None:
        kind = "validValues" if values else "validRange"
        yield FieldError.required(f"{path}.default", f"required when {kind} is defined")
    elif values:
        yield from _amounts(values, f"{path}.validValues", usual=usual or "0", most=most)
    elif limits is not None:
        yield from _limits(limits, f"{path}.validRange", usual=usual or "0", most=most)


def _amounts(values: list[str], path: str, *, usual: str, most: str) -> Problems:
    found = [Quantity.parse(value) for value in values]
    for index in range(1, len(found)):
        if found[index] < found[index - 1]:
            yield FieldError.invalid(f"{path}[{index}]", values[index], "values must be sorted in ascending order")
    for index, value in enumerate(found):
        if Quantity.parse(most) < value:
            detail = f"option is larger than capacity value: {most}"
            yield FieldError.invalid(f"{path}[{index}]", values[index], detail)
        if value in found[:index]:
            yield FieldError.duplicate(f"{path}[{index}]", values[index])
    if Quantity.parse(usual) not in found:
        yield FieldError.invalid(path, usual, "default value is not valid according to the requestPolicy")


def _limits(found: Obj, path: str, *, usual: str, most: str) -> Problems:
    low, high, step = (found.get(field) for field in ("min", "max", "step"))
    if low is None:
        yield FieldError.required(f"{path}.min", "required when validRange is defined")
        return
    least, default, capacity = (Quantity.parse(one) for one in (low, usual, most))
    if capacity < least:
        yield FieldError.invalid(f"{path}.min", low, f"min is larger than capacity value: {most}")
    if default < least:
        yield FieldError.invalid(f"{path}.min", usual, f"default is less than min: {low}")
    if high is not None:
        top = Quantity.parse(high)
        if top < least:
            yield FieldError.invalid(f"{path}.max", low, f"min is larger than max: {high}")
        if capacity < top:
            yield FieldError.invalid(f"{path}.max", high, f"max is larger than capacity value: {most}")
        if top < default:
            yield FieldError.invalid(f"{path}.max", usual, f"default is more than max: {high}")
    for value in (usual, high):
        if step is not None and value is not None and not _reached(value, low=low, step=step):
            detail = f"value is not a multiple of a given step ({step}) from ({low})"
            yield FieldError.invalid(f"{path}.step", value, detail)


def _reached(value: str, *, low: str, step: str) -> bool:
    by = Quantity.parse(step).nano
    return by != 0 and (Quantity.parse(value).nano - Quantity.parse(low).nano) % by == 0


def _contents(found: Obj, path: str) -> Problems:
    yield from LABEL(found.get("name") or "", f"{path}.name")
    attributes, capacity = found.get("attributes") or {}, found.get("capacity") or {}
    if (total := len(attributes) + len(capacity)) > _MOST_ATTRIBUTES:
        detail = f"the total number of attributes and capacities must not exceed {_MOST_ATTRIBUTES}"
        yield FieldError.invalid(path, total, detail)
    for name, value in attributes.items():
        where = f"{path}.attributes[{name}]"
        yield from attribute_name(name, where)
        yield from follow(value, _VALUES, where)
        if len(value) != 1:
            yield FieldError.invalid(where, value or "", "exactly one value must be specified")
    for name, value in capacity.items():
        where, policy = f"{path}.capacity[{name}]", value.get("requestPolicy")
        yield from attribute_name(name, where)
        if policy is not None and not found.get("allowMultipleAllocations"):
            yield FieldError.forbidden(f"{where}.requestPolicy", "allowMultipleAllocations must be true")
        elif policy is not None:
            yield from _policy(policy, f"{where}.requestPolicy", most=value.get("value") or "0")


_DEVICE: Table = {
    "taints": may(listed(_taint, _MOST_TAINTS)),
    "consumesCounters": may(listed(_consumption, MOST_LISTED, key=lambda one: one.get("counterSet"))),
}


def _binding(found: Obj, path: str) -> Problems:
    """Conditions that a device waits for come with those that say it failed."""
    ready, failed = (found.get(field) or [] for field in ("bindingConditions", "bindingFailureConditions"))
    for field, values in (("bindingConditions", ready), ("bindingFailureConditions", failed)):
        yield from listed(QUALIFIED, _MOST_BINDING_CONDITIONS, key=itself)(values, f"{path}.{field}")
    for index, condition in enumerate(failed):
        if condition in ready:
            detail = "bindingFailureConditions must not overlap with bindingConditions"
            yield FieldError.invalid(f"{path}.bindingFailureConditions[{index}]", condition, detail)
    if bool(ready) != bool(failed):
        missing, there = ("bindingConditions", "bindingFailureConditions")[:: -1 if ready else 1]
        yield FieldError.invalid(f"{path}.{missing}", [], f"{missing} are required to use {there}")
