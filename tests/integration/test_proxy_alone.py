"""`pybernetes proxy` as a process: rules from an API server go into its namespace, and `--cleanup` removes them."""

import asyncio
import http.client
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from pybernetes.netlink import namespaces
from pybernetes.netlink.links import Links
from pybernetes.netlink.nft import IP, IP6, KernelNftables
from pybernetes.proxy.layout import TABLE
from support import kernel

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(bool(kernel.missing()), reason=f"needs {kernel.missing()}")]

COMMAND = str(Path(sys.executable).parent / "pybernetes")


@pytest.fixture
def namespace() -> Iterator[str]:
    with kernel.namespace("alone") as path:
        with Links(path) as links:
            links.up("lo")
        yield path


@asynccontextmanager
async def started(namespace: str, log: Path, *argv: str) -> AsyncIterator[asyncio.subprocess.Process]:
    with log.open("wb") as out:
        process = await asyncio.create_subprocess_exec(
            "nsenter", f"--net={namespace}", COMMAND, *argv, stdout=out, stderr=out
        )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        async with asyncio.timeout(60):
            await process.wait()


def get(namespace: str, port: int, path: str) -> tuple[int, str]:
    """(0, "") while nobody listens."""

    def ask() -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        except ConnectionRefusedError:
            return 0, ""
        finally:
            connection.close()

    return namespaces.run_in(namespace, ask)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not await asyncio.to_thread(holds):
            await asyncio.sleep(0.1)


def tables(namespace: str) -> dict[int, bool]:
    nft = KernelNftables(namespace)
    try:
        return {family: nft.comment(family, TABLE) is not None for family in (IP, IP6)}
    finally:
        nft.close()


async def test_it_runs_alone_and_cleans_up(namespace: str, tmp_path: Path) -> None:
    admin = tmp_path / "admin.kubeconfig"
    server = ("apiserver", "--state-directory", str(tmp_path), "--store", "memory")
    ranges = ("--service-range", "10.96.0.0/16,fd00:96::/112", "--cluster-pod-range", "10.244.0.0/16,fd00:244::/32")
    proxy = ("proxy", "--kubeconfig", str(admin), "--node-name", "node-1", *ranges)
    async with started(namespace, tmp_path / "apiserver.log", *server):
        await until(admin.exists)
        async with started(namespace, tmp_path / "proxy.log", *proxy) as process:
            await until(lambda: get(namespace, 10256, "/readyz")[0] == 200)
            assert get(namespace, 10256, "/healthz")[0] == 200
            assert "services" in get(namespace, 10256, "/applied")[1]
            status, metrics = get(namespace, 10249, "/metrics")
            assert status == 200
            assert "kubeproxy_sync_proxy_rules_duration_seconds_count" in metrics
            assert tables(namespace) == {IP: True, IP6: True}
            process.terminate()
            async with asyncio.timeout(60):
                assert await process.wait() == 0
    assert tables(namespace) == {IP: True, IP6: True}  # a restart is not noticed
    async with started(namespace, tmp_path / "cleanup.log", "proxy", "--cleanup") as cleaning, asyncio.timeout(60):
        assert await cleaning.wait() == 0
    assert tables(namespace) == {IP: False, IP6: False}
