"""From an object in the API to an answer on the wire."""

import asyncio
from typing import Any

import dns.asyncquery
import dns.message
import dns.rcode
import pytest
import uvloop
from prometheus_client import CollectorRegistry, generate_latest

from pybernetes.api.resources import ENDPOINT_SLICES, NAMESPACES, PODS, SERVICES
from pybernetes.client import Client
from pybernetes.dns import Dns, DnsConfig
from support.dns_cluster import HTTP, Z, endpoint, endpoint_slice, service
from support.fake_api import FakeApi

from .conftest import Serve


async def addresses(server: Dns, name: str, kind: str = "A") -> list[str] | None:
    """The addresses of a name; None when there is no such name."""
    query = dns.message.make_query(name, kind)
    reply = await dns.asyncquery.udp(query, "127.0.0.1", port=server.server.port, timeout=30)
    if reply.rcode() == dns.rcode.NXDOMAIN:
        return None
    assert reply.rcode() == dns.rcode.NOERROR
    return sorted(r.to_text() for rrset in reply.answer for r in rrset)


async def until(server: Dns, name: str, wanted: list[str] | None, kind: str = "A") -> None:
    async with asyncio.timeout(60):
        while await addresses(server, name, kind) != wanted:
            await asyncio.sleep(0.005)


async def test_names_come_change_and_go(serve: Serve, api: FakeApi) -> None:
    name, one = f"new.default.svc.{Z}", "10-244-5-5"
    async with serve() as server:
        assert await addresses(server, name) is None
        api.put(SERVICES, service("new", clusterIP="10.96.1.1", clusterIPs=["10.96.1.1"], ports=[HTTP]))
        await until(server, name, ["10.96.1.1"])
        assert await addresses(server, f"{one}.{name}") is None
        api.put(ENDPOINT_SLICES, endpoint_slice("new-1", "new", [endpoint("10.244.5.5", ready=False)], ports=[HTTP]))
        api.put(ENDPOINT_SLICES, endpoint_slice("new-1", "new", [endpoint("10.244.5.5")], ports=[HTTP]))
        await until(server, f"{one}.{name}", ["10.244.5.5"])
        await until(server, "5.5.244.10.in-addr.arpa", [f"{one}.{name}."], "PTR")
        api.put(SERVICES, service("new", clusterIP="10.96.1.2", clusterIPs=["10.96.1.2"], ports=[HTTP]))
        await until(server, name, ["10.96.1.2"])
        api.drop(ENDPOINT_SLICES, "new-1", "default")
        await until(server, f"{one}.{name}", None)
        api.drop(SERVICES, "new", "default")
        await until(server, name, None)
        assert server.applied == api.revision


async def test_a_namespace_takes_its_names_along(serve: Serve, api: FakeApi) -> None:
    async with serve() as server:
        name = f"hidden.gone.svc.{Z}"
        assert await addresses(server, name) is None
        api.put(NAMESPACES, {"metadata": {"name": "gone"}})
        await until(server, name, ["10.96.0.99"])
        await until(server, "99.0.96.10.in-addr.arpa", [f"{name}."], "PTR")
        api.drop(NAMESPACES, "gone")
        await until(server, name, None)
        assert await addresses(server, "99.0.96.10.in-addr.arpa", "PTR") is None


async def test_a_lost_watch_is_made_good(serve: Serve, api: FakeApi) -> None:
    async with serve() as server:
        api.cut()
        api.compact()
        api.drop(SERVICES, "web", "default")
        api.put(SERVICES, service("later", clusterIP="10.96.1.9", clusterIPs=["10.96.1.9"]))
        await until(server, f"later.default.svc.{Z}", ["10.96.1.9"])
        await until(server, f"web.default.svc.{Z}", None)


async def test_verified_pods(serve: Serve, api: FakeApi) -> None:
    pod: dict[str, Any] = {
        "metadata": {"name": "p", "namespace": "default"},
        "status": {"phase": "Running", "podIP": "10.244.3.3", "podIPs": [{"ip": "10.244.3.3"}, {"ip": "fd00:244::33"}]},
    }
    async with serve(pods="verified") as server:
        name = f"10-244-3-3.default.pod.{Z}"
        assert await addresses(server, name) is None
        api.put(PODS, pod)
        await until(server, name, ["10.244.3.3"])
        assert await addresses(server, f"fd00-244--33.default.pod.{Z}", "AAAA") == ["fd00:244::33"]
        assert await addresses(server, f"10-244-3-3.kube-system.pod.{Z}") is None
        api.put(PODS, pod | {"status": pod["status"] | {"phase": "Succeeded"}})
        await until(server, name, None)


async def test_no_pods(serve: Serve) -> None:
    async with serve(pods="disabled") as server:
        assert await addresses(server, f"10-244-3-3.default.pod.{Z}") is None
        assert await addresses(server, f"default.pod.{Z}") is None
        assert await addresses(server, f"pod.{Z}") == []


async def test_only_some_namespaces(serve: Serve) -> None:
    async with serve(namespaces=frozenset({"kube-system"})) as server:
        assert await addresses(server, f"web.default.svc.{Z}") is None
        assert await addresses(server, f"kube-dns.kube-system.svc.{Z}") == ["127.0.0.1"]
        assert await addresses(server, "20.0.96.10.in-addr.arpa", "PTR") is None
        assert await addresses(server, "6.1.244.10.in-addr.arpa", "PTR") == [f"db-0.other.kube-system.svc.{Z}."]


async def test_endpoint_pod_names(serve: Serve) -> None:
    async with serve(endpoint_pod_names=True) as server:
        assert await addresses(server, f"web-a.web.default.svc.{Z}") == ["10.244.1.5"]
        assert await addresses(server, f"10-244-1-5.web.default.svc.{Z}") is None
        assert await addresses(server, f"10-244-2-5.web.default.svc.{Z}") == ["10.244.2.5"]


async def test_another_domain_and_ttl(serve: Serve) -> None:
    async with serve(cluster_domain="Example.Internal.", ttl=17) as server:
        query = dns.message.make_query("web.default.svc.example.internal", "A")
        reply = await dns.asyncquery.udp(query, "127.0.0.1", port=server.server.port, timeout=30)
        assert reply.answer[0].ttl == 17


async def test_metrics(serve: Serve) -> None:
    registry = CollectorRegistry()
    async with serve() as server:
        registry.register(server.collector)
        for _ in range(3):
            await addresses(server, f"web.default.svc.{Z}")
        await addresses(server, f"none.default.svc.{Z}", "AAAA")
        text = generate_latest(registry).decode()
    where = f'server="dns://:{server.config.port}"'
    assert f'coredns_dns_requests_total{{family="1",proto="udp",{where},type="A",view="",zone="."}} 3.0' in text
    assert f'coredns_dns_requests_total{{family="1",proto="udp",{where},type="AAAA",view="",zone="."}} 1.0' in text
    assert f'coredns_dns_responses_total{{plugin="kubernetes",rcode="NXDOMAIN",{where},view="",zone="."}} 1.0' in text
    assert f'coredns_dns_request_duration_seconds_count{{{where},view="",zone="."}} 4.0' in text
    assert f'coredns_dns_response_size_bytes_count{{proto="udp",{where},view="",zone="."}} 4.0' in text
    assert f'coredns_dns_request_size_bytes_bucket{{le="100",proto="udp",{where},view="",zone="."}} 4.0' in text
    assert "coredns_panics_total 0.0" in text


def test_on_uvloop(serve: Serve) -> None:
    async def story() -> None:
        async with serve() as server:
            for _ in range(3):
                assert await addresses(server, f"web.default.svc.{Z}") == ["10.96.0.20"]
            query = dns.message.make_query(f"web.default.svc.{Z}", "A")
            assert (await dns.asyncquery.tcp(query, "127.0.0.1", port=server.server.port, timeout=30)).answer

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(story())


@pytest.mark.parametrize("fields", [{"upstreams": ("example.com",)}, {"reverse_ranges": ("10.0.0.0/99",)}])
def test_bad_configuration(fields: dict[str, Any], api: FakeApi) -> None:
    with pytest.raises(ValueError):
        Dns(Client(api), DnsConfig(**fields))


async def test_lame_duck(api: FakeApi) -> None:
    config = DnsConfig(listen=("127.0.0.1",), port=0, upstreams=(), lameduck_seconds=2.0)
    server = Dns(Client(api), config)
    task = asyncio.create_task(server.run())
    await asyncio.wait_for(server.ready.wait(), 60)
    task.cancel()
    async with asyncio.timeout(60):
        while server.ready.is_set():
            await asyncio.sleep(0)
    assert await addresses(server, f"web.default.svc.{Z}") == ["10.96.0.20"]
    await asyncio.wait_for(asyncio.wait([task]), 60)
    assert task.cancelled()
