"""The service proxy as a process of its own: what its ports answer."""

import asyncio
import json
import socket

import pytest

from pybernetes.aio.supervise import Fatal
from pybernetes.app import agent
from pybernetes.app.config import AgentConfig, ConfigError, NodeConfig, ServiceProxyConfig
from pybernetes.app.join import with_told
from pybernetes.app.service_proxy import metrics_handler, node_health, proxy_config, serve
from pybernetes.client import Client
from pybernetes.proxy import Proxy, ProxyConfig
from pybernetes.wire import Request
from support.fake_api import FakeApi


def test_the_proxy_is_set_up_by_the_flags():
    config = ServiceProxyConfig(node_name="n", node_address="172.30.0.11", service_range="10.1.0.0/16")
    assert proxy_config(config) == ProxyConfig(
        node_name="n",
        node_addresses=("172.30.0.11",),
        node_port_addresses=("primary",),
        service_range="10.1.0.0/16",
    )
    assert proxy_config(ServiceProxyConfig()).node_name == socket.gethostname().lower()


def proxy_of(config):
    whole = with_told(config, NodeConfig()) if isinstance(config, AgentConfig) else None
    return agent.proxy_config(whole) if whole else proxy_config(config)


@pytest.mark.parametrize("kind", [AgentConfig, ServiceProxyConfig])
def test_where_node_ports_are_open_is_checked_when_it_is_read(kind, tmp_path):
    path = tmp_path / "node.yaml"
    required = "nodeName: n\nnodeAddress: 172.30.0.11\n" + ("identities: /x\n" if kind is AgentConfig else "")
    path.write_text(required + "nodePortAddresses: [172.30.0.0/24, 'fd00:30::/64']\n")
    config = kind.load(path, {})
    made = proxy_of(config)
    assert made.node_port_addresses == ("172.30.0.0/24", "fd00:30::/64")
    assert kind.load(path, {"node_port_addresses": ("primary",)}).node_port_addresses == ("primary",)
    assert not made.localhost_node_ports
    path.write_text(required + "localhostNodePorts: true\n")
    config = kind.load(path, {})
    made = proxy_of(config)
    assert made.localhost_node_ports
    assert not kind.load(path, {"localhost_node_ports": False}).localhost_node_ports
    path.write_text(required + "nodePortAddresses: [everywhere]\n")
    with pytest.raises(ConfigError, match="'everywhere' is neither a CIDR nor 'primary'"):
        kind.load(path, {})


async def test_health_is_kube_proxys_and_the_rest_as_everywhere():
    proxy = Proxy(Client(FakeApi()), ProxyConfig(node_name="n"))
    handler = node_health(proxy, {"proxy": proxy.synced.is_set})
    answers = {path: await handler(Request(path=f"/{path}")) for path in ("healthz", "livez", "readyz", "applied")}
    assert {path: answer.status for path, answer in answers.items()} == {
        "healthz": 503,  # nothing is in the kernel yet
        "livez": 200,
        "readyz": 500,
        "applied": 200,
    }
    assert json.loads(answers["healthz"].body)["nodeEligible"] is True
    assert json.loads(answers["applied"].body) == {"services": "", "endpoint_slices": ""}
    handler = node_health(proxy, {}, applied={"dns": lambda: "77"})
    told = json.loads((await handler(Request(path="/applied"))).body)
    assert told == {"services": "", "endpoint_slices": "", "dns": "77"}


async def test_metrics_are_those_of_kube_proxy():
    answer = await metrics_handler(Request(path="/metrics"))
    assert answer.status == 200
    assert b"kubeproxy_sync_proxy_rules_duration_seconds_bucket" in answer.body
    assert (await metrics_handler(Request(path="/other"))).status == 404


@pytest.mark.parametrize("taken", ["health", "metrics"])
async def test_a_port_that_somebody_has_ends_it_with_a_word(taken):
    with socket.create_server(("127.0.0.1", 0)) as used:
        ports = {"health": "127.0.0.1:0", "metrics": "127.0.0.1:0"}
        ports[taken] = f"127.0.0.1:{used.getsockname()[1]}"
        config = ServiceProxyConfig(node_name="n", **ports)
        with pytest.raises(Fatal, match="in use"):
            await asyncio.wait_for(serve(config, Client(FakeApi())), 60)
