"""The questions every controller asks of a pod (k8s.io/kubernetes/pkg/api/v1/pod). Times are POSIX seconds."""

from collections.abc import Iterator

from pybernetes.api import times
from pybernetes.api.objects import Obj, condition, condition_is, is_deleting

_INFINITE = float("inf")


def phase_of(pod: Obj) -> str:
    return str((pod.get("status") or {}).get("phase") or "Pending")


def node_of(pod: Obj) -> str:
    """spec.nodeName, "" for an unscheduled pod."""
    return str((pod.get("spec") or {}).get("nodeName") or "")


def is_terminal(pod: Obj) -> bool:
    """It has run to its end: Succeeded or Failed."""
    return phase_of(pod) in ("Succeeded", "Failed")


def is_active(pod: Obj) -> bool:
    """It counts as one of its controller's pods: not at its end and not being deleted."""
    return not is_deleting(pod) and not is_terminal(pod)


def is_ready(pod: Obj) -> bool:
    return condition_is(pod, "Ready")


def ready_since(pod: Obj) -> float:
    """When it turned ready; infinity while it is not."""
    found = condition(pod, "Ready")
    if found is None or found.get("status") != "True":
        return _INFINITE
    return moment(found.get("lastTransitionTime"), 0.0)


def available_in(pod: Obj, min_ready_seconds: int, now: float) -> float:
    """Seconds until it counts as available: 0 when it does, infinity while it is not ready."""
    since = ready_since(pod)
    if since == _INFINITE:
        return _INFINITE
    if not min_ready_seconds:
        return 0.0
    return max(0.0, since + min_ready_seconds - now)


def restarts_of(pod: Obj) -> int:
    """The highest restart count of its containers."""
    statuses = (pod.get("status") or {}).get("containerStatuses") or ()
    return max((int(entry.get("restartCount") or 0) for entry in statuses), default=0)


def addresses_of(pod: Obj) -> list[str]:
    """status.podIPs, or podIP alone."""
    status = pod.get("status") or {}
    found = [str(entry["ip"]) for entry in status.get("podIPs") or () if entry.get("ip")]
    return found or ([str(status["podIP"])] if status.get("podIP") else [])


def containers_of(pod: Obj) -> Iterator[Obj]:
    """The containers that run beside each other: the main ones and the sidecars (restartable init containers)."""
    spec = pod.get("spec") or {}
    yield from spec.get("containers") or ()
    for container in spec.get("initContainers") or ():
        if container.get("restartPolicy") == "Always":
            yield container


def find_port(pod: Obj, port: int | str, protocol: str) -> int | None:
    """The number behind a targetPort: itself, or the container port of that name and protocol."""
    if isinstance(port, int):
        return port
    if port.isdigit():
        return int(port)
    for container in containers_of(pod):
        for entry in container.get("ports") or ():
            if entry.get("name") == port and (entry.get("protocol") or "TCP") == protocol:
                return int(entry["containerPort"])
    return None


def moment(text: str | None, default: float) -> float:
    """The time of a stamp; `default` for none, or for what is no stamp."""
    if not text:
        return default
    try:
        return times.parse(text)
    except ValueError:
        return default


_SPEC = (
    "nodeName", "nodeSelector", "affinity", "tolerations", "topologySpreadConstraints", "schedulerName", "priority",
    "priorityClassName", "preemptionPolicy", "overhead", "resources", "schedulingGates", "readinessGates",
    "hostNetwork", "hostname", "subdomain", "restartPolicy", "terminationGracePeriodSeconds", "setHostnameAsFQDN",
)  # fmt: skip
_CONTAINER = ("name", "image", "ports", "resources", "restartPolicy")
_STATUS = ("phase", "reason", "conditions", "podIP", "podIPs", "hostIP", "nominatedNodeName", "startTime")
_CONTAINER_STATUS = ("name", "restartCount", "ready", "state", "started")


def slim(pod: Obj) -> Obj:
    """What controllers and scheduler use of a pod, a third of it or less: the projection of their shared informer."""
    spec, status = pod.get("spec") or {}, pod.get("status") or {}
    kept_spec = _kept(spec, _SPEC)
    for field in ("containers", "initContainers"):
        if field in spec:
            kept_spec[field] = [_kept(container, _CONTAINER) for container in spec[field]]
    kept_status = _kept(status, _STATUS)
    if "containerStatuses" in status:
        kept_status["containerStatuses"] = [_kept(entry, _CONTAINER_STATUS) for entry in status["containerStatuses"]]
    return _kept(pod, ("apiVersion", "kind", "metadata")) | {"spec": kept_spec, "status": kept_status}


def _kept(obj: Obj, fields: tuple[str, ...]) -> Obj:
    return {field: obj[field] for field in fields if field in obj}
