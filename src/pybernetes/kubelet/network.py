"""Networks of pods: a namespace and a routed point-to-point pair each; no bridge, no ARP beyond the pair.

    pod: eth0 POD_IP/32, default via 169.254.1.1      node: veth 169.254.1.1/32, route POD_IP/32 dev veth

IPv6 is the same with /128 and the gateway fe80::1; a pod has one address of each family that the node has pod ranges
of. Neighbours are written at both ends, so the first packet needs no question. Every step may be repeated. Ports of the
node that lead to pods are the matter of `hostports`.
"""

import asyncio
import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from ipaddress import ip_network
from pathlib import Path
from typing import Protocol

from pybernetes.api import ranges
from pybernetes.netlink import namespaces, sysctl
from pybernetes.netlink.links import Links, Neighbour

from .addresses import AddressPool
from .hostports import HostPorts, PodPorts, PortMapping

log = logging.getLogger(__name__)

_OPEN: Mapping[str, str | int] = {
    "net.ipv4.ip_unprivileged_port_start": 0,
    "net.ipv4.ping_group_range": "0\t2147483647",
}
"""A pod's ports are all its own and it may ping, whatever its user and capabilities, as container engines have it
(containerd: enable_unprivileged_ports, enable_unprivileged_icmp)."""
GATEWAYS = {4: "169.254.1.1", 6: "fe80::1"}


class PodNetwork(Protocol):
    """What the worker needs of the network."""

    def addresses(self, uid: str) -> tuple[str, ...]:
        """The pod's addresses, one of each family, the primary one first; () before set-up."""
        ...

    def path(self, uid: str) -> str:
        """The file of the pod's network namespace."""
        ...

    async def set_up(self, uid: str, *, ports: Sequence[PortMapping] = ()) -> tuple[str, ...]:
        """Make the namespace and its link if they are not there, and lead these ports of the node to it; returns the
        addresses. Raises Exhausted, OSError.
        """
        ...

    def ready(self, uid: str) -> bool:
        """Whether the namespace is there (it is not after a reboot)."""
        ...

    async def tear_down(self, uid: str) -> None: ...

    def known(self) -> set[str]:
        """The pods that hold an address."""
        ...

    async def run(self, drifted: Callable[[int], None]) -> None:
        """Keep what others might change, until cancelled; `drifted` hears how much was put right."""
        ...


class RoutedNetwork:
    """Pods of one node, whose own network namespace is the caller's."""

    def __init__(
        self,
        *,
        pod_ranges: Sequence[str],
        node_addresses: Sequence[str],
        directory: Path,
        records: Path,
        host_ports: HostPorts,
    ) -> None:
        """`pod_ranges` are one of each family; `node_addresses` have one of each of these families."""
        self.pools = [AddressPool(records / f"ipv{ranges.version(each)}", each) for each in pod_ranges]
        self.sources = {ranges.version(each): each for each in node_addresses}
        self.directory = directory
        self.host_ports = host_ports
        self._one_by_one = asyncio.Lock()

    def addresses(self, uid: str) -> tuple[str, ...]:
        found = tuple(pool.of(uid) for pool in self.pools)
        return found if all(found) else ()

    def path(self, uid: str) -> str:
        return str(self.directory / uid)

    def ready(self, uid: str) -> bool:
        return bool(self.addresses(uid)) and namespaces.exists(self.path(uid))

    def known(self) -> set[str]:
        return set().union(*(pool.owners for pool in self.pools))

    async def restore(self) -> None:
        """Take over the host ports of the pods that are there. Raises OSError."""
        await self.host_ports.restore(self.ready)

    async def set_up(self, uid: str, *, ports: Sequence[PortMapping] = ()) -> tuple[str, ...]:
        addresses = tuple(pool.take(uid) for pool in self.pools)
        async with self._one_by_one:
            await asyncio.to_thread(self._build, uid, addresses)
        if ports:
            wanted = PodPorts(addresses=addresses, link=link_name(uid), mappings=tuple(ports))
            await self.host_ports.open(uid, wanted)
        return addresses

    async def run(self, drifted: Callable[[int], None]) -> None:
        await self.host_ports.run(drifted)

    async def tear_down(self, uid: str) -> None:
        if uid in self.host_ports:
            await self.host_ports.close(uid)
        async with self._one_by_one:
            await asyncio.to_thread(self._remove, uid)
        for pool in self.pools:
            pool.release(uid)

    def _build(self, uid: str, addresses: Sequence[str]) -> None:
        path, name = self.path(uid), link_name(uid)
        host_mac, pod_mac = _mac(uid, 0), _mac(uid, 1)
        with Links() as node:
            if not namespaces.exists(path):
                Path(path).unlink(missing_ok=True)  # a plain file that a reboot left
                node.delete(name, missing_ok=True)
                namespaces.create(path)
            sysctl.write_all(_OPEN, namespace=path)
            with Links(path) as pod:
                if node.find(name) is None:
                    node.add_veth(name, "eth0", peer_namespace=path, mac=host_mac, peer_mac=pod_mac)
                pod.up("lo")
                pod.up("eth0")
                for address in addresses:
                    _pod_end(pod, address, host_mac)
            node.up(name)
            for address in addresses:
                self._node_end(node, name, address, pod_mac)

    def _node_end(self, node: Links, name: str, address: str, pod_mac: str) -> None:
        version = ranges.version(address)
        node.add_address(name, str(ip_network(GATEWAYS[version])))
        node.set_neighbour(Neighbour(link=name, address=address, mac=pod_mac))
        node.add_route(str(ip_network(address)), link=name, source=self.sources[version])

    def _remove(self, uid: str) -> None:
        with Links() as node:
            node.delete(link_name(uid), missing_ok=True)
        namespaces.delete(self.path(uid))


def _pod_end(pod: Links, address: str, host_mac: str) -> None:
    version = ranges.version(address)
    gateway = GATEWAYS[version]
    pod.add_address("eth0", str(ip_network(address)))
    pod.set_neighbour(Neighbour(link="eth0", address=gateway, mac=host_mac))
    pod.add_route({4: "default", 6: "::/0"}[version], via=gateway, link="eth0", onlink=True)


def link_name(uid: str) -> str:
    """The node's end of a pod's pair; 15 characters at most."""
    return "veth" + hashlib.sha256(uid.encode()).hexdigest()[:8]


def _mac(uid: str, end: int) -> str:
    """A locally administered address, the same at every repetition."""
    digest = hashlib.sha256(f"{uid}/{end}".encode()).digest()
    return ":".join(f"{byte:02x}" for byte in (0x02, *digest[:5]))


class FakeNetwork:
    """In memory; addresses of 10.244.0.0/24 in turn."""

    def __init__(self) -> None:
        self.given: dict[str, str] = {}
        self.ports: dict[str, tuple[PortMapping, ...]] = {}
        self.fail = ""

    def addresses(self, uid: str) -> tuple[str, ...]:
        return (self.given[uid],) if uid in self.given else ()

    def path(self, uid: str) -> str:
        return f"/fake/{uid}"

    def ready(self, uid: str) -> bool:
        return uid in self.given

    def known(self) -> set[str]:
        return set(self.given)

    async def run(self, drifted: Callable[[int], None]) -> None:
        return

    async def set_up(self, uid: str, *, ports: Sequence[PortMapping] = ()) -> tuple[str, ...]:
        if self.fail:
            raise OSError(self.fail)
        if ports:
            self.ports[uid] = tuple(ports)
        return (self.given.setdefault(uid, f"10.244.0.{len(self.given) + 2}"),)

    async def tear_down(self, uid: str) -> None:
        self.ports.pop(uid, None)
        self.given.pop(uid, None)
