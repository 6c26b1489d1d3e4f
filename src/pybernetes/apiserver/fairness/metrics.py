"""The gate's counts under Kubernetes' names, made when they are asked for: a request pays for no label look-up."""

from collections.abc import Iterator
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from .gate import BUCKETS, Gate

_PREFIX = "apiserver_flowcontrol_"
_BOTH = ("flow_schema", "priority_level")


class FlowMetrics(Collector):
    """For a prometheus_client registry."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    def collect(self) -> Iterator[Metric]:
        yield from self._levels()
        waiting = GaugeMetricFamily(f"{_PREFIX}current_inqueue_requests", "Requests that wait.", labels=_BOTH)
        running = GaugeMetricFamily(f"{_PREFIX}current_executing_requests", "Requests that run.", labels=_BOTH)
        done = CounterMetricFamily(f"{_PREFIX}dispatched_requests", "Requests that were let through.", labels=_BOTH)
        refused = CounterMetricFamily(
            f"{_PREFIX}rejected_requests", "Requests that were not.", labels=(*_BOTH, "reason")
        )
        waited = HistogramMetricFamily(
            f"{_PREFIX}request_wait_duration_seconds", "Seconds in the queue.", labels=(*_BOTH, "execute")
        )
        for name, counts in self._gate.counts.items():
            labels = (name, counts.level)
            waiting.add_metric(labels, counts.queued)
            running.add_metric(labels, counts.executing)
            done.add_metric(labels, counts.dispatched)
            for reason, count in counts.rejected.items():
                refused.add_metric((*labels, reason), count)
            limits = [*map(str, BUCKETS), "+Inf"]
            buckets = list(zip(limits, map(float, accumulate(counts.waited)), strict=True))
            waited.add_metric((*labels, "true"), buckets, counts.waited_seconds)
        yield from (waiting, running, done, refused, waited)

    def _levels(self) -> Iterator[Metric]:
        nominal = GaugeMetricFamily(f"{_PREFIX}nominal_limit_seats", "A level's seats.", labels=("priority_level",))
        lower = GaugeMetricFamily(f"{_PREFIX}lower_limit_seats", "Seats it never lends.", labels=("priority_level",))
        for level in self._gate.queues.levels.values():
            nominal.add_metric((level.name,), level.nominal)
            lower.add_metric((level.name,), level.reserved)
        yield from (nominal, lower)
