"""The environment, command and identity of a container from its spec: pure, over what was looked up before.

`$(NAME)` in values, command and args is expanded from the variables defined before it, `$$` escapes (API reference,
Container). The variables of Services are what docker links were, in the form client libraries still read.
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence

from pybernetes.api.objects import Obj, annotations_of, labels_of, name_of, namespace_of, uid_of
from pybernetes.api.quantity import Quantity

_REFERENCE = re.compile(r"\$\$|\$\(([^()]*)\)")


class ConfigError(Exception):
    """What a container refers to is not there: CreateContainerConfigError."""


Lookup = Callable[[str, str], Obj | None]
"""(kind, name) -> the ConfigMap or Secret of the pod's namespace; None when it does not exist."""


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Replace `$(NAME)` of known variables; unknown ones stay as they are."""

    def replace(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        return variables.get(match[1], match[0])

    return _REFERENCE.sub(replace, text)


def environment(
    pod: Obj,
    container: Obj,
    *,
    services: Mapping[str, str],
    lookup: Lookup,
    status: Obj,
    allocatable: Mapping[str, str],
) -> dict[str, str]:
    """The variables of a container, in Kubernetes' order of precedence. Raises ConfigError."""
    result: dict[str, str] = dict(services)
    for source in container.get("envFrom") or ():
        result |= _env_from(source, lookup)
    for entry in container.get("env") or ():
        name = entry["name"]
        source = entry.get("valueFrom")
        if not source:
            result[name] = expand(str(entry.get("value") or ""), result)
            continue
        value = _value_from(pod, container, source, lookup, status, allocatable)
        if value is not None:
            result[name] = value
    return result


def command(container: Obj, variables: Mapping[str, str]) -> tuple[str, ...]:
    """command + args, expanded."""
    words = [*(container.get("command") or ()), *(container.get("args") or ())]
    return tuple(expand(str(word), variables) for word in words)


def _env_from(source: Obj, lookup: Lookup) -> dict[str, str]:
    prefix = str(source.get("prefix") or "")
    for field, kind in (("configMapRef", "ConfigMap"), ("secretRef", "Secret")):
        if (reference := source.get(field)) is None:
            continue
        found = lookup(kind, reference["name"])
        if found is None:
            if reference.get("optional"):
                return {}
            raise ConfigError(f'{kind.lower()} "{reference["name"]}" not found')
        data = data_of(found)
        return {prefix + name: value.decode("utf-8", "replace") for name, value in data.items()}
    return {}


def data_of(obj: Obj) -> dict[str, bytes]:
    """The data of a ConfigMap or Secret as bytes."""
    from base64 import b64decode

    result = {}
    if obj.get("kind") == "Secret":
        result = {name: b64decode(value) for name, value in (obj.get("data") or {}).items()}
        result |= {name: value.encode() for name, value in (obj.get("stringData") or {}).items()}
        return result
    result = {name: str(value).encode() for name, value in (obj.get("data") or {}).items()}
    return result | {name: b64decode(value) for name, value in (obj.get("binaryData") or {}).items()}


def _value_from(
    pod: Obj, container: Obj, source: Obj, lookup: Lookup, status: Obj, allocatable: Mapping[str, str]
) -> str | None:
    for field, kind in (("configMapKeyRef", "ConfigMap"), ("secretKeyRef", "Secret")):
        if (reference := source.get(field)) is not None:
            return _key(kind, reference, lookup, namespace_of(pod))
    if (reference := source.get("fieldRef")) is not None:
        return field_value(pod, reference["fieldPath"], status)
    if (reference := source.get("resourceFieldRef")) is not None:
        return resource_value(pod, container, reference, allocatable)
    return None


def _key(kind: str, reference: Obj, lookup: Lookup, namespace: str) -> str | None:
    name, key = reference.get("name") or "", reference["key"]
    found = lookup(kind, name)
    if found is None:
        if reference.get("optional"):
            return None
        raise ConfigError(f'{kind.lower()} "{name}" not found')
    value = data_of(found).get(key)
    if value is None:
        if reference.get("optional"):
            return None
        raise ConfigError(f"couldn't find key {key} in {kind} {namespace}/{name}")
    return value.decode("utf-8", "replace")


def field_value(pod: Obj, path: str, status: Obj) -> str:
    """A downward API field. Raises ConfigError for one that is not offered."""
    match = re.fullmatch(r"metadata\.(labels|annotations)\['(.*)'\]", path)
    if match:
        return str((labels_of(pod) if match[1] == "labels" else annotations_of(pod)).get(match[2], ""))
    spec = pod["spec"]
    simple: dict[str, Callable[[], object]] = {
        "metadata.name": lambda: name_of(pod),
        "metadata.namespace": lambda: namespace_of(pod),
        "metadata.uid": lambda: uid_of(pod),
        "metadata.labels": lambda: _lines(labels_of(pod)),
        "metadata.annotations": lambda: _lines(annotations_of(pod)),
        "spec.nodeName": lambda: spec.get("nodeName", ""),
        "spec.serviceAccountName": lambda: spec.get("serviceAccountName", ""),
        "status.hostIP": lambda: status.get("hostIP", ""),
        "status.hostIPs": lambda: ",".join(entry["ip"] for entry in status.get("hostIPs") or ()),
        "status.podIP": lambda: status.get("podIP", ""),
        "status.podIPs": lambda: ",".join(entry["ip"] for entry in status.get("podIPs") or ()),
    }
    if path not in simple:
        raise ConfigError(f"unsupported fieldPath: {path}")
    return str(simple[path]())


def _lines(values: Mapping[str, str]) -> str:
    quoted = (
        (name, value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")) for name, value in values.items()
    )
    return "\n".join(f'{name}="{value}"' for name, value in sorted(quoted))


def resource_value(pod: Obj, container: Obj, reference: Obj, allocatable: Mapping[str, str]) -> str:
    """A container's own request or limit in units of the divisor, rounded up; a missing limit is the node's."""
    name = reference.get("containerName")
    if name:
        everyone = [*pod["spec"]["containers"], *(pod["spec"].get("initContainers") or ())]
        container = next((one for one in everyone if one["name"] == name), container)
    kind, _, resource = str(reference["resource"]).partition(".")
    resources = container.get("resources") or {}
    text = (resources.get(kind) or {}).get(resource)
    if text is None and kind == "limits":
        text = allocatable.get(resource)
    value = number(text or "0")
    divisor = number(reference.get("divisor") or 1) or 1.0
    return str(math.ceil(value / divisor - 1e-9))


def number(text: str | int | float) -> float:
    """A quantity as a number."""
    return Quantity.parse(text).nano / 1e9


def service_variables(pod: Obj, services: Iterable[Obj]) -> dict[str, str]:
    """KUBERNETES_SERVICE_HOST and, with enableServiceLinks, those of all Services of the pod's namespace."""
    links = pod["spec"].get("enableServiceLinks", True) is not False
    result: dict[str, str] = {}
    for service in sorted(services, key=name_of):
        spec = service.get("spec") or {}
        if (spec.get("clusterIP") or "None") == "None" or not spec.get("ports"):
            continue
        is_master = (namespace_of(service), name_of(service)) == ("default", "kubernetes")
        if is_master or (links and namespace_of(service) == namespace_of(pod)):
            result |= _link_variables(name_of(service), spec["clusterIP"], spec["ports"])
    return result


def _link_variables(name: str, address: str, ports: Sequence[Obj]) -> dict[str, str]:
    prefix = name.upper().replace("-", "_")
    result = {f"{prefix}_SERVICE_HOST": address, f"{prefix}_SERVICE_PORT": str(ports[0]["port"])}
    for port in ports:
        if port.get("name"):
            result[f"{prefix}_SERVICE_PORT_{port['name'].upper().replace('-', '_')}"] = str(port["port"])
    for index, port in enumerate(ports):
        protocol = str(port.get("protocol") or "TCP")
        url = f"{protocol.lower()}://{address}:{port['port']}"
        if index == 0:
            result[f"{prefix}_PORT"] = url
        one = f"{prefix}_PORT_{port['port']}_{protocol}"
        result |= {one: url, f"{one}_PROTO": protocol.lower(), f"{one}_PORT": str(port["port"]), f"{one}_ADDR": address}
    return result
