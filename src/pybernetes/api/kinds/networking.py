"""Ingress, IngressClass, NetworkPolicy, IPAddress, ServiceCIDR."""

import ipaddress
from collections.abc import Collection, Iterator

from .. import names
from ..errors import FieldError
from ..objects import Obj, annotations_of
from . import checks, meta
from .pod_defaults import fill
from .rules import Table, among, follow, given, matching, may, need
from .service_checks import ingress_host
from .service_warnings import balancer_warnings, ingress_class_warning, policy_warnings
from .strategy import Strategy

Problems = Iterator[FieldError]

_PATH_TYPES = ("Exact", "ImplementationSpecific", "Prefix")
_CLASS_ANNOTATION = "kubernetes.io/ingress.class"


class IngressStrategy(Strategy):
    generation = True
    status = True

    def reset_status(self, new: Obj) -> None:
        new["status"] = {"loadBalancer": {}}

    def check(self, new: Obj, old: Obj | None, *, part: str = "") -> Problems:
        if part == "status":
            yield from _ingress_status(new.get("status") or {}, "status.loadBalancer.ingress")
            return
        spec: Obj = new.get("spec") or {}
        rules, backend = spec.get("rules") or [], spec.get("defaultBackend")
        if not rules and backend is None:
            detail = "either `defaultBackend` or `rules` must be specified"
            yield FieldError.invalid("spec", rules, detail)
        if backend is not None:
            yield from _backend(backend, "spec.defaultBackend")
        for index, rule in enumerate(rules):
            yield from _rule(rule, f"spec.rules[{index}]")
        before: Obj = (old or {}).get("spec") or {}
        for index, tls in enumerate(spec.get("tls") or ()):
            yield from _tls(tls, f"spec.tls[{index}]", known={one.get("secretName") for one in before.get("tls") or ()})
        yield from follow(spec, {"ingressClassName": given(_NAME)}, "spec")
        if old is None:
            yield from _same_class(spec.get("ingressClassName"), annotations_of(new).get(_CLASS_ANNOTATION))

    def warnings(self, new: Obj, old: Obj | None, *, part: str = "") -> Iterator[str]:
        if part == "status":
            yield from balancer_warnings(new.get("status") or {})
        unclassed = (new.get("spec") or {}).get("ingressClassName") is None
        if old is None and unclassed and _CLASS_ANNOTATION in annotations_of(new):
            yield ingress_class_warning(_CLASS_ANNOTATION)


_NAME, _SEGMENT = matching(names.subdomain), matching(names.path_segment)
_REFERENCE: Table = {"apiGroup": given(_NAME), "kind": need(_SEGMENT), "name": need(_SEGMENT)}


def _same_class(name: str | None, noted: str | None) -> Problems:
    if name is not None and noted is not None and name != noted:
        detail = "must match `ingressClassName` when both are specified"
        yield FieldError.invalid(f"annotations.{_CLASS_ANNOTATION}", noted, detail)


def _tls(tls: Obj, path: str, *, known: Collection[str | None]) -> Problems:
    """`known` names were there before and are not judged again."""
    for number, host in enumerate(tls.get("hosts") or ()):
        yield from _host(host, f"{path}.hosts[{number}]")
    if (name := tls.get("secretName")) and name not in known:
        yield from _NAME(name, f"{path}.secretName")


def _ingress_status(status: Obj, path: str) -> Problems:
    for index, entry in enumerate((status.get("loadBalancer") or {}).get("ingress") or ()):
        if ip := entry.get("ip"):
            yield from checks.named(ip, f"{path}[{index}].ip", names.ip)
        yield from ingress_host(entry.get("hostname") or "", f"{path}[{index}].hostname")


def _host(host: str, path: str) -> Problems:
    if "*" in host:
        if not host.startswith("*.") or any(names.subdomain(host[2:])):
            detail = (
                "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must "
                "consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character "
                "(e.g. '*.example.com', regex used for validation is "
                r"'\*\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
            )
            yield FieldError.invalid(path, host, detail)
    else:
        yield from checks.named(host, path, names.subdomain)


def _rule(rule: Obj, path: str) -> Problems:
    if host := rule.get("host"):
        try:
            ipaddress.ip_address(host)
        except ValueError:
            yield from _host(host, f"{path}.host")
        else:
            yield FieldError.invalid(f"{path}.host", host, "must be a DNS name, not an IP address")
    if (http := rule.get("http")) is None:
        return
    if not http.get("paths"):
        yield FieldError.required(f"{path}.http.paths")
    for index, entry in enumerate(http.get("paths") or ()):
        yield from _path(entry, f"{path}.http.paths[{index}]")


def _path(entry: Obj, path: str) -> Problems:
    kind, target = entry.get("pathType") or "", entry.get("path") or ""
    if not kind:
        yield FieldError.required(f"{path}.pathType", "pathType must be specified")
        return
    if kind not in _PATH_TYPES:
        yield FieldError.not_supported(f"{path}.pathType", kind, _PATH_TYPES)
    elif kind != "ImplementationSpecific" or target:
        if not target.startswith("/"):
            yield FieldError.invalid(f"{path}.path", target, "must be an absolute path")
        if kind != "ImplementationSpecific":
            for bad in ("//", "/./", "/../", "%2f", "%2F"):
                if bad in target:
                    yield FieldError.invalid(f"{path}.path", target, f"must not contain '{bad}'")
            for bad in ("/..", "/."):
                if target.endswith(bad):
                    yield FieldError.invalid(f"{path}.path", target, f"cannot end with '{bad}'")
    yield from _backend(entry.get("backend") or {}, f"{path}.backend")


def _backend(backend: Obj, path: str) -> Problems:
    service, resource = backend.get("service"), backend.get("resource")
    if service is not None and resource is not None:
        yield FieldError.invalid(path, "", "cannot set both resource and service backends")
    elif resource is not None:
        yield from follow(resource, _REFERENCE, f"{path}.resource")
    elif service is None:
        yield FieldError.invalid(path, "", "resource or service backend is required")
    else:
        yield from follow(service, {"name": need(matching(names.label))}, f"{path}.service")
        port: Obj = service.get("port") or {}
        if port.get("name") and port.get("number"):
            yield FieldError.invalid(path, "", "cannot set both port name & port number")
        elif port.get("name"):
            yield from checks.named(port["name"], f"{path}.service.port.name", names.port_name)
        elif port.get("number"):
            yield from checks.port(port["number"], f"{path}.service.port.number")
        else:
            yield FieldError.required(path, "port name or number is required")


class IngressClassStrategy(Strategy):
    generation = True

    def default(self, obj: Obj) -> None:
        if (parameters := (obj.get("spec") or {}).get("parameters")) is not None:
            fill(parameters, {"scope": "Cluster"})

    def check(self, new: Obj, old: Obj | None, *, part: str = "") -> Problems:
        spec: Obj = new.get("spec") or {}
        controller = spec.get("controller") or ""
        if old is not None:
            yield from meta.immutable(controller, (old.get("spec") or {}).get("controller"), "spec.controller")
        if len(controller.encode()) > _MOST_CONTROLLER:
            yield FieldError.too_long("spec.controller", "", _MOST_CONTROLLER)
        yield from checks.domain_prefixed_path(controller, "spec.controller")
        if (parameters := spec.get("parameters")) is not None:
            yield from _parameters(parameters, "spec.parameters")


_MOST_CONTROLLER = 250


def _parameters(found: Obj, path: str) -> Problems:
    yield from follow(found, _REFERENCE, path)
    yield from follow(found, {"scope": need(among("Cluster", "Namespace"))}, path)
    scope, namespace = found.get("scope"), found.get("namespace")
    if scope == "Namespace" and namespace is None:
        yield FieldError.required(f"{path}.namespace", "`parameters.scope` is set to 'Namespace'")
    elif scope == "Namespace" and namespace is not None:
        yield from checks.named(namespace, f"{path}.namespace", names.label)
    elif scope == "Cluster" and namespace is not None:
        yield FieldError.forbidden(f"{path}.namespace", "`parameters.scope` is set to 'Cluster'")


class NetworkPolicyStrategy(Strategy):
    generation = True

    def default(self, obj: Obj) -> None:
        spec = obj.setdefault("spec", {})
        if not spec.get("policyTypes"):
            spec["policyTypes"] = ["Ingress", *(["Egress"] if spec.get("egress") else [])]
        if spec.get("podSelector") is None:
            spec["podSelector"] = {}
        for rule in (*(spec.get("ingress") or ()), *(spec.get("egress") or ())):
            for port in rule.get("ports") or ():
                fill(port, {"protocol": "TCP"})

    def check(self, new: Obj, old: Obj | None, *, part: str = "") -> Problems:
        spec: Obj = new.get("spec") or {}
        yield from checks.selector(spec.get("podSelector"), "spec.podSelector")
        for direction, side in (("ingress", "from"), ("egress", "to")):
            for index, rule in enumerate(spec.get(direction) or ()):
                where = f"spec.{direction}[{index}]"
                for number, port in enumerate(rule.get("ports") or ()):
                    yield from _policy_port(port, f"{where}.ports[{number}]")
                for number, peer in enumerate(rule.get(side) or ()):
                    yield from _peer(peer, f"{where}.{side}[{number}]")
        types = spec.get("policyTypes") or []
        if len(types) > 2:
            yield FieldError.invalid("spec.policyTypes", types, "may not specify more than two policyTypes")
        else:
            for index, kind in enumerate(types):
                yield from among("Ingress", "Egress")(kind, f"spec.policyTypes[{index}]")

    def warnings(self, new: Obj, old: Obj | None, *, part: str = "") -> Iterator[str]:
        yield from policy_warnings(new)


def _policy_port(port: Obj, path: str) -> Problems:
    yield from follow(port, {"protocol": given(among("TCP", "UDP", "SCTP"))}, path)
    first, last = port.get("port"), port.get("endPort")
    if first is not None:
        yield from checks.port_or_name(first, f"{path}.port")
        if last is not None and isinstance(first, str):
            detail = "may not be specified when `port` is non-numeric"
            yield FieldError.invalid(f"{path}.endPort", last, detail)
        elif last is not None and isinstance(first, int):
            if last < first:
                yield FieldError.invalid(f"{path}.endPort", last, "must be greater than or equal to `port`")
            yield from checks.port(last, f"{path}.endPort")
    elif last is not None:
        yield FieldError.invalid(f"{path}.endPort", last, "may not be specified when `port` is not specified")


def _peer(peer: Obj, path: str) -> Problems:
    block = peer.get("ipBlock")
    selectors = [field for field in ("podSelector", "namespaceSelector") if peer.get(field) is not None]
    for field in selectors:
        yield from checks.selector(peer[field], f"{path}.{field}")
    if block is not None:
        yield from _block(block, f"{path}.ipBlock")
        if selectors:
            yield FieldError.forbidden(path, "may not specify both ipBlock and another peer")
    elif not selectors:
        yield FieldError.required(path, "must specify a peer")


def _block(block: Obj, path: str) -> Problems:
    found = block.get("cidr") or ""
    if not found:
        yield FieldError.required(f"{path}.cidr")
        return
    problems = list(checks.named(found, f"{path}.cidr", names.cidr))
    yield from problems
    for index, inner in enumerate(block.get("except") or ()):
        where = f"{path}.except[{index}]"
        bad = list(checks.named(inner, where, names.cidr))
        yield from bad
        if not bad and not problems and not _within(inner, found):
            yield FieldError.invalid(where, inner, "must be a strict subset of `cidr`")


def _within(inner: str, outer: str) -> bool:
    one, other = ipaddress.ip_network(inner, strict=False), ipaddress.ip_network(outer, strict=False)
    return one.version == other.version and one.prefixlen > other.prefixlen and one.network_address in other


class IpAddressStrategy(Strategy):
    name_rule = staticmethod(meta.ip_name)
    generation = True

    def check(self, new: Obj, old: Obj | None, *, part: str = "") -> Problems:
        parent = (new.get("spec") or {}).get("parentRef")
        if parent is None:
            yield FieldError.required("spec.parentRef")
        else:
            yield from follow(parent, _PARENT, "spec.parentRef")
        if old is not None:
            yield from meta.immutable(parent, (old.get("spec") or {}).get("parentRef"), "spec.parentRef")


_PARENT: Table = {"group": may(_NAME), "resource": need(_SEGMENT), "name": need(_SEGMENT), "namespace": may(_SEGMENT)}


class ServiceCidrStrategy(Strategy):
    generation = True
    status = True

    def check(self, new: Obj, old: Obj | None, *, part: str = "") -> Problems:
        if part == "status":
            return
        ranges = (new.get("spec") or {}).get("cidrs") or []
        before = ((old or {}).get("spec") or {}).get("cidrs") or []
        if old is None or len(before) < len(ranges):
            yield from _ranges(ranges, "spec.cidrs")
        if old is not None:
            yield from _ranges_update(ranges, before, "spec.cidrs")


def _ranges(ranges: list[str], path: str) -> Problems:
    if not ranges:
        yield FieldError.required(path, "at least one CIDR required")
    elif len(ranges) > 2:
        yield FieldError.invalid(path, {"cidrs": ranges}, "may only hold up to 2 values")
    else:
        wrong = [
            list(checks.named(found, f"{path}[{index}]", names.canonical_cidr)) for index, found in enumerate(ranges)
        ]
        for problems in wrong:
            yield from problems
        families = set() if any(wrong) else {ipaddress.ip_network(found, strict=False).version for found in ranges}
        if len(ranges) > len(families) == 1:
            detail = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64"
            yield FieldError.invalid(path, ranges, detail)


def _ranges_update(ranges: list[str], before: list[str], path: str) -> Problems:
    """One range may get a companion of the other IP family; nothing else changes."""
    if len(ranges) == len(before) or (len(before) == 1 and len(ranges) == 2):
        for index, was in enumerate(before):
            yield from meta.immutable(ranges[index], was, f"{path}[{index}]")
    else:
        yield FieldError.invalid(path, ranges, "field is immutable")
