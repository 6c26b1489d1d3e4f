"""Taints and the tolerations that bear them (k8s.io/api/core/v1 Toleration.ToleratesTaint); pure."""

from collections.abc import Iterable, Sequence

from pybernetes.api.objects import Obj

NO_SCHEDULE, PREFER_NO_SCHEDULE, NO_EXECUTE = "NoSchedule", "PreferNoSchedule", "NoExecute"
NOT_READY = "node.kubernetes.io/not-ready"
UNREACHABLE = "node.kubernetes.io/unreachable"
UNSCHEDULABLE = "node.kubernetes.io/unschedulable"
MEMORY_PRESSURE = "node.kubernetes.io/memory-pressure"
DISK_PRESSURE = "node.kubernetes.io/disk-pressure"
PID_PRESSURE = "node.kubernetes.io/pid-pressure"
NETWORK_UNAVAILABLE = "node.kubernetes.io/network-unavailable"


def taints_of(node: Obj) -> list[Obj]:
    return (node.get("spec") or {}).get("taints") or []


def tolerations_of(spec: Obj) -> list[Obj]:
    """Of a pod spec."""
    return spec.get("tolerations") or []


def tolerates(toleration: Obj, taint: Obj) -> bool:
    if toleration.get("effect") and toleration["effect"] != taint.get("effect"):
        return False
    key = toleration.get("key")
    if key and key != taint.get("key"):
        return False
    operator = toleration.get("operator") or "Equal"
    if operator == "Exists":
        return True
    return bool(key) and operator == "Equal" and (toleration.get("value") or "") == (taint.get("value") or "")


def untolerated(tolerations: Sequence[Obj], taints: Iterable[Obj], effects: Iterable[str]) -> list[Obj]:
    """The taints of these effects that no toleration bears."""
    wanted = frozenset(effects)
    return [
        taint
        for taint in taints
        if taint.get("effect") in wanted and not any(tolerates(toleration, taint) for toleration in tolerations)
    ]


def same(one: Obj, other: Obj) -> bool:
    """A node has a key with an effect once."""
    return one.get("key") == other.get("key") and one.get("effect") == other.get("effect")
