"""Figures under CoreDNS' names and labels, kept as plain numbers and put into families only when somebody asks.

Zone is "." and view "" throughout, as for CoreDNS with one server block for all names, which Kubernetes installs.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

from .chain import PLUGINS
from .histogram import BYTES, PROGRAMMING_SECONDS, SECONDS, Histogram
from .question import AAAA, ANY, AXFR, CNAME, IXFR, NS, PTR, SOA, SRV, TXT, A, Rcode

if TYPE_CHECKING:
    from prometheus_client.core import Metric

    from .chain import Resolver

_TYPES = {
    A: "A", AAAA: "AAAA", CNAME: "CNAME", NS: "NS", PTR: "PTR", SOA: "SOA", SRV: "SRV", TXT: "TXT",
    15: "MX", 43: "DS", 46: "RRSIG", 47: "NSEC", 48: "DNSKEY", 50: "NSEC3", 65: "HTTPS",
    AXFR: "AXFR", IXFR: "IXFR", ANY: "ANY",
}  # fmt: skip
"""Types with a name of their own in the metrics; all others are "other", so that nobody can grow the series."""
_LONGEST = 4096
"""Bytes of the longest question and reply over UDP."""
_PROXY = "forward"
APPLIED = "pybernetes_dns_applied_revision"


class Told(NamedTuple):
    """One reply. `type` None is a packet without a readable question; `asked` and `sent` are bytes."""

    type: int | None
    rcode: int
    plugin: str = ""
    udp: bool = True
    six: bool = False
    asked: int = 0
    sent: int = 0
    dnssec: bool = False


class Asked(NamedTuple):
    """Labels of a request."""

    proto: str
    family: str
    type: str


class Replied(NamedTuple):
    """Labels of a response."""

    rcode: int
    plugin: str


class Stats:
    """What the server counts. The fast path counts into the table's tallies, into `batch`, and lengths by length."""

    def __init__(self) -> None:
        self.requests: dict[Asked, int] = {}
        self.responses: dict[Replied, int] = {}
        self.seconds = Histogram(SECONDS)
        self.udp_asked = [0] * (_LONGEST + 1)
        self.udp_sent = [0] * (_LONGEST + 1)
        """Datagrams by their length."""
        self.tcp_asked = Histogram(BYTES)
        self.tcp_sent = Histogram(BYTES)
        self.dnssec = 0
        self.limited = 0
        """Questions of clients over their limit; so many of them got a truncated answer."""
        self.limited_truncated = 0

    def count(self, told: Told, seconds: float) -> None:
        """One reply, made in so many seconds."""
        asked = Asked("udp" if told.udp else "tcp", "2" if told.six else "1", _TYPES.get(told.type or 0, "other"))
        replied = Replied(told.rcode, told.plugin)
        self.requests[asked] = self.requests.get(asked, 0) + 1
        self.responses[replied] = self.responses.get(replied, 0) + 1
        self.seconds.observe(seconds)
        self.dnssec += told.dnssec
        if told.udp:
            self.udp_asked[min(told.asked, _LONGEST)] += 1
            self.udp_sent[min(told.sent, _LONGEST)] += 1
        else:
            self.tcp_asked.observe(told.asked)
            self.tcp_sent.observe(told.sent)

    def batch(self, replies: int, seconds: float) -> None:
        """So many replies of the fast path, made one after the other in so many seconds."""
        self.seconds.observe(seconds / replies, replies)

    def all(self, tallies: Mapping[tuple[int, int], list[int]]) -> tuple[dict[Asked, int], dict[Replied, int]]:
        """All requests and responses, those of the fast path (the cluster's names, over UDP) among them."""
        requests, responses = dict(self.requests), dict(self.responses)
        for (kind, rcode), numbers in tallies.items():
            replied = Replied(rcode, "kubernetes")
            responses[replied] = responses.get(replied, 0) + sum(numbers)
            for family, number in zip("12", numbers, strict=True):
                asked = Asked("udp", family, _TYPES.get(kind, "other"))
                requests[asked] = requests.get(asked, 0) + number
        return requests, responses


Values = dict[tuple[str, ...], float]
"""By label values."""


class Counter(NamedTuple):
    """One counter family: its name without _total, what it counts, its labels, and its values by label values."""

    name: str
    help: str
    labels: tuple[str, ...]
    values: Mapping[tuple[str, ...], float]


_DNS = ("server", "zone", "view")
_CACHE = ("server", "zones", "view")


def counters(stats: Stats, resolver: "Resolver", *, server: str) -> Iterator[Counter]:
    """All counters, in order."""
    requests, responses = stats.all(resolver.table.tallies)
    here = (server, ".", "")
    asked: Values = {(*here, *one): number for one, number in requests.items()}
    replied: Values = {(*here, _rcode(one.rcode), one.plugin): number for one, number in responses.items()}
    yield Counter("coredns_dns_requests", "Questions", (*_DNS, "proto", "family", "type"), asked)
    yield Counter("coredns_dns_responses", "Replies", (*_DNS, "rcode", "plugin"), replied)
    yield Counter("coredns_dns_do_requests", "Questions for DNSSEC records", _DNS, {here: stats.dnssec})
    yield Counter("coredns_panics", "Questions that failed by a bug", (), {(): resolver.panics})
    yield from _cache_counters(resolver, here)
    walked = resolver.search.successes if resolver.search else 0
    autopath = "Search lists of clients walked for them"
    yield Counter("coredns_autopath_success", autopath, ("server",), {(server,): walked})
    yield from _forward_counters(resolver)
    cut = stats.limited_truncated
    limited: Values = {("dropped",): stats.limited - cut, ("truncated",): cut}
    yield Counter("pybernetes_dns_rate_limited", "Questions of clients over their rate limit", ("action",), limited)


def _cache_counters(resolver: "Resolver", here: tuple[str, ...]) -> Iterator[Counter]:
    forwarder = resolver.forwarder
    cache = forwarder.cache
    server, zones, view = here
    hits: Values = {(server, kind, zones, view): n for kind, n in cache.hits.items()}
    evicted: Values = {(server, kind, zones, view): n for kind, n in cache.evictions.items()}
    plain: dict[str, tuple[str, float]] = {
        "requests": ("Questions looked for in memory", sum(cache.hits.values()) + cache.misses),
        "misses": ("Forwarded questions not in memory", cache.misses),
        "served_stale": ("Answers given past their time, no upstream replying", cache.stale_served),
        "prefetch": ("Answers asked anew before their time was up", forwarder.prefetches),
    }
    by_type = ("server", "type", "zones", "view")
    yield Counter("coredns_cache_hits", "Forwarded questions answered from memory", by_type, hits)
    yield Counter("coredns_cache_evictions", "Answers that made room for newer ones", by_type, evicted)
    for name, (help, number) in plain.items():
        yield Counter(f"coredns_cache_{name}", help, _CACHE, {here: number})


def _forward_counters(resolver: "Resolver") -> Iterator[Counter]:
    forwarder = resolver.forwarder
    asked: Values = {}
    doubted: Values = {}
    failed: Values = {}
    opened: Values = {}
    kept: Values = {}
    for one in forwarder.all:
        to, proto = str(one.address), "tcp-tls" if one.stream.tls else "tcp"
        for counted, labels, number in (
            (asked, (to,), one.requests),
            (doubted, (to,), one.doubts),
            (failed, (_PROXY, to), one.failed_checks),
            (opened, (_PROXY, to, proto), one.stream.opened),
            (kept, (_PROXY, to, proto), one.stream.asked - one.stream.opened),
        ):
            counted[labels] = counted.get(labels, 0) + number
    by_connection = ("proxy_name", "to", "proto")
    yield Counter("coredns_forward_requests", "Questions sent upstream", ("to",), asked)
    yield Counter(
        "coredns_proxy_healthcheck_failures", "Health checks that nobody replied to", ("proxy_name", "to"), failed
    )
    yield Counter("coredns_proxy_conn_cache_misses", "Connections made for a question", by_connection, opened)
    yield Counter("coredns_proxy_conn_cache_hits", "Questions over a connection that was there", by_connection, kept)
    doubts = "Questions asked again over TCP because the reply over UDP may have been forged"
    yield Counter("pybernetes_dns_forward_doubts", doubts, ("to",), doubted)
    rejects = "Questions turned away, too many being under way"
    yield Counter("coredns_forward_max_concurrent_rejects", rejects, (), {(): forwarder.rejected})
    broken = "Questions for which no upstream was up"
    yield Counter("coredns_forward_healthcheck_broken", broken, (), {(): forwarder.all_down})


class Histograms(NamedTuple):
    """One histogram family: its labels, and its values by label values."""

    name: str
    help: str
    labels: tuple[str, ...]
    values: Mapping[tuple[str, ...], Histogram]


def histograms(stats: Stats, resolver: "Resolver", *, server: str) -> Iterator[Histograms]:
    """All histograms, in order."""
    here = (server, ".", "")
    help = "Time to answer, without the way there and back"
    yield Histograms("coredns_dns_request_duration_seconds", help, _DNS, {here: stats.seconds})
    for name, help, udp, tcp in (
        ("coredns_dns_request_size_bytes", "Length of questions", stats.udp_asked, stats.tcp_asked),
        ("coredns_dns_response_size_bytes", "Length of replies", stats.udp_sent, stats.tcp_sent),
    ):
        values: dict[tuple[str, ...], Histogram] = {
            (*here, "udp"): Histogram(BYTES).with_lengths(udp),
            (*here, "tcp"): tcp,
        }
        yield Histograms(name, help, (*_DNS, "proto"), values)
    asked: dict[tuple[str, ...], Histogram] = {
        (_PROXY, str(one.address), _rcode(rcode)): histogram
        for one in resolver.forwarder.all
        for rcode, histogram in one.seconds.items()
    }
    labels = ("proxy_name", "to", "rcode")
    yield Histograms("coredns_proxy_request_duration_seconds", "Time until an upstream replied", labels, asked)


def families(stats: Stats, resolver: "Resolver", *, server: str) -> Iterator["Metric"]:
    """Metric families for a prometheus_client registry."""
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

    for counter in counters(stats, resolver, server=server):
        family = CounterMetricFamily(counter.name, counter.help, labels=counter.labels)
        for labels, number in counter.values.items():
            family.add_metric(labels, number)
        yield family
    by_type = ("server", "type", "zones", "view")
    entries = GaugeMetricFamily("coredns_cache_entries", "Forwarded answers in memory", labels=by_type)
    for kind, number in resolver.forwarder.cache.sizes().items():
        entries.add_metric((server, kind, ".", ""), number)
    yield entries
    enabled = GaugeMetricFamily("coredns_plugin_enabled", "What takes part in answers", labels=(*_DNS, "name"))
    for name in PLUGINS:
        enabled.add_metric((server, ".", "", name), 1)
    yield enabled
    for each in histograms(stats, resolver, server=server):
        durations = HistogramMetricFamily(each.name, each.help, labels=each.labels)
        for labels, histogram in each.values.items():
            durations.add_metric(labels, histogram.buckets(), histogram.total)
        yield durations


class Collector:
    """For a prometheus_client registry. `applied` says up to which revision the answers are."""

    def __init__(self, stats: Stats, resolver: "Resolver", *, server: str, applied: Callable[[], int]) -> None:
        self.stats, self.resolver, self.server, self.applied = stats, resolver, server, applied
        self.programming = Histogram(PROGRAMMING_SECONDS)
        """From the change that caused it to the answer, of headless Services' slices."""

    def collect(self) -> Iterable["Metric"]:
        from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily

        yield from families(self.stats, self.resolver, server=self.server)
        name = "coredns_kubernetes_dns_programming_duration_seconds"
        help = "From the change that caused it (last-change-trigger-time of the slice, whole seconds) to the answer"
        programming = HistogramMetricFamily(name, help, labels=("service_kind",))
        programming.add_metric(("headless_with_selector",), self.programming.buckets(), self.programming.total)
        yield programming
        help = "The revision up to which answers reflect Services, EndpointSlices and Namespaces"
        yield GaugeMetricFamily(APPLIED, help, value=self.applied())


def _rcode(number: int) -> str:
    try:
        return Rcode(number).name
    except ValueError:
        return str(number)
