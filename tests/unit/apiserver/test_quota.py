"""ResourceQuota admission against a whole API server. Status is set by hand, as the controller would."""

import asyncio
from typing import Any

import pytest

from pybernetes.api.objects import Obj

from .conftest import Call

NS = "/api/v1/namespaces/default"
QUOTAS = f"{NS}/resourcequotas"


async def quota(call: Call, hard: Obj, name: str = "q", used: Obj | None = None, **spec: Any) -> None:
    """A quota whose status is known."""
    code, answer = await call("POST", QUOTAS, {"metadata": {"name": name}, "spec": {"hard": hard} | spec})
    assert code == 201, answer
    status = {"hard": hard, "used": dict.fromkeys(hard, "0") | (used or {})}
    merge = "application/merge-patch+json"
    code, answer = await call("PATCH", f"{QUOTAS}/{name}/status", {"status": status}, merge)
    assert code == 200, answer


async def used(call: Call, name: str = "q") -> Obj:
    found: Obj = (await call("GET", f"{QUOTAS}/{name}"))[1]["status"]["used"]
    return found


def pod(name: str = "p", **more: Any) -> Obj:
    resources = more.pop("resources", {})
    spec = {"containers": [{"name": "c", "image": "i", "resources": resources}]} | more
    return {"metadata": {"name": name}, "spec": spec}


async def test_what_is_used_is_charged_and_what_is_too_much_is_refused(call: Call) -> None:
    await quota(call, {"pods": "2", "requests.cpu": "1", "limits.memory": "1Gi", "count/pods": "5"})
    resources = {"requests": {"cpu": "600m"}, "limits": {"cpu": "1", "memory": "256Mi"}}
    assert (await call("POST", f"{NS}/pods", pod("a", resources=resources)))[0] == 201
    assert await used(call) == {"pods": "1", "requests.cpu": "600m", "limits.memory": "256Mi", "count/pods": "1"}
    code, status = await call("POST", f"{NS}/pods", pod("b", resources=resources))
    assert (code, status["reason"]) == (403, "Forbidden")
    assert status["message"] == (
        'pods "b" is forbidden: exceeded quota: q, requested: requests.cpu=600m, used: requests.cpu=600m, '
        "limited: requests.cpu=1"
    )
    assert (await used(call))["pods"] == "1"


async def test_a_quota_on_cpu_demands_that_pods_say_theirs(call: Call) -> None:
    await quota(call, {"cpu": "1", "limits.memory": "1Gi"})
    code, status = await call("POST", f"{NS}/pods", pod())
    assert code == 403
    assert status["message"] == (
        'pods "p" is forbidden: failed quota: q: must specify cpu for: c; limits.memory for: c'
    )


async def test_a_quota_that_nobody_has_counted_yet_lets_nothing_in(call: Call) -> None:
    body = {"metadata": {"name": "new"}, "spec": {"hard": {"configmaps": "1"}}}
    await call("POST", QUOTAS, body)
    merge = "application/merge-patch+json"
    await call("PATCH", f"{QUOTAS}/new/status", {"status": {"hard": {"configmaps": "1"}}}, merge)
    code, status = await call("POST", f"{NS}/configmaps", {"metadata": {"name": "m"}})
    assert code == 403
    assert status["message"] == ('configmaps "m" is forbidden: status unknown for quota: new, resources: configmaps')


@pytest.mark.parametrize(
    ("hard", "path", "body"),
    [
        ("configmaps", f"{NS}/configmaps", {}),
        ("count/secrets", f"{NS}/secrets", {}),
        ("persistentvolumeclaims", f"{NS}/persistentvolumeclaims", None),
        ("count/replicasets.apps", "/apis/apps/v1/namespaces/default/replicasets", "set"),
        ("count/leases.coordination.k8s.io", "/apis/coordination.k8s.io/v1/namespaces/default/leases", {}),
    ],
)
async def test_objects_of_any_kind_are_counted(call: Call, hard: str, path: str, body: Any) -> None:
    await quota(call, {hard: "1"})
    if body is None:
        spec: Obj = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
        body = {"spec": spec}
    elif body == "set":
        template = {"metadata": {"labels": {"a": "b"}}, "spec": pod()["spec"]}
        body = {"spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template}}
    assert (await call("POST", path, body | {"metadata": {"name": "one"}}))[0] == 201
    assert await used(call) == {hard: "1"}
    code, status = await call("POST", path, body | {"metadata": {"name": "two"}})
    assert code == 403
    assert f"exceeded quota: q, requested: {hard}=1, used: {hard}=1, limited: {hard}=1" in status["message"]


async def test_services_are_counted_by_what_they_cost_also_when_they_change(call: Call) -> None:
    await quota(call, {"services": "5", "services.nodeports": "1", "services.loadbalancers": "0"})
    spec: Obj = {"ports": [{"port": 80}], "selector": {"a": "b"}}
    _, made = await call("POST", f"{NS}/services", {"metadata": {"name": "s"}, "spec": spec})
    assert (await used(call))["services.nodeports"] == "0"
    made["spec"]["type"] = "NodePort"
    assert (await call("PUT", f"{NS}/services/s", made))[0] == 200
    assert await used(call) == {"services": "1", "services.nodeports": "1", "services.loadbalancers": "0"}
    balanced = {"metadata": {"name": "l"}, "spec": spec | {"type": "LoadBalancer"}}
    code, status = await call("POST", f"{NS}/services", balanced)
    assert code == 403
    assert "requested: services.loadbalancers=1,services.nodeports=1" in status["message"]


async def test_storage_is_counted_by_class(call: Call) -> None:
    gold = "gold.storageclass.storage.k8s.io/requests.storage"
    await quota(call, {"requests.storage": "10Gi", gold: "2Gi"})

    def claim(name: str, of: str) -> Obj:
        spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "2Gi"}}}
        return {"metadata": {"name": name}, "spec": spec | {"storageClassName": of}}

    claims = f"{NS}/persistentvolumeclaims"
    assert (await call("POST", claims, claim("a", "gold")))[0] == 201
    assert (await call("POST", claims, claim("b", "gold")))[0] == 403
    assert (await call("POST", claims, claim("c", "iron")))[0] == 201
    assert await used(call) == {"requests.storage": "4Gi", gold: "2Gi"}


async def test_scopes_choose_the_pods(call: Call) -> None:
    await quota(call, {"pods": "1"}, "best", scopes=["BestEffort"])
    await quota(call, {"pods": "1"}, "ending", scopes=["Terminating"])
    await quota(call, {"pods": "1"}, "rest", scopes=["NotTerminating"])
    assert (await call("POST", f"{NS}/pods", pod("a")))[0] == 201
    assert [(await used(call, name))["pods"] for name in ("best", "ending", "rest")] == ["1", "0", "1"]
    firm = {"requests": {"cpu": "1m"}}
    assert (await call("POST", f"{NS}/pods", pod("b", resources=firm, activeDeadlineSeconds=5)))[0] == 201
    assert [(await used(call, name))["pods"] for name in ("best", "ending", "rest")] == ["1", "1", "1"]


async def test_a_scope_selector_names_priority_classes(call: Call) -> None:
    await call("POST", "/apis/scheduling.k8s.io/v1/priorityclasses", {"metadata": {"name": "high"}, "value": 5})
    term = {"scopeName": "PriorityClass", "operator": "In", "values": ["high"]}
    await quota(call, {"pods": "1"}, scopeSelector={"matchExpressions": [term]})
    assert (await call("POST", f"{NS}/pods", pod("low")))[0] == 201
    assert (await call("POST", f"{NS}/pods", pod("a", priorityClassName="high")))[0] == 201
    assert (await call("POST", f"{NS}/pods", pod("b", priorityClassName="high")))[0] == 403


async def test_init_containers_and_overhead_count_as_they_do_for_the_scheduler(call: Call) -> None:
    await quota(call, {"requests.cpu": "10"})
    asks = {"requests": {"cpu": "2"}}
    inits = [
        {"name": "i", "image": "i", "resources": {"requests": {"cpu": "3"}}},
        {"name": "s", "image": "i", "restartPolicy": "Always", "resources": {"requests": {"cpu": "500m"}}},
    ]
    assert (await call("POST", f"{NS}/pods", pod(resources=asks, initContainers=inits)))[0] == 201
    assert await used(call) == {"requests.cpu": "3"}


async def test_many_at_once_never_get_more_than_there_is(call: Call) -> None:
    await quota(call, {"configmaps": "7"})
    answers = await asyncio.gather(
        *(call("POST", f"{NS}/configmaps", {"metadata": {"name": f"m{n}"}}) for n in range(40))
    )
    assert sorted(code for code, _ in answers) == [201] * 7 + [403] * 33
    assert await used(call) == {"configmaps": "7"}
    _, found = await call("GET", f"{NS}/configmaps")
    assert len(found["items"]) == 7


async def test_a_dry_run_is_checked_and_not_charged(call: Call) -> None:
    await quota(call, {"configmaps": "1"})
    assert (await call("POST", f"{NS}/configmaps?dryRun=All", {"metadata": {"name": "m"}}))[0] == 201
    assert await used(call) == {"configmaps": "0"}
    assert (await call("POST", f"{NS}/configmaps", {"metadata": {"name": "m"}}))[0] == 201
    assert (await call("POST", f"{NS}/configmaps?dryRun=All", {"metadata": {"name": "n"}}))[0] == 403
