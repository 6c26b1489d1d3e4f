"""What an object counts for in a ResourceQuota: the usage of each kind, scopes, and what a quota demands of pods. Pure.

Source: pkg/quota/v1/evaluator. The API server charges by it, the quota controller counts by it.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from . import resources, times
from .objects import Obj, metadata
from .quantity import Quantity
from .resources import Resource
from .selectors import Requirement

Amounts = dict[str, Quantity]

NOTHING = Quantity()
_ONE = Quantity.parse(1)
_STORAGE_CLASS = ".storageclass.storage.k8s.io/"
_COMPUTE = ("cpu", "memory", "ephemeral-storage")
_DEMANDED = frozenset({"cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"})
"""A quota on one of these is a demand that each container says it."""
_POD_NAMES = frozenset({"pods", "count/pods", *_COMPUTE}) | {
    f"{kind}.{name}" for kind in ("requests", "limits") for name in _COMPUTE
}
_SERVICE_NAMES = frozenset({"services", "count/services", "services.nodeports", "services.loadbalancers"})
_CLAIM_NAMES = frozenset({"persistentvolumeclaims", "count/persistentvolumeclaims", "requests.storage"})
_PLAIN_COUNTS = frozenset({"configmaps", "secrets", "replicationcontrollers", "resourcequotas"})
"""Kinds of the core group that a quota may also name without "count/"."""


def charged_on_update(row: Resource, part: str) -> bool:
    """Whether an update may change what an object counts for."""
    if row is resources.PODS:
        return part == "resize"
    return not part and row in (resources.SERVICES, resources.PERSISTENT_VOLUME_CLAIMS)


def names_of(row: Resource, hard: Iterable[str]) -> list[str]:
    """Those of a quota's names that objects of this row count for."""
    return [name for name in hard if _counts_for(row, name)]


def _counts_for(row: Resource, name: str) -> bool:
    if name == f"count/{row.qualified}":
        return True
    if row.group:
        return False
    match row.plural:
        case "pods":
            return name in _POD_NAMES or name.startswith(("hugepages-", "requests.hugepages-")) or _extended(name)
        case "services":
            return name in _SERVICE_NAMES
        case "persistentvolumeclaims":
            return name in _CLAIM_NAMES or _STORAGE_CLASS in name
    return row.plural in _PLAIN_COUNTS and name == row.plural


def _extended(name: str) -> bool:
    return name.startswith("requests.") and "/" in name and _STORAGE_CLASS not in name


def usage(row: Resource, obj: Obj, *, now: float) -> Amounts:
    """What one object counts for; `now` is POSIX time."""
    found: Amounts = {f"count/{row.qualified}": _ONE}
    if row is resources.PODS:
        return found | (_pod_usage(obj) if _alive(obj, now) else {})
    if row is resources.SERVICES:
        return found | _service_usage(obj)
    if row is resources.PERSISTENT_VOLUME_CLAIMS:
        return found | _claim_usage(obj)
    if not row.group and row.plural in _PLAIN_COUNTS:
        found[row.plural] = _ONE
    return found


def _alive(pod: Obj, now: float) -> bool:
    """A pod that has ended, or should long be gone, holds nothing."""
    meta = metadata(pod)
    if (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
        return False
    if not meta.get("deletionTimestamp"):
        return True
    return now <= times.parse(meta["deletionTimestamp"]) + (meta.get("deletionGracePeriodSeconds") or 0)


def _pod_usage(pod: Obj) -> Amounts:
    return _compute(pod_requests(pod), pod_limits(pod))


def _compute(requests: Mapping[str, Any], limits: Mapping[str, Any]) -> Amounts:
    found: Amounts = {"pods": _ONE}
    for name, amount in requests.items():
        quantity = Quantity.parse(amount)
        if name in _COMPUTE or name.startswith("hugepages-"):
            found[name] = quantity
        if name in _COMPUTE or name.startswith("hugepages-") or "/" in name:
            found[f"requests.{name}"] = quantity
    for name in _COMPUTE:
        if name in limits:
            found[f"limits.{name}"] = Quantity.parse(limits[name])
    return found


def pod_requests(pod: Obj) -> Amounts:
    """What the pod as a whole asks for (component-helpers/resource, PodRequests)."""
    return _of_pod(pod, "requests")


def pod_limits(pod: Obj) -> Amounts:
    return _of_pod(pod, "limits")


def _of_pod(pod: Obj, field: str) -> Amounts:
    spec = pod.get("spec") or {}
    total: Amounts = {}
    sidecars: Amounts = {}
    peak: Amounts = {}
    for container in spec.get("containers") or ():
        total = plus(total, _given(container, field))
    for container in spec.get("initContainers") or ():
        asked = _given(container, field)
        if container.get("restartPolicy") == "Always":
            total, sidecars = plus(total, asked), plus(sidecars, asked)
            asked = sidecars
        else:
            asked = plus(asked, sidecars)
        peak = _larger(peak, asked)
    found = _larger(total, peak)
    found |= _given(spec, field)
    overhead = parsed(spec.get("overhead"))
    if field == "limits":  # no limit stays none
        overhead = {name: amount for name, amount in overhead.items() if name in found}
    return plus(found, overhead)


def _given(holder: Obj, field: str) -> Amounts:
    return parsed((holder.get("resources") or {}).get(field))


def parsed(amounts: Mapping[str, Any] | None) -> Amounts:
    """A ResourceList. Raises ValueError."""
    return {name: Quantity.parse(amount) for name, amount in (amounts or {}).items()}


def plus(one: Amounts, other: Amounts) -> Amounts:
    return one | {name: one[name].plus(amount) if name in one else amount for name, amount in other.items()}


def _larger(one: Amounts, other: Amounts) -> Amounts:
    more = {name: amount for name, amount in other.items() if name not in one or amount.nano > one[name].nano}
    return one | more


def _service_usage(service: Obj) -> Amounts:
    spec = service.get("spec") or {}
    ports: Sequence[Obj] = spec.get("ports") or ()
    node_ports = balancers = 0
    if spec.get("type") == "NodePort":
        node_ports = len(ports)
    elif spec.get("type") == "LoadBalancer":
        balancers = 1
        automatic = spec.get("allocateLoadBalancerNodePorts", True)
        node_ports = len(ports) if automatic else sum(bool(port.get("nodePort")) for port in ports)
    return {
        "services": _ONE,
        "services.nodeports": Quantity.parse(node_ports),
        "services.loadbalancers": Quantity.parse(balancers),
    }


def _claim_usage(claim: Obj) -> Amounts:
    spec = claim.get("spec") or {}
    found: Amounts = {"persistentvolumeclaims": _ONE}
    name = spec.get("storageClassName") or metadata(claim).get("annotations", {}).get(
        "volume.beta.kubernetes.io/storage-class", ""
    )
    if name:
        found[f"{name}{_STORAGE_CLASS}persistentvolumeclaims"] = _ONE
    if asked := ((spec.get("resources") or {}).get("requests") or {}).get("storage"):
        found["requests.storage"] = Quantity.parse(asked)
        if name:
            found[f"{name}{_STORAGE_CLASS}requests.storage"] = found["requests.storage"]
    return found


def in_scope(quota: Obj, row: Resource, obj: Obj) -> bool:
    """Whether the object is in all scopes of a quota; only pods are in any."""
    spec = quota.get("spec") or {}
    terms: list[Obj] = [{"scopeName": scope, "operator": "Exists"} for scope in spec.get("scopes") or ()]
    terms += (spec.get("scopeSelector") or {}).get("matchExpressions") or ()
    return not terms or (row is resources.PODS and all(_has_scope(obj, term) for term in terms))


def _has_scope(pod: Obj, term: Obj) -> bool:
    spec = pod.get("spec") or {}
    terminating = spec.get("activeDeadlineSeconds") is not None
    match term.get("scopeName"):
        case "Terminating":
            return terminating
        case "NotTerminating":
            return not terminating
        case "BestEffort":
            return _best_effort(spec)
        case "NotBestEffort":
            return not _best_effort(spec)
        case "PriorityClass":
            name = spec.get("priorityClassName")
            values = frozenset(term.get("values") or ())
            wanted = Requirement("PriorityClass", term.get("operator") or "Exists", values)
            return wanted.matches({"PriorityClass": name} if name else {})
        case "CrossNamespacePodAffinity":
            return _crosses_namespaces(spec)
    return False


def _best_effort(spec: Obj) -> bool:
    holders = (spec, *(spec.get("containers") or ()), *(spec.get("initContainers") or ()))
    for holder in holders:
        given = holder.get("resources") or {}
        for field in ("requests", "limits"):
            amounts = given.get(field) or {}
            if any(Quantity.parse(amounts.get(name)).nano for name in ("cpu", "memory")):
                return False
    return True


def _crosses_namespaces(spec: Obj) -> bool:
    affinity = spec.get("affinity") or {}
    for kind in ("podAffinity", "podAntiAffinity"):
        found = affinity.get(kind) or {}
        terms = list(found.get("requiredDuringSchedulingIgnoredDuringExecution") or ())
        terms += [one["podAffinityTerm"] for one in found.get("preferredDuringSchedulingIgnoredDuringExecution") or ()]
        if any(term.get("namespaces") or term.get("namespaceSelector") is not None for term in terms):
            return True
    return False


def unsaid(pod: Obj, names: Iterable[str]) -> str:
    """What the containers do not say though a quota on it demands that they do: "limits.cpu for: a,b; ...", or ""."""
    spec = pod.get("spec") or {}
    missing: dict[str, set[str]] = {}
    if own := spec.get("resources"):
        said = set(_compute(own.get("requests") or {}, own.get("limits") or {}))
    else:
        said = set()
    for container in (*(spec.get("containers") or ()), *(spec.get("initContainers") or ())):
        given = container.get("resources") or {}
        has = said | set(_compute(given.get("requests") or {}, given.get("limits") or {}))
        for name in _DEMANDED.intersection(names) - has:
            missing.setdefault(name, set()).add(container["name"])
    return "; ".join(f"{name} for: {','.join(sorted(missing[name]))}" for name in sorted(missing))
