"""Services and EndpointSlices into fronts: what is true now, and which Service ports changed since it was last taken.

Events only mark a Service as touched; what it comes to is computed when it is taken, from the caches. So a burst of
slices of one Service costs one computation, and the order of events does not matter.
"""

import asyncio
import json
import socket
import sys
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_network
from typing import Any

from pybernetes.api import times
from pybernetes.api.objects import Key, Obj, annotations_of, key_of, labels_of, namespace_of
from pybernetes.client import Cache, Delta

from .draining import Draining
from .model import FULL_WEIGHT, PROTOCOLS, Desired, Front, HealthCheck, ServicePort
from .topology import Candidate, Endpoint, Place, choose

SERVICE_NAME = "kubernetes.io/service-name"
PROXY_NAME, HEADLESS = "service.kubernetes.io/service-proxy-name", "service.kubernetes.io/headless"
"""Labels of Services and slices that are for another proxy, or for none."""
TRIGGERED = "endpoints.kubernetes.io/last-change-trigger-time"
WEIGHT = "pybernetes.io/weight"
WEIGHTS = "pybernetes.io/weights"
"""Annotations of a slice: the weight of all its endpoints; and JSON, the weights of single addresses."""
DRAIN = "pybernetes.io/drain"
"""Annotation of a Service: keep, reset, or seconds until reset."""
BY_SERVICE = "service"

ZONE = "topology.kubernetes.io/zone"

DEFAULT_AFFINITY_SECONDS = 10800

_LONGEST_NUMBER = 7
"""A number in an annotation with so many digits or more is none."""

_SERVICE_FIELDS = (
    "type",
    "clusterIP",
    "clusterIPs",
    "ports",
    "externalIPs",
    "sessionAffinity",
    "sessionAffinityConfig",
    "internalTrafficPolicy",
    "externalTrafficPolicy",
    "loadBalancerSourceRanges",
    "healthCheckNodePort",
)


def slim_service(obj: Obj) -> Obj:
    """What the proxy uses of a Service."""
    spec = obj.get("spec") or {}
    ingress = ((obj.get("status") or {}).get("loadBalancer") or {}).get("ingress")
    slim: Obj = {"metadata": _slim_metadata(obj, (PROXY_NAME, HEADLESS), (DRAIN,))}
    slim["spec"] = {name: spec[name] for name in _SERVICE_FIELDS if spec.get(name)}
    if ingress:
        slim["ingress"] = [each["ip"] for each in ingress if each.get("ip") and each.get("ipMode") != "Proxy"]
    return slim


def slim_slice(obj: Obj) -> Obj:
    """What the proxy uses of an EndpointSlice; endpoints and ports as tuples, for there may be 100,000 of them."""
    slim: Obj = {"metadata": _slim_metadata(obj, (SERVICE_NAME,), (TRIGGERED,))}
    foreign = obj.get("addressType") == "FQDN" or not labels_of(obj).keys().isdisjoint((PROXY_NAME, HEADLESS))
    slim["endpoints"] = () if foreign else tuple(_endpoints(obj))
    slim["ports"] = tuple(_ports(obj))
    return slim


def slim_node(obj: Obj) -> Obj:
    """What the proxy uses of its own Node: where it is, its addresses and its pods', and whether it is about to go."""
    metadata = obj.get("metadata") or {}
    slim: Obj = {"metadata": _slim_metadata(obj, (ZONE,), ())}
    if "deletionTimestamp" in metadata:
        slim["metadata"]["deletionTimestamp"] = metadata["deletionTimestamp"]
    spec = obj.get("spec") or {}
    addresses = (obj.get("status") or {}).get("addresses") or ()
    return slim | {
        "taints": tuple(taint.get("key", "") for taint in spec.get("taints") or ()),
        "podCIDRs": tuple(spec.get("podCIDRs") or filter(None, [spec.get("podCIDR")])),
        "status": {"addresses": tuple(addresses)},
    }


def _slim_metadata(obj: Obj, labels: Sequence[str], annotations: Sequence[str]) -> Obj:
    metadata = obj.get("metadata") or {}
    slim: Obj = {name: metadata[name] for name in ("name", "namespace", "uid", "resourceVersion") if name in metadata}
    slim["labels"] = {name: value for name, value in labels_of(obj).items() if name in labels}
    slim["annotations"] = {name: value for name, value in annotations_of(obj).items() if name in annotations}
    return slim


def _endpoints(obj: Obj) -> Iterable[Endpoint]:
    weights, weight = _weights(annotations_of(obj))
    for each in obj.get("endpoints") or ():
        addresses = each.get("addresses") or ()
        conditions: Mapping[str, Any] = each.get("conditions") or {}
        ready = conditions.get("ready") is not False
        serving = conditions.get("serving")
        hints: Mapping[str, Any] = each.get("hints") or {}
        if addresses and (address := _normal(addresses[0])):  # the API says the others are interchangeable
            yield Endpoint(
                address=address,
                node=sys.intern(each.get("nodeName") or ""),
                ready=ready,
                serving=ready if serving is None else bool(serving),
                terminating=bool(conditions.get("terminating")),
                zones=_names(hints.get("forZones")),
                nodes=_names(hints.get("forNodes")),
                weight=weights.get(address, weight),
            )


def _names(hints: Sequence[Mapping[str, str]] | None) -> tuple[str, ...]:
    return tuple(sys.intern(hint.get("name") or "") for hint in hints) if hints else ()


def _weights(annotations: Mapping[str, str]) -> tuple[dict[str, int], int]:
    """The weights of single addresses and of all others; what is no weight is as if it were not there."""
    text = annotations.get(WEIGHT, "")
    number = int(text) if text.isascii() and text.isdecimal() and len(text) < _LONGEST_NUMBER else None
    everyone = number if number is not None and _is_weight(number) else FULL_WEIGHT
    if WEIGHTS not in annotations:
        return {}, everyone
    try:
        told = json.loads(annotations[WEIGHTS])
    except (ValueError, RecursionError):
        return {}, everyone
    pairs = told.items() if isinstance(told, dict) else ()
    return {_normal(address): weight for address, weight in pairs if _is_weight(weight)}, everyone


def _is_weight(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= FULL_WEIGHT


def _ports(obj: Obj) -> Iterable[tuple[str, str, int]]:
    """(name, protocol, number); ports without a number, or one that is none, serve nobody."""
    for each in obj.get("ports") or ():
        number = each.get("port")
        if _is_port(number):
            yield sys.intern(each.get("name") or ""), sys.intern(each.get("protocol") or "TCP"), number


def _is_port(number: object) -> bool:
    return isinstance(number, int) and 0 < number < 65536


def _normal(address: str) -> str:
    """An address in its usual spelling; "" for what is none."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        return socket.inet_ntop(family, socket.inet_pton(family, address))
    except (OSError, ValueError):
        return ""


def service_of(obj: Obj) -> Key:
    """The Service a slice belongs to."""
    return Key(namespace_of(obj), labels_of(obj).get(SERVICE_NAME, ""))


def by_service(obj: Obj) -> Iterable[str]:
    """The index BY_SERVICE of the slices' cache."""
    return [str(service_of(obj))] if SERVICE_NAME in labels_of(obj) else []


def fronts(service: Obj, slices: Sequence[Obj], *, node: str, zone: str = "") -> dict[ServicePort, Front]:
    """The fronts of one (slim) Service with its (slim) slices; {} for those that nobody balances."""
    spec = service.get("spec") or {}
    vips = tuple(_addresses(spec.get("clusterIPs") or [spec.get("clusterIP") or ""]))
    if not vips or spec.get("type") == "ExternalName" or labels_of(service).keys() & {PROXY_NAME, HEADLESS}:
        return {}
    key = key_of(service)
    balancers = tuple(dict.fromkeys(_addresses(service.get("ingress") or ())))
    externals = tuple(
        dict.fromkeys(each for each in _addresses(spec.get("externalIPs") or ()) if each not in balancers)
    )
    sources = tuple(_networks(spec.get("loadBalancerSourceRanges") or ())) if balancers else ()
    found: dict[ServicePort, Front] = {}
    for port in spec.get("ports") or ():
        name, protocol = port.get("name") or "", port.get("protocol") or "TCP"
        if protocol not in PROTOCOLS or not _is_port(port.get("port")):
            continue
        chosen = choose(list(_candidates(slices, name, protocol)), Place(node, zone))
        found[ServicePort(key.namespace, key.name, name, protocol)] = Front(
            vips=vips,
            port=port["port"],
            protocol=protocol,
            node_port=port["nodePort"] if _is_port(port.get("nodePort")) else 0,
            externals=externals,
            balancers=balancers,
            sources=sources,
            backends=chosen.cluster,
            local_backends=chosen.local,
            resting=chosen.resting,
            internal_local=spec.get("internalTrafficPolicy") == "Local",
            external_local=spec.get("externalTrafficPolicy") == "Local",
            affinity_seconds=_affinity(spec),
            drain_seconds=_drain(annotations_of(service).get(DRAIN, "")) if protocol == "TCP" else None,
        )
    return found


def _addresses(addresses: Iterable[str]) -> Iterable[str]:
    return filter(None, (_normal(address) for address in addresses if address != "None"))


def _networks(ranges: Iterable[str]) -> Iterable[str]:
    """CIDRs in their usual spelling; what is none is left out."""
    for each in ranges:
        try:
            yield str(ip_network(each.strip(), strict=False))
        except ValueError:
            continue


def _affinity(spec: Obj) -> int:
    if spec.get("sessionAffinity") != "ClientIP":
        return 0
    config = (spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}
    return int(config.get("timeoutSeconds") or DEFAULT_AFFINITY_SECONDS)


def _drain(text: str) -> int | None:
    """Seconds until connections to an endpoint that went are reset; None for "keep", and for what is no setting."""
    if text == "reset":
        return 0
    return int(text) if text.isascii() and text.isdecimal() and len(text) < _LONGEST_NUMBER else None


def _candidates(slices: Sequence[Obj], name: str, protocol: str) -> Iterable[Candidate]:
    for each in sorted(slices, key=lambda obj: obj["metadata"].get("name", "")):
        for port_name, port_protocol, number in each["ports"]:
            if port_name == name and port_protocol == protocol:
                yield from ((endpoint, number) for endpoint in each["endpoints"])


def health_check(service: Obj, slices: Sequence[Obj], *, node: str) -> HealthCheck | None:
    """What the health check port of a (slim) Service says on this node; None without one."""
    port = service["spec"].get("healthCheckNodePort")
    if not _is_port(port):
        return None
    endpoints = (endpoint for each in slices for endpoint in each["endpoints"])
    here = {each.address for each in endpoints if each.ready and each.weight and each.node == node}
    return HealthCheck(port, len(here))


class Tracker:
    """The wanted state of one node. Its handlers subscribe to the informers whose caches it is given."""

    def __init__(self, services: Cache, slices: Cache, *, node: str) -> None:
        """`slices` has the index BY_SERVICE."""
        self.services = services
        self.slices = slices
        self.node = node
        self.zone = ""
        self.desired: Desired = {}
        self.health: dict[Key, HealthCheck] = {}
        """The Services with a health check port."""
        self.touched = asyncio.Event()
        self._touched: set[Key] = set()
        self._ports: dict[Key, tuple[ServicePort, ...]] = {}
        self._triggers: list[float] = []
        self._draining = Draining(self._touch)

    def service_changed(self, delta: Delta) -> None:
        self._touch(delta.key)

    def slice_changed(self, delta: Delta) -> None:
        for obj in (delta.was, delta.now):
            if obj is not None:
                self._touch(service_of(obj))
        if delta.now is not None and (trigger := _time(annotations_of(delta.now).get(TRIGGERED, ""))):
            self._triggers.append(trigger)

    def node_changed(self, delta: Delta) -> None:
        """The node's zone says which hints are meant for it."""
        zone = labels_of(delta.now).get(ZONE, "") if delta.now is not None else self.zone
        if zone != self.zone:
            self.zone = zone
            for key in [key_of(service) for service in self.services.select()]:
                self._touch(key)

    def _touch(self, key: Key) -> None:
        self._touched.add(key)
        self.touched.set()

    def take(self) -> frozenset[ServicePort]:
        """Bring `desired` up to date; the ports that differ from what they were."""
        changed: set[ServicePort] = set()
        touched, self._touched = self._touched, set()
        self.touched.clear()
        for key in touched:
            changed.update(self._recompute(key))
        return frozenset(changed)

    def take_triggers(self) -> list[float]:
        """When (unix time) the changes taken since the last call were caused, as far as the slices say."""
        taken, self._triggers = self._triggers, []
        return taken

    def _recompute(self, key: Key) -> list[ServicePort]:
        """The ports of one Service that differ from what they were."""
        service = self.services.get(key)
        slices = self.slices.indexed(BY_SERVICE, str(key)) if service is not None else ()
        found = fronts(service, slices, node=self.node, zone=self.zone) if service is not None else {}
        check = health_check(service, slices, node=self.node) if service is not None and found else None
        if check is not None:
            self.health[key] = check
        else:
            self.health.pop(key, None)
        changed: list[ServicePort] = []
        for port, front in found.items():
            was = self.desired.get(port)
            kept = self._draining.keep(key, port, front, was)
            if kept != was:
                self.desired[port] = kept
                changed.append(port)
        gone = [port for port in self._ports.pop(key, ()) if port not in found]
        for port in gone:
            del self.desired[port]
            self._draining.forget(port)
        if found:
            self._ports[key] = tuple(found)
        return changed + gone


def _time(text: str) -> float:
    """Unix time of an API time; 0 for what is none."""
    try:
        return times.parse(text)
    except ValueError:
        return 0.0
