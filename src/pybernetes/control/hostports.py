"""The ports of its node that a pod takes, and when two pods want the same one.

Scheduler and kubelet ask both questions, and mean the same (kube-scheduler's NodePorts).
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from pybernetes.api.objects import Obj

from .pods import containers_of

NO_FREE_PORTS = "node(s) didn't have free ports for the requested pod ports"
"""What kube-scheduler and kubelet say of a node where one is taken."""

ANY = ("0.0.0.0", "::")
"""All addresses of the node; an empty hostIP is the first of them."""


class HostPort(NamedTuple):
    ip: str
    protocol: str
    port: int


def host_ports(pod: Obj) -> Iterator[HostPort]:
    """Those of the containers that run beside each other; of hostNetwork pods the container ports are host ports."""
    on_host = (pod.get("spec") or {}).get("hostNetwork")
    for container in containers_of(pod):
        for port in container.get("ports") or ():
            if number := port.get("hostPort") or (port.get("containerPort") if on_host else 0):
                yield HostPort(port.get("hostIP") or ANY[0], port.get("protocol") or "TCP", int(number))


def clashes(one: HostPort, other: HostPort) -> bool:
    """Whether they exclude each other on one node."""
    if (one.protocol, one.port) != (other.protocol, other.port):
        return False
    return one.ip == other.ip or one.ip in ANY or other.ip in ANY


def taken(wanted: Iterable[HostPort], held: Iterable[HostPort]) -> bool:
    """Whether any of the wanted ones clashes with one that is held."""
    held = tuple(held)
    return any(clashes(one, other) for one in wanted for other in held)
