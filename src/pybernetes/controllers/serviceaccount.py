"""ServiceAccount "default" and ConfigMap kube-root-ca.crt: what each namespace has from the start.

Two controllers of Kubernetes (serviceaccounts_controller.go, rootcacertpublisher) with one shape: an object that must
be there in every active namespace, made again when it is deleted or changed.
"""

from pybernetes.api.errors import AlreadyExists, ApiError, NotFound
from pybernetes.api.objects import Key, Obj, is_deleting, key_of
from pybernetes.api.resources import CONFIG_MAPS, NAMESPACES, SERVICE_ACCOUNTS, Resource
from pybernetes.client import Delta
from pybernetes.control import Again, Controller

from .pods import is_terminating
from .shared import Shared

_CA_NOTE = "The authority that signed the API server's certificate, for pods that call https://kubernetes.default.svc."


class PerNamespace:
    """Keeps one object of a fixed name and content in each namespace. Keys are namespaces."""

    def __init__(self, shared: Shared, name: str, resource: Resource, *, called: str, content: Obj) -> None:
        self.client = shared.client
        self.resource = resource
        self.called = called
        self.content = content
        self.namespaces = shared.informers.of(NAMESPACES)
        self.held = shared.informers.of(resource, fields=f"metadata.name={called}")
        self.controller = Controller(name, self.reconcile, workers=1, informers=(self.namespaces, self.held))
        self.namespaces.subscribe(lambda delta: self.controller.queue.add(delta.key.name))
        self.held.subscribe(self._held_changed)

    async def run(self) -> None:
        await self.controller.run()

    def _held_changed(self, delta: Delta) -> None:
        self.controller.queue.add(delta.key.namespace)

    async def reconcile(self, namespace: str) -> Again | None:
        found = self.namespaces.cache.get(Key("", namespace))
        if found is None or is_deleting(found):
            return None
        key = Key(namespace, self.called)
        held = self.held.cache.get(key)
        if held is not None and not self._differs(held):
            return None
        try:
            if held is None:
                await self.client.create(self.resource, self._wanted(key))
            else:
                await self.client.patch(self.resource, key_of(held), self.content)
        except (AlreadyExists, NotFound):
            return None  # the cache will say so soon
        except ApiError as error:
            if not is_terminating(error):
                raise
        return None

    def _wanted(self, key: Key) -> Obj:
        meta = (self.content.get("metadata") or {}) | {"namespace": key.namespace, "name": key.name}
        kind = {"apiVersion": self.resource.api_version, "kind": self.resource.kind}
        return kind | self.content | {"metadata": meta}

    def _differs(self, held: Obj) -> bool:
        return any(held.get(field) != value for field, value in self.content.items() if field != "metadata")


def service_accounts(shared: Shared) -> PerNamespace:
    """The account that pods run as when they name none."""
    return PerNamespace(shared, "serviceaccount", SERVICE_ACCOUNTS, called="default", content={})


def root_ca(shared: Shared) -> PerNamespace | None:
    """What pods verify the API server with; None when the configuration has no CA."""
    if not shared.config.root_ca:
        return None
    content: Obj = {
        "metadata": {"annotations": {"kubernetes.io/description": _CA_NOTE}},
        "data": {"ca.crt": shared.config.root_ca},
    }
    return PerNamespace(shared, "root_ca_cert_publisher", CONFIG_MAPS, called="kube-root-ca.crt", content=content)
