"""PodDisruptionBudget, HorizontalPodAutoscaler, PriorityClass, RuntimeClass."""

from collections.abc import Iterator

from .. import names
from ..errors import FieldError
from ..objects import Obj, name_of
from . import checks, meta, scaling
from .affinity_checks import tolerations
from .condition_checks import conditions
from .label_warnings import DEPRECATED_LABELS
from .pod_defaults import fill, round_to_millis
from .resource_checks import requirements
from .rules import NOT_NEGATIVE, Table, among, both, distinct, follow, given, may
from .strategy import Strategy
from .workloads import at_most_all, count_or_percent

Problems = Iterator[FieldError]

_MOST_PRIORITY = 1_000_000_000


class PodDisruptionBudgetStrategy(Strategy):
    unconditional_update = False
    generation = True
    status = True

    def reset_status(self, new: Obj) -> None:
        counts = ("disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods")
        new["status"] = dict.fromkeys(counts, 0)

    def check(self, new: Obj, old: Obj | None, *, part: str = "") -> Problems:
        if part == "status":
            yield from follow(new.get("status") or {}, _BUDGET_STATUS, "status")
            return
        spec: Obj = new.get("spec") or {}
        if spec.get("minAvailable") is not None and spec.get("maxUnavailable") is not None:
            yield FieldError.invalid("spec", spec, "minAvailable and maxUnavailable cannot be both set")
        yield from follow(spec, _BUDGET, "spec")


_SHARE = given(both(count_or_percent, at_most_all))
_BUDGET: Table = {
    "minAvailable": _SHARE,
    "maxUnavailable": _SHARE,
    "selector": may(checks.selector),
    "unhealthyPodEvictionPolicy": given(among("AlwaysAllow", "IfHealthyBudget")),
}
_BUDGET_STATUS: Table = {
    "conditions": may(conditions),
    **dict.fromkeys(("disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"), given(NOT_NEGATIVE)),
}


COUNTED = {"desiredReplicas": 0}
"""What the status of a scaler always has; typed clients (Python's) fail on one without."""


class ScalerStrategy(Strategy):
    """HorizontalPodAutoscaler, stored as autoscaling/v2."""

    status = True

    def reset_status(self, new: Obj) -> None:
        new["status"] = dict(COUNTED)

    def default(self, obj: Obj) -> None:
        spec = obj.setdefault("spec", {})
        fill(spec, {"minReplicas": 1})
        if obj.get("apiVersion") == "autoscaling/v1":
            return
        if "status" in obj:
            fill(obj["status"], COUNTED)
        if not spec.get("metrics"):
            target = {"type": "Utilization", "averageUtilization": 80}
            spec["metrics"] = [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]
        if (behavior := spec.get("behavior")) is not None:
            up, down = behavior.setdefault("scaleUp", {}), behavior.setdefault("scaleDown", {})
            fill(up, {"selectPolicy": "Max", "stabilizationWindowSeconds": 0})
            if not up.get("policies"):
                up["policies"] = [
                    {"type": "Pods", "value": 4, "periodSeconds": 15},
                    {"type": "Percent", "value": 100, "periodSeconds": 15},
                ]
            fill(down, {"selectPolicy": "Max"})
            if not down.get("policies"):
                down["policies"] = [{"type": "Percent", "value": 100, "periodSeconds": 15}]

    def check(self, new: Obj, old: Obj | None, *, part: str = "") -> Problems:
        if part == "status":
            counts = dict.fromkeys(("currentReplicas", "desiredReplicas"), given(NOT_NEGATIVE))
            yield from follow(new.get("status") or {}, counts, "status")
            return
        spec: Obj = new.get("spec") or {}
        low, high = spec.get("minReplicas"), spec.get("maxReplicas") or 0
        least = 0 if ((old or {}).get("spec") or {}).get("minReplicas") == 0 else 1
        if low is not None and low < least:
            yield FieldError.invalid("spec.minReplicas", low, f"must be greater than or equal to {least}")
        if high < 1:
            yield FieldError.invalid("spec.maxReplicas", high, "must be greater than 0")
        if low is not None and high < low:
            yield FieldError.invalid("spec.maxReplicas", high, "must be greater than or equal to `minReplicas`")
        yield from scaling.reference(spec.get("scaleTargetRef") or {}, "spec.scaleTargetRef")
        yield from scaling.metrics(spec.get("metrics") or [], "spec.metrics", least=low)
        yield from scaling.behavior(spec.get("behavior") or {}, "spec.behavior")


SYSTEM_CLASSES = {"system-node-critical": 2_000_001_000, "system-cluster-critical": 2_000_000_000}


class PriorityClassStrategy(Strategy):
    generation = True

    def changed(self, new: Obj, old: Obj) -> bool:
        """Its generation stays 1: what counts of it never changes."""
        return False

    def default(self, obj: Obj) -> None:
        fill(obj, {"preemptionPolicy": "PreemptLowerPriority"})

    def check(self, new: Obj, old: Obj | None, *, part: str = "") -> Problems:
        value, name = new.get("value", 0), name_of(new)
        if name.startswith("system-"):
            if wrong := _no_system_class(name, value, default=bool(new.get("globalDefault"))):
                detail = "priority class names with 'system-' prefix are reserved for system use only. error: "
                yield FieldError.forbidden("metadata.name", detail + wrong)
        elif value > _MOST_PRIORITY:
            yield FieldError.forbidden("value", f"maximum allowed value of a user defined priority is {_MOST_PRIORITY}")
        yield from follow(new, {"preemptionPolicy": given(among("PreemptLowerPriority", "Never"))}, "")
        if old is not None:
            if value != old.get("value", 0):
                yield FieldError.forbidden("value", "may not be changed in an update.")
            yield from meta.immutable(new.get("preemptionPolicy"), old.get("preemptionPolicy"), "preemptionPolicy")


def _no_system_class(name: str, value: int, *, default: bool) -> str:
    """Why it is none of the classes that every cluster has; "" when it is one."""
    if name not in SYSTEM_CLASSES:
        return f"{name} is not a known system priority class"
    if value != SYSTEM_CLASSES[name]:
        return f"value of {name} PriorityClass must be {SYSTEM_CLASSES[name]}"
    return f"globalDefault of {name} PriorityClass must be false" if default else ""


class RuntimeClassStrategy(Strategy):
    create_on_update = True
    unconditional_update = False

    def default(self, obj: Obj) -> None:
        round_to_millis((obj.get("overhead") or {}).get("podFixed"))

    def check(self, new: Obj, old: Obj | None, *, part: str = "") -> Problems:
        handler = new.get("handler") or ""
        yield from checks.named(handler, "handler", names.label)
        if old is not None:
            yield from meta.immutable(handler, old.get("handler"), "handler")
        if (fixed := (new.get("overhead") or {}).get("podFixed")) is not None:
            yield from requirements({"limits": fixed}, "overhead")
        scheduling: Obj = new.get("scheduling") or {}
        yield from meta.labels(scheduling.get("nodeSelector"), "scheduling.nodeSelector")
        found = scheduling.get("tolerations") or []
        yield from tolerations(found, "scheduling.tolerations")
        yield from distinct(found, "scheduling.tolerations")

    def warnings(self, new: Obj, old: Obj | None, *, part: str = "") -> Iterator[str]:
        for key in (new.get("scheduling") or {}).get("nodeSelector") or ():
            if key in DEPRECATED_LABELS:
                yield f"scheduling.nodeSelector: {DEPRECATED_LABELS[key]}"
