"""Which pods of a StatefulSet to make and delete next, in order of their ordinals; pure.

Source: kubernetes/pkg/controller/statefulset (stateful_set_control.go).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from pybernetes.api.objects import Obj, copied, is_deleting, labels_of, name_of, owner_reference
from pybernetes.control.pods import available_in, is_ready, phase_of

from .pods import pod_of
from .revisions import HASH

POD_NAME = "statefulset.kubernetes.io/pod-name"
POD_INDEX = "apps.kubernetes.io/pod-index"


class Work(NamedTuple):
    """Ordinals to make, each with the revision's name, and pods to delete."""

    create: list[tuple[int, str]]
    delete: list[Obj]


def replicas_of(stateful_set: Obj) -> int:
    return int(stateful_set["spec"].get("replicas", 1))


def ordinal_of(stateful_set: Obj, pod: Obj) -> int:
    """The number at the end of the pod's name; -1 for a name that is not of this set."""
    parent, _, number = name_of(pod).rpartition("-")
    return int(number) if parent == name_of(stateful_set) and number.isdigit() else -1


def first_of(stateful_set: Obj) -> int:
    return int((stateful_set["spec"].get("ordinals") or {}).get("start") or 0)


def is_parallel(stateful_set: Obj) -> bool:
    return bool(stateful_set["spec"].get("podManagementPolicy") == "Parallel")


def partition_of(stateful_set: Obj) -> int | None:
    """The ordinal below which pods stay as they are; None when updates are left to the user."""
    strategy = stateful_set["spec"].get("updateStrategy") or {}
    if strategy.get("type", "RollingUpdate") != "RollingUpdate":
        return None
    return first_of(stateful_set) + int((strategy.get("rollingUpdate") or {}).get("partition") or 0)


def plan(
    stateful_set: Obj, pods: Sequence[Obj], *, current: str, update: str, gone: Callable[[Obj], bool], now: float
) -> Work:
    """One step; `current` and `update` are the names of revisions, `gone` are pods already asked to go."""
    first, work = first_of(stateful_set), Work([], [])
    held = {ordinal_of(stateful_set, pod): pod for pod in pods}
    wanted = range(first, first + replicas_of(stateful_set))
    parallel = is_parallel(stateful_set)
    for ordinal in wanted:
        pod = held.get(ordinal)
        if pod is None:
            work.create.append((ordinal, _revision_for(stateful_set, ordinal, current, update)))
        elif phase_of(pod) in ("Failed", "Succeeded") and not gone(pod):
            work.delete.append(pod)
        elif not gone(pod) and _is_fine(stateful_set, pod, now):
            continue
        if not parallel:
            return work
    surplus = [held[ordinal] for ordinal in sorted(held, reverse=True) if ordinal >= 0 and ordinal not in wanted]
    if surplus and not parallel:
        return Work([], _next_to_go(stateful_set, surplus, gone, now))
    work.delete.extend(pod for pod in surplus if not gone(pod))
    if not work.create and not work.delete:
        work.delete.extend(_outdated(stateful_set, held, wanted, update, gone, now))
    return work


def _next_to_go(stateful_set: Obj, surplus: Sequence[Obj], gone: Callable[[Obj], bool], now: float) -> list[Obj]:
    """Of pods too many, from the highest ordinal down: the first, once it is fine or all that is wrong is itself.

    Where pods with lower ordinals are not well either, a set of order waits for them.
    """
    ill = [pod for pod in surplus if gone(pod) or not _is_fine(stateful_set, pod, now)]
    highest = surplus[0]
    return [] if gone(highest) or (highest in ill and highest is not ill[-1]) else [highest]


def _outdated(
    stateful_set: Obj,
    held: Mapping[int, Obj],
    wanted: Iterable[int],
    update: str,
    gone: Callable[[Obj], bool],
    now: float,
) -> list[Obj]:
    """The next pod to be replaced by a new revision: from the highest ordinal down, one at a time."""
    partition = partition_of(stateful_set)
    if partition is None:
        return []
    for ordinal in sorted(wanted, reverse=True):
        pod = held.get(ordinal)
        if ordinal < partition:
            return []
        if pod is None or gone(pod):
            return []
        if labels_of(pod).get(HASH) != update:
            return [pod]
        if not _is_fine(stateful_set, pod, now):
            return []
    return []


def _is_fine(stateful_set: Obj, pod: Obj, now: float) -> bool:
    seconds = int(stateful_set["spec"].get("minReadySeconds") or 0)
    return phase_of(pod) == "Running" and available_in(pod, seconds, now) == 0


def _revision_for(stateful_set: Obj, ordinal: int, current: str, update: str) -> str:
    """Below the partition a lost pod comes back as it was."""
    partition = partition_of(stateful_set)
    return current if partition is not None and ordinal < partition else update


def pod_for(stateful_set: Obj, template: Obj, ordinal: int, revision: str) -> Obj:
    """The pod of an ordinal, with its identity: name, host name, labels and claims."""
    name = f"{name_of(stateful_set)}-{ordinal}"
    pod = pod_of(stateful_set, template, name=name)
    pod["metadata"]["labels"] |= {HASH: revision, POD_NAME: name, POD_INDEX: str(ordinal)}
    spec = pod["spec"]
    spec["hostname"] = name
    if stateful_set["spec"].get("serviceName"):
        spec["subdomain"] = stateful_set["spec"]["serviceName"]
    claims = {claim["metadata"]["name"]: claim for claim in stateful_set["spec"].get("volumeClaimTemplates") or ()}
    volumes = [volume for volume in spec.get("volumes") or () if volume["name"] not in claims]
    volumes += [{"name": c, "persistentVolumeClaim": {"claimName": f"{c}-{name}"}} for c in claims]
    if volumes:
        spec["volumes"] = volumes
    return pod


def claims_for(stateful_set: Obj, ordinal: int) -> list[Obj]:
    """The claims of an ordinal; they outlive the pod, and the set unless its retention policy says otherwise."""
    found = []
    policy = (stateful_set["spec"].get("persistentVolumeClaimRetentionPolicy") or {}).get("whenDeleted")
    for template in stateful_set["spec"].get("volumeClaimTemplates") or ():
        claim = copied(template)
        claim |= {"apiVersion": "v1", "kind": "PersistentVolumeClaim"}
        claim.pop("status", None)
        selector = (stateful_set["spec"].get("selector") or {}).get("matchLabels") or {}
        claim["metadata"] = (claim.get("metadata") or {}) | {
            "name": f"{template['metadata']['name']}-{name_of(stateful_set)}-{ordinal}",
            "namespace": stateful_set["metadata"]["namespace"],
            "labels": dict(selector) | dict(labels_of(template)),
        }
        if policy == "Delete":
            claim["metadata"]["ownerReferences"] = [owner_reference(stateful_set, controller=False)]
        found.append(claim)
    return found


def status_of(stateful_set: Obj, pods: Sequence[Obj], *, current: str, update: str, now: float) -> Obj:
    """Counts by revision; the rollout is complete when every pod is of the new one and ready."""
    alive = [pod for pod in pods if phase_of(pod) not in ("Failed", "Succeeded")]
    staying = [pod for pod in alive if not is_deleting(pod)]
    ready = [pod for pod in alive if phase_of(pod) == "Running" and is_ready(pod)]
    updated = sum(labels_of(pod).get(HASH) == update for pod in staying)
    wanted = replicas_of(stateful_set)
    complete = updated == wanted == len(ready) and partition_of(stateful_set) is not None
    if complete:
        current = update
    return {
        "observedGeneration": stateful_set["metadata"].get("generation", 0),
        "replicas": len(alive),
        "readyReplicas": len(ready),
        "availableReplicas": sum(_is_fine(stateful_set, pod, now) and not is_deleting(pod) for pod in ready),
        "currentReplicas": sum(labels_of(pod).get(HASH) == current for pod in staying),
        "updatedReplicas": updated,
        "currentRevision": current,
        "updateRevision": update,
    }
