"""Where a pod runs best: each score rates the nodes that are left from 0 to 100; weights as in kube-scheduler; pure."""

from collections.abc import Callable, Sequence
from math import log

from pybernetes.control.affinity import matches_term, preferred_of
from pybernetes.control.taints import PREFER_NO_SCHEDULE, untolerated

from .filters import Wish
from .resources import CPU, MEMORY
from .snapshot import NodeInfo

TOP = 100.0

Score = Callable[[Wish, Sequence[NodeInfo]], list[float]]


def least_allocated(wish: Wish, nodes: Sequence[NodeInfo]) -> list[float]:
    """The emptier, the better: the mean of the free shares of CPU and memory."""
    return [TOP * sum(max(0.0, 1 - used) for used in _used(wish, info)) / 2 for info in nodes]


def balanced(wish: Wish, nodes: Sequence[NodeInfo]) -> list[float]:
    """The nearer CPU and memory are in use, the better."""
    rated = []
    for info in nodes:
        cpu, memory = (min(1.0, used) for used in _used(wish, info))
        rated.append(TOP * (1 - abs(cpu - memory) / 2))
    return rated


def _used(wish: Wish, info: NodeInfo) -> tuple[float, float]:
    cpu, memory = wish.scored
    return (
        (info.scored_cpu + cpu) / max(1, info.allocatable[CPU]),
        (info.scored_memory + memory) / max(1, info.allocatable[MEMORY]),
    )


def preferred_nodes(wish: Wish, nodes: Sequence[NodeInfo]) -> list[float]:
    """Preferred node affinity: the weights of the terms that match."""
    terms = preferred_of(wish.spec)
    if not terms:
        return [0.0] * len(nodes)
    sums = [
        float(sum(int(t["weight"]) for t in terms if info.node and matches_term(t.get("preference") or {}, info.node)))
        for info in nodes
    ]
    return _stretched(sums, flat=0.0)


def soft_taints(wish: Wish, nodes: Sequence[NodeInfo]) -> list[float]:
    """The fewer PreferNoSchedule taints it does not tolerate, the better."""
    counts = [
        len(untolerated(wish.tolerations, info.taints, (PREFER_NO_SCHEDULE,))) if info.taints else 0 for info in nodes
    ]
    most = max(counts, default=0)
    return [TOP * (1 - count / most) if most else TOP for count in counts]


def preferred_neighbours(wish: Wish, nodes: Sequence[NodeInfo]) -> list[float]:
    """Preferred pod affinity and anti-affinity."""
    liking = wish.neighbours.liking
    if not liking:
        return [0.0] * len(nodes)
    return _stretched([float(sum(liking.get(item, 0) for item in info.labels.items())) for info in nodes], flat=0.0)


def soft_spread(wish: Wish, nodes: Sequence[NodeInfo]) -> list[float]:
    """Spread the pods: by the pod's own ScheduleAnyway constraints, else pods of one owner over the nodes."""
    soft = [constraint for constraint in wish.spreads if not constraint.required]
    if not wish.spreads:
        return _fewer([float(info.owners[wish.owner]) if wish.owner else 0.0 for info in nodes])
    if not soft:
        return [TOP] * len(nodes)
    sums = []
    for info in nodes:
        total = 0.0
        for constraint in soft:
            weight = log(len(constraint.counts) + 2)
            total += weight * constraint.counts.get(info.labels.get(constraint.topology_key, ""), 0)
        sums.append(total)
    return _fewer(sums)


def _fewer(counts: Sequence[float]) -> list[float]:
    most, least = max(counts, default=0.0), min(counts, default=0.0)
    return [TOP * (most - count) / (most - least) if most > least else TOP for count in counts]


def _stretched(values: Sequence[float], *, flat: float) -> list[float]:
    """To 0 .. 100; all `flat` when they are equal."""
    most, least = max(values, default=0.0), min(values, default=0.0)
    return [TOP * (value - least) / (most - least) if most > least else flat for value in values]


SCORES: tuple[tuple[Score, int], ...] = (
    (soft_taints, 3),
    (preferred_nodes, 2),
    (soft_spread, 2),
    (preferred_neighbours, 2),
    (least_allocated, 1),
    (balanced, 1),
)
"""With their weights."""


def ratings(wish: Wish, nodes: Sequence[NodeInfo]) -> list[float]:
    """The weighted sum for each node."""
    sums = [0.0] * len(nodes)
    for score, weight in SCORES:
        for number, rated in enumerate(score(wish, nodes)):
            sums[number] += weight * rated
    return sums
