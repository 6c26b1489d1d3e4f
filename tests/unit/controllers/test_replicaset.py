"""ReplicaSets: which pods go first, what the status says, and that a stale cache makes nothing twice."""

import asyncio
import itertools

from pybernetes.api.errors import Forbidden
from pybernetes.api.objects import Obj, condition, name_of
from pybernetes.api.resources import NODES, PODS, REPLICA_SETS
from pybernetes.controllers.replicaset import ReplicaSetController, plan, status_of
from pybernetes.scheduler import Scheduler
from pybernetes.wire import Request
from support.control_plane import Stage
from support.objects import node, pod, workload

RS = workload("ReplicaSet")
NOW = 1_800_000_000.0


def test_what_is_missing_is_made_at_most_500_at_once() -> None:
    assert plan(3, [pod("a")], crowd={}, now=NOW) == (2, [])
    assert plan(9000, [], crowd={}, now=NOW) == (500, [])


def test_the_least_useful_pods_go_first() -> None:
    cheap = pod("cheap", node="n1", ready=True)
    cheap["metadata"]["annotations"] = {"controller.kubernetes.io/pod-deletion-cost": "-5"}
    young = pod("young", node="n2", ready=True, since="2027-01-15T07:59:59Z")
    restarted = pod("restarted", node="n2", ready=True)
    restarted["status"]["containerStatuses"] = [{"restartCount": 7}]
    pods = [
        pod("old", node="n2", ready=True),
        pod("crowded", node="n1", ready=True),
        restarted,
        young,
        cheap,
        pod("unready", node="n1", phase="Running"),
        pod("pending", node="n1"),
        pod("unassigned"),
    ]
    ranked = plan(0, pods, crowd={"n1": 2, "n2": 1}, now=NOW).delete
    assert [name_of(one) for one in ranked] == [
        "unassigned", "pending", "unready", "cheap", "crowded", "young", "restarted", "old",
    ]  # fmt: skip


def test_the_status_counts() -> None:
    ready = pod("a", labels={"app": "web"}, ready=True)
    fresh = pod("b", labels={"app": "web"}, ready=True, since="2027-01-15T07:59:55Z")
    leaving = pod("c", ready=True)
    leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    rs = workload("ReplicaSet", minReadySeconds=10)
    status = status_of(
        rs, [ready, fresh, leaving, pod("d"), pod("e", phase="Failed")], failure="", failure_reason="", now=NOW
    )
    assert status == {
        "replicas": 3, "fullyLabeledReplicas": 2, "readyReplicas": 2, "availableReplicas": 1, "terminatingReplicas": 1,
        "observedGeneration": 1, "conditions": [],
    }  # fmt: skip


def stage() -> Stage:
    found = Stage()
    found.api.put(NODES, node("n1"))
    return found


def services(one: Stage) -> tuple[object, ...]:
    scheduler = Scheduler(one.client, informers=one.informers, events=one.shared.recorder("scheduler"))
    return ReplicaSetController(one.shared), scheduler


def count(one: Stage, field: str) -> int:
    return int((one.api.one(REPLICA_SETS, "web", "default").get("status") or {}).get(field) or 0)


async def test_pods_that_fail_or_go_are_replaced_and_surplus_goes() -> None:
    one = stage()
    async with one.running(*services(one)) as api:
        api.put(REPLICA_SETS, workload("ReplicaSet"))
        await api.until(lambda: count(one, "availableReplicas") == 3)
        first = api.of(PODS)[0]
        await one.client.patch(PODS, _key(first), {"status": {"phase": "Failed"}}, subresource="status")
        await api.until(lambda: len(api.of(PODS)) == 4 and count(one, "availableReplicas") == 3)
        api.drop(PODS, name_of(api.of(PODS)[1]), "default")
        await api.until(lambda: count(one, "availableReplicas") == 3 and len(api.of(PODS)) == 4)
        api.edit(REPLICA_SETS, "web", "default", spec={"replicas": 1})
        await api.until(lambda: count(one, "replicas") == 1 and count(one, "terminatingReplicas") == 0)
    assert {"SuccessfulCreate", "SuccessfulDelete"} <= {reason for reason, _ in one.events}


async def test_a_matching_orphan_is_adopted_before_a_pod_is_made() -> None:
    one = stage()
    one.api.put(PODS, pod("orphan", labels={"app": "web"}, node="n1"))
    async with one.running(*services(one)) as api:
        api.put(REPLICA_SETS, workload("ReplicaSet"))
        await api.until(lambda: count(one, "availableReplicas") == 3)
        assert len(api.of(PODS)) == 3
        api.edit(PODS, "orphan", "default", metadata={"labels": {"app": "debug"}})
        await api.until(lambda: len(api.of(PODS)) == 4)
        await api.until(lambda: "ownerReferences" not in api.one(PODS, "orphan", "default")["metadata"])


async def test_a_slow_watch_makes_no_pod_twice() -> None:
    """The pods' watch is held back after the first list: the controller must wait, not make three more."""
    one = stage()
    async with one.running(*services(one)) as api:
        held: list[Obj] = []
        informer = one.shared.pods()
        apply = informer._apply
        informer._apply = held.append  # type: ignore[method-assign,assignment]
        api.put(REPLICA_SETS, workload("ReplicaSet"))
        await api.until(lambda: len(api.of(PODS)) == 3)
        for _ in range(5):
            api.edit(REPLICA_SETS, "web", "default", metadata={"annotations": {"touch": str(api.revision)}})
            await asyncio.sleep(0.02)
        assert len(api.of(PODS)) == 3
        informer._apply = apply  # type: ignore[method-assign]
        for event in held:
            apply(event)  # type: ignore[arg-type]
        await api.until(lambda: count(one, "availableReplicas") == 3)
    assert len([r for r in one.api.asked("POST") if r.path.endswith("/pods")]) == 3


async def test_a_refusal_is_told_and_costs_one_call_at_a_time() -> None:
    one = stage()

    def refuse(request: Request) -> None:
        if request.method == "POST" and request.path.endswith("/pods"):
            raise Forbidden("exceeded quota")

    one.api.fail = refuse
    async with one.running(*services(one)) as api:
        api.put(REPLICA_SETS, workload("ReplicaSet", replicas=100))
        await api.until(lambda: condition(api.one(REPLICA_SETS, "web", "default"), "ReplicaFailure") is not None)
        found = condition(api.one(REPLICA_SETS, "web", "default"), "ReplicaFailure")
        assert found is not None
        assert (found["reason"], found["message"]) == ("FailedCreate", "exceeded quota")
        assert len([r for r in api.asked("POST") if r.path.endswith("/pods")]) < 10
        api.fail = lambda request: None
        await api.until(lambda: count(one, "replicas") == 100)
        await api.until(lambda: condition(api.one(REPLICA_SETS, "web", "default"), "ReplicaFailure") is None)
    assert ("FailedCreate", "Error creating: exceeded quota") in one.events


async def test_refusals_that_read_differently_are_told_once_and_wait_longer_each_time() -> None:
    """A refusal names the pod, whose name is new each time: a status written each time would be a loop of its own."""
    one = stage()
    names = itertools.count()

    def refuse(request: Request) -> None:
        if request.method == "POST" and request.path.endswith("/pods"):
            raise Forbidden(f'pods "web-{next(names)}" is forbidden: exceeded quota')

    one.api.fail = refuse
    async with one.running(*services(one)) as api:
        api.put(REPLICA_SETS, workload("ReplicaSet", replicas=1))
        await api.until(lambda: condition(api.one(REPLICA_SETS, "web", "default"), "ReplicaFailure") is not None)
        await api.until(lambda: next(names) >= 8)
        assert len([r for r in api.asked("PATCH") if r.path.endswith("/status")]) == 1


def _key(obj: Obj) -> object:
    from pybernetes.api.objects import key_of

    return key_of(obj)
