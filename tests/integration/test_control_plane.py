"""Controllers and scheduler as clients of a real API server in this process: defaults, validation and all."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial

import pytest

from pybernetes.api.errors import NotFound
from pybernetes.api.objects import Key, Obj, condition, condition_is, labels_of, name_of
from pybernetes.api.resources import (
    CLUSTER_ROLES,
    CONFIG_MAPS,
    CRON_JOBS,
    DAEMON_SETS,
    DEPLOYMENTS,
    ENDPOINT_SLICES,
    ENDPOINTS,
    EVENTS,
    HORIZONTAL_POD_AUTOSCALERS,
    JOBS,
    NAMESPACES,
    NODES,
    POD_DISRUPTION_BUDGETS,
    PODS,
    REPLICA_SETS,
    REPLICATION_CONTROLLERS,
    RESOURCE_QUOTAS,
    SERVICE_ACCOUNTS,
    SERVICES,
    STATEFUL_SETS,
    Resource,
)
from pybernetes.client import Client, Informers
from pybernetes.controllers import Controllers, ControllersConfig
from pybernetes.scheduler import Scheduler
from support.control_plane import FakeKubelet, until
from support.objects import node, template
from support.server import MANAGER, account_of, api_server, client_of

WEB = Key("default", "web")


@pytest.fixture
async def client(caplog: pytest.LogCaptureFixture) -> AsyncIterator[Client]:
    """A server with three nodes whose kubelets run everything at once. Each part has its own rights, and they do."""
    async with api_server() as server:
        found = client_of(server)
        informers = Informers(found)
        manager = client_of(server, MANAGER, "system:authenticated")
        scheduler = client_of(server, "system:kube-scheduler", "system:authenticated")
        config = ControllersConfig(root_ca="PEM", dns_address="10.96.0.10", node_config="x", server="https://x:6443")
        services = [
            FakeKubelet(found, informers),
            Controllers(manager, config, accounts=partial(account_of, server)),
            Scheduler(scheduler),
            informers,
        ]
        tasks = [asyncio.create_task(one.run()) for one in services]
        try:
            for name in ("n1", "n2", "n3"):
                await add_node(found, name)
            yield found
        finally:
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(result, asyncio.CancelledError) for result in results), results
        said = [one.getMessage() for phase in ("setup", "call") for one in caplog.get_records(phase)]
        assert [text for text in said if "orbidden" in text] == []


async def add_node(client: Client, name: str) -> None:
    wanted = fresh(node(name))
    status = wanted.pop("status") | {"addresses": [{"type": "InternalIP", "address": f"192.0.2.{name[1:]}"}]}
    await client.create(NODES, wanted)
    await client.patch(NODES, Key("", name), {"status": status}, subresource="status")


def fresh(obj: Obj) -> Obj:
    """As a user would write it."""
    for field in ("uid", "resourceVersion", "creationTimestamp"):
        obj["metadata"].pop(field, None)
    return obj


def job_template() -> Obj:
    found = template("often")
    found["spec"]["restartPolicy"] = "Never"
    return found


async def exists(client: Client, resource: Resource, namespace: str, name: str) -> bool:
    try:
        await client.get(resource, Key(namespace, name))
    except NotFound:
        return False
    return True


def manifest(resource: Resource, name: str, namespace: str = "default", **spec: object) -> Obj:
    meta = {"name": name} | ({"namespace": namespace} if namespace else {})
    return {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": meta, "spec": spec}


def web(resource: Resource, namespace: str = "default", **spec: object) -> Obj:
    return manifest(resource, "web", namespace, selector={"matchLabels": {"app": "web"}}, template=template(), **spec)


async def status(client: Client, resource: Resource, field: str, key: Key = WEB) -> object:
    return ((await client.get(resource, key)).get("status") or {}).get(field)


async def ready(client: Client, name: str = "web", namespace: str = "default") -> set[str]:
    """Ready addresses of a service."""
    slices = await client.list(ENDPOINT_SLICES, namespace=namespace, labels=f"kubernetes.io/service-name={name}")
    return {e["addresses"][0] for s in slices.items for e in s.get("endpoints") or () if e["conditions"]["ready"]}


def gone(client: Client, resource: Resource, key: Key) -> Callable[[], Awaitable[bool]]:
    async def look() -> bool:
        try:
            await client.get(resource, key)
        except NotFound:
            return True
        return False

    return look


async def test_a_service_from_manifest_to_endpoints_and_a_rollout(client: Client) -> None:
    ports = [{"name": "http", "port": 80, "targetPort": 8080}]
    await client.create(SERVICES, manifest(SERVICES, "web", selector={"app": "web"}, ports=ports))
    await client.create(DEPLOYMENTS, web(DEPLOYMENTS, replicas=3))

    async def serving(count: int) -> bool:
        return len(await ready(client)) == count

    await until(lambda: serving(3))
    pods = (await client.list(PODS, namespace="default")).items
    assert {one["spec"]["nodeName"] for one in pods} == {"n1", "n2", "n3"}
    endpoints = await client.get(ENDPOINTS, WEB)
    assert {a["ip"] for a in endpoints["subsets"][0]["addresses"]} == await ready(client)
    await client.patch(DEPLOYMENTS, WEB, {"spec": {"replicas": 5}}, subresource="scale")
    await until(lambda: serving(5))
    patch = {"spec": {"template": {"metadata": {"annotations": {"again": "1"}}}}}
    await client.patch(DEPLOYMENTS, WEB, patch, type="strategic")

    async def rolled() -> bool:
        deployment = await client.get(DEPLOYMENTS, WEB)
        found = deployment["status"]
        counts = [found.get(field) for field in ("updatedReplicas", "replicas", "availableReplicas")]
        return counts == [5, 5, 5] and found["observedGeneration"] == deployment["metadata"]["generation"]

    await until(rolled)
    await until(lambda: serving(5))
    progressing = condition(await client.get(DEPLOYMENTS, WEB), "Progressing")
    assert progressing is not None
    assert progressing["reason"] == "NewReplicaSetAvailable"
    sets = (await client.list(REPLICA_SETS, namespace="default")).items
    assert sorted(one["spec"]["replicas"] for one in sets) == [0, 5]

    async def told() -> bool:
        events = (await client.list(EVENTS, namespace="default", fields="involvedObject.kind=Deployment")).items
        return f"Scaled up replica set {name_of(sets[0])} from 0 to 3" in {event["message"] for event in events} or (
            f"Scaled up replica set {name_of(sets[1])} from 0 to 3" in {event["message"] for event in events}
        )

    await until(told)


async def test_a_named_port_that_no_pod_has_gives_no_backend(client: Client) -> None:
    ports = [{"name": "http", "port": 80, "targetPort": "nobody"}]
    await client.create(SERVICES, manifest(SERVICES, "web", selector={"app": "web"}, ports=ports))
    await client.create(DEPLOYMENTS, web(DEPLOYMENTS, replicas=1))

    async def running() -> bool:
        return await status(client, DEPLOYMENTS, "availableReplicas") == 1

    await until(running)
    slices = (await client.list(ENDPOINT_SLICES, labels="kubernetes.io/service-name=web")).items
    assert [one.get("ports") or [] for one in slices] == [[]]
    assert not (await client.get(ENDPOINTS, WEB)).get("subsets")


async def test_daemons_sets_and_jobs(client: Client) -> None:
    await client.create(DAEMON_SETS, web(DAEMON_SETS))
    await client.create(
        STATEFUL_SETS,
        web(STATEFUL_SETS, replicas=2, serviceName="web") | {"metadata": {"namespace": "default", "name": "db"}},
    )
    job = manifest(JOBS, "sum", completions=2, parallelism=2, template=template(restartPolicy="Never"))
    await client.create(JOBS, job)

    async def settled() -> bool:
        for one in (await client.list(PODS, namespace="default", labels="job-name=sum")).items:
            if one["status"]["phase"] == "Running":
                patch = {"status": {"phase": "Succeeded"}}
                await client.patch(PODS, Key("default", name_of(one)), patch, subresource="status")
        return (
            await status(client, DAEMON_SETS, "numberAvailable") == 3
            and await status(client, STATEFUL_SETS, "readyReplicas", Key("default", "db")) == 2
            and condition_is(await client.get(JOBS, Key("default", "sum")), "Complete")
        )

    await until(settled)
    names = {name_of(one) for one in (await client.list(PODS, namespace="default")).items}
    assert {"db-0", "db-1"} <= names


async def test_owned_things_go_with_their_owner(client: Client) -> None:
    await client.create(DEPLOYMENTS, web(DEPLOYMENTS, replicas=2))

    async def running() -> bool:
        return await status(client, DEPLOYMENTS, "availableReplicas") == 2

    await until(running)
    await client.delete(DEPLOYMENTS, WEB, propagation="Foreground")
    await until(gone(client, DEPLOYMENTS, WEB))

    async def empty() -> bool:
        return not (await client.list(PODS, namespace="default")).items

    await until(empty)
    assert not (await client.list(REPLICA_SETS, namespace="default")).items


async def test_the_life_of_a_namespace(client: Client) -> None:
    await client.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "tmp"}})

    async def furnished() -> bool:
        try:
            await client.get(SERVICE_ACCOUNTS, Key("tmp", "default"))
            return (await client.get(CONFIG_MAPS, Key("tmp", "kube-root-ca.crt")))["data"] == {"ca.crt": "PEM"}
        except NotFound:
            return False

    await until(furnished)
    await client.create(DEPLOYMENTS, web(DEPLOYMENTS, "tmp", replicas=2))

    async def running() -> bool:
        return await status(client, DEPLOYMENTS, "availableReplicas", Key("tmp", "web")) == 2

    await until(running)
    await client.delete(NAMESPACES, Key("", "tmp"))
    await until(gone(client, NAMESPACES, Key("", "tmp")))
    assert not (await client.list(PODS, namespace="tmp")).items


async def test_the_cluster_dns_has_a_service_with_the_nodes_behind_it(client: Client) -> None:
    async def there() -> bool:
        return await ready(client, "kube-dns", "kube-system") == {"192.0.2.1", "192.0.2.2", "192.0.2.3"}

    await until(there)
    service = await client.get(SERVICES, Key("kube-system", "kube-dns"))
    assert service["spec"]["clusterIP"] == "10.96.0.10"
    assert labels_of(service)["k8s-app"] == "kube-dns"


async def test_the_rest_of_the_controllers_do_their_work_with_their_own_rights(client: Client) -> None:
    """Replication controllers, budgets, quotas, schedules, aggregated roles, tokens and lost nodes."""
    selector = {"app": "old"}
    await client.create(
        REPLICATION_CONTROLLERS, manifest(REPLICATION_CONTROLLERS, "old", replicas=2, template=template("old"))
    )
    budget = {"minAvailable": 1, "selector": {"matchLabels": selector}}
    await client.create(POD_DISRUPTION_BUDGETS, manifest(POD_DISRUPTION_BUDGETS, "old", **budget))
    await client.create(RESOURCE_QUOTAS, manifest(RESOURCE_QUOTAS, "all", hard={"pods": "10"}))
    every_minute = {"schedule": "* * * * *", "jobTemplate": {"spec": {"template": job_template()}}}
    await client.create(CRON_JOBS, manifest(CRON_JOBS, "often", **every_minute))
    target = {"apiVersion": "v1", "kind": "ReplicationController", "name": "old"}
    scaler = {"scaleTargetRef": target, "minReplicas": 3, "maxReplicas": 5}
    await client.create(HORIZONTAL_POD_AUTOSCALERS, manifest(HORIZONTAL_POD_AUTOSCALERS, "old", **scaler))

    async def status(resource: Resource, name: str) -> Obj:
        found: Obj = (await client.get(resource, Key("default", name))).get("status") or {}
        return found

    async def settled() -> bool:
        quota = await status(RESOURCE_QUOTAS, "all")
        disrupted = await status(POD_DISRUPTION_BUDGETS, "old")
        replicas = await status(REPLICATION_CONTROLLERS, "old")
        return (
            replicas.get("readyReplicas") == 3
            and disrupted.get("disruptionsAllowed") == 2
            and (quota.get("used") or {}).get("pods") == "3"
        )

    await until(settled)


async def test_rights_that_are_aggregated_and_tokens_in_secrets(client: Client) -> None:
    label = {"rbac.authorization.k8s.io/aggregate-to-view": "true"}
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": "see-widgets", "labels": label},
        "rules": [{"apiGroups": ["example.com"], "resources": ["widgets"], "verbs": ["get"]}],
    }
    await client.create(CLUSTER_ROLES, role)

    async def aggregated() -> bool:
        found = [await client.get(CLUSTER_ROLES, Key("", name)) for name in ("view", "edit", "admin")]
        return all(role["rules"][0] in one["rules"] for one in found)

    await until(aggregated)
    for namespace, name in (("kube-system", "pybernetes-node"), ("kube-public", "cluster-info")):
        await until(lambda n=namespace, m=name: exists(client, CONFIG_MAPS, n, m))


async def test_pods_of_a_node_that_is_tainted_or_gone(client: Client) -> None:
    await client.create(REPLICATION_CONTROLLERS, manifest(REPLICATION_CONTROLLERS, "old", template=template("old")))

    async def nodes_of() -> list[str]:
        pods = [one for one in (await client.list(PODS)).items if "deletionTimestamp" not in one["metadata"]]
        return [name for one in pods if (name := one["spec"].get("nodeName"))]

    async def bound() -> bool:
        return len(await nodes_of()) == 1

    await until(bound)
    (first,) = await nodes_of()
    taint = {"key": "gone", "effect": "NoExecute"}
    await client.patch(NODES, Key("", first), {"spec": {"taints": [taint]}})

    async def moved() -> bool:
        found = await nodes_of()
        return len(found) == 1 and found != [first]

    await until(moved)
