"""Networks of pods: a namespace and a routed point-to-point pair each; no bridge, no ARP beyond the pair.

    pod: eth0 POD_IP/32, default via 169.254.1.1      node: veth 169.254.1.1/32, route POD_IP/32 dev veth

Neighbours are written at both ends, so the first packet needs no question. Every step may be repeated.
"""

import asyncio
import hashlib
import logging
from pathlib import Path
from typing import Protocol

from pybernetes.netlink import namespaces, sysctl
from pybernetes.netlink.links import Links, Neighbour

from .addresses import AddressPool

log = logging.getLogger(__name__)

GATEWAY = "169.254.1.1"


class PodNetwork(Protocol):
    """What the worker needs of the network."""

    def address(self, uid: str) -> str:
        """The pod's address, "" before set-up."""
        ...

    def path(self, uid: str) -> str:
        """The file of the pod's network namespace."""
        ...

    async def set_up(self, uid: str) -> str:
        """Make the namespace and its link if they are not there; returns the address."""
        ...

    def ready(self, uid: str) -> bool:
        """Whether the namespace is there (it is not after a reboot)."""
        ...

    async def tear_down(self, uid: str) -> None: ...

    def known(self) -> set[str]:
        """The pods that hold an address."""
        ...


class RoutedNetwork:
    """Pods of one node, whose own network namespace is the caller's."""

    def __init__(self, *, pod_range: str, node_address: str, directory: Path, records: Path) -> None:
        self.pool = AddressPool(records, pod_range)
        self.node_address = node_address
        self.directory = directory
        self._one_by_one = asyncio.Lock()

    def address(self, uid: str) -> str:
        return self.pool.of(uid)

    def path(self, uid: str) -> str:
        return str(self.directory / uid)

    def ready(self, uid: str) -> bool:
        return bool(self.pool.of(uid)) and namespaces.exists(self.path(uid))

    def known(self) -> set[str]:
        return self.pool.owners

    async def set_up(self, uid: str) -> str:
        address = self.pool.take(uid)
        async with self._one_by_one:
            await asyncio.to_thread(self._build, uid, address)
        return address

    async def tear_down(self, uid: str) -> None:
        async with self._one_by_one:
            await asyncio.to_thread(self._remove, uid)
        self.pool.release(uid)

    def _build(self, uid: str, address: str) -> None:
        path, name = self.path(uid), link_name(uid)
        host_mac, pod_mac = _mac(uid, 0), _mac(uid, 1)
        with Links() as node:
            if not namespaces.exists(path):
                Path(path).unlink(missing_ok=True)  # a plain file that a reboot left
                node.delete(name, missing_ok=True)
                namespaces.create(path)
            with Links(path) as pod:
                if node.find(name) is None:
                    node.add_veth(name, "eth0", peer_namespace=path, mac=host_mac, peer_mac=pod_mac)
                pod.up("lo")
                pod.up("eth0")
                pod.add_address("eth0", f"{address}/32")
                pod.set_neighbour(Neighbour(link="eth0", address=GATEWAY, mac=host_mac))
                pod.add_route("default", via=GATEWAY, link="eth0", onlink=True)
            node.up(name)
            node.add_address(name, f"{GATEWAY}/32")
            node.set_neighbour(Neighbour(link=name, address=address, mac=pod_mac))
            node.add_route(f"{address}/32", link=name, scope="link", source=self.node_address)

    def _remove(self, uid: str) -> None:
        with Links() as node:
            node.delete(link_name(uid), missing_ok=True)
        namespaces.delete(self.path(uid))

    @staticmethod
    def prepare() -> None:
        """Let this node forward."""
        sysctl.write("net.ipv4.ip_forward", 1)


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
        self.addresses: dict[str, str] = {}
        self.fail = ""

    def address(self, uid: str) -> str:
        return self.addresses.get(uid, "")

    def path(self, uid: str) -> str:
        return f"/fake/{uid}"

    def ready(self, uid: str) -> bool:
        return uid in self.addresses

    def known(self) -> set[str]:
        return set(self.addresses)

    async def set_up(self, uid: str) -> str:
        if self.fail:
            raise OSError(self.fail)
        return self.addresses.setdefault(uid, f"10.244.0.{len(self.addresses) + 2}")

    async def tear_down(self, uid: str) -> None:
        self.addresses.pop(uid, None)
