"""PodDisruptionBudget, HorizontalPodAutoscaler, PriorityClass, RuntimeClass."""

from collections.abc import Iterator

from .. import names
from ..errors import FieldError
from ..objects import Obj, name_of
from . import checks, meta, scaling
from .affinity_checks import tolerations
from .pod_defaults import fill
from .strategy import Strategy
from .workloads import count_or_percent

Problems = Iterator[FieldError]

_MOST_PRIORITY = 1_000_000_000


class PodDisruptionBudgetStrategy(Strategy):
    generation = True
    status = True

    def reset_status(self, new: Obj) -> None:
        counts = ("disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods")
        new["status"] = dict.fromkeys(counts, 0)

    def check(self, new: Obj, old: Obj | None, *, part: str = "") -> Problems:
        spec: Obj = new.get("spec") or {}
        low, high = spec.get("minAvailable"), spec.get("maxUnavailable")
        if low is not None and high is not None:
            yield FieldError.invalid("spec", spec, "minAvailable and maxUnavailable cannot be both set")
        for field, value in (("minAvailable", low), ("maxUnavailable", high)):
            if value is not None:
                yield from count_or_percent(value, f"spec.{field}")
        yield from checks.selector(spec.get("selector"), "spec.selector")
        policies = ("AlwaysAllow", "IfHealthyBudget")
        yield from checks.one_of_if_set(
            spec.get("unhealthyPodEvictionPolicy"), "spec.unhealthyPodEvictionPolicy", policies
        )


class ScalerStrategy(Strategy):
    """HorizontalPodAutoscaler, stored as autoscaling/v2."""

    status = True

    def default(self, obj: Obj) -> None:
        spec = obj.setdefault("spec", {})
        fill(spec, {"minReplicas": 1})
        if obj.get("apiVersion") == "autoscaling/v1":
            return
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
        spec: Obj = new.get("spec") or {}
        low, high = spec.get("minReplicas"), spec.get("maxReplicas") or 0
        if low is not None and low < 1:
            yield FieldError.invalid("spec.minReplicas", low, "must be greater than or equal to 1")
        if high < 1:
            yield FieldError.invalid("spec.maxReplicas", high, "must be greater than 0")
        if low is not None and high < low:
            yield FieldError.invalid("spec.maxReplicas", high, "must be greater than or equal to `minReplicas`")
        target: Obj = spec.get("scaleTargetRef") or {}
        for field in ("kind", "name"):
            if value := target.get(field):
                yield from checks.named(value, f"spec.scaleTargetRef.{field}", names.path_segment)
            else:
                yield FieldError.required(f"spec.scaleTargetRef.{field}")
        yield from scaling.metrics(spec.get("metrics") or [], "spec.metrics")
        yield from scaling.behavior(spec.get("behavior") or {}, "spec.behavior")


class PriorityClassStrategy(Strategy):
    generation = True

    def default(self, obj: Obj) -> None:
        fill(obj, {"preemptionPolicy": "PreemptLowerPriority"})

    def check(self, new: Obj, old: Obj | None, *, part: str = "") -> Problems:
        value, name = new.get("value", 0), name_of(new)
        if name.startswith("system-") and name not in ("system-node-critical", "system-cluster-critical"):
            detail = "priority class names with 'system-' prefix are reserved for system use only"
            yield FieldError.forbidden(
                "metadata.name", detail + f". error: {name} is not a known system priority class"
            )
        elif value > _MOST_PRIORITY and not name.startswith("system-"):
            yield FieldError.forbidden("value", f"maximum allowed value of a user defined priority is {_MOST_PRIORITY}")
        yield from checks.one_of(new.get("preemptionPolicy"), "preemptionPolicy", ("Never", "PreemptLowerPriority"))
        if old is not None:
            if value != old.get("value", 0):
                yield FieldError.forbidden("value", "may not be changed in an update.")
            yield from meta.immutable(new.get("preemptionPolicy"), old.get("preemptionPolicy"), "preemptionPolicy")


class RuntimeClassStrategy(Strategy):
    def check(self, new: Obj, old: Obj | None, *, part: str = "") -> Problems:
        handler = new.get("handler") or ""
        yield from checks.named(handler, "handler", names.label)
        if old is not None:
            yield from meta.immutable(handler, old.get("handler"), "handler")
        yield from checks.amounts((new.get("overhead") or {}).get("podFixed"), "overhead.podFixed")
        scheduling: Obj = new.get("scheduling") or {}
        yield from meta.labels(scheduling.get("nodeSelector"), "scheduling.nodeSelector")
        yield from tolerations(scheduling.get("tolerations") or (), "scheduling.tolerations")
