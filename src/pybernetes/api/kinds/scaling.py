"""What a HorizontalPodAutoscaler may say of metrics and behaviour (pkg/apis/autoscaling/validation)."""

from collections.abc import Iterator

from .. import names
from ..errors import FieldError
from ..objects import Obj
from ..quantity import Quantity
from .resource_checks import container_name
from .rules import Table, among, follow, given, matching, need

Problems = Iterator[FieldError]

METRIC_TYPES = ("ContainerResource", "External", "Object", "Pods", "Resource")
_TARGET_TYPES = ("AverageValue", "Utilization", "Value")
_LONGEST_WINDOW = 3600
_LONGEST_PERIOD = 1800


def metrics(found: list[Obj], path: str, *, least: int | None = None) -> Problems:
    """`least` is minReplicas: none at all needs a metric that is there without pods."""
    for index, metric in enumerate(found):
        yield from _metric(metric, f"{path}[{index}]")
    if least == 0 and not any(metric.get("type") in ("Object", "External") for metric in found):
        detail = "must specify at least one Object or External metric to support scaling to zero replicas"
        yield FieldError.forbidden(path, detail)


_FIELDS = {kind[0].lower() + kind[1:]: kind for kind in ("Object", "External", "Pods", "Resource", "ContainerResource")}


def _metric(metric: Obj, path: str) -> Problems:
    kind = metric.get("type") or ""
    if not kind:
        yield FieldError.required(f"{path}.type", "must specify a metric source type")
    if kind not in METRIC_TYPES:
        yield FieldError.not_supported(f"{path}.type", kind, METRIC_TYPES)
    present = [field for field in _FIELDS if metric.get(field) is not None]
    for field in present[:1]:
        yield from _source(_FIELDS[field], metric[field], f"{path}.{field}")
    wanted = next((field for field, name in _FIELDS.items() if name == kind), None)
    if wanted is None:
        yield FieldError.not_supported(f"{path}.type", kind, METRIC_TYPES)
    elif wanted not in present:
        yield FieldError.required(f"{path}.{wanted}", "must populate information for the given metric source")
    for field in present if len(present) != 1 else ():
        if field != wanted:
            yield FieldError.forbidden(f"{path}.{field}", "must populate the given metric source only")


def _source(kind: str, source: Obj, path: str) -> Problems:
    target: Obj = source.get("target") or {}
    where = f"{path}.target"
    if kind in ("Resource", "ContainerResource"):
        yield from follow(source, _CONTAINER if kind == "ContainerResource" else _RESOURCE, path)
    if kind == "Object":
        yield from reference(source.get("describedObject") or {}, f"{path}.describedObject")
    if kind in ("Object", "External", "Pods"):
        yield from follow(source.get("metric") or {}, _METRIC, f"{path}.metric")
    yield from _target(target, where)
    value, average = target.get("value"), target.get("averageValue")
    usage = target.get("averageUtilization")
    match kind:
        case "Resource" | "ContainerResource":
            if usage is None and average is None:
                detail = "must set either a target raw value or a target utilization"
                yield FieldError.required(f"{where}.averageUtilization", detail)
            if usage is not None and average is not None:
                detail = "may not set both a target raw value and a target utilization"
                yield FieldError.forbidden(f"{where}.averageValue", detail)
        case "Pods":
            if average is None:
                yield FieldError.required(f"{where}.averageValue", "must specify a positive target averageValue")
        case "Object" | "External":
            if value is None and average is None:
                yield FieldError.required(f"{where}.averageValue", _NO_VALUE[kind])
            if kind == "External" and value is not None and average is not None:
                detail = "may not set both a target value for metric and a per-pod target"
                yield FieldError.forbidden(f"{where}.value", detail)


_NO_VALUE = {
    "Object": "must set either a target value or averageValue",
    "External": "must set either a target value for metric or a per-pod target",
}
_SEGMENT = matching(names.path_segment)
_METRIC: Table = {"name": need(_SEGMENT, "must specify a metric name")}
_RESOURCE: Table = {"name": need(None, "must specify a resource name")}
_CONTAINER: Table = {
    "name": need(container_name, "must specify a resource name"),
    "container": need(matching(names.label), "must specify a container"),
}
_REFERENCE: Table = {"kind": need(_SEGMENT), "name": need(_SEGMENT)}


def reference(found: Obj, path: str) -> Problems:
    """A CrossVersionObjectReference."""
    yield from follow(found, _REFERENCE, path)


def _target(target: Obj, path: str) -> Problems:
    kind = target.get("type") or ""
    if not kind:
        yield FieldError.required(f"{path}.type", "must specify a metric target type")
    if kind not in _TARGET_TYPES:
        yield FieldError.invalid(f"{path}.type", kind, "must be either Utilization, Value, or AverageValue")
    for field in ("value", "averageValue"):
        amount = target.get(field)
        if amount is not None and Quantity.parse(amount).nano <= 0:
            yield FieldError.invalid(f"{path}.{field}", amount, "must be positive")
    usage = target.get("averageUtilization")
    if usage is not None and usage < 1:
        yield FieldError.invalid(f"{path}.averageUtilization", usage, "must be greater than 0")


def behavior(found: Obj, path: str) -> Problems:
    for field in ("scaleUp", "scaleDown"):
        if (rules := found.get(field)) is not None:
            yield from _rules(rules, f"{path}.{field}")


def _rules(rules: Obj, path: str) -> Problems:
    window = rules.get("stabilizationWindowSeconds")
    if window is not None and window < 0:
        yield FieldError.invalid(f"{path}.stabilizationWindowSeconds", window, "must be greater than or equal to zero")
    elif window is not None and window > _LONGEST_WINDOW:
        detail = f"must be less than or equal to {_LONGEST_WINDOW}"
        yield FieldError.invalid(f"{path}.stabilizationWindowSeconds", window, detail)
    yield from follow(rules, {"selectPolicy": given(among("Disabled", "Max", "Min"))}, path)
    policies = rules.get("policies") or []
    if not policies:
        yield FieldError.required(f"{path}.policies", "must specify at least one Policy")
    for index, policy in enumerate(policies):
        where = f"{path}.policies[{index}]"
        yield from among("Percent", "Pods")(policy.get("type") or "", f"{where}.type")
        for field in ("value", "periodSeconds"):
            if policy.get(field, 0) <= 0:
                yield FieldError.invalid(f"{where}.{field}", policy.get(field, 0), "must be greater than zero")
        if policy.get("periodSeconds", 0) > _LONGEST_PERIOD:
            detail = f"must be less than or equal to {_LONGEST_PERIOD}"
            yield FieldError.invalid(f"{where}.periodSeconds", policy["periodSeconds"], detail)
