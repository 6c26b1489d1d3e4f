"""Service kube-dns in kube-system: the cluster DNS as clients and tools expect to find it.

Every node answers at the cluster DNS address itself; the Endpoints are the nodes, ready while their node is. They are
written as Endpoints of a Service without selector, so the mirroring controller makes the EndpointSlices.
"""

from collections.abc import Iterable, Sequence

from pybernetes.api import ranges
from pybernetes.api.errors import AlreadyExists
from pybernetes.api.objects import Key, Obj, condition_is, name_of
from pybernetes.api.resources import ENDPOINTS, SERVICES
from pybernetes.control import Again, Controller

from .shared import Shared

KEY = Key("kube-system", "kube-dns")
_LABELS = {"k8s-app": "kube-dns", "kubernetes.io/cluster-service": "true", "kubernetes.io/name": "CoreDNS"}
_PORTS = (
    {"name": "dns", "port": 53, "protocol": "UDP"},
    {"name": "dns-tcp", "port": 53, "protocol": "TCP"},
    {"name": "metrics", "port": 9153, "protocol": "TCP"},
)


class ClusterDnsController:
    """Keeps the Service and its Endpoints. There is one key."""

    def __init__(self, shared: Shared) -> None:
        self.client = shared.client
        self.addresses = ranges.split(shared.config.dns_address)
        fields = f"metadata.name={KEY.name}"
        self.services = shared.informers.of(SERVICES, namespace=KEY.namespace, fields=fields)
        self.endpoints = shared.informers.of(ENDPOINTS, namespace=KEY.namespace, fields=fields)
        self.nodes = shared.nodes()
        informers = (self.services, self.endpoints, self.nodes)
        self.controller = Controller("cluster_dns", self.reconcile, workers=1, informers=informers)
        for informer in informers:
            informer.subscribe(lambda _: self.controller.queue.add(KEY))

    async def run(self) -> None:
        self.controller.queue.add(KEY)
        await self.controller.run()

    async def reconcile(self, key: Key) -> Again | None:
        try:
            if self.services.cache.get(key) is None:
                await self.client.create(SERVICES, wanted_service(self.addresses))
            subsets = wanted_subsets(self.nodes.cache.select())
            held = self.endpoints.cache.get(key)
            if held is None:
                await self.client.create(ENDPOINTS, _named("Endpoints") | {"subsets": subsets})
            elif (held.get("subsets") or []) != subsets:
                await self.client.patch(ENDPOINTS, key, {"subsets": subsets})
        except AlreadyExists:
            return None  # the cache will say so soon
        return None


def cluster_dns(shared: Shared) -> ClusterDnsController | None:
    """None when the configuration has no address for it."""
    return ClusterDnsController(shared) if shared.config.dns_address else None


def wanted_service(addresses: Sequence[str]) -> Obj:
    """At the addresses of cluster DNS, of one family or both."""
    ports = [port | {"targetPort": port["port"]} for port in _PORTS]
    policy = "RequireDualStack" if len(addresses) > 1 else "SingleStack"
    families = {"clusterIP": addresses[0], "clusterIPs": list(addresses), "ipFamilyPolicy": policy}
    service = _named("Service") | {"spec": families | {"ports": ports}}
    service["metadata"]["annotations"] = {"prometheus.io/port": "9153", "prometheus.io/scrape": "true"}
    return service


def wanted_subsets(nodes: Iterable[Obj]) -> list[Obj]:
    """One subset with every node's address: ready ones, and the others as not ready."""
    ready: list[Obj] = []
    absent: list[Obj] = []
    for node in sorted(nodes, key=name_of):
        for entry in (node.get("status") or {}).get("addresses") or ():
            if entry["type"] == "InternalIP":
                (ready if condition_is(node, "Ready") else absent).append(
                    {"ip": entry["address"], "nodeName": name_of(node)}
                )
    if not ready and not absent:
        return []
    subset: Obj = {"ports": [dict(port) for port in _PORTS]}
    if ready:
        subset["addresses"] = ready
    if absent:
        subset["notReadyAddresses"] = absent
    return [subset]


def _named(kind: str) -> Obj:
    meta = {"namespace": KEY.namespace, "name": KEY.name, "labels": dict(_LABELS)}
    return {"apiVersion": "v1", "kind": kind, "metadata": meta}
