"""kubernetes_asyncio, lightkube and kr8s do what their users do all day; kopf runs an operator."""

import contextlib
import json
import subprocess
import sys
import time
from pathlib import Path

import kr8s.asyncio
import lightkube
import pytest
from kr8s.asyncio.objects import ConfigMap as Kr8sConfigMap
from kr8s.asyncio.objects import Pod as Kr8sPod
from kubernetes_asyncio import client as kasync
from kubernetes_asyncio import config as kconfig
from kubernetes_asyncio import watch as kwatch
from kubernetes_asyncio.stream import WsApiClient
from lightkube.core.exceptions import ApiError
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import ConfigMap
from lightkube.types import PatchType

from support.control_plane import until as eventually

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(600)]

SLEEPER = "sleeper"
OPERATOR = """
import kopf

@kopf.on.create("v1", "configmaps", labels={"operated": "yes"})
@kopf.on.update("v1", "configmaps", labels={"operated": "yes"}, field="data")
def seen(body, patch, **_):
    patch.setdefault("metadata", {}).setdefault("annotations", {})["seen"] = body.get("data", {}).get("x", "")

@kopf.on.delete("v1", "configmaps", labels={"operated": "yes"})
def gone(name, logger, **_):
    logger.info("gone name=%s", name)
"""


@pytest.fixture(scope="module")
def kubeconfig(cluster):
    return cluster.environment["KUBECONFIG"]


@pytest.fixture(scope="module")
def sleeper(cluster, namespace):
    container = {"name": "main", "image": "host", "command": ["sleep", "3600"]}
    spec = {"terminationGracePeriodSeconds": 1, "containers": [container]}
    text = json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": SLEEPER}, "spec": spec})
    cluster.kubectl("apply", "-n", namespace, "-f", "-", text=text)
    cluster.kubectl("wait", "--for=condition=Ready", f"pod/{SLEEPER}", "-n", namespace, "--timeout=100s")
    return SLEEPER


def sockets():
    """The sockets of this process, by inode."""
    found = set()
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            if (target := str(descriptor.readlink())).startswith("socket:"):
                found.add(target)
    return found


async def test_kubernetes_asyncio(kubeconfig, namespace, sleeper):
    before = sockets()
    await kconfig.load_kube_config(kubeconfig)
    async with kasync.ApiClient() as api:
        core = kasync.CoreV1Api(api)
        made = await core.create_namespaced_config_map(
            namespace, kasync.V1ConfigMap(metadata=kasync.V1ObjectMeta(name="ka", labels={"by": "ka"}), data={"x": "1"})
        )
        listed = await core.list_namespaced_config_map(namespace, label_selector="by=ka", limit=1)
        assert [one.metadata.uid for one in listed.items] == [made.metadata.uid]
        seen = []
        watching = kwatch.Watch()
        version = made.metadata.resource_version
        changes = watching.stream(
            core.list_namespaced_config_map, namespace, resource_version=version, label_selector="by=ka"
        )
        await core.patch_namespaced_config_map("ka", namespace, {"data": {"x": "2"}})
        await core.delete_namespaced_config_map("ka", namespace)
        async for event in changes:
            seen.append((event["type"], event["object"].data))
            if event["type"] == "DELETED":
                watching.stop()
        assert seen == [("MODIFIED", {"x": "2"}), ("DELETED", {"x": "2"})]
        with pytest.raises(kasync.ApiException) as caught:
            await core.read_namespaced_config_map("ka", namespace)
        assert (caught.value.status, caught.value.reason) == (404, "Not Found")
    async with WsApiClient() as api:
        said = await kasync.CoreV1Api(api).connect_get_namespaced_pod_exec(
            sleeper, namespace, command=["echo", "hello"], stdout=True, stderr=True, stdin=False, tty=False
        )
        assert said == "hello\n"

    async def hung_up():
        return sockets() <= before

    await eventually(hung_up)  # TLS is closed politely, after aiohttp's `close`; the loop must not end before


async def test_lightkube(kubeconfig, namespace):
    config = lightkube.KubeConfig.from_file(kubeconfig)
    client = lightkube.AsyncClient(config=config, namespace=namespace, field_manager="lk", trust_env=False)
    try:
        made = await client.create(ConfigMap(metadata=ObjectMeta(name="lk", labels={"by": "lk"}), data={"x": "1"}))
        assert [one.metadata.name async for one in client.list(ConfigMap, labels={"by": "lk"})] == ["lk"]
        applied = ConfigMap(
            apiVersion="v1", kind="ConfigMap", metadata=ObjectMeta(name="lk"), data={"x": "2", "y": "3"}
        )
        with pytest.raises(ApiError) as caught:
            await client.apply(applied, field_manager="other")
        assert (caught.value.status.code, caught.value.status.reason) == (409, "Conflict")
        found = await client.apply(applied, field_manager="other", force=True)
        assert found.data == {"x": "2", "y": "3"}
        found = await client.patch(ConfigMap, "lk", [{"op": "remove", "path": "/data/y"}], patch_type=PatchType.JSON)
        assert found.data == {"x": "2"}
        version = made.metadata.resourceVersion
        changes = client.watch(ConfigMap, labels={"by": "lk"}, resource_version=version, server_timeout=20)
        kinds = [(await anext(changes))[0] for _ in range(2)]
        assert kinds == ["MODIFIED", "MODIFIED"]
        await changes.aclose()
        await client.delete(ConfigMap, "lk")
        with pytest.raises(ApiError, match='configmaps "lk" not found'):
            await client.get(ConfigMap, "lk")
    finally:
        await client.close()


@pytest.mark.filterwarnings("ignore:Kubernetes version v1.37:UserWarning")  # kr8s knows of nothing newer than 1.35
async def test_kr8s(kubeconfig, namespace, sleeper):
    api = await kr8s.asyncio.api(kubeconfig=kubeconfig, namespace=namespace)
    made = await Kr8sConfigMap({"metadata": {"name": "kr", "labels": {"by": "kr"}}, "data": {"x": "1"}}, api=api)
    await made.create()
    assert [one.name async for one in api.get("configmaps", label_selector={"by": "kr"})] == ["kr"]
    await made.patch({"data": {"x": "2"}})
    await made.label(more="yes")
    await made.refresh()
    assert (made.raw["data"], made.labels["more"]) == ({"x": "2"}, "yes")
    pod = await Kr8sPod.get(sleeper, namespace=namespace, api=api)
    assert await pod.ready()
    done = await pod.exec(["echo", "hello"])
    assert (done.stdout, done.returncode) == (b"hello\n", 0)
    await made.delete()
    await made.wait("delete", timeout=90)
    assert not await made.exists()
    assert {"pods", "configmaps"} <= {one["name"] for one in await api.api_resources()}


def test_kopf_runs_an_operator(cluster, kubeconfig, namespace, tmp_path):
    operator = tmp_path / "operator.py"
    operator.write_text(OPERATOR)
    log = tmp_path / "kopf.log"
    command = [sys.executable, "-m", "kopf", "run", "--standalone", "-n", namespace, "--verbose", str(operator)]
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, stdout=out, stderr=out, env=cluster.environment | {"KUBECONFIG": kubeconfig}
        )
    try:
        cluster.kubectl("create", "configmap", "operated", "--from-literal=x=1", "-n", namespace)
        cluster.kubectl("label", "configmap", "operated", "operated=yes", "-n", namespace)
        until(lambda: annotation(cluster, namespace) == "1", log)
        cluster.kubectl("patch", "configmap", "operated", "-n", namespace, "--type=merge", "-p", '{"data":{"x":"2"}}')
        until(lambda: annotation(cluster, namespace) == "2", log)
        cluster.kubectl("delete", "configmap", "operated", "-n", namespace, "--timeout=100s")
        until(lambda: "gone name=operated" in log.read_text(), log)
        assert process.poll() is None
        assert "Traceback" not in log.read_text()
    finally:
        process.terminate()
        process.wait(60)


def annotation(cluster, namespace):
    return cluster.get("configmap", "operated", "-n", namespace)["metadata"].get("annotations", {}).get("seen")


def until(holds, log):
    end = time.monotonic() + 90
    while not holds():
        assert time.monotonic() < end, log.read_text()[-3000:]
        time.sleep(0.3)
