"""Whether this node takes a pod that is bound to it: what the scheduler asked, asked again. Pure.

A pod may be bound without the scheduler (spec.nodeName), or by two at once. One that is refused has failed for good:
its controller makes another. Of Kubernetes' predicates there is NodePorts here.
"""

from collections.abc import Iterable
from typing import NamedTuple

from pybernetes.api import times
from pybernetes.api.objects import Obj
from pybernetes.control.hostports import NO_FREE_PORTS, host_ports, taken

_PREFIX = "Pod was rejected: "


class Refusal(NamedTuple):
    """Why: the reason of the pod's status and of the event, and the event's message."""

    reason: str
    message: str


def refusal(pod: Obj, others: Iterable[Obj]) -> Refusal | None:
    """None if the node can take it beside the others that it has taken."""
    wanted = tuple(host_ports(pod))
    if wanted and taken(wanted, (held for other in others for held in host_ports(other))):
        return Refusal("NodePorts", f"Predicate NodePorts failed: {NO_FREE_PORTS}")
    return None


def refused_status(pod: Obj, why: Refusal, *, now: float) -> Obj:
    """The status of a pod that was refused: failed, without anything of containers."""
    old = pod.get("status") or {}
    told = {"phase": "Failed", "reason": why.reason, "message": _PREFIX + why.message}
    return old | told | {"startTime": old.get("startTime") or times.stamp(now)}


def is_refused(pod: Obj) -> bool:
    """Whether its status says so."""
    status = pod.get("status") or {}
    return status.get("phase") == "Failed" and str(status.get("message") or "").startswith(_PREFIX)
