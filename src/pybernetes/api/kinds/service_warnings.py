"""What the author of a Service, or of what leads to it, should know (pkg/api/service/warnings.go)."""

from collections.abc import Iterable, Iterator

from ..errors import quoted
from ..objects import Obj, annotations_of
from .address_warnings import cidr_warnings, each_cidr, each_ip, ip_warnings

_HINTS, _MODE = "service.kubernetes.io/topology-aware-hints", "service.kubernetes.io/topology-mode"


def service_warnings(service: Obj) -> Iterator[str]:
    spec: Obj = service.get("spec") or {}
    kind, address, external = spec.get("type") or "", spec.get("clusterIP") or "", spec.get("externalIPs") or []
    headless = kind == "ClusterIP" and address == "None"
    if _HINTS in annotations_of(service):
        yield f"annotation {_HINTS} is deprecated, please use {_MODE} instead"
    if address not in ("", "None"):
        yield from each_ip(spec.get("clusterIPs"), "spec.clusterIPs")
    if headless:
        yield from _ignored_when_headless(spec)
    yield from each_ip(external, "spec.externalIPs")
    if external and not headless and kind != "ExternalName":
        yield "spec.externalIPs is deprecated and may no longer be implemented in some clusters"
    if balancer := spec.get("loadBalancerIP"):
        yield from ip_warnings(balancer, "spec.loadBalancerIP")
    yield from each_cidr(spec.get("loadBalancerSourceRanges"), "spec.loadBalancerSourceRanges")
    if kind == "ExternalName" and external:
        yield 'spec.externalIPs is ignored when spec.type is "ExternalName"'
    if kind != "ExternalName" and spec.get("externalName"):
        yield 'spec.externalName is ignored when spec.type is not "ExternalName"'
    if spec.get("trafficDistribution") == "PreferClose":
        yield 'spec.trafficDistribution: "PreferClose" is deprecated; use "PreferSameZone"'


def _ignored_when_headless(spec: Obj) -> Iterator[str]:
    if spec.get("loadBalancerIP"):
        yield "spec.loadBalancerIP is ignored for headless services"
    if spec.get("externalIPs"):
        yield "spec.externalIPs is ignored for headless services"
    if spec.get("sessionAffinity") != "None":
        yield "spec.SessionAffinity is ignored for headless services"


def balancer_warnings(status: Obj) -> Iterator[str]:
    """The addresses that a load balancer reports, of a Service or an Ingress."""
    for index, ingress in enumerate((status.get("loadBalancer") or {}).get("ingress") or ()):
        if ingress.get("ip"):
            yield from ip_warnings(ingress["ip"], f"status.loadBalancer.ingress[{index}]")


def policy_warnings(policy: Obj) -> Iterator[str]:
    """The ranges of a NetworkPolicy."""
    spec: Obj = policy.get("spec") or {}
    for direction, side in (("ingress", "from"), ("egress", "to")):
        for index, rule in enumerate(spec.get(direction) or ()):
            for number, peer in enumerate(rule.get(side) or ()):
                block, where = peer.get("ipBlock") or {}, f"spec.{direction}[{index}].{side}[{number}].ipBlock"
                yield from cidr_warnings(block.get("cidr") or "", f"{where}.cidr")
                yield from each_cidr(block.get("except"), f"{where}.except")


def subset_warnings(subsets: Iterable[Obj]) -> Iterator[str]:
    """The addresses of Endpoints."""
    for index, subset in enumerate(subsets):
        for field in ("addresses", "notReadyAddresses"):
            for number, address in enumerate(subset.get(field) or ()):
                yield from ip_warnings(address.get("ip") or "", f"subsets[{index}].{field}[{number}].ip")


def ingress_class_warning(annotation: str) -> str:
    return f"annotation {quoted(annotation)} is deprecated, please use 'spec.ingressClassName' instead"
