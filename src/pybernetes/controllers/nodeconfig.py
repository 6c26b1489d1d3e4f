"""ConfigMap pybernetes-node in kube-system: what of an agent's configuration is the same on all nodes.

A node that joins reads it (kubeadm's kubelet-config is the like). The controllers' configuration is the truth; what
somebody else writes into it is set right.
"""

from pybernetes.api.errors import AlreadyExists, NotFound
from pybernetes.api.objects import Key, Obj
from pybernetes.api.resources import CONFIG_MAPS
from pybernetes.control import Again, Controller

from .shared import Shared

NODE_CONFIG = Key("kube-system", "pybernetes-node")


class NodeConfigController:
    """There is one key."""

    def __init__(self, shared: Shared) -> None:
        self.client = shared.client
        self.data = {"config.yaml": shared.config.node_config}
        self.held = shared.informers.of(
            CONFIG_MAPS, namespace=NODE_CONFIG.namespace, fields=f"metadata.name={NODE_CONFIG.name}"
        )
        self.controller = Controller("node_config", self.reconcile, workers=1, informers=(self.held,))
        self.held.subscribe(lambda _: self.controller.queue.add(NODE_CONFIG))

    async def run(self) -> None:
        self.controller.queue.add(NODE_CONFIG)
        await self.controller.run()

    async def reconcile(self, key: Key) -> Again | None:
        held = self.held.cache.get(key)
        try:
            if held is None:
                await self.client.create(CONFIG_MAPS, self._wanted(key))
            elif held.get("data") != self.data:
                await self.client.patch(CONFIG_MAPS, key, {"data": self.data})
        except (AlreadyExists, NotFound):
            return None  # the cache will say so soon
        return None

    def _wanted(self, key: Key) -> Obj:
        meta = {"namespace": key.namespace, "name": key.name}
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": self.data}


def node_config(shared: Shared) -> NodeConfigController | None:
    """None when the configuration has none to tell."""
    return NodeConfigController(shared) if shared.config.node_config else None
