"""Validation of Services: what may be said with which type (ValidateService)."""

import ipaddress
from collections.abc import Iterator

from .. import names
from ..errors import FieldError
from ..objects import Obj, annotations_of
from . import checks, meta

Problems = Iterator[FieldError]

NONE = "None"
TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
_MOST_AFFINITY_SECONDS = 86400
_DISTRIBUTIONS = ("PreferClose", "PreferSameNode", "PreferSameZone")


def has_cluster_ip(spec: Obj) -> bool:
    """A type that may have a cluster IP at all."""
    return spec.get("type", "ClusterIP") in ("ClusterIP", "NodePort", "LoadBalancer")


def has_node_ports(spec: Obj) -> bool:
    kind = spec.get("type")
    return kind == "NodePort" or (kind == "LoadBalancer" and spec.get("allocateLoadBalancerNodePorts", True))


def has_health_check_port(spec: Obj) -> bool:
    return spec.get("type") == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local"


def is_headless(spec: Obj) -> bool:
    return NONE in (spec.get("clusterIP"), *(spec.get("clusterIPs") or ()))


def external_traffic(spec: Obj) -> bool:
    """Whether traffic may come from outside, so that externalTrafficPolicy means something."""
    kind = spec.get("type")
    return kind in ("NodePort", "LoadBalancer") or (kind == "ClusterIP" and bool(spec.get("externalIPs")))


def service_spec(spec: Obj) -> Problems:
    path = "spec"
    kind = spec.get("type") or ""
    ports = spec.get("ports") or []
    if not ports and not is_headless(spec) and kind != "ExternalName":
        yield FieldError.required(f"{path}.ports")
    yield from _by_type(spec, path)
    yield from _ports(spec, path)
    yield from meta.labels(spec.get("selector"), f"{path}.selector")
    yield from _affinity(spec, path)
    yield from checks.one_of(kind, f"{path}.type", TYPES)
    yield from _external_ips(spec, path)
    yield from _traffic(spec, path)
    yield from _sources(spec, path)
    yield from _cluster_ips(spec, path)


def _by_type(spec: Obj, path: str) -> Problems:
    match spec.get("type"):
        case "LoadBalancer" | "NodePort":
            if is_headless(spec):
                detail = f"may not be set to 'None' for {spec['type']} services"
                yield FieldError.invalid(f"{path}.clusterIPs[0]", NONE, detail)
        case "ExternalName":
            for field in ("clusterIPs", "ipFamilies", "ipFamilyPolicy"):
                if spec.get(field):
                    yield FieldError.forbidden(f"{path}.{field}", "may not be set for ExternalName services")
            target = (spec.get("externalName") or "").removesuffix(".")
            if target:
                yield from checks.named(target, f"{path}.externalName", names.subdomain)
            else:
                yield FieldError.required(f"{path}.externalName")


def _ports(spec: Obj, path: str) -> Problems:
    ports = spec.get("ports") or []
    seen: set[str] = set()
    for index, port in enumerate(ports):
        where = f"{path}.ports[{index}]"
        name = port.get("name") or ""
        if not name and len(ports) > 1:
            yield FieldError.required(f"{where}.name")
        elif name:
            yield from checks.named(name, f"{where}.name", names.label)
            if name in seen:
                yield FieldError.duplicate(f"{where}.name", name)
            seen.add(name)
        yield from checks.port(port.get("port"), f"{where}.port")
        yield from checks.one_of(port.get("protocol"), f"{where}.protocol", checks.PROTOCOLS)
        yield from checks.port_or_name(port.get("targetPort"), f"{where}.targetPort")
        if (protocol := port.get("appProtocol")) is not None:
            yield from checks.named(protocol, f"{where}.appProtocol", names.qualified)
        if port.get("nodePort") and spec.get("type") == "ClusterIP":
            yield FieldError.forbidden(f"{where}.nodePort", "may not be used when `type` is 'ClusterIP'")
    yield from _twice(ports, path)


def _twice(ports: list[Obj], path: str) -> Problems:
    """No two ports with the same protocol and number, nor with the same node port."""
    seen: set[tuple[str, int]] = set()
    nodes: set[tuple[str, int]] = set()
    for index, port in enumerate(ports):
        protocol = port.get("protocol") or "TCP"
        if (key := (protocol, port.get("port") or 0)) in seen:
            yield FieldError.duplicate(f"{path}.ports[{index}]", {"protocol": protocol, "port": key[1]})
        seen.add(key)
        if (node := port.get("nodePort") or 0) and (protocol, node) in nodes:
            yield FieldError.duplicate(f"{path}.ports[{index}].nodePort", node)
        nodes.add((protocol, node))


def _affinity(spec: Obj, path: str) -> Problems:
    affinity, where = spec.get("sessionAffinity"), f"{path}.sessionAffinityConfig"
    yield from checks.one_of(affinity, f"{path}.sessionAffinity", ("ClientIP", "None"))
    config = spec.get("sessionAffinityConfig")
    if affinity == "None" and config is not None:
        yield FieldError.forbidden(where, "must not be set when session affinity is None")
    if affinity != "ClientIP":
        return
    needed = "when session affinity type is ClientIP"
    seconds = ((config or {}).get("clientIP") or {}).get("timeoutSeconds")
    if config is None:
        yield FieldError.required(where, needed)
    elif config.get("clientIP") is None:
        yield FieldError.required(f"{where}.clientIP", needed)
    elif seconds is None:
        yield FieldError.required(f"{where}.clientIP.timeoutSeconds", needed)
    elif not 0 < seconds <= _MOST_AFFINITY_SECONDS:
        detail = f"must be greater than 0 and less than {_MOST_AFFINITY_SECONDS}"
        yield FieldError.invalid(f"{where}.clientIP.timeoutSeconds", seconds, detail)


def _external_ips(spec: Obj, path: str) -> Problems:
    for index, address in enumerate(spec.get("externalIPs") or ()):
        where = f"{path}.externalIPs[{index}]"
        problems = list(checks.named(address, where, names.ip))
        yield from problems
        if not problems:
            yield from unusual(address, where)


def unusual(address: str, path: str) -> Problems:
    """Addresses that reach no pod or node: unspecified, loopback, link-local (ValidateEndpointIP)."""
    found = names.address(address)
    if found is None:
        return
    if found.is_unspecified:
        yield FieldError.invalid(path, address, f"may not be unspecified ({address})")
    if found.is_loopback:
        yield FieldError.invalid(path, address, "may not be in the loopback range (127.0.0.0/8, ::1/128)")
    if found.is_link_local:
        yield FieldError.invalid(path, address, "may not be in the link-local range (169.254.0.0/16, fe80::/10)")
    if found in _LOCAL_MULTICAST[found.version]:
        yield FieldError.invalid(
            path, address, "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"
        )


_LOCAL_MULTICAST = {4: ipaddress.ip_network("224.0.0.0/24"), 6: ipaddress.ip_network("ff02::/16")}


def _traffic(spec: Obj, path: str) -> Problems:
    kind, policy = spec.get("type"), spec.get("externalTrafficPolicy")
    if external_traffic(spec):
        yield from checks.one_of(policy, f"{path}.externalTrafficPolicy", ("Cluster", "Local"))
    elif policy:
        detail = "may only be set for externally-accessible services"
        yield FieldError.invalid(f"{path}.externalTrafficPolicy", policy, detail)
    if (check := spec.get("healthCheckNodePort")) and not has_health_check_port(spec):
        detail = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"
        yield FieldError.invalid(f"{path}.healthCheckNodePort", check, detail)
    if kind in ("ClusterIP", "NodePort", "LoadBalancer") or spec.get("internalTrafficPolicy"):
        yield from checks.one_of(
            spec.get("internalTrafficPolicy"), f"{path}.internalTrafficPolicy", ("Cluster", "Local")
        )
    yield from checks.one_of_if_set(spec.get("trafficDistribution"), f"{path}.trafficDistribution", _DISTRIBUTIONS)
    if kind != "LoadBalancer":
        for field in ("allocateLoadBalancerNodePorts", "loadBalancerClass"):
            if spec.get(field) is not None:
                yield FieldError.forbidden(f"{path}.{field}", "may only be used when `type` is 'LoadBalancer'")
    elif (balancer := spec.get("loadBalancerClass")) is not None:
        yield from checks.named(balancer, f"{path}.loadBalancerClass", names.qualified)


_SOURCES_NOTE = "service.beta.kubernetes.io/load-balancer-source-ranges"
_NOT_BALANCED = "may only be used when `type` is 'LoadBalancer'"
_HINTS_NOTE, _MODE_NOTE = "service.kubernetes.io/topology-aware-hints", "service.kubernetes.io/topology-mode"


def annotations(service: Obj) -> Problems:
    """The two annotations of a Service that stand for fields."""
    notes, spec = annotations_of(service), service.get("spec") or {}
    if _MODE_NOTE in notes and _HINTS_NOTE in notes and notes[_MODE_NOTE] != notes[_HINTS_NOTE]:
        detail = f"must match annotations[{_HINTS_NOTE}] when both are specified"
        yield FieldError.invalid(f"metadata.annotations[{_MODE_NOTE}]", notes[_MODE_NOTE], detail)
    if _SOURCES_NOTE in notes and not spec.get("loadBalancerSourceRanges"):
        where = f"metadata.annotations[{_SOURCES_NOTE}]"
        if spec.get("type") != "LoadBalancer":
            yield FieldError.forbidden(where, _NOT_BALANCED)
        for found in notes[_SOURCES_NOTE].split(",") if notes[_SOURCES_NOTE].strip() else ():
            yield from checks.named(found.strip(), where, names.cidr)


def _sources(spec: Obj, path: str) -> Problems:
    ranges = spec.get("loadBalancerSourceRanges") or []
    where = f"{path}.LoadBalancerSourceRanges"  # so it is in Kubernetes' own errors
    if ranges and spec.get("type") != "LoadBalancer":
        yield FieldError.forbidden(where, _NOT_BALANCED)
    for index, found in enumerate(ranges):
        yield from checks.named(found.strip(), f"{where}[{index}]", names.cidr)


def _cluster_ips(spec: Obj, path: str) -> Problems:
    """What can be said without knowing the ranges (ValidateServiceClusterIPsRelatedFields)."""
    if spec.get("type") == "ExternalName":
        return
    one, many, families = spec.get("clusterIP") or "", spec.get("clusterIPs") or [], spec.get("ipFamilies") or []
    where, policy = f"{path}.clusterIPs", spec.get("ipFamilyPolicy")
    if one and not many:
        yield FieldError.required(where)
    elif one and many[0] != one:
        yield FieldError.invalid(where, many, "first value must match `clusterIP`")
    elif many and not one:
        yield FieldError.invalid(where, many, "must be empty when `clusterIP` is not specified")
    yield from _families(families, f"{path}.ipFamilies")
    yield from checks.one_of_if_set(
        policy, f"{path}.ipFamilyPolicy", ("PreferDualStack", "RequireDualStack", "SingleStack")
    )
    problems = list(_addresses(many, where))
    yield from problems
    if len(many) > 2:
        yield FieldError.invalid(where, many, "may only hold up to 2 values")
    if problems:
        return
    if len(many) > 1 and len({":" in address for address in many}) < 2:
        yield FieldError.invalid(where, many, "may specify no more than one IP for each IP family")
    if not is_headless(spec):
        for index, address in enumerate(many):
            yield from _of_family(address, families, index, f"{where}[{index}]")


def _addresses(many: list[str], path: str) -> Problems:
    for index, address in enumerate(many):
        if index or address != NONE:
            yield from checks.named(address, f"{path}[{index}]", names.ip)
        elif len(many) > 1:
            yield FieldError.invalid(path, many, "'None' must be the first and only value")


def _families(families: list[str], path: str) -> Problems:
    for index, family in enumerate(families):
        if family not in ("IPv4", "IPv6"):
            yield FieldError.not_supported(f"{path}[{index}]", family, ("IPv4", "IPv6"))
        if family in families[:index]:
            yield FieldError.duplicate(f"{path}[{index}]", family)


def _of_family(address: str, families: list[str], index: int, path: str) -> Problems:
    if index < len(families) and ("IPv6" if ":" in address else "IPv4") != families[index]:
        detail = f"expected an {families[index]} value as indicated by `ipFamilies[{index}]`"
        yield FieldError.invalid(path, address, detail)


def load_balancer(status: Obj, kind: str) -> Problems:
    """status.loadBalancer of a Service of this type."""
    found = status.get("ingress") or ()
    if found and kind != "LoadBalancer":
        detail = "may only be used when `spec.type` is 'LoadBalancer'"
        yield FieldError.forbidden("status.loadBalancer.ingress", detail)
        return
    for index, ingress in enumerate(found):
        where, mode = f"status.loadBalancer.ingress[{index}]", ingress.get("ipMode")
        if ingress.get("ip"):
            yield from checks.named(ingress["ip"], f"{where}.ip", names.ip)
            if mode is None:
                yield FieldError.required(f"{where}.ipMode", "must be specified when `ip` is set")
        if mode is not None and not ingress.get("ip"):
            yield FieldError.forbidden(f"{where}.ipMode", "may not be specified when `ip` is not set")
        elif mode not in (None, "Proxy", "VIP"):
            yield FieldError.not_supported(f"{where}.ipMode", mode, ("Proxy", "VIP"))
        yield from ingress_host(ingress.get("hostname") or "", f"{where}.hostname")


def ingress_host(host: str, path: str) -> Problems:
    """The name that a load balancer is reached by."""
    if host:
        yield from checks.named(host, path, names.subdomain)
        if names.address(host) is not None:
            yield FieldError.invalid(path, host, "must be a DNS name, not an IP address")


_FIXED = "may not change once set"


def service_update(spec: Obj, before: Obj) -> Problems:
    """The first cluster IP stays for as long as the type has one; the second may come and go."""
    both = (spec, before)
    if not any(one.get("type") == "ExternalName" for one in both) and not all(map(is_headless, both)):
        yield from _addresses_update(spec, before)
        if not any(map(is_headless, both)):
            yield from _families_update(spec, before)
    balanced = all(one.get("type") == "LoadBalancer" for one in both)
    if balanced and spec.get("loadBalancerClass") != before.get("loadBalancerClass"):
        yield FieldError.invalid("spec.loadBalancerClass", spec.get("loadBalancerClass"), _FIXED)
    if all(map(has_health_check_port, both)) and spec.get("healthCheckNodePort") != before.get("healthCheckNodePort"):
        yield FieldError.forbidden("spec.healthCheckNodePort", "field is immutable")


def _addresses_update(spec: Obj, before: Obj) -> Problems:
    old, new = before.get("clusterIPs") or [], spec.get("clusterIPs") or []
    if old and not new:
        yield FieldError.invalid("spec.clusterIPs[0]", new, "primary clusterIP can not be unset")
    for index, (was, now) in enumerate(zip(old, new, strict=False)):
        if was != now and (index == 0 or len(old) == len(new)):
            yield FieldError.invalid(f"spec.clusterIPs[{index}]", new, _FIXED)
    if len(old) > len(new) == 1 and spec.get("ipFamilyPolicy") != "SingleStack":
        detail = "must be set to 'SingleStack' when releasing the secondary clusterIP"
        yield FieldError.invalid("spec.ipFamilyPolicy", spec.get("ipFamilyPolicy"), detail)


def _families_update(spec: Obj, before: Obj) -> Problems:
    old, new = before.get("ipFamilies") or [], spec.get("ipFamilies") or []
    for index, (was, now) in enumerate(zip(old, new, strict=False)):
        if was != now and (index == 0 or len(old) == len(new)):
            yield FieldError.invalid("spec.ipFamilies[0]", new, _FIXED)
    if len(old) > len(new) == 1 and spec.get("ipFamilyPolicy") != "SingleStack":
        detail = "must be set to 'SingleStack' when releasing the secondary ipFamily"
        yield FieldError.invalid("spec.ipFamilyPolicy", spec.get("ipFamilyPolicy"), detail)
