"""Which nodes a DaemonSet wants a pod on, and what is to be made and deleted there; pure.

Source: kubernetes/pkg/controller/daemon (daemon_controller.go, update.go).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from pybernetes.api.objects import Obj, copied, is_deleting, labels_of, name_of
from pybernetes.control.affinity import node_matches
from pybernetes.control.pods import available_in, is_ready, node_of, phase_of
from pybernetes.control.taints import (
    DISK_PRESSURE,
    MEMORY_PRESSURE,
    NETWORK_UNAVAILABLE,
    NO_EXECUTE,
    NO_SCHEDULE,
    NOT_READY,
    PID_PRESSURE,
    UNREACHABLE,
    UNSCHEDULABLE,
    taints_of,
    untolerated,
)

from .deployment_rollout import scaled_value
from .revisions import HASH

_BORNE = (
    (NOT_READY, NO_EXECUTE),
    (UNREACHABLE, NO_EXECUTE),
    (DISK_PRESSURE, NO_SCHEDULE),
    (MEMORY_PRESSURE, NO_SCHEDULE),
    (PID_PRESSURE, NO_SCHEDULE),
    (UNSCHEDULABLE, NO_SCHEDULE),
)


class Should(NamedTuple):
    """Whether a pod should be started on a node, and whether one that runs there may stay."""

    run: bool
    stay: bool


class Work(NamedTuple):
    """Nodes that get a pod, pods that go, and pods that go since they have ended (with an event)."""

    create: list[str]
    delete: list[Obj]
    ended: list[Obj]


def tolerations(spec: Obj) -> list[Obj]:
    """The template's tolerations and those that every daemon has."""
    borne = [*_BORNE, *([(NETWORK_UNAVAILABLE, NO_SCHEDULE)] if spec.get("hostNetwork") else [])]
    extra: list[Obj] = [{"key": key, "operator": "Exists", "effect": effect} for key, effect in borne]
    own = spec.get("tolerations") or []
    return [*own, *(one for one in extra if one not in own)]


def should(daemon_set: Obj, node: Obj) -> Should:
    spec = daemon_set["spec"]["template"].get("spec") or {}
    if spec.get("nodeName") and spec["nodeName"] != name_of(node):
        return Should(False, False)
    if not node_matches(spec, node):
        return Should(False, False)
    borne, taints = tolerations(spec), taints_of(node)
    if untolerated(borne, taints, (NO_SCHEDULE, NO_EXECUTE)):
        return Should(False, not untolerated(borne, taints, (NO_EXECUTE,)))
    return Should(True, True)


def pinned(spec: Obj, node_name: str) -> Obj:
    """A pod spec for one node: the scheduler still places it, so that it finds its room taken into account."""
    spec = copied(spec)
    affinity = spec.setdefault("affinity", {}).setdefault("nodeAffinity", {})
    affinity["requiredDuringSchedulingIgnoredDuringExecution"] = {
        "nodeSelectorTerms": [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node_name]}]}]
    }
    spec["tolerations"] = tolerations(spec)
    return spec


def target_of(pod: Obj) -> str:
    """The node a daemon's pod runs on or is meant for."""
    if node := node_of(pod):
        return node
    affinity = ((pod.get("spec") or {}).get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    for term in required.get("nodeSelectorTerms") or ():
        for field in term.get("matchFields") or ():
            if field.get("key") == "metadata.name" and field.get("operator") == "In" and field.get("values"):
                return str(field["values"][0])
    return ""


def by_target(pods: Iterable[Obj]) -> dict[str, list[Obj]]:
    found: dict[str, list[Obj]] = {}
    for pod in pods:
        found.setdefault(target_of(pod), []).append(pod)
    return found


def manage(
    daemon_set: Obj, nodes: Sequence[Obj], pods: Mapping[str, Sequence[Obj]], *, gone: Callable[[Obj], bool], surge: int
) -> Work:
    """One pod on each node that should have one, none elsewhere; `gone` are pods already asked to go."""
    work = Work([], [], [])
    present = set()
    for node in nodes:
        name = name_of(node)
        present.add(name)
        here = list(pods.get(name, ()))
        run, stay = should(daemon_set, node)
        if not stay:
            work.delete.extend(pod for pod in here if not gone(pod))
            continue
        ended = [pod for pod in here if phase_of(pod) in ("Failed", "Succeeded") and not gone(pod)]
        work.ended.extend(ended)
        alive = [pod for pod in here if not gone(pod) and pod not in ended]
        if run and not here:
            work.create.append(name)
        elif len(alive) > 1 and not surge:
            work.delete.extend(sorted(alive, key=_oldest_first)[1:])
    for name, stray in pods.items():
        if name not in present:
            work.delete.extend(pod for pod in stray if not gone(pod) and not node_of(pod))
    return work


def _oldest_first(pod: Obj) -> tuple[bool, bool, str]:
    return (not node_of(pod), not is_ready(pod), pod["metadata"].get("creationTimestamp", ""))


class Limits(NamedTuple):
    surge: int
    unavailable: int


def limits(daemon_set: Obj, desired: int) -> Limits:
    """maxSurge and maxUnavailable of the desired number, both rounded up; never both 0."""
    rolling = (daemon_set["spec"].get("updateStrategy") or {}).get("rollingUpdate") or {}
    surge = scaled_value(rolling.get("maxSurge", 0), desired, up=True)
    unavailable = scaled_value(rolling.get("maxUnavailable", 1), desired, up=True)
    return Limits(surge, unavailable if unavailable or surge else 1)


def is_rolling(daemon_set: Obj) -> bool:
    return bool((daemon_set["spec"].get("updateStrategy") or {}).get("type", "RollingUpdate") == "RollingUpdate")


def rolling_update(
    daemon_set: Obj,
    nodes: Sequence[Obj],
    pods: Mapping[str, Sequence[Obj]],
    *,
    digest: str,
    gone: Callable[[Obj], bool],
    now: float,
) -> Work:
    """Which old pods to replace now, so that no more than maxUnavailable are missing (or maxSurge too many)."""
    wanted = [name_of(node) for node in nodes if should(daemon_set, node).run]
    surge, unavailable = limits(daemon_set, len(wanted))
    ready_seconds = int(daemon_set["spec"].get("minReadySeconds") or 0)
    work = Work([], [], [])
    chosen: list[tuple[str, Obj]] = []
    busy = 0
    for name in wanted:
        alive = [pod for pod in pods.get(name, ()) if not gone(pod)]
        new = next((pod for pod in alive if labels_of(pod).get(HASH) == digest), None)
        old = next((pod for pod in alive if labels_of(pod).get(HASH) != digest), None)
        fine = new is not None and available_in(new, ready_seconds, now) == 0
        if old is None:
            busy += not fine and not surge
        elif new is not None:
            if fine:
                work.delete.append(old)
            busy += not fine or not surge
        elif available_in(old, ready_seconds, now) > 0:
            (work.create if surge else []).append(name)
            if not surge:
                work.delete.append(old)
            busy += 1
        else:
            chosen.append((name, old))
    for name, old in chosen[: max(0, (surge or unavailable) - busy)]:
        if surge:
            work.create.append(name)
        else:
            work.delete.append(old)
    return work


def status_of(
    daemon_set: Obj, nodes: Sequence[Obj], pods: Mapping[str, Sequence[Obj]], *, digest: str, now: float
) -> Obj:
    """Counts over the nodes (updateDaemonSetStatus)."""
    ready_seconds = int(daemon_set["spec"].get("minReadySeconds") or 0)
    desired = current = misscheduled = ready = updated = available = 0
    for node in nodes:
        here = sorted((p for p in pods.get(name_of(node), ())), key=_oldest_first)
        if not should(daemon_set, node).run:
            misscheduled += bool(here)
            continue
        desired += 1
        if not here:
            continue
        current += 1
        up = [pod for pod in here if is_ready(pod)]
        ready += bool(up)
        available += any(available_in(pod, ready_seconds, now) == 0 and not is_deleting(pod) for pod in up)
        updated += any(labels_of(pod).get(HASH) == digest for pod in here)
    return {
        "currentNumberScheduled": current,
        "numberMisscheduled": misscheduled,
        "desiredNumberScheduled": desired,
        "numberReady": ready,
        "observedGeneration": daemon_set["metadata"].get("generation", 0),
        "updatedNumberScheduled": updated,
        "numberAvailable": available,
        "numberUnavailable": desired - available,
    }
