"""What a HorizontalPodAutoscaler may say of metrics and behaviour (pkg/apis/autoscaling/validation)."""

from collections.abc import Iterator

from .. import names
from ..errors import FieldError
from ..objects import Obj
from ..quantity import Quantity
from . import checks

Problems = Iterator[FieldError]

METRIC_TYPES = ("ContainerResource", "External", "Object", "Pods", "Resource")
_TARGET_TYPES = ("AverageValue", "Utilization", "Value")
_LONGEST_WINDOW = 3600
_LONGEST_PERIOD = 1800


def metrics(found: list[Obj], path: str) -> Problems:
    for index, metric in enumerate(found):
        where = f"{path}[{index}]"
        kind = metric.get("type") or ""
        yield from checks.one_of(kind, f"{where}.type", METRIC_TYPES)
        if kind not in METRIC_TYPES:
            continue
        field = kind[0].lower() + kind[1:]
        source = metric.get(field)
        if source is None:
            detail = f"must populate information for the given metric source type {kind}"
            yield FieldError.required(f"{where}.{field}", detail)
        else:
            yield from _source(kind, source, f"{where}.{field}")


def _source(kind: str, source: Obj, path: str) -> Problems:
    target: Obj = source.get("target") or {}
    where = f"{path}.target"
    if kind in ("Resource", "ContainerResource"):
        yield from checks.required(source, "name", path, "must specify a resource name")
        if kind == "ContainerResource":
            yield from checks.required(source, "container", path, "must specify a container")
    else:
        yield from _identifier(source.get("metric") or {}, f"{path}.metric")
    if kind == "Object":
        described: Obj = source.get("describedObject") or {}
        for field in ("kind", "name"):
            yield from checks.required(described, field, f"{path}.describedObject")
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
                detail = "must set either a target value for metric or a per-pod target"
                yield FieldError.required(f"{where}.averageValue", detail)
            if kind == "External" and value is not None and average is not None:
                detail = "may not set both a target value for metric and a per-pod target"
                yield FieldError.forbidden(f"{where}.value", detail)


def _identifier(metric: Obj, path: str) -> Problems:
    if not metric.get("name"):
        yield FieldError.required(f"{path}.name", "must specify a metric name")
    else:
        yield from checks.named(metric["name"], f"{path}.name", names.path_segment)
    yield from checks.selector(metric.get("selector"), f"{path}.selector")


def _target(target: Obj, path: str) -> Problems:
    kind = target.get("type") or ""
    if not kind:
        yield FieldError.required(f"{path}.type", "must specify a metric target type")
    elif kind not in _TARGET_TYPES:
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
    yield from checks.one_of_if_set(rules.get("selectPolicy"), f"{path}.selectPolicy", ("Disabled", "Max", "Min"))
    policies = rules.get("policies") or []
    if not policies:
        yield FieldError.required(f"{path}.policies", "must specify at least one Policy")
    for index, policy in enumerate(policies):
        where = f"{path}.policies[{index}]"
        yield from checks.one_of(policy.get("type"), f"{where}.type", ("Percent", "Pods"))
        for field in ("value", "periodSeconds"):
            if policy.get(field, 0) <= 0:
                yield FieldError.invalid(f"{where}.{field}", policy.get(field, 0), "must be greater than zero")
        if policy.get("periodSeconds", 0) > _LONGEST_PERIOD:
            detail = f"must be less than or equal to {_LONGEST_PERIOD}"
            yield FieldError.invalid(f"{where}.periodSeconds", policy["periodSeconds"], detail)
