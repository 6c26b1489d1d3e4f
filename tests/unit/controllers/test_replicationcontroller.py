"""ReplicationControllers over the real API, by the names of the conformance suite of sig apps."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from pybernetes.api.objects import Key, Obj, condition, controller_of, name_of
from pybernetes.api.resources import NODES, PODS, REPLICATION_CONTROLLERS, RESOURCE_QUOTAS, SERVICE_ACCOUNTS
from pybernetes.client import Client, Informers
from pybernetes.controllers import CONTROLLERS, ControllersConfig
from pybernetes.controllers.replicationcontroller import ReplicationControllerController
from pybernetes.controllers.shared import Shared
from pybernetes.scheduler import Scheduler
from support.control_plane import FakeKubelet, until
from support.fake_api import FakeApi
from support.objects import node, pod, template
from support.server import MANAGER, api_server, client_of, shared_of

RC = Key("default", "rc")


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with api_server() as server:
        admin = client_of(server)
        account = {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": "default", "namespace": "default"},
        }
        await admin.create(SERVICE_ACCOUNTS, account)
        machine = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}}
        await admin.create(NODES, machine)
        await admin.patch(NODES, Key("", "n1"), {"status": node("n1")["status"]}, subresource="status")
        seen, informers = Informers(admin), Informers(client_of(server, MANAGER, "system:authenticated"))
        shared = shared_of(server, informers, ControllersConfig())
        names = ("replicationcontroller", "resourcequota", "garbage-collector")
        made = [one for name in names if (one := CONTROLLERS[name].made(shared)) is not None]
        services: list[Any] = [informers, seen, FakeKubelet(admin, seen), Scheduler(admin), *made]
        tasks = [asyncio.create_task(one.run()) for one in (*services, *shared.recorders.values())]
        try:
            yield admin
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def controller(**spec: Any) -> Obj:
    return {
        "apiVersion": "v1",
        "kind": "ReplicationController",
        "metadata": {"name": "rc", "namespace": "default"},
        "spec": {"replicas": 1, "selector": {"app": "rc"}, "template": template("rc")} | spec,
    }


async def pods(client: Client) -> list[Obj]:
    return (await client.list(PODS, namespace="default")).items


async def replicas(client: Client, count: int, field: str = "readyReplicas") -> None:
    async def there() -> bool:
        status = (await client.get(REPLICATION_CONTROLLERS, RC)).get("status") or {}
        return int(status.get(field, 0)) == count

    await until(there)


async def test_should_adopt_matching_pods_on_creation(client: Client) -> None:
    orphan = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "orphan", "namespace": "default", "labels": {"app": "rc"}},
        "spec": template("rc")["spec"],
    }
    await client.create(PODS, orphan)
    await client.create(REPLICATION_CONTROLLERS, controller())
    await replicas(client, 1)
    (found,) = await pods(client)
    owner = controller_of(found)
    assert owner is not None
    assert (name_of(found), owner["kind"], owner["name"]) == ("orphan", "ReplicationController", "rc")


async def test_should_get_and_update_a_replicationcontroller_scale(client: Client) -> None:
    await client.create(REPLICATION_CONTROLLERS, controller())
    await replicas(client, 1)
    scale = await client.get(REPLICATION_CONTROLLERS, RC, subresource="scale")
    assert (scale["kind"], scale["spec"]["replicas"]) == ("Scale", 1)
    scale["spec"]["replicas"] = 3
    await client.update(REPLICATION_CONTROLLERS, scale, subresource="scale")
    await replicas(client, 3)
    assert (await client.get(REPLICATION_CONTROLLERS, RC, subresource="scale"))["status"]["replicas"] == 3


async def test_should_release_no_longer_matching_pods(client: Client) -> None:
    await client.create(REPLICATION_CONTROLLERS, controller())
    await replicas(client, 1)
    (first,) = await pods(client)
    await client.patch(PODS, Key("default", name_of(first)), {"metadata": {"labels": {"app": "free"}}})

    async def released() -> bool:
        freed = await client.get(PODS, Key("default", name_of(first)))
        return controller_of(freed) is None and len(await pods(client)) == 2

    await until(released)


async def test_should_surface_a_failure_condition_on_a_common_issue_like_exceeded_quota(client: Client) -> None:
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "q", "namespace": "default"},
        "spec": {"hard": {"pods": "2"}},
    }
    await client.create(RESOURCE_QUOTAS, quota)

    async def counted() -> bool:
        return bool(((await client.get(RESOURCE_QUOTAS, Key("default", "q"))).get("status") or {}).get("hard"))

    await until(counted)
    await client.create(REPLICATION_CONTROLLERS, controller(replicas=3))

    async def told() -> bool:
        return condition(await client.get(REPLICATION_CONTROLLERS, RC), "ReplicaFailure") is not None

    await until(told)
    failure = condition(await client.get(REPLICATION_CONTROLLERS, RC), "ReplicaFailure")
    assert failure is not None
    assert (failure["reason"], "exceeded quota" in failure["message"]) == ("FailedCreate", True)
    await client.patch(REPLICATION_CONTROLLERS, RC, {"spec": {"replicas": 2}})

    async def cleared() -> bool:
        return not await told()

    await until(cleared)
    await replicas(client, 2)


async def test_lifecycle_of_a_replicationcontroller(client: Client) -> None:
    made = await client.create(REPLICATION_CONTROLLERS, controller())
    await replicas(client, 1)
    found = await client.get(REPLICATION_CONTROLLERS, RC)
    assert found["status"] == {
        "replicas": 1,
        "fullyLabeledReplicas": 1,
        "readyReplicas": 1,
        "availableReplicas": 1,
        "observedGeneration": made["metadata"]["generation"],
    }
    none = {"readyReplicas": 0, "availableReplicas": 0}
    await client.patch(REPLICATION_CONTROLLERS, RC, {"status": none}, subresource="status")
    await replicas(client, 1)  # the controller's word holds
    await client.delete_collection(
        REPLICATION_CONTROLLERS, namespace="default", labels="app=rc", propagation="Background"
    )

    async def gone() -> bool:
        return not (await client.list(REPLICATION_CONTROLLERS)).items and not await pods(client)

    await until(gone)


def test_no_selector_is_no_pods() -> None:
    api = Client(FakeApi())
    made = ReplicationControllerController(Shared(api, Informers(api), ControllersConfig()))
    old = controller()
    assert made.selector(old).matches_object(pod("a", labels={"app": "rc", "b": "c"}))
    assert not made.selector(old).matches_object(pod("a", labels={"app": "other"}))
    del old["spec"]["selector"]
    assert not made.selector(old).matches_object(pod("a"))
