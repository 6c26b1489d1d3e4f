"""Configuration of the two processes: one frozen value each; the YAML file and the flags are derived from it.

Addresses are strings; ranges are CIDR, one of each IP family separated by a comma, the primary one first; times are
seconds.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

import msgspec
import yaml


class ConfigError(ValueError):
    """A configuration file or flag that cannot be used; the text says which and why."""


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """What both processes' values share: reading and writing a YAML file."""

    @classmethod
    def load(cls, path: Path | None, overrides: Mapping[str, Any]) -> Self:
        """The value of a YAML file ({} without one), with the flags that were given over it. Raises ConfigError."""
        data: Any = {}
        try:
            if path is not None:
                data = yaml.safe_load(path.read_text()) or {}
            given = {cls.__struct_encode_fields__[cls.__struct_fields__.index(k)]: v for k, v in overrides.items()}
            given = {name: value for name, value in given.items() if value not in (None, ())}
            return msgspec.convert(data | given, cls, strict=False)
        except (OSError, yaml.YAMLError, msgspec.ValidationError, TypeError) as error:
            raise ConfigError(f"{path or 'configuration'}: {error}") from error

    def dump(self) -> str:
        """YAML text that `load` reads back."""
        return yaml.safe_dump(msgspec.to_builtins(self), sort_keys=False)


def endpoint(text: str) -> tuple[str, int]:
    """(host, port) of "host:port". Raises ConfigError."""
    host, _, port = text.rpartition(":")
    if not port.isdecimal():
        raise ConfigError(f"{text!r} is not host:port")
    return host.strip("[]"), int(port)


class ServerConfig(Config, frozen=True, kw_only=True):
    """`pybernetes server`: API server, store, controllers, scheduler."""

    state_directory: str = "/var/lib/pybernetes/server"
    """Store, certificates and keys."""
    listen: tuple[str, ...] = ("127.0.0.1:6443",)
    """host:port, each served with TLS."""
    advertise: str = ""
    """host:port under which nodes and pods reach the API ("" for the last of `listen`): the `kubernetes` Service."""
    names: tuple[str, ...] = ()
    """Further names and addresses in the serving certificate."""
    store: str = "sqlite"
    """sqlite (durable) or memory."""
    cluster_name: str = "pybernetes"
    cluster_domain: str = "cluster.local"
    pod_range: str = "10.244.0.0/16"
    service_range: str = "10.96.0.0/16"
    node_ports: str = "30000-32767"
    dns_address: str = ""
    """Cluster DNS, one of each family ("" for the tenth of each service range)."""
    node_grace_seconds: float = 40.0
    """A node whose lease is older than this is NotReady."""
    kubeconfig: str = ""
    """Where the administrator's kubeconfig is written ("" for admin.kubeconfig in the state directory)."""
    service_account_signing_key_file: str = ""
    """A private key, RSA or ECDSA, that signs service account tokens ("" for sa.key in the state directory's pki)."""
    service_account_key_files: tuple[str, ...] = ()
    """Further keys whose tokens are taken: those that signed before, or that sign on another server."""
    audit_policy_file: str = ""
    """An audit.k8s.io/v1 Policy; nothing is logged without it and a path."""
    audit_log_path: str = ""
    """JSON lines; "-" is standard output."""
    audit_log_maxsize: int = 0
    """Megabytes of one file (0 for 100)."""
    audit_log_maxage: int = 0
    """Days that old files are kept (0 for ever)."""
    audit_log_maxbackup: int = 0
    """Old files that are kept (0 for all)."""
    shutdown_delay_seconds: float = 0.0
    """After SIGTERM requests are served so long with /readyz failing, so that load balancers notice."""
    max_connections: int = 10_000
    """Open connections; fewer when the limit of open files does not allow for them."""
    max_connections_each: int = 2_000
    """Open connections from one address (one /64 in IPv6)."""
    log_format: str = "text"
    log_level: str = "info"


class ComponentConfig(Config, frozen=True, kw_only=True):
    """`pybernetes scheduler`, and what `pybernetes controller-manager` has too."""

    kubeconfig: str
    """With the component's identity; the API server writes one beside its store."""
    leader_elect: bool = True
    """Work only while holding the component's Lease in kube-system; others stand by."""
    health: str = "127.0.0.1:10259"
    """host:port of /healthz, /livez and /readyz, plain HTTP."""
    log_format: str = "text"
    log_level: str = "info"


class ControllerManagerConfig(ComponentConfig, frozen=True, kw_only=True):
    """`pybernetes controller-manager`."""

    health: str = "127.0.0.1:10257"
    cluster_domain: str = "cluster.local"
    cluster_signing_directory: str = ""
    """With the ca.crt and ca.key that sign what nodes ask for ("" signs nothing)."""
    pod_range: str = "10.244.0.0/16"
    service_range: str = "10.96.0.0/16"
    dns_address: str = ""
    """Cluster DNS, one of each family ("" for the tenth of each service range)."""
    node_grace_seconds: float = 40.0
    """A node whose lease is older than this is NotReady."""


class ProxyingConfig(Config, frozen=True, kw_only=True):
    """What both commands with a service proxy share."""

    node_port_addresses: tuple[str, ...] = ()
    """Where node ports are open: "primary" for the node's own addresses, or CIDRs that its addresses are in (absent:
    primary).
    """
    localhost_node_ports: bool = False
    """Node ports are open to the node itself at 127.0.0.1 too (IPv4 only)."""

    def __post_init__(self) -> None:
        """Raises ValueError."""
        if self.node_port_addresses:
            from pybernetes.proxy.addresses import checked  # here: `up` makes such values too, and runs no proxy

            checked(self.node_port_addresses)


class ServiceProxyConfig(ProxyingConfig, frozen=True, kw_only=True):
    """`pybernetes proxy`: the service proxy of one node alone."""

    kubeconfig: str = ""
    """With the identity of the proxy; not needed to clean up."""
    node_name: str = ""
    """The node's name in the cluster ("" for this machine's host name)."""
    node_address: str = ""
    """The node's own address of each family ("" for those in the status of its Node)."""
    cluster_pod_range: str = "10.244.0.0/16"
    service_range: str = "10.96.0.0/16"
    health: str = "0.0.0.0:10256"
    """host:port of /healthz (for load balancers, as kube-proxy's), /livez, /readyz and /applied, plain HTTP."""
    metrics: str = "127.0.0.1:10249"
    """host:port of /metrics, plain HTTP."""
    log_format: str = "text"
    log_level: str = "info"


class AgentConfig(ProxyingConfig, frozen=True, kw_only=True):
    """`pybernetes agent`: kubelet, service proxy, cluster DNS of one node."""

    node_name: str = ""
    """("" for this machine's host name)"""
    node_address: str = ""
    """One of each family ("" for the one that this machine reaches the API server from)."""
    identities: str = ""
    """Directory with kubelet.kubeconfig, proxy.kubeconfig, dns.kubeconfig, kubelet-server.crt and .key, ca.crt ("" for
    pki in the state directory). What of it is not there is asked for when the node joins.
    """
    join: str = ""
    """host:port of an API server to join by `token` and `ca_cert_hashes`, unless there is an identity already."""
    token: str = ""
    """A bootstrap token, "id.secret"."""
    ca_cert_hashes: tuple[str, ...] = ()
    """"sha256:..." of the public keys of authorities that may have signed the API server's certificate."""
    bootstrap_kubeconfig: str = ""
    """A kubeconfig to join by, instead of the three."""
    state_directory: str = "/var/lib/pybernetes/agent"
    run_directory: str = "/run/pybernetes/agent"
    pod_range: str = ""
    """This node's pod range of each family ("" for the one the cluster gives it)."""
    cluster_pod_range: str = ""
    """This and the next three: "" for what the cluster says when the node joins, else as the server's defaults."""
    service_range: str = ""
    cluster_domain: str = ""
    dns_address: str = ""
    """Cluster DNS, one of each family (else the tenth of each service range)."""
    pod_routes: bool = True
    """Keep routes to the pods of the nodes on the same network; without, something else must lead there."""
    dns_upstreams: tuple[str, ...] | None = None
    """Where names outside the cluster are asked (absent: the nameservers of /etc/resolv.conf)."""
    dns_workers: int = 1
    """Processes of the cluster DNS, this one among them."""
    dns_lameduck_seconds: float = 5.0
    """How long names are still answered after SIGTERM."""
    dns_port: int = 9153
    """/metrics, /health and /ready of the cluster DNS, plain HTTP at its addresses and the node's; 0 for none."""
    hidden: tuple[str, ...] = ()
    """Directories of the machine that no container sees, besides the agent's own and its identities."""
    kubelet_port: int = 10250
    health_port: int = 10256
    """/healthz (for load balancers, as kube-proxy's), /livez and /readyz, plain HTTP on the node's address."""
    lease_seconds: float = 10.0
    """How often the node renews its lease."""
    labels: dict[str, str] = {}
    log_format: str = "text"
    log_level: str = "info"


class NodeConfig(Config, frozen=True, kw_only=True):
    """What a cluster tells every node that joins: ConfigMap pybernetes-node in kube-system, key config.yaml."""

    cluster_pod_range: str = "10.244.0.0/16"
    service_range: str = "10.96.0.0/16"
    cluster_domain: str = "cluster.local"
    dns_address: str = ""


class DnsProcessConfig(Config, frozen=True, kw_only=True):
    """`pybernetes dns`: the cluster DNS alone. The ConfigMap pybernetes-dns goes over it while it serves."""

    kubeconfig: str
    """Whose user may list and watch Services, EndpointSlices, Namespaces, Pods and the ConfigMap."""
    listen: tuple[str, ...] = ("127.0.0.1",)
    """Addresses, each served over UDP and TCP."""
    port: int = 53
    node_name: str = ""
    """Whose pods' search lists are walked ("" for those of all nodes)."""
    cluster_domain: str = "cluster.local"
    reverse_ranges: tuple[str, ...] = ("10.244.0.0/16", "10.96.0.0/16")
    """CIDR ranges of pods and Services, whose unknown addresses are answered here."""
    pods: Literal["disabled", "insecure", "verified"] = "insecure"
    """a-b-c-d.NS.pod names: never, for any address, or only for pods that there are."""
    autopath: bool = True
    """Walk the search lists of pods for them."""
    ttl: int = 5
    upstreams: tuple[str, ...] | None = None
    """Where names outside the cluster are asked (absent: the nameservers of /etc/resolv.conf)."""
    rate_limit: int = 0
    """UDP answers a second for one client address (0 for no limit)."""
    tls_ca: str = ""
    """File with the certificates of who vouches for tls:// upstreams ("" for the system's)."""
    workers: int = 1
    """Processes; those beyond the first answer at the same addresses, each with an index of its own."""
    lameduck_seconds: float = 5.0
    """After SIGTERM questions are answered so long with /ready failing."""
    health: str = "127.0.0.1:8080"
    """host:port of /health, plain HTTP ("" for none). This and the next two show all pages."""
    ready: str = "127.0.0.1:8181"
    """host:port of /ready."""
    metrics: str = "127.0.0.1:9153"
    """host:port of /metrics."""
    log_format: str = "text"
    log_level: str = "info"
