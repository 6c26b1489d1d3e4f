"""The server's metrics, under Kubernetes' names (docs: Kubernetes Metrics Reference)."""

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, Metric, UnknownMetricFamily
from prometheus_client.registry import Collector

from pybernetes.wire import Request, Response

from .held import until_end
from .route import CONNECTING, Route

_BUCKETS = (0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 45, 60)
_DOUBLING = tuple(0.001 * 2**power for power in range(15))
_CONVERSIONS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 45, 60)
_LABELS = ("verb", "dry_run", "group", "version", "resource", "subresource", "scope", "component")
_LONG = (_LABELS[0], *_LABELS[2:])
_SIZES = tuple(10.0**power for power in range(3, 10))
_VERBS = {"create": "POST", "update": "PUT"}
_METHODS = frozenset({"get", "head", "post", "put", "patch", "delete"})
_PATHS = frozenset(
    {"/healthz", "/livez", "/readyz", "/metrics", "/metrics/slis", "/version", "/openapi/v2", "/openapi/v3"}
)
_APPLY = "application/apply-patch"


_TOKENS = {"valid": "in time", "stale": "past their time, in their extension", "legacy": "without an end"}


class WebhookCall(NamedTuple):
    """One call of an admission webhook; `type` is "admit" (mutating) or "validating"."""

    name: str
    type: str
    operation: str
    seconds: float
    rejected: bool = False
    failed_open: bool = False


class ConversionCall(NamedTuple):
    """One call of a conversion webhook; `failure` is "" for a good one, else its type."""

    definition: str
    source: str
    target: str
    seconds: float
    failure: str = ""


class Metrics:
    """One registry for one server: several servers in one process (tests) do not meet."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "apiserver_request",
            "Requests by verb, resource and HTTP code.",
            (*_LABELS, "code"),
            registry=self.registry,
        )
        self._seconds = Histogram(
            "apiserver_request_duration_seconds",
            "Seconds from the request to its response.",
            _LABELS,
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self._sizes = Histogram(
            "apiserver_response_sizes",
            "Bytes of the answers to reads, those that are streamed excepted.",
            _LONG,
            buckets=_SIZES,
            registry=self.registry,
        )
        self._known: dict[tuple[str, ...], _Known] = {}
        self.inflight = {"mutating": 0, "readOnly": 0}
        """Requests that are being answered."""
        current = Gauge(
            "apiserver_current_inflight_requests",
            "Requests that are being answered.",
            ("request_kind",),
            registry=self.registry,
        )
        for kind in self.inflight:
            current.labels(kind).set_function(lambda kind=kind: float(self.inflight[kind]))  # type: ignore[misc]
        self._long = Gauge(
            "apiserver_longrunning_requests",
            "Watches and streams that are open.",
            _LONG,
            registry=self.registry,
        )
        self.authentications = {"success": 0, "failure": 0}
        """Requests from outside by whether their credential is good; to have none is."""
        self.authorizations = {"allowed": 0, "no-opinion": 0}
        """Requests by what was decided; nothing here denies, it only does not allow."""
        self.registry.register(_Attempts(self))
        self._tokens = {
            kind: Counter(
                f"serviceaccount_{kind}_tokens", f"Service account tokens taken: {text}.", registry=self.registry
            )
            for kind, text in _TOKENS.items()
        }
        self._webhooks = Histogram(
            "apiserver_admission_webhook_admission_duration_seconds",
            "Seconds that an admission webhook took.",
            ("name", "type", "operation", "rejected"),
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self._deprecated = Gauge(
            "apiserver_requested_deprecated_apis",
            "1 for each deprecated API that was asked for.",
            ("group", "version", "resource", "subresource", "removed_release"),
            registry=self.registry,
        )
        self._failed_open = Counter(
            "apiserver_admission_webhook_fail_open_count",
            "Failed calls of webhooks that may fail.",
            ("name", "type"),
            registry=self.registry,
        )

        self._conversions = Histogram(
            "apiserver_crd_conversion_webhook_duration_seconds",
            "Seconds that a conversion webhook took, by definition and versions.",
            ("crd_name", "from_version", "to_version", "succeeded"),
            buckets=_DOUBLING,
            registry=self.registry,
        )
        self._conversion_calls = Counter(
            "apiserver_conversion_webhook_request",
            "Calls of conversion webhooks by how they ended.",
            ("result", "failure_type"),
            registry=self.registry,
        )
        self._conversion_seconds = Histogram(
            "apiserver_conversion_webhook_duration_seconds",
            "Seconds that calls of conversion webhooks took by how they ended.",
            ("result", "failure_type"),
            buckets=_CONVERSIONS,
            registry=self.registry,
        )

    def conversion(self, asked: ConversionCall) -> None:
        good = not asked.failure
        result = "success" if good else "failure"
        self._conversions.labels(asked.definition, asked.source, asked.target, str(good).lower()).observe(asked.seconds)
        self._conversion_calls.labels(result, asked.failure).inc()
        self._conversion_seconds.labels(result, asked.failure).observe(asked.seconds)

    def webhook(self, asked: "WebhookCall") -> None:
        rejected = str(asked.rejected).lower()
        self._webhooks.labels(asked.name, asked.type, asked.operation, rejected).observe(asked.seconds)
        if asked.failed_open:
            self._failed_open.labels(asked.name, asked.type).inc()

    def token(self, kind: str) -> None:
        """A service account token was taken: valid, stale or legacy."""
        self._tokens[kind].inc()

    def deprecated(self, route: Route) -> None:
        """A request of a deprecated row. No release is known in which one goes."""
        if (row := route.resource) is not None:
            self._deprecated.labels(row.group, row.version, row.plural, route.subresource, "").set(1)

    def gauge(self, name: str, text: str, read: Callable[[], float]) -> None:
        """A figure that is read when asked for."""
        Gauge(name, text, registry=self.registry).set_function(read)

    def request(self, request: Request, response: Response, seconds: float) -> None:
        labels = _labels(request)
        known = self._known.get(labels)
        if known is None:
            sizes = self._sizes.labels(labels[0], *labels[2:]) if labels[0] in ("GET", "LIST") else None
            known = self._known[labels] = _Known(self._seconds.labels(*labels), sizes, {})
        counter = known.counters.get(response.status)
        if counter is None:
            counter = known.counters[response.status] = self._requests.labels(*labels, str(response.status))
        counter.inc()
        if labels[0] != "WATCH":
            known.seconds.observe(seconds)
        if known.sizes is not None and isinstance(response.body, bytes):
            known.sizes.observe(len(response.body))

    def held(self, request: Request, response: Response) -> None:
        """Counts a watch or a stream until its end."""
        found: Route | None = request.context.get("route")
        if found is None or not found.long_running:
            return
        if response.upgrade is None and isinstance(response.body, bytes):
            return  # it is over: an error, or a short log
        labels = _labels(request)
        gauge = self._long.labels(labels[0], *labels[2:])
        gauge.inc()
        until_end(response, gauge.dec)

    def build(self, version: Mapping[str, str]) -> None:
        """kubernetes_build_info, from what GET /version tells."""
        names = {
            "build_date": "buildDate",
            "compiler": "compiler",
            "git_commit": "gitCommit",
            "git_tree_state": "gitTreeState",
            "git_version": "gitVersion",
            "go_version": "goVersion",
            "major": "major",
            "minor": "minor",
            "platform": "platform",
        }
        gauge = Gauge("kubernetes_build_info", "1, labelled with the version.", tuple(names), registry=self.registry)
        gauge.labels(*(version[name] for name in names.values())).set(1)

    def text(self) -> bytes:
        """The server's, and those of the rest of its process: controllers and scheduler, when they run here."""
        return generate_latest(self.registry) + generate_latest(REGISTRY)


class _Attempts(Collector):
    """Under the names that they have in Kubernetes, the first of which does not end as counters do."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        authentications = UnknownMetricFamily("authentication_attempts", "Credentials looked at.", labels=("result",))
        for result, count in self._metrics.authentications.items():
            authentications.add_metric((result,), count)
        authorizations = CounterMetricFamily("authorization_attempts", "Decisions taken.", labels=("result",))
        for result, count in self._metrics.authorizations.items():
            authorizations.add_metric((result,), count)
        yield from (authentications, authorizations)


class _Known(NamedTuple):
    """The metrics of requests with the same labels."""

    seconds: Histogram
    sizes: Histogram | None
    counters: dict[int, Counter]


def _labels(request: Request) -> tuple[str, ...]:
    """Only what the scheme and this file know: nobody can make up labels."""
    found: Route | None = request.context.get("route")
    if found is None or found.resource is None:
        verb = found.verb if found else request.method.lower()
        part = request.path if request.path in _PATHS else ""
        return (verb.upper() if verb in _METHODS else "OTHER", "", "", "", "", part, "", "apiserver")
    row = found.resource
    scope = "resource" if found.name else "namespace" if found.namespace else "cluster"
    verb = _VERBS.get(found.verb) or found.verb.upper()
    if found.subresource in CONNECTING:
        verb = "CONNECT"
    elif verb == "PATCH" and request.headers.get("content-type", "").startswith(_APPLY):
        verb = "APPLY"
    dry = "All" if request.query and "All" in request.query.get("dryRun", ()) else ""
    return (verb, dry, row.group, row.version, row.plural, found.subresource, scope, "apiserver")
