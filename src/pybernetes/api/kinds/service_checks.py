"""Validation of Services: what may be said with which type (ValidateService)."""

import ipaddress
from collections.abc import Iterator

from .. import names
from ..errors import FieldError
from ..objects import Obj
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
        case "LoadBalancer":
            for index, port in enumerate(spec.get("ports") or ()):
                if port.get("port") == 10250:
                    detail = "may not expose port 10250 externally since it is used by kubelet"
                    yield FieldError.invalid(f"{path}.ports[{index}]", port["port"], detail)
            if is_headless(spec):
                yield FieldError.invalid(
                    f"{path}.clusterIPs[0]", NONE, "may not be set to 'None' for LoadBalancer services"
                )
        case "NodePort":
            if is_headless(spec):
                yield FieldError.invalid(
                    f"{path}.clusterIPs[0]", NONE, "may not be set to 'None' for NodePort services"
                )
        case "ExternalName":
            for field in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"):
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
        if protocol := port.get("appProtocol"):
            yield from checks.named(protocol, f"{where}.appProtocol", names.qualified)
        if port.get("nodePort"):
            if spec.get("type") not in ("NodePort", "LoadBalancer"):
                detail = f"may not be used when `type` is '{spec.get('type')}'"
                yield FieldError.forbidden(f"{where}.nodePort", detail)
            else:
                yield from checks.port(port["nodePort"], f"{where}.nodePort")
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
    affinity = spec.get("sessionAffinity")
    yield from checks.one_of(affinity, f"{path}.sessionAffinity", ("ClientIP", "None"))
    config = spec.get("sessionAffinityConfig")
    if affinity == "ClientIP":
        seconds = ((config or {}).get("clientIP") or {}).get("timeoutSeconds")
        where = f"{path}.sessionAffinityConfig.clientIP.timeoutSeconds"
        if seconds is not None and not 0 < seconds <= _MOST_AFFINITY_SECONDS:
            yield FieldError.invalid(where, seconds, f"must be greater than 0 and less than {_MOST_AFFINITY_SECONDS}")
    elif config is not None:
        detail = "must not be set when session affinity is None"
        yield FieldError.forbidden(f"{path}.sessionAffinityConfig", detail)


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
        yield FieldError.invalid(path, address, "may not be unspecified (0.0.0.0 or ::)")
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
    if kind in ("ClusterIP", "NodePort", "LoadBalancer"):
        yield from checks.one_of(
            spec.get("internalTrafficPolicy"), f"{path}.internalTrafficPolicy", ("Cluster", "Local")
        )
    yield from checks.one_of_if_set(spec.get("trafficDistribution"), f"{path}.trafficDistribution", _DISTRIBUTIONS)
    if kind != "LoadBalancer":
        for field in ("allocateLoadBalancerNodePorts", "loadBalancerClass"):
            if spec.get(field) is not None:
                yield FieldError.forbidden(f"{path}.{field}", "may only be used when `type` is 'LoadBalancer'")
    elif balancer := spec.get("loadBalancerClass"):
        yield from checks.named(balancer, f"{path}.loadBalancerClass", names.qualified)


def _sources(spec: Obj, path: str) -> Problems:
    ranges = spec.get("loadBalancerSourceRanges") or []
    where = f"{path}.loadBalancerSourceRanges"
    if ranges and spec.get("type") != "LoadBalancer":
        yield FieldError.forbidden(where, "may only be used when `type` is 'LoadBalancer'")
    for index, found in enumerate(ranges):
        yield from checks.named(found.strip(), f"{where}[{index}]", names.cidr)


def _cluster_ips(spec: Obj, path: str) -> Problems:
    """What can be said without knowing the ranges (ValidateServiceClusterIPsRelatedFields)."""
    if spec.get("type") == "ExternalName":
        return
    one, many, families = spec.get("clusterIP") or "", spec.get("clusterIPs") or [], spec.get("ipFamilies") or []
    policy = spec.get("ipFamilyPolicy")
    yield from checks.one_of_if_set(
        policy, f"{path}.ipFamilyPolicy", ("PreferDualStack", "RequireDualStack", "SingleStack")
    )
    yield from _families(families, f"{path}.ipFamilies")
    if one and not many:
        yield FieldError.required(f"{path}.clusterIPs")
    elif many and many[0] != one:
        yield FieldError.invalid(f"{path}.clusterIPs", many, "first value must match `clusterIP`")
    for index, address in enumerate(many):
        where = f"{path}.clusterIPs[{index}]"
        if address == NONE and index > 0:
            yield FieldError.invalid(where, address, "must be empty or a valid IP address" if len(many) > 1 else "")
        elif address != NONE:
            yield from checks.named(address, where, names.ip)
            yield from _of_family(address, families, index, where)
    if len(many) > 2:
        yield FieldError.invalid(f"{path}.clusterIPs", many, "may only hold up to 2 values")
    elif policy == "SingleStack" and len(many) > 1:
        detail = "may be 'RequireDualStack' or 'PreferDualStack' when multiple `clusterIPs` are specified"
        yield FieldError.invalid(f"{path}.ipFamilyPolicy", policy, detail)


def _families(families: list[str], path: str) -> Problems:
    for index, family in enumerate(families):
        if family not in ("IPv4", "IPv6"):
            yield FieldError.not_supported(f"{path}[{index}]", family, ("IPv4", "IPv6"))
        elif family in families[:index]:
            yield FieldError.duplicate(f"{path}[{index}]", family)


def _of_family(address: str, families: list[str], index: int, path: str) -> Problems:
    if any(names.ip(address)) or index >= len(families):
        return
    if ("IPv6" if ":" in address else "IPv4") != families[index]:
        yield FieldError.invalid(
            path, address, f"expected an {families[index]} value as indicated by `ipFamilies[{index}]`"
        )


def load_balancer(status: Obj) -> Problems:
    for index, ingress in enumerate(status.get("ingress") or ()):
        where = f"status.loadBalancer.ingress[{index}]"
        if ingress.get("ip"):
            yield from checks.named(ingress["ip"], f"{where}.ip", names.ip)
            yield from checks.one_of_if_set(ingress.get("ipMode"), f"{where}.ipMode", ("Proxy", "VIP"))
        elif ingress.get("ipMode"):
            detail = "may not be specified when `ip` is not set"
            yield FieldError.forbidden(f"{where}.ipMode", detail)
        if host := ingress.get("hostname"):
            yield from checks.named(host, f"{where}.hostname", names.subdomain)


def service_update(spec: Obj, before: Obj) -> Problems:
    """The first cluster IP stays for as long as the type has one; the second may come and go."""
    if has_cluster_ip(spec) and has_cluster_ip(before):
        old, new = before.get("clusterIPs") or [], spec.get("clusterIPs") or []
        if before.get("clusterIP") and spec.get("clusterIP") != before["clusterIP"]:
            yield FieldError.invalid("spec.clusterIPs[0]", new, "may not change once set")
        if len(old) > 1 and len(new) > 1 and old[1] != new[1]:
            yield FieldError.invalid("spec.clusterIPs[1]", new, "may not change once set")
        kept, families = before.get("ipFamilies") or [], spec.get("ipFamilies") or []
        if kept and families and kept[0] != families[0]:
            yield FieldError.invalid("spec.ipFamilies[0]", families, "may not change once set")
    if (
        spec.get("type") == before.get("type") == "LoadBalancer"
        and before.get("loadBalancerClass")
        and spec.get("loadBalancerClass") != before["loadBalancerClass"]
    ):
        detail = "may not change once set"
        yield FieldError.invalid("spec.loadBalancerClass", spec.get("loadBalancerClass"), detail)
