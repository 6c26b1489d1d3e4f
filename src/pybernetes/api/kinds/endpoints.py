"""Endpoints and EndpointSlices. Clients dereference ports[].name and protocol unasked, so both are always there."""

from collections.abc import Iterator

from .. import names
from ..errors import FieldError
from ..objects import Obj, labels_of
from . import checks, meta
from .address_warnings import each_ip
from .pod_defaults import fill
from .service_checks import unusual
from .service_warnings import subset_warnings
from .strategy import Strategy

Problems = Iterator[FieldError]

_MOST_ENDPOINTS = 1000
_MOST_PORTS = 20000
_MOST_ADDRESSES = 100
_MOST_TOPOLOGY = 16
_MOST_HINTS = 8
_FAMILIES = ("FQDN", "IPv4", "IPv6")
_SUBSETS_BY, _SUBSETS_CONTROLLER = "endpoints.kubernetes.io/managed-by", "endpoint-controller"
_SLICES_BY = "endpointslice.kubernetes.io/managed-by"
_SLICE_CONTROLLERS = ("endpointslice-controller.k8s.io", "endpointslicemirroring-controller.k8s.io")
"""Who writes addresses as they should be, and is not looked at."""


class EndpointsStrategy(Strategy):
    create_on_update = True

    def default(self, obj: Obj) -> None:
        for subset in obj.get("subsets") or ():
            for port in subset.get("ports") or ():
                fill(port, {"protocol": "TCP"})

    def check(self, new: Obj, old: Obj | None, *, part: str = "") -> Problems:
        for index, subset in enumerate(new.get("subsets") or ()):
            yield from _subset(subset, f"subsets[{index}]")

    def warnings(self, new: Obj, old: Obj | None, *, part: str = "") -> Iterator[str]:
        if labels_of(new).get(_SUBSETS_BY) != _SUBSETS_CONTROLLER:
            yield from subset_warnings(new.get("subsets") or ())


def _subset(subset: Obj, path: str) -> Problems:
    ready, waiting = subset.get("addresses") or [], subset.get("notReadyAddresses") or []
    if not ready and not waiting:
        yield FieldError.required(path, "must specify `addresses` or `notReadyAddresses`")
    for field, found in (("addresses", ready), ("notReadyAddresses", waiting)):
        for index, address in enumerate(found):
            yield from _address(address, f"{path}.{field}[{index}]")
    ports = subset.get("ports") or []
    for index, port in enumerate(ports):
        where = f"{path}.ports[{index}]"
        if port.get("name"):
            yield from checks.named(port["name"], f"{where}.name", names.label)
        elif len(ports) > 1:
            yield FieldError.required(f"{where}.name")
        yield from checks.port(port.get("port"), f"{where}.port")
        yield from checks.one_of(port.get("protocol"), f"{where}.protocol", checks.PROTOCOLS)
        if (protocol := port.get("appProtocol")) is not None:
            yield from checks.named(protocol, f"{where}.appProtocol", names.qualified)


def _address(address: Obj, path: str) -> Problems:
    text = address.get("ip") or ""
    problems = list(checks.named(text, f"{path}.ip", names.ip))
    yield from problems
    if not problems:
        yield from unusual(text, f"{path}.ip")
    if host := address.get("hostname"):
        yield from checks.named(host, f"{path}.hostname", names.label)
    if (node := address.get("nodeName")) is not None:
        yield from checks.named(node, f"{path}.nodeName", names.subdomain)


class EndpointSliceStrategy(Strategy):
    generation = True

    def default(self, obj: Obj) -> None:
        if obj.get("endpoints") is None:
            obj["endpoints"] = []
        if obj.get("ports") is None:
            obj["ports"] = []
        for port in obj["ports"]:
            if port.get("name") is None:
                port["name"] = ""
            fill(port, {"protocol": "TCP"})
        for endpoint in obj["endpoints"]:
            if endpoint.get("conditions") is None:
                endpoint["conditions"] = {}

    def changed(self, new: Obj, old: Obj) -> bool:
        """Labels count too: they say whose slice it is."""
        return super().changed(new, old) or labels_of(new) != labels_of(old)

    def check(self, new: Obj, old: Obj | None, *, part: str = "") -> Problems:
        family = new.get("addressType") or ""
        yield from checks.one_of(family, "addressType", _FAMILIES)
        if old is not None and old.get("addressType") != family:
            yield from meta.immutable(family, old.get("addressType"), "addressType")
        endpoints, ports = new.get("endpoints") or [], new.get("ports") or []
        if len(endpoints) > _MOST_ENDPOINTS:
            yield FieldError.too_many("endpoints", len(endpoints), _MOST_ENDPOINTS)
        else:
            for index, endpoint in enumerate(endpoints):
                yield from _endpoint(endpoint, f"endpoints[{index}]", family=family)
        if len(ports) > _MOST_PORTS:
            yield FieldError.too_many("ports", len(ports), _MOST_PORTS)
        yield from _ports(ports)

    def warnings(self, new: Obj, old: Obj | None, *, part: str = "") -> Iterator[str]:
        if old is None and new.get("addressType") == "FQDN":
            yield "spec.addressType: FQDN endpoints are deprecated"
        if labels_of(new).get(_SLICES_BY) not in _SLICE_CONTROLLERS:
            for index, endpoint in enumerate(new.get("endpoints") or ()):
                yield from each_ip(endpoint.get("addresses"), f"endpoints[{index}].addresses")


def _endpoint(endpoint: Obj, path: str, *, family: str) -> Problems:
    addresses = endpoint.get("addresses") or []
    if not addresses:
        yield FieldError.required(f"{path}.addresses", "must contain at least 1 address")
    elif len(addresses) > _MOST_ADDRESSES:
        yield FieldError.too_many(f"{path}.addresses", len(addresses), _MOST_ADDRESSES)
    for index, address in enumerate(addresses):
        yield from _slice_address(address, f"{path}.addresses[{index}]", family=family)
    if (host := endpoint.get("hostname")) is not None:
        yield from checks.named(host, f"{path}.hostname", names.label)
    if (node := endpoint.get("nodeName")) is not None:
        yield from checks.named(node, f"{path}.nodeName", names.subdomain)
    yield from _topology(endpoint.get("deprecatedTopology") or {}, f"{path}.deprecatedTopology")
    hints: Obj = endpoint.get("hints") or {}
    for field in ("forZones", "forNodes"):
        yield from _hints(hints.get(field) or [], f"{path}.hints.{field}")


def _topology(found: Obj, path: str) -> Problems:
    if len(found) > _MOST_TOPOLOGY:
        yield FieldError.too_many(path, len(found), _MOST_TOPOLOGY)
    yield from meta.labels(found, path)
    if "kubernetes.io/hostname" in found:
        yield FieldError.forbidden(f"{path}[kubernetes.io/hostname]", "may not be set, use nodeName instead")


def _hints(found: list[Obj], path: str) -> Problems:
    if len(found) > _MOST_HINTS:
        yield FieldError.too_many(path, len(found), _MOST_HINTS)
        return
    for index, hint in enumerate(found):
        yield from checks.named(hint.get("name") or "", f"{path}[{index}].name", names.label_value)
    yield from checks.unique((hint.get("name") for hint in found), lambda index: f"{path}[{index}].name")


def _slice_address(address: str, path: str, *, family: str) -> Problems:
    if family == "FQDN":
        yield from checks.named(address.removesuffix("."), path, names.subdomain)
        if "." not in address.removesuffix("."):
            yield FieldError.invalid(path, address, "should be a domain with at least two segments separated by dots")
        return
    if family not in _FAMILIES:
        return
    rule, version = (names.ip, 4) if family == "IPv4" else (names.canonical_ip, 6)
    problems = list(checks.named(address, path, rule))
    yield from problems
    found = names.address(address)
    if not problems and found is not None:
        if found.version != version:
            yield FieldError.invalid(path.rpartition("[")[0], address, f"must be an {family} address")
        yield from unusual(address, path)


def _ports(ports: list[Obj]) -> Problems:
    seen: set[str] = set()
    for index, port in enumerate(ports):
        where = f"ports[{index}]"
        name = port.get("name") or ""
        if name:
            yield from checks.named(name, f"{where}.name", names.label)
        if name in seen:
            yield FieldError.duplicate(f"{where}.name", name)
        seen.add(name)
        yield from checks.one_of(port.get("protocol"), f"{where}.protocol", checks.PROTOCOLS)
        if port.get("port") is not None:
            yield from checks.port(port["port"], f"{where}.port")
        if (protocol := port.get("appProtocol")) is not None:
            yield from checks.named(protocol, f"{where}.appProtocol", names.qualified)
