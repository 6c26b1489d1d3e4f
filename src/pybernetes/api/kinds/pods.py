"""Pods: what may change once they are there, their quality of service, how long they may take to go."""

from collections.abc import Iterator, Mapping

from .. import times
from ..errors import FieldError
from ..objects import Obj, labels_of, name_of
from ..quantity import Quantity
from . import pod_updates
from .address_warnings import ip_warnings
from .affinity_checks import select_own
from .pod_checks import pod, template_spec
from .pod_defaults import default_container, default_pod, default_spec
from .pod_warnings import label_name_warning, pod_warnings
from .rules import Problems
from .strategy import Strategy

_COMPUTE = ("cpu", "memory")
_GATED: Obj = {
    "type": "PodScheduled",
    "status": "False",
    "lastProbeTime": None,
    "reason": "SchedulingGated",
    "message": "Scheduling is blocked due to non-empty scheduling gates",
}


class PodStrategy(Strategy):
    generation = True
    status = True
    unconditional_update = True

    def default(self, obj: Obj) -> None:
        default_pod(obj.setdefault("spec", {}))
        if (status := obj.get("status")) is not None:
            _one_address(status)

    def reset_status(self, new: Obj) -> None:
        new["status"] = {"phase": "Pending", "qosClass": qos_class(new.get("spec") or {})}

    def prepare(self, new: Obj, old: Obj | None, *, part: str = "") -> None:
        super().prepare(new, old, part=part)
        if old is None:
            select_own(new["spec"], labels_of(new))
        elif part == "status" and not new.get("status", {}).get("qosClass"):
            qos = (old.get("status") or {}).get("qosClass") or qos_class(old.get("spec") or {})
            new.setdefault("status", {})["qosClass"] = qos
        elif part == "ephemeralcontainers":
            for container in new["spec"].get("ephemeralContainers") or ():
                default_container(container)

    def stamp(self, new: Obj, old: Obj | None, *, now: float, part: str = "") -> None:
        """A pod that is held back says so from the start, before any scheduler looks."""
        if old is None and (new.get("spec") or {}).get("schedulingGates"):
            new["status"]["conditions"] = [_GATED | {"lastTransitionTime": times.stamp(now)}]

    def check(self, new: Obj, old: Obj | None, *, part: str = "") -> Problems:
        if old is None:
            yield from _created(new)
            return
        match part:
            case "status":
                yield from pod_updates.status(new, old)
            case "ephemeralcontainers":
                yield from pod_updates.ephemeral(new, old)
            case "resize":
                same = qos_class(new["spec"]) == qos_class(old["spec"])
                yield from pod_updates.resized(new, old, same_class=same)
            case "binding":
                pass
            case _:
                yield from pod_updates.updated(new, old)

    def warnings(self, new: Obj, old: Obj | None, *, part: str = "") -> Iterator[str]:
        """A pod is seldom changed by people, and often by others: nobody is told then."""
        if old is None:
            yield from label_name_warning(name_of(new), "the Pod's hostname")
            yield from pod_warnings(new)
        elif part == "status":
            status: Obj = new.get("status") or {}
            for field in ("podIPs", "hostIPs"):
                for index, address in enumerate(status.get(field) or ()):
                    yield from ip_warnings(address.get("ip") or "", f"status.{field}[{index}].ip")

    def grace_seconds(self, obj: Obj, asked: int | None) -> int:
        """Nothing runs yet or any more: at once. Else what was asked, else what the pod says; 30 seconds at last."""
        spec, status = obj.get("spec") or {}, obj.get("status") or {}
        if not spec.get("nodeName") or status.get("phase") in ("Failed", "Succeeded"):
            return 0
        period: int = spec.get("terminationGracePeriodSeconds", 30) if asked is None else asked
        return 1 if period < 0 else period


def qos_class(spec: Obj) -> str:
    """Guaranteed, Burstable or BestEffort, from the containers' requests and limits of CPU and memory."""
    found = (*(spec.get("initContainers") or ()), *(spec.get("containers") or ()))
    resources = [container.get("resources") or {} for container in found]
    requests = [_positive(one.get("requests")) for one in resources]
    limits = [_positive(one.get("limits")) for one in resources]
    if not any(requests) and not any(limits):
        return "BestEffort"
    full = all(set(limit) == set(_COMPUTE) for limit in limits)
    equal = all(
        all(request.get(n, limit[n]) == limit[n] for n in limit)
        for request, limit in zip(requests, limits, strict=True)
    )
    return "Guaranteed" if full and equal else "Burstable"


def _positive(amounts: Mapping[str, str] | None) -> dict[str, int]:
    parsed = {name: Quantity.parse((amounts or {}).get(name)).nano for name in _COMPUTE}
    return {name: nano for name, nano in parsed.items() if nano > 0}


def _created(new: Obj) -> Problems:
    yield from pod(new)
    spec = new["spec"]
    if spec.get("ephemeralContainers"):
        yield FieldError.forbidden("spec.ephemeralContainers", "cannot be set on create")
    if spec.get("nodeName") and spec.get("schedulingGates"):
        yield FieldError.forbidden("spec.nodeName", "cannot be set until all schedulingGates have been cleared")


def _one_address(status: Obj) -> None:
    """podIP and the first of podIPs say the same; where they differ, the older field is meant."""
    one, many = status.get("podIP") or "", status.get("podIPs") or []
    if one and (not many or many[0].get("ip") != one):
        status["podIPs"] = [{"ip": one}]
    elif many and not one:
        status["podIP"] = many[0].get("ip") or ""


class PodTemplateStrategy(Strategy):
    generation = True

    def default(self, obj: Obj) -> None:
        default_spec(obj.setdefault("template", {}).setdefault("spec", {}))

    def check(self, new: Obj, old: Obj | None, *, part: str = "") -> Problems:
        yield from template_spec(new.get("template") or {}, "template")

    def warnings(self, new: Obj, old: Obj | None, *, part: str = "") -> Iterator[str]:
        if old is None or self.changed(new, old):
            yield from pod_warnings(new.get("template") or {}, "template")
