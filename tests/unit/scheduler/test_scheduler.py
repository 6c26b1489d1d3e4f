"""The scheduler as a service over the fake API."""

from collections.abc import AsyncIterator

import pytest

from pybernetes.api.errors import InternalError
from pybernetes.api.objects import condition
from pybernetes.api.resources import NODES, PODS
from pybernetes.scheduler import Scheduler
from pybernetes.wire import Request
from support.control_plane import Stage
from support.objects import node, pod


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    found = Stage()
    scheduler = Scheduler(found.client, informers=found.informers, events=found.shared.recorder("default-scheduler"))
    async with found.running(scheduler):
        yield found


def where(stage: Stage, name: str) -> str:
    return stage.api.one(PODS, name, "default")["spec"].get("nodeName", "")


async def test_a_pod_is_bound_and_told_so(stage: Stage) -> None:
    stage.api.put(NODES, node("n1"))
    stage.api.put(PODS, pod("a"))
    await stage.api.until(lambda: where(stage, "a") == "n1")
    await stage.api.until(lambda: ("Scheduled", "Successfully assigned default/a to n1") in stage.events)


async def test_a_pod_that_fits_nowhere_is_told_why_and_placed_when_it_fits(stage: Stage) -> None:
    stage.api.put(PODS, pod("a", requests={"cpu": "8"}))

    def told() -> str:
        return (condition(stage.api.one(PODS, "a", "default"), "PodScheduled") or {}).get("message", "")

    await stage.api.until(lambda: told() == "no nodes available to schedule pods")
    stage.api.put(NODES, node("small"))
    await stage.api.until(lambda: told().startswith("0/1 nodes are available: 1 Insufficient cpu."))
    assert condition(stage.api.one(PODS, "a", "default"), "PodScheduled")["reason"] == "Unschedulable"
    await stage.api.until(lambda: any(reason == "FailedScheduling" for reason, _ in stage.events))
    stage.api.put(NODES, node("big", cpu="16"))
    await stage.api.until(lambda: where(stage, "a") == "big")


async def test_room_that_becomes_free_is_used(stage: Stage) -> None:
    stage.api.put(NODES, node("n1", cpu="1"))
    stage.api.put(PODS, pod("one", requests={"cpu": "1"}))
    await stage.api.until(lambda: where(stage, "one") == "n1")
    stage.api.put(PODS, pod("two", requests={"cpu": "1"}))
    await stage.api.until(lambda: condition(stage.api.one(PODS, "two", "default"), "PodScheduled") is not None)
    stage.api.drop(PODS, "one", "default")
    await stage.api.until(lambda: where(stage, "two") == "n1")


async def test_a_burst_never_overbooks_a_node(stage: Stage) -> None:
    for number in range(3):
        stage.api.put(NODES, node(f"n{number}", cpu="1"))
    for number in range(40):
        stage.api.put(PODS, pod(f"p{number}", requests={"cpu": "100m"}))
    await stage.api.until(lambda: sum(bool(one["spec"].get("nodeName")) for one in stage.api.of(PODS)) == 30)
    for number in range(3):
        assert sum(one["spec"].get("nodeName") == f"n{number}" for one in stage.api.of(PODS)) == 10


async def test_a_binding_that_fails_is_tried_again(stage: Stage) -> None:
    failures = iter([InternalError("no"), ConnectionError("gone")])

    def fail(request: Request) -> None:
        if request.path.endswith("/binding") and (error := next(failures, None)) is not None:
            raise error

    stage.api.fail = fail
    stage.api.put(NODES, node("n1"))
    stage.api.put(PODS, pod("a"))
    await stage.api.until(lambda: where(stage, "a") == "n1")
    assert len(stage.api.asked("POST", "/binding")) == 3


async def test_other_schedulers_and_gated_pods_are_left_alone(stage: Stage) -> None:
    stage.api.put(NODES, node("n1"))
    stage.api.put(PODS, pod("other", schedulerName="mine"))
    stage.api.put(PODS, pod("gated", schedulingGates=[{"name": "wait"}]))
    stage.api.put(PODS, pod("a"))
    await stage.api.until(lambda: where(stage, "a") == "n1")
    assert where(stage, "other") == where(stage, "gated") == ""
    stage.api.edit(PODS, "gated", "default", spec={"schedulingGates": None})
    await stage.api.until(lambda: where(stage, "gated") == "n1")
