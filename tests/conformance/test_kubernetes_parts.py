"""Kubernetes' own kube-controller-manager and kube-scheduler on our API server: they find nothing odd.

`make clients` builds them from Kubernetes' modules (Go is needed); `make test` does not. Nodes are of a fake kubelet,
so that no kernel is touched. Each controller writes as its own account, with the rights of the default roles.
"""

import asyncio
import base64
import contextlib
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from pybernetes.api import resources
from pybernetes.api.errors import NotFound
from pybernetes.api.objects import Key, Obj, condition_is, name_of
from pybernetes.client import Client, Informers, Kubeconfig, kubeconfig
from pybernetes.pki import Authority
from support.control_plane import FakeKubelet, until
from support.objects import node, template
from support.server import TlsApi, client_of, tls_api
from support.trust import REQUEST

BUILT = Path(__file__).resolve().parents[2] / ".clients/kubernetes"
POLICY = "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\nrules: [{level: Metadata}]\n"
WEB, NODES = Key("shop", "web"), ("n1", "n2", "n3")
PATIENCE_SECONDS = 60.0
RACES = (404, 409)
"""Codes that a controller expects: what it looks for is not there yet, or somebody else was first."""

pytestmark = [pytest.mark.clients, pytest.mark.timeout(240)]


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Client]:
    """An administrator's, of a server on which both run, with three nodes."""
    (tmp_path / "policy.yaml").write_text(POLICY)
    audit = tmp_path / "audit.log"
    fields = {"audit_policy_file": str(tmp_path / "policy.yaml"), "audit_log_path": str(audit)}
    async with tls_api(tmp_path, **fields) as api, contextlib.AsyncExitStack() as running:
        found = client_of(api.server)
        informers = Informers(found)
        for one in (informers, FakeKubelet(found, informers)):
            task = asyncio.create_task(one.run())
            running.callback(task.cancel)
        for name in NODES:
            await add_node(found, name)
        authority = Authority.ensure(api.authority)
        for part, flags in (("scheduler", ()), ("controller-manager", manager_flags(api, tmp_path))):
            config = kubeconfig_of(authority, api, part)
            await running.enter_async_context(process(part, config, *flags, log=tmp_path / f"{part}.log"))
        yield found
    assert refused(audit) == []
    assert {name: complaints(tmp_path / f"{name}.log") for name in ("scheduler", "controller-manager")} == {
        "scheduler": [],
        "controller-manager": [],
    }


def manager_flags(api: TlsApi, directory: Path) -> tuple[str, ...]:
    pki = api.authority
    return (
        "--use-service-account-credentials",
        f"--service-account-private-key-file={pki}/sa.key",
        f"--root-ca-file={pki}/ca.crt",
        f"--cluster-signing-cert-file={pki}/ca.crt",
        f"--cluster-signing-key-file={pki}/ca.key",
        "--allocate-node-cidrs",
        "--cluster-cidr=10.244.0.0/16",
        "--service-cluster-ip-range=10.96.0.0/16",
        "--node-monitor-grace-period=24h",  # the fake kubelet renews no lease
        f"--flex-volume-plugin-dir={directory}/flex",
    )


def kubeconfig_of(authority: Authority, api: TlsApi, part: str) -> str:
    pair = authority.issue(part, user=f"system:kube-{part}")
    ca, certificate, key = (Path(one).read_bytes() for one in (authority.certificate, pair.certificate, pair.key))
    path = api.authority / f"{part}.kubeconfig"
    kubeconfig.write(path, Kubeconfig(server=api.url, ca=ca, certificate=certificate, key=key))
    return str(path)


@contextlib.asynccontextmanager
async def process(part: str, config: str, *flags: str, log: Path) -> AsyncIterator[None]:
    """A part of Kubernetes while the context lasts; it serves nothing itself."""
    every = [f"--{kind}kubeconfig={config}" for kind in ("", "authentication-", "authorization-")]
    with log.open("wb") as out:
        started = await asyncio.create_subprocess_exec(
            str(BUILT / part), *every, "--secure-port=0", *flags, stdout=out, stderr=out
        )
        try:
            yield
        finally:
            started.terminate()
            try:
                await asyncio.wait_for(started.wait(), 10)
            except TimeoutError:
                started.kill()
                await started.wait()


def refused(audit: Path) -> list[tuple[Any, ...]]:
    """Requests of both that failed otherwise than by a race, or by a namespace on its way out."""
    found = []
    for line in audit.read_text().splitlines():
        event = json.loads(line)
        user, status = event["user"].get("username", ""), event.get("responseStatus") or {}
        code, message = status.get("code", 0), status.get("message", "")
        if not user.startswith(("system:kube-", "system:serviceaccount:kube-system:")):
            continue
        if code >= 400 and code not in RACES and "being terminated" not in message:
            found.append((user, event["verb"], event["requestURI"], code, message))
    return found


def complaints(log: Path) -> list[str]:
    """Errors that tell of an API that is not Kubernetes'."""
    telling = re.compile("forbidden|failed to (watch|list)|decod|unmarshal|no kind|requested resource", re.IGNORECASE)
    lines = log.read_text(errors="replace").splitlines()
    return [line for line in lines if line[:1] in "EF" and telling.search(line) and "being terminated" not in line]


async def add_node(client: Client, name: str) -> None:
    status = node(name)["status"]
    await client.create(resources.NODES, made(resources.NODES, name))
    await client.patch(resources.NODES, Key("", name), {"status": status}, subresource="status")


def made(row: resources.Resource, name: str, namespace: str = "shop", **fields: Any) -> Obj:
    metadata = {"name": name} | ({"namespace": namespace} if row.namespaced else {})
    return {"apiVersion": row.api_version, "kind": row.kind, "metadata": metadata, **fields}


def web(row: resources.Resource, name: str = "web", **spec: Any) -> Obj:
    return made(row, name, spec={"selector": {"matchLabels": {"app": "web"}}, "template": template(), **spec})


async def comes(holds: Callable[[], Awaitable[bool]]) -> None:
    await until(holds, PATIENCE_SECONDS)


def gone(client: Client, row: resources.Resource, key: Key) -> Callable[[], Awaitable[bool]]:
    async def look() -> bool:
        try:
            await client.get(row, key)
        except NotFound:
            return True
        return False

    return look


def counted(client: Client, row: resources.Resource, field: str, count: int, *, key: Key = WEB) -> Awaitable[None]:
    """Until the object's status counts so many, of the generation that is wanted."""

    async def look() -> bool:
        found = await client.get(row, key)
        status = found.get("status") or {}
        seen = status.get("observedGeneration", 0) == found["metadata"].get("generation", 0)
        return seen and status.get(field, 0) == count

    return comes(look)


async def ready(client: Client) -> int:
    slices = (await client.list(resources.ENDPOINT_SLICES, namespace="shop")).items
    return sum(bool(one["conditions"]["ready"]) for piece in slices for one in piece.get("endpoints") or ())


async def namespace(client: Client) -> None:
    await client.create(resources.NAMESPACES, made(resources.NAMESPACES, "shop"))
    for row, name in ((resources.SERVICE_ACCOUNTS, "default"), (resources.CONFIG_MAPS, "kube-root-ca.crt")):
        absent = gone(client, row, Key("shop", name))

        async def there(absent: Callable[[], Awaitable[bool]] = absent) -> bool:
            return not await absent()

        await comes(there)


async def test_workloads_are_made_scheduled_rolled_and_collected(client: Client) -> None:
    await namespace(client)
    hard = {"hard": {"pods": "20", "count/deployments.apps": "2"}}
    await client.create(resources.RESOURCE_QUOTAS, made(resources.RESOURCE_QUOTAS, "q", spec=hard))
    ports = [{"name": "http", "port": 80, "targetPort": 8080}]
    service = {"selector": {"app": "web"}, "ports": ports}
    await client.create(resources.SERVICES, made(resources.SERVICES, "web", spec=service))
    await client.create(resources.DEPLOYMENTS, web(resources.DEPLOYMENTS, replicas=3))
    await counted(client, resources.DEPLOYMENTS, "availableReplicas", 3)

    async def three() -> bool:
        return await ready(client) == 3

    await comes(three)
    pods = (await client.list(resources.PODS, namespace="shop")).items
    assert {pod["spec"]["nodeName"] for pod in pods} == set(NODES)
    await client.patch(resources.DEPLOYMENTS, WEB, {"spec": {"replicas": 5}}, subresource="scale")
    await counted(client, resources.DEPLOYMENTS, "availableReplicas", 5)
    again = {"spec": {"template": {"metadata": {"annotations": {"again": "1"}}}}}
    await client.patch(resources.DEPLOYMENTS, WEB, again, type="strategic")
    await counted(client, resources.DEPLOYMENTS, "updatedReplicas", 5)
    await counted(client, resources.DEPLOYMENTS, "replicas", 5)
    used = (await client.get(resources.RESOURCE_QUOTAS, Key("shop", "q")))["status"]["used"]
    assert used["count/deployments.apps"] == "1"
    await client.delete(resources.DEPLOYMENTS, WEB, propagation="Foreground")
    await comes(gone(client, resources.DEPLOYMENTS, WEB))
    assert (await client.list(resources.REPLICA_SETS, namespace="shop")).items == []
    await client.create(resources.STATEFUL_SETS, web(resources.STATEFUL_SETS, serviceName="web", replicas=2))
    await counted(client, resources.STATEFUL_SETS, "readyReplicas", 2)
    await client.create(resources.DAEMON_SETS, web(resources.DAEMON_SETS, "each"))
    await counted(client, resources.DAEMON_SETS, "numberReady", 3, key=Key("shop", "each"))
    await client.delete(resources.NAMESPACES, Key("", "shop"))
    await comes(gone(client, resources.NAMESPACES, Key("", "shop")))


async def test_jobs_devices_and_certificates(client: Client) -> None:
    await namespace(client)
    once = template("once")
    once["spec"]["restartPolicy"] = "Never"
    job = made(resources.JOBS, "once", spec={"template": once, "completions": 2, "completionMode": "Indexed"})
    await client.create(resources.JOBS, job)
    await comes(lambda: finished(client))
    await devices(client)
    spec = {"request": REQUEST, "signerName": "kubernetes.io/kube-apiserver-client", "usages": ["client auth"]}
    row = resources.CERTIFICATE_SIGNING_REQUESTS
    asked = await client.create(row, made(row, "me", spec=spec))
    asked["status"] = {"conditions": [{"type": "Approved", "status": "True", "reason": "Test", "message": "by a test"}]}
    await client.update(row, asked, subresource="approval")

    async def signed() -> bool:
        found = await client.get(row, Key("", "me"))
        return base64.b64decode(found["status"].get("certificate", "")).startswith(b"-----BEGIN CERTIFICATE-----")

    await comes(signed)


async def finished(client: Client) -> bool:
    """Whether the Job is; its pods are told to have succeeded as soon as they run."""
    for pod in (await client.list(resources.PODS, namespace="shop")).items:
        if (pod.get("status") or {}).get("phase") == "Running":
            key = Key("shop", name_of(pod))
            await client.patch(resources.PODS, key, {"status": {"phase": "Succeeded"}}, subresource="status")
    return condition_is(await client.get(resources.JOBS, Key("shop", "once")), "Complete")


async def devices(client: Client) -> None:
    """A claim made of a template is allocated, and its pod goes where the device is."""
    expression = "device.driver == 'gpu.example.com'"
    selectors = [{"cel": {"expression": expression}}]
    await client.create(resources.DEVICE_CLASSES, made(resources.DEVICE_CLASSES, "gpu", spec={"selectors": selectors}))
    pool = {"name": "n2", "generation": 1, "resourceSliceCount": 1}
    spec = {"driver": "gpu.example.com", "nodeName": "n2", "pool": pool, "devices": [{"name": "gpu-0"}]}
    await client.create(resources.RESOURCE_SLICES, made(resources.RESOURCE_SLICES, "n2-gpu", spec=spec))
    wanted = {"devices": {"requests": [{"name": "g", "exactly": {"deviceClassName": "gpu"}}]}}
    row = resources.RESOURCE_CLAIM_TEMPLATES
    await client.create(row, made(row, "one", spec={"spec": wanted}))
    pod = made(resources.PODS, "worker", spec=template("x")["spec"])
    pod["spec"]["resourceClaims"] = [{"name": "g", "resourceClaimTemplateName": "one"}]
    pod["spec"]["containers"][0]["resources"] = {"claims": [{"name": "g"}]}
    await client.create(resources.PODS, pod)

    async def bound() -> bool:
        return (await client.get(resources.PODS, Key("shop", "worker")))["spec"].get("nodeName") == "n2"

    await comes(bound)
    claims = (await client.list(resources.RESOURCE_CLAIMS, namespace="shop")).items
    assert [claim["status"]["allocation"]["devices"]["results"][0]["device"] for claim in claims] == ["gpu-0"]
