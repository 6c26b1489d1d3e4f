"""Node IPAM: a pod range for each node, out of the cluster's (kubernetes/pkg/controller/nodeipam, RangeAllocator)."""

import ipaddress
from collections.abc import Iterable, Iterator

from pybernetes.api import ranges
from pybernetes.api.objects import Key, Obj, is_deleting, uid_of
from pybernetes.api.resources import NODES
from pybernetes.control import Again, Controller

from .shared import ControllersConfig, Shared

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

COMPONENT = "cidrAllocator"


def ranges_of(node: Obj) -> list[Network]:
    """The pod ranges a node has; what cannot be read is left out."""
    spec = node.get("spec") or {}
    texts = spec.get("podCIDRs") or ([spec["podCIDR"]] if spec.get("podCIDR") else [])
    found = []
    for text in texts:
        try:
            found.append(ipaddress.ip_network(text))
        except ValueError:
            continue
    return found


def free_range(cluster: Network, mask: int, used: Iterable[Network]) -> Network | None:
    """The lowest range of that mask in the cluster's that overlaps none in use; None when it is full."""
    taken = sorted((one for one in used if one.version == cluster.version), key=lambda one: int(one.network_address))
    size = 1 << (cluster.max_prefixlen - mask)
    at = int(cluster.network_address)
    for one in taken:
        if int(one.broadcast_address) < at:
            continue
        if int(one.network_address) >= at + size:
            break
        at = (int(one.broadcast_address) // size + 1) * size
    if at + size - 1 > int(cluster.broadcast_address):
        return None
    return type(cluster)((at, mask))


def clusters_of(config: ControllersConfig) -> Iterator[tuple[Network, int]]:
    """Each cluster range with the mask of a node's share. Raises ValueError."""
    for text in ranges.split(config.cluster_cidr):
        network = ipaddress.ip_network(text)
        yield network, config.node_mask if network.version == 4 else config.node_mask_v6


class NodeIpamController:
    """One worker: a range is chosen and remembered before the next node is looked at."""

    def __init__(self, shared: Shared) -> None:
        self.client = shared.client
        self.clusters = list(clusters_of(shared.config))
        self.nodes = shared.nodes()
        self.events = shared.recorder(COMPONENT)
        self.given: dict[str, list[Network]] = {}
        """By node: what was written and may not be in the cache yet."""
        self.controller = Controller("node_ipam", self.reconcile, workers=1, informers=(self.nodes,))
        self.nodes.subscribe(lambda delta: self.controller.queue.add(delta.key.name))

    async def run(self) -> None:
        await self.controller.run()

    async def reconcile(self, name: str) -> Again | None:
        node = self.nodes.cache.get(Key("", name))
        if node is None:
            self.given.pop(name, None)
            return None
        if ranges_of(node) or is_deleting(node) or not self.clusters:
            return None
        ranges = self.given.get(name) or self._choose()
        if len(ranges) < len(self.clusters):
            message = f"Node {name} status is now: CIDRNotAvailable"
            self.events.event(node, "CIDRNotAvailable", message)
            return Again(10.0)
        self.given[name] = ranges
        texts = [str(one) for one in ranges]
        patch = {"metadata": {"uid": uid_of(node)}, "spec": {"podCIDR": texts[0], "podCIDRs": texts}}
        await self.client.patch(NODES, Key("", name), patch)
        return None

    def _choose(self) -> list[Network]:
        used = [one for node in self.nodes.cache.select() for one in ranges_of(node)]
        used += [one for ranges in self.given.values() for one in ranges]
        found = (free_range(cluster, mask, used) for cluster, mask in self.clusters)
        return [one for one in found if one is not None]
