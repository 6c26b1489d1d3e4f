"""CONTROLLERS, the table of all there are, and Controllers, which runs them in one process on shared informers."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

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
from .podcertificates import PodCertificateRequestCleaner
from .podgc import PodCollector
from .quota import ResourceQuotaController
from .replicaset import ReplicaSetController
from .replicationcontroller import ReplicationControllerController
from .serviceaccount import root_ca, service_accounts
from .shared import ControllersConfig, Shared
from .statefulset import StatefulSetController
from .tainteviction import TaintEvictionController
from .trustbundle import trust_bundle


class Entry(NamedTuple):
    """The account of kube-system that a controller acts as ("" for the manager's own user), and how it is made."""

    account: str
    make: Callable[[Shared], Service | None]

    def made(self, shared: Shared) -> Service | None:
        """The controller, writing as its account; None where the configuration leaves it out."""
        return self.make(shared.acting(self.account))


CONTROLLERS: Mapping[str, Entry] = {
    "namespace": Entry("namespace-controller", NamespaceController),
    "serviceaccount": Entry("service-account-controller", service_accounts),
    "serviceaccount-token": Entry("", AccountTokenController),
    "root-ca": Entry("root-ca-cert-publisher", root_ca),
    "kube-apiserver-serving-clustertrustbundle-publisher": Entry(
        "kube-apiserver-serving-clustertrustbundle-publisher", trust_bundle
    ),
    "node-config": Entry("node-config", node_config),
    "node-ipam": Entry("node-controller", NodeIpamController),
    "node-lifecycle": Entry("node-controller", NodeLifecycleController),
    "taint-eviction": Entry("node-controller", TaintEvictionController),
    "deployment": Entry("deployment-controller", DeploymentController),
    "replicaset": Entry("replicaset-controller", ReplicaSetController),
    "replicationcontroller": Entry("replication-controller", ReplicationControllerController),
    "daemonset": Entry("daemon-set-controller", DaemonSetController),
    "statefulset": Entry("statefulset-controller", StatefulSetController),
    "job": Entry("job-controller", JobController),
    "cronjob": Entry("cronjob-controller", CronJobController),
    "disruption": Entry("disruption-controller", DisruptionController),
    "horizontalpodautoscaler": Entry("horizontal-pod-autoscaler", AutoscalerController),
    "endpointslice": Entry("endpointslice-controller", EndpointSliceController),
    "endpoints": Entry("endpoint-controller", EndpointsController),
    "endpointslice-mirroring": Entry("endpointslicemirroring-controller", MirroringController),
    "cluster-dns": Entry("cluster-dns", cluster_dns),
    "clusterrole-aggregation": Entry("clusterrole-aggregation-controller", AggregationController),
    "certificate": Entry("certificate-controller", CertificateController),
    "podcertificaterequestcleaner": Entry("podcertificaterequestcleaner", PodCertificateRequestCleaner),
    "bootstrap-signer": Entry("bootstrap-signer", BootstrapSigner),
    "token-cleaner": Entry("token-cleaner", TokenCleaner),
    "pod-gc": Entry("pod-garbage-collector", PodCollector),
    "resourcequota": Entry("resourcequota-controller", ResourceQuotaController),
    "garbage-collector": Entry("generic-garbage-collector", GarbageCollector),
}
"""By name, in order of start; None is made where the configuration leaves one out."""

ACCOUNTS = frozenset(entry.account for entry in CONTROLLERS.values() if entry.account)


class Controllers:
    """All controllers. `run` until cancelled; one that fails is started again alone."""

    def __init__(
        self,
        client: Client,
        config: ControllersConfig | None = None,
        *,
        informers: Informers | None = None,
        accounts: Callable[[str], Client] | None = None,
    ) -> None:
        """`informers` are those of the process when it shares them; the caller then runs them. With `accounts` each
        controller writes by the client of its own account.
        """
        self._own = informers is None
        self.informers = informers or Informers(client)
        self.shared = Shared(client, self.informers, config or ControllersConfig(), accounts=accounts)

    async def run(self) -> None:
        made = [entry.made(self.shared) for entry in CONTROLLERS.values()]
        services: list[Service] = [*(one for one in made if one is not None), *self.shared.recorders.values()]
        await supervise(*services, *([self.informers] if self._own else []))
