"""One decision: which node for this pod, or why none; pure, with chance from the caller."""

import random
from collections import Counter
from dataclasses import dataclass

from pybernetes.api.objects import Obj

from .filters import Reason, Wish, filters_for, objections
from .scores import ratings
from .snapshot import NodeInfo, Snapshot
from .topology import Namespaces

_ALL_BELOW = 100
NO_NODES = "no nodes available to schedule pods"


@dataclass(frozen=True, slots=True)
class Decision:
    """`node` is "" when there is none; `message` then says why, as kubectl describe shows it."""

    node: str = ""
    message: str = ""


def decide(
    pod: Obj, snapshot: Snapshot, *, rng: random.Random, start: int = 0, namespaces: Namespaces = lambda name: {}
) -> Decision:
    """Filter, then score. Nodes are looked at from number `start` on, and in big clusters not all of them."""
    infos = snapshot.present
    if not infos:
        return Decision(message=NO_NODES)
    wish = Wish.of(pod, snapshot, namespaces)
    filters = filters_for(wish)
    feasible: list[NodeInfo] = []
    out: list[list[Reason]] = []
    enough = sample_size(len(infos))
    for number in range(len(infos)):
        info = infos[(start + number) % len(infos)]
        if reasons := objections(wish, info, filters):
            out.append(reasons)
            continue
        feasible.append(info)
        if len(feasible) >= enough:
            break
    if not feasible:
        return Decision(message=explain(len(infos), out))
    if len(feasible) == 1:
        return Decision(feasible[0].name)
    rated = ratings(wish, feasible)
    best = max(rated)
    return Decision(rng.choice([info.name for info, rate in zip(feasible, rated, strict=True) if rate >= best - 1e-9]))


def sample_size(nodes: int) -> int:
    """How many nodes that fit are enough to choose from (numFeasibleNodesToFind): all of 100, 10 % of 5000."""
    if nodes <= _ALL_BELOW:
        return nodes
    percent = max(5, 50 - nodes // 125)
    return max(_ALL_BELOW, nodes * percent // 100)


def explain(nodes: int, out: list[list[Reason]]) -> str:
    """ "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) were unschedulable. preemption: ..."."""
    counted = Counter(reason.text for reasons in out for reason in reasons)
    told = ", ".join(sorted(f"{count} {text}" for text, count in counted.items()))
    hopeless = sum(1 for reasons in out if any(reason.lasting for reason in reasons))
    chances = Counter({"Preemption is not helpful for scheduling": hopeless,
                       "No preemption victims found for incoming pod": len(out) - hopeless})  # fmt: skip
    preemption = ", ".join(sorted(f"{count} {text}" for text, count in chances.items() if count))
    available = f"0/{nodes} nodes are available: "
    return f"{available}{told}. preemption: {available}{preemption}."
