"""Kinds served in two versions over one storage: core Event and events.k8s.io Event, autoscaling v1 and v2."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from ..objects import Obj, decode, encode

_CPU_TARGET = 80
"""What autoscaling/v1 aims at when it says nothing."""
_METRICS = "autoscaling.alpha.kubernetes.io/metrics"
_BEHAVIOR = "autoscaling.alpha.kubernetes.io/behavior"
_CONDITIONS = "autoscaling.alpha.kubernetes.io/conditions"
_CURRENT = "autoscaling.alpha.kubernetes.io/current-metrics"


class Conversion(NamedTuple):
    """Both give a new dict (inner values may be shared)."""

    to_storage: Callable[[Obj], Obj]
    from_storage: Callable[[Obj], Obj]


_EVENT_FIELDS = {
    "regarding": "involvedObject",
    "note": "message",
    "deprecatedSource": "source",
    "deprecatedFirstTimestamp": "firstTimestamp",
    "deprecatedLastTimestamp": "lastTimestamp",
    "deprecatedCount": "count",
    "reportingController": "reportingComponent",
}
_EVENT_FIELDS_BACK = {core: new for new, core in _EVENT_FIELDS.items()}


def _event_to_core(obj: Obj) -> Obj:
    return {_EVENT_FIELDS.get(key, key): value for key, value in obj.items()} | {"apiVersion": "v1"}


def _event_from_core(obj: Obj) -> Obj:
    renamed = {_EVENT_FIELDS_BACK.get(key, key): value for key, value in obj.items()}
    return renamed | {"apiVersion": "events.k8s.io/v1"}


def _scaler_to_v2(obj: Obj) -> Obj:
    """autoscaling/v1 keeps in annotations what it has no fields for."""
    metadata, kept = _without_notes(obj)
    spec, status = dict(obj.get("spec") or {}), dict(obj.get("status") or {})
    cpu = spec.pop("targetCPUUtilizationPercentage", None)
    metrics = _decoded(kept.get(_METRICS))
    if cpu is not None:
        metrics = [_cpu({"type": "Utilization", "averageUtilization": cpu}), *metrics]
    spec["metrics"] = metrics or [_cpu({"type": "Utilization", "averageUtilization": _CPU_TARGET})]
    if behavior := kept.get(_BEHAVIOR):
        spec["behavior"] = decode(behavior)
    current = _decoded(kept.get(_CURRENT))
    if (measured := status.pop("currentCPUUtilizationPercentage", None)) is not None:
        shown = {"name": "cpu", "current": {"averageUtilization": measured}}
        current = [{"type": "Resource", "resource": shown}, *current]
    if current:
        status["currentMetrics"] = current
    if conditions := _decoded(kept.get(_CONDITIONS)):
        status["conditions"] = conditions
    return obj | {"apiVersion": "autoscaling/v2", "metadata": metadata, "spec": spec, "status": status}


def _scaler_from_v2(obj: Obj) -> Obj:
    metadata, spec, status = dict(obj["metadata"]), dict(obj.get("spec") or {}), dict(obj.get("status") or {})
    notes: dict[str, str] = {}
    metrics = list(spec.pop("metrics", None) or ())
    if (percent := _take_cpu(metrics, "target")) is not None:
        spec["targetCPUUtilizationPercentage"] = percent
    current = list(status.pop("currentMetrics", None) or ())
    if (percent := _take_cpu(current, "current")) is not None:
        status["currentCPUUtilizationPercentage"] = percent
    rest = {_METRICS: metrics, _BEHAVIOR: spec.pop("behavior", None), _CURRENT: current}
    rest[_CONDITIONS] = status.pop("conditions", None)
    notes |= {name: encode(value).decode() for name, value in rest.items() if value}
    if notes:
        metadata["annotations"] = (metadata.get("annotations") or {}) | notes
    return obj | {"apiVersion": "autoscaling/v1", "metadata": metadata, "spec": spec, "status": status}


def _cpu(target: Obj) -> Obj:
    return {"type": "Resource", "resource": {"name": "cpu", "target": target}}


def _take_cpu(metrics: list[Obj], field: str) -> int | None:
    """The first utilization of CPU, taken out of the list."""
    for metric in metrics:
        if (percent := _utilization(metric, field)) is not None:
            metrics.remove(metric)
            return percent
    return None


def _utilization(metric: Obj, field: str) -> int | None:
    resource = metric.get("resource") or {}
    if metric.get("type") != "Resource" or resource.get("name") != "cpu":
        return None
    found: int | None = (resource.get(field) or {}).get("averageUtilization")
    return found


def _without_notes(obj: Obj) -> tuple[Obj, Mapping[str, str]]:
    metadata = dict(obj.get("metadata") or {})
    notes: dict[str, str] = metadata.get("annotations") or {}
    ours = {_METRICS, _BEHAVIOR, _CONDITIONS, _CURRENT}
    if not ours.isdisjoint(notes):
        metadata["annotations"] = {key: value for key, value in notes.items() if key not in ours}
    return metadata, notes


def _decoded(text: str | None) -> list[Obj]:
    return list(decode(text)) if text else []


CONVERSIONS: Mapping[tuple[str, str, str], Conversion] = {
    ("events.k8s.io", "v1", "Event"): Conversion(_event_to_core, _event_from_core),
    ("autoscaling", "v1", "HorizontalPodAutoscaler"): Conversion(_scaler_to_v2, _scaler_from_v2),
}
"""By group, version and kind of the row that is not the stored one."""
