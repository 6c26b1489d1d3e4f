"""The proxy's metrics, under kube-proxy's names (pkg/proxy/metrics) where it has them."""

from prometheus_client import Counter, Gauge, Histogram

SYNC = Histogram(
    "kubeproxy_sync_proxy_rules_duration_seconds",
    "How long one sync of the rules took.",
    buckets=(0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.024, 2.048, 4.096, 8.192, 16.384),
)
PROGRAMMING = Histogram(
    "kubeproxy_network_programming_duration_seconds",
    "From the change that caused it (last-change-trigger-time of the slice, whole seconds) to the kernel.",
    buckets=(0.25, 0.5, 1, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 45, 60, 120, 300),
)
LAST_SYNC = Gauge("kubeproxy_sync_proxy_rules_last_timestamp_seconds", "When the rules were last synced.")
LAST_QUEUED = Gauge("kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds", "When a sync was last asked for.")
SERVICE_CHANGES = Counter("kubeproxy_sync_proxy_rules_service_changes_total", "Changes of Services seen.")
ENDPOINT_CHANGES = Counter("kubeproxy_sync_proxy_rules_endpoint_changes_total", "Changes of EndpointSlices seen.")
FAILURES = Counter("kubeproxy_sync_proxy_rules_nftables_sync_failures_total", "Transactions the kernel refused.")
SERVICE_PORTS = Gauge("pybernetes_proxy_service_ports", "Service ports in the table.")
DRIFT = Counter("pybernetes_proxy_drift_total", "Operations that were needed to put right what others had changed.")
APPLIED = Gauge(
    "pybernetes_proxy_applied_revision", "The resourceVersion up to which the kernel is programmed.", ["resource"]
)
