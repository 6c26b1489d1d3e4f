"""Namespace, Node, Lease, Event, ResourceQuota, LimitRange: what the cluster itself is made of."""

from collections.abc import Iterator
from typing import Any

from .. import names
from ..errors import FieldError
from ..objects import Obj, metadata, name_of, namespace_of
from ..quantity import Quantity
from . import checks, meta
from .strategy import Strategy

Problems = Iterator[FieldError]

NAME_LABEL = "kubernetes.io/metadata.name"


class NamespaceStrategy(Strategy):
    name_rule = staticmethod(meta.label_name)
    status = True

    def default(self, obj: Obj) -> None:
        if name := name_of(obj):
            labels = obj["metadata"].setdefault("labels", {})
            labels.setdefault(NAME_LABEL, name)

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
        finalizers = (new.get("spec") or {}).get("finalizers") or ()
        for index, finalizer in enumerate(finalizers):
            if finalizer != "kubernetes":
                yield from checks.named(finalizer, f"spec.finalizers[{index}]", names.qualified)
        if old is None:
            return
        if NAME_LABEL in (metadata(new).get("labels") or {}):
            label = metadata(new)["labels"][NAME_LABEL]
            if label != name_of(new):
                yield FieldError.invalid("metadata.labels", label, f"must be {name_of(new)}")


class NodeStrategy(Strategy):
    """Its status is kept on create: a kubelet registers with one."""

    status = True

    def default(self, obj: Obj) -> None:
        status = obj.setdefault("status", {})
        if status.get("capacity") and not status.get("allocatable"):
            status["allocatable"] = dict(status["capacity"])

    def reset_status(self, new: Obj) -> None:
        new.setdefault("status", {})

    def check(self, new: Obj, old: Obj | None, *, part: str = "") -> Problems:
        spec: Obj = new.get("spec") or {}
        yield from taints(spec.get("taints") or [], "spec.taints")
        ranges = spec.get("podCIDRs") or []
        for index, found in enumerate(ranges):
            yield from checks.named(found, f"spec.podCIDRs[{index}]", names.cidr)
        if spec.get("podCIDR") and ranges and ranges[0] != spec["podCIDR"]:
            detail = "must be same as `podCIDR`"
            yield FieldError.invalid("spec.podCIDRs[0]", ranges[0], detail)
        for field in ("capacity", "allocatable"):
            yield from checks.amounts((new.get("status") or {}).get(field), f"status.{field}")
        if old is not None:
            before: Obj = old.get("spec") or {}
            if before.get("podCIDRs") and before["podCIDRs"] != ranges:
                detail = 'node updates may not change podCIDR except from "" to valid'
                yield FieldError.forbidden("spec.podCIDRs", detail)
            if before.get("providerID") and before["providerID"] != spec.get("providerID"):
                detail = 'node updates may not change providerID except from "" to valid'
                yield FieldError.forbidden("spec.providerID", detail)


def taints(found: list[Obj], path: str) -> Problems:
    seen: set[tuple[str, str]] = set()
    for index, taint in enumerate(found):
        where = f"{path}[{index}]"
        yield from checks.named(taint.get("key") or "", f"{where}.key", names.qualified)
        yield from checks.named(taint.get("value") or "", f"{where}.value", names.label_value)
        yield from checks.one_of(
            taint.get("effect"), f"{where}.effect", ("NoExecute", "NoSchedule", "PreferNoSchedule")
        )
        key = (taint.get("key") or "", taint.get("effect") or "")
        if key in seen:
            detail = "taints must be unique by key and effect pair"
            yield FieldError("FieldValueDuplicate", where, detail, {"key": key[0], "effect": key[1]})
        seen.add(key)


class LeaseStrategy(Strategy):
    create_on_update = True

    def check(self, new: Obj, old: Obj | None, *, part: str = "") -> Problems:
        spec: Obj = new.get("spec") or {}
        yield from checks.positive(spec.get("leaseDurationSeconds"), "spec.leaseDurationSeconds")
        yield from checks.not_negative(spec.get("leaseTransitions"), "spec.leaseTransitions")
        if "holderIdentity" in spec and not spec["holderIdentity"] and spec.get("strategy"):
            yield FieldError.required("spec.holderIdentity", "must be specified when `strategy` is set")


class EventStrategy(Strategy):
    """Stored as core/v1, whichever version it came in."""

    create_on_update = True

    def check(self, new: Obj, old: Obj | None, *, part: str = "") -> Problems:
        about: Obj = new.get("involvedObject") or new.get("regarding") or {}
        field = "involvedObject" if "involvedObject" in new else "regarding"
        where, own = about.get("namespace") or "", namespace_of(new)
        if where != own and not (not where and own in ("default", "kube-system")):
            yield FieldError.invalid(f"{field}.namespace", where, "does not match event.namespace")
        if new.get("apiVersion") == "events.k8s.io/v1" and old is None:
            yield from _new_event(new)


def _new_event(new: Obj) -> Problems:
    for field in ("eventTime", "reportingController", "reportingInstance", "action", "reason"):
        yield from checks.required(new, field, "")
    for field, most in (("reportingInstance", 128), ("action", 128), ("reason", 128), ("note", 1024)):
        if len(value := new.get(field) or "") > most:
            yield FieldError.invalid(field, value, f"can have at most {most} characters")
    yield from checks.one_of(new.get("type"), "type", ("Normal", "Warning"))


class ResourceQuotaStrategy(Strategy):
    status = True

    def check(self, new: Obj, old: Obj | None, *, part: str = "") -> Problems:
        spec: Obj = new.get("spec") or {}
        yield from checks.amounts(spec.get("hard"), "spec.hard")
        known = ("BestEffort", "CrossNamespacePodAffinity", "NotBestEffort", "NotTerminating", "PriorityClass")
        for scope in spec.get("scopes") or ():
            if scope not in (*known, "Terminating", "VolumeAttributesClass"):
                yield FieldError.invalid("spec.scopes", spec["scopes"], "unsupported scope")
        if old is not None and (spec.get("scopes") or []) != ((old.get("spec") or {}).get("scopes") or []):
            yield FieldError.invalid("spec.scopes", spec.get("scopes"), "field is immutable")
        for field in ("hard", "used"):
            yield from checks.amounts((new.get("status") or {}).get(field), f"status.{field}")


class LimitRangeStrategy(Strategy):
    create_on_update = True

    def default(self, obj: Obj) -> None:
        for item in (obj.get("spec") or {}).get("limits") or ():
            if item.get("type") != "Container":
                continue
            limits, requests = item.setdefault("default", {}), item.setdefault("defaultRequest", {})
            for name, amount in (item.get("max") or {}).items():
                limits.setdefault(name, amount)
            for name, amount in limits.items():
                requests.setdefault(name, amount)
            for name, amount in (item.get("min") or {}).items():
                requests.setdefault(name, amount)

    def check(self, new: Obj, old: Obj | None, *, part: str = "") -> Problems:
        seen: set[str] = set()
        for index, item in enumerate((new.get("spec") or {}).get("limits") or ()):
            where = f"spec.limits[{index}]"
            kind = item.get("type") or ""
            if kind in seen:
                yield FieldError.duplicate(f"{where}.type", kind)
            seen.add(kind)
            yield from _limits(item, where)


_ORDER = ("min", "defaultRequest", "default", "max")


def _limits(item: dict[str, Any], path: str) -> Problems:
    """min <= defaultRequest <= default <= max, each where given."""
    for resource in sorted({name for field in _ORDER for name in item.get(field) or {}}):
        given = [(f, item[f][resource]) for f in _ORDER if resource in (item.get(f) or {})]
        for (low, small), (high, large) in ((a, b) for i, a in enumerate(given) for b in given[i + 1 :]):
            if Quantity.parse(small).nano > Quantity.parse(large).nano:
                words = {"defaultRequest": "default request", "default": "default"}
                names_of = f"{words.get(low, low)} value {small} is greater than {words.get(high, high)} value {large}"
                yield FieldError.invalid(f"{path}.{low}[{resource}]", small, names_of)
