"""Pods: what may change once they are there, their quality of service, how long they may take to go."""

from collections.abc import Iterator, Mapping

from .. import names
from ..errors import FieldError
from ..objects import Obj
from ..quantity import Quantity
from . import checks
from .container_checks import containers
from .pod_checks import pod_spec
from .pod_defaults import default_container, default_pod, default_spec
from .strategy import Strategy

Problems = Iterator[FieldError]

_COMPUTE = ("cpu", "memory")
_FIXED = (
    "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
    "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)


class PodStrategy(Strategy):
    generation = True
    status = True
    unconditional_update = True

    def default(self, obj: Obj) -> None:
        default_pod(obj.setdefault("spec", {}))

    def reset_status(self, new: Obj) -> None:
        new["status"] = {"phase": "Pending", "qosClass": qos_class(new.get("spec") or {})}

    def prepare(self, new: Obj, old: Obj | None, *, part: str = "") -> None:
        super().prepare(new, old, part=part)
        if old is not None and part == "status" and not new.get("status", {}).get("qosClass"):
            qos = (old.get("status") or {}).get("qosClass") or qos_class(old.get("spec") or {})
            new.setdefault("status", {})["qosClass"] = qos
        elif old is not None and part == "ephemeralcontainers":
            for container in new["spec"].get("ephemeralContainers") or ():
                default_container(container)

    def check(self, new: Obj, old: Obj | None, *, part: str = "") -> Problems:
        spec: Obj = new.get("spec") or {}
        if old is None:
            yield from pod_spec(spec, "spec")
            if spec.get("ephemeralContainers"):
                yield FieldError.forbidden("spec.ephemeralContainers", "cannot be set on create")
            return
        before: Obj = old.get("spec") or {}
        match part:
            case "status":
                yield from _status(new, old)
            case "ephemeralcontainers":
                yield from _ephemeral(spec, before)
            case "resize":
                yield from _resized(spec, before)
            case "binding":
                pass
            case _:
                yield from pod_spec(spec, "spec")
                yield from _updated(spec, before)

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


def _updated(new: Obj, old: Obj) -> Problems:
    for field in ("containers", "initContainers"):
        if len(new.get(field) or ()) != len(old.get(field) or ()):
            yield FieldError.forbidden(f"spec.{field}", "pod updates may not add or remove containers")
            return
    yield from _deadline(new.get("activeDeadlineSeconds"), old.get("activeDeadlineSeconds"))
    kept = old.get("tolerations") or []
    tolerations = new.get("tolerations") or []
    if any(_untimed(one) not in map(_untimed, tolerations) for one in kept):
        detail = "existing toleration can not be modified except its tolerationSeconds"
        yield FieldError.forbidden("spec.tolerations", detail)
    if _fixed(new, old) != _fixed(old, old):
        yield FieldError.forbidden("spec", _FIXED)


def _deadline(new: int | None, old: int | None) -> Problems:
    if new == old:
        return
    path = "spec.activeDeadlineSeconds"
    if new is None:
        yield FieldError.invalid(path, None, "must not update from a positive integer to nil value")
    elif new < 0:
        yield FieldError.invalid(path, new, checks.NOT_NEGATIVE)
    elif old is not None and new > old:
        yield FieldError.invalid(path, new, "must be less than or equal to previous value")


def _untimed(toleration: Obj) -> Obj:
    return {key: value for key, value in toleration.items() if key != "tolerationSeconds"}


def _fixed(spec: Obj, old: Obj) -> Obj:
    """The part of a spec that may not change: what may is taken from `old`."""
    kept = {key: value for key, value in spec.items() if value not in (None, "", [], {})}
    for field in ("activeDeadlineSeconds", "tolerations"):
        kept.pop(field, None)
    for field in ("containers", "initContainers"):
        if spec.get(field):
            kept[field] = [_without(container, ("image",)) for container in spec[field]]
    if spec.get("terminationGracePeriodSeconds") == 1 and old.get("terminationGracePeriodSeconds", 0) < 0:
        kept["terminationGracePeriodSeconds"] = old["terminationGracePeriodSeconds"]
    if old.get("schedulingGates"):
        gates = {gate.get("name") for gate in old["schedulingGates"]}
        if all(gate.get("name") in gates for gate in spec.get("schedulingGates") or ()):
            kept.pop("schedulingGates", None)
        for field in ("nodeSelector", "affinity"):
            if _tightened(spec.get(field), old.get(field)):
                kept.pop(field, None)
    return kept


def _tightened(new: Obj | None, old: Obj | None) -> bool:
    """While a pod is gated its node selector and affinity may gain terms."""
    return all((new or {}).get(key) == value for key, value in (old or {}).items())


def _without(container: Obj, fields: tuple[str, ...]) -> Obj:
    return {key: value for key, value in container.items() if key not in fields and value not in (None, "", [], {})}


def _ephemeral(new: Obj, old: Obj) -> Problems:
    path = "spec.ephemeralContainers"
    found, before = new.get("ephemeralContainers") or [], old.get("ephemeralContainers") or []
    kept = {container.get("name"): container for container in before}
    listed = [container.get("name") for container in found]
    for name in kept:
        if name not in listed:
            yield FieldError.forbidden(path, f'existing ephemeral containers "{name}" may not be removed')
    for index, container in enumerate(found):
        name = container.get("name")
        if name in kept and container != kept[name]:
            yield FieldError.forbidden(f"{path}[{index}]", f'existing ephemeral containers "{name}" may not be changed')
        for field in ("ports", "lifecycle", "livenessProbe", "readinessProbe", "startupProbe", "resources"):
            if container.get(field):
                yield FieldError.forbidden(f"{path}[{index}].{field}", "cannot be set for an Ephemeral Container")
        target = container.get("targetContainerName")
        if target and not any(one.get("name") == target for one in new.get("containers") or ()):
            yield FieldError.not_found(f"{path}[{index}].targetContainerName", target)
    volumes = {volume.get("name") for volume in new.get("volumes") or ()}
    yield from containers(found, path, volumes=volumes, claims=(), grace=30)
    others = {
        container.get("name") for container in (*(new.get("containers") or ()), *(new.get("initContainers") or ()))
    }
    for index, name in enumerate(listed):
        if name in others or name in listed[:index]:
            yield FieldError.duplicate(f"{path}[{index}].name", name)
    if _without(new, ("ephemeralContainers",)) != _without(old, ("ephemeralContainers",)):
        yield FieldError.forbidden("spec", "pod updates may not change fields other than `spec.ephemeralContainers`")


def _resized(new: Obj, old: Obj) -> Problems:
    def rest(spec: Obj) -> Obj:
        kept = _without(spec, ("resources",))
        for field in ("containers", "initContainers"):
            if spec.get(field):
                kept[field] = [_without(one, ("resources", "resizePolicy")) for one in spec[field]]
        return kept

    yield from pod_spec(new, "spec")
    if rest(new) != rest(old):
        detail = "only cpu and memory resources are mutable"
        yield FieldError.forbidden("spec", detail)
    if qos_class(new) != qos_class(old):
        yield FieldError.invalid("spec", qos_class(new), "Pod QOS Class may not change as a result of resizing")


def _status(new: Obj, old: Obj) -> Problems:
    status: Obj = new.get("status") or {}
    before = (old.get("status") or {}).get("nominatedNodeName")
    nominated = status.get("nominatedNodeName")
    if nominated and nominated != before:
        yield from checks.named(nominated, "status.nominatedNodeName", names.subdomain)
    for index, entry in enumerate(status.get("conditions") or ()):
        where = f"status.conditions[{index}]"
        yield from checks.required(entry, "type", where)
        yield from checks.one_of(entry.get("status"), f"{where}.status", ("False", "True", "Unknown"))


class PodTemplateStrategy(Strategy):
    generation = True

    def default(self, obj: Obj) -> None:
        default_spec(obj.setdefault("template", {}).setdefault("spec", {}))

    def check(self, new: Obj, old: Obj | None, *, part: str = "") -> Problems:
        yield from pod_spec((new.get("template") or {}).get("spec") or {}, "template.spec")
