"""The audit log's counts under Kubernetes' names, made when they are asked for."""

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from .filter import Auditor
from .log import AuditLog


class AuditMetrics(Collector):
    """For a prometheus_client registry."""

    def __init__(self, auditor: Auditor, log: AuditLog) -> None:
        self._auditor = auditor
        self._log = log

    def collect(self) -> Iterator[Metric]:
        yield CounterMetricFamily("apiserver_audit_event", "Events made for the log.", value=self._auditor.events)
        levels = CounterMetricFamily("apiserver_audit_level", "Requests by the policy's level.", labels=("level",))
        for level, count in self._auditor.levels.items():
            levels.add_metric((level,), count)
        lost = CounterMetricFamily("apiserver_audit_error", "Events that could not be written.", labels=("plugin",))
        lost.add_metric(("log",), self._log.failed)
        yield from (levels, lost)
