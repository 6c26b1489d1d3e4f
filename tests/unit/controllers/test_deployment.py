"""Deployments on a small cluster: rollouts, scaling, recreate, pause, history, rollback."""

from collections.abc import AsyncIterator

import pytest

from pybernetes.api.objects import Key, Obj, annotations_of, condition_is, is_deleting
from pybernetes.api.resources import DEPLOYMENTS, NODES, PODS, REPLICA_SETS
from pybernetes.controllers.deployment import DeploymentController
from pybernetes.controllers.deployment_rollout import REVISION
from pybernetes.controllers.replicaset import ReplicaSetController
from pybernetes.scheduler import Scheduler
from support.control_plane import Stage
from support.objects import node, workload

KEY = Key("default", "web")


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    found = Stage()
    found.api.put(NODES, node("n1"))
    found.api.put(NODES, node("n2"))
    services = (
        DeploymentController(found.shared),
        ReplicaSetController(found.shared),
        Scheduler(found.client, informers=found.informers, events=found.shared.recorder("scheduler")),
    )
    async with found.running(*services):
        yield found


def done(stage: Stage, replicas: int) -> bool:
    deployment = stage.api.one(DEPLOYMENTS, "web", "default")
    status = deployment.get("status") or {}
    counts = [status.get(f) or 0 for f in ("replicas", "updatedReplicas", "availableReplicas")]
    return counts == [replicas] * 3 and status["observedGeneration"] == deployment["metadata"]["generation"]


def sizes(stage: Stage) -> dict[str, int]:
    return {annotations_of(rs)[REVISION]: rs["spec"]["replicas"] for rs in stage.api.of(REPLICA_SETS)}


def change(stage: Stage, image: str) -> None:
    template = {"spec": {"containers": [{"name": "c", "image": image}]}}
    stage.api.edit(DEPLOYMENTS, "web", "default", spec={"template": template})


async def test_rollout_scale_and_rollback(stage: Stage) -> None:
    stage.api.put(DEPLOYMENTS, workload("Deployment"))
    await stage.api.until(lambda: done(stage, 3))
    assert sizes(stage) == {"1": 3}
    stage.api.edit(DEPLOYMENTS, "web", "default", spec={"replicas": 5})
    await stage.api.until(lambda: done(stage, 5))
    change(stage, "two")
    await stage.api.until(lambda: done(stage, 5))
    assert sizes(stage) == {"1": 0, "2": 5}
    change(stage, "host")  # back: the first set becomes revision 3
    await stage.api.until(lambda: done(stage, 5) and sizes(stage) == {"3": 5, "2": 0})
    deployment = stage.api.one(DEPLOYMENTS, "web", "default")
    await stage.api.until(lambda: annotations_of(stage.api.one(DEPLOYMENTS, "web", "default"))[REVISION] == "3")
    assert condition_is(deployment, "Available")
    await stage.api.until(lambda: any(message.startswith("Scaled down replica set") for _, message in stage.events))


async def test_exactly_as_many_pods_as_asked_for_are_ever_made(stage: Stage) -> None:
    stage.api.put(DEPLOYMENTS, workload("Deployment", replicas=20))
    await stage.api.until(lambda: done(stage, 20))
    assert len([r for r in stage.api.asked("POST") if r.path.endswith("/pods")]) == 20
    assert len([r for r in stage.api.asked("POST") if r.path.endswith("/replicasets")]) == 1


async def test_recreate_waits_for_the_old_pods(stage: Stage) -> None:
    most = 0

    def watch(kind: str, plural: str, obj: Obj) -> None:
        nonlocal most
        images = {p["spec"]["containers"][0]["image"] for p in stage.api.of(PODS)}
        most = max(most, len(images))

    stage.api.react.append(watch)
    stage.api.put(DEPLOYMENTS, workload("Deployment", strategy={"type": "Recreate"}))
    await stage.api.until(lambda: done(stage, 3))
    change(stage, "two")
    await stage.api.until(lambda: done(stage, 3) and sizes(stage) == {"1": 0, "2": 3})
    assert most == 1


async def test_a_paused_deployment_scales_but_does_not_roll(stage: Stage) -> None:
    stage.api.put(DEPLOYMENTS, workload("Deployment"))
    await stage.api.until(lambda: done(stage, 3))
    stage.api.edit(DEPLOYMENTS, "web", "default", spec={"paused": True})
    change(stage, "two")
    stage.api.edit(DEPLOYMENTS, "web", "default", spec={"replicas": 4})
    await stage.api.until(lambda: sizes(stage) == {"1": 4})
    stage.api.edit(DEPLOYMENTS, "web", "default", spec={"paused": False})
    await stage.api.until(lambda: done(stage, 4) and sizes(stage) == {"1": 0, "2": 4})


async def test_history_beyond_the_limit_is_cleaned(stage: Stage) -> None:
    stage.api.put(DEPLOYMENTS, workload("Deployment", replicas=1, revisionHistoryLimit=1))
    for number, image in enumerate(("host", "b", "c", "d")):
        change(stage, image)
        await stage.api.until(lambda number=number: done(stage, 1) and str(number + 1) in sizes(stage))
    await stage.api.until(lambda: sorted(sizes(stage)) == ["3", "4"])


async def test_a_bad_template_stops_the_rollout_with_the_old_pods_serving(stage: Stage) -> None:
    stage.api.put(DEPLOYMENTS, workload("Deployment", replicas=4))
    await stage.api.until(lambda: done(stage, 4))
    stage.kubelet.broken = lambda pod: pod["spec"]["containers"][0]["image"] == "broken"
    change(stage, "broken")
    await stage.api.until(lambda: sizes(stage) == {"1": 3, "2": 2})
    ready = [p for p in stage.api.of(PODS) if (p.get("status") or {}).get("podIP") and not is_deleting(p)]
    assert len(ready) >= 3
    change(stage, "host")
    await stage.api.until(lambda: done(stage, 4) and sizes(stage) == {"3": 4, "2": 0})
