"""Bootstrap tokens: those that are over are deleted, and the others sign cluster-info, so that a node can trust it.

ConfigMap cluster-info in kube-public holds a kubeconfig with the server's address and CA and nobody's credentials;
who knows a token verifies it by a detached JWS (RFC 7515, appendix F) under `jws-kubeconfig-<token id>`.
Source: pkg/controller/bootstrap, cluster-bootstrap/token/jws.
"""

import base64
from collections.abc import Iterable, Mapping

import yaml

from pybernetes.api.bootstrap_tokens import CLUSTER_INFO, NAMESPACE, TYPE, fields_of, is_usable, seconds_left
from pybernetes.api.errors import AlreadyExists, Conflict, NotFound
from pybernetes.api.objects import Key, Obj, is_deleting, revision_of, uid_of
from pybernetes.api.resources import CONFIG_MAPS, SECRETS
from pybernetes.client import Delta, Informer
from pybernetes.control import Again, Controller
from pybernetes.pki.discovery import SIGNED, signature

from .shared import Shared

_KUBECONFIG = "kubeconfig"


def plan(data: Mapping[str, str], tokens: Iterable[Obj], now: float) -> Mapping[str, str | None]:
    """What is to be changed in cluster-info: signatures by usable tokens set, all others (None) taken away; pure."""
    content = data.get(_KUBECONFIG)
    if content is None:
        return {}
    wanted: dict[str, str | None] = {key: None for key in data if key.startswith(SIGNED)}
    for token in tokens:
        if is_usable(token, "signing", now):
            fields = fields_of(token)
            name = fields["token-id"]
            wanted[f"{SIGNED}{name}"] = signature(content, token_id=name, secret=fields["token-secret"])
    return {key: value for key, value in wanted.items() if data.get(key) != value}


def cluster_info(server: str, root_ca: str) -> Obj:
    """The ConfigMap with where the cluster is and how to know it."""
    authority = base64.b64encode(root_ca.encode()).decode()
    config: Obj = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "", "cluster": {"certificate-authority-data": authority, "server": server}}],
        "contexts": [],
        "current-context": "",
        "preferences": {},
        "users": [],
    }
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"namespace": CLUSTER_INFO.namespace, "name": CLUSTER_INFO.name},
        "data": {_KUBECONFIG: yaml.safe_dump(config)},
    }


class BootstrapSigner:
    """Keeps the signatures, and makes cluster-info when there is none and the configuration says where the server is.

    There is one key. What somebody else wrote into the kubeconfig is signed as it is.
    """

    def __init__(self, shared: Shared) -> None:
        self.client, self.now, self.config = shared.client, shared.now, shared.config
        self.tokens = _tokens(shared)
        fields = f"metadata.name={CLUSTER_INFO.name}"
        self.held = shared.informers.of(CONFIG_MAPS, namespace=CLUSTER_INFO.namespace, fields=fields)
        informers = (self.tokens, self.held)
        self.controller = Controller("bootstrap_signer_queue", self.reconcile, workers=1, informers=informers)
        for informer in informers:
            informer.subscribe(lambda _: self.controller.queue.add(CLUSTER_INFO))

    async def run(self) -> None:
        self.controller.queue.add(CLUSTER_INFO)
        await self.controller.run()

    async def reconcile(self, key: Key) -> Again | None:
        held = self.held.cache.get(key)
        if held is None:
            await self._make()
            return None  # the cache will say so soon
        now, tokens = self.now(), self.tokens.cache.select()
        if changes := plan(held.get("data") or {}, tokens, now):
            patch = {"metadata": {"resourceVersion": revision_of(held)}, "data": changes}
            await self.client.patch(CONFIG_MAPS, key, patch)
        left = [one for token in tokens if (one := seconds_left(token, now))]
        return Again(min(left)) if left else None

    async def _make(self) -> None:
        if not (self.config.server and self.config.root_ca):
            return
        try:
            await self.client.create(CONFIG_MAPS, cluster_info(self.config.server, self.config.root_ca))
        except AlreadyExists:
            return


class TokenCleaner:
    """Deletes bootstrap tokens when they are over. Keys are those of their Secrets."""

    def __init__(self, shared: Shared) -> None:
        self.client, self.now = shared.client, shared.now
        self.tokens = _tokens(shared)
        self.controller = Controller("token_cleaner", self.reconcile, workers=1, informers=(self.tokens,))
        self.tokens.subscribe(self._changed)

    async def run(self) -> None:
        await self.controller.run()

    def _changed(self, delta: Delta) -> None:
        self.controller.queue.add(delta.key)

    async def reconcile(self, key: Key) -> Again | None:
        token = self.tokens.cache.get(key)
        if token is None or is_deleting(token):
            return None
        left = seconds_left(token, self.now())
        if left is None:
            return None
        if left > 0:
            return Again(left)
        try:
            await self.client.delete(SECRETS, key, uid=uid_of(token), revision=revision_of(token))
        except (Conflict, NotFound):
            return None  # it changed meanwhile, and comes round again
        return None


def _tokens(shared: Shared) -> Informer:
    return shared.informers.of(SECRETS, namespace=NAMESPACE, fields=f"type={TYPE}")
