"""Evictions against disruption budgets, over a whole API server; the status is set as the controller would."""

from typing import Any

import pytest

from pybernetes.api.objects import Obj

from .conftest import Call

NS = "/api/v1/namespaces/default"
BUDGETS = "/apis/policy/v1/namespaces/default/poddisruptionbudgets"
MERGE = "application/merge-patch+json"
REFUSED = "Cannot evict pod as it would violate the pod's disruption budget."


async def running(call: Call, name: str = "p", *, ready: bool = True, phase: str = "Running") -> None:
    spec = {"containers": [{"name": "c", "image": "i"}], "nodeName": "n", "terminationGracePeriodSeconds": 5}
    await call("POST", f"{NS}/pods", {"metadata": {"name": name, "labels": {"app": "web"}}, "spec": spec})
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    await call("PATCH", f"{NS}/pods/{name}/status", {"status": {"phase": phase, "conditions": conditions}}, MERGE)


async def budget(call: Call, name: str = "b", *, observed: int = 1, spec: Obj | None = None, **status: Any) -> None:
    body = {"metadata": {"name": name}, "spec": {"selector": {"matchLabels": {"app": "web"}}} | (spec or {})}
    assert (await call("POST", BUDGETS, body))[0] == 201
    status = {
        "observedGeneration": observed,
        "disruptionsAllowed": 0,
        "currentHealthy": 1,
        "desiredHealthy": 2,
    } | status
    assert (await call("PATCH", f"{BUDGETS}/{name}/status", {"status": status}, MERGE))[0] == 200


async def evict(call: Call, name: str = "p", query: str = "") -> tuple[int, Obj]:
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": "default"}}
    answer: tuple[int, Obj] = await call("POST", f"{NS}/pods/{name}/eviction{query}", body)
    return answer


async def test_should_block_an_eviction_until_the_pdb_is_updated_to_allow_it(call: Call) -> None:
    await running(call)
    await budget(call)
    code, status = await evict(call)
    assert (code, status["reason"], status["message"]) == (429, "TooManyRequests", REFUSED)
    why = "The disruption budget b needs 2 healthy pods and has 1 currently"
    assert status["details"]["causes"] == [{"reason": "DisruptionBudget", "message": why}]
    await call("PATCH", f"{BUDGETS}/b/status", {"status": {"disruptionsAllowed": 1}}, MERGE)
    assert (await evict(call))[0] == 201
    _, pod = await call("GET", f"{NS}/pods/p")
    assert pod["metadata"]["deletionTimestamp"]
    target = next(one for one in pod["status"]["conditions"] if one["type"] == "DisruptionTarget")
    assert (target["reason"], target["message"]) == ("EvictionByEvictionAPI", "Eviction API: evicting")
    _, found = await call("GET", f"{BUDGETS}/b")
    assert found["status"]["disruptionsAllowed"] == 0
    assert list(found["status"]["disruptedPods"]) == ["p"]


async def test_a_budget_that_is_not_counted_yet_asks_for_patience(call: Call) -> None:
    await running(call)
    await budget(call, observed=0, disruptionsAllowed=1)
    code, status = await evict(call)
    assert (code, status["details"]["retryAfterSeconds"]) == (429, 10)
    assert call.headers["retry-after"] == "10"  # type: ignore[attr-defined]
    assert status["details"]["causes"][0]["message"].endswith("is still being processed by the server.")


async def test_two_budgets_are_one_too_many(call: Call) -> None:
    await running(call)
    for name in ("one", "two"):
        await budget(call, name, disruptionsAllowed=1)
    code, status = await evict(call)
    assert code == 500
    assert "more than one PodDisruptionBudget" in status["message"]


@pytest.mark.parametrize("phase", ["Pending", "Succeeded", "Failed"])
async def test_what_does_not_run_needs_no_budget(call: Call, phase: str) -> None:
    await running(call, phase=phase)
    await budget(call)
    assert (await evict(call))[0] == 201


async def test_unhealthy_pods_go_when_the_rest_is_enough_or_when_the_policy_says_so(call: Call) -> None:
    await running(call, "sick", ready=False)
    await budget(call)
    assert (await evict(call, "sick"))[0] == 429
    await call("PATCH", f"{BUDGETS}/b", {"spec": {"unhealthyPodEvictionPolicy": "AlwaysAllow"}}, MERGE)
    assert (await evict(call, "sick"))[0] == 201
    await running(call, "also", ready=False)
    await call("DELETE", f"{BUDGETS}/b")
    await budget(call, currentHealthy=2)
    assert (await evict(call, "also"))[0] == 201


async def test_a_dry_run_takes_nothing(call: Call) -> None:
    await running(call)
    await budget(call, disruptionsAllowed=1)
    assert (await evict(call, query="?dryRun=All"))[0] == 201
    assert (await call("GET", f"{BUDGETS}/b"))[1]["status"]["disruptionsAllowed"] == 1
    assert "deletionTimestamp" not in (await call("GET", f"{NS}/pods/p"))[1]["metadata"]
