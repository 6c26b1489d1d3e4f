"""The commands that run a process of a cluster: two for whole machines, and one for each part that can run alone."""

from collections.abc import Callable
from functools import reduce
from pathlib import Path
from typing import Any

import click

from pybernetes.api import ranges

from .options import CONFIG, F, friendly, log_options

_SERVER = (
    CONFIG,
    click.option("--state-directory", help="Store, certificates, keys.  [default: /var/lib/pybernetes/server]"),
    click.option("--listen", multiple=True, help="host:port, repeatable.  [default: 127.0.0.1:6443]"),
    click.option("--advertise", help="host:port at which nodes and pods reach the API."),
    click.option("--store", type=click.Choice(["sqlite", "memory"]), help="Where objects are kept.  [default: sqlite]"),
    click.option("--pod-range", help="[default: 10.244.0.0/16]"),
    click.option("--service-range", help="[default: 10.96.0.0/16]"),
    click.option("--kubeconfig", help="Where to write the administrator's kubeconfig."),
    click.option("--shutdown-delay-seconds", type=float, help="/readyz fails so long before the end.  [default: 0]"),
    click.option("--max-connections", type=int, help="Open connections at most.  [default: 10000]"),
    click.option("--max-connections-each", type=int, help="Of one client address at most.  [default: 2000]"),
    click.option("--service-account-signing-key-file", help="Signs service account tokens.  [default: one of its own]"),
    click.option(
        "--service-account-key-file",
        "service_account_key_files",
        multiple=True,
        help="A further key whose tokens are taken, repeatable.",
    ),
    click.option("--audit-policy-file", help="An audit.k8s.io/v1 Policy; with a path, requests are logged by it."),
    click.option("--audit-log-path", help="JSON lines; - is standard output."),
    click.option("--audit-log-maxsize", type=int, help="Megabytes of one file.  [default: 100]"),
    click.option("--audit-log-maxage", type=int, help="Days that old files are kept.  [default: for ever]"),
    click.option("--audit-log-maxbackup", type=int, help="Old files that are kept.  [default: all]"),
    log_options,
    friendly,
)
_COMPONENT = (
    CONFIG,
    click.option("--kubeconfig", help="With the component's identity."),
    click.option("--leader-elect/--no-leader-elect", default=None, help="Work only while holding the Lease."),
    click.option("--health", help="host:port of /healthz, /livez, /readyz."),
    log_options,
    friendly,
)


def _split(_: click.Context, __: click.Parameter, given: tuple[str, ...]) -> tuple[str, ...]:
    """A flag that is repeatable and takes several values by comma."""
    return tuple(part for each in given for part in ranges.split(each))


_NODE_PORT_ADDRESSES = click.option(
    "--nodeport-addresses",
    "node_port_addresses",
    multiple=True,
    callback=_split,
    help="Where node ports are open: primary, or CIDRs by comma that the node's addresses are in.  [default: primary]",
)

_LOCALHOST_NODE_PORTS = click.option(
    "--localhost-nodeports/--no-localhost-nodeports",
    "localhost_node_ports",
    default=None,
    help="Node ports are open to the node itself at 127.0.0.1 too (IPv4 only).  [default: no]",
)


def _with(decorators: tuple[Callable[[Any], Any], ...]) -> Callable[[F], F]:
    """These options, in their order."""
    return lambda command: reduce(lambda made, decorate: decorate(made), reversed(decorators), command)


@click.command()
@_with(_SERVER)
def server(config: Path | None, **options: Any) -> None:
    """Run the control plane: API server, store, controllers, scheduler."""
    from .config import ServerConfig
    from .server import run

    run(ServerConfig.load(config, options))


@click.command()
@_with(_SERVER)
def apiserver(config: Path | None, **options: Any) -> None:
    """Run the API server and its store alone.

    It writes controller-manager.kubeconfig and scheduler.kubeconfig beside its store, for the processes of that name.
    """
    from .config import ServerConfig
    from .server import run

    run(ServerConfig.load(config, options), whole=False)


@click.command("controller-manager")
@_with(_COMPONENT)
@click.option("--pod-range", help="[default: 10.244.0.0/16]")
@click.option("--service-range", help="[default: 10.96.0.0/16]")
@click.option("--cluster-domain", help="[default: cluster.local]")
@click.option("--cluster-signing-directory", help="With ca.crt and ca.key, to sign what nodes ask for.")
def controller_manager(config: Path | None, **options: Any) -> None:
    """Run the controllers alone; several elect a leader."""
    from .config import ControllerManagerConfig
    from .control_plane import run_controller_manager

    run_controller_manager(ControllerManagerConfig.load(config, options))


@click.command()
@_with(_COMPONENT)
def scheduler(config: Path | None, **options: Any) -> None:
    """Run the scheduler alone; several elect a leader."""
    from .config import ComponentConfig
    from .control_plane import run_scheduler

    run_scheduler(ComponentConfig.load(config, options))


@click.command()
@CONFIG
@click.option("--node-name", help="The node's name.  [default: the host name]")
@click.option("--node-address", help="The node's address.  [default: the one that reaches the API server]")
@click.option("--identities", help="Directory of the node's kubeconfigs and certificates.  [default: STATE/pki]")
@click.option("--join", help="host:port of the API server of a cluster to join; kept when the node is in it already.")
@click.option("--token", envvar="PYBERNETES_TOKEN", help="A bootstrap token to join by.")
@click.option("--discovery-token-ca-cert-hash", "ca_cert_hashes", multiple=True, help="sha256:... of the cluster's CA.")
@click.option("--pod-routes/--no-pod-routes", default=None, help="Keep routes to other nodes' pods.  [default: yes]")
@click.option("--bootstrap-kubeconfig", help="A kubeconfig to join by, instead of the three.")
@_NODE_PORT_ADDRESSES
@_LOCALHOST_NODE_PORTS
@click.option("--state-directory", help="Pods' files.  [default: /var/lib/pybernetes/agent]")
@click.option("--run-directory", help="Namespaces and sockets.  [default: /run/pybernetes/agent]")
@log_options
@friendly
def agent(config: Path | None, **options: Any) -> None:
    """Run one node: kubelet, service proxy, cluster DNS.

    To add this machine to a cluster, run what `pybernetes token create --print-join-command` prints where its
    administrator is. The node keeps the identity it gets, and renews it in time.
    """
    from .agent import run
    from .config import AgentConfig

    run(AgentConfig.load(config, options))


@click.command()
@CONFIG
@click.option("--kubeconfig", help="With the proxy's identity.")
@click.option("--node-name", help="The node's name in the cluster.  [default: the host name]")
@click.option("--node-address", help="The node's own address.  [default: those of its Node's status]")
@_NODE_PORT_ADDRESSES
@_LOCALHOST_NODE_PORTS
@click.option("--cluster-pod-range", help="Addresses of all pods.  [default: 10.244.0.0/16]")
@click.option("--service-range", help="Addresses of Services.  [default: 10.96.0.0/16]")
@click.option("--health", help="host:port of /healthz, /livez, /readyz, /applied.  [default: 0.0.0.0:10256]")
@click.option("--metrics", help="host:port of /metrics.  [default: 127.0.0.1:10249]")
@click.option("--cleanup", is_flag=True, help="Remove all rules of a proxy from this network namespace, and exit.")
@log_options
@friendly
def proxy(config: Path | None, cleanup: bool, **options: Any) -> None:
    """Run the service proxy of one node alone, as kube-proxy is.

    It works in the network namespace it is started in. Its rules stay when it ends, so that a restart is not noticed;
    --cleanup removes them.
    """
    from .config import ServiceProxyConfig
    from .service_proxy import remove, run

    (remove if cleanup else run)(ServiceProxyConfig.load(config, options))


@click.command()
@CONFIG
@click.option(
    "--kubeconfig",
    help="Whose user may list and watch Services, EndpointSlices, Namespaces, Pods, the ConfigMap, and write Events.",
)
@click.option("--listen", multiple=True, help="Address, repeatable.  [default: 127.0.0.1]")
@click.option("--port", type=int, help="UDP and TCP.  [default: 53]")
@click.option("--node-name", help="Whose pods' search lists are walked.  [default: those of all nodes]")
@click.option("--cluster-domain", help="[default: cluster.local]")
@click.option("--reverse-range", "reverse_ranges", multiple=True, help="CIDR, repeatable, of pods and Services.")
@click.option("--pods", type=click.Choice(["disabled", "insecure", "verified"]), help="Names of pods by address.")
@click.option("--autopath/--no-autopath", default=None, help="Walk the search lists of pods for them.")
@click.option("--ttl", type=int, help="Seconds.  [default: 5]")
@click.option("--upstream", "upstreams", multiple=True, help="[tcp:// or tls://]ADDRESS[:PORT][#NAME], repeatable.")
@click.option("--tls-ca", help="File with who vouches for tls:// upstreams.  [default: the system's authorities]")
@click.option("--workers", type=click.IntRange(1, 64), help="Processes at the same addresses.  [default: 1]")
@click.option("--rate-limit", type=int, help="UDP answers a second for one client address.  [default: no limit]")
@click.option("--lameduck-seconds", type=float, help="Answers go on so long after SIGTERM.  [default: 5]")
@click.option("--health", help="host:port of /health.  [default: 127.0.0.1:8080]")
@click.option("--ready", help="host:port of /ready.  [default: 127.0.0.1:8181]")
@click.option("--metrics", help="host:port of /metrics.  [default: 127.0.0.1:9153]")
@log_options
@friendly
def dns(config: Path | None, **options: Any) -> None:
    """Run the cluster DNS alone, for the cluster of a kubeconfig."""
    from .config import DnsProcessConfig
    from .dns import run

    run(DnsProcessConfig.load(config, options))


COMMANDS: tuple[click.Command, ...] = (server, apiserver, controller_manager, scheduler, agent, proxy, dns)
