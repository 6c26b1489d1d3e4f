"""DaemonSets: where pods belong, and how they are replaced."""

from collections.abc import AsyncIterator

import pytest

from pybernetes.api.objects import Obj, labels_of
from pybernetes.api.resources import CONTROLLER_REVISIONS, DAEMON_SETS, NODES, PODS
from pybernetes.controllers.daemonset import DaemonSetController
from pybernetes.controllers.daemonset_plan import by_target, limits, manage, pinned, rolling_update, should, target_of
from pybernetes.controllers.revisions import HASH
from pybernetes.scheduler import Scheduler
from support.control_plane import Stage
from support.objects import node, pod, workload

NODES_3 = [node("a"), node("b"), node("c")]


def daemon(**spec: object) -> Obj:
    return workload("DaemonSet", **spec)


def never(one: Obj) -> bool:
    return False


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (node("a"), (True, True)),
        (
            node("a", unschedulable=True, taints=[{"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}]),
            (True, True),
        ),
        (node("a", taints=[{"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"}]), (True, True)),
        (node("a", taints=[{"key": "x", "effect": "NoSchedule"}]), (False, True)),
        (node("a", taints=[{"key": "x", "effect": "NoExecute"}]), (False, False)),
        (node("a", taints=[{"key": "x", "effect": "PreferNoSchedule"}]), (True, True)),
    ],
)
def test_which_nodes(one: Obj, expected: tuple[bool, bool]) -> None:
    assert should(daemon(), one) == expected


def test_a_node_selector() -> None:
    one = daemon()
    one["spec"]["template"]["spec"]["nodeSelector"] = {"disk": "ssd"}
    assert should(one, node("a")) == (False, False)
    assert should(one, node("a", labels={"disk": "ssd"})) == (True, True)


def test_a_pod_is_meant_for_its_node_before_it_is_bound() -> None:
    one = pod("x") | {"spec": pinned({"containers": []}, "b")}
    assert target_of(one) == "b"


def test_missing_and_surplus() -> None:
    pods = [
        pod("a1", node="a", ready=True),
        pod("a2", node="a"),
        pod("b1", node="b", phase="Failed"),
        pod("x", node="gone"),
    ]
    work = manage(daemon(), NODES_3, by_target(pods), gone=never, surge=0)
    assert work.create == ["c"]
    assert [p["metadata"]["name"] for p in work.delete] == ["a2"]
    assert [p["metadata"]["name"] for p in work.ended] == ["b1"]


def old(name: str, *, ready: bool = True) -> Obj:
    return pod(f"{name}-old", node=name, ready=ready, labels={HASH: "1"})


def new(name: str, *, ready: bool = True) -> Obj:
    return pod(f"{name}-new", node=name, ready=ready, labels={HASH: "2"})


@pytest.mark.parametrize(
    ("pods", "deleted"),
    [
        ([old("a"), old("b"), old("c")], ["a-old"]),
        ([old("a"), old("b", ready=False), old("c")], ["b-old"]),
        ([new("a", ready=False), old("b"), old("c")], []),
        ([new("a"), old("b"), old("c")], ["b-old"]),
        ([old("b"), old("c")], []),
        ([new("a"), new("b"), new("c")], []),
    ],
)
def test_one_at_a_time(pods: list[Obj], deleted: list[str]) -> None:
    work = rolling_update(daemon(), NODES_3, by_target(pods), digest="2", gone=never, now=0.0)
    assert ([p["metadata"]["name"] for p in work.delete], work.create) == (deleted, [])


def test_with_a_surge_the_new_one_comes_first() -> None:
    one = daemon(updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}})
    assert limits(one, 3) == (1, 0)
    work = rolling_update(one, NODES_3, by_target([old("a"), old("b"), old("c")]), digest="2", gone=never, now=0.0)
    assert (work.create, work.delete) == (["a"], [])
    both = [old("a"), new("a"), old("b"), old("c")]
    work = rolling_update(one, NODES_3, by_target(both), digest="2", gone=never, now=0.0)
    assert [p["metadata"]["name"] for p in work.delete] == ["a-old"]
    assert work.create == ["b"]


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    found = Stage()
    for one in NODES_3:
        found.api.put(NODES, one)
    scheduler = Scheduler(found.client, informers=found.informers, events=found.shared.recorder("scheduler"))
    async with found.running(DaemonSetController(found.shared), scheduler):
        yield found


def status(stage: Stage, field: str) -> int:
    return int((stage.api.one(DAEMON_SETS, "web", "default").get("status") or {}).get(field) or 0)


def placed(stage: Stage) -> list[str]:
    return sorted(one["spec"].get("nodeName", "") for one in stage.api.of(PODS))


async def test_a_pod_on_each_node_also_on_new_ones(stage: Stage) -> None:
    api = stage.api
    api.put(DAEMON_SETS, daemon())
    await api.until(lambda: status(stage, "numberAvailable") == 3)
    assert placed(stage) == ["a", "b", "c"]
    api.put(NODES, node("d"))
    await api.until(lambda: placed(stage) == ["a", "b", "c", "d"])
    api.edit(NODES, "a", spec={"taints": [{"key": "x", "effect": "NoExecute"}]})
    await api.until(lambda: placed(stage) == ["b", "c", "d"])
    await api.until(lambda: status(stage, "desiredNumberScheduled") == 3)


async def test_an_update_rolls_through_the_nodes_and_leaves_a_history(stage: Stage) -> None:
    api = stage.api
    api.put(DAEMON_SETS, daemon())
    await api.until(lambda: status(stage, "numberAvailable") == 3)
    least = 3

    def watch(kind: str, plural: str, obj: Obj) -> None:
        nonlocal least
        up = [
            p
            for p in api.of(PODS)
            if (p.get("status") or {}).get("podIP") and not p["metadata"].get("deletionTimestamp")
        ]
        least = min(least, len(up))

    api.react.append(watch)
    api.edit(
        DAEMON_SETS, "web", "default", spec={"template": {"spec": {"containers": [{"name": "c", "image": "two"}]}}}
    )

    def rolled() -> bool:
        images = [one["spec"]["containers"][0]["image"] for one in api.of(PODS)]
        return images == ["two"] * 3 and status(stage, "updatedNumberScheduled") == 3 == status(
            stage, "numberAvailable"
        )

    await api.until(rolled)
    assert least >= 2
    revisions = {one["revision"]: labels_of(one)[HASH] for one in api.of(CONTROLLER_REVISIONS)}
    assert sorted(revisions) == [1, 2]
    assert {labels_of(one)[HASH] for one in api.of(PODS)} == {revisions[2]}


async def test_on_delete_waits_for_the_user(stage: Stage) -> None:
    api = stage.api
    api.put(DAEMON_SETS, daemon(updateStrategy={"type": "OnDelete"}))
    await api.until(lambda: status(stage, "numberAvailable") == 3)
    api.edit(
        DAEMON_SETS, "web", "default", spec={"template": {"spec": {"containers": [{"name": "c", "image": "two"}]}}}
    )
    await api.until(lambda: status(stage, "observedGeneration") == 2)
    victim = api.of(PODS)[0]
    api.drop(PODS, victim["metadata"]["name"], "default")
    await api.until(
        lambda: sorted(one["spec"]["containers"][0]["image"] for one in api.of(PODS)) == ["host", "host", "two"]
    )
