"""What all controllers of a process share: client, informers, configuration, recorders, the time."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from pybernetes.api.resources import NODES, PODS
from pybernetes.client import Client, Informer, Informers
from pybernetes.control import OWNER_INDEXES, EventSink, Recorder
from pybernetes.control.pods import node_of, slim

ON_NODE = "node"
"""Index of pods by node name ("" for unscheduled ones)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ControllersConfig:
    """Durations in seconds."""

    cluster_cidr: str = "10.244.0.0/16"
    """Pod ranges of the cluster, comma-separated for dual stack; "" allots none."""
    node_mask: int = 24
    node_mask_v6: int = 64
    root_ca: str = ""
    """PEM published as ConfigMap kube-root-ca.crt in each namespace; "" publishes none."""
    server: str = ""
    """URL of the API server for ConfigMap cluster-info; "" (or no root_ca) makes none."""
    node_config: str = ""
    """What nodes that join are told, published as ConfigMap pybernetes-node; "" publishes none."""
    authority: str = ""
    """Directory of the ca.crt and ca.key that sign certificate requests; "" signs none."""
    dns_address: str = ""
    """Cluster IP of the Service kube-dns; "" makes none."""
    node_grace_seconds: float = 40.0
    """A node not heard of for so long is NotReady."""
    node_startup_grace_seconds: float = 60.0
    """The same for a node that has never posted a status."""
    pod_gc_seconds: float = 20.0
    """How often pods of nodes that are gone are looked for, and how long a node must be gone."""
    terminated_pods: int = 12500
    """More pods than this that have ended are collected."""
    endpoints_per_slice: int = 100
    workers: int = 5


@dataclass(slots=True)
class Shared:
    """Handed to each controller's constructor."""

    client: Client
    informers: Informers
    config: ControllersConfig
    now: Callable[[], float] = time.time
    recorders: dict[str, Recorder] = field(default_factory=dict)
    accounts: Callable[[str], Client] | None = None
    """A client for each account of kube-system; without, all controllers act as `client`'s user."""

    def acting(self, account: str) -> "Shared":
        """The same for a controller that writes as an account of its own ("" for none); all read by one user."""
        return replace(self, client=self.accounts(account)) if self.accounts and account else self

    def pods(self) -> Informer:
        """All pods, slim, by owner and node."""
        return self.informers.of(PODS, slim=slim, indexes={**OWNER_INDEXES, ON_NODE: lambda pod: (node_of(pod),)})

    def nodes(self) -> Informer:
        return self.informers.of(NODES)

    def recorder(self, component: str) -> EventSink:
        """Records events under a component's name; run together with the controllers."""
        if component not in self.recorders:
            self.recorders[component] = Recorder(self.client, component)
        return self.recorders[component]
