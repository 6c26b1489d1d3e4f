"""Where everything of one local cluster lies: addresses, names and directories, computed from its name and slot.

Clusters stand side by side: each takes the first free slot, and with it ranges of its own. Slot 0 has Kubernetes'
usual ranges (pods 10.244.0.0/16, services 10.96.0.0/16).
"""

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Network, ip_network
from pathlib import Path

import msgspec

SLOTS = 8
NAME_PATTERN = r"[a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?"


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """One node: its number from 1, name, address on the switch, pod range, and directories."""

    number: int
    name: str
    address: str
    pod_range: str
    namespace: str
    """The path of its network namespace."""
    state: str
    run: str


class Layout(msgspec.Struct, frozen=True, kw_only=True):
    """The plan of one cluster; kept as cluster.json so that `down` knows what `up` made."""

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
    def gateway(self) -> str:
        """The host's address on the switch: the API server for nodes and pods."""
        return str(ip_network(self.node_range)[1])

    @property
    def prefix_length(self) -> int:
        return ip_network(self.node_range).prefixlen

    @property
    def dns_address(self) -> str:
        return str(ip_network(self.service_range)[10])

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
        return self.node_range, self.pod_range, self.service_range

    def nodes(self) -> Iterator[Node]:
        pods = IPv4Network(self.pod_range)
        for number in range(1, self.size + 1):
            name = f"node-{number}"
            yield Node(
                number=number,
                name=name,
                address=str(ip_network(self.node_range)[10 + number]),
                pod_range=f"{pods[number << 8]}/24",
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


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What the user asked of `up`; None is "choose"."""

    name: str
    size: int = 3
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
        node_range=wanted.node_range or f"172.30.{slot}.0/24",
        pod_range=wanted.pod_range or f"10.{244 + slot}.0.0/16",
        service_range=wanted.service_range or f"10.{96 + slot}.0.0/16",
        api_port=wanted.api_port or 6443 + slot,
        state=f"{wanted.state_root}/{wanted.name}",
        run=f"{wanted.run_root}/{wanted.name}",
        logs=f"{wanted.log_root}/{wanted.name}",
        heartbeat_seconds=wanted.heartbeat_seconds,
        node_grace_seconds=wanted.node_grace_seconds,
    )


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
    found = []
    parsed: dict[str, IPv4Network] = {}
    for option, text, longest in (
        ("--pod-range", wanted.pod_range, 16),
        ("--service-range", wanted.service_range, 24),
        ("--node-range", wanted.node_range, 24),
    ):
        if text is None:
            continue
        try:
            parsed[option] = IPv4Network(text)
        except ValueError as error:
            found.append(f"{option}: {error}")
            continue
        if parsed[option].prefixlen > longest:
            found.append(f"{option}: {text} is too small, a /{longest} or wider is needed")
    options = sorted(parsed)
    for index, option in enumerate(options):
        for other in options[index + 1 :]:
            if parsed[option].overlaps(parsed[other]):
                found.append(f"{option} {parsed[option]} and {other} {parsed[other]} overlap")
    if not 1 <= wanted.size <= 200:
        found.append(f"--nodes: {wanted.size} is not between 1 and 200")
    return found
