"""The packet table of the service proxy: Services of the small cluster, and what becomes of a connection to each.

It runs by the tracer over the model (unit) and as real connections in kernel namespaces (integration), in either
family, in clusters of one family and of both. Every row goes by each protocol: all Services have ports for the three.
"""

from dataclasses import dataclass, replace
from typing import Any, Literal

from pybernetes.api.objects import Obj
from support.proxy_cases import DNS, PODS, SIX, Addresses, endpoints, hinted, port, service, single, weighted

Protocol = Literal["TCP", "UDP", "SCTP"]
PROTOCOLS: tuple[Protocol, ...] = ("TCP", "UDP", "SCTP")
Services = list[tuple[Obj, list[Obj]]]

STICKY = {"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 60}}}
ENDING = {"ready": False, "serving": True, "terminating": True}


def ports(number: int = 80, *, name: str = "http", node_port: int = 0) -> list[dict[str, Any]]:
    """One port by each protocol."""
    return [port(number, name=f"{name}-{each.lower()}", protocol=each, node_port=node_port) for each in PROTOCOLS]


def behind(at: Addresses, name: str, *pods: str, **conditions: bool) -> Obj:
    """A slice of these endpoints."""
    made = endpoints(at, name, pods, **conditions)
    numbers = {"http": 8080, "alt": 8081}
    made["ports"] = [
        {"name": f"{each}-{protocol.lower()}", "port": number, "protocol": protocol}
        for each, number in numbers.items()
        for protocol in PROTOCOLS
    ]
    return made


def balanced(made: Obj, address: str, *sources: str, mode: str = "VIP") -> Obj:
    made["spec"] |= {"type": "LoadBalancer", "loadBalancerClass": "example.org/any"}
    made["spec"]["loadBalancerSourceRanges"] = list(sources)
    made["status"] = {"loadBalancer": {"ingress": [{"ip": address, "ipMode": mode}]}}
    return made


def cluster(at: Addresses) -> Services:
    """The Services and their slices in one family."""
    return [*_plain(at), *_policies(at), *_balancers(at), *_chosen(at)]


def _plain(at: Addresses) -> Services:
    return [
        (
            service(at, "web", 20, *ports(node_port=30080), *ports(81, name="alt")),
            [behind(at, "web", "pod-1a", "pod-2a")],
        ),
        (service(at, "empty", 22, *ports(node_port=30022)), []),
        (service(at, "self", 23, *ports(node_port=30023)), [behind(at, "self", "pod-1a")]),
        (service(at, "sticky", 24, *ports(node_port=30024), **STICKY), [behind(at, "sticky", *PODS)]),
        (
            service(at, "broad", 29, *ports(), externalIPs=[at.hosts["node-1"]], type="ClusterIP"),
            [behind(at, "broad", "pod-2a")],
        ),
        (service(at, "resolver", DNS, *ports(53)), [behind(at, "resolver", "pod-1a", "pod-2a")]),
        (service(at, "host", 40, *ports(node_port=30040)), [behind(at, "host", "node-2")]),
        (service(at, "one-family", 43, *ports(), only=4), [behind(at, "one-family", "pod-1a")]),
        (
            service(at, "half", 44, *ports(node_port=30044)),
            [] if at is SIX else [behind(at, "half", "pod-1a")],
        ),
        (
            _labelled(service(at, "foreign", 47, *ports()), "service.kubernetes.io/service-proxy-name"),
            [behind(at, "foreign", "pod-1a")],
        ),
        (service(at, "headless", 48, *ports(), clusterIPs=["None"]), [behind(at, "headless", "pod-1a")]),
        (
            service(at, "elsewhere", 49, *ports(), type="ExternalName", externalName="example.org"),
            [behind(at, "elsewhere", "pod-1a")],
        ),
    ]


def _labelled(made: Obj, label: str) -> Obj:
    made["metadata"]["labels"] = {label: "another"}
    return made


def _policies(at: Addresses) -> Services:
    internal, external = {"internalTrafficPolicy": "Local"}, {"externalTrafficPolicy": "Local"}
    return [
        (service(at, "here", 25, *ports(), **internal), [behind(at, "here", "pod-2a")]),
        (service(at, "edge", 26, *ports(node_port=30026), **external), [behind(at, "edge", "pod-1a")]),
        (service(at, "sticky-here", 30, *ports(), **internal, **STICKY), [behind(at, "sticky-here", *PODS)]),
        (
            service(at, "ending-here", 41, *ports(), **internal),
            [behind(at, "ending-here", "pod-1a", **ENDING), behind(at, "ending-here", "pod-2a")],
        ),
        (
            service(at, "ending-edge", 45, *ports(node_port=30045), **external),
            [behind(at, "ending-edge", "pod-1a", **ENDING), behind(at, "ending-edge", "pod-2a")],
        ),
        (
            service(at, "wide-edge", 54, *ports(node_port=30054), **external),
            [behind(at, "wide-edge", "pod-1a", "pod-2a")],
        ),
        (
            service(at, "broad-edge", 51, *ports(), externalIPs=[at.balancer(6)], **external),
            [behind(at, "broad-edge", "pod-1a")],
        ),
        (service(at, "host-edge", 53, *ports(node_port=30053), **external), [behind(at, "host-edge", "node-2")]),
        (
            service(at, "sticky-edge", 52, *ports(node_port=30052), **external, **STICKY),
            [behind(at, "sticky-edge", *PODS)],
        ),
    ]


def _balancers(at: Addresses) -> Services:
    return [
        (
            balanced(service(at, "open", 31, *ports()), at.balancer(1)),
            [behind(at, "open", "pod-1a", "pod-2a")],
        ),
        (
            balanced(service(at, "fenced", 32, *ports()), at.balancer(2), single(at.hosts["outside"]), "192.0.2.0/24"),
            [behind(at, "fenced", "pod-2a")],
        ),
        (
            balanced(service(at, "closed", 33, *ports()), at.balancer(3), single(at.hosts["node-2"])),
            [behind(at, "closed", "pod-2a")],
        ),
        (
            balanced(service(at, "local", 34, *ports(), externalTrafficPolicy="Local"), at.balancer(4)),
            [behind(at, "local", "pod-1a")],
        ),
        (
            balanced(service(at, "proxied", 46, *ports(node_port=30046)), at.balancer(5), mode="Proxy"),
            [behind(at, "proxied", "pod-1a")],
        ),
    ]


def _chosen(at: Addresses) -> Services:
    """By conditions, hints and weights."""
    return [
        (service(at, "ending", 27, *ports()), [behind(at, "ending", "pod-2a", **ENDING)]),
        (
            service(at, "ready", 28, *ports()),
            [behind(at, "ready", "pod-1a", ready=False, serving=False), behind(at, "ready", "pod-1b")],
        ),
        (service(at, "near", 35, *ports()), [hinted(behind(at, "near", "pod-1a", "pod-2a"), "forNodes")]),
        (service(at, "zonal", 36, *ports()), [hinted(behind(at, "zonal", "pod-1a", "pod-2a"), "forZones")]),
        (
            service(at, "canary", 37, *ports(node_port=30037)),
            [weighted(behind(at, "canary", *PODS), at, pod_1a=40, pod_1b=0, pod_2a=60)],
        ),
        (
            service(at, "canary-sticky", 38, *ports(), **STICKY),
            [weighted(behind(at, "canary-sticky", *PODS), at, pod_1a=0, pod_1b=0, pod_2a=1)],
        ),
        (service(at, "resting", 39, *ports()), [weighted(behind(at, "resting", "pod-1a"), at, pod_1a=0)]),
    ]


def of(*families: Addresses) -> Services:
    """The Services of a cluster with these families: of each Service its addresses and slices in all of them."""
    first, *rest = (cluster(at) for at in families)
    for others in rest:
        first = [_joined(a, b) for a, b in zip(first, others, strict=True)]
    wanted = {at.version for at in families}
    return [(made, slices) for made, slices in first if made["spec"].get("only") in {None, *wanted}]


def _joined(one: tuple[Obj, list[Obj]], other: tuple[Obj, list[Obj]]) -> tuple[Obj, list[Obj]]:
    (made, slices), (same, more) = one, other
    if "only" not in made["spec"]:
        lists = ("clusterIPs", "externalIPs", "loadBalancerSourceRanges")
        made["spec"] |= {key: made["spec"][key] + same["spec"][key] for key in lists if key in made["spec"]}
        if "status" in made:
            made["status"]["loadBalancer"]["ingress"] += same["status"]["loadBalancer"]["ingress"]
    for each in more:
        each["metadata"]["name"] += "-other"
    return made, slices + more


Expected = tuple[str, ...] | Literal["refused", "dropped", "node", "alone"]
"""Who may answer; "node" is the node itself, "alone" that nothing becomes of it: it goes on as it came."""


@dataclass(frozen=True)
class Case:
    """`to` is a service's number, a host's name, or "balancer-1" and so on; who may answer, and whether the caller's
    address is kept. `six` is what is expected by IPv6, where that differs.
    """

    name: str
    caller: str
    to: int | str
    port: int
    expected: Expected
    kept: bool = True
    six: Expected | None = None
    protocol: Protocol = "TCP"
    sticky: bool = False

    def address(self, at: Addresses) -> str:
        if isinstance(self.to, int):
            return at.service(self.to)
        kind, _, number = self.to.partition("-")
        return at.balancer(int(number)) if kind == "balancer" else at.hosts[self.to]

    def by(self, at: Addresses) -> Expected:
        return self.six if self.six is not None and at is SIX else self.expected

    def is_masked(self, answered: str) -> bool:
        """Whether who answered must not see the caller's address: it was masqueraded, or is the answerer's own."""
        return answered == self.caller or (
            not self.kept and (isinstance(self.to, str) or not self.caller.startswith("pod-"))
        )


WEB = ("pod-1a", "pod-2a")
ROWS = (
    Case("pod to cluster IP", "pod-1b", 20, 80, WEB),
    Case("pod to cluster IP from the other node", "pod-2a", 20, 80, WEB, kept=False),
    Case("a second port", "pod-1b", 20, 81, WEB),
    Case("node to cluster IP", "node-1", 20, 80, WEB, kept=False),
    Case("pod to itself by its service", "pod-1a", 23, 80, ("pod-1a",), kept=False),
    Case("pod to itself by a node port", "pod-1a", "node-1", 30023, ("pod-1a",), kept=False),
    Case("node port from outside", "outside", "node-1", 30080, WEB, kept=False),
    Case("node port of a node without need", "outside", "node-2", 30023, ("pod-1a",), kept=False),
    Case("node port from a pod", "pod-1b", "node-1", 30080, WEB, kept=False),
    Case("node port from a pod by the other node", "pod-1b", "node-2", 30080, WEB, kept=False),
    Case("node port from the node", "node-1", "node-1", 30080, WEB, kept=False),
    Case("node port on loopback", "node-1", "loopback", 30080, WEB, kept=False, six="node"),
    Case("node port on loopback with policy Local", "node-2", "loopback", 30026, ("pod-1a",), kept=False, six="node"),
    Case("no endpoints on loopback", "node-1", "loopback", 30022, "refused", six="node"),
    Case("no endpoints", "pod-1a", 22, 80, "refused"),
    Case("no endpoints from the node", "node-1", 22, 80, "refused"),
    Case("no endpoints by node port", "outside", "node-1", 30022, "refused"),
    Case("unknown port of a cluster IP", "pod-1a", 20, 82, "refused"),
    Case("unknown cluster IP", "pod-1a", 99, 80, "refused"),
    Case("unknown cluster IP from the node", "node-1", 99, 80, "refused"),
    Case("affinity", "pod-1b", 24, 80, PODS, kept=False, sticky=True),
    Case("affinity from the node is masqueraded", "node-1", 24, 80, PODS, kept=False, sticky=True),
    Case("affinity by node port", "outside", "node-2", 30024, PODS, kept=False, sticky=True),
    Case("internal policy Local, an endpoint here", "node-2", 25, 80, ("pod-2a",), kept=False),
    Case("internal policy Local, none here", "pod-1a", 25, 80, "dropped"),
    Case("internal policy Local with affinity", "node-2", 30, 80, ("pod-2a",), kept=False, sticky=True),
    Case("internal policy Local, the one here ends", "pod-1b", 41, 80, ("pod-1a",)),
    Case("external policy Local, an endpoint here", "outside", "node-1", 30026, ("pod-1a",)),
    Case("external policy Local, none here", "outside", "node-2", 30026, "dropped"),
    Case("external policy Local from a pod", "pod-2a", "node-2", 30026, ("pod-1a",)),
    Case("external policy Local from a pod of another node", "pod-2a", "node-1", 30054, ("pod-1a",)),
    Case("external policy Local from a pod of another node, none here", "pod-1b", "node-2", 30026, "dropped"),
    Case("external policy Local from the node", "node-2", "node-2", 30026, ("pod-1a",), kept=False),
    Case("external policy Local by its cluster IP", "pod-2a", 26, 80, ("pod-1a",)),
    Case("external policy Local, the one here ends", "outside", "node-1", 30045, ("pod-1a",)),
    Case("external policy Local, a ready one here", "outside", "node-2", 30045, ("pod-2a",)),
    Case("external policy Local with affinity", "outside", "node-1", 30052, ("pod-1a", "pod-1b"), sticky=True),
    Case("only endpoints that end are left", "pod-1a", 27, 80, ("pod-2a",)),
    Case("only the ready one", "pod-2a", 28, 80, ("pod-1b",)),
    Case("external address", "outside", "node-1", 80, ("pod-2a",), kept=False),
    Case("external address with policy Local", "outside", "balancer-6", 80, ("pod-1a",)),
    Case("what the node answers itself and cannot: the other node's", "pod-1b", DNS, 53, ("pod-2a",)),
    Case("what the other node answers itself and cannot", "pod-2a", DNS, 53, ("pod-1a",)),
    Case("what the node answers itself and cannot, called by the node", "node-1", DNS, 53, ("pod-2a",), kept=False),
    Case("load balancer", "outside", "balancer-1", 80, WEB, kept=False),
    Case("load balancer from a pod", "pod-1b", "balancer-1", 80, WEB, kept=False),
    Case("load balancer from the node", "node-1", "balancer-1", 80, WEB, kept=False),
    Case("load balancer that proxies is left to itself", "pod-1b", "balancer-5", 80, "alone"),
    Case("load balancer that proxies, by node port", "outside", "node-2", 30046, ("pod-1a",), kept=False),
    Case("source ranges, one of them", "outside", "balancer-2", 80, ("pod-2a",), kept=False),
    Case("source ranges, a pod in none", "pod-1b", "balancer-2", 80, "dropped"),
    Case("source ranges, the node in none", "node-1", "balancer-2", 80, "dropped"),
    Case("source ranges leave the cluster IP open", "pod-1b", 32, 80, ("pod-2a",)),
    Case("source ranges, none of them", "outside", "balancer-3", 80, "dropped"),
    Case("source ranges, the node in one", "node-2", "balancer-3", 80, ("pod-2a",), kept=False),
    Case("load balancer with policy Local", "outside", "balancer-4", 80, ("pod-1a",)),
    Case("load balancer with policy Local from a pod", "pod-2a", "balancer-4", 80, ("pod-1a",)),
    Case("load balancer with policy Local from the node", "node-1", "balancer-4", 80, ("pod-1a",), kept=False),
    Case("load balancer with policy Local, none here", "node-2", "balancer-4", 80, ("pod-1a",), kept=False),
    Case("hints for the node", "pod-1b", 35, 80, ("pod-1a",)),
    Case("hints for the other node", "node-2", 35, 80, ("pod-2a",), kept=False),
    Case("hints for the zone", "pod-1b", 36, 80, ("pod-1a",)),
    Case("hints for the other zone", "node-2", 36, 80, ("pod-2a",), kept=False),
    Case("weights", "pod-2a", 37, 80, WEB, kept=False),
    Case("weights by node port", "outside", "node-1", 30037, WEB, kept=False),
    Case("weights with affinity", "pod-1b", 38, 80, ("pod-2a",), sticky=True),
    Case("all weights are 0", "pod-1b", 39, 80, "refused"),
    Case("an endpoint on the host network", "pod-1b", 40, 80, ("node-2",)),
    Case("an endpoint on the host network from another node", "node-1", 40, 80, ("node-2",), kept=False),
    Case("an endpoint on the host network by node port", "outside", "node-1", 30040, ("node-2",), kept=False),
    Case("an endpoint on the host network by a node port of its own", "outside", "node-2", 30040, ("node-2",)),
    Case("an endpoint on the host network from its own node", "node-2", 40, 80, ("node-2",), kept=False),
    Case("an endpoint on the host network with policy Local", "outside", "node-2", 30053, ("node-2",)),
    Case("an endpoint on the host network of another node, policy Local", "outside", "node-1", 30053, "dropped"),
    Case("a service of IPv4 only", "pod-1b", 43, 80, ("pod-1a",), six="refused"),
    Case("endpoints of IPv4 only", "pod-1b", 44, 80, ("pod-1a",), six="refused"),
    Case("endpoints of IPv4 only by node port", "outside", "node-1", 30044, ("pod-1a",), kept=False, six="refused"),
    Case("a service of another proxy", "pod-1b", 47, 80, "refused"),
    Case("an external name", "pod-1b", 49, 80, "refused"),
    Case("pod to pod without a service", "pod-1a", "pod-2a", 8080, ("pod-2a",)),
)
CASES = tuple(replace(row, protocol=protocol) for row in ROWS for protocol in PROTOCOLS)
