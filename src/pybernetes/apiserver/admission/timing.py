"""How long admission takes: each built-in step by its plug-in's name, and all steps of a kind together.

Kept in plain numbers and made into metrics when they are asked for: a write passes a dozen steps of some microseconds.
"""

import time
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

from prometheus_client.core import HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from .call import Admission, Call

Kind = Literal["admit", "validate"]

_BUCKETS = (0.005, 0.025, 0.1, 0.5, 1.0, 2.5)
_NAMES = {
    "namespace_lifecycle": "NamespaceLifecycle",
    "limit_defaults": "LimitRanger",
    "limit_bounds": "LimitRanger",
    "service_account": "ServiceAccount",
    "account_secrets": "ServiceAccount",
    "priority": "Priority",
    "priority_classes": "Priority",
    "default_tolerations": "DefaultTolerationSeconds",
    "default_storage_class": "DefaultStorageClass",
    "default_ingress_class": "DefaultIngressClass",
    "runtime_class": "RuntimeClass",
    "runtime_class_overhead": "RuntimeClass",
    "request_origin": "CertificateSubjectRestriction",
    "node_restriction": "NodeRestriction",
    "no_escalation": "RBACEscalation",
    "certificate_requests": "CertificateApproval",
}
"""Plug-ins by the functions that are theirs."""


class _Times:
    __slots__ = ("buckets", "seconds")

    def __init__(self) -> None:
        self.buckets = [0] * (len(_BUCKETS) + 1)
        self.seconds = 0.0

    def add(self, seconds: float) -> None:
        self.buckets[bisect_left(_BUCKETS, seconds)] += 1
        self.seconds += seconds

    def shown(self) -> list[tuple[str, float]]:
        """Cumulated, as histograms are written."""
        found, total = [], 0
        for bound, count in zip((*map(str, _BUCKETS), "+Inf"), self.buckets, strict=True):
            total += count
            found.append((bound, float(total)))
        return found


class AdmissionTimes(Collector):
    """Runs the built-in steps, and tells how long they took."""

    def __init__(self) -> None:
        self._controllers: dict[tuple[str, ...], _Times] = {}
        self._steps: dict[tuple[str, ...], _Times] = {}

    def run(self, steps: Sequence[Admission], call: Call, *, kind: Kind) -> None:
        """Raises what the first step raises that refuses."""
        operation = call.operation
        for step in steps:
            begun, rejected = time.perf_counter(), "true"
            try:
                step(call)
                rejected = "false"
            finally:
                _add(self._controllers, (_name(step), operation, kind, rejected), begun)

    @contextmanager
    def step(self, call: Call, *, kind: Kind) -> Iterator[None]:
        """Around all that admits or validates a call, webhooks too."""
        operation, begun, rejected = call.operation, time.perf_counter(), "true"
        try:
            yield
            rejected = "false"
        finally:
            _add(self._steps, (operation, kind, rejected), begun)

    def collect(self) -> Iterator[Metric]:
        yield _family(
            "apiserver_admission_controller_admission_duration_seconds",
            "Seconds that a step of admission took, by its plug-in.",
            ("name", "operation", "type", "rejected"),
            self._controllers,
        )
        yield _family(
            "apiserver_admission_step_admission_duration_seconds",
            "Seconds that all of admission took.",
            ("operation", "type", "rejected"),
            self._steps,
        )


def _name(step: Admission) -> str:
    """One with a state is an object of a class that has the plug-in's name."""
    name = getattr(step, "__name__", "") or type(step).__name__
    return _NAMES.get(name, name)


def _add(found: dict[tuple[str, ...], _Times], key: tuple[str, ...], begun: float) -> None:
    times = found.get(key)
    if times is None:
        times = found[key] = _Times()
    times.add(time.perf_counter() - begun)


def _family(name: str, text: str, labels: Sequence[str], found: dict[tuple[str, ...], _Times]) -> Metric:
    family = HistogramMetricFamily(name, text, labels=labels)
    for key, times in found.items():
        family.add_metric(key, times.shown(), times.seconds)
    return family
