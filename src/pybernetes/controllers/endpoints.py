"""Endpoints: the older form of the same facts, one object per Service (kubernetes/pkg/controller/endpoint)."""

from collections.abc import Iterable, Mapping, Sequence

from pybernetes.api import selectors
from pybernetes.api.errors import AlreadyExists, ApiError, NotFound
from pybernetes.api.objects import (
    Key,
    Obj,
    annotations_of,
    copied,
    decode,
    encode,
    is_deleting,
    labels_of,
    name_of,
    namespace_of,
    uid_of,
)
from pybernetes.api.resources import ENDPOINTS, SERVICES
from pybernetes.control import Again, Controller, enqueue
from pybernetes.control.pods import addresses_of, is_ready, is_terminal, node_of

from .endpoints_of import Triggers, address_types, canonical, family_of, is_headless, ports_of, publishes_all
from .pods import is_terminating
from .service_index import BY_PAIR, by_pair, enqueue_services
from .shared import Shared
from .slices import HEADLESS, TRIGGER_TIME

COMPONENT = "endpoint-controller"
MANAGED_BY = "endpoints.kubernetes.io/managed-by"
OVER_CAPACITY = "endpoints.kubernetes.io/over-capacity"
MAX_ADDRESSES = 1000


def subsets_of(service: Obj, pods: Iterable[Obj]) -> list[Obj]:
    """The subsets: ports that share exactly the same addresses stand together (RepackSubsets); pure."""
    addresses: dict[bytes, dict[str, tuple[Obj, bool]]] = {}
    family = address_types(service, ())[0] if service["spec"].get("clusterIP") else ""
    for pod in pods:
        if is_terminal(pod) or (is_deleting(pod) and not publishes_all(service)):
            continue
        found = [a for a in addresses_of(pod) if not family or family_of(a) == family]
        if not found:
            continue
        ready = publishes_all(service) or is_ready(pod)
        entry = (_address(service, pod, found[0]), ready)
        ports = ports_of(service, pod)
        if not ports and is_headless(service) and not service["spec"].get("ports"):
            ports = [{}]
        for port in ports:
            addresses.setdefault(encode(port), {})[uid_of(pod)] = entry
    together: dict[tuple[tuple[str, bool], ...], list[bytes]] = {}
    for port_json, held in addresses.items():
        together.setdefault(tuple(sorted((uid, ready) for uid, (_, ready) in held.items())), []).append(port_json)
    subsets = [_subset(ports, addresses[ports[0]].values()) for ports in together.values()]
    return sorted(subsets, key=lambda subset: encode(subset.get("ports") or []))


def _address(service: Obj, pod: Obj, ip: str) -> Obj:
    address: Obj = {"ip": canonical(ip)}
    spec = pod.get("spec") or {}
    if spec.get("hostname") and spec.get("subdomain") == name_of(service):
        address["hostname"] = spec["hostname"]
    if node_of(pod):
        address["nodeName"] = node_of(pod)
    address["targetRef"] = {
        "kind": "Pod", "namespace": namespace_of(pod), "name": name_of(pod), "uid": uid_of(pod),
    }  # fmt: skip
    return address


def _subset(port_jsons: Sequence[bytes], entries: Iterable[tuple[Obj, bool]]) -> Obj:
    ordered = sorted(entries, key=lambda entry: str(entry[0]["ip"]))
    ready = [address for address, is_up in ordered if is_up]
    rest = [address for address, is_up in ordered if not is_up]
    ports = [port for one in sorted(port_jsons) if (port := {k: v for k, v in decode(one).items() if v != ""})]
    said = {"addresses": ready, "notReadyAddresses": rest, "ports": ports}
    return {field: value for field, value in said.items() if value}


def truncated(subsets: Sequence[Obj]) -> tuple[list[Obj], bool]:
    """At most 1000 addresses, ready ones first; and whether any were left out."""
    left = MAX_ADDRESSES
    if sum(len(s.get(f) or ()) for s in subsets for f in ("addresses", "notReadyAddresses")) <= left:
        return list(subsets), False
    kept = [dict(subset) for subset in subsets]
    for field in ("addresses", "notReadyAddresses"):
        for subset in kept:
            if field in subset:
                subset[field] = subset[field][:left]
                left -= len(subset[field])
                if not subset[field]:
                    del subset[field]
    return [s for s in kept if s.get("addresses") or s.get("notReadyAddresses")], True


def labels_for(service: Obj) -> dict[str, str]:
    labels = {label: value for label, value in labels_of(service).items() if label != HEADLESS}
    labels[MANAGED_BY] = COMPONENT
    return labels | ({HEADLESS: ""} if is_headless(service) else {})


class EndpointsController:
    def __init__(self, shared: Shared) -> None:
        self.client = shared.client
        self.services = shared.informers.of(SERVICES, indexes={BY_PAIR: by_pair})
        self.endpoints = shared.informers.of(ENDPOINTS)
        self.pods = shared.pods()
        self.events = shared.recorder(COMPONENT)
        self.triggers = Triggers()
        self.controller = Controller(
            "endpoint",
            self.reconcile,
            workers=shared.config.workers,
            informers=(self.services, self.endpoints, self.pods),
        )
        self.services.subscribe(enqueue(self.controller.queue))
        self.endpoints.subscribe(enqueue(self.controller.queue))
        self.pods.subscribe(enqueue_services(self.controller.queue.add, self.services))

    async def run(self) -> None:
        await self.controller.run()

    async def reconcile(self, key: Key) -> Again | None:
        service = self.services.cache.get(key)
        found = self.endpoints.cache.get(key)
        if service is None:
            self.triggers.forget(key)
            if found is not None and labels_of(found).get(MANAGED_BY) == COMPONENT:
                await self._delete(found)
            return None
        selector = service["spec"].get("selector")
        if not selector or service["spec"].get("type") == "ExternalName" or is_deleting(service):
            return None
        pods = self.pods.cache.select(namespace_of(service), selectors.exact(selector).matches_object)
        subsets, cut = truncated(subsets_of(service, pods))
        labels = labels_for(service)
        stamp = self.triggers.first_change(key, service, pods)
        if found is not None and self._same(found, subsets, labels, cut=cut):
            return None
        await self._write(key, found, subsets, labels, self._annotations(found, stamp, cut=cut))
        return None

    @staticmethod
    def _same(found: Obj, subsets: Sequence[Obj], labels: Mapping[str, str], *, cut: bool) -> bool:
        return (
            (found.get("subsets") or []) == list(subsets)
            and labels_of(found) == labels
            and (annotations_of(found).get(OVER_CAPACITY) == "truncated") is cut
        )

    @staticmethod
    def _annotations(found: Obj | None, stamp: str, *, cut: bool) -> dict[str, str]:
        annotations = dict(annotations_of(found or {}))
        for name, value in ((TRIGGER_TIME, stamp), (OVER_CAPACITY, "truncated" if cut else "")):
            if value:
                annotations[name] = value
            else:
                annotations.pop(name, None)
        return annotations

    async def _write(
        self, key: Key, found: Obj | None, subsets: list[Obj], labels: dict[str, str], annotations: dict[str, str]
    ) -> None:
        if found is None:
            endpoints: Obj = {
                "apiVersion": "v1", "kind": "Endpoints", "metadata": {"namespace": key.namespace, "name": key.name},
            }  # fmt: skip
        else:
            endpoints = copied(found)
        endpoints["metadata"] |= {"labels": labels, "annotations": annotations}
        endpoints["subsets"] = subsets
        try:
            if found is None:
                await self.client.create(ENDPOINTS, endpoints)
            else:
                await self.client.update(ENDPOINTS, endpoints)
        except AlreadyExists:
            return  # ours from a moment ago: its event brings the key back
        except ApiError as error:
            if not is_terminating(error):
                raise

    async def _delete(self, found: Obj) -> None:
        try:
            await self.client.delete(ENDPOINTS, Key(namespace_of(found), name_of(found)), uid=uid_of(found))
        except NotFound:
            return
