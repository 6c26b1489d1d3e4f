"""EndpointSlice mirroring: hand-written Endpoints become slices too, since nodes read slices only.

Source: kubernetes/pkg/controller/endpointslicemirroring. Only Endpoints of a Service without selector are mirrored.
"""

from collections.abc import Mapping

from pybernetes.api.errors import ApiError
from pybernetes.api.objects import Key, Obj, annotations_of, is_deleting, labels_of, name_of, namespace_of
from pybernetes.api.resources import ENDPOINT_SLICES, ENDPOINTS, SERVICES
from pybernetes.client import Delta
from pybernetes.control import Again, Controller, Writes, enqueue

from .endpoints_of import canonical, family_of
from .endpointslice import BY_SERVICE, by_service, write_slices
from .pods import is_terminating
from .shared import Shared
from .slices import MANAGED_BY, SERVICE_NAME, TRIGGER_TIME, Group, Wanted, group_of, identity, plan

MANAGER = "endpointslicemirroring-controller.k8s.io"
SKIP = "endpointslice.kubernetes.io/skip-mirror"
LEADER = "control-plane.alpha.kubernetes.io/leader"
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_PER_SUBSET = 1000
_NOT_COPIED = frozenset({TRIGGER_TIME, LAST_APPLIED})


def is_mirrored(endpoints: Obj) -> bool:
    return labels_of(endpoints).get(SKIP) != "true" and LEADER not in annotations_of(endpoints)


def groups_of(endpoints: Obj) -> dict[Group, dict[str, Obj]]:
    """The endpoints of all subsets, by address type and ports; pure."""
    groups: dict[Group, dict[str, Obj]] = {}
    for subset in endpoints.get("subsets") or ():
        ports = subset.get("ports") or ()
        left = _PER_SUBSET
        for field, ready in (("addresses", True), ("notReadyAddresses", False)):
            for address in (subset.get(field) or ())[:left]:
                group = group_of(family_of(address["ip"]), ports)
                endpoint = _endpoint(address, ready=ready)
                groups.setdefault(group, {})[identity(endpoint)] = endpoint
                left -= 1
    return groups


def _endpoint(address: Mapping[str, object], *, ready: bool) -> Obj:
    endpoint: Obj = {
        "addresses": [canonical(str(address["ip"]))],
        "conditions": {"ready": ready, "serving": ready, "terminating": False},
    }
    for field in ("hostname", "nodeName", "targetRef"):
        if address.get(field):
            endpoint[field] = address[field]
    return endpoint


class MirroringController:
    def __init__(self, shared: Shared) -> None:
        self.client = shared.client
        self.limit = shared.config.endpoints_per_slice
        self.endpoints = shared.informers.of(ENDPOINTS)
        self.services = shared.informers.of(SERVICES)
        self.slices = shared.informers.of(ENDPOINT_SLICES, indexes={BY_SERVICE: by_service})
        self.writes: Writes[Key] = Writes(self.slices)
        informers = (self.endpoints, self.services, self.slices)
        self.controller = Controller("endpoint_slice_mirroring", self.reconcile, workers=3, informers=informers)
        self.endpoints.subscribe(enqueue(self.controller.queue))
        self.services.subscribe(enqueue(self.controller.queue))
        self.slices.subscribe(self._slice_changed)

    async def run(self) -> None:
        await self.controller.run()

    def _slice_changed(self, delta: Delta) -> None:
        labels = labels_of(delta.obj)
        if labels.get(MANAGED_BY) == MANAGER and labels.get(SERVICE_NAME):
            self.controller.queue.add(Key(namespace_of(delta.obj), labels[SERVICE_NAME]))

    async def reconcile(self, key: Key) -> Again | None:
        if not self.writes.seen(key):
            return Again(1.0)  # the slice's own event comes sooner
        endpoints, service = self.endpoints.cache.get(key), self.services.cache.get(key)
        existing = self._slices_of(key)
        self.writes.keep(key, existing)
        if endpoints is None or service is None or is_deleting(endpoints):
            return None  # slices go with their owner, the Endpoints
        groups = groups_of(endpoints) if is_mirrored(endpoints) and not service["spec"].get("selector") else {}
        annotations = {k: v for k, v in annotations_of(endpoints).items() if k not in _NOT_COPIED}
        labels = dict(labels_of(endpoints)) | {SERVICE_NAME: name_of(endpoints), MANAGED_BY: MANAGER}
        wanted = Wanted(endpoints, labels, annotations, groups, name_of(endpoints))
        stamp = annotations_of(endpoints).get(TRIGGER_TIME, "")
        try:
            await write_slices(self.client, self.writes, key, plan(wanted, existing, limit=self.limit, stamp=stamp))
        except ApiError as error:
            if not is_terminating(error):
                raise
        return None

    def _slices_of(self, key: Key) -> list[Obj]:
        found = self.slices.cache.indexed(BY_SERVICE, str(key))
        return [s for s in found if labels_of(s).get(MANAGED_BY) == MANAGER and not self.writes.gone(key, s)]
