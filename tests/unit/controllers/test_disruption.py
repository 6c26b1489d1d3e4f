"""PodDisruptionBudgets: what may be disrupted, counted from pods and from what their controllers want."""

from typing import Any

import pytest

from pybernetes.api import times
from pybernetes.api.objects import Obj, condition, owner_reference
from pybernetes.api.resources import POD_DISRUPTION_BUDGETS, PODS
from pybernetes.controllers.disruption import (
    DELETION_SECONDS,
    DisruptionController,
    Expected,
    disrupted,
    expected,
    failed,
    status_of,
)
from support.control_plane import Stage
from support.objects import BORN, meta, pod

NOW = times.parse(BORN)
LABELS = {"app": "web"}


def budget(status: Obj | None = None, **spec: Any) -> Obj:
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": meta("b", "default", generation=1),
        "spec": {"selector": {"matchLabels": LABELS}} | spec,
        "status": status or {},
    }


@pytest.mark.parametrize(
    ("spec", "pods", "healthy"),
    [
        ({"minAvailable": 2}, 3, 2),
        ({"minAvailable": 0}, 3, 0),
        ({}, 3, 1),
        ({"minAvailable": "50%"}, 10, 5),
        ({"minAvailable": "51%"}, 10, 6),
        ({"maxUnavailable": 1}, 10, 9),
        ({"maxUnavailable": "25%"}, 10, 7),
        ({"maxUnavailable": 20}, 10, 0),
    ],
)
def test_how_many_should_be_there(spec: Obj, pods: int, healthy: int) -> None:
    assert expected(budget(**spec), scale=10, matching=3) == Expected(pods=pods, healthy=healthy)


def test_ready_pods_that_nobody_is_taking_are_healthy() -> None:
    pods = [pod("a", ready=True), pod("b", ready=True), pod("c"), pod("d", ready=True)]
    found = status_of(budget(), pods, Expected(pods=4, healthy=1), evicted={"d": BORN}, now=NOW)
    assert (found["currentHealthy"], found["disruptionsAllowed"], found["observedGeneration"]) == (2, 1, 1)
    told = condition({"status": found}, "DisruptionAllowed")
    assert told is not None
    assert (told["status"], told["reason"], told["observedGeneration"]) == ("True", "SufficientPods", 1)
    none = status_of(budget(), pods, Expected(pods=4, healthy=2), evicted={"d": BORN}, now=NOW)
    assert none["disruptionsAllowed"] == 0
    assert none["conditions"][0]["reason"] == "InsufficientPods"


def test_an_eviction_is_remembered_until_the_pod_goes_or_stays_too_long() -> None:
    one = budget({"disruptedPods": {"a": BORN, "gone": BORN}})
    assert disrupted(one, [pod("a")], now=NOW + 1) == ({"a": BORN}, [])
    assert disrupted(one, [pod("a")], now=NOW + DELETION_SECONDS) == ({}, ["a"])


def test_what_cannot_be_counted_may_not_be_disrupted() -> None:
    found = failed(budget({"disruptionsAllowed": 3, "currentHealthy": 2}), "no scale", now=NOW)
    assert (found["disruptionsAllowed"], found["currentHealthy"]) == (0, 2)
    assert found["conditions"][0]["reason"] == "SyncFailed"


async def test_should_observe_pod_disruption_budget_status_updated() -> None:
    stage = Stage()
    controller = DisruptionController(stage.shared)
    for name in ("a", "b", "c"):
        stage.api.put(PODS, pod(name, labels=LABELS, ready=True))
    stage.api.put(POD_DISRUPTION_BUDGETS, budget(minAvailable=2))

    def allowed() -> int:
        found = stage.api.one(POD_DISRUPTION_BUDGETS, "b", "default")["status"].get("disruptionsAllowed", -1)
        return int(found)

    async with stage.running(controller) as api:
        await api.until(lambda: allowed() == 1)
        api.drop(PODS, "a", "default")
        await api.until(lambda: allowed() == 0)
        api.put(PODS, pod("d", labels=LABELS, ready=True))
        await api.until(lambda: allowed() == 1)


async def test_an_owner_without_a_scale_is_told() -> None:
    stage = Stage()
    controller = DisruptionController(stage.shared)
    owner: Obj = {"apiVersion": "batch/v1", "kind": "Job", "metadata": meta("j", "default")}
    one = pod("a", labels=LABELS, ready=True)
    one["metadata"]["ownerReferences"] = [owner_reference(owner)]
    stage.api.put(PODS, one)
    stage.api.put(POD_DISRUPTION_BUDGETS, budget(maxUnavailable=1))
    async with stage.running(controller) as api:
        await api.until(lambda: bool(api.one(POD_DISRUPTION_BUDGETS, "b", "default")["status"].get("conditions")))
        (told,) = api.one(POD_DISRUPTION_BUDGETS, "b", "default")["status"]["conditions"]
        assert told["message"] == "jobs.batch does not implement the scale subresource"
        await api.until(lambda: "CalculateExpectedPodCountFailed" in [reason for reason, _ in stage.events])
