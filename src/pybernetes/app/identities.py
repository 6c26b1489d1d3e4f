"""Who is who in a cluster: the certificates and kubeconfigs of every component, each with a name of its own.

Names and groups are Kubernetes' (docs: PKI certificates and requirements); RBAC gives each no more than its work needs.
"""

import fcntl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from pybernetes.api import ranges
from pybernetes.client import kubeconfig
from pybernetes.pki import Authority, Pair

from .config import ServerConfig


class ServerIdentities(NamedTuple):
    """Paths of PEM files that the server needs."""

    ca: str
    serving: Pair
    kubelet_client: Pair
    service_account_key: str
    service_account_public_key: str


@contextmanager
def authority_in(directory: Path) -> Iterator[Authority]:
    """The authority kept in a directory; made at first use. One process at a time."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (directory / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield Authority.ensure(directory)


def server_identities(config: ServerConfig, *, url: str) -> ServerIdentities:
    """Everything the server needs, and the kubeconfigs of the administrator and of the control plane's other parts.

    Kept when valid, else made.
    """
    directory = Path(config.state_directory) / "pki"
    hosts = {entry.rpartition(":")[0].strip("[]") for entry in (*config.listen, config.advertise) if entry}
    with authority_in(directory) as authority:
        names, addresses = _split(hosts | set(config.names) | {"127.0.0.1", "localhost"})
        service = f"kubernetes.default.svc.{config.cluster_domain}"
        labels = service.split(".")
        names += [".".join(labels[:count]) for count in range(1, 4)] + [service]
        addresses += ranges.nth(config.service_range, 1)  # the `kubernetes` Service's
        serving = authority.issue(
            "apiserver", user="kube-apiserver", dns=names, addresses=addresses, server=True, client=False
        )
        kubelet_client = authority.issue(
            "apiserver-kubelet-client", user="kube-apiserver-kubelet-client", groups=["system:masters"]
        )
        keys = authority.service_account_keys()
        admin = authority.issue("admin", user="kubernetes-admin", groups=["system:masters"], plain=True)
        path = config.kubeconfig or f"{config.state_directory}/admin.kubeconfig"
        _write_kubeconfig(
            Path(path), ca=authority.certificate, pair=admin, url=url, name=config.cluster_name, user="kubernetes-admin"
        )
        for part in ("controller-manager", "scheduler"):
            user = f"system:kube-{part}"
            pair = authority.issue(part, user=user)
            to = Path(config.state_directory) / f"{part}.kubeconfig"
            _write_kubeconfig(to, ca=authority.certificate, pair=pair, url=url, name=config.cluster_name, user=user)
        return ServerIdentities(
            ca=authority.certificate,
            serving=serving,
            kubelet_client=kubelet_client,
            service_account_key=keys.private,
            service_account_public_key=keys.public,
        )


def node_identities(
    authority: Authority, directory: Path, *, node: str, addresses: Sequence[str], url: str, cluster: str
) -> None:
    """What an agent needs in its identities directory: one kubeconfig a component, and the kubelet's serving pair."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    users = {
        "kubelet": (f"system:node:{node}", ["system:nodes"]),
        "proxy": ("system:kube-proxy", []),
        "dns": ("system:kube-dns", []),
    }
    for part, (user, groups) in users.items():
        pair = authority.issue(part, user=user, groups=groups, directory=directory)
        path = directory / f"{part}.kubeconfig"
        _write_kubeconfig(path, ca=authority.certificate, pair=pair, url=url, name=cluster, user=user)
    authority.issue(
        "kubelet-server",
        user=f"system:node:{node}",
        groups=["system:nodes"],
        dns=[node],
        addresses=[*addresses, "127.0.0.1"],
        server=True,
        client=False,
        directory=directory,
    )
    (directory / "ca.crt").write_bytes(Path(authority.certificate).read_bytes())


def _write_kubeconfig(path: Path, *, ca: str, pair: Pair, url: str, name: str, user: str) -> None:
    config = kubeconfig.Kubeconfig(
        server=url,
        ca=Path(ca).read_bytes(),
        certificate=Path(pair.certificate).read_bytes(),
        key=Path(pair.key).read_bytes(),
        name=name,
        user=user,
    )
    kubeconfig.write(path, config)


def _split(hosts: set[str]) -> tuple[list[str], list[str]]:
    """(DNS names, IP addresses) of mixed hosts, sorted."""
    from ipaddress import ip_address

    names, addresses = [], []
    for host in sorted(hosts):
        try:
            addresses.append(str(ip_address(host)))
        except ValueError:
            names.append(host)
    return names, addresses
