"""Services: defaults, and what a change of type takes and leaves. The registry gives out addresses and node ports."""

from collections.abc import Iterator

from ..errors import FieldError
from ..objects import Obj
from . import meta
from .pod_defaults import fill
from .service_checks import (
    annotations,
    external_traffic,
    has_cluster_ip,
    has_health_check_port,
    has_node_ports,
    load_balancer,
    service_spec,
    service_update,
)
from .service_warnings import balancer_warnings, service_warnings
from .strategy import Strategy

Problems = Iterator[FieldError]


class ServiceStrategy(Strategy):
    name_rule = staticmethod(meta.label_name)  # may start with a digit since 1.37 (KEP-5311)
    status = True
    create_on_update = True

    def default(self, obj: Obj) -> None:
        spec = obj.setdefault("spec", {})
        fill(spec, {"sessionAffinity": "None", "type": "ClusterIP"})
        if spec["sessionAffinity"] == "None":
            spec.pop("sessionAffinityConfig", None)
        elif spec["sessionAffinity"] == "ClientIP":
            found = (spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}
            if found.get("timeoutSeconds") is None:
                spec["sessionAffinityConfig"] = {"clientIP": {"timeoutSeconds": 10800}}
        for port in spec.get("ports") or ():
            fill(port, {"protocol": "TCP"})
            if port.get("targetPort") in (None, "", 0):
                port["targetPort"] = port.get("port", 0)
        if external_traffic(spec):
            fill(spec, {"externalTrafficPolicy": "Cluster"})
        if has_cluster_ip(spec):
            fill(spec, {"internalTrafficPolicy": "Cluster"})
        if spec["type"] == "LoadBalancer":
            fill(spec, {"allocateLoadBalancerNodePorts": True})
            for ingress in ((obj.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ():
                if ingress.get("ip"):
                    fill(ingress, {"ipMode": "VIP"})

    def reset_status(self, new: Obj) -> None:
        new["status"] = {"loadBalancer": {}}

    def prepare(self, new: Obj, old: Obj | None, *, part: str = "") -> None:
        super().prepare(new, old, part=part)
        if part:
            return
        spec = new.setdefault("spec", {})
        before: Obj | None = (old.get("spec") or {}) if old else None
        normalize_cluster_ips(spec, before)
        if before is not None:
            _carry_over(spec, before)
            _drop_dependent(spec, before)
            if spec.get("type") != "LoadBalancer":
                new["status"] = {**(new.get("status") or {}), "loadBalancer": {}}  # no more than it says of itself
        for field in ("clusterIP", "externalName", "loadBalancerIP"):
            if spec.get(field) == "":
                del spec[field]

    def check(self, new: Obj, old: Obj | None, *, part: str = "") -> Problems:
        if part == "status":
            kind = (new.get("spec") or {}).get("type") or ""
            yield from load_balancer((new.get("status") or {}).get("loadBalancer") or {}, kind)
            return
        spec: Obj = new.get("spec") or {}
        yield from annotations(new)
        yield from service_spec(spec)
        if old is not None:
            yield from service_update(spec, old.get("spec") or {})

    def warnings(self, new: Obj, old: Obj | None, *, part: str = "") -> Iterator[str]:
        yield from balancer_warnings(new.get("status") or {}) if part == "status" else service_warnings(new)


def normalize_cluster_ips(spec: Obj, before: Obj | None) -> None:
    """clusterIP and the first of clusterIPs say the same; a caller who changes one changes both."""
    one, many = spec.get("clusterIP") or "", spec.get("clusterIPs") or []
    if before is None:
        if one and not many:
            spec["clusterIPs"] = [one]
        return
    old_one, old_many = before.get("clusterIP") or "", before.get("clusterIPs") or []
    if one != old_one:
        if not one and many == old_many:
            spec.pop("clusterIPs", None)
        elif one and many == old_many:
            spec["clusterIPs"] = [one]


def _carry_over(spec: Obj, before: Obj) -> None:
    """What was allocated stays when the caller leaves it out (patchAllocatedValues)."""
    if has_cluster_ip(before) and has_cluster_ip(spec):
        if not spec.get("clusterIP") and before.get("clusterIP"):
            spec["clusterIP"] = before["clusterIP"]
        if not spec.get("clusterIPs") and spec.get("clusterIP") == before.get("clusterIP") and before.get("clusterIPs"):
            spec["clusterIPs"] = list(before["clusterIPs"])
        for field in ("ipFamilies", "ipFamilyPolicy"):
            if not spec.get(field) and before.get(field):
                spec[field] = before[field]
    if has_node_ports(before) and has_node_ports(spec):
        _carry_node_ports(spec, before)
    if has_health_check_port(before) and has_health_check_port(spec) and before.get("healthCheckNodePort"):
        spec.setdefault("healthCheckNodePort", before["healthCheckNodePort"])


def _carry_node_ports(spec: Obj, before: Obj) -> None:
    taken = {(port.get("protocol"), port.get("nodePort")) for port in spec.get("ports") or () if port.get("nodePort")}
    known = {(port.get("protocol"), port.get("port")): port.get("nodePort") for port in before.get("ports") or ()}
    for port in spec.get("ports") or ():
        found = known.get((port.get("protocol"), port.get("port")))
        if not port.get("nodePort") and found and (port.get("protocol"), found) not in taken:
            port["nodePort"] = found


def _drop_dependent(spec: Obj, before: Obj) -> None:
    """A change of type takes what only the old type had, unless the caller changed it too (dropTypeDependentFields)."""
    if has_cluster_ip(before) and not has_cluster_ip(spec):
        if spec.get("clusterIP") == before.get("clusterIP"):
            spec.pop("clusterIP", None)
            spec.pop("clusterIPs", None)
        for field in ("ipFamilies", "ipFamilyPolicy"):
            if spec.get(field) == before.get(field):
                spec.pop(field, None)
    if has_node_ports(before) and not has_node_ports(spec) and _node_ports(spec) == _node_ports(before):
        for port in spec.get("ports") or ():
            port.pop("nodePort", None)
    if not has_health_check_port(spec) and spec.get("healthCheckNodePort") == before.get("healthCheckNodePort"):
        spec.pop("healthCheckNodePort", None)
    left = {
        "allocateLoadBalancerNodePorts": spec.get("type") != "LoadBalancer",
        "loadBalancerClass": spec.get("type") != "LoadBalancer",
        "externalTrafficPolicy": not external_traffic(spec),
        "internalTrafficPolicy": not has_cluster_ip(spec),
        "externalName": spec.get("type") != "ExternalName",
    }
    for field, unneeded in left.items():
        if unneeded and spec.get(field) == before.get(field):
            spec.pop(field, None)


def _node_ports(spec: Obj) -> set[int]:
    return {port.get("nodePort") or 0 for port in spec.get("ports") or ()}
