"""Figures under CoreDNS' names, kept as plain numbers and put into families only when somebody asks."""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

from .records import AAAA, CNAME, IXFR, NS, PTR, SOA, SRV, TXT, A, Rcode

if TYPE_CHECKING:
    from prometheus_client.core import Metric

    from .chain import Resolver

_TYPES = {
    A: "A", AAAA: "AAAA", CNAME: "CNAME", NS: "NS", PTR: "PTR", SOA: "SOA", SRV: "SRV", TXT: "TXT",
    15: "MX", 35: "NAPTR", 43: "DS", 48: "DNSKEY", 65: "HTTPS", 252: "AXFR", IXFR: "IXFR", 255: "ANY",
}  # fmt: skip
"""Types with a name of their own in the metrics; all others are "other", so that nobody can grow the series."""
_BUCKETS = (0.00025, 0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.024, 2.048, 4.096)


class Series(NamedTuple):
    type: str
    rcode: int
    proto: str


class Stats:
    """What the server counts. The fast path counts into the table's tallies and into `batch`."""

    def __init__(self) -> None:
        self.replies: dict[Series, int] = {}
        self.buckets = [0] * (len(_BUCKETS) + 1)
        self.seconds = 0.0

    def count(self, kind: int | None, rcode: int, *, udp: bool, seconds: float) -> None:
        """One reply; `kind` None is a packet without a readable question."""
        series = Series(_TYPES.get(kind or 0, "other"), rcode, "udp" if udp else "tcp")
        self.replies[series] = self.replies.get(series, 0) + 1
        self.buckets[bisect_left(_BUCKETS, seconds)] += 1
        self.seconds += seconds

    def batch(self, replies: int, seconds: float) -> None:
        """So many replies of the fast path, made one after the other in so many seconds."""
        self.buckets[bisect_left(_BUCKETS, seconds / replies)] += replies
        self.seconds += seconds

    def all(self, tallies: Mapping[tuple[int, int], list[int]]) -> dict[Series, int]:
        """All replies, those of the fast path (UDP always) among them."""
        found = dict(self.replies)
        for (kind, rcode), (number,) in tallies.items():
            series = Series(_TYPES.get(kind, "other"), rcode, "udp")
            found[series] = found.get(series, 0) + number
        return found


def families(stats: Stats, resolver: "Resolver", *, server: str) -> Iterator["Metric"]:
    """Metric families for a prometheus_client registry."""
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

    replies = stats.all(resolver.table.tallies)
    yield _counter(
        CounterMetricFamily("coredns_dns_requests", "DNS requests", labels=("server", "proto", "type")),
        _summed(((server, one.proto, one.type), number) for one, number in replies.items()),
    )
    yield _counter(
        CounterMetricFamily("coredns_dns_responses", "DNS responses", labels=("server", "rcode")),
        _summed(((server, _rcode(one.rcode)), number) for one, number in replies.items()),
    )
    duration = HistogramMetricFamily(
        "coredns_dns_request_duration_seconds", "Time to answer, without the way there and back", labels=("server",)
    )
    total, buckets = 0, []
    for bound, number in zip([*map(str, _BUCKETS), "+Inf"], stats.buckets, strict=True):
        total += number
        buckets.append((bound, float(total)))
    duration.add_metric([server], buckets, stats.seconds)
    yield duration
    yield _counter(CounterMetricFamily("coredns_panics", "Questions that failed by a bug"), {(): resolver.panics})
    forwarder = resolver.forwarder
    cache = forwarder.cache
    yield _counter(
        CounterMetricFamily(
            "coredns_cache_hits", "Forwarded questions answered from memory", labels=("server", "type")
        ),
        {(server, kind): number for kind, number in cache.hits.items()},
    )
    yield _counter(
        CounterMetricFamily("coredns_cache_misses", "Forwarded questions not in memory", labels=("server",)),
        {(server,): cache.misses},
    )
    entries = GaugeMetricFamily("coredns_cache_entries", "Forwarded answers in memory", labels=("server",))
    entries.add_metric([server], len(cache))
    yield entries
    yield _counter(
        CounterMetricFamily("coredns_forward_requests", "Questions sent upstream", labels=("to",)),
        {(str(upstream.address),): upstream.requests for upstream in forwarder.upstreams},
    )
    yield _counter(
        CounterMetricFamily("coredns_forward_max_concurrent_rejects", "Questions refused, too many being under way"),
        {(): forwarder.rejected},
    )


class Collector:
    """For `registry.register(Collector(dns))`."""

    def __init__(self, stats: Stats, resolver: "Resolver", *, server: str) -> None:
        self.stats, self.resolver, self.server = stats, resolver, server

    def collect(self) -> Iterable["Metric"]:
        return families(self.stats, self.resolver, server=self.server)


def _counter(family: "Metric", values: Mapping[tuple[str, ...], float]) -> "Metric":
    for labels, number in values.items():
        family.add_metric(list(labels), number)  # type: ignore[attr-defined]
    return family


def _summed(pairs: Iterable[tuple[tuple[str, ...], int]]) -> dict[tuple[str, ...], float]:
    found: dict[tuple[str, ...], float] = {}
    for labels, number in pairs:
        found[labels] = found.get(labels, 0) + number
    return found


def _rcode(number: int) -> str:
    try:
        return Rcode(number).name
    except ValueError:
        return str(number)
