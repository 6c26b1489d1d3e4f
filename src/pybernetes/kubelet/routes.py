"""Ways to the pods of other nodes: each node's pod ranges by its address (what flannel calls host-gw).

For nodes on one network, where the pods' addresses are routed and nothing is wrapped. A node that is reached only
through a router is left out: who has such a network has routes, or a network of pods, of its own.
"""

import asyncio
import logging
from collections.abc import Iterable, Sequence
from ipaddress import ip_address, ip_interface, ip_network
from typing import NamedTuple

from pybernetes.api.objects import Obj, name_of
from pybernetes.api.resources import NODES
from pybernetes.client import Client, Informer
from pybernetes.netlink.links import Links

log = logging.getLogger(__name__)

METRIC = 1084
"""Marks our routes, and lets others of the same destination go first."""
_RETRY_SECONDS = 5.0


class Way(NamedTuple):
    """To a pod range by a node's address."""

    destination: str
    via: str


def ways(nodes: Iterable[Obj], *, own: str, networks: Sequence[str]) -> frozenset[Way]:
    """The routes that a node needs; `networks` are those ("10.0.0.5/24") that it has an address in. Pure."""
    near = [ip_interface(one).network for one in networks]
    found = set()
    for node in nodes:
        if name_of(node) == own:
            continue
        addresses = [
            ip_address(one["address"])
            for one in (node.get("status") or {}).get("addresses") or ()
            if one["type"] == "InternalIP"
        ]
        for text in (node.get("spec") or {}).get("podCIDRs") or ():
            pods = ip_network(text)
            for address in addresses:
                if address.version == pods.version and any(address in network for network in near):
                    found.add(Way(str(pods), str(address)))
                    break
    return frozenset(found)


class PeerRoutes:
    """Keeps the routes of this network namespace true. `run` until cancelled; they stay then, as pods do."""

    def __init__(self, client: Client, *, node_name: str) -> None:
        """`client` may list and watch nodes."""
        self.node_name = node_name
        self.nodes = Informer(client, NODES, slim=_slim)
        self._changed = asyncio.Event()
        self.nodes.subscribe(lambda _: self._changed.set())

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self.nodes.run(), name="nodes")
            await self.nodes.synced.wait()
            while True:
                self._changed.clear()
                try:
                    await asyncio.to_thread(self._sync, self.nodes.cache.select())
                except OSError as error:
                    log.warning("routes to other nodes' pods not written error=%s", error)
                    self._changed.set()
                    await asyncio.sleep(_RETRY_SECONDS)
                await self._changed.wait()

    def _sync(self, nodes: Sequence[Obj]) -> None:
        with Links() as links:
            networks = [one.address for one in links.addresses()]
            wanted = ways(nodes, own=self.node_name, networks=networks)
            held = [Way(route.destination, route.via) for route in links.routes() if route.metric == METRIC]
            for way in held:
                if way not in wanted:
                    log.info("route removed destination=%s via=%s", way.destination, way.via)
                    links.delete_route(way.destination, via=way.via, metric=METRIC)
            for way in sorted(wanted.difference(held)):
                log.info("route added destination=%s via=%s", way.destination, way.via)
                links.add_route(way.destination, via=way.via, metric=METRIC)


def _slim(node: Obj) -> Obj:
    kept = ("name", "uid", "resourceVersion")
    status = node.get("status") or {}
    return {
        "metadata": {name: value for name, value in node["metadata"].items() if name in kept},
        "spec": {"podCIDRs": (node.get("spec") or {}).get("podCIDRs")},
        "status": {"addresses": status.get("addresses")},
    }
