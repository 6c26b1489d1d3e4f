"""What pods ask for and nodes have: CPU in millis, everything else in whole units; pure.

Source: component-helpers/resource (PodRequests): the containers together, or the largest init container, whichever is
more; sidecars count for both; plus the overhead.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from pybernetes.api.objects import Obj
from pybernetes.api.quantity import millis, units

CPU, MEMORY, PODS = "cpu", "memory", "pods"
_SCORED_CPU, _SCORED_MEMORY = 100, 200 * 1024 * 1024
"""What a pod that asks for nothing counts for when nodes are compared (GetNonzeroRequests)."""

Amounts = Counter[str]


def amounts(quantities: Mapping[str, Any] | None) -> Amounts:
    """A ResourceList as numbers; what cannot be read counts as 0."""
    found: Amounts = Counter()
    for name, quantity in (quantities or {}).items():
        try:
            found[name] = millis(quantity) if name == CPU else units(quantity)
        except ValueError:
            continue
    return found


def requests_of(pod: Obj) -> Amounts:
    """What the pod needs of a node, itself (one of `pods`) included."""
    spec = pod.get("spec") or {}
    total = _sum(spec.get("containers") or ())
    sidecars: Amounts = Counter()
    peak: Amounts = Counter()
    for container in spec.get("initContainers") or ():
        asked = amounts((container.get("resources") or {}).get("requests"))
        if container.get("restartPolicy") == "Always":
            sidecars += asked
            asked = sidecars
        else:
            asked = asked + sidecars
        peak |= asked
    total = (total + sidecars) | peak
    if own := (spec.get("resources") or {}).get("requests"):
        total |= amounts(own)
    total += amounts(spec.get("overhead"))
    total[PODS] = 1
    return total


def scored(requests: Amounts) -> tuple[int, int]:
    """CPU and memory as they count in scores."""
    return requests[CPU] or _SCORED_CPU, requests[MEMORY] or _SCORED_MEMORY


def _sum(containers: Iterable[Obj]) -> Amounts:
    total: Amounts = Counter()
    for container in containers:
        total += amounts((container.get("resources") or {}).get("requests"))
    return total
