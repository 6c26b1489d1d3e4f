"""Defaults of pods and pod templates, as pkg/apis/core/v1/defaults.go sets them; clients rely on every one of them."""

from collections.abc import Mapping

from .. import quota
from ..objects import Obj
from ..quantity import Quantity
from .resource_checks import POD_LEVEL, is_huge
from .walks import containers_of

_MODE = 0o644


def fill(obj: Obj, defaults: Mapping[str, object]) -> None:
    """Set what is absent or "" (Go's zero of an optional string)."""
    for field, value in defaults.items():
        if obj.get(field) in (None, ""):
            obj[field] = value


def default_pod(spec: Obj) -> None:
    """A Pod's own spec: what templates leave open."""
    default_spec(spec)
    fill(spec, {"enableServiceLinks": True})
    for container in (*(spec.get("initContainers") or ()), *(spec.get("containers") or ())):
        _requests_from_limits(container["resources"])
    if spec.get("resources") is not None:
        _pod_resources(spec, spec["resources"])
    if spec.get("hostNetwork"):
        _host_ports(spec)


def _pod_resources(spec: Obj, resources: Obj) -> None:
    """What a pod says of itself in part is completed from its containers (KEP-2837)."""
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    if not limits and not requests:
        return
    inner = {"spec": {field: spec.get(field) for field in ("containers", "initContainers")}}
    had_limits = bool(limits)
    for name, amount in quota.pod_limits(inner).items():
        if is_huge(name) and name not in requests:
            limits.setdefault(name, str(amount))
    if limits:
        for name, amount in quota.pod_requests(inner).items():
            if name in POD_LEVEL:
                requests.setdefault(name, str(amount))
        for name, limit in limits.items():
            if name in POD_LEVEL or is_huge(name):
                requests.setdefault(name, limit)
    if not had_limits:
        every = (*(spec.get("containers") or ()), *(spec.get("initContainers") or ()))
        for name, amount in quota.pod_limits(inner).items():
            if name in POD_LEVEL and all(name in (c["resources"].get("limits") or {}) for c in every):
                limits.setdefault(name, str(amount))
    for field, found in (("limits", limits), ("requests", requests)):
        if found:
            resources[field] = found


def default_spec(spec: Obj) -> None:
    """A pod spec anywhere."""
    fill(
        spec,
        {
            "restartPolicy": "Always",
            "terminationGracePeriodSeconds": 30,
            "dnsPolicy": "ClusterFirst",
            "schedulerName": "default-scheduler",
        },
    )
    if spec.get("securityContext") is None:
        spec["securityContext"] = {}
    account = spec.get("serviceAccountName") or spec.get("serviceAccount")
    if account:
        spec["serviceAccountName"] = spec["serviceAccount"] = account
    for container in containers_of(spec):
        default_container(container)
    for volume in spec.get("volumes") or ():
        _volume(volume)
    for holder in (spec.get("resources"), {"limits": spec.get("overhead")}):
        round_amounts(holder)


def default_container(container: Obj) -> None:
    fill(
        container,
        {
            "imagePullPolicy": pull_policy(container.get("image") or ""),
            "terminationMessagePath": "/dev/termination-log",
            "terminationMessagePolicy": "File",
        },
    )
    if container.get("resources") is None:
        container["resources"] = {}
    else:
        round_amounts(container["resources"])
    for port in container.get("ports") or ():
        fill(port, {"protocol": "TCP"})
    for entry in container.get("env") or ():
        _field_reference(entry.get("valueFrom"))
        _key_of_file(entry.get("valueFrom"))
        _divisor(entry.get("valueFrom"))
    for field in ("livenessProbe", "readinessProbe", "startupProbe"):
        if (probe := container.get(field)) is not None:
            _probe(probe)
    for hook in (container.get("lifecycle") or {}).values():
        if isinstance(hook, dict):
            _http(hook.get("httpGet"))


def round_amounts(holder: Obj | None) -> None:
    """Limits and requests are whole thousandths, rounded up."""
    for field in ("limits", "requests"):
        round_to_millis((holder or {}).get(field))


def round_to_millis(amounts: dict[str, str] | None) -> None:
    """A ResourceList as Kubernetes keeps one (SetDefaults_ResourceList)."""
    for name, amount in (amounts or {}).items():
        if amounts is not None and amount[-1:] in ("u", "n"):
            found = Quantity.parse(amount)
            amounts[name] = str(found._replace(nano=found.milli * 10**6))


def pull_policy(image: str) -> str:
    """Always for :latest or no tag, IfNotPresent for a tag or digest."""
    plain, digest, _ = image.partition("@")
    _, colon, tag = plain.rpartition("/")[2].partition(":")
    latest = tag == "latest" if colon else bool(plain) and not digest
    return "Always" if latest else "IfNotPresent"


def _probe(probe: Obj) -> None:
    for field, value in (
        ("timeoutSeconds", 1),
        ("periodSeconds", 10),
        ("successThreshold", 1),
        ("failureThreshold", 3),
    ):
        if not probe.get(field):
            probe[field] = value
    _http(probe.get("httpGet"))
    if (grpc := probe.get("grpc")) is not None and grpc.get("service") is None:
        grpc["service"] = ""


def _http(action: Obj | None) -> None:
    if action is not None:
        fill(action, {"path": "/", "scheme": "HTTP"})


def _field_reference(source: Obj | None) -> None:
    reference = (source or {}).get("fieldRef")
    if reference is not None:
        fill(reference, {"apiVersion": "v1"})


def _key_of_file(source: Obj | None) -> None:
    reference = (source or {}).get("fileKeyRef")
    if reference is not None:
        fill(reference, {"optional": False})


def _requests_from_limits(resources: Obj) -> None:
    limits: Obj = resources.get("limits") or {}
    if limits:
        requests = resources.setdefault("requests", {})
        for name, amount in limits.items():
            requests.setdefault(name, amount)


def _host_ports(spec: Obj) -> None:
    for container in (*(spec.get("initContainers") or ()), *(spec.get("containers") or ())):
        for port in container.get("ports") or ():
            if not port.get("hostPort"):
                port["hostPort"] = port.get("containerPort")


_SOURCE_DEFAULTS: Mapping[str, Mapping[str, object]] = {
    "secret": {"defaultMode": _MODE},
    "configMap": {"defaultMode": _MODE},
    "downwardAPI": {"defaultMode": _MODE},
    "projected": {"defaultMode": _MODE},
    "iscsi": {"iscsiInterface": "default"},
    "rbd": {"pool": "rbd", "user": "admin", "keyring": "/etc/ceph/keyring"},
    "azureDisk": {"cachingMode": "ReadWrite", "fsType": "ext4", "readOnly": False, "kind": "Shared"},
    "scaleIO": {"storageMode": "ThinProvisioned", "fsType": "xfs"},
}


def default_source(holder: Obj) -> None:
    """A volume source, of a pod or of a PersistentVolume."""
    for field, defaults in _SOURCE_DEFAULTS.items():
        if (source := holder.get(field)) is not None:
            fill(source, defaults)
    if (host := holder.get("hostPath")) is not None and host.get("type") is None:
        host["type"] = ""


def _volume(volume: Obj) -> None:
    if not any(field != "name" for field in volume):
        volume["emptyDir"] = {}
        return
    default_source(volume)
    for item in (volume.get("downwardAPI") or {}).get("items") or ():
        _field_reference(item)
        _divisor(item)
    for source in (volume.get("projected") or {}).get("sources") or ():
        _projection(source)
    template = (volume.get("ephemeral") or {}).get("volumeClaimTemplate")
    if template is not None:
        fill(template.setdefault("spec", {}), {"volumeMode": "Filesystem"})
    if (image := volume.get("image")) is not None:
        fill(image, {"pullPolicy": pull_policy(image.get("reference") or "")})


def _divisor(source: Obj | None) -> None:
    """Go writes a divisor that nobody gave as "0"."""
    reference = (source or {}).get("resourceFieldRef")
    if reference is not None:
        reference.setdefault("divisor", "0")


def _projection(source: Obj) -> None:
    for item in (source.get("downwardAPI") or {}).get("items") or ():
        _field_reference(item)
        _divisor(item)
    if (token := source.get("serviceAccountToken")) is not None and token.get("expirationSeconds") is None:
        token["expirationSeconds"] = 3600
