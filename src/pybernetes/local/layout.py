"""Where everything of one local cluster lies: addresses, names and directories, computed from its name and slot.

Clusters stand side by side: each takes the first free slot, and with it ranges of its own. Slot 0 has Kubernetes'
usual ranges (pods 10.244.0.0/16, services 10.96.0.0/16; of IPv6 fd00:10:244::/56, fd00:10:96::/112).
"""

from collections.abc import Iterable, Iterator, Mapping
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Literal, get_args

import msgspec

from pybernetes.api import ranges

SLOTS = 8
Network = IPv4Network | IPv6Network
Families = Literal["ipv4", "ipv6", "dual"]
VERSIONS: Mapping[Families, tuple[int, ...]] = {"ipv4": (4,), "ipv6": (6,), "dual": (4, 6)}
"""The IP versions a cluster has, the primary one first."""

_NODE_BITS = {4: 24, 6: 64}
"""Prefix length of one node's pods, as node IPAM's defaults are."""
_LONGEST = {"--pod-range": {4: 16, 6: 56}, "--service-range": {4: 24, 6: 112}, "--node-range": {4: 24, 6: 112}}
NAME_PATTERN = r"[a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?"


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """One node: its number from 1, name, addresses on the switch, pod ranges (one a family), and directories."""

    number: int
    name: str
    addresses: tuple[str, ...]
    pod_ranges: tuple[str, ...]
    namespace: str
    """The path of its network namespace."""
    state: str
    run: str

    @property
    def address(self) -> str:
        """The one of the primary family."""
        return self.addresses[0]


class Layout(msgspec.Struct, frozen=True, kw_only=True):
    """The plan of one cluster; kept as cluster.json so that `down` knows what `up` made.

    The ranges are one of each family, separated by a comma, the primary one first.
    """

    name: str
    slot: int
    size: int
    node_range: str
    pod_range: str
    service_range: str
    api_port: int
    state: str
    run: str
    logs: str
    heartbeat_seconds: float = 2.0
    node_grace_seconds: float = 8.0

    @property
    def host_link(self) -> str:
        """The host's link to the switch."""
        return f"pyb{self.slot}"

    @property
    def switch(self) -> str:
        """The network namespace that holds the bridge, so that the host's firewall never sees the nodes' frames."""
        return f"{self.run}/netns/switch"

    @property
    def gateways(self) -> tuple[str, ...]:
        """The host's addresses on the switch; the first one is the API server for nodes and pods."""
        return ranges.nth(self.node_range, 1)

    @property
    def server_address(self) -> str:
        """host:port of the API server for nodes and pods."""
        return ranges.host_port(self.gateways[0], 6443)

    @property
    def dns_addresses(self) -> tuple[str, ...]:
        return ranges.nth(self.service_range, 10)

    @property
    def kubeconfig(self) -> str:
        return f"{self.state}/kubeconfig"

    @property
    def record(self) -> Path:
        return Path(self.state) / "cluster.json"

    @property
    def server_url(self) -> str:
        """The API server for the host."""
        return f"https://127.0.0.1:{self.api_port}"

    @property
    def ranges(self) -> tuple[str, ...]:
        """All that the cluster uses, of every family."""
        return tuple(
            part for text in (self.node_range, self.pod_range, self.service_range) for part in ranges.split(text)
        )

    def with_prefix(self, address: str) -> str:
        """An address on the switch as links take it."""
        (found,) = ranges.of_version(self.node_range, ranges.version(address))
        return f"{address}/{ip_network(found).prefixlen}"

    def nodes(self) -> Iterator[Node]:
        pods = [ip_network(part) for part in ranges.split(self.pod_range)]
        for number in range(1, self.size + 1):
            name = f"node-{number}"
            yield Node(
                number=number,
                name=name,
                addresses=ranges.nth(self.node_range, 10 + number),
                pod_ranges=tuple(_share(network, number) for network in pods),
                namespace=f"{self.run}/netns/{name}",
                state=f"{self.state}/nodes/{name}",
                run=f"{self.run}/nodes/{name}",
            )

    def node(self, name: str) -> Node:
        """Raises LookupError with the names there are."""
        for node in self.nodes():
            if node.name == name:
                return node
        raise LookupError(f"no node {name!r}; there are {', '.join(node.name for node in self.nodes())}")


def _share(pods: Network, number: int) -> str:
    """The pod range of a node."""
    bits = _NODE_BITS[pods.version]
    return f"{pods[number << pods.max_prefixlen - bits]}/{bits}"


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What the user asked of `up`; None is "choose"."""

    name: str
    size: int = 3
    ip_family: Families = "ipv4"
    pod_range: str | None = None
    service_range: str | None = None
    node_range: str | None = None
    api_port: int | None = None
    state_root: str = "/var/lib/pybernetes"
    run_root: str = "/run/pybernetes"
    log_root: str = "/var/log/pybernetes"
    heartbeat_seconds: float = 2.0
    node_grace_seconds: float = 8.0


def layout_at(wanted: Wanted, slot: int) -> Layout:
    """The layout of a slot, with what the user fixed."""
    return Layout(
        name=wanted.name,
        slot=slot,
        size=wanted.size,
        node_range=wanted.node_range or _usual(wanted, f"172.30.{slot}.0/24", f"fd00:172:30:{slot}::/64"),
        pod_range=wanted.pod_range or _usual(wanted, f"10.{244 + slot}.0.0/16", f"fd00:10:{244 + slot}::/56"),
        service_range=wanted.service_range or _usual(wanted, f"10.{96 + slot}.0.0/16", f"fd00:10:{96 + slot}::/112"),
        api_port=wanted.api_port or 6443 + slot,
        state=f"{wanted.state_root}/{wanted.name}",
        run=f"{wanted.run_root}/{wanted.name}",
        logs=f"{wanted.log_root}/{wanted.name}",
        heartbeat_seconds=wanted.heartbeat_seconds,
        node_grace_seconds=wanted.node_grace_seconds,
    )


def _usual(wanted: Wanted, v4: str, v6: str) -> str:
    return ",".join({4: v4, 6: v6}[version] for version in VERSIONS[wanted.ip_family])


def conflicts(layout: Layout, used: Iterable[tuple[str, str]], links: Iterable[str]) -> list[str]:
    """Why this layout does not fit beside what the host has.

    `used` are (range, where) pairs, such as ("10.244.0.0/16", "route of eth0"); `links` are link names.
    """
    found = [f"link {layout.host_link} exists" for link in links if link == layout.host_link]
    for mine in layout.ranges:
        network = ip_network(mine)
        for other, where in used:
            taken = ip_network(other, strict=False)
            if taken.prefixlen and taken.version == network.version and taken.overlaps(network):
                found.append(f"range {mine} is in use: {where} has {other}")
    return found


def problems(wanted: Wanted) -> list[str]:
    """What is wrong with the wishes themselves."""
    if wanted.ip_family not in get_args(Families):
        return [f"--ip-family: {wanted.ip_family!r} is not one of {', '.join(get_args(Families))}"]
    given = {
        "--pod-range": wanted.pod_range,
        "--service-range": wanted.service_range,
        "--node-range": wanted.node_range,
    }
    found: list[str] = []
    parsed: list[tuple[str, Network]] = []
    for option, text in given.items():
        if text is not None:
            networks, wrong = _networks(option, text, VERSIONS[wanted.ip_family])
            parsed += [(option, network) for network in networks]
            found += wrong
    found += _overlaps(sorted(parsed, key=lambda pair: pair[0]))
    if not 1 <= wanted.size <= 200:
        found.append(f"--nodes: {wanted.size} is not between 1 and 200")
    return found


def _networks(option: str, text: str, versions: tuple[int, ...]) -> tuple[list[Network], list[str]]:
    """The ranges of an option's text, and what is wrong with them."""
    try:
        networks = [ip_network(part) for part in ranges.split(text)]
    except ValueError as error:
        return [], [f"{option}: {error}"]
    wrong = []
    for network in networks:
        longest = _LONGEST[option][network.version]
        if network.prefixlen > longest:
            wrong.append(f"{option}: {network} is too small, a /{longest} or wider is needed")
    if tuple(network.version for network in networks) != versions:
        wanted = " and ".join(f"IPv{version}" for version in versions)
        wrong.append(f"{option}: {text} is not one range of {wanted}, in this order, separated by a comma")
    return networks, wrong


def _overlaps(parsed: list[tuple[str, Network]]) -> Iterator[str]:
    for index, (option, mine) in enumerate(parsed):
        for other, theirs in parsed[index + 1 :]:
            if option != other and mine.version == theirs.version and mine.overlaps(theirs):
                yield f"{option} {mine} and {other} {theirs} overlap"
