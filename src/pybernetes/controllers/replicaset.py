"""ReplicaSet: as many pods of a template as asked for (k8s.io/kubernetes/pkg/controller/replicaset)."""

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from pybernetes.api import selectors
from pybernetes.api.errors import ApiError
from pybernetes.api.objects import Key, Obj, annotations_of, is_deleting, labels_of, uid_of
from pybernetes.api.resources import REPLICA_SETS, Resource
from pybernetes.control import Again, write_status
from pybernetes.control.owners import OWNER
from pybernetes.control.pods import (
    available_in,
    is_active,
    is_ready,
    is_terminal,
    moment,
    node_of,
    phase_of,
    ready_since,
    restarts_of,
)
from pybernetes.control.status import with_condition, without_condition

from .owns_pods import OwnsPods
from .pods import BURST, NamespaceTerminating, pod_of, slow_start
from .shared import Shared

COMPONENT = "replicaset-controller"
_COST = "controller.kubernetes.io/pod-deletion-cost"
_PHASES = {"Pending": 0, "Unknown": 1, "Running": 2}


class Plan(NamedTuple):
    """What is to be done about the number of pods."""

    create: int
    delete: list[Obj]


def plan(want: int, active: Sequence[Obj], *, crowd: Mapping[str, int], now: float) -> Plan:
    """Pure. `crowd` says for each node how many pods of the same parent run there; fuller nodes lose theirs first."""
    gap = want - len(active)
    if gap >= 0:
        return Plan(min(gap, BURST), [])
    ranked = sorted(active, key=lambda pod: _rank(pod, crowd.get(node_of(pod), 0), now))
    return Plan(0, ranked[: min(-gap, BURST)])


def _rank(pod: Obj, crowd: int, now: float) -> tuple[object, ...]:
    """The lower the sooner deleted (controller_utils.go, ActivePodsWithRanks.Less)."""
    since = ready_since(pod)
    ready = math.isfinite(since)
    return (
        bool(node_of(pod)),
        _PHASES.get(phase_of(pod), 1),
        ready,
        deletion_cost(pod),
        -crowd,
        _log_age(now - since) if ready else 0,
        -restarts_of(pod),
        _log_age(now - moment((pod.get("metadata") or {}).get("creationTimestamp"), now)),
    )


def _log_age(seconds: float) -> int:
    """Ages that differ little count as equal, so that chance decides, not the order of creation (KEP-2185)."""
    return int(math.log2(seconds)) if seconds >= 1 else -1


def deletion_cost(pod: Obj) -> int:
    try:
        return int(annotations_of(pod).get(_COST) or 0)
    except ValueError:
        return 0


def status_of(rs: Obj, pods: Iterable[Obj], *, failure: str, failure_reason: str, now: float) -> Obj:
    """The status that follows from its pods (calculateStatus); pure."""
    template = ((rs["spec"].get("template") or {}).get("metadata") or {}).get("labels") or {}
    labelled = selectors.exact(template)
    min_ready = int(rs["spec"].get("minReadySeconds") or 0)
    replicas = full = ready = available = terminating = 0
    for pod in pods:
        if not is_active(pod):
            terminating += is_deleting(pod) and not is_terminal(pod)
            continue
        replicas += 1
        full += labelled.matches(labels_of(pod))
        if is_ready(pod):
            ready += 1
            available += available_in(pod, min_ready, now) == 0
    return {
        "replicas": replicas,
        "fullyLabeledReplicas": full,
        "readyReplicas": ready,
        "availableReplicas": available,
        "terminatingReplicas": terminating,
        "observedGeneration": rs["metadata"].get("generation", 0),
        "conditions": _failing(rs, failure=failure, reason=failure_reason, now=now),
    }


def _failing(rs: Obj, *, failure: str, reason: str, now: float) -> list[Obj]:
    """The first refusal stays as it was told: each names another pod, and to write that would call for the next try."""
    conditions = list((rs.get("status") or {}).get("conditions") or ())
    if not failure:
        return without_condition(conditions, "ReplicaFailure")
    if any(one.get("type") == "ReplicaFailure" for one in conditions):
        return conditions
    return with_condition(conditions, "ReplicaFailure", "True", reason=reason, message=failure, now=now)


class ReplicaSetController(OwnsPods):
    def __init__(
        self,
        shared: Shared,
        owners: Resource = REPLICA_SETS,
        *,
        name: str = "replicaset",
        component: str = COMPONENT,
    ) -> None:
        super().__init__(shared, owners, name=name, component=component)
        self.row = owners

    async def look(self, key: Key, owner: Obj) -> Again | None:
        pods = await self.claimed(owner)
        error: ApiError | None = None
        reason = ""
        if not is_deleting(owner):
            error, reason = await self._scale(key, owner, pods)
        if not self.writes.seen(key):
            return None if error is None else Again(1.0)  # its pods' events bring it back with true counts
        failure = error.message if error else ""
        status = self.status(owner, pods, failure=failure, failure_reason=reason)
        await write_status(self.client, self.row, owner, status)
        if error is not None:
            raise error
        return self.when_available(owner, (pod for pod in pods if is_active(pod)))

    def status(self, owner: Obj, pods: Iterable[Obj], *, failure: str, failure_reason: str) -> Obj:
        return status_of(owner, pods, failure=failure, failure_reason=failure_reason, now=self.now())

    async def _scale(self, key: Key, rs: Obj, pods: Sequence[Obj]) -> tuple[ApiError | None, str]:
        active = [pod for pod in pods if is_active(pod) and not self.writes.gone(key, pod)]
        want = int(rs["spec"].get("replicas", 1))
        steps = plan(want, active, crowd=self._crowd(rs) if want < len(active) else {}, now=self.now())
        try:
            if steps.create:
                pod = pod_of(rs, rs["spec"]["template"])
                await slow_start([partial(self.making.create, rs, pod)] * steps.create)
            elif steps.delete:
                await slow_start([partial(self.making.delete, rs, one) for one in steps.delete])
        except NamespaceTerminating:
            return None, ""
        except ApiError as error:
            return error, "FailedCreate" if steps.create else "FailedDelete"
        return None, ""

    def _crowd(self, rs: Obj) -> dict[str, int]:
        """Pods per node of all ReplicaSets with the same parent (a Deployment's old and new one)."""
        owner = next((o for o in rs["metadata"].get("ownerReferences") or () if o.get("controller")), None)
        siblings = self.owners.cache.indexed(OWNER, owner["uid"]) if owner else [rs]
        crowd: dict[str, int] = {}
        for sibling in siblings:
            for pod in self.pods.cache.indexed(OWNER, uid_of(sibling)):
                if is_active(pod) and node_of(pod):
                    crowd[node_of(pod)] = crowd.get(node_of(pod), 0) + 1
        return crowd
