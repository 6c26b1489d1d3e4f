"""The scheduler_* metrics of kube-scheduler, under the same names and labels."""

from prometheus_client import Counter, Gauge, Histogram

PROFILE = "default-scheduler"

ATTEMPTS = Counter(
    "scheduler_schedule_attempts",
    "Number of attempts to schedule pods, by the result.",
    ["result", "profile"],
)
PENDING = Gauge("scheduler_pending_pods", "Number of pending pods, by the queue type.", ["queue"])
ALGORITHM = Histogram(
    "scheduler_scheduling_algorithm_duration_seconds",
    "Scheduling algorithm latency in seconds",
    buckets=[0.001 * 2**n for n in range(15)],
)
LATENCY = Histogram(
    "scheduler_pod_scheduling_sli_duration_seconds",
    "E2e latency for a pod being scheduled, from the time the pod enters the scheduling queue.",
    buckets=[0.01 * 2**n for n in range(20)],
)
