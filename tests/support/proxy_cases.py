"""The packet table of the service proxy: one small cluster, its Services, and what becomes of a connection to each.

It runs twice: by the tracer over the model (unit), and as real connections in kernel namespaces (integration).

    outside 172.30.0.9 --+-- node-1 172.30.0.11 -- pod-1a 10.244.1.2, pod-1b 10.244.1.3
                         +-- node-2 172.30.0.12 -- pod-2a 10.244.2.2

`Plan` spells the same in either family: every host has a number, and the family gives the addresses.
"""

import json
from dataclasses import dataclass
from typing import Any, Literal

from pybernetes.api.objects import Obj
from pybernetes.proxy.config import ProxyConfig
from pybernetes.proxy.model import Desired
from pybernetes.proxy.tracker import fronts, slim_service, slim_slice

PODS = ("pod-1a", "pod-1b", "pod-2a")
NODES = ("node-1", "node-2")
HOSTS = (*PODS, *NODES, "outside")


@dataclass(frozen=True)
class Addresses:
    """The addresses of everything in one family."""

    version: int
    hosts: dict[str, str]
    services: str
    pods: str
    service_prefix: str
    balancers: str
    balancer_prefix: str

    def service(self, number: int) -> str:
        return f"{self.service_prefix}{number}"

    def balancer(self, number: int) -> str:
        return f"{self.balancer_prefix}{number}"


FOUR = Addresses(
    version=4,
    hosts={
        "pod-1a": "10.244.1.2",
        "pod-1b": "10.244.1.3",
        "pod-2a": "10.244.2.2",
        "node-1": "172.30.0.11",
        "node-2": "172.30.0.12",
        "outside": "172.30.0.9",
    },
    services="10.96.0.0/16",
    pods="10.244.0.0/16",
    service_prefix="10.96.0.",
    balancers="198.51.100.0/24",
    balancer_prefix="198.51.100.",
)
SIX = Addresses(
    version=6,
    hosts={
        "pod-1a": "fd00:244:1::2",
        "pod-1b": "fd00:244:1::3",
        "pod-2a": "fd00:244:2::2",
        "node-1": "fd00:30::11",
        "node-2": "fd00:30::12",
        "outside": "fd00:30::9",
    },
    services="fd00:96::/112",
    pods="fd00:244::/32",
    service_prefix="fd00:96::",
    balancers="fd00:51::/112",
    balancer_prefix="fd00:51::",
)
FAMILIES = (FOUR, SIX)

DNS = 10
"""The number of the service address that every node answers itself."""


def node_of(host: str) -> str:
    return f"node-{host[4]}" if host.startswith("pod-") else host


def zone_of(node: str) -> str:
    """Each node is a zone of its own."""
    return f"zone-{node[-1]}"


def single(address: str) -> str:
    """The range of one address."""
    return f"{address}/{128 if ':' in address else 32}"


def config(addresses: Addresses, node: str) -> ProxyConfig:
    return ProxyConfig(
        node_name=node,
        node_addresses=(addresses.hosts[node],),
        cluster_cidr=addresses.pods,
        service_range=addresses.services,
        local_addresses=(addresses.service(DNS),),
    )


def service(addresses: Addresses, name: str, number: int, *ports: dict[str, Any], **spec: Any) -> Obj:
    return {
        "metadata": {"namespace": "default", "name": name, "uid": name, "resourceVersion": "1"},
        "spec": {"type": "NodePort", "clusterIPs": [addresses.service(number)], "ports": list(ports), **spec},
    }


def port(number: int, *, name: str = "", protocol: str = "TCP", node_port: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = {"name": name, "port": number, "protocol": protocol}
    return found | ({"nodePort": node_port} if node_port else {})


def endpoints(addresses: Addresses, name: str, pods: tuple[str, ...], *ports: tuple[str, int], **options: Any) -> Obj:
    protocol = options.pop("protocol", "TCP")
    return {
        "metadata": {
            "namespace": "default",
            "name": f"{name}-1",
            "uid": f"{name}-1",
            "resourceVersion": "1",
            "labels": {"kubernetes.io/service-name": name},
        },
        "addressType": f"IPv{addresses.version}",
        "endpoints": [
            {"addresses": [addresses.hosts[pod]], "nodeName": node_of(pod), "conditions": options or {"ready": True}}
            for pod in pods
        ],
        "ports": [{"name": port_name, "port": number, "protocol": protocol} for port_name, number in ports],
    }


def hinted(made: Obj, kind: Literal["forNodes", "forZones"]) -> Obj:
    """Each endpoint is meant for its own node, or zone."""
    for each in made["endpoints"]:
        node = each["nodeName"]
        each["hints"] = {kind: [{"name": node if kind == "forNodes" else zone_of(node)}]}
    return made


def weighted(made: Obj, at: Addresses, **weights: int) -> Obj:
    """`pod_1a=40` and so on."""
    told = {at.hosts[pod.replace("_", "-")]: weight for pod, weight in weights.items()}
    made["metadata"]["annotations"] = {"pybernetes.io/weights": json.dumps(told)}
    return made


def balanced(made: Obj, address: str, *sources: str) -> Obj:
    made["spec"] |= {"type": "LoadBalancer", "loadBalancerClass": "example.org/any"}
    made["spec"]["loadBalancerSourceRanges"] = list(sources)
    made["status"] = {"loadBalancer": {"ingress": [{"ip": address, "ipMode": "VIP"}]}}
    return made


def cluster(at: Addresses) -> list[tuple[Obj, list[Obj]]]:
    """The Services and their slices."""
    sticky = {"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 60}}}
    http = port(80, name="http")
    return [
        (
            service(at, "web", 20, port(80, name="http", node_port=30080), port(81, name="alt")),
            [endpoints(at, "web", ("pod-1a", "pod-2a"), ("http", 8080), ("alt", 8081))],
        ),
        (
            service(at, "names", 21, port(53, name="dns", protocol="UDP", node_port=30053)),
            [endpoints(at, "names", ("pod-1a", "pod-2a"), ("dns", 5353), protocol="UDP")],
        ),
        (
            service(
                at,
                "empty",
                22,
                port(80, name="http", node_port=30022),
                port(53, name="dns", protocol="UDP", node_port=30023),
            ),
            [],
        ),
        (service(at, "self", 23, http), [endpoints(at, "self", ("pod-1a",), ("http", 8080))]),
        (
            service(at, "sticky", 24, port(80, name="http", node_port=30024), **sticky),
            [endpoints(at, "sticky", PODS, ("http", 8080))],
        ),
        (
            service(at, "here", 25, http, internalTrafficPolicy="Local"),
            [endpoints(at, "here", ("pod-2a",), ("http", 8080))],
        ),
        (
            service(at, "edge", 26, port(80, name="http", node_port=30026), externalTrafficPolicy="Local"),
            [endpoints(at, "edge", ("pod-1a",), ("http", 8080))],
        ),
        (
            service(at, "ending", 27, http),
            [endpoints(at, "ending", ("pod-2a",), ("http", 8080), ready=False, serving=True, terminating=True)],
        ),
        (
            service(at, "half", 28, http),
            [
                endpoints(at, "half", ("pod-1a",), ("http", 8080), ready=False, serving=False),
                endpoints(at, "half", ("pod-1b",), ("http", 8080)),
            ],
        ),
        (
            service(at, "broad", 29, port(80, name="http"), externalIPs=[at.hosts["node-1"]], type="ClusterIP"),
            [endpoints(at, "broad", ("pod-2a",), ("http", 8080))],
        ),
        (
            service(at, "sticky-here", 30, http, internalTrafficPolicy="Local", **sticky),
            [endpoints(at, "sticky-here", PODS, ("http", 8080))],
        ),
        (
            balanced(service(at, "open", 31, http), at.balancer(1)),
            [endpoints(at, "open", ("pod-1a", "pod-2a"), ("http", 8080))],
        ),
        (
            balanced(service(at, "fenced", 32, http), at.balancer(2), single(at.hosts["outside"]), "192.0.2.0/24"),
            [endpoints(at, "fenced", ("pod-2a",), ("http", 8080))],
        ),
        (
            balanced(service(at, "closed", 33, http), at.balancer(3), single(at.hosts["node-2"])),
            [endpoints(at, "closed", ("pod-2a",), ("http", 8080))],
        ),
        (
            balanced(service(at, "local", 34, http, externalTrafficPolicy="Local"), at.balancer(4)),
            [endpoints(at, "local", ("pod-1a",), ("http", 8080))],
        ),
        (
            service(at, "near", 35, http),
            [hinted(endpoints(at, "near", ("pod-1a", "pod-2a"), ("http", 8080)), "forNodes")],
        ),
        (
            service(at, "zonal", 36, http),
            [hinted(endpoints(at, "zonal", ("pod-1a", "pod-2a"), ("http", 8080)), "forZones")],
        ),
        (
            service(at, "canary", 37, port(80, name="http", node_port=30037)),
            [weighted(endpoints(at, "canary", PODS, ("http", 8080)), at, pod_1a=40, pod_1b=0, pod_2a=60)],
        ),
        (
            service(at, "canary-sticky", 38, http, **sticky),
            [weighted(endpoints(at, "canary-sticky", PODS, ("http", 8080)), at, pod_1a=0, pod_1b=0, pod_2a=1)],
        ),
        (
            service(at, "resting", 39, http),
            [weighted(endpoints(at, "resting", ("pod-1a",), ("http", 8080)), at, pod_1a=0)],
        ),
        (
            service(at, "signals", 42, port(80, name="sctp", protocol="SCTP", node_port=30042)),
            [endpoints(at, "signals", ("pod-1a", "pod-2a"), ("sctp", 9090), protocol="SCTP")],
        ),
        (service(at, "host", 40, http), [endpoints(at, "host", ("node-2",), ("http", 8080))]),
        (
            service(at, "ending-here", 41, http, internalTrafficPolicy="Local"),
            [
                endpoints(at, "ending-here", ("pod-1a",), ("http", 8080), ready=False, serving=True, terminating=True),
                endpoints(at, "ending-here", ("pod-2a",), ("http", 8080)),
            ],
        ),
    ]


def desired(at: Addresses, node: str, services: list[tuple[Obj, list[Obj]]] | None = None) -> Desired:
    """What the proxy of a node wants of these Services."""
    found: Desired = {}
    for each, slices in cluster(at) if services is None else services:
        found |= fronts(slim_service(each), [slim_slice(one) for one in slices], node=node, zone=zone_of(node))
    return found


Expected = tuple[str, ...] | Literal["refused", "dropped", "node"]


@dataclass(frozen=True)
class Case:
    """`to` is a service's number, a host's name, or "balancer-1" and so on; who may answer, and whether the caller's
    address is kept.
    """

    name: str
    caller: str
    to: int | str
    port: int
    expected: Expected
    kept: bool = True
    protocol: Literal["TCP", "UDP", "SCTP"] = "TCP"

    def address(self, at: Addresses) -> str:
        if isinstance(self.to, int):
            return at.service(self.to)
        kind, _, number = self.to.partition("-")
        return at.balancer(int(number)) if kind == "balancer" else at.hosts[self.to]


WEB = ("pod-1a", "pod-2a")
CASES = (
    Case("pod to cluster IP", "pod-1b", 20, 80, WEB),
    Case("pod to cluster IP from the other node", "pod-2a", 20, 80, WEB, kept=False),
    Case("a second port", "pod-1b", 20, 81, WEB),
    Case("pod to cluster IP by UDP", "pod-1b", 21, 53, WEB, protocol="UDP"),
    Case("node to cluster IP", "node-1", 20, 80, WEB, kept=False),
    Case("node to cluster IP by UDP", "node-2", 21, 53, WEB, kept=False, protocol="UDP"),
    Case("pod to itself by its service", "pod-1a", 23, 80, ("pod-1a",), kept=False),
    Case("node port from outside", "outside", "node-1", 30080, WEB, kept=False),
    Case("node port of a node without need", "outside", "node-2", 30080, WEB, kept=False),
    Case("node port by UDP", "outside", "node-2", 30053, WEB, kept=False, protocol="UDP"),
    Case("node port from a pod", "pod-1b", "node-1", 30080, WEB, kept=False),
    Case("node port from a pod by the other node", "pod-1b", "node-2", 30080, WEB, kept=False),
    Case("node port from the node", "node-1", "node-1", 30080, WEB, kept=False),
    Case("no endpoints", "pod-1a", 22, 80, "refused"),
    Case("no endpoints by UDP", "pod-1a", 22, 53, "refused", protocol="UDP"),
    Case("no endpoints from the node", "node-1", 22, 80, "refused"),
    Case("no endpoints by node port", "outside", "node-1", 30022, "refused"),
    Case("no endpoints by UDP node port", "outside", "node-1", 30023, "refused", protocol="UDP"),
    Case("unknown port of a cluster IP", "pod-1a", 20, 82, "refused"),
    Case("unknown port by UDP", "pod-1a", 20, 80, "refused", protocol="UDP"),
    Case("unknown cluster IP", "pod-1a", 99, 80, "refused"),
    Case("unknown cluster IP from the node", "node-1", 99, 80, "refused"),
    Case("affinity", "pod-1b", 24, 80, PODS, kept=False),
    Case("affinity from the node is masqueraded", "node-1", 24, 80, PODS, kept=False),
    Case("affinity by node port", "outside", "node-2", 30024, PODS, kept=False),
    Case("internal policy Local, an endpoint here", "node-2", 25, 80, ("pod-2a",), kept=False),
    Case("internal policy Local, none here", "pod-1a", 25, 80, "dropped"),
    Case("internal policy Local with affinity", "node-2", 30, 80, ("pod-2a",), kept=False),
    Case("external policy Local, an endpoint here", "outside", "node-1", 30026, ("pod-1a",)),
    Case("external policy Local, none here", "outside", "node-2", 30026, "dropped"),
    Case("external policy Local from a pod", "pod-2a", "node-2", 30026, ("pod-1a",)),
    Case("external policy Local from the node", "node-2", "node-2", 30026, ("pod-1a",)),
    Case("external policy Local by its cluster IP", "pod-2a", 26, 80, ("pod-1a",)),
    Case("only endpoints that end are left", "pod-1a", 27, 80, ("pod-2a",)),
    Case("only the ready one", "pod-2a", 28, 80, ("pod-1b",)),
    Case("external address", "outside", "node-1", 80, ("pod-2a",), kept=False),
    Case("what the node answers itself", "pod-1a", DNS, 53, "node"),
    Case("what the node answers itself, called by the node", "node-1", DNS, 53, "node"),
    Case("load balancer", "outside", "balancer-1", 80, WEB, kept=False),
    Case("load balancer from a pod", "pod-1b", "balancer-1", 80, WEB, kept=False),
    Case("load balancer from the node", "node-1", "balancer-1", 80, WEB, kept=False),
    Case("source ranges, one of them", "outside", "balancer-2", 80, ("pod-2a",), kept=False),
    Case("source ranges, a pod in none", "pod-1b", "balancer-2", 80, "dropped"),
    Case("source ranges, the node in none", "node-1", "balancer-2", 80, "dropped"),
    Case("source ranges leave the cluster IP open", "pod-1b", 32, 80, ("pod-2a",)),
    Case("source ranges, none of them", "outside", "balancer-3", 80, "dropped"),
    Case("source ranges, the node in one", "node-2", "balancer-3", 80, ("pod-2a",), kept=False),
    Case("load balancer with policy Local", "outside", "balancer-4", 80, ("pod-1a",)),
    Case("hints for the node", "pod-1b", 35, 80, ("pod-1a",)),
    Case("hints for the other node", "node-2", 35, 80, ("pod-2a",), kept=False),
    Case("hints for the zone", "pod-1b", 36, 80, ("pod-1a",)),
    Case("hints for the other zone", "node-2", 36, 80, ("pod-2a",), kept=False),
    Case("weights", "pod-2a", 37, 80, WEB, kept=False),
    Case("weights by node port", "outside", "node-1", 30037, WEB, kept=False),
    Case("weights with affinity", "pod-1b", 38, 80, ("pod-2a",)),
    Case("all weights are 0", "pod-1b", 39, 80, "refused"),
    Case("an endpoint on the host network", "pod-1b", 40, 80, ("node-2",)),
    Case("an endpoint on the host network from another node", "node-1", 40, 80, ("node-2",), kept=False),
    Case("internal policy Local, the one here ends", "pod-1b", 41, 80, ("pod-1a",)),
    Case("pod to cluster IP by SCTP", "pod-1b", 42, 80, WEB, protocol="SCTP"),
    Case("SCTP to a node port", "outside", "node-2", 30042, WEB, kept=False, protocol="SCTP"),
    Case("pod to pod without a service", "pod-1a", "pod-2a", 8080, ("pod-2a",)),
)
