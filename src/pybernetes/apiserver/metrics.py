"""The server's metrics, under Kubernetes' names (docs: Kubernetes Metrics Reference)."""

from collections.abc import Callable
from typing import NamedTuple

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from pybernetes.wire import Request, Response

from .route import Route

_BUCKETS = (0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 45, 60)
_LABELS = ("verb", "group", "version", "resource", "subresource", "scope")


class WebhookCall(NamedTuple):
    """One call of an admission webhook; `type` is "admit" (mutating) or "validating"."""

    name: str
    type: str
    operation: str
    seconds: float
    rejected: bool = False
    failed_open: bool = False


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
        self._known: dict[tuple[str, ...], tuple[Histogram, dict[int, Counter]]] = {}

        self._webhooks = Histogram(
            "apiserver_admission_webhook_admission_duration_seconds",
            "Seconds that an admission webhook took.",
            ("name", "type", "operation", "rejected"),
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self._failed_open = Counter(
            "apiserver_admission_webhook_fail_open_count",
            "Failed calls of webhooks that may fail.",
            ("name", "type"),
            registry=self.registry,
        )

    def webhook(self, asked: "WebhookCall") -> None:
        rejected = str(asked.rejected).lower()
        self._webhooks.labels(asked.name, asked.type, asked.operation, rejected).observe(asked.seconds)
        if asked.failed_open:
            self._failed_open.labels(asked.name, asked.type).inc()

    def gauge(self, name: str, text: str, read: Callable[[], float]) -> None:
        """A figure that is read when asked for."""
        Gauge(name, text, registry=self.registry).set_function(read)

    def request(self, request: Request, response: Response, seconds: float) -> None:
        found: Route | None = request.context.get("route")
        labels = _labels(found)
        known = self._known.get(labels)
        if known is None:
            known = self._known[labels] = (self._seconds.labels(*labels), {})
        histogram, counters = known
        counter = counters.get(response.status)
        if counter is None:
            counter = counters[response.status] = self._requests.labels(*labels, str(response.status))
        counter.inc()
        if labels[0] != "WATCH":
            histogram.observe(seconds)

    def text(self) -> bytes:
        """The server's, and those of the rest of its process: controllers and scheduler, when they run here."""
        return generate_latest(self.registry) + generate_latest(REGISTRY)


def _labels(found: Route | None) -> tuple[str, ...]:
    if found is None or found.resource is None:
        return (found.verb.upper() if found else "OTHER", "", "", "", "", "")
    row = found.resource
    scope = "resource" if found.name else "namespace" if found.namespace else "cluster"
    return (found.verb.upper(), row.group, row.version, row.plural, found.subresource, scope)
