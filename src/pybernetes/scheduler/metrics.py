"""The scheduler_* metrics of kube-scheduler, under the same names and labels."""

from prometheus_client import Counter, Gauge, Histogram

PROFILE = "default-scheduler"

ATTEMPTS = Counter(
    "scheduler_schedule_attempts",
    "Decisions on pods, by what came out.",
    ["result", "profile"],
)
PENDING = Gauge("scheduler_pending_pods", "Pods not bound yet, by where they wait.", ["queue"])
ALGORITHM = Histogram(
    "scheduler_scheduling_algorithm_duration_seconds",
    "Seconds for one decision.",
    buckets=[0.001 * 2**n for n in range(15)],
)
LATENCY = Histogram(
    "scheduler_pod_scheduling_sli_duration_seconds",
    "Seconds from the first sight of a pod to its binding.",
    buckets=[0.01 * 2**n for n in range(20)],
)
