"""Where a pod can run: each filter says why a node is out of the question, in kube-scheduler's words; pure."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from pybernetes.api.objects import Obj, name_of
from pybernetes.control.affinity import node_matches
from pybernetes.control.taints import (
    NO_EXECUTE,
    NO_SCHEDULE,
    UNSCHEDULABLE,
    taints_of,
    tolerates,
    tolerations_of,
    untolerated,
)

from .resources import PODS, Amounts, requests_of
from .snapshot import HostPort, NodeInfo, Snapshot, clashes, host_ports
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
    tolerations: list[Obj]
    ports: tuple[HostPort, ...]
    spreads: list[Spread]
    neighbours: Neighbours
    owner: str

    @classmethod
    def of(cls, pod: Obj, snapshot: Snapshot, namespaces: Namespaces) -> "Wish":
        spec = pod.get("spec") or {}
        owners = (pod.get("metadata") or {}).get("ownerReferences") or ()
        return cls(
            pod,
            spec,
            requests_of(pod),
            tolerations_of(spec),
            tuple(host_ports(pod)),
            spreads_of(pod, snapshot),
            neighbours_of(pod, snapshot, namespaces),
            next((str(owner["uid"]) for owner in owners if owner.get("controller")), ""),
        )


Filter = Callable[[Wish, NodeInfo], Iterator[Reason]]

_CORDON: Obj = {"key": UNSCHEDULABLE, "effect": NO_SCHEDULE}


def schedulable(wish: Wish, info: NodeInfo) -> Iterator[Reason]:
    node = info.node or {}
    if (node.get("spec") or {}).get("unschedulable") and not any(tolerates(t, _CORDON) for t in wish.tolerations):
        yield Reason("node(s) were unschedulable")


def node_name(wish: Wish, info: NodeInfo) -> Iterator[Reason]:
    wanted = wish.spec.get("nodeName")
    if wanted and wanted != name_of(info.node or {}):
        yield Reason("node(s) didn't match the requested node name")


def taints(wish: Wish, info: NodeInfo) -> Iterator[Reason]:
    found = untolerated(wish.tolerations, taints_of(info.node or {}), (NO_SCHEDULE, NO_EXECUTE))
    if found:
        yield Reason(f"node(s) had untolerated taint {{{found[0].get('key')}: {found[0].get('value') or ''}}}")


def affinity(wish: Wish, info: NodeInfo) -> Iterator[Reason]:
    if not node_matches(wish.spec, info.node or {}):
        yield Reason("node(s) didn't match Pod's node affinity/selector")


def free_ports(wish: Wish, info: NodeInfo) -> Iterator[Reason]:
    if any(clashes(wanted, held) for wanted in wish.ports for held in info.ports):
        yield Reason("node(s) didn't have free ports for the requested pod ports", lasting=False)


def fits(wish: Wish, info: NodeInfo) -> Iterator[Reason]:
    for name, amount in wish.requests.items():
        if amount and info.requested[name] + amount > info.allocatable[name]:
            lasting = amount > info.allocatable[name]
            yield Reason("Too many pods" if name == PODS else f"Insufficient {name}", lasting)


def spread(wish: Wish, info: NodeInfo) -> Iterator[Reason]:
    for constraint in wish.spreads:
        if not constraint.required:
            continue
        value = info.labels.get(constraint.topology_key)
        if value is None:
            yield Reason("node(s) didn't match pod topology spread constraints (missing required label)")
            return
        if constraint.skew(value) > constraint.max_skew:
            yield Reason("node(s) didn't match pod topology spread constraints", lasting=False)
            return


def neighbours(wish: Wish, info: NodeInfo) -> Iterator[Reason]:
    around = wish.neighbours
    labels = info.labels
    if not (around.wanted or around.shunned or around.guarded):
        return
    for term, values in around.wanted:
        value = labels.get(term.topology_key)
        if value is None or (value not in values and not around.first_of_kind):
            yield Reason("node(s) didn't match pod affinity rules")
            return
    if any(labels.get(key) == value for key, value in around.shunned):
        yield Reason("node(s) didn't match pod anti-affinity rules", lasting=False)
    elif any(labels.get(key) == value for key, value in around.guarded):
        yield Reason("node(s) didn't satisfy existing pods anti-affinity rules", lasting=False)


FILTERS: tuple[Filter, ...] = (
    schedulable, node_name, taints, affinity, free_ports, fits, spread, neighbours,
)  # fmt: skip
"""In kube-scheduler's order; the first that objects speaks for the node."""


def objections(wish: Wish, info: NodeInfo) -> list[Reason]:
    """Why the pod cannot run there; [] when it can."""
    for one in FILTERS:
        if found := list(one(wish, info)):
            return found
    return []
