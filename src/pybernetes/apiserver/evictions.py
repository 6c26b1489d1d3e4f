"""The eviction of a pod: deleted if its disruption budget allows it, which is then one disruption poorer.

Source: pkg/registry/core/pod/storage/eviction.go.
"""

from pybernetes.api import resources, selectors, times
from pybernetes.api.errors import ApiError, Forbidden, InternalError, TooManyRequests
from pybernetes.api.objects import Obj, condition, condition_is, is_deleting, labels_of, metadata, name_of, namespace_of

from .registry import Registry

_REFUSED = "Cannot evict pod as it would violate the pod's disruption budget."
_BUSY_SECONDS = 10
_MOST_DISRUPTED = 2000


async def permit(registry: Registry, pod: Obj, *, dry_run: bool) -> None:
    """Take the disruption from the pod's budget, if it has one. Raises TooManyRequests, Forbidden, InternalError."""
    phase = (pod.get("status") or {}).get("phase")
    if is_deleting(pod) or phase in ("Succeeded", "Failed", "Pending"):
        return
    found = [
        budget
        for budget in registry.select(resources.POD_DISRUPTION_BUDGETS, namespace_of(pod))
        if selectors.of((budget.get("spec") or {}).get("selector")).matches(labels_of(pod))
    ]
    if len(found) > 1:
        text = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
        raise InternalError(f"Internal error occurred: {text}", details={"causes": [{"message": text}]})
    if not found or _spares_unhealthy(found[0], pod):
        return
    if dry_run:
        taken(found[0], pod, now=registry.now())
        return
    await registry.write_status(
        resources.POD_DISRUPTION_BUDGETS,
        name_of(found[0]),
        lambda budget: taken(budget, pod, now=registry.now()),
        namespace=namespace_of(pod),
    )


def _spares_unhealthy(budget: Obj, pod: Obj) -> bool:
    """A pod that is not ready may go when the policy says so, or when the budget is met without it."""
    if condition_is(pod, "Ready"):
        return False
    if (budget.get("spec") or {}).get("unhealthyPodEvictionPolicy") == "AlwaysAllow":
        return True
    status = budget.get("status") or {}
    wanted = status.get("desiredHealthy") or 0
    return 0 < wanted <= (status.get("currentHealthy") or 0)


def taken(budget: Obj, pod: Obj, *, now: float) -> Obj:
    """The budget after the eviction, edited in place. Raises TooManyRequests, Forbidden."""
    name, status = name_of(budget), budget.setdefault("status", {})
    if (status.get("observedGeneration") or 0) < (metadata(budget).get("generation") or 0):
        raise _refused(f"The disruption budget {name} is still being processed by the server.", seconds=_BUSY_SECONDS)
    allowed = status.get("disruptionsAllowed") or 0
    if allowed < 0:
        raise _forbidden(name, "pdb disruptions allowed is negative")
    if len(status.get("disruptedPods") or {}) > _MOST_DISRUPTED:
        raise _forbidden(name, "DisruptedPods map too big - too many evictions not confirmed by PDB controller")
    if allowed == 0:
        found = condition(budget, "DisruptionAllowed") or {}
        wanted, healthy = status.get("desiredHealthy") or 0, status.get("currentHealthy") or 0
        why = f"The disruption budget {name} needs {wanted} healthy pods and has {healthy} currently"
        if found.get("reason") == "SyncFailed":
            why = f"The disruption budget {name} does not allow evicting pods currently because it failed sync: "
            why += str(found.get("message", ""))
        raise _refused(why)
    status["disruptionsAllowed"] = allowed - 1
    status["disruptedPods"] = (status.get("disruptedPods") or {}) | {name_of(pod): times.stamp(now)}
    if allowed == 1:
        _exhaust(status, now)
    return budget


def _exhaust(status: Obj, now: float) -> None:
    for one in status.get("conditions") or ():
        if one.get("type") == "DisruptionAllowed" and one.get("status") == "True":
            one |= {"status": "False", "reason": "InsufficientPods", "lastTransitionTime": times.stamp(now)}


def _refused(why: str, *, seconds: int = 0) -> ApiError:
    details: Obj = {"causes": [{"reason": "DisruptionBudget", "message": why}]}
    if seconds:
        details["retryAfterSeconds"] = seconds
    return TooManyRequests(_REFUSED, details=details)


def _forbidden(name: str, why: str) -> ApiError:
    row = resources.POD_DISRUPTION_BUDGETS
    details = {"name": name, "group": row.group, "kind": row.plural}
    return Forbidden(f'{row.qualified} "{name}" is forbidden: {why}', details=details)


def marked(pod: Obj, *, now: float) -> Obj:
    """The pod with the condition that says why it goes, edited in place."""
    status = pod.setdefault("status", {})
    others = [one for one in status.get("conditions") or () if one.get("type") != "DisruptionTarget"]
    target = {
        "type": "DisruptionTarget",
        "status": "True",
        "lastTransitionTime": times.stamp(now),
        "reason": "EvictionByEvictionAPI",
        "message": "Eviction API: evicting",
    }
    status["conditions"] = [*others, target]
    return pod
