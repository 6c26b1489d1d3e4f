"""The network of a local cluster: a switch and one namespace per node, and the host's routes to them.

    host  pyb0 172.30.0.1 ---- [ switch namespace: bridge br0 ] ---- eth0 172.30.0.11  node-1   pods 10.244.1.0/24
                                                            \\------ eth0 172.30.0.12  node-2   pods 10.244.2.0/24

The bridge lives in a namespace of its own: the host's firewall (Docker's, say) never sees frames between nodes.
The host first gets `unreachable` routes for all ranges: a packet without a better route never leaves the machine.
With IPv6, or both families, each address, range and route has its twin.
Every call may be repeated; `remove` also cleans up after a half-done `build`.
"""

import errno
from collections.abc import Iterator
from pathlib import Path

from pybernetes.api import ranges
from pybernetes.netlink import namespaces
from pybernetes.netlink.links import Links
from pybernetes.netlink.sysctl import forwarding

from .layout import Layout, Node

BRIDGE = "br0"
HOST_PORT = "host"
BARRIER_METRIC = 4_000_000_000
"""Worse than any other route, so that the barrier only catches what has no way."""


def used_ranges() -> tuple[list[tuple[str, str]], list[str]]:
    """What the host already uses: (range, where) pairs, and the link names."""
    with Links() as host:
        names = [link.name for link in host.list()]
        used = [(a.address, f"link {a.link}") for a in host.addresses() if a.link != "lo"]
        used += [(r.destination, f"a route by {r.link or r.kind}") for r in host.routes() if r.destination != "default"]
    return used, names


def build(layout: Layout) -> None:
    """Make the whole network. Raises OSError that says what could not be made."""
    Path(layout.switch).parent.mkdir(parents=True, exist_ok=True)
    _barrier(layout)
    _switch(layout)
    for node in layout.nodes():
        _node(layout, node)
    _host_routes(layout)


def _barrier(layout: Layout) -> None:
    with Links() as host:
        for destination in layout.ranges:
            host.add_route(destination, kind="unreachable", metric=BARRIER_METRIC)


def _switch(layout: Layout) -> None:
    if not namespaces.exists(layout.switch):
        namespaces.create(layout.switch)
    with Links(layout.switch) as switch, Links() as host:
        switch.up("lo")
        switch.add_bridge(BRIDGE)
        switch.up(BRIDGE)
        if host.find(layout.host_link) is None:
            host.add_veth(layout.host_link, HOST_PORT, peer_namespace=layout.switch)
        switch.set_master(HOST_PORT, BRIDGE)
        switch.up(HOST_PORT)
        for address in layout.gateways:
            host.add_address(layout.host_link, layout.with_prefix(address))
        host.up(layout.host_link)


def _node(layout: Layout, node: Node) -> None:
    if not namespaces.exists(node.namespace):
        namespaces.create(node.namespace)
    with Links(layout.switch) as switch, Links(node.namespace) as inside:
        inside.up("lo")
        if switch.find(node.name) is None:
            switch.add_veth(node.name, "eth0", peer_namespace=node.namespace, master=BRIDGE)
        switch.up(node.name)
        for address in node.addresses:
            inside.add_address("eth0", layout.with_prefix(address))
        inside.up("eth0")
        for destination in (*ranges.split(layout.pod_range), *ranges.split(layout.service_range)):
            inside.add_route(destination, kind="unreachable", metric=BARRIER_METRIC)
        # A ClusterIP needs a route before the kernel's output hook translates it; the way itself is never taken.
        for services, gateway in zip(ranges.split(layout.service_range), layout.gateways, strict=True):
            inside.add_route(services, via=gateway)
        for other in layout.nodes():
            if other.name != node.name:
                _pod_routes(inside, other)
    forwarding(node.pod_ranges, namespace=node.namespace)


def _pod_routes(links: Links, node: Node) -> None:
    """To the pods of a node, by its addresses."""
    for pods, address in zip(node.pod_ranges, node.addresses, strict=True):
        links.add_route(pods, via=address)


def _host_routes(layout: Layout) -> None:
    with Links() as host:
        for node in layout.nodes():
            _pod_routes(host, node)
        hops = zip(*(node.addresses for node in layout.nodes()), strict=True)
        for services, addresses in zip(ranges.split(layout.service_range), hops, strict=True):
            host.add_route(services, hops=addresses)


def isolate(layout: Layout, node: Node) -> None:
    """Cut a node off: its port on the switch goes down, as if its cable were pulled."""
    with Links(layout.switch) as switch:
        switch.down(node.name)


def connect(layout: Layout, node: Node) -> None:
    """Plug the node in again; its routes, which the kernel dropped with the link, come back."""
    with Links(layout.switch) as switch:
        switch.up(node.name)
    _node(layout, node)


def remove(layout: Layout) -> None:
    """Take away all that `build` makes; what is already gone is no error."""
    for path in node_namespaces(layout):
        if namespaces.exists(path):
            namespaces.delete(path)
    with Links() as host:
        if host.find(layout.host_link) is not None:
            host.delete(layout.host_link)
        if namespaces.exists(layout.switch):
            namespaces.delete(layout.switch)
        for destination in layout.ranges:
            try:
                host.delete_route(destination, kind="unreachable", metric=BARRIER_METRIC)
            except OSError as error:
                if error.errno != errno.ESRCH:
                    raise


def node_namespaces(layout: Layout) -> Iterator[str]:
    return (node.namespace for node in layout.nodes())
