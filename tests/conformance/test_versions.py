"""kubectl 1.27 to 1.36, those that `make kubectls` has fetched: OpenAPI, bodies and streams as each speaks them.

The kubelet is one of this process over real commands, so no kernel features are needed.
"""

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from pybernetes.api import resources
from pybernetes.wire.loopback import LoopbackTransport
from support.commands import kubelet
from support.server import TlsApi, client_of, tls_api

CLIENTS = Path(__file__).parents[2] / ".clients"
VERSIONS = [f"1.{minor}" for minor in range(27, 37)]

pytestmark = [pytest.mark.clients, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[TlsApi]:
    directory = tmp_path_factory.mktemp("api")
    async with tls_api(directory, connect=lambda url: LoopbackTransport(kubelet)) as running:
        client = client_of(running.server)
        await client.create(resources.SERVICE_ACCOUNTS, {"metadata": {"name": "default", "namespace": "default"}})
        node = {"metadata": {"name": "n"}, "status": {"addresses": [{"type": "InternalIP", "address": "10.0.0.9"}]}}
        await client.create(resources.NODES, node)
        yield running


class Kubectl:
    def __init__(self, api: TlsApi, version: str, directory: Path) -> None:
        self.program = CLIENTS / f"kubectl-{version}"
        if not self.program.exists():
            pytest.skip(f"kubectl {version} is missing: make kubectls")
        self.options = ("--kubeconfig", api.kubeconfig, "--cache-dir", str(directory / "cache"))

    async def run(self, *words: str, stdin: bytes = b"") -> tuple[int, bytes, bytes]:
        pipe = subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            self.program, *self.options, *words, stdin=pipe, stdout=pipe, stderr=pipe
        )
        async with asyncio.timeout(60):
            out, err = await process.communicate(stdin)
        return process.returncode or 0, out, err

    async def __call__(self, line: str, *, stdin: bytes = b"") -> str:
        code, out, err = await self.run(*line.split(), stdin=stdin)
        assert code == 0, f"kubectl {line}: {err.decode()}"
        return out.decode()


@pytest_asyncio.fixture(params=VERSIONS, loop_scope="module")
async def kubectl(api: TlsApi, request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Kubectl]:
    """With a pod "p" that is said to run."""
    tool = Kubectl(api, request.param, tmp_path)
    await tool('run p --image=i --overrides={"spec":{"nodeName":"n"}}')
    await tool('patch pod p --subresource=status --type=merge -p {"status":{"phase":"Running"}}')
    yield tool
    await tool("delete pod p --grace-period=0 --force --wait=false")


async def test_exec_and_cp(kubectl: Kubectl, tmp_path: Path) -> None:
    found = await kubectl.run("exec", "p", "--", "sh", "-c", "echo out; echo err >&2; exit 3")
    assert found[:2] == (3, b"out\n")
    assert found[2].startswith(b"err\n")
    assert (await kubectl("exec -i p -- wc -c", stdin=bytes(5_000_000))).split() == ["5000000"]
    source, there, back = tmp_path / "source", tmp_path / "there", tmp_path / "back"
    source.write_bytes(os.urandom(3_000_000))
    await kubectl(f"cp {source} p:{there}")
    await kubectl(f"cp p:{there} {back}")
    assert back.read_bytes() == source.read_bytes()


async def test_port_forward(kubectl: Kubectl) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await reader.read()).upper())
        await writer.drain()
        writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    process = await asyncio.create_subprocess_exec(
        kubectl.program, *kubectl.options, "port-forward", "pod/p", f":{port}", stdout=subprocess.PIPE
    )
    try:
        async with listener, asyncio.timeout(30):
            assert process.stdout
            local = int((await process.stdout.readline()).decode().split("127.0.0.1:")[1].split()[0])
            for _ in range(3):
                reader, writer = await asyncio.open_connection("127.0.0.1", local)
                writer.write(b"hello")
                writer.write_eof()
                assert await reader.read() == b"HELLO"
                writer.close()
                await writer.wait_closed()
    finally:
        process.terminate()
        await process.wait()


async def test_apply_explain_and_edit(kubectl: Kubectl) -> None:
    manifest = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {a: b}\n"
    assert await kubectl("apply -f -", stdin=manifest) == "configmap/settings created\n"
    assert await kubectl("apply -f -", stdin=manifest) == "configmap/settings unchanged\n"
    code, _, err = await kubectl.run("apply", "-f", "-", stdin=manifest.replace(b"\ndata:", b"\ndatax:"))
    assert code == 1
    assert b'unknown field "datax"' in err
    assert 'configmap "settings" deleted' in await kubectl("delete configmap settings")
    assert "containers" in await kubectl("explain pod.spec --recursive")
    text = await kubectl("explain deployment.spec.replicas")
    assert "integer" in text
    assert "Number of desired pods" in text
