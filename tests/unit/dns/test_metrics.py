"""Figures under CoreDNS' names, labels and classes."""

import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from prometheus_client import CollectorRegistry, generate_latest

from pybernetes.api.resources import ENDPOINT_SLICES
from pybernetes.dns import Dns
from pybernetes.dns.histogram import BYTES, SECONDS, Histogram
from support.dns_cluster import HTTP, Z, endpoint, endpoint_slice
from support.dns_world import world
from support.fake_api import FakeApi

from .conftest import Serve
from .test_forward import ask, until

# As CoreDNS has them, view and all.
LABELS = {
    "coredns_dns_requests_total": {"server", "zone", "view", "proto", "family", "type"},
    "coredns_dns_responses_total": {"server", "zone", "view", "rcode", "plugin"},
    "coredns_dns_do_requests_total": {"server", "zone", "view"},
    "coredns_dns_request_duration_seconds_bucket": {"server", "zone", "view", "le"},
    "coredns_dns_request_size_bytes_bucket": {"server", "zone", "view", "proto", "le"},
    "coredns_dns_response_size_bytes_bucket": {"server", "zone", "view", "proto", "le"},
    "coredns_panics_total": set(),
    "coredns_plugin_enabled": {"server", "zone", "view", "name"},
    "coredns_cache_entries": {"server", "type", "zones", "view"},
    "coredns_cache_requests_total": {"server", "zones", "view"},
    "coredns_cache_hits_total": {"server", "type", "zones", "view"},
    "coredns_cache_misses_total": {"server", "zones", "view"},
    "coredns_cache_evictions_total": {"server", "type", "zones", "view"},
    "coredns_cache_prefetch_total": {"server", "zones", "view"},
    "coredns_cache_served_stale_total": {"server", "zones", "view"},
    "coredns_autopath_success_total": {"server"},
    "coredns_forward_max_concurrent_rejects_total": set(),
    "coredns_forward_healthcheck_broken_total": set(),
    "coredns_proxy_request_duration_seconds_bucket": {"proxy_name", "to", "rcode", "le"},
    "coredns_proxy_healthcheck_failures_total": {"proxy_name", "to"},
    "coredns_proxy_conn_cache_hits_total": {"proxy_name", "to", "proto"},
    "coredns_proxy_conn_cache_misses_total": {"proxy_name", "to", "proto"},
    "coredns_kubernetes_dns_programming_duration_seconds_bucket": {"service_kind", "le"},
}


@asynccontextmanager
async def outside() -> AsyncIterator[tuple[str, ...]]:
    """Upstreams that know one name."""
    async with world(["www.example.com. A 192.0.2.1"]) as found:
        yield (f"127.0.0.1:{found.port}",)


def text_of(server: Dns) -> str:
    registry = CollectorRegistry()
    registry.register(server.collector)
    return generate_latest(registry).decode()


def value(text: str, name: str, **labels: str) -> float:
    """The sum of the samples with at least these labels."""
    found = 0.0
    for line in text.splitlines():
        match = re.fullmatch(rf"{name}(?:\{{(.*)\}})? (\S+)", line)
        if match and dict(re.findall(r'(\w+)="([^"]*)"', match[1] or "")).items() >= labels.items():
            found += float(match[2])
    return found


async def test_names_labels_and_classes(serve: Serve) -> None:
    async with outside() as upstreams, serve(upstreams=upstreams) as server:
        await ask(server, "www.example.com")
        text = text_of(server)
    for name, labels in LABELS.items():
        lines = re.findall(rf"^{name}(?:\{{(.*)\}})? \S+$", text, re.M)
        assert lines, name
        assert {frozenset(re.findall(r'(\w+)="', line)) for line in lines} == {frozenset(labels)}, name
    seconds = re.findall(r'coredns_dns_request_duration_seconds_bucket\{le="(.*?)"', text)
    assert seconds[:3] == ["0.00025", "0.0005", "0.001"]
    assert [float(bound) for bound in seconds] == [*SECONDS, float("inf")]
    sizes = re.findall(r'coredns_dns_request_size_bytes_bucket\{le="(.*?)",proto="udp"', text)
    assert [float(bound) for bound in sizes] == [*BYTES, float("inf")]


async def test_what_is_counted(serve: Serve) -> None:
    async with outside() as upstreams, serve(upstreams=upstreams) as server:
        for _ in range(3):
            await ask(server, f"web.default.svc.{Z}")
            await ask(server, "www.example.com")
        await ask(server, f"web.default.svc.{Z}", tcp=True)
        await ask(server, f"web.default.svc.{Z}", want_dnssec=True)
        await ask(server, f"no.default.svc.{Z}", "MX")
        text = text_of(server)
    assert value(text, "coredns_dns_requests_total", proto="udp", family="1", type="A") == 7
    assert value(text, "coredns_dns_requests_total", proto="tcp") == 1
    assert value(text, "coredns_dns_requests_total", type="MX") == 1
    assert value(text, "coredns_dns_responses_total") == 9
    assert value(text, "coredns_dns_responses_total", plugin="kubernetes") == 6
    assert value(text, "coredns_dns_responses_total", plugin="kubernetes", rcode="NXDOMAIN") == 1
    assert value(text, "coredns_dns_responses_total", plugin="forward") == 1
    assert value(text, "coredns_dns_responses_total", plugin="cache") == 2
    assert value(text, "coredns_dns_do_requests_total") == 1
    assert value(text, "coredns_dns_request_duration_seconds_count") == 9
    assert value(text, "coredns_dns_request_size_bytes_count", proto="udp") == 8
    assert value(text, "coredns_dns_response_size_bytes_count", proto="tcp") == 1
    assert value(text, "coredns_cache_entries", type="success") == 1
    assert (value(text, "coredns_cache_hits_total"), value(text, "coredns_cache_requests_total")) == (2, 3)
    assert value(text, "coredns_proxy_request_duration_seconds_count", rcode="NOERROR") == 1


async def test_how_long_a_change_took(serve: Serve, api: FakeApi) -> None:
    def changed(name: str, address: str, seconds_ago: float) -> None:
        obj = endpoint_slice(f"{name}-1", name, [endpoint(address)], ports=[HTTP])
        when = datetime.fromtimestamp(int(time.time() - seconds_ago), UTC)
        obj["metadata"]["annotations"] = {
            "endpoints.kubernetes.io/last-change-trigger-time": when.strftime("%Y-%m-%dT%H:%M:%SZ")
        }
        api.put(ENDPOINT_SLICES, obj)

    async with serve() as server:
        changed("db", "10.244.8.8", 100)
        changed("web", "10.244.8.9", 100)
        await until(lambda: bytes([10, 244, 8, 9]) in server.snapshot.endpoint_ips)
        text = text_of(server)
    name = "coredns_kubernetes_dns_programming_duration_seconds"
    assert value(text, f"{name}_count", service_kind="headless_with_selector") == 1, "only headless ones are told"
    assert 99 < value(text, f"{name}_sum") < 200


def test_histogram() -> None:
    found = Histogram((1, 2, 4))
    found.observe(1)
    found.observe(3, 2)
    found.observe(9)
    more = found.with_lengths([0, 0, 5])
    assert found.buckets() == [("1", 1), ("2", 1), ("4", 3), ("+Inf", 4)]
    assert (more.buckets(), more.total) == ([("1", 1), ("2", 6), ("4", 8), ("+Inf", 9)], found.total + 10)
