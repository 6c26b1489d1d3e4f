"""The workqueue_* metrics of Kubernetes' components, under the same names and labels (k8s.io/component-base)."""

from dataclasses import dataclass
from typing import Self

from prometheus_client import Counter, Gauge, Histogram

_BUCKETS = (1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0, 100.0)

DEPTH = Gauge("workqueue_depth", "Keys that wait for a worker.", ["name"])
ADDS = Counter("workqueue_adds", "Keys added, those that coalesced included.", ["name"])
RETRIES = Counter("workqueue_retries", "Keys put back after a failure.", ["name"])
WAITED = Histogram(
    "workqueue_queue_duration_seconds",
    "Seconds from the add of a key to its worker.",
    ["name"],
    buckets=_BUCKETS,
)
WORKED = Histogram(
    "workqueue_work_duration_seconds",
    "Seconds that a worker had a key.",
    ["name"],
    buckets=_BUCKETS,
)


@dataclass(frozen=True, slots=True)
class QueueMetrics:
    """The metrics of one queue, labels bound."""

    depth: Gauge
    adds: Counter
    retries: Counter
    waited: Histogram
    work: Histogram

    @classmethod
    def of(cls, name: str) -> Self:
        return cls(
            DEPTH.labels(name), ADDS.labels(name), RETRIES.labels(name), WAITED.labels(name), WORKED.labels(name)
        )

    def got(self, depth: int, waited_seconds: float) -> None:
        self.depth.set(depth)
        self.waited.observe(waited_seconds)

    def worked(self, seconds: float) -> None:
        self.work.observe(seconds)
