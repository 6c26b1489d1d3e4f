"""Rows of the core group, discovery, networking and events."""

from collections.abc import Iterable
from typing import Any

from ..objects import Obj, annotations_of, is_deleting, labels_of, metadata
from .cells import NONE, UNKNOWN, UNSET, age, containers, count, labels, name, since, some, spec, status
from .cells import selector as selector_text
from .column import Printer, columns

_ROLE = "node-role.kubernetes.io/"
_MODES = {
    "ReadWriteOnce": "RWO",
    "ReadOnlyMany": "ROX",
    "ReadWriteMany": "RWX",
    "ReadWriteOncePod": "RWOP",
}
_DEFAULT_INGRESS_CLASS = "ingressclass.kubernetes.io/is-default-class"
_BETA_CLASS = "volume.beta.kubernetes.io/storage-class"


def _node(obj: Obj, now: float) -> list[Any]:
    found, info = status(obj), status(obj).get("nodeInfo") or {}
    machine = info.get("architecture")
    ready = next((one for one in found.get("conditions") or () if one.get("type") == "Ready"), None)
    state = "Unknown" if ready is None else "Ready" if ready.get("status") == "True" else "NotReady"
    if spec(obj).get("unschedulable"):
        state += ",SchedulingDisabled"
    roles = {key.removeprefix(_ROLE) for key in labels_of(obj) if key.startswith(_ROLE)}
    roles.add(labels_of(obj).get("kubernetes.io/role", ""))
    return [
        name(obj),
        state,
        ",".join(sorted(filter(None, roles))) or NONE,
        age(obj, now),
        info.get("kubeletVersion", ""),
        _address(found, "InternalIP"),
        _address(found, "ExternalIP"),
        info.get("osImage") or UNKNOWN,
        (info.get("kernelVersion") or UNKNOWN) + (f" ({machine})" if machine else ""),
        info.get("containerRuntimeVersion") or UNKNOWN,
    ]


def _address(found: Obj, kind: str) -> str:
    return next((str(one.get("address")) for one in found.get("addresses") or () if one.get("type") == kind), NONE)


def _service(obj: Obj, now: float) -> list[Any]:
    found = spec(obj)
    ips = found.get("clusterIPs") or [NONE]
    return [
        name(obj),
        found.get("type", ""),
        ips[0],
        _external(obj),
        ",".join(map(_port, found.get("ports") or ())) or NONE,
        age(obj, now),
        labels(found.get("selector")),
    ]


def _port(port: Obj) -> str:
    node_port = f":{port['nodePort']}" if count(port, "nodePort") > 0 else ""
    return f"{port.get('port', 0)}{node_port}/{port.get('protocol', '')}"


def ingress_points(obj: Obj) -> str:
    """The addresses in status.loadBalancer."""
    points = (status(obj).get("loadBalancer") or {}).get("ingress") or ()
    return ",".join(sorted({one.get("ip") or one.get("hostname") or "" for one in points} - {""}))


def _external(obj: Obj) -> str:
    addresses = ",".join(spec(obj).get("externalIPs") or ())
    match spec(obj).get("type"):
        case "ClusterIP" | "NodePort":
            return addresses or NONE
        case "LoadBalancer":
            return ",".join(filter(None, (ingress_points(obj), addresses))) or "<pending>"
        case "ExternalName":
            return str(spec(obj).get("externalName", ""))
    return UNKNOWN


def _endpoints(obj: Obj, now: float) -> list[Any]:
    found = list(_endpoint_addresses(obj))
    return [name(obj), some(found) if found else ("" if obj.get("subsets") else NONE), age(obj, now)]


def _endpoint_addresses(obj: Obj) -> Iterable[str]:
    for subset in obj.get("subsets") or ():
        ports = subset.get("ports") or ()
        addresses = [one.get("ip", "") for one in subset.get("addresses") or ()]
        yield from (_joined(ip, port) for port in ports for ip in addresses) if ports else addresses


def _joined(ip: str, port: Obj) -> str:
    return f"[{ip}]:{port.get('port', 0)}" if ":" in ip else f"{ip}:{port.get('port', 0)}"


def _slice(obj: Obj, now: float) -> list[Any]:
    ports = (
        str(one["port"]) if one.get("port") is not None else one.get("name", "*") for one in obj.get("ports") or ()
    )
    addresses = (ip for endpoint in obj.get("endpoints") or () for ip in endpoint.get("addresses") or ())
    return [name(obj), obj.get("addressType", ""), some(ports), some(addresses), age(obj, now)]


def _namespace(obj: Obj, now: float) -> list[Any]:
    return [name(obj), status(obj).get("phase", ""), age(obj, now)]


def _configmap(obj: Obj, now: float) -> list[Any]:
    return [name(obj), len(obj.get("data") or ()) + len(obj.get("binaryData") or ()), age(obj, now)]


def _secret(obj: Obj, now: float) -> list[Any]:
    return [name(obj), obj.get("type", ""), len(obj.get("data") or ()), age(obj, now)]


def _service_account(obj: Obj, now: float) -> list[Any]:
    return [name(obj), age(obj, now)]


def _event(obj: Obj, now: float) -> list[Any]:
    """Of both core/v1 and events.k8s.io/v1."""
    series, source = obj.get("series"), obj.get("source") or obj.get("deprecatedSource") or {}
    about = obj.get("involvedObject") or obj.get("regarding") or {}
    first = since(obj.get("firstTimestamp") or obj.get("deprecatedFirstTimestamp") or obj.get("eventTime"), now)
    stamp = obj.get("lastTimestamp") or obj.get("deprecatedLastTimestamp")
    last = since(stamp, now) if stamp else first
    times = count(obj, "count") or count(obj, "deprecatedCount") or 1
    if series is not None:
        last, times = since(series.get("lastObservedTime"), now), count(series, "count")
    kind = str(about.get("kind", "")).lower()
    component = source.get("component") or obj.get("reportingComponent") or obj.get("reportingController") or ""
    host = source.get("host") or obj.get("reportingInstance")
    return [
        last,
        obj.get("type", ""),
        obj.get("reason", ""),
        f"{kind}/{about['name']}" if about.get("name") else kind,
        about.get("fieldPath", ""),
        f"{component}, {host}" if host else component,
        str(obj.get("message") or obj.get("note") or "").strip(),
        first,
        times,
        name(obj),
    ]


def _modes(modes: Iterable[str] | None) -> str:
    given = set(modes or ())
    return ",".join(short for mode, short in _MODES.items() if mode in given)


def _class(obj: Obj) -> str:
    beta = (metadata(obj).get("annotations") or {}).get(_BETA_CLASS)
    return beta if beta is not None else spec(obj).get("storageClassName") or ""


def _volume(obj: Obj, now: float) -> list[Any]:
    found, claim = spec(obj), spec(obj).get("claimRef")
    return [
        name(obj),
        (found.get("capacity") or {}).get("storage", "0"),
        _modes(found.get("accessModes")),
        found.get("persistentVolumeReclaimPolicy", ""),
        "Terminating" if is_deleting(obj) else status(obj).get("phase", ""),
        f"{claim.get('namespace', '')}/{claim.get('name', '')}" if claim is not None else "",
        _class(obj),
        found.get("volumeAttributesClassName", UNSET),
        status(obj).get("reason", ""),
        age(obj, now),
        found.get("volumeMode", UNSET),
    ]


def _claim(obj: Obj, now: float) -> list[Any]:
    found, bound = spec(obj), bool(spec(obj).get("volumeName"))
    return [
        name(obj),
        "Terminating" if is_deleting(obj) else status(obj).get("phase", ""),
        found.get("volumeName", ""),
        (status(obj).get("capacity") or {}).get("storage", "0") if bound else "",
        _modes(status(obj).get("accessModes")) if bound else "",
        _class(obj),
        found.get("volumeAttributesClassName", UNSET),
        age(obj, now),
        found.get("volumeMode", UNSET),
    ]


def _quota(obj: Obj, now: float) -> list[Any]:
    hard, used = status(obj).get("hard") or {}, status(obj).get("used") or {}
    pairs = {key: f"{key}: {used.get(key, '0')}/{hard[key]}" for key in sorted(hard)}
    limits = [text for key, text in pairs.items() if key.startswith("limits.")]
    requests = [text for key, text in pairs.items() if not key.startswith("limits.")]
    return [name(obj), ", ".join(requests), ", ".join(limits), age(obj, now)]


def _component(obj: Obj, now: float) -> list[Any]:
    for one in obj.get("conditions") or ():
        if one.get("type") == "Healthy":
            state = "Healthy" if one.get("status") == "True" else "Unhealthy"
            return [name(obj), state, one.get("message", ""), one.get("error", "")]
    return [name(obj), "Unknown", "", ""]


def _pod_template(obj: Obj, now: float) -> list[Any]:
    inner = obj.get("template") or {}
    return [name(obj), *containers(inner), labels(metadata(inner).get("labels"))]


def _ingress(obj: Obj, now: float) -> list[Any]:
    ports = "80, 443" if spec(obj).get("tls") else "80"
    hosts = _hosts(spec(obj).get("rules") or [])
    return [name(obj), spec(obj).get("ingressClassName", NONE), hosts, ingress_points(obj), ports, age(obj, now)]


def _hosts(rules: list[Obj]) -> str:
    shown: list[str] = []
    for rule in rules:
        if len(shown) == 3:
            return f"{','.join(shown)} + {len(rules) - 3} more..."
        if rule.get("host"):
            shown.append(rule["host"])
    return ",".join(shown) or "*"


def _ingress_class(obj: Obj, now: float) -> list[Any]:
    parameters = spec(obj).get("parameters")
    text = NONE
    if parameters is not None:
        group = f".{parameters['apiGroup']}" if parameters.get("apiGroup") is not None else ""
        text = f"{parameters.get('kind', '')}{group}/{parameters.get('name', '')}"
    shown = f"{name(obj)} (default)" if annotations_of(obj).get(_DEFAULT_INGRESS_CLASS) == "true" else name(obj)
    return [shown, spec(obj).get("controller", ""), text, age(obj, now)]


def _network_policy(obj: Obj, now: float) -> list[Any]:
    return [name(obj), selector_text(spec(obj).get("podSelector") or {}), age(obj, now)]


def _service_cidr(obj: Obj, now: float) -> list[Any]:
    return [name(obj), ",".join(spec(obj).get("cidrs") or ()), age(obj, now)]


def _ip_address(obj: Obj, now: float) -> list[Any]:
    """No age: the API server of Kubernetes computes one, but names no column for it, so nobody sees it."""
    parent = spec(obj).get("parentRef")
    if parent is None:
        return [name(obj), NONE]
    group, namespace = parent.get("group"), parent.get("namespace")
    resource = f"{parent.get('resource', '')}.{group}" if group else parent.get("resource", "")
    return [name(obj), "/".join([resource.lower(), *([namespace] if namespace else ()), parent.get("name", "")])]


_EVENT = Printer(
    columns(
        *("Last Seen", "Type", "Reason", "Object", "Subobject*", "Source*", "Message"),
        *("First Seen*", "Count*", "Name*"),
    ),
    _event,
)

PRINTERS: dict[tuple[str, str], Printer] = {
    ("", "Node"): Printer(
        columns(
            *("Name", "Status", "Roles", "Age", "Version", "Internal-IP*", "External-IP*"),
            *("OS-Image*", "Kernel-Version*", "Container-Runtime*"),
        ),
        _node,
    ),
    ("", "Service"): Printer(
        columns("Name", "Type", "Cluster-IP", "External-IP", "Port(s)", "Age", "Selector*"), _service
    ),
    ("", "Endpoints"): Printer(columns("Name", "Endpoints", "Age"), _endpoints),
    ("discovery.k8s.io", "EndpointSlice"): Printer(columns("Name", "AddressType", "Ports", "Endpoints", "Age"), _slice),
    ("", "Namespace"): Printer(columns("Name", "Status", "Age"), _namespace),
    ("", "ConfigMap"): Printer(columns("Name", "Data", "Age"), _configmap),
    ("", "Secret"): Printer(columns("Name", "Type", "Data", "Age"), _secret),
    ("", "ServiceAccount"): Printer(columns("Name", "Age"), _service_account),
    ("", "Event"): _EVENT,
    ("events.k8s.io", "Event"): _EVENT,
    ("", "PersistentVolume"): Printer(
        columns(
            *("Name", "Capacity", "Access Modes", "Reclaim Policy", "Status", "Claim", "StorageClass"),
            *("VolumeAttributesClass", "Reason", "Age", "VolumeMode*"),
        ),
        _volume,
    ),
    ("", "PersistentVolumeClaim"): Printer(
        columns(
            *("Name", "Status", "Volume", "Capacity", "Access Modes", "StorageClass"),
            *("VolumeAttributesClass", "Age", "VolumeMode*"),
        ),
        _claim,
    ),
    ("", "ResourceQuota"): Printer(columns("Name", "Request", "Limit", "Age"), _quota),
    ("", "ComponentStatus"): Printer(columns("Name", "Status", "Message", "Error"), _component),
    ("", "PodTemplate"): Printer(columns("Name", "Containers", "Images", "Pod Labels"), _pod_template),
    ("networking.k8s.io", "Ingress"): Printer(columns("Name", "Class", "Hosts", "Address", "Ports", "Age"), _ingress),
    ("networking.k8s.io", "IngressClass"): Printer(columns("Name", "Controller", "Parameters", "Age"), _ingress_class),
    ("networking.k8s.io", "NetworkPolicy"): Printer(columns("Name", "Pod-Selector", "Age"), _network_policy),
    ("networking.k8s.io", "ServiceCIDR"): Printer(columns("Name", "CIDRs", "Age"), _service_cidr),
    ("networking.k8s.io", "IPAddress"): Printer(columns("Name", "ParentRef"), _ip_address),
}
