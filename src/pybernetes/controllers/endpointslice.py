"""EndpointSlice: the back ends of each Service, in slices of up to 100 (kubernetes/pkg/controller/endpointslice).

The road from a pod's readiness to the kernel goes through here, so a pod event leads to the write in the same few
milliseconds; events of one Service that come meanwhile coalesce in the queue.
"""

from collections.abc import Sequence

from pybernetes.api import selectors
from pybernetes.api.errors import ApiError, NotFound
from pybernetes.api.objects import Key, Obj, is_deleting, key_of, labels_of, name_of, namespace_of, uid_of
from pybernetes.api.resources import ENDPOINT_SLICES, SERVICES
from pybernetes.client import Client, Delta
from pybernetes.control import Again, Controller, Writes, enqueue

from .endpoints_of import WEIGHT, ZONE, Triggers, groups_of, is_headless, weights_of
from .pods import is_terminating
from .service_index import BY_PAIR, by_pair, enqueue_services
from .shared import Shared
from .slices import HEADLESS, MANAGED_BY, SERVICE_NAME, Changes, Wanted, plan

COMPONENT = "endpoint-slice-controller"
MANAGER = "endpointslice-controller.k8s.io"
BY_SERVICE = "service"
_TOLD = 3
"""Of so many pods with a wrong weight an event tells; all of a Deployment's are wrong alike."""
_RESERVED = frozenset({SERVICE_NAME, MANAGED_BY, HEADLESS})


def by_service(slice_: Obj) -> tuple[str, ...]:
    """Index: "namespace/service" of the label."""
    name = labels_of(slice_).get(SERVICE_NAME)
    return (f"{namespace_of(slice_)}/{name}",) if name else ()


class EndpointSliceController:
    def __init__(self, shared: Shared) -> None:
        self.client = shared.client
        self.limit = shared.config.endpoints_per_slice
        self.services = shared.informers.of(SERVICES, indexes={BY_PAIR: by_pair})
        self.slices = shared.informers.of(ENDPOINT_SLICES, indexes={BY_SERVICE: by_service})
        self.pods = shared.pods()
        self.nodes = shared.nodes()
        self.events = shared.recorder(COMPONENT)
        self.writes: Writes[Key] = Writes(self.slices)
        self.triggers = Triggers()
        informers = (self.services, self.slices, self.pods, self.nodes)
        self.controller = Controller(
            "endpoint_slice", self.reconcile, workers=shared.config.workers, informers=informers
        )
        self.services.subscribe(enqueue(self.controller.queue))
        self.pods.subscribe(enqueue_services(self.controller.queue.add, self.services))
        self.slices.subscribe(self._slice_changed)
        self.nodes.subscribe(self._node_changed)

    async def run(self) -> None:
        await self.controller.run()

    def _slice_changed(self, delta: Delta) -> None:
        """A slice of ours that somebody else changed is put right; so is one whose write we wait for."""
        slice_ = delta.obj
        if labels_of(slice_).get(MANAGED_BY) == MANAGER and (name := labels_of(slice_).get(SERVICE_NAME)):
            self.controller.queue.add(Key(namespace_of(slice_), name))

    def _node_changed(self, delta: Delta) -> None:
        """A node's zone is said in the endpoints on it."""
        was, now = (self._zone(node) if node is not None else "" for node in delta)
        if was != now:
            for service in self.services.cache.select():
                self.controller.queue.add(key_of(service))

    @staticmethod
    def _zone(node: Obj) -> str:
        return labels_of(node).get(ZONE, "")

    def _zone_of(self, node_name: str) -> str:
        node = self.nodes.cache.get(Key("", node_name))
        return self._zone(node) if node is not None else ""

    async def reconcile(self, key: Key) -> Again | None:
        service = self.services.cache.get(key)
        if service is None:
            self.triggers.forget(key)
            self.writes.forget(key)
            return None  # its slices go with their owner
        selector = service["spec"].get("selector")
        if not selector or service["spec"].get("type") == "ExternalName" or is_deleting(service):
            return None  # whoever leaves the selector out writes the slices
        if not self.writes.seen(key):
            return Again(1.0)  # the slice's own event comes sooner
        matching = selectors.exact(selector)
        pods = self.pods.cache.select(namespace_of(service), matching.matches_object)
        groups = groups_of(service, pods, zone_of=self._zone_of)
        existing = self._slices_of(key)
        self.writes.keep(key, existing)
        weights = self._weights(service, pods)
        wanted = Wanted(service, slice_labels(service), {}, groups, name_of(service), weights)
        stamp = self.triggers.first_change(key, service, pods)
        await self._write(key, service, plan(wanted, existing, limit=self.limit, stamp=stamp))
        return None

    def _weights(self, service: Obj, pods: Sequence[Obj]) -> dict[str, int]:
        weights, wrong = weights_of(pods)
        for name, text in sorted(wrong.items())[:_TOLD]:
            message = (
                f"Pod {name}: annotation {WEIGHT} must be a whole number from 0 to 100, not {text[:40]!r}; ignored"
            )
            self.events.event(service, "InvalidWeight", message, type="Warning")
        return weights

    def _slices_of(self, key: Key) -> list[Obj]:
        found = self.slices.cache.indexed(BY_SERVICE, str(key))
        return [s for s in found if labels_of(s).get(MANAGED_BY) == MANAGER and not self.writes.gone(key, s)]

    async def _write(self, key: Key, service: Obj, changes: Changes) -> None:
        try:
            await write_slices(self.client, self.writes, key, changes)
        except ApiError as error:
            if is_terminating(error):
                return
            if error.code not in (404, 409):
                message = f"Error updating Endpoint Slices for Service {key}: {error.message}"
                self.events.event(service, "FailedToUpdateEndpointSlices", message, type="Warning")
            raise


async def write_slices(client: Client, writes: Writes[Key], key: Key, changes: Changes) -> None:
    """Updates and creations before deletions, so that no endpoint is missing in between."""
    for slice_ in changes.create:
        writes.wrote(key, await client.create(ENDPOINT_SLICES, slice_))
    for slice_ in changes.update:
        writes.wrote(key, await client.update(ENDPOINT_SLICES, slice_))
    for slice_ in changes.delete:
        try:
            await client.delete(ENDPOINT_SLICES, key_of(slice_), uid=uid_of(slice_))
        except NotFound:
            continue
        writes.deleted(key, slice_)


def slice_labels(service: Obj) -> dict[str, str]:
    """The Service's labels and the three that say whose slice it is."""
    labels = {label: value for label, value in labels_of(service).items() if label not in _RESERVED}
    labels |= {SERVICE_NAME: name_of(service), MANAGED_BY: MANAGER}
    if is_headless(service):
        labels[HEADLESS] = ""
    return labels
