"""Workloads with a pod template: Deployment, ReplicaSet, DaemonSet, StatefulSet, ReplicationController."""

import re
from collections.abc import Iterator

from .. import names
from ..errors import FieldError
from ..objects import Obj, annotations_of, metadata
from . import checks, meta
from .pod_checks import template
from .pod_defaults import default_spec, fill
from .strategy import Strategy

Problems = Iterator[FieldError]

_PERCENT = re.compile(r"[0-9]+%")
_PERCENT_TEXT = (
    "a valid percent string must be a numeric string followed by an ending '%' "
    "(e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')"
)
_STATEFUL_MUTABLE = (
    *("replicas", "ordinals", "template", "updateStrategy", "revisionHistoryLimit"),
    *("persistentVolumeClaimRetentionPolicy", "minReadySeconds"),
)


def default_template(spec: Obj) -> None:
    default_spec(spec.setdefault("template", {}).setdefault("spec", {}))


def count_or_percent(value: int | str | None, path: str) -> Problems:
    """An IntOrString that says how many: not negative, and at most 100% when a share."""
    if isinstance(value, str):
        if not _PERCENT.fullmatch(value):
            yield FieldError.invalid(path, value, _PERCENT_TEXT)
    else:
        yield from checks.not_negative(value, path)


def _at_most_all(value: int | str | None, path: str) -> Problems:
    if isinstance(value, str) and _PERCENT.fullmatch(value) and int(value[:-1]) > 100:
        yield FieldError.invalid(path, value, "must not be greater than 100%")


def _is_zero(value: int | str | None) -> bool:
    return value is None or str(value).rstrip("%").lstrip("0") == ""


class WorkloadStrategy(Strategy):
    """What they share: replicas, a template, a selector that never changes and matches the template."""

    kind = ""
    generation = True
    status = True
    status_keeps_labels = True

    def default(self, obj: Obj) -> None:
        default_template(obj.setdefault("spec", {}))

    def check(self, new: Obj, old: Obj | None, *, part: str = "") -> Problems:
        if part == "status":
            yield from self.check_status(new.get("status") or {})
            return
        spec: Obj = new.get("spec") or {}
        for field in ("replicas", "minReadySeconds", "revisionHistoryLimit"):
            yield from checks.not_negative(spec.get(field), f"spec.{field}")
        yield from checks.workload_selector(spec, "spec", kind=self.kind.lower())
        yield from template(spec, "spec.template", kind=self.kind)
        yield from self.check_spec(spec)
        if old is not None:
            yield from self.check_update(spec, old.get("spec") or {})

    def check_spec(self, spec: Obj) -> Problems:
        yield from ()

    def check_update(self, spec: Obj, before: Obj) -> Problems:
        yield from meta.immutable(spec.get("selector"), before.get("selector"), "spec.selector")

    def check_status(self, status: Obj) -> Problems:
        counts = ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas", "observedGeneration")
        for field in (*counts, "unavailableReplicas", "fullyLabeledReplicas", "collisionCount"):
            yield from checks.not_negative(status.get(field), f"status.{field}")
        total = status.get("replicas")
        for field in ("updatedReplicas", "readyReplicas", "availableReplicas", "fullyLabeledReplicas"):
            if total is not None and field in status and status[field] > total:
                detail = "cannot be greater than status.replicas"
                yield FieldError.invalid(f"status.{field}", status[field], detail)


class DeploymentStrategy(WorkloadStrategy):
    kind = "Deployment"

    def default(self, obj: Obj) -> None:
        super().default(obj)
        spec = obj["spec"]
        fill(spec, {"replicas": 1, "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600})
        strategy = spec.setdefault("strategy", {})
        fill(strategy, {"type": "RollingUpdate"})
        if strategy["type"] == "RollingUpdate":
            fill(strategy.setdefault("rollingUpdate", {}), {"maxUnavailable": "25%", "maxSurge": "25%"})

    def changed(self, new: Obj, old: Obj) -> bool:
        """Annotations count too: a rollback is asked for in them."""
        return super().changed(new, old) or annotations_of(new) != annotations_of(old)

    def check_spec(self, spec: Obj) -> Problems:
        strategy: Obj = spec.get("strategy") or {}
        path = "spec.strategy"
        yield from checks.one_of(strategy.get("type"), f"{path}.type", ("Recreate", "RollingUpdate"))
        if strategy.get("type") == "Recreate" and strategy.get("rollingUpdate") is not None:
            detail = "may not be specified when strategy `type` is 'Recreate'"
            yield FieldError.forbidden(f"{path}.rollingUpdate", detail)
        elif strategy.get("type") == "RollingUpdate":
            yield from rolling(strategy.get("rollingUpdate") or {}, f"{path}.rollingUpdate")
        deadline, ready = spec.get("progressDeadlineSeconds"), spec.get("minReadySeconds") or 0
        yield from checks.not_negative(deadline, "spec.progressDeadlineSeconds")
        if deadline is not None and deadline <= ready:
            yield FieldError.invalid("spec.progressDeadlineSeconds", deadline, "must be greater than minReadySeconds")


def rolling(found: Obj, path: str) -> Problems:
    """A Deployment's rolling update: something must be allowed to move."""
    unavailable, surge = found.get("maxUnavailable"), found.get("maxSurge")
    yield from count_or_percent(unavailable, f"{path}.maxUnavailable")
    yield from count_or_percent(surge, f"{path}.maxSurge")
    if _is_zero(unavailable) and _is_zero(surge):
        detail = "may not be 0 when `maxSurge` is 0"
        yield FieldError.invalid(f"{path}.maxUnavailable", unavailable or 0, detail)
    yield from _at_most_all(unavailable, f"{path}.maxUnavailable")


class ReplicaSetStrategy(WorkloadStrategy):
    kind = "ReplicaSet"

    def default(self, obj: Obj) -> None:
        super().default(obj)
        fill(obj["spec"], {"replicas": 1})

    def reset_status(self, new: Obj) -> None:
        new["status"] = {"replicas": 0}


class DaemonSetStrategy(WorkloadStrategy):
    kind = "DaemonSet"

    def default(self, obj: Obj) -> None:
        super().default(obj)
        spec = obj["spec"]
        fill(spec, {"revisionHistoryLimit": 10})
        strategy = spec.setdefault("updateStrategy", {})
        fill(strategy, {"type": "RollingUpdate"})
        if strategy["type"] == "RollingUpdate":
            fill(strategy.setdefault("rollingUpdate", {}), {"maxUnavailable": 1, "maxSurge": 0})

    def reset_status(self, new: Obj) -> None:
        counts = ("currentNumberScheduled", "numberMisscheduled", "desiredNumberScheduled", "numberReady")
        new["status"] = dict.fromkeys(counts, 0)

    def check_spec(self, spec: Obj) -> Problems:
        strategy: Obj = spec.get("updateStrategy") or {}
        path = "spec.updateStrategy"
        yield from checks.one_of(strategy.get("type"), f"{path}.type", ("OnDelete", "RollingUpdate"))
        if strategy.get("type") != "RollingUpdate":
            return
        found: Obj = strategy.get("rollingUpdate") or {}
        unavailable, surge = found.get("maxUnavailable"), found.get("maxSurge")
        where = f"{path}.rollingUpdate"
        for field in ("maxUnavailable", "maxSurge"):
            yield from count_or_percent(found.get(field), f"{where}.{field}")
            yield from _at_most_all(found.get(field), f"{where}.{field}")
        if not _is_zero(unavailable) and not _is_zero(surge):
            yield FieldError.invalid(f"{where}.maxSurge", surge, "may not be set when maxUnavailable is non-zero")
        elif _is_zero(unavailable) and _is_zero(surge):
            yield FieldError.required(f"{where}.maxUnavailable", "cannot be 0 when maxSurge is 0")

    def check_status(self, status: Obj) -> Problems:
        for field, value in status.items():
            if isinstance(value, int):
                yield from checks.not_negative(value, f"status.{field}")


class StatefulSetStrategy(WorkloadStrategy):
    kind = "StatefulSet"
    name_rule = staticmethod(meta.label_name)

    def default(self, obj: Obj) -> None:
        super().default(obj)
        spec = obj["spec"]
        fill(spec, {"podManagementPolicy": "OrderedReady", "replicas": 1, "revisionHistoryLimit": 10})
        strategy = spec.setdefault("updateStrategy", {})
        fill(strategy, {"type": "RollingUpdate"})
        if strategy["type"] == "RollingUpdate":
            fill(strategy.setdefault("rollingUpdate", {}), {"partition": 0})
        retention = spec.setdefault("persistentVolumeClaimRetentionPolicy", {})
        fill(retention, {"whenDeleted": "Retain", "whenScaled": "Retain"})
        for claim in spec.get("volumeClaimTemplates") or ():
            fill(claim, {"apiVersion": "v1", "kind": "PersistentVolumeClaim"})
            fill(claim.setdefault("spec", {}), {"volumeMode": "Filesystem"})
            fill(claim.setdefault("status", {}), {"phase": "Pending"})

    def reset_status(self, new: Obj) -> None:
        new["status"] = {"replicas": 0, "availableReplicas": 0}

    def check_spec(self, spec: Obj) -> Problems:
        policies = ("OrderedReady", "Parallel")
        yield from checks.one_of(spec.get("podManagementPolicy"), "spec.podManagementPolicy", policies)
        strategy: Obj = spec.get("updateStrategy") or {}
        path = "spec.updateStrategy"
        yield from checks.one_of(strategy.get("type"), f"{path}.type", ("OnDelete", "RollingUpdate"))
        found = strategy.get("rollingUpdate")
        if strategy.get("type") == "OnDelete" and found is not None:
            detail = "only allowed for updateStrategy 'RollingUpdate'"
            yield FieldError.invalid(f"{path}.rollingUpdate", found, detail)
        yield from checks.not_negative((found or {}).get("partition"), f"{path}.rollingUpdate.partition")
        if service := spec.get("serviceName"):
            yield from checks.named(service, "spec.serviceName", names.label)
        retention: Obj = spec.get("persistentVolumeClaimRetentionPolicy") or {}
        for field in ("whenDeleted", "whenScaled"):
            where = f"spec.persistentVolumeClaimRetentionPolicy.{field}"
            yield from checks.one_of(retention.get(field), where, ("Delete", "Retain"))

    def check_update(self, spec: Obj, before: Obj) -> Problems:
        def fixed(found: Obj) -> Obj:
            return {k: v for k, v in found.items() if k not in _STATEFUL_MUTABLE and v not in (None, "", [])}

        if fixed(spec) != fixed(before):
            listed = ", ".join(f"'{field}'" for field in _STATEFUL_MUTABLE[:-1])
            detail = f"updates to statefulset spec for fields other than {listed} and 'minReadySeconds' are forbidden"
            yield FieldError.forbidden("spec", detail)


class ReplicationControllerStrategy(Strategy):
    generation = True
    status = True

    def default(self, obj: Obj) -> None:
        spec = obj.setdefault("spec", {})
        default_template(spec)
        fill(spec, {"replicas": 1})
        labels = (spec["template"].get("metadata") or {}).get("labels")
        if labels:
            if not spec.get("selector"):
                spec["selector"] = dict(labels)
            if not metadata(obj).get("labels"):
                obj.setdefault("metadata", {})["labels"] = dict(labels)

    def reset_status(self, new: Obj) -> None:
        new["status"] = {"replicas": 0}

    def check(self, new: Obj, old: Obj | None, *, part: str = "") -> Problems:
        if part == "status":
            return
        spec: Obj = new.get("spec") or {}
        yield from checks.not_negative(spec.get("replicas"), "spec.replicas")
        yield from checks.not_negative(spec.get("minReadySeconds"), "spec.minReadySeconds")
        yield from checks.required(spec, "selector", "spec")
        labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels") or {}
        if any(labels.get(key) != value for key, value in (spec.get("selector") or {}).items()):
            yield FieldError.invalid(
                "spec.template.metadata.labels", labels, "`selector` does not match template `labels`"
            )
        yield from template(spec, "spec.template", kind="ReplicationController")


class ControllerRevisionStrategy(Strategy):
    def check(self, new: Obj, old: Obj | None, *, part: str = "") -> Problems:
        revision = new.get("revision", 0)
        yield from checks.not_negative(revision, "revision")
        if old is not None:
            yield from meta.immutable(new.get("data"), old.get("data"), "data")
