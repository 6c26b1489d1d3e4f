"""How one node's proxy is set up."""

from dataclasses import dataclass

from .addresses import checked


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyConfig:
    """Ranges are CIDRs, of both families separated by a comma. The families of `service_range` are the ones served."""

    node_name: str
    """Endpoints on this node are the ones that Local policies take."""
    node_addresses: tuple[str, ...] = ()
    """The node's own addresses, one of a family; empty: those in the status of its Node."""
    node_port_addresses: tuple[str, ...] = ()
    """Where node ports and health checks are open: ("primary",) for the node's own addresses, or CIDRs for all that
    the namespace has in them. Empty: primary if `node_addresses` are given, else all global ones.
    """
    localhost_node_ports: bool = False
    """Node ports are open to the node itself at 127.0.0.1 too (IPv4 only). It sets net.ipv4.conf.all.route_localnet."""
    cluster_cidr: str = "10.244.0.0/16"
    """Pods: they keep their address when they call a cluster IP; everybody else is masqueraded."""
    node_cidr: str = ""
    """This node's own pods, who go to any endpoint whatever the external policy; empty: those of its Node's podCIDRs,
    and all pods as long as it has none.
    """
    service_range: str = "10.96.0.0/16"
    """Cluster IPs: one that no Service has is refused."""
    local_addresses: tuple[str, ...] = ()
    """Addresses of the service range that this node answers by itself while it can, and keeps out of translation then
    (cluster DNS): what comes here is led to endpoints on other nodes.
    """
    namespace: str | None = None
    """The path of the network namespace to work in, None for the process's own."""
    min_sync_seconds: float = 0.05
    """The first change is applied at once, further ones at most so often."""
    check_seconds: float = 5.0
    """How often to look whether somebody else has changed the rules, or the node's addresses have changed."""

    def __post_init__(self) -> None:
        """Raises BadAddresses."""
        checked(self.node_port_addresses)
