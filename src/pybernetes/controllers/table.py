"""CONTROLLERS, the table of all there are, and Controllers, which runs them in one process on shared informers."""

from collections.abc import Callable, Mapping

from pybernetes.aio.supervise import Service, supervise
from pybernetes.client import Client, Informers

from .accounttokens import AccountTokenController
from .aggregation import AggregationController
from .autoscaler import AutoscalerController
from .bootstraptokens import BootstrapSigner, TokenCleaner
from .certificates import CertificateController
from .clusterdns import cluster_dns
from .cronjob import CronJobController
from .daemonset import DaemonSetController
from .deployment import DeploymentController
from .disruption import DisruptionController
from .endpoints import EndpointsController
from .endpointslice import EndpointSliceController
from .garbage import GarbageCollector
from .job import JobController
from .mirroring import MirroringController
from .namespace import NamespaceController
from .nodeconfig import node_config
from .nodeipam import NodeIpamController
from .nodelifecycle import NodeLifecycleController
from .podgc import PodCollector
from .quota import ResourceQuotaController
from .replicaset import ReplicaSetController
from .serviceaccount import root_ca, service_accounts
from .shared import ControllersConfig, Shared
from .statefulset import StatefulSetController
from .tainteviction import TaintEvictionController

CONTROLLERS: Mapping[str, Callable[[Shared], Service | None]] = {
    "namespace": NamespaceController,
    "serviceaccount": service_accounts,
    "serviceaccount-token": AccountTokenController,
    "root-ca": root_ca,
    "node-config": node_config,
    "node-ipam": NodeIpamController,
    "node-lifecycle": NodeLifecycleController,
    "taint-eviction": TaintEvictionController,
    "deployment": DeploymentController,
    "replicaset": ReplicaSetController,
    "daemonset": DaemonSetController,
    "statefulset": StatefulSetController,
    "job": JobController,
    "cronjob": CronJobController,
    "disruption": DisruptionController,
    "horizontalpodautoscaler": AutoscalerController,
    "endpointslice": EndpointSliceController,
    "endpoints": EndpointsController,
    "endpointslice-mirroring": MirroringController,
    "cluster-dns": cluster_dns,
    "clusterrole-aggregation": AggregationController,
    "certificate": CertificateController,
    "bootstrap-signer": BootstrapSigner,
    "token-cleaner": TokenCleaner,
    "pod-gc": PodCollector,
    "resourcequota": ResourceQuotaController,
    "garbage-collector": GarbageCollector,
}
"""By name, in order of start; None where the configuration leaves one out."""


class Controllers:
    """All controllers. `run` until cancelled; one that fails is started again alone."""

    def __init__(
        self, client: Client, config: ControllersConfig | None = None, *, informers: Informers | None = None
    ) -> None:
        """`informers` are those of the process when it shares them; the caller then runs them."""
        self._own = informers is None
        self.informers = informers or Informers(client)
        self.shared = Shared(client, self.informers, config or ControllersConfig())

    async def run(self) -> None:
        made = {name: controller for name, make in CONTROLLERS.items() if (controller := make(self.shared)) is not None}
        services: list[Service] = [*made.values(), *self.shared.recorders.values()]
        await supervise(*services, *([self.informers] if self._own else []))
