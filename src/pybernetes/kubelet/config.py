"""What the kubelet of one node is told; addresses are strings, ranges CIDR, times seconds."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class KubeletConfig:
    node_name: str
    node_addresses: tuple[str, ...]
    """One of each IP family, the primary one first."""
    pod_ranges: tuple[str, ...] = ()
    """This node's pod ranges, one of each family; () waits for spec.podCIDRs of the Node."""
    cluster_dns: tuple[str, ...] = ()
    """The nameservers of pods, in order."""
    cluster_domain: str = "cluster.local"
    state_directory: str = "/var/lib/pybernetes/agent"
    """Records of containers, volumes, logs: lost with them are the pods."""
    run_directory: str = "/run/pybernetes/agent"
    """Network namespaces."""
    port: int = 10250
    certificate: str = ""
    """PEM of the serving certificate; without one the kubelet's server is not started."""
    key: str = ""
    client_ca: str = ""
    renewed_certificate: str = ""
    """PEM file for a serving certificate and key that are asked for and renewed through the API; "" for none."""
    hidden: tuple[str, ...] = ()
    """Further directories of the machine that no container sees: keys, above all."""
    lease_seconds: float = 10.0
    lease_duration_seconds: float = 40.0
    status_seconds: float = 10.0
    """How often the node's status is written when nothing changes."""
    labels: Mapping[str, str] = field(default_factory=dict)
    max_pods: int = 110
    resync_seconds: float = 60.0
    """How often a pod is looked at when nothing happens."""
    resolv_conf: str = "/etc/resolv.conf"
    log_max_bytes: int = 10 << 20
    log_files: int = 5

    @property
    def state(self) -> Path:
        return Path(self.state_directory)

    @property
    def run(self) -> Path:
        return Path(self.run_directory)
