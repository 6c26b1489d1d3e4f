"""The small cluster in which the service proxy is tested, and builders for what is in it.

    outside 172.30.0.9 --+-- node-1 172.30.0.11 -- pod-1a 10.244.1.2, pod-1b 10.244.1.3
                         +-- node-2 172.30.0.12 -- pod-2a 10.244.2.2

Every host and Service has a number; an address family (FOUR, SIX) gives the addresses.
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

    def pods_of(self, node: str) -> str:
        """The range of a node's pods."""
        return f"fd00:244:{node[-1]}::/64" if self.version == 6 else f"10.244.{node[-1]}.0/24"

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
        "loopback": "127.0.0.1",
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
        "loopback": "::1",
    },
    services="fd00:96::/112",
    pods="fd00:244::/32",
    service_prefix="fd00:96::",
    balancers="fd00:51::/112",
    balancer_prefix="fd00:51::",
)
FAMILIES = (FOUR, SIX)

DNS = 10
"""The number of the service address that a node answers itself while it claims it, which none does here."""


def node_of(host: str) -> str:
    return f"node-{host[4]}" if host.startswith("pod-") else host


def zone_of(node: str) -> str:
    """Each node is a zone of its own."""
    return f"zone-{node[-1]}"


def single(address: str) -> str:
    """The range of one address."""
    return f"{address}/{128 if ':' in address else 32}"


def config(addresses: Addresses, node: str, *more: Addresses, **settings: Any) -> ProxyConfig:
    """Of one family, or with `more` of several."""
    families = (addresses, *more)
    return ProxyConfig(
        node_name=node,
        node_addresses=tuple(each.hosts[node] for each in families),
        cluster_cidr=",".join(each.pods for each in families),
        node_cidr=",".join(each.pods_of(node) for each in families),
        service_range=",".join(each.services for each in families),
        local_addresses=tuple(each.service(DNS) for each in families),
        **settings,
    )


def service(addresses: Addresses, name: str, number: int, *ports: dict[str, Any], **spec: Any) -> Obj:
    """`only` is the one family that it has."""
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


def desired(node: str, services: list[tuple[Obj, list[Obj]]]) -> Desired:
    """What the proxy of a node wants of these Services."""
    found: Desired = {}
    for each, slices in services:
        found |= fronts(slim_service(each), [slim_slice(one) for one in slices], node=node, zone=zone_of(node))
    return found
