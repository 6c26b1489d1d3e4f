"""ClusterTrustBundle of the signer kubernetes.io/kube-apiserver-serving: what pods verify the API server with.

Source: pkg/controller/certificates/clustertrustbundlepublisher. The object is named after its content, so that a new
authority is a new object; what the signer had before is deleted.
"""

import hashlib

from pybernetes.api.errors import AlreadyExists, NotFound
from pybernetes.api.objects import Key, Obj, key_of, uid_of
from pybernetes.api.resources import CLUSTER_TRUST_BUNDLES
from pybernetes.control import Again, Controller

from .shared import Shared

SIGNER = "kubernetes.io/kube-apiserver-serving"


class TrustBundlePublisher:
    """There is one key."""

    def __init__(self, shared: Shared) -> None:
        self.client = shared.client
        self.bundle = shared.config.root_ca
        self.key = Key("", bundle_name(self.bundle))
        self.held = shared.informers.of(CLUSTER_TRUST_BUNDLES, fields=f"spec.signerName={SIGNER}")
        self.controller = Controller(
            "kube_apiserver_serving_clustertrustbundle_publisher", self.reconcile, workers=1, informers=(self.held,)
        )
        self.held.subscribe(lambda _: self.controller.queue.add(self.key))

    async def run(self) -> None:
        self.controller.queue.add(self.key)
        await self.controller.run()

    async def reconcile(self, key: Key) -> Again | None:
        held = self.held.cache.get(key)
        try:
            if held is None:
                await self.client.create(CLUSTER_TRUST_BUNDLES, self._wanted())
            elif held["spec"].get("trustBundle") != self.bundle:
                changed = held | {"spec": held["spec"] | {"trustBundle": self.bundle}}
                await self.client.update(CLUSTER_TRUST_BUNDLES, changed)
            for other in self.held.cache.select():
                if key_of(other) != key:
                    await self.client.delete(CLUSTER_TRUST_BUNDLES, key_of(other), uid=uid_of(other))
        except (AlreadyExists, NotFound):
            return None  # the cache will say so soon
        return None

    def _wanted(self) -> Obj:
        return {
            "apiVersion": CLUSTER_TRUST_BUNDLES.api_version,
            "kind": CLUSTER_TRUST_BUNDLES.kind,
            "metadata": {"name": self.key.name},
            "spec": {"signerName": SIGNER, "trustBundle": self.bundle},
        }


def bundle_name(bundle: str) -> str:
    """As Kubernetes makes it: the signer with colons, and the beginning of the content's hash."""
    return f"{SIGNER.replace('/', ':')}:{hashlib.sha256(bundle.encode()).hexdigest()[:12]}"


def trust_bundle(shared: Shared) -> TrustBundlePublisher | None:
    """None when the configuration has no CA."""
    return TrustBundlePublisher(shared) if shared.config.root_ca else None
