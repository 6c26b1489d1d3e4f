"""Figures under CoreDNS' names, kept as plain numbers and put into families only when somebody asks."""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

from .question import AAAA, CNAME, IXFR, NS, PTR, SOA, SRV, TXT, A, Rcode

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
        self.limited = 0
        """Questions of clients over their limit; so many of them got a truncated answer."""
        self.limited_truncated = 0

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


class Counter(NamedTuple):
    """One counter family: its name without _total, what it counts, its labels, and its values by label values."""

    name: str
    help: str
    labels: tuple[str, ...]
    values: Mapping[tuple[str, ...], float]


def counters(stats: Stats, resolver: "Resolver", *, server: str) -> Iterator[Counter]:
    """All counters, in order."""
    replies = stats.all(resolver.table.tallies).items()
    by_type = _summed(((server, one.proto, one.type), number) for one, number in replies)
    by_rcode = _summed(((server, _rcode(one.rcode)), number) for one, number in replies)
    forwarder = resolver.forwarder
    cache = forwarder.cache
    hits: dict[tuple[str, ...], float] = {(server, kind): number for kind, number in cache.hits.items()}
    walked = resolver.search.successes if resolver.search else 0
    asked: dict[tuple[str, ...], float] = {(str(one.address),): one.requests for one in forwarder.all}
    yield Counter("coredns_dns_requests", "Questions", ("server", "proto", "type"), by_type)
    yield Counter("coredns_dns_responses", "Replies", ("server", "rcode"), by_rcode)
    yield Counter("coredns_panics", "Questions that failed by a bug", (), {(): resolver.panics})
    yield Counter("coredns_cache_hits", "Forwarded questions answered from memory", ("server", "type"), hits)
    yield Counter("coredns_cache_misses", "Forwarded questions not in memory", ("server",), {(server,): cache.misses})
    stale, early = "Answers given past their time, no upstream replying", "Answers asked anew before their time was up"
    yield Counter("coredns_cache_served_stale", stale, ("server",), {(server,): cache.stale_served})
    yield Counter("coredns_cache_prefetch", early, ("server",), {(server,): forwarder.prefetches})
    autopath = "Search lists of clients walked for them"
    yield Counter("coredns_autopath_success", autopath, ("server",), {(server,): walked})
    yield Counter("coredns_forward_requests", "Questions sent upstream", ("to",), asked)
    doubts = "Questions asked again over TCP because the reply over UDP may have been forged"
    doubted: dict[tuple[str, ...], float] = {(str(one.address),): one.doubts for one in forwarder.all}
    yield Counter("pybernetes_dns_forward_doubts", doubts, ("to",), doubted)
    limited = "Questions of clients over their rate limit"
    cut = stats.limited_truncated
    yield Counter(
        "pybernetes_dns_rate_limited", limited, ("action",), {("dropped",): stats.limited - cut, ("truncated",): cut}
    )
    rejects = "Questions turned away, too many being under way"
    yield Counter("coredns_forward_max_concurrent_rejects", rejects, (), {(): forwarder.rejected})


def families(stats: Stats, resolver: "Resolver", *, server: str) -> Iterator["Metric"]:
    """Metric families for a prometheus_client registry."""
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

    for counter in counters(stats, resolver, server=server):
        family = CounterMetricFamily(counter.name, counter.help, labels=counter.labels)
        for labels, number in counter.values.items():
            family.add_metric(labels, number)
        yield family
    entries = GaugeMetricFamily("coredns_cache_entries", "Forwarded answers in memory", labels=("server",))
    entries.add_metric((server,), len(resolver.forwarder.cache))
    yield entries
    help = "Time to answer, without the way there and back"
    duration = HistogramMetricFamily("coredns_dns_request_duration_seconds", help, labels=("server",))
    bounds = [*map(str, _BUCKETS), "+Inf"]
    duration.add_metric((server,), list(zip(bounds, accumulate(stats.buckets), strict=True)), stats.seconds)
    yield duration


class Collector:
    """For a prometheus_client registry. `applied` says up to which revision the answers are."""

    def __init__(self, stats: Stats, resolver: "Resolver", *, server: str, applied: Callable[[], int]) -> None:
        self.stats, self.resolver, self.server, self.applied = stats, resolver, server, applied

    def collect(self) -> Iterable["Metric"]:
        from prometheus_client.core import GaugeMetricFamily

        yield from families(self.stats, self.resolver, server=self.server)
        help = "The revision up to which answers reflect Services, EndpointSlices and Namespaces"
        yield GaugeMetricFamily("pybernetes_dns_applied_revision", help, value=self.applied())


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
