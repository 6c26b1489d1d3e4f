"""ReplicaSet: as many pods of a template as asked for (k8s.io/kubernetes/pkg/controller/replicaset)."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from pybernetes.api import selectors
from pybernetes.api.errors import ApiError
from pybernetes.api.objects import Key, Obj, annotations_of, is_deleting, key_of, labels_of, uid_of
from pybernetes.api.resources import PODS, REPLICA_SETS
from pybernetes.client import Delta
from pybernetes.control import (
    OWNER_INDEXES,
    Again,
    Claimer,
    Controller,
    Writes,
    enqueue,
    enqueue_owner,
    write_status,
)
from pybernetes.control.owners import ORPHANS, OWNER, candidates
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

from .pods import BURST, NamespaceTerminating, OwnedPods, pod_of, slow_start
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
    conditions = list((rs.get("status") or {}).get("conditions") or ())
    if failure:
        conditions = with_condition(
            conditions, "ReplicaFailure", "True", reason=failure_reason, message=failure, now=now
        )
    else:
        conditions = without_condition(conditions, "ReplicaFailure")
    return {
        "replicas": replicas,
        "fullyLabeledReplicas": full,
        "readyReplicas": ready,
        "availableReplicas": available,
        "terminatingReplicas": terminating,
        "observedGeneration": rs["metadata"].get("generation", 0),
        "conditions": conditions,
    }


class ReplicaSetController:
    def __init__(self, shared: Shared) -> None:
        self.client, self.now = shared.client, shared.now
        self.sets = shared.informers.of(REPLICA_SETS, indexes=OWNER_INDEXES)
        self.pods = shared.pods()
        self.events = shared.recorder(COMPONENT)
        self.writes: Writes[Key] = Writes(self.pods)
        self.making = OwnedPods(self.client, self.events, self.writes)
        self.claimer = Claimer(self.client, PODS, owners=REPLICA_SETS)
        self.controller = Controller(
            "replicaset", self.reconcile, workers=shared.config.workers, informers=(self.sets, self.pods)
        )
        self.sets.subscribe(enqueue(self.controller.queue))
        self.pods.subscribe(enqueue_owner(self.controller.queue, "ReplicaSet"))
        self.pods.subscribe(enqueue_matching(self.controller.queue.add, self.sets.cache.select))

    async def run(self) -> None:
        await self.controller.run()

    async def reconcile(self, key: Key) -> Again | None:
        rs = self.sets.cache.get(key)
        if rs is None:
            self.writes.forget(key)
            return None
        if not self.writes.seen(key):
            return Again(1.0)  # the pod's own event comes sooner
        pods = await self._claimed(rs)
        self.writes.keep(key, pods)
        failure, reason = "", ""
        error: ApiError | None = None
        if not is_deleting(rs):
            error, reason = await self._scale(key, rs, pods)
            failure = error.message if error else ""
        if not self.writes.seen(key):
            return None if error is None else Again(1.0)  # its pods' events bring it back with true counts
        now = self.now()
        status = status_of(rs, pods, failure=failure, failure_reason=reason, now=now)
        await write_status(self.client, REPLICA_SETS, rs, status)
        if error is not None:
            raise error
        return self._when_available(rs, pods, now)

    async def _claimed(self, rs: Obj) -> list[Obj]:
        matches = selectors.of(rs["spec"].get("selector")).matches_object
        return await self.claimer.claim(rs, candidates(self.pods, rs), matches)

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
        siblings = self.sets.cache.indexed(OWNER, owner["uid"]) if owner else [rs]
        crowd: dict[str, int] = {}
        for sibling in siblings:
            for pod in self.pods.cache.indexed(OWNER, uid_of(sibling)):
                if is_active(pod) and node_of(pod):
                    crowd[node_of(pod)] = crowd.get(node_of(pod), 0) + 1
        return crowd

    def _when_available(self, rs: Obj, pods: Sequence[Obj], now: float) -> Again | None:
        min_ready = int(rs["spec"].get("minReadySeconds") or 0)
        if not min_ready:
            return None
        waits = [available_in(pod, min_ready, now) for pod in pods if is_active(pod)]
        soon = [wait for wait in waits if 0 < wait < math.inf]
        return Again(min(soon) + 0.05) if soon else None


def enqueue_matching(add: Callable[[Key], None], owners: Callable[[str], Sequence[Obj]]) -> Callable[[Delta], None]:
    """Handler: for an orphan pod, all owners of its namespace whose selector matches it may want to adopt it."""

    def handle(delta: Delta) -> None:
        pod = delta.now
        if pod is None or is_deleting(pod) or any(True for _ in OWNER_INDEXES[OWNER](pod)):
            return
        if delta.was is not None and labels_of(delta.was) == labels_of(pod) and not _was_owned(delta.was):
            return
        for owner in owners(key_of(pod).namespace):
            if selectors.of(owner["spec"].get("selector")).matches_object(pod):
                add(key_of(owner))

    return handle


def _was_owned(pod: Obj) -> bool:
    return not any(True for _ in OWNER_INDEXES[ORPHANS](pod))
