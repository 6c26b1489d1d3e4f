"""Namespace, Node, Lease, Event: what the cluster itself is made of."""

from collections.abc import Iterator

from .. import names
from ..errors import FieldError
from ..objects import Obj, is_deleting, name_of, namespace_of
from . import checks, meta
from .address_warnings import each_cidr
from .affinity_checks import EFFECTS
from .conversion import CORE_NAMES
from .pod_defaults import round_to_millis
from .resource_checks import amount
from .rules import NOT_NEGATIVE, Problems, Table, at_least, distinct, follow, given, may
from .strategy import Strategy

NAME_LABEL = "kubernetes.io/metadata.name"


class NamespaceStrategy(Strategy):
    name_rule = staticmethod(meta.label_name)
    status = True

    def default(self, obj: Obj) -> None:
        if name := name_of(obj):
            obj["metadata"].setdefault("labels", {})[NAME_LABEL] = name

    def reset_status(self, new: Obj) -> None:
        new["status"] = {"phase": "Active"}

    def prepare(self, new: Obj, old: Obj | None, *, part: str = "") -> None:
        super().prepare(new, old, part=part)
        if old is None:
            finalizers = new.setdefault("spec", {}).setdefault("finalizers", [])
            if "kubernetes" not in finalizers:
                finalizers.append("kubernetes")
        elif part != "finalize":
            new["spec"] = old.get("spec") or {}

    def check(self, new: Obj, old: Obj | None, *, part: str = "") -> Problems:
        if old is None or part == "finalize":
            for index, finalizer in enumerate((new.get("spec") or {}).get("finalizers") or ()):
                where = f"spec.finalizers[{index}]" if part else "spec.finalizers"
                yield from meta.finalizer(finalizer, where)
        elif part == "status":
            phase, deleting = (new.get("status") or {}).get("phase") or "", is_deleting(new)
            if phase != ("Terminating" if deleting else "Active"):
                detail = f"may only be '{'Terminating' if deleting else 'Active'}' if `deletionTimestamp` is "
                yield FieldError.invalid("status.Phase", phase, detail + ("not empty" if deleting else "empty"))


class NodeStrategy(Strategy):
    """Its status is kept on create: a kubelet registers with one."""

    status = True

    def default(self, obj: Obj) -> None:
        status = obj.setdefault("status", {})
        if status.get("capacity") and not status.get("allocatable"):
            status["allocatable"] = dict(status["capacity"])
        for field in ("capacity", "allocatable"):
            round_to_millis(status.get(field))
        spec = obj.get("spec") or {}
        if spec.get("podCIDR") and not spec.get("podCIDRs"):
            spec["podCIDRs"] = [spec["podCIDR"]]
        elif spec.get("podCIDRs") and not spec.get("podCIDR"):
            spec["podCIDR"] = spec["podCIDRs"][0]

    def reset_status(self, new: Obj) -> None:
        new.setdefault("status", {})

    def check(self, new: Obj, old: Obj | None, *, part: str = "") -> Problems:
        spec: Obj = new.get("spec") or {}
        yield from taints(spec.get("taints") or [], "metadata.taints")  # where Kubernetes says it is
        for field in ("capacity", "allocatable"):
            for name, value in ((new.get("status") or {}).get(field) or {}).items():
                yield from amount(name, value, f"status.{field}.{name}")
        yield from _ranges(spec)
        if old is not None:
            addresses = (new.get("status") or {}).get("addresses") or []
            yield from distinct(addresses, "status.addresses")
            yield from _node_update(spec, old.get("spec") or {})

    def warnings(self, new: Obj, old: Obj | None, *, part: str = "") -> Iterator[str]:
        spec: Obj = new.get("spec") or {}
        if part:
            return
        if spec.get("configSource") is not None:
            yield "spec.configSource: the feature is removed"
        if spec.get("externalID"):
            yield "spec.externalID: this field is deprecated, and is unused by Kubernetes"
        yield from each_cidr(spec.get("podCIDRs"), "spec.podCIDRs")


def _ranges(spec: Obj) -> Problems:
    found, path = spec.get("podCIDRs") or [], "spec.podCIDRs"
    problems = [one for index, value in enumerate(found) for one in checks.named(value, f"{path}[{index}]", names.cidr)]
    yield from problems
    if spec.get("podCIDR") and found and found[0] != spec["podCIDR"]:
        yield FieldError.invalid(f"{path}[0]", found[0], "must be same as `podCIDR`")
    if len(found) < 2 or problems:
        return
    if len({":" in value for value in found}) < 2 or len(found) > 2:
        yield FieldError.invalid(path, found, "may specify no more than one CIDR for each IP family")
    yield from distinct(found, path)


_FROM_NOTHING = 'except from "" to valid'


def _node_update(spec: Obj, before: Obj) -> Problems:
    if before.get("podCIDRs") and before["podCIDRs"] != (spec.get("podCIDRs") or []):
        yield FieldError.forbidden("spec.podCIDRs", f"node updates may not change podCIDR {_FROM_NOTHING}")
    if before.get("providerID") and before["providerID"] != spec.get("providerID"):
        yield FieldError.forbidden("spec.providerID", f"node updates may not change providerID {_FROM_NOTHING}")
    if (spec.get("externalID") or "") != (before.get("externalID") or ""):
        yield FieldError.forbidden("spec.externalID", "may not be updated")


def taints(found: list[Obj], path: str) -> Problems:
    seen: set[tuple[str, str]] = set()
    for index, taint in enumerate(found):
        where, value, effect = f"{path}[{index}]", taint.get("value") or "", taint.get("effect") or ""
        yield from checks.named(taint.get("key") or "", f"{where}.key", names.qualified)
        if problems := list(names.label_value(value)):
            yield FieldError.invalid(f"{where}.value", value, ";".join(problems))
        if not effect:
            yield FieldError.required(f"{where}.effect")
        elif effect not in EFFECTS:
            yield FieldError.not_supported(f"{where}.effect", effect, EFFECTS)
        key = (taint.get("key") or "", effect)
        if key in seen:
            detail = "taints must be unique by key and effect pair"
            yield FieldError("FieldValueDuplicate", where, detail, taint)
        seen.add(key)


_LEASE_STRATEGIES = ("OldestEmulationVersion",)


def _lease_strategy(value: str, path: str) -> Problems:
    """How the holder of a Lease is chosen: Kubernetes' own word, or one with a domain."""
    if "/" in value:
        yield from checks.named(value, path, names.qualified)
    elif value not in _LEASE_STRATEGIES:
        yield FieldError.not_supported(path, value, _LEASE_STRATEGIES)


_LEASE: Table = {
    "leaseDurationSeconds": may(at_least(1, "must be greater than 0")),
    "leaseTransitions": may(NOT_NEGATIVE),
    "strategy": given(_lease_strategy),
}


class LeaseStrategy(Strategy):
    unconditional_update = False
    create_on_update = True

    def check(self, new: Obj, old: Obj | None, *, part: str = "") -> Problems:
        spec: Obj = new.get("spec") or {}
        yield from follow(spec, _LEASE, "spec")
        if spec.get("preferredHolder") and not spec.get("strategy"):
            detail = "may only be specified if `strategy` is defined"
            yield FieldError.forbidden("spec.preferredHolder", detail)


class EventStrategy(Strategy):
    """Stored as core/v1, whichever version it came in; what is wrong is named by the fields of core/v1."""

    create_on_update = True

    def check(self, new: Obj, old: Obj | None, *, part: str = "") -> Problems:
        about: Obj = new.get("involvedObject") or new.get("regarding") or {}
        where, own = about.get("namespace") or "", namespace_of(new)
        if where != own and not (not where and own in ("default", "kube-system")):
            yield FieldError.invalid("involvedObject.namespace", where, "does not match event.namespace")
        modern = new.get("apiVersion") == "events.k8s.io/v1"
        if new.get("eventTime") or (modern and old is None):
            yield from _new_event(new, modern=modern)
        if modern and old is None:
            yield from _only_new(new)
        elif modern and old is not None:
            for field in _FIXED_IN_EVENTS:
                yield from meta.immutable(new.get(field), old.get(field), CORE_NAMES.get(field, field))


_FIXED_IN_EVENTS = (
    *("regarding", "reason", "note", "deprecatedSource", "deprecatedFirstTimestamp", "deprecatedLastTimestamp"),
    *("deprecatedCount", "type", "eventTime", "action", "related", "reportingController", "reportingInstance"),
)
_MOST_EVENT_TEXT, _MOST_EVENT_NOTE = 128, 1024


def _new_event(new: Obj, *, modern: bool) -> Problems:
    """An event that says who reports it and what was done (KEP-383)."""
    reporter = "reportingController" if modern else "reportingComponent"
    yield from checks.required(new, reporter, "")
    if new.get(reporter):
        yield from checks.named(new[reporter], reporter, names.qualified)
    for field in ("reportingInstance", "action", "reason"):
        yield from checks.required(new, field, "")
        if len((new.get(field) or "").encode()) > _MOST_EVENT_TEXT:
            yield FieldError.invalid(field, "", f"can have at most {_MOST_EVENT_TEXT} characters")
    if len((new.get("note") or new.get("message") or "").encode()) > _MOST_EVENT_NOTE:
        yield FieldError.invalid("message", "", f"can have at most {_MOST_EVENT_NOTE} characters")


def _only_new(new: Obj) -> Problems:
    """What the events.k8s.io group asks of a new event beyond."""
    yield from checks.required(new, "eventTime", "")
    if (series := new.get("series")) is not None:
        if (series.get("count") or 0) < 2:
            yield FieldError.invalid("series.count", "", "should be at least 2")
        yield from checks.required(series, "lastObservedTime", "series")
    if new.get("type") not in ("Normal", "Warning"):
        yield FieldError.invalid("type", "", f"has invalid value: {new.get('type') or ''}")
    for field in ("deprecatedFirstTimestamp", "deprecatedLastTimestamp", "deprecatedCount", "deprecatedSource"):
        if new.get(field):
            yield FieldError.invalid(CORE_NAMES[field], "", "needs to be unset")
