"""Defaults of pods and pod templates, as pkg/apis/core/v1/defaults.go sets them; clients rely on every one of them."""

from collections.abc import Iterator, Mapping

from ..objects import Obj

_MODE = 0o644
CONTAINER_LISTS = ("initContainers", "containers", "ephemeralContainers")


def containers_of(spec: Obj) -> Iterator[Obj]:
    """Init, main and ephemeral containers, in this order."""
    for field in CONTAINER_LISTS:
        yield from spec.get(field) or ()


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
    if spec.get("hostNetwork"):
        _host_ports(spec)


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
    for constraint in spec.get("topologySpreadConstraints") or ():
        fill(constraint, {"whenUnsatisfiable": "DoNotSchedule"})


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
    for port in container.get("ports") or ():
        fill(port, {"protocol": "TCP"})
    for entry in container.get("env") or ():
        _field_reference(entry.get("valueFrom"))
    for field in ("livenessProbe", "readinessProbe", "startupProbe"):
        if (probe := container.get(field)) is not None:
            _probe(probe)
    for hook in (container.get("lifecycle") or {}).values():
        if isinstance(hook, dict):
            _http(hook.get("httpGet"))


def pull_policy(image: str) -> str:
    """Always for :latest or no tag, IfNotPresent for a tag or digest."""
    if "@" in image:
        return "IfNotPresent"
    _, colon, tag = image.rpartition("/")[2].partition(":")
    return "Always" if not colon or tag == "latest" else "IfNotPresent"


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


def _volume(volume: Obj) -> None:
    sources = [field for field in volume if field != "name"]
    if not sources:
        volume["emptyDir"] = {}
        return
    for field in ("secret", "configMap", "downwardAPI", "projected"):
        if (source := volume.get(field)) is not None:
            fill(source, {"defaultMode": _MODE})
    for item in (volume.get("downwardAPI") or {}).get("items") or ():
        _field_reference(item)
    for source in (volume.get("projected") or {}).get("sources") or ():
        _projection(source)
    if (host := volume.get("hostPath")) is not None and host.get("type") is None:
        host["type"] = ""
    if (iscsi := volume.get("iscsi")) is not None:
        fill(iscsi, {"iscsiInterface": "default"})
    template = (volume.get("ephemeral") or {}).get("volumeClaimTemplate")
    if template is not None:
        fill(template.setdefault("spec", {}), {"volumeMode": "Filesystem"})
    if (image := volume.get("image")) is not None:
        fill(image, {"pullPolicy": pull_policy(image.get("reference") or "")})


def _projection(source: Obj) -> None:
    for item in (source.get("downwardAPI") or {}).get("items") or ():
        _field_reference(item)
    if (token := source.get("serviceAccountToken")) is not None and not token.get("expirationSeconds"):
        token["expirationSeconds"] = 3600
