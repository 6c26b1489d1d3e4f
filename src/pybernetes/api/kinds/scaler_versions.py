"""HorizontalPodAutoscaler in autoscaling/v1: what it has no fields for it carries in annotations, in forms of its own.

Source: kubernetes/pkg/apis/autoscaling/v1/conversion.go. The annotations' metrics have the names that they had before
v2; the behaviour is written with Go's field names, and read whatever its case.
"""

from collections.abc import Mapping
from typing import Any

from ..objects import Obj, decode, encode

_CPU_TARGET = 80
"""What autoscaling/v1 aims at when it says nothing."""
_METRICS = "autoscaling.alpha.kubernetes.io/metrics"
_BEHAVIOR = "autoscaling.alpha.kubernetes.io/behavior"
_CONDITIONS = "autoscaling.alpha.kubernetes.io/conditions"
_CURRENT = "autoscaling.alpha.kubernetes.io/current-metrics"
_NOTES = frozenset((_METRICS, _BEHAVIOR, _CONDITIONS, _CURRENT))


def to_v2(obj: Obj) -> Obj:
    metadata: Obj = dict(obj.get("metadata") or {})
    kept: Mapping[str, str] = metadata.get("annotations") or {}
    if not _NOTES.isdisjoint(kept):
        metadata["annotations"] = {key: value for key, value in kept.items() if key not in _NOTES}
    spec, status = dict(obj.get("spec") or {}), dict(obj.get("status") or {})
    cpu = spec.pop("targetCPUUtilizationPercentage", None)
    own = [] if cpu is None else [_cpu("target", {"type": "Utilization", "averageUtilization": cpu})]
    metrics = own + [_metric_of(metric, _TARGET) for metric in _listed(kept, _METRICS)]
    usual = {"type": "Utilization", "averageUtilization": _CPU_TARGET}
    spec["metrics"] = metrics or [_cpu("target", usual)]
    if isinstance(behavior := _noted(kept, _BEHAVIOR), dict):
        spec["behavior"] = _recased(behavior)
    if not status.get("currentReplicas"):
        status.pop("currentReplicas", None)  # which v1 always tells, and v2 when there are any
    measured = status.pop("currentCPUUtilizationPercentage", None)
    current = [_metric_of(metric, _MEASURED) for metric in _listed(kept, _CURRENT)]
    if not current and measured is not None:
        current = [_cpu("current", {"averageUtilization": measured})]
    if current:
        status["currentMetrics"] = current
    if conditions := _listed(kept, _CONDITIONS):
        status["conditions"] = conditions
    return obj | {"apiVersion": "autoscaling/v2", "metadata": metadata, "spec": spec, "status": status}


def from_v2(obj: Obj) -> Obj:
    metadata, spec, status = dict(obj["metadata"]), dict(obj.get("spec") or {}), dict(obj.get("status") or {})
    metrics, current = spec.pop("metrics", None) or [], status.pop("currentMetrics", None) or []
    targets = [percent for metric in metrics if (percent := _utilization(metric, "target")) is not None]
    if targets:
        spec["targetCPUUtilizationPercentage"] = targets[0]
    measured = [percent for metric in current if (percent := _utilization(metric, "current")) is not None]
    if measured:
        status["currentCPUUtilizationPercentage"] = measured[-1]
    rest = [_noted_metric(metric, _TARGET) for metric in metrics if _utilization(metric, "target") is None]
    notes: dict[str, Any] = {
        _METRICS: rest,
        _CURRENT: [_noted_metric(metric, _MEASURED) for metric in current],
        _CONDITIONS: status.pop("conditions", None),
        _BEHAVIOR: _go_behavior(spec.pop("behavior", None)),
    }
    written = {name: encode(value).decode() for name, value in notes.items() if value}
    if written:
        metadata["annotations"] = (metadata.get("annotations") or {}) | written
    for count in ("currentReplicas", "desiredReplicas"):
        status.setdefault(count, 0)
    return obj | {"apiVersion": "autoscaling/v1", "metadata": metadata, "spec": spec, "status": status}


def _cpu(field: str, value: Obj) -> Obj:
    return {"type": "Resource", "resource": {"name": "cpu", field: value}}


def _utilization(metric: Obj, field: str) -> int | None:
    resource = metric.get("resource") or {}
    if metric.get("type") != "Resource" or resource.get("name") != "cpu":
        return None
    found: int | None = (resource.get(field) or {}).get("averageUtilization")
    return found


def _noted(notes: Mapping[str, str], name: str) -> Any:
    """What an annotation holds; None when it is none or not JSON, as Go leaves it out."""
    try:
        return decode(notes[name]) if name in notes else None
    except ValueError:
        return None


def _listed(notes: Mapping[str, str], name: str) -> list[Obj]:
    found = _noted(notes, name)
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


# The fields of an amount, by source: of the annotation, of v2. What Go always writes is "0" when there is none.
_TARGET: Mapping[str, tuple[tuple[str, str], ...]] = {
    "resource": (("targetAverageUtilization", "averageUtilization"), ("targetAverageValue", "averageValue")),
    "containerResource": (("targetAverageUtilization", "averageUtilization"), ("targetAverageValue", "averageValue")),
    "pods": (("targetAverageValue", "averageValue"),),
    "object": (("targetValue", "value"), ("averageValue", "averageValue")),
    "external": (("targetValue", "value"), ("targetAverageValue", "averageValue")),
}
_MEASURED: Mapping[str, tuple[tuple[str, str], ...]] = {
    "resource": (("currentAverageUtilization", "averageUtilization"), ("currentAverageValue", "averageValue")),
    "containerResource": (("currentAverageUtilization", "averageUtilization"), ("currentAverageValue", "averageValue")),
    "pods": (("currentAverageValue", "averageValue"),),
    "object": (("currentValue", "value"), ("averageValue", "averageValue")),
    "external": (("currentValue", "value"), ("currentAverageValue", "averageValue")),
}
_ALWAYS = frozenset(
    {
        *(("pods", "targetAverageValue"), ("object", "targetValue"), ("object", "currentValue")),
        *(("resource", "currentAverageValue"), ("containerResource", "currentAverageValue")),
        *(("pods", "currentAverageValue"), ("external", "currentValue")),
    }
)
_PLAIN = ("name", "container")


def _noted_metric(metric: Obj, amounts: Mapping[str, tuple[tuple[str, str], ...]]) -> Obj:
    """A metric of v2 as the annotations have it."""
    noted: Obj = {"type": metric.get("type")}
    for field, pairs in amounts.items():
        source = metric.get(field)
        if source is None:
            continue
        found: Obj = {name: source[name] for name in _PLAIN if name in source}
        if field == "object":
            found["target"] = source.get("describedObject") or {}
        if (named := source.get("metric")) is not None:
            found["metricName"] = named.get("name", "")
            if named.get("selector") is not None:
                found["metricSelector" if field == "external" else "selector"] = named["selector"]
        value = source.get("target" if amounts is _TARGET else "current") or {}
        for old, new in pairs:
            if value.get(new) is not None:
                found[old] = value[new]
            elif (field, old) in _ALWAYS:
                found[old] = "0"
        noted[field] = found
    return noted


def _metric_of(noted: Obj, amounts: Mapping[str, tuple[tuple[str, str], ...]]) -> Obj:
    metric: Obj = {"type": noted.get("type")}
    for field, pairs in amounts.items():
        source = noted.get(field)
        if source is None:
            continue
        found: Obj = {name: source[name] for name in _PLAIN if name in source}
        if field == "object":
            found["describedObject"] = source.get("target") or {}
        if "metricName" in source:
            selector = source.get("metricSelector" if field == "external" else "selector")
            found["metric"] = {"name": source["metricName"]} | ({} if selector is None else {"selector": selector})
        value = {
            new: source[old] for old, new in pairs if source.get(old) is not None and not _none(field, old, source)
        }
        if amounts is _TARGET:
            found["target"] = {"type": _target_type(value), **value}
        else:
            found["current"] = value
        metric[field] = found
    return metric


def _none(field: str, name: str, source: Obj) -> bool:
    """Whether "0" stands for nothing: Go had to write something."""
    return (field, name) in _ALWAYS and source[name] in ("0", 0) and field in ("object", "external")


def _target_type(value: Obj) -> str:
    if "averageUtilization" in value:
        return "Utilization"
    return "AverageValue" if "averageValue" in value else "Value"


def _go_behavior(behavior: Obj | None) -> Obj | None:
    if behavior is None:
        return None
    return {"ScaleUp": _go_rules(behavior.get("scaleUp")), "ScaleDown": _go_rules(behavior.get("scaleDown"))}


def _go_rules(rules: Obj | None) -> Obj | None:
    if rules is None:
        return None
    policies = [
        {"Type": one.get("type"), "Value": one.get("value"), "PeriodSeconds": one.get("periodSeconds")}
        for one in rules.get("policies") or ()
    ]
    return {
        "StabilizationWindowSeconds": rules.get("stabilizationWindowSeconds"),
        "SelectPolicy": rules.get("selectPolicy"),
        "Policies": policies or None,
        "Tolerance": rules.get("tolerance"),
    }


_BEHAVIOR_FIELDS = {
    field.lower(): field
    for field in (
        *("scaleUp", "scaleDown", "stabilizationWindowSeconds", "selectPolicy", "policies", "tolerance"),
        *("type", "value", "periodSeconds"),
    )
}


def _recased(value: Any) -> Any:
    """Go's reader takes a field in any case."""
    if isinstance(value, dict):
        known = {_BEHAVIOR_FIELDS.get(key.lower(), key): one for key, one in value.items() if one is not None}
        return {key: _recased(one) for key, one in known.items()}
    return [_recased(one) for one in value] if isinstance(value, list) else value
