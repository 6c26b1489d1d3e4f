"""Ingress, IngressClass, NetworkPolicy, IPAddress, ServiceCIDR."""

import ipaddress
from collections.abc import Iterator

from .. import names
from ..errors import FieldError
from ..objects import Obj
from . import checks, meta
from .pod_defaults import fill
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
        for index, tls in enumerate(spec.get("tls") or ()):
            for number, host in enumerate(tls.get("hosts") or ()):
                yield from _host(host, f"spec.tls[{index}].hosts[{number}]")
        if (name := spec.get("ingressClassName")) is not None:
            yield from checks.named(name, "spec.ingressClassName", names.subdomain)
            notes = (new.get("metadata") or {}).get("annotations") or {}
            if old is None and _CLASS_ANNOTATION in notes:
                detail = "can not be set when the class field is also set"
                yield FieldError.invalid(
                    "metadata.annotations[kubernetes.io/ingress.class]", notes[_CLASS_ANNOTATION], detail
                )


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
    elif kind not in _PATH_TYPES:
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
        for field in ("kind", "name"):
            yield from checks.required(resource, field, f"{path}.resource")
    elif service is None:
        yield FieldError.required(path, "resource or service backend is required")
    else:
        if name := service.get("name"):
            yield from checks.named(name, f"{path}.service.name", names.label)
        else:
            yield FieldError.required(f"{path}.service.name")
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
        if controller := spec.get("controller"):
            yield from checks.named(controller, "spec.controller", names.qualified)
        else:
            yield FieldError.required("spec.controller")
        if old is not None:
            yield from meta.immutable(controller, (old.get("spec") or {}).get("controller"), "spec.controller")
        if (parameters := spec.get("parameters")) is not None:
            for field in ("kind", "name"):
                yield from checks.required(parameters, field, "spec.parameters")
            yield from checks.one_of(parameters.get("scope"), "spec.parameters.scope", ("Cluster", "Namespace"))
            if parameters.get("scope") == "Namespace":
                yield from checks.required(parameters, "namespace", "spec.parameters")


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
                yield from checks.one_of(kind, f"spec.policyTypes[{index}]", ("Egress", "Ingress"))


def _policy_port(port: Obj, path: str) -> Problems:
    yield from checks.one_of_if_set(port.get("protocol"), f"{path}.protocol", checks.PROTOCOLS)
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
        yield FieldError.required(f"{path}.port", "must be specified when `endPort` is set")


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
        if not parent:
            yield FieldError.required("spec.parentRef")
        else:
            for field in ("resource", "name"):
                yield from checks.required(parent, field, "spec.parentRef")
        if old is not None:
            yield from meta.immutable(parent, (old.get("spec") or {}).get("parentRef"), "spec.parentRef")


class ServiceCidrStrategy(Strategy):
    generation = True
    status = True

    def check(self, new: Obj, old: Obj | None, *, part: str = "") -> Problems:
        ranges = (new.get("spec") or {}).get("cidrs") or []
        if not ranges:
            yield FieldError.required("spec.cidrs", "at least one CIDR required")
        for index, found in enumerate(ranges):
            yield from checks.named(found, f"spec.cidrs[{index}]", names.cidr)
        if len(ranges) > 2:
            yield FieldError.invalid("spec.cidrs", ranges, "may only hold up to 2 values")
        if old is not None:
            before = (old.get("spec") or {}).get("cidrs") or []
            if ranges[: len(before)] != before:
                yield FieldError.invalid("spec.cidrs", ranges, "field is immutable")
