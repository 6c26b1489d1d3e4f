"""Which endpoints a Service has: from its pods, with ports, conditions and topology; pure.

Source: k8s.io/endpointslice/utils.go and trigger_time_tracker.go.
"""

import ipaddress
from collections.abc import Callable, Iterable, Mapping, Sequence

from pybernetes.api.objects import (
    Key,
    Obj,
    annotations_of,
    condition,
    is_deleting,
    labels_of,
    name_of,
    namespace_of,
    uid_of,
)
from pybernetes.control.pods import addresses_of, find_port, is_ready, is_terminal, node_of

from .slices import Group, group_of

ZONE = "topology.kubernetes.io/zone"
WEIGHT = "pybernetes.io/weight"
"""Annotation of a pod: its share of new connections, 0 to 100; without it, FULL_WEIGHT."""
FULL_WEIGHT = 100
_FAMILIES = {4: "IPv4", 6: "IPv6"}
_NEAR = frozenset({"PreferClose", "PreferSameZone", "PreferSameNode"})


def is_headless(service: Obj) -> bool:
    return bool(service["spec"].get("clusterIP") == "None")


def publishes_all(service: Obj) -> bool:
    return bool(service["spec"].get("publishNotReadyAddresses"))


def address_types(service: Obj, pods: Iterable[Obj]) -> list[str]:
    """The families of the Service; of a Service without any, those its pods have."""
    if families := service["spec"].get("ipFamilies"):
        return [str(family) for family in families]
    for address in service["spec"].get("clusterIPs") or [service["spec"].get("clusterIP") or ""]:
        if address and address != "None":
            return [family_of(address)]
    found = {family_of(address) for pod in pods for address in addresses_of(pod)}
    return sorted(found) or ["IPv4"]


def family_of(address: str) -> str:
    return _FAMILIES[ipaddress.ip_address(address).version]


def canonical(address: str) -> str:
    """As slices must have it; pods and Endpoints may say it in other ways."""
    return str(ipaddress.ip_address(address))


def ports_of(service: Obj, pod: Obj) -> list[Obj]:
    """The slice ports this pod serves; a target port name that it does not have is left out."""
    ports = []
    for port in service["spec"].get("ports") or ():
        protocol = port.get("protocol") or "TCP"
        number = find_port(pod, port.get("targetPort") or port["port"], protocol)
        if number is None:
            continue
        entry = {"name": port.get("name") or "", "port": number, "protocol": protocol}
        if port.get("appProtocol"):
            entry["appProtocol"] = port["appProtocol"]
        ports.append(entry)
    return ports


def endpoint_of(service: Obj, pod: Obj, address: str, *, zone: str) -> Obj:
    """One endpoint, as the slice says it."""
    serving, terminating = is_ready(pod), is_deleting(pod)
    endpoint: Obj = {
        "addresses": [canonical(address)],
        "conditions": {
            "ready": publishes_all(service) or (serving and not terminating),
            "serving": serving,
            "terminating": terminating,
        },
        "targetRef": {"kind": "Pod", "namespace": namespace_of(pod), "name": name_of(pod), "uid": uid_of(pod)},
    }
    spec = pod.get("spec") or {}
    if spec.get("hostname") and spec.get("subdomain") == name_of(service):
        endpoint["hostname"] = spec["hostname"]
    if node_of(pod):
        endpoint["nodeName"] = node_of(pod)
    if zone:
        endpoint["zone"] = zone
    if endpoint["conditions"]["ready"] and (hints := hints_of(service, node=node_of(pod), zone=zone)):
        endpoint["hints"] = hints
    return endpoint


def hints_of(service: Obj, *, node: str, zone: str) -> Obj:
    """Who should prefer an endpoint of this place, by the Service's trafficDistribution (KEP-4444, KEP-3015)."""
    wish = service["spec"].get("trafficDistribution")
    if wish not in _NEAR:
        return {}
    hints: Obj = {"forZones": [{"name": zone}]} if zone else {}
    return hints | ({"forNodes": [{"name": node}]} if node and wish == "PreferSameNode" else {})


def weights_of(pods: Iterable[Obj]) -> tuple[dict[str, int], dict[str, str]]:
    """By uid the weights that are not full, and by pod name the values that are no weight (and count as full)."""
    weights: dict[str, int] = {}
    wrong: dict[str, str] = {}
    for pod in pods:
        text = annotations_of(pod).get(WEIGHT)
        if text is None:
            continue
        weight = _weight(text)
        if weight is None:
            wrong[name_of(pod)] = text
        elif weight != FULL_WEIGHT:
            weights[uid_of(pod)] = weight
    return weights, wrong


def _weight(text: str) -> int | None:
    """None for what is no weight; leading zeros do no harm, but Python reads no number of thousands of digits."""
    digits = text.lstrip("0") or "0" if text.isascii() and text.isdecimal() else ""
    return int(digits) if 0 < len(digits) < 4 and int(digits) <= FULL_WEIGHT else None


def groups_of(service: Obj, pods: Sequence[Obj], *, zone_of: Callable[[str], str]) -> dict[Group, dict[str, Obj]]:
    """All endpoints of a Service by address type and resolved ports; one empty group when there are none."""
    groups: dict[Group, dict[str, Obj]] = {}
    ports_cache: dict[int, Group] = {}
    for address_type in address_types(service, pods):
        ports_cache.clear()
        any_here = False
        for pod in pods:
            address = next((a for a in addresses_of(pod) if family_of(a) == address_type), "")
            if not address or is_terminal(pod):
                continue
            group = group_of(address_type, ports_of(service, pod))
            endpoint = endpoint_of(service, pod, address, zone=zone_of(node_of(pod)))
            groups.setdefault(group, {})[uid_of(pod)] = endpoint
            any_here = True
        if not any_here:
            groups[group_of(address_type, ())] = {}
    return groups


class Triggers:
    """Since when the latest change of a Service's endpoints has been waiting: the first change not yet written."""

    def __init__(self) -> None:
        self._known: dict[Key, dict[str, str]] = {}

    def first_change(self, key: Key, service: Obj, pods: Iterable[Obj]) -> str:
        """The earliest trigger that is new since the last call for this Service; "" when nothing is."""
        fresh = {uid_of(pod): _trigger(pod) for pod in pods}
        fresh[""] = str((service.get("metadata") or {}).get("creationTimestamp") or "")
        known: Mapping[str, str] = self._known.get(key, {})
        self._known[key] = fresh
        changed = [trigger for name, trigger in fresh.items() if trigger and trigger > known.get(name, "")]
        return min(changed, default="")

    def forget(self, key: Key) -> None:
        self._known.pop(key, None)


def _trigger(pod: Obj) -> str:
    ready = condition(pod, "Ready")
    return str((ready or {}).get("lastTransitionTime") or "")


def changed_for_endpoints(was: Obj, now: Obj) -> bool:
    """Whether a pod's change can change any endpoint (podEndpointsChanged), its labels included."""
    return _relevant(was) != _relevant(now)


def _relevant(pod: Obj) -> tuple[object, ...]:
    spec = pod.get("spec") or {}
    return (
        labels_of(pod), addresses_of(pod), is_ready(pod), is_deleting(pod), is_terminal(pod), node_of(pod),
        spec.get("hostname"), spec.get("subdomain"), annotations_of(pod).get(WEIGHT),
    )  # fmt: skip
