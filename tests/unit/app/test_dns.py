"""The process of the cluster DNS: flags to configuration, health and metrics, and its end."""

import asyncio
import socket

import pytest
from click.testing import CliRunner
from prometheus_client import REGISTRY

from pybernetes.aio.supervise import Fatal
from pybernetes.app.config import DnsProcessConfig
from pybernetes.app.dns import dns_config, serve
from pybernetes.app.dns_pages import pages
from pybernetes.app.dns_workers import Task, Workers
from pybernetes.app.main import main
from pybernetes.client import Client
from pybernetes.dns import Dns, DnsConfig
from pybernetes.wire import Request
from support.dns_cluster import fill
from support.fake_api import FakeApi
from support.ports import free_port

KUBECONFIG = """
apiVersion: v1
kind: Config
current-context: c
contexts: [{name: c, context: {cluster: c, user: u}}]
clusters: [{name: c, cluster: {server: "http://127.0.0.1:1"}}]
users: [{name: u, user: {token: t}}]
"""


NONE = Workers(Task(kubeconfig="", config=DnsConfig()), count=0)


async def get(port: int, path: str) -> tuple[int, str]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode())
        text = (await reader.read()).decode()
    finally:
        writer.close()
        await writer.wait_closed()
    return int(text.split(" ")[1]), text


def test_flags_reach_the_configuration(tmp_path, monkeypatch):
    seen: list[DnsProcessConfig] = []
    monkeypatch.setattr("pybernetes.app.dns.run", seen.append)
    argv = [
        "--kubeconfig",
        "k",
        "--listen",
        "127.0.0.1",
        "--listen",
        "::1",
        "--port",
        "5353",
        "--upstream",
        "192.0.2.1",
    ]
    done = CliRunner().invoke(main, ["dns", *argv, "--rate-limit", "50", "--pods", "verified", "--no-autopath"])
    assert done.exit_code == 0, done.output
    config = dns_config(seen[0])
    assert (config.listen, config.port, config.upstreams) == (("127.0.0.1", "::1"), 5353, ("192.0.2.1",))
    assert (config.rate_limit, config.pods, config.autopath) == (50, "verified", False)


def test_what_is_not_given_is_as_on_a_node(tmp_path):
    config = dns_config(DnsProcessConfig(kubeconfig="k"))
    own = {"listen": ("127.0.0.1",), "reverse_ranges": config.reverse_ranges}
    assert config == DnsConfig(**own)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ((), "kubeconfig"),
        (("--kubeconfig", "/nowhere/at/all"), "kubeconfig /nowhere/at/all"),
        (("--kubeconfig", "{}", "--upstream", "example.com"), "example.com"),
        (("--kubeconfig", "{}", "--health", "x"), "'x' is not host:port"),
    ],
)
def test_what_cannot_be_used_is_a_message(tmp_path, argv, message):
    path = tmp_path / "kubeconfig"
    path.write_text(KUBECONFIG)
    done = CliRunner().invoke(main, ["dns", *(str(path) if word == "{}" else word for word in argv)])
    assert done.exit_code == 1
    assert message in done.output


async def test_health_metrics_and_the_end():
    port = free_port()
    client = Client(fill(FakeApi()))
    dns = Dns(client, DnsConfig(listen=("127.0.0.1",), port=0, upstreams=(), lameduck_seconds=2.0))
    task = asyncio.create_task(serve(client, dns, listen=[("127.0.0.1", port)], workers=NONE))
    try:
        async with asyncio.timeout(60):
            await dns.ready.wait()
        assert (await get(port, "/readyz"))[0] == 200
        status, text = await get(port, "/metrics")
        assert (status, "pybernetes_dns_applied_revision" in text) == (200, True)
        task.cancel()
        async with asyncio.timeout(60):
            while dns.ready.is_set():
                await asyncio.sleep(0)
        assert (await get(port, "/readyz"))[0] == 500, "still there in the lame-duck time, to say so"
        assert (await get(port, "/ready"))[0] == 503
        assert (await get(port, "/health"))[0] == 200
    finally:
        task.cancel()
        await asyncio.wait([task])
    assert dns.collector not in REGISTRY._collector_to_names


async def test_a_port_in_use_is_the_end():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        client = Client(fill(FakeApi()))
        dns = Dns(client, DnsConfig(listen=("127.0.0.1",), port=taken.getsockname()[1], upstreams=()))
        with pytest.raises(Fatal, match="cannot bind"):
            async with asyncio.timeout(60):
                await serve(client, dns, listen=[("127.0.0.1", free_port())], workers=NONE)


async def test_pages_are_those_of_coredns_and_of_every_component():
    ready = False

    async def metrics() -> bytes:
        return b"figures"

    handle = pages(lambda: ready, metrics)

    async def shown(path, method="GET"):
        response = await handle(Request(method=method, path=path))
        return response.status, response.body

    assert await shown("/metrics") == (200, b"figures")
    assert await shown("/health") == (200, b"OK")
    assert await shown("/ready") == (503, b"kubernetes")
    assert [(await shown(path))[0] for path in ("/livez", "/readyz", "/x")] == [200, 500, 404]
    assert (await shown("/health", method="POST"))[0] == 404
    ready = True
    assert await shown("/ready") == (200, b"OK")
    assert (await shown("/readyz"))[0] == 200
