"""Workloads with a pod template: Deployment, ReplicaSet, DaemonSet, StatefulSet, ReplicationController."""

import re
from collections.abc import Iterator

from .. import names
from ..errors import FieldError
from ..objects import Obj, annotations_of, metadata, name_of
from . import checks, meta
from .claim_checks import claim_spec, claim_warnings
from .pod_checks import template
from .pod_defaults import default_spec, fill
from .pod_warnings import label_name_warning, pod_warnings
from .rules import NOT_NEGATIVE, Table, among, follow, given, inside, matching, may, need
from .strategy import Strategy

Problems = Iterator[FieldError]

_PERCENT = re.compile(r"[0-9]+%")
_PERCENT_TEXT = (
    "a valid percent string must be a numeric string followed by an ending '%' "
    "(e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')"
)
_COUNTS: Table = dict.fromkeys(("replicas", "minReadySeconds", "revisionHistoryLimit"), given(NOT_NEGATIVE))
_STATUS_COUNTS: Table = dict.fromkeys(
    (
        *("replicas", "readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas"),
        *("unavailableReplicas", "fullyLabeledReplicas", "terminatingReplicas", "observedGeneration"),
        "collisionCount",
    ),
    given(NOT_NEGATIVE),
)
_HISTORY = "spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is recommended"
_PARTS = ("updatedReplicas", "currentReplicas", "readyReplicas", "availableReplicas", "fullyLabeledReplicas")
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


def at_most_all(value: int | str | None, path: str) -> Problems:
    if isinstance(value, str) and _PERCENT.fullmatch(value) and int(value[:-1]) > 100:
        yield FieldError.invalid(path, value, "must not be greater than 100%")


def _is_zero(value: int | str | None) -> bool:
    return value is None or str(value).rstrip("%").lstrip("0") == ""


class WorkloadStrategy(Strategy):
    """What they share: replicas, a template, a selector that never changes and matches the template."""

    kind = ""
    names_hosts = False
    """Pods are named after it, and their hosts after them, whatever its name is."""
    most_available = "cannot be greater than readyReplicas"
    generation = True
    status = True
    status_keeps_labels = True

    def default(self, obj: Obj) -> None:
        default_template(obj.setdefault("spec", {}))

    def check(self, new: Obj, old: Obj | None, *, part: str = "") -> Problems:
        if part == "status":
            yield from self.check_status(new.get("status") or {})
            yield from _not_back(new, old or {})
            return
        spec: Obj = new.get("spec") or {}
        yield from follow(spec, _COUNTS, "spec")
        yield from checks.workload_selector(spec, "spec", kind=self.kind.lower())
        yield from self.check_pods(spec, old)
        yield from self.check_spec(spec)
        if old is not None:
            yield from self.check_update(spec, old.get("spec") or {})

    def warnings(self, new: Obj, old: Obj | None, *, part: str = "") -> Iterator[str]:
        """A change that leaves the spec as it was tells nothing anew."""
        if part in ("", "scale") and (old is None or self.changed(new, old)):
            if old is None and self.names_hosts:
                yield from label_name_warning(name_of(new), "Pod names and hostnames")
            yield from pod_warnings((new.get("spec") or {}).get("template") or {}, "spec.template")

    def check_pods(self, spec: Obj, old: Obj | None) -> Problems:
        yield from template(spec, "spec.template", kind=self.kind)

    def check_spec(self, spec: Obj) -> Problems:
        yield from ()

    def check_update(self, spec: Obj, before: Obj) -> Problems:
        yield from meta.immutable(spec.get("selector"), before.get("selector"), "spec.selector")

    def check_status(self, status: Obj) -> Problems:
        yield from follow(status, _STATUS_COUNTS, "status")
        total, ready = status.get("replicas") or 0, status.get("readyReplicas") or 0
        for field in _PARTS:
            if (status.get(field) or 0) > total:
                detail = "cannot be greater than status.replicas"
                yield FieldError.invalid(f"status.{field}", status.get(field) or 0, detail)
        if (available := status.get("availableReplicas") or 0) > ready:
            yield FieldError.invalid("status.availableReplicas", available, self.most_available)


def _not_back(new: Obj, old: Obj) -> Problems:
    """collisionCount, once there, only grows."""
    count, before = ((obj.get("status") or {}).get("collisionCount") for obj in (new, old))
    if before is not None and (count or 0) < before:
        yield FieldError.invalid("status.collisionCount", count or 0, "cannot be decremented")


class DeploymentStrategy(WorkloadStrategy):
    names_hosts = True
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
        yield from among("Recreate", "RollingUpdate")(strategy.get("type") or "", f"{path}.type")
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
    yield from at_most_all(unavailable, f"{path}.maxUnavailable")


class ReplicaSetStrategy(WorkloadStrategy):
    names_hosts = True
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

    def warnings(self, new: Obj, old: Obj | None, *, part: str = "") -> Iterator[str]:
        if old is None or part or (new.get("spec") or {}).get("template") != (old.get("spec") or {}).get("template"):
            yield from super().warnings(new, old, part=part)

    def check_spec(self, spec: Obj) -> Problems:
        strategy: Obj = spec.get("updateStrategy") or {}
        path = "spec.updateStrategy"
        if strategy.get("type") not in ("RollingUpdate", "OnDelete"):
            yield FieldError.not_supported(path, strategy, ("RollingUpdate", "OnDelete"))
        if strategy.get("type") != "RollingUpdate":
            return
        found: Obj = strategy.get("rollingUpdate") or {}
        unavailable, surge = found.get("maxUnavailable"), found.get("maxSurge")
        where = f"{path}.rollingUpdate"
        for field in ("maxUnavailable", "maxSurge"):
            yield from count_or_percent(found.get(field), f"{where}.{field}")
            yield from at_most_all(found.get(field), f"{where}.{field}")
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
    most_available = "cannot be greater than status.readyReplicas"

    def default(self, obj: Obj) -> None:
        super().default(obj)
        spec = obj["spec"]
        fill(spec, {"podManagementPolicy": "OrderedReady", "replicas": 1, "revisionHistoryLimit": 10})
        strategy = spec.setdefault("updateStrategy", {})
        fill(strategy, {"type": "RollingUpdate"})
        if strategy["type"] == "RollingUpdate":
            fill(strategy.setdefault("rollingUpdate", {}), {"partition": 0, "maxUnavailable": 1})
        retention = spec.setdefault("persistentVolumeClaimRetentionPolicy", {})
        fill(retention, {"whenDeleted": "Retain", "whenScaled": "Retain"})
        for claim in spec.get("volumeClaimTemplates") or ():
            fill(claim, {"apiVersion": "v1", "kind": "PersistentVolumeClaim"})
            fill(claim.setdefault("spec", {}), {"volumeMode": "Filesystem"})
            fill(claim.setdefault("status", {}), {"phase": "Pending"})

    def reset_status(self, new: Obj) -> None:
        new["status"] = {"replicas": 0, "availableReplicas": 0}

    def check_pods(self, spec: Obj, old: Obj | None) -> Problems:
        """Once less was asked of a template and of claims: what was wrong before may stay wrong."""
        before: Obj = (old or {}).get("spec") or {}
        for check in (_stateful_pods, _stateful_claims):
            found = list(check(spec))
            if found and (old is None or not any(check(before))):
                yield from found

    def check_spec(self, spec: Obj) -> Problems:
        if (policy := spec.get("podManagementPolicy") or "") == "":
            yield FieldError.required("spec.podManagementPolicy")
        elif policy not in ("OrderedReady", "Parallel"):
            detail = "must be 'OrderedReady' or 'Parallel'"
            yield FieldError.invalid("spec.podManagementPolicy", policy, detail)
        yield from _stateful_update(spec.get("updateStrategy") or {}, "spec.updateStrategy")
        yield from follow(spec, _STATEFUL, "spec")

    def check(self, new: Obj, old: Obj | None, *, part: str = "") -> Problems:
        if old is None:  # a name was once held to less, and its object can still be changed
            yield from matching(names.label)(metadata(new).get("name") or "", "metadata.name")
        yield from super().check(new, old, part=part)

    def warnings(self, new: Obj, old: Obj | None, *, part: str = "") -> Iterator[str]:
        yield from super().warnings(new, old, part=part)
        if part in ("", "scale"):
            spec: Obj = new.get("spec") or {}
            path = "spec.volumeClaimTemplates[{}]" + ("" if old is None else ".Spec")  # as Kubernetes has it
            yield from _claim_warnings(spec, path)
            if (spec.get("revisionHistoryLimit") or 0) < 0:
                yield _HISTORY

    def check_update(self, spec: Obj, before: Obj) -> Problems:
        def fixed(found: Obj) -> Obj:
            return {k: v for k, v in found.items() if k not in _STATEFUL_MUTABLE and v not in (None, "", [])}

        if fixed(spec) != fixed(before):
            listed = ", ".join(f"'{field}'" for field in _STATEFUL_MUTABLE[:-1])
            detail = f"updates to statefulset spec for fields other than {listed} and 'minReadySeconds' are forbidden"
            yield FieldError.forbidden("spec", detail)


def _claim_warnings(spec: Obj, path: str) -> Iterator[str]:
    for index, claim in enumerate(spec.get("volumeClaimTemplates") or ()):
        yield from claim_warnings(claim.get("spec") or {}, path.format(index))


def _stateful_pods(spec: Obj) -> Problems:
    """The pods' own claims, under the names of their templates, take the place of volumes of that name."""
    claims = [(claim.get("metadata") or {}).get("name") or "" for claim in spec.get("volumeClaimTemplates") or ()]
    added = [{"name": name, "persistentVolumeClaim": {"claimName": name}} for name in claims if name]
    yield from template(spec, "spec.template", kind="StatefulSet", added=added)


def _stateful_claims(spec: Obj) -> Problems:
    for index, claim in enumerate(spec.get("volumeClaimTemplates") or ()):
        yield from claim_spec(claim.get("spec") or {}, f"spec.volumeClaimTemplates[{index}].spec")


def _stateful_update(strategy: Obj, path: str) -> Problems:
    kind, found = strategy.get("type") or "", strategy.get("rollingUpdate")
    if not kind:
        yield FieldError.required(path)
    elif kind == "OnDelete" and found is not None:
        yield FieldError.invalid(f"{path}.rollingUpdate", found, "only allowed for updateStrategy 'RollingUpdate'")
    elif kind not in ("OnDelete", "RollingUpdate"):
        yield FieldError.invalid(path, strategy, "must be 'RollingUpdate' or 'OnDelete'")
    elif found:
        where = f"{path}.rollingUpdate"
        yield from checks.not_negative(found.get("partition"), f"{where}.partition")
        most = found.get("maxUnavailable")
        if most is not None:
            yield from count_or_percent(most, f"{where}.maxUnavailable")
            if _is_zero(most):
                yield FieldError.invalid(f"{where}.maxUnavailable", most, "cannot be 0")
            yield from at_most_all(most, f"{where}.maxUnavailable")


_RETENTION = given(among("Retain", "Delete"))
_STATEFUL: Table = {
    "ordinals": may(inside({"start": given(NOT_NEGATIVE)})),
    "serviceName": may(matching(names.label)),
    "persistentVolumeClaimRetentionPolicy": may(inside({"whenDeleted": _RETENTION, "whenScaled": _RETENTION})),
}


class ReplicationControllerStrategy(Strategy):
    generation = True
    orphans = True
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
            yield from _REPLICAS.check_status(new.get("status") or {})
            return
        spec: Obj = new.get("spec") or {}
        yield from follow(spec, _CONTROLLER, "spec")
        found: Obj | None = spec.get("template")
        if found is None:
            yield FieldError.required("spec.template")
            return
        labels = (found.get("metadata") or {}).get("labels") or {}
        if any(labels.get(key) != value for key, value in (spec.get("selector") or {}).items()):
            detail = "`selector` does not match template `labels`"
            yield FieldError.invalid("spec.template.metadata.labels", labels, detail)
        yield from template(spec, "spec.template", kind="ReplicationController")

    def warnings(self, new: Obj, old: Obj | None, *, part: str = "") -> Iterator[str]:
        yield from _REPLICAS.warnings(new, old, part=part)


_REPLICAS = ReplicaSetStrategy()
_CONTROLLER: Table = {
    "minReadySeconds": given(NOT_NEGATIVE),
    "selector": need(),
    "replicas": given(NOT_NEGATIVE),
}


class ControllerRevisionStrategy(Strategy):
    def check(self, new: Obj, old: Obj | None, *, part: str = "") -> Problems:
        if new.get("data") is None:
            yield FieldError.required("data", "data is mandatory")
        yield from checks.not_negative(new.get("revision", 0), "revision")
        if old is not None:
            yield from meta.immutable(new.get("data"), old.get("data"), "data")
