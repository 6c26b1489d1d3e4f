"""What the author of a pod, or of a template of pods, should know of it (pkg/api/pod/warnings.go).

`path` is the template's; "" for a pod itself.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from .. import names
from ..errors import quoted
from ..objects import Obj, annotations_of
from .address_warnings import ip_warnings
from .claim_checks import claim_warnings
from .label_warnings import DEPRECATED_LABELS, term_warnings
from .path_warnings import overlap_warnings
from .resource_checks import BYTES, fractions
from .security_checks import APP_ARMOR
from .walks import every_container

_ANNOTATIONS: Mapping[str, str] = {
    "scheduler.alpha.kubernetes.io/critical-pod": 'non-functional in v1.16+; use the "priorityClassName" field instead',
    "security.alpha.kubernetes.io/sysctls": 'non-functional in v1.11+; use the "sysctls" field instead',
    "security.alpha.kubernetes.io/unsafe-sysctls": 'non-functional in v1.11+; use the "sysctls" field instead',
}
_VOLUMES: Mapping[str, str] = {
    "photonPersistentDisk": "deprecated in v1.11, non-functional in v1.16+",
    "gitRepo": "deprecated in v1.11, and disabled by default in v1.33+",
    "scaleIO": "deprecated in v1.16, non-functional in v1.22+",
    "flocker": "deprecated in v1.22, non-functional in v1.25+",
    "storageos": "deprecated in v1.22, non-functional in v1.25+",
    "quobyte": "deprecated in v1.22, non-functional in v1.25+",
    "glusterfs": "deprecated in v1.25, non-functional in v1.26+",
    "cephfs": "deprecated in v1.28, non-functional in v1.31+",
    "rbd": "deprecated in v1.28, non-functional in v1.31+",
}
_SHOWN = {"storageos": "storageOS"}
"""Fields that Kubernetes names otherwise than they are written."""
_SECCOMP_POD = "seccomp.security.alpha.kubernetes.io/pod"
_SECCOMP_CONTAINER = "container.seccomp.security.alpha.kubernetes.io/"
_SECCOMP = 'non-functional in v1.27+; use the "seccompProfile" field instead'
_APP_ARMOR = 'deprecated since v1.30; use the "appArmorProfile" field instead'
_GRACE = "must be >= 0; negative values are invalid and will be treated as 1"
_NO_SELECTOR = "a null labelSelector results in matching no pod"


def label_name_warning(name: str, use: str) -> Iterator[str]:
    """For a name that is more than a DNS label, though `use` makes a host name of it."""
    if wrong := list(names.label(name)):
        shown = "[" + " ".join(wrong) + "]"
        yield (
            f"metadata.name: this is used in {use}, which can result in surprising behavior; "
            f"a DNS label is recommended: {shown}"
        )


def pod_warnings(pod: Obj, path: str = "") -> Iterator[str]:
    spec: Obj = pod.get("spec") or {}
    annotations = annotations_of(pod)
    where, notes = (f"{path}.spec", f"{path}.metadata") if path else ("spec", "metadata")
    yield from _scheduling(spec, where)
    yield from (f"{notes}.annotations[{key}]: {text}" for key, text in _ANNOTATIONS.items() if key in annotations)
    yield from _volumes(spec.get("volumes") or (), f"{where}.volumes")
    yield from overlap_warnings(spec.get("volumes") or ())
    yield from _doubled(spec.get("hostAliases") or (), "ip", f"{where}.hostAliases")
    yield from _doubled(spec.get("imagePullSecrets") or (), "name", f"{where}.imagePullSecrets")
    for index, secret in enumerate(spec.get("imagePullSecrets") or ()):
        if not secret.get("name"):
            yield f'{where}.imagePullSecrets[{index}].name: invalid empty name ""'
    yield from fractions(spec.get("overhead"), f"{where}.overhead")
    if _SECCOMP_POD in annotations and not _set(spec, "seccompProfile"):
        yield f"{notes}.annotations[{_SECCOMP_POD}]: {_SECCOMP}"
    yield from _containers(spec, where, annotations, notes, template=bool(path))
    yield from _ports(spec, where)
    if (spec.get("terminationGracePeriodSeconds") or 0) < 0:
        yield f"{where}.terminationGracePeriodSeconds: {_GRACE}"
    yield from _affinity(spec.get("affinity") or {}, f"{where}.affinity")
    for index, server in enumerate((spec.get("dnsConfig") or {}).get("nameservers") or ()):
        yield from ip_warnings(server, f"{where}.dnsConfig.nameservers[{index}]")
    for index, alias in enumerate(spec.get("hostAliases") or ()):
        yield from ip_warnings(alias.get("ip") or "", f"{where}.hostAliases[{index}].ip")


def _set(holder: Obj, field: str) -> bool:
    """Whether a pod's spec, or a container, has a field of its security context."""
    return (holder.get("securityContext") or {}).get(field) is not None


def _scheduling(spec: Obj, path: str) -> Iterator[str]:
    for key in spec.get("nodeSelector") or ():
        if key in DEPRECATED_LABELS:
            yield f"{path}.nodeSelector[{key}]: {DEPRECATED_LABELS[key]}"
    affinity: Obj = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    where = f"{path}.affinity.nodeAffinity"
    required = "requiredDuringSchedulingIgnoredDuringExecution"
    for index, term in enumerate((affinity.get(required) or {}).get("nodeSelectorTerms") or ()):
        yield from term_warnings(term, f"{where}.{required}.nodeSelectorTerms[{index}]")
    preferred = "preferredDuringSchedulingIgnoredDuringExecution"
    for index, term in enumerate(affinity.get(preferred) or ()):
        yield from term_warnings(term.get("preference") or {}, f"{where}.{preferred}[{index}].preference", values=True)
    for index, spread in enumerate(spec.get("topologySpreadConstraints") or ()):
        at, key = f"{path}.topologySpreadConstraints[{index}]", spread.get("topologyKey") or ""
        if key in DEPRECATED_LABELS:
            yield f"{at}.topologyKey: {key} is {DEPRECATED_LABELS[key]}"
        if spread.get("labelSelector") is None:
            yield f"{at}.labelSelector: {_NO_SELECTOR}"


def _affinity(affinity: Obj, path: str) -> Iterator[str]:
    for kind in ("podAffinity", "podAntiAffinity"):
        for field, inner in (
            ("requiredDuringSchedulingIgnoredDuringExecution", ""),
            ("preferredDuringSchedulingIgnoredDuringExecution", "podAffinityTerm"),
        ):
            for index, term in enumerate((affinity.get(kind) or {}).get(field) or ()):
                found = (term.get(inner) or {}) if inner else term
                if found.get("labelSelector") is None:
                    way = f"{inner}." if inner else ""
                    yield f"{path}.{kind}.{field}[{index}].{way}labelSelector: {_NO_SELECTOR}"


def _volumes(volumes: Iterable[Obj], path: str) -> Iterator[str]:
    for index, volume in enumerate(volumes):
        for field, text in _VOLUMES.items():
            if volume.get(field) is not None:
                yield f"{path}[{index}].{_SHOWN.get(field, field)}: {text}"
        claim = (volume.get("ephemeral") or {}).get("volumeClaimTemplate")
        if claim is not None:
            yield from claim_warnings(claim.get("spec") or {}, f"{path}[{index}].ephemeral.volumeClaimTemplate.spec")


def _doubled(found: Iterable[Obj], field: str, path: str) -> Iterator[str]:
    seen = set()
    for index, one in enumerate(found):
        value = one.get(field) or ""
        if value in seen:
            yield f"{path}[{index}].{field}: duplicate {field} {quoted(value)}"
        seen.add(value)


def _containers(spec: Obj, path: str, annotations: Mapping[str, str], notes: str, *, template: bool) -> Iterator[str]:
    profile = (spec.get("securityContext") or {}).get("appArmorProfile")
    for container, where in every_container(spec, path):
        name = container.get("name") or ""
        if _SECCOMP_CONTAINER + name in annotations and not _set(container, "seccompProfile"):
            yield f"{notes}.annotations[{_SECCOMP_CONTAINER}{name}]: {_SECCOMP}"
        said = annotations.get(APP_ARMOR + name)
        unsaid = said is not None and not _set(container, "appArmorProfile")
        if template and unsaid and (profile is None or profile != armor_of(said or "")):
            yield f"{notes}.annotations[{APP_ARMOR}{name}]: {_APP_ARMOR}"
        resources: Obj = container.get("resources") or {}
        for resource in BYTES:
            for field in ("limits", "requests"):
                yield from fractions(resources.get(field), f"{where}.resources.{field}", (resource,))
        yield from _env(container.get("env") or (), f"{where}.env")


def armor_of(annotation: str) -> Obj | None:
    """The profile that an old annotation means."""
    known = {"unconfined": "Unconfined", "runtime/default": "RuntimeDefault"}
    if annotation in known:
        return {"type": known[annotation]}
    local = annotation.removeprefix("localhost/")
    return {"type": "Localhost", "localhostProfile": local} if local not in ("", annotation) else None


def _env(variables: Iterable[Obj], path: str) -> Iterator[str]:
    """A name may come again where its value is made of the one before."""
    seen = set()
    for index, one in enumerate(variables):
        name, value = one.get("name") or "", one.get("value") or ""
        again = f"$({name})"
        if name in seen and (one.get("valueFrom") is not None or value == again or again not in value):
            yield f"{path}[{index}]: hides previous definition of {quoted(name)}, which may be dropped when using apply"
        seen.add(name)


class _Port(NamedTuple):
    path: str
    host_ip: str
    host_port: int


def _ports(spec: Obj, path: str) -> Iterator[str]:
    """Ports that are told twice, over all containers; then names that are."""
    every = [
        (port, f"{where}.ports[{index}]")
        for container, where in every_container(spec, path)
        for index, port in enumerate(container.get("ports") or ())
    ]
    held: dict[tuple[int, str], list[_Port]] = {}
    for port, where in every:
        found = _Port(where, port.get("hostIP") or "", port.get("hostPort") or 0)
        if found.host_ip and not found.host_port:
            yield f"{where}: hostIP set without hostPort: {_struct(port)}"
        others = held.setdefault((port.get("containerPort") or 0, port.get("protocol") or ""), [])
        yield from (f"{where}: {how} port definition with {one.path}" for one in others if (how := _clash(found, one)))
        others.append(found)
    first: dict[str, str] = {}
    for port, where in every:
        if name := port.get("name"):
            other = first.setdefault(name, where)
            if other != where:
                yield (
                    f"{where}: duplicate port name {quoted(name)} with {other}, "
                    f"services and probes that select ports by name will use {other}"
                )


def _clash(one: _Port, other: _Port) -> str:
    """How two definitions of one port are at odds; "" where they are not."""
    if one.host_ip == other.host_ip and one.host_port == other.host_port:
        return "duplicate"
    if not one.host_port or not other.host_port:
        return "overlapping"
    if one.host_port == other.host_port and bool(one.host_ip) != bool(other.host_ip):
        return "dangerously ambiguous"
    return ""


_PORT_FIELDS = {"name": "", "hostPort": 0, "containerPort": 0, "protocol": "", "hostIP": ""}


def _struct(port: Obj) -> str:
    """As Go prints a port, with its fields' names there."""
    shown = (f"{field[0].upper()}{field[1:]}:{port.get(field) or empty}" for field, empty in _PORT_FIELDS.items())
    return "{" + " ".join(shown) + "}"
