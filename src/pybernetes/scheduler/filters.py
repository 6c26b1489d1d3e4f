"""Where a pod can run: each filter says why a node is out of the question, in kube-scheduler's words; pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from pybernetes.api.objects import Obj
from pybernetes.control.affinity import node_matches, required_of
from pybernetes.control.hostports import NO_FREE_PORTS, HostPort, host_ports, taken
from pybernetes.control.taints import (
    NO_EXECUTE,
    NO_SCHEDULE,
    UNSCHEDULABLE,
    tolerates,
    tolerations_of,
    untolerated,
)

from .resources import PODS, Amounts, requests_of, scored
from .snapshot import NodeInfo, Snapshot
from .topology import Namespaces, Neighbours, Spread, neighbours_of, spreads_of


class Reason(NamedTuple):
    """Why a node is out. `lasting`: no pod that might be moved away would help."""

    text: str
    lasting: bool = True


@dataclass(frozen=True, slots=True)
class Wish:
    """A pod, with all that filters and scores ask of it worked out once."""

    pod: Obj
    spec: Obj
    requests: Amounts
    scored: tuple[int, int]
    """CPU and memory as scores see them."""
    tolerations: list[Obj]
    ports: tuple[HostPort, ...]
    spreads: list[Spread]
    neighbours: Neighbours
    owner: str

    @classmethod
    def of(cls, pod: Obj, snapshot: Snapshot, namespaces: Namespaces) -> "Wish":
        spec = pod.get("spec") or {}
        requests = requests_of(pod)
        owners = (pod.get("metadata") or {}).get("ownerReferences") or ()
        return cls(
            pod,
            spec,
            requests,
            scored(requests),
            tolerations_of(spec),
            tuple(host_ports(pod)),
            spreads_of(pod, snapshot),
            neighbours_of(pod, snapshot, namespaces),
            next((str(owner["uid"]) for owner in owners if owner.get("controller")), ""),
        )


Filter = Callable[[Wish, NodeInfo], list[Reason]]

_CORDON: Obj = {"key": UNSCHEDULABLE, "effect": NO_SCHEDULE}


def schedulable(wish: Wish, info: NodeInfo) -> list[Reason]:
    if not info.cordoned or any(tolerates(one, _CORDON) for one in wish.tolerations):
        return []
    return [Reason("node(s) were unschedulable")]


def node_name(wish: Wish, info: NodeInfo) -> list[Reason]:
    if wish.spec["nodeName"] == info.name:
        return []
    return [Reason("node(s) didn't match the requested node name")]


def taints(wish: Wish, info: NodeInfo) -> list[Reason]:
    if not info.taints:
        return []
    found = untolerated(wish.tolerations, info.taints, (NO_SCHEDULE, NO_EXECUTE))
    return [
        Reason(f"node(s) had untolerated taint {{{taint.get('key')}: {taint.get('value') or ''}}}")
        for taint in found[:1]
    ]


def affinity(wish: Wish, info: NodeInfo) -> list[Reason]:
    if node_matches(wish.spec, info.node or {}):
        return []
    return [Reason("node(s) didn't match Pod's node affinity/selector")]


def free_ports(wish: Wish, info: NodeInfo) -> list[Reason]:
    return [Reason(NO_FREE_PORTS, lasting=False)] if taken(wish.ports, info.ports) else []


def fits(wish: Wish, info: NodeInfo) -> list[Reason]:
    requested, allocatable = info.requested, info.allocatable
    return [
        Reason("Too many pods" if name == PODS else f"Insufficient {name}", amount > allocatable[name])
        for name, amount in wish.requests.items()
        if amount and requested[name] + amount > allocatable[name]
    ]


def spread(wish: Wish, info: NodeInfo) -> list[Reason]:
    for constraint in wish.spreads:
        if not constraint.required:
            continue
        value = info.labels.get(constraint.topology_key)
        if value is None:
            return [Reason("node(s) didn't match pod topology spread constraints (missing required label)")]
        if constraint.skew(value) > constraint.max_skew:
            return [Reason("node(s) didn't match pod topology spread constraints", lasting=False)]
    return []


def neighbours(wish: Wish, info: NodeInfo) -> list[Reason]:
    around, labels = wish.neighbours, info.labels
    for term, values in around.wanted:
        value = labels.get(term.topology_key)
        if value is None or (value not in values and not around.first_of_kind):
            return [Reason("node(s) didn't match pod affinity rules")]
    if any(labels.get(key) == value for key, value in around.shunned):
        return [Reason("node(s) didn't match pod anti-affinity rules", lasting=False)]
    if any(labels.get(key) == value for key, value in around.guarded):
        return [Reason("node(s) didn't satisfy existing pods anti-affinity rules", lasting=False)]
    return []


FILTERS: tuple[tuple[Filter, Callable[[Wish], object]], ...] = (
    (schedulable, lambda wish: True),
    (node_name, lambda wish: wish.spec.get("nodeName")),
    (taints, lambda wish: True),
    (affinity, lambda wish: wish.spec.get("nodeSelector") or required_of(wish.spec) is not None),
    (free_ports, lambda wish: wish.ports),
    (fits, lambda wish: True),
    (spread, lambda wish: wish.spreads),
    (neighbours, lambda wish: wish.neighbours.restrict),
)
"""In kube-scheduler's order, each with the question whether it has anything to say about a wish at all."""


def filters_for(wish: Wish) -> tuple[Filter, ...]:
    """Those with something to say: asked once for a pod, not once for each node."""
    return tuple(one for one, concerns in FILTERS if concerns(wish))


def objections(wish: Wish, info: NodeInfo, filters: Sequence[Filter]) -> list[Reason]:
    """Why the pod cannot run there: what the first filter that objects says; [] when it can."""
    for one in filters:
        if found := one(wish, info):
            return found
    return []
