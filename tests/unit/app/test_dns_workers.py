"""Figures of several processes as those of one, and what a worker is told."""

import msgspec
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

from pybernetes.app.dns_workers import Figures, Task, merged, text, told
from pybernetes.dns import DnsConfig


def families(asked: float, kept: float, applied: float) -> list[object]:
    counter = CounterMetricFamily("coredns_dns_requests", "Questions", labels=("type",))
    counter.add_metric(("A",), asked)
    gauge = GaugeMetricFamily("coredns_cache_entries", "Answers", labels=())
    gauge.add_metric((), kept)
    enabled = GaugeMetricFamily("coredns_plugin_enabled", "Parts", labels=("name",))
    enabled.add_metric(("cache",), 1)
    seconds = HistogramMetricFamily("coredns_dns_request_duration_seconds", "Time")
    seconds.add_metric((), [("0.1", asked - 1), ("+Inf", asked)], sum_value=0.5)
    return [counter, gauge, enabled, seconds, GaugeMetricFamily("pybernetes_dns_applied_revision", "R", value=applied)]


def test_sums_and_the_oldest_revision() -> None:
    found = text([told(families(3, 10, 70)), told(families(4, 20, 69))]).decode()  # type: ignore[arg-type]
    for line in (
        'coredns_dns_requests_total{type="A"} 7.0',
        "coredns_cache_entries 30.0",
        'coredns_plugin_enabled{name="cache"} 1.0',
        'coredns_dns_request_duration_seconds_bucket{le="0.1"} 5.0',
        'coredns_dns_request_duration_seconds_bucket{le="+Inf"} 7.0',
        "coredns_dns_request_duration_seconds_count 7.0",
        "coredns_dns_request_duration_seconds_sum 1.0",
        "pybernetes_dns_applied_revision 69.0",
        "# TYPE coredns_dns_request_duration_seconds histogram",
        "# TYPE coredns_dns_requests_total counter",
    ):
        assert line in found.splitlines(), found


def test_series_of_one_process_only_stay() -> None:
    one, two = told(families(3, 0, 1)), told(families(1, 0, 1))  # type: ignore[arg-type]
    other = msgspec.structs.replace(
        two[0], samples=(msgspec.structs.replace(two[0].samples[0], labels={"type": "MX"}),)
    )
    (metric,) = merged([one[:1], (other,)])
    assert {sample.labels["type"]: sample.value for sample in metric.samples} == {"A": 3.0, "MX": 1.0}


def test_what_is_said_survives_the_way() -> None:
    figures = Figures(ready=True, families=told(families(3, 10, 70)))  # type: ignore[arg-type]
    assert msgspec.json.decode(msgspec.json.encode(figures), type=Figures) == figures
    config = DnsConfig(
        namespaces=frozenset({"a"}),
        stub_domains={"corp.example": ("192.0.2.1",)},
        hosts={"192.0.2.9": ("box.example",)},
        upstreams=("tls://192.0.2.1#dns.example",),
    )
    task = Task(kubeconfig="/k", config=config)
    assert msgspec.json.decode(msgspec.json.encode(task), type=Task) == task
