"""The packet table of host ports: what two pods of node-1 ask for, and what becomes of a connection to each port.

It runs by the tracer over the model (unit) and as real connections in kernel namespaces (integration), in either
family, beside the service proxy's rules with all Services of its own table.
"""

from dataclasses import dataclass
from typing import Literal

from pybernetes.kubelet.hostports import PodPorts, PortMapping
from support.proxy_cases import FAMILIES, Addresses

Protocol = Literal["TCP", "UDP", "SCTP"]
PROTOCOLS: tuple[Protocol, ...] = ("TCP", "UDP", "SCTP")

EVERYWHERE, ONE_ADDRESS, ONE_FAMILY, OVER_NODE_PORT, OVER_EMPTY, OVER_OWN = 8000, 9000, 7000, 30023, 30022, 8081


def everywhere(port: int, container_port: int = 8080, *, host_ip: str = "") -> list[PortMapping]:
    """By each protocol."""
    return [
        PortMapping(protocol=each, host_ip=host_ip, host_port=port, container_port=container_port) for each in PROTOCOLS
    ]


def one(protocol: Protocol, host_ip: str) -> PortMapping:
    return PortMapping(protocol=protocol, host_ip=host_ip, host_port=ONE_ADDRESS, container_port=8080)


def pods() -> dict[str, PodPorts]:
    """Of node-1; pod-1a has TCP port 9000 at loopback, pod-1b at the node's address, and UDP there."""
    loopback = [one("TCP", at.hosts["loopback"]) for at in FAMILIES]
    node = [one(protocol, at.hosts["node-1"]) for at in FAMILIES for protocol in ("TCP", "UDP")]
    wanted = {
        "pod-1a": [*everywhere(EVERYWHERE), *everywhere(OVER_OWN), *loopback],
        "pod-1b": [
            *node,
            *everywhere(ONE_FAMILY, 8081, host_ip="0.0.0.0"),
            *everywhere(OVER_NODE_PORT),
            *everywhere(OVER_EMPTY),
        ],
    }
    return {
        pod: PodPorts(addresses=tuple(at.hosts[pod] for at in FAMILIES), link=pod, mappings=tuple(mappings))
        for pod, mappings in wanted.items()
    }


@dataclass(frozen=True)
class Case:
    """`answers` is who answers, or "refused"; `six` the same by IPv6; `masked` that the pod sees another caller."""

    name: str
    caller: str
    to: str
    port: int
    answers: str
    masked: bool = False
    six: str = ""
    protocols: tuple[Protocol, ...] = PROTOCOLS

    def by(self, at: Addresses) -> str:
        return self.six if self.six and at.version == 6 else self.answers


CASES = (
    Case("from outside", "outside", "node-1", EVERYWHERE, "pod-1a"),
    Case("from a pod of another node", "pod-2a", "node-1", EVERYWHERE, "pod-1a"),
    Case("from another node", "node-2", "node-1", EVERYWHERE, "pod-1a"),
    Case("from a pod of the same node", "pod-1b", "node-1", EVERYWHERE, "pod-1a"),
    Case("from the pod itself", "pod-1a", "node-1", EVERYWHERE, "pod-1a", masked=True),
    Case("from the node at its address", "node-1", "node-1", EVERYWHERE, "pod-1a"),
    Case("from the node at loopback", "node-1", "loopback", EVERYWHERE, "pod-1a", masked=True, six="refused"),
    Case("at another node", "outside", "node-2", EVERYWHERE, "refused"),
    Case("at another node's address, on its way", "pod-1a", "node-2", EVERYWHERE, "refused"),
    Case("at a pod's address", "pod-1b", "pod-1a", EVERYWHERE, "refused"),
    Case("one address, the node's", "outside", "node-1", ONE_ADDRESS, "pod-1b", protocols=("TCP", "UDP")),
    Case("one address, the node's, by itself", "node-1", "node-1", ONE_ADDRESS, "pod-1b", protocols=("TCP", "UDP")),
    Case("one address, another protocol", "outside", "node-1", ONE_ADDRESS, "refused", protocols=("SCTP",)),
    Case(
        "one address, loopback", "node-1", "loopback", ONE_ADDRESS, "pod-1a",
        masked=True, six="refused", protocols=("TCP",),
    ),
    Case("one address, loopback, another protocol", "node-1", "loopback", ONE_ADDRESS, "refused", protocols=("UDP",)),
    Case("one family", "outside", "node-1", ONE_FAMILY, "pod-1b", six="refused"),
    Case("before a node port", "outside", "node-1", OVER_NODE_PORT, "pod-1b"),
    Case("before a node port, from the node", "node-1", "node-1", OVER_NODE_PORT, "pod-1b"),
    Case("before a node port, at loopback", "node-1", "loopback", OVER_NODE_PORT, "pod-1b", masked=True, six="refused"),
    Case("before a node port without endpoints", "outside", "node-1", OVER_EMPTY, "pod-1b"),
    Case("a node port at another node", "outside", "node-2", OVER_NODE_PORT, "pod-1a", masked=True),
    Case("before a port of the node itself", "outside", "node-1", OVER_OWN, "pod-1a"),
    Case("a port of another node, on its way", "pod-1b", "node-2", OVER_OWN, "node-2"),
)  # fmt: skip
ROWS = [(case, protocol) for case in CASES for protocol in case.protocols]
NAMES = [f"{case.name} by {protocol}" for case, protocol in ROWS]
