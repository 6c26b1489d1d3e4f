"""Who the parts of a node are, where that is kept, and its renewal while they run."""

from pathlib import Path

import msgspec

from pybernetes.client import Client, kubeconfig
from pybernetes.kubelet.certificates import KUBELET_CLIENT, NODE, NODE_COMPONENT, NODES, Held, Rotation, Wanted
from pybernetes.wire.send import HttpTransport

from .config import AgentConfig

PARTS = ("kubelet", "proxy", "dns")
NODE_CONFIG_FILE = "cluster.yaml"
"""What the cluster told the node when it joined."""


def wanted_of(node: str, part: str) -> Wanted:
    """The client certificate of a part."""
    if part == "kubelet":
        return Wanted(KUBELET_CLIENT, f"{NODE}{node}", (NODES,))
    return Wanted(NODE_COMPONENT, f"system:kube-{part}")


def kubeconfig_path(config: AgentConfig, part: str) -> Path:
    return Path(config.identities) / f"{part}.kubeconfig"


def renewal(config: AgentConfig, part: str, *, client: Client, transport: HttpTransport) -> Rotation:
    """Keeps a part's certificate fresh: in its kubeconfig and on its transport. The kubelet's `client` asks."""
    path = kubeconfig_path(config, part)

    def put(held: Held) -> None:
        now = msgspec.structs.replace(kubeconfig.load(path), certificate=held.certificate, key=held.key)
        kubeconfig.write(path, now)
        transport.show(held.certificate, held.key)

    return Rotation(
        client,
        wanted=lambda: wanted_of(config.node_name, part),
        held=lambda: kubeconfig.load(path).certificate,
        put=put,
    )
