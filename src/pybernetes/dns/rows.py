"""API objects slimmed to what DNS needs: a Service, an EndpointSlice with its ready endpoints, a Pod's address."""

from typing import Any, NamedTuple

from pybernetes.api import times
from pybernetes.api.objects import Key, Obj, key_of, labels_of

from .names import packed

SERVICE_NAME = "kubernetes.io/service-name"
_CUT = 64
"""A pod name this long or longer is no endpoint name (CoreDNS, endpoint_pod_names)."""


class Port(NamedTuple):
    """Lower case, as names are compared; `number` -1 stands for "no ports declared": addresses, but no SRV."""

    name: str
    protocol: str
    number: int


NO_PORTS = (Port("", "", -1),)


class Service(NamedTuple):
    key: Key
    headless: bool = False
    external: str = ""
    """The target of an ExternalName; "" for other types."""
    addresses: tuple[bytes, ...] = ()
    ports: tuple[Port, ...] = NO_PORTS


class Endpoint(NamedTuple):
    """One address of a ready endpoint: `name` is its label below the service."""

    address: bytes
    name: str


class Slice(NamedTuple):
    key: Key
    service: Key
    endpoints: tuple[Endpoint, ...]
    ports: tuple[Port, ...]


TRIGGERED = "endpoints.kubernetes.io/last-change-trigger-time"
"""Annotation of a slice: when what caused its latest change was done, in whole seconds."""


class Pod(NamedTuple):
    key: Key
    addresses: tuple[bytes, ...]
    searches: tuple[str, ...] | None = None
    """What its search list has after the cluster's and the node's domains; None when it does not begin with ours."""


def service_row(obj: Obj) -> Service:
    """A Service object as DNS sees it."""
    key = key_of(obj)
    spec: Obj = obj.get("spec") or {}
    if spec.get("type") == "ExternalName":
        return Service(key, external=str(spec.get("externalName") or ""))
    texts = spec.get("clusterIPs") or [spec.get("clusterIP") or ""]
    ports = _ports(spec.get("ports"))
    if "None" in texts:
        return Service(key, headless=True, ports=ports)
    addresses = tuple(found for text in texts if (found := packed(text)) is not None)
    return Service(key, addresses=addresses, ports=ports)


def slice_row(obj: Obj, *, pod_names: bool = False) -> Slice:
    """An EndpointSlice object; endpoints that are not ready, and slices of names (FQDN), contribute nothing."""
    key = key_of(obj)
    service = Key(key.namespace, labels_of(obj).get(SERVICE_NAME, ""))
    if obj.get("addressType") == "FQDN":
        return Slice(key, service, (), NO_PORTS)
    endpoints: list[Endpoint] = []
    for endpoint in obj.get("endpoints") or ():
        if (endpoint.get("conditions") or {}).get("ready") is False:
            continue
        for text in endpoint.get("addresses") or ():
            if (address := packed(text)) is not None:
                endpoints.append(Endpoint(address, endpoint_name(endpoint, text, pod_names=pod_names)))
    return Slice(key, service, tuple(endpoints), _ports(obj.get("ports")))


def endpoint_name(endpoint: Obj, address: str, *, pod_names: bool) -> str:
    """The label of an endpoint: its hostname, its pod's name if wanted and short, else its address with dashes."""
    if hostname := endpoint.get("hostname"):
        return str(hostname).lower()
    target = str((endpoint.get("targetRef") or {}).get("name") or "")
    if pod_names and target and len(target) < _CUT:
        return target.lower()
    dashed = address.lower().replace(".", "-").replace(":", "-")
    return f"{dashed}0" if dashed.endswith("-") else dashed


def triggered_at(obj: Obj) -> float:
    """When what caused the latest change of a slice was done, in unix time; 0 when it does not say."""
    text = ((obj.get("metadata") or {}).get("annotations") or {}).get(TRIGGERED) or ""
    try:
        return times.parse(text)
    except ValueError:
        return 0.0


def pod_row(obj: Obj) -> Pod:
    """A Pod object: its addresses, none once it has ended, and how it searches.

    With its node's network it shares an address with others, so nothing can be told by it.
    """
    key = key_of(obj)
    status: Obj = obj.get("status") or {}
    if status.get("phase") in ("Succeeded", "Failed"):
        return Pod(key, ())
    texts = [entry.get("ip", "") for entry in status.get("podIPs") or ()] or [status.get("podIP") or ""]
    addresses = tuple(found for text in texts if (found := packed(text)) is not None)
    spec: Obj = obj.get("spec") or {}
    policy = spec.get("dnsPolicy") or "ClusterFirst"
    if spec.get("hostNetwork") or policy not in ("ClusterFirst", "ClusterFirstWithHostNet"):
        return Pod(key, addresses)
    return Pod(key, addresses, tuple((spec.get("dnsConfig") or {}).get("searches") or ()))


def _ports(declared: list[dict[str, Any]] | None) -> tuple[Port, ...]:
    if not declared:
        return NO_PORTS
    return tuple(
        Port(
            str(port.get("name") or "").lower(),
            str(port.get("protocol") or "TCP").lower(),
            int(port.get("port") or -1),
        )
        for port in declared
    )


def carrying(obj: Obj, row: tuple[Any, ...]) -> Obj:
    """What an informer keeps in place of the object: its identity and its row."""
    meta: Obj = obj.get("metadata") or {}
    return {"metadata": {name: meta[name] for name in _IDENTITY if name in meta}, "row": row}


_IDENTITY = ("name", "namespace", "uid", "resourceVersion")
