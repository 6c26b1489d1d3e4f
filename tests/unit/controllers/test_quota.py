"""ResourceQuota: counted when it is made, when what it counts goes or ends, and against the API itself."""

from typing import Any

from pybernetes.api.objects import Key, Obj
from pybernetes.api.resources import CONFIG_MAPS, PODS, RESOURCE_QUOTAS
from pybernetes.controllers.quota import COUNTABLE, RESYNC_SECONDS, ResourceQuotaController, rows_of
from support.control_plane import Stage
from support.objects import meta, pod


def quota(hard: Obj, **spec: Any) -> Obj:
    return {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": meta("q", "default"),
        "spec": {"hard": hard} | spec,
    }


def used(stage: Stage) -> Obj:
    found: Obj = (stage.api.one(RESOURCE_QUOTAS, "q", "default").get("status") or {}).get("used") or {}
    return found


def test_only_what_a_quota_names_is_looked_at() -> None:
    hard = {"pods": "1", "requests.storage": "1Gi", "count/deployments.apps": "1", "count/odd.example.com": "1"}
    assert [row.plural for row in rows_of(quota(hard), COUNTABLE)] == [
        "persistentvolumeclaims",
        "pods",
        "deployments",
    ]


async def test_should_capture_the_life_of_a_pod() -> None:
    stage = Stage()
    controller = ResourceQuotaController(stage.shared)
    stage.api.put(PODS, pod("a", requests={"cpu": "500m"}))
    stage.api.put(PODS, pod("b", requests={"cpu": "1"}))
    stage.api.put(PODS, pod("done", phase="Succeeded", requests={"cpu": "9"}))
    stage.api.put(PODS, pod("elsewhere", namespace="other"))
    stage.api.put(RESOURCE_QUOTAS, quota({"pods": "5", "requests.cpu": "3", "count/pods": "9"}))
    async with stage.running(controller) as api:
        await api.until(lambda: used(stage) == {"pods": "2", "requests.cpu": "1500m", "count/pods": "3"})
        assert api.one(RESOURCE_QUOTAS, "q", "default")["status"]["hard"]["pods"] == "5"
        api.drop(PODS, "a", "default")
        await api.until(lambda: used(stage) == {"pods": "1", "requests.cpu": "1", "count/pods": "2"})
        api.edit(PODS, "b", "default", status={"phase": "Failed"})
        await api.until(lambda: used(stage) == {"pods": "0", "requests.cpu": "0", "count/pods": "2"})


async def test_should_verify_resource_quota_with_best_effort_scope() -> None:
    stage = Stage()
    controller = ResourceQuotaController(stage.shared)
    stage.api.put(PODS, pod("firm", requests={"cpu": "1"}))
    stage.api.put(PODS, pod("loose"))
    stage.api.put(RESOURCE_QUOTAS, quota({"pods": "5"}, scopes=["BestEffort"]))
    async with stage.running(controller) as api:
        await api.until(lambda: used(stage) == {"pods": "1"})


async def test_should_be_able_to_update_a_quota_and_count_what_is_new_in_it() -> None:
    stage = Stage()
    controller = ResourceQuotaController(stage.shared)
    stage.api.put(CONFIG_MAPS, {"metadata": {"name": "m", "namespace": "default"}})
    stage.api.put(RESOURCE_QUOTAS, quota({"pods": "5"}))
    async with stage.running(controller) as api:
        await api.until(lambda: used(stage) == {"pods": "0"})
        api.edit(RESOURCE_QUOTAS, "q", "default", spec={"hard": {"configmaps": "2"}})
        await api.until(lambda: used(stage) == {"pods": "0", "configmaps": "1"})


async def test_a_count_that_says_the_same_writes_nothing() -> None:
    stage = Stage()
    controller = ResourceQuotaController(stage.shared)
    stage.api.put(RESOURCE_QUOTAS, quota({"pods": "5"}))
    async with stage.running(controller) as api:
        await api.until(lambda: used(stage) == {"pods": "0"})
        revision = api.revision
        again = await controller.reconcile(Key("default", "q"))
        assert (api.revision, again and again.after) == (revision, RESYNC_SECONDS)
