"""Validation of containers: ports, environment, probes, hooks, mounts, resources (pkg/apis/core/validation)."""

import re
from collections.abc import Collection, Iterator, Mapping

from .. import names
from ..errors import FieldError
from ..objects import Obj
from ..quantity import Quantity
from . import checks

Problems = Iterator[FieldError]

_HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc", "sleep")
_SOURCES = ("fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef")
_ENV_FIELDS = (
    *("metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName"),
    *("status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs"),
)
_VOLUME_FIELDS = ("metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid")
_SUBSCRIPTED = re.compile(r"metadata\.(annotations|labels)\['([^']*)'\]")
_RESOURCE_FIELDS = re.compile(r"(limits|requests)\.(cpu|memory|ephemeral-storage|hugepages-.+)")
_STANDARD = re.compile(r"cpu|memory|ephemeral-storage|storage|hugepages-.+")


def containers(
    found: list[Obj], path: str, *, volumes: Collection[str], claims: Collection[str], grace: int, init: bool = False
) -> Problems:
    """A list of containers; names are compared by the caller, over all lists."""
    for index, container in enumerate(found):
        where = f"{path}[{index}]"
        yield from _common(container, where, volumes=volumes, claims=claims)
        sidecar = init and container.get("restartPolicy") == "Always"
        if init and not sidecar:
            for field in ("lifecycle", "livenessProbe", "readinessProbe", "startupProbe"):
                if container.get(field) is not None:
                    yield FieldError.forbidden(
                        f"{where}.{field}", "may not be set for init containers without restartPolicy=Always"
                    )
        else:
            yield from _lifecycle(container.get("lifecycle") or {}, f"{where}.lifecycle", grace=grace)
            yield from _probes(container, where)
    if not init:
        yield from _host_port_conflicts(found, path)


def _common(container: Obj, path: str, *, volumes: Collection[str], claims: Collection[str]) -> Problems:
    yield from checks.required_name(container, path, names.label)
    yield from _image(container.get("image") or "", f"{path}.image")
    yield from checks.one_of(
        container.get("terminationMessagePolicy"),
        f"{path}.terminationMessagePolicy",
        ("FallbackToLogsOnError", "File"),
    )
    yield from checks.one_of(
        container.get("imagePullPolicy"), f"{path}.imagePullPolicy", ("Always", "IfNotPresent", "Never")
    )
    yield from ports(container.get("ports") or (), f"{path}.ports")
    yield from env(container.get("env") or (), f"{path}.env")
    yield from _env_from(container.get("envFrom") or (), f"{path}.envFrom")
    yield from _mounts(container.get("volumeMounts") or (), f"{path}.volumeMounts", volumes=volumes)
    yield from resources(container.get("resources") or {}, f"{path}.resources", claims=claims)
    yield from _security(container.get("securityContext") or {}, f"{path}.securityContext")


def _image(image: str, path: str) -> Problems:
    if not image:
        yield FieldError.required(path)
    elif image != image.strip():
        yield FieldError.invalid(path, image, "must not have leading or trailing whitespace")


def ports(found: Collection[Obj], path: str) -> Problems:
    """Container ports."""
    seen: set[str] = set()
    for index, port in enumerate(found):
        where = f"{path}[{index}]"
        if name := port.get("name"):
            problems = list(checks.named(name, f"{where}.name", names.port_name))
            yield from problems
            if not problems and name in seen:
                yield FieldError.duplicate(f"{where}.name", name)
            seen.add(name)
        if not port.get("containerPort"):
            yield FieldError.required(f"{where}.containerPort")
        else:
            yield from checks.port(port["containerPort"], f"{where}.containerPort")
        if port.get("hostPort"):
            yield from checks.port(port["hostPort"], f"{where}.hostPort")
        yield from checks.one_of(port.get("protocol"), f"{where}.protocol", checks.PROTOCOLS)
        if host := port.get("hostIP"):
            yield from checks.named(host, f"{where}.hostIP", names.ip)


def _host_port_conflicts(found: list[Obj], path: str) -> Problems:
    seen: set[tuple[str, str, int]] = set()
    for index, container in enumerate(found):
        for number, port in enumerate(container.get("ports") or ()):
            if not port.get("hostPort"):
                continue
            key = (port.get("protocol", "TCP"), port.get("hostIP", ""), port["hostPort"])
            if key in seen:
                yield FieldError.duplicate(f"{path}[{index}].ports[{number}].hostPort", "/".join(map(str, key)))
            seen.add(key)


def env(found: Collection[Obj], path: str) -> Problems:
    for index, entry in enumerate(found):
        where = f"{path}[{index}]"
        yield from checks.required_name(entry, where, names.env_name)
        if (source := entry.get("valueFrom")) is not None:
            yield from _env_source(entry, source, f"{where}.valueFrom")


def _env_source(entry: Obj, source: Obj, path: str) -> Problems:
    given = [field for field in _SOURCES if source.get(field) is not None]
    if (reference := source.get("fieldRef")) is not None:
        yield from field_reference(reference, f"{path}.fieldRef", known=_ENV_FIELDS)
    if (reference := source.get("resourceFieldRef")) is not None:
        yield from resource_reference(reference, f"{path}.resourceFieldRef")
    for field in ("configMapKeyRef", "secretKeyRef"):
        if (reference := source.get(field)) is not None:
            yield from checks.required(reference, "name", f"{path}.{field}")
            yield from _key(reference, f"{path}.{field}")
    if not given:
        listed = "`fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`"
        yield FieldError.invalid(path, "", f"must specify one of: {listed}")
    elif entry.get("value"):
        yield FieldError.invalid(path, "", "may not be specified when `value` is not empty")
    elif len(given) > 1:
        yield FieldError.invalid(path, "", "may not have more than one field specified at a time")


def _key(reference: Obj, path: str) -> Problems:
    if key := reference.get("key"):
        yield from checks.named(key, f"{path}.key", names.config_key)
    else:
        yield FieldError.required(f"{path}.key")


def field_reference(reference: Obj, path: str, *, known: Collection[str] = _VOLUME_FIELDS) -> Problems:
    """A downward API field, of environment variables or (by default) of volumes."""
    field = reference.get("fieldPath") or ""
    if not field:
        yield FieldError.required(f"{path}.fieldPath")
    elif subscript := _SUBSCRIPTED.fullmatch(field):
        rule_path = f"{path}.fieldPath"
        yield from checks.named(subscript[2].lower(), rule_path, names.qualified)
    elif field not in known:
        if field.startswith(("metadata.", "spec.", "status.")) or "." in field:
            yield FieldError.not_supported(f"{path}.fieldPath", field, sorted(known))
        else:
            yield FieldError.invalid(
                f"{path}.fieldPath", field, "error converting fieldPath: field label not supported"
            )


def resource_reference(reference: Obj, path: str) -> Problems:
    resource = reference.get("resource") or ""
    if not resource:
        yield FieldError.required(f"{path}.resource")
    elif not _RESOURCE_FIELDS.fullmatch(resource):
        supported = [f"{a}.{b}" for a in ("limits", "requests") for b in ("cpu", "ephemeral-storage", "memory")]
        yield FieldError.not_supported(f"{path}.resource", resource, supported)


def _env_from(found: Collection[Obj], path: str) -> Problems:
    for index, entry in enumerate(found):
        where = f"{path}[{index}]"
        if prefix := entry.get("prefix"):
            yield from checks.named(prefix, f"{where}.prefix", names.env_name)
        given = [field for field in ("configMapRef", "secretRef") if entry.get(field) is not None]
        for field in given:
            yield from checks.required(entry[field], "name", f"{where}.{field}")
        if not given:
            yield FieldError.invalid(where, "", "must specify one of: `configMapRef` or `secretRef`")
        elif len(given) > 1:
            yield FieldError.invalid(where, "", "may not have more than one field specified at a time")


def _mounts(found: Collection[Obj], path: str, *, volumes: Collection[str]) -> Problems:
    seen: set[str] = set()
    for index, mount in enumerate(found):
        where = f"{path}[{index}]"
        name, target = mount.get("name") or "", mount.get("mountPath") or ""
        if not name:
            yield FieldError.required(f"{where}.name")
        elif name not in volumes:
            yield FieldError.not_found(f"{where}.name", name)
        if not target:
            yield FieldError.required(f"{where}.mountPath")
        elif target in seen:
            yield FieldError.invalid(f"{where}.mountPath", target, "must be unique")
        seen.add(target)
        if mount.get("subPath") and mount.get("subPathExpr"):
            yield FieldError.invalid(
                f"{where}.subPathExpr", mount["subPathExpr"], "subPathExpr and subPath are mutually exclusive"
            )
        for field in ("subPath", "subPathExpr"):
            if mount.get(field):
                yield from local_path(mount[field], f"{where}.{field}")
        yield from checks.one_of_if_set(
            mount.get("mountPropagation"), f"{where}.mountPropagation", ("Bidirectional", "HostToContainer", "None")
        )


def local_path(value: str, path: str) -> Problems:
    """A path that stays below where it starts."""
    if value.startswith("/"):
        yield FieldError.invalid(path, value, "must be a relative path")
    yield from no_backsteps(value, path)


def no_backsteps(value: str, path: str) -> Problems:
    if ".." in value.split("/"):
        yield FieldError.invalid(path, value, "must not contain '..'")


def _probes(container: Obj, path: str) -> Problems:
    for field in ("livenessProbe", "readinessProbe", "startupProbe"):
        if (probe := container.get(field)) is None:
            continue
        where = f"{path}.{field}"
        yield from _handler(probe, where)
        for count in ("initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"):
            yield from checks.not_negative(probe.get(count), f"{where}.{count}")
        grace = probe.get("terminationGracePeriodSeconds")
        if field == "readinessProbe" and grace is not None:
            yield FieldError.invalid(
                f"{where}.terminationGracePeriodSeconds", grace, "must not be set for readinessProbes"
            )
        elif grace is not None:
            yield from checks.positive(grace, f"{where}.terminationGracePeriodSeconds")
        if field != "readinessProbe" and probe.get("successThreshold", 1) != 1:
            yield FieldError.invalid(f"{where}.successThreshold", probe["successThreshold"], "must be 1")


def _handler(handler: Obj, path: str, *, grace: int | None = None) -> Problems:
    """Exactly one action; `grace` is given for lifecycle hooks, which may sleep."""
    given = [field for field in _HANDLERS if handler.get(field) is not None]
    if not given:
        yield FieldError.required(path, "must specify a handler type")
    for field in given[1:]:
        yield FieldError.forbidden(f"{path}.{field}", "may not specify more than 1 handler type")
    for field in given[:1]:
        action, where = handler[field], f"{path}.{field}"
        match field:
            case "exec":
                yield from checks.required(action, "command", where)
            case "httpGet":
                yield from _http(action, where)
            case "tcpSocket":
                yield from checks.port_or_name(action.get("port"), f"{where}.port")
            case "grpc":
                yield from checks.port(action.get("port"), f"{where}.port")
            case "sleep":
                yield from _sleep(action, where, grace=grace or 0)


def _http(action: Obj, path: str) -> Problems:
    yield from checks.required(action, "path", path)
    yield from checks.port_or_name(action.get("port"), f"{path}.port")
    yield from checks.one_of(action.get("scheme"), f"{path}.scheme", ("HTTP", "HTTPS"))
    for header in action.get("httpHeaders") or ():
        name = header.get("name") or ""
        if not re.fullmatch(r"[-A-Za-z0-9]+", name):
            text = "a valid HTTP header must consist of alphanumeric characters or '-' "
            text += "(e.g. 'X-Header-Name', regex used for validation is '[-A-Za-z0-9]+')"
            yield FieldError.invalid(f"{path}.httpHeaders", name, text)


def _sleep(action: Obj, path: str, *, grace: int) -> Problems:
    seconds = action.get("seconds") or 0
    if not 0 <= seconds <= grace:
        detail = f"must be non-negative and less than terminationGracePeriodSeconds ({grace})."
        yield FieldError.invalid(path, seconds, detail + " Set AllowZeroSleep to allow zero seconds")


def _lifecycle(hooks: Obj, path: str, *, grace: int) -> Problems:
    for field in ("postStart", "preStop"):
        if hooks.get(field) is not None:
            yield from _handler(hooks[field], f"{path}.{field}", grace=grace)


def resources(found: Obj, path: str, *, claims: Collection[str] = ()) -> Problems:
    """ResourceRequirements: names, amounts, requests within limits."""
    limits: Mapping[str, str] = found.get("limits") or {}
    requests: Mapping[str, str] = found.get("requests") or {}
    for title, amounts in (("limits", limits), ("requests", requests)):
        for name, amount in amounts.items():
            yield from resource_name(name, f"{path}.{title}", base=f"{path}.{title}[{name}]")
            if Quantity.parse(amount).nano < 0:
                yield FieldError.invalid(f"{path}.{title}[{name}]", amount, checks.NOT_NEGATIVE)
    for name, amount in requests.items():
        limit = limits.get(name)
        if limit is None:
            if not _overcommits(name):
                yield FieldError.required(f"{path}.limits", "Limit must be set for non overcommitable resources")
        elif Quantity.parse(amount).nano > Quantity.parse(limit).nano:
            yield FieldError.invalid(
                f"{path}.requests", amount, f"must be less than or equal to {name} limit of {limit}"
            )
        elif amount != limit and not _overcommits(name):
            yield FieldError.invalid(f"{path}.requests", amount, f"must be equal to {name} limit of {limit}")
    for index, claim in enumerate(found.get("claims") or ()):
        if claim.get("name") not in claims:
            yield FieldError.not_found(f"{path}.claims[{index}].name", claim.get("name"))


def _overcommits(name: str) -> bool:
    return "/" not in name and not name.startswith("hugepages-")


def resource_name(name: str, path: str, *, base: str) -> Problems:
    """The name of a compute resource in a container."""
    problems = list(names.qualified(name))
    yield from (FieldError.invalid(base, name, text) for text in problems)
    if not problems and "/" not in name and not _STANDARD.fullmatch(name):
        yield FieldError.invalid(base, name, "must be a standard resource type or fully qualified")
        yield FieldError.invalid(base, name, "must be a standard resource for containers")


_SECCOMP = ("Localhost", "RuntimeDefault", "Unconfined")


def seccomp(profile: Obj | None, path: str) -> Problems:
    """A SeccompProfile, of a pod or a container."""
    if profile is None:
        return
    kind, local = profile.get("type"), profile.get("localhostProfile")
    if not kind:
        yield FieldError.required(f"{path}.type", "type is required when seccompProfile is set")
    elif kind not in _SECCOMP:
        yield FieldError.not_supported(f"{path}.type", kind, _SECCOMP)
    if kind == "Localhost" and not local:
        yield FieldError.required(f"{path}.localhostProfile", "must be set when seccomp type is Localhost")
    elif kind == "Localhost":
        yield from local_path(local or "", f"{path}.localhostProfile")
    elif local is not None:
        detail = "can only be set when seccomp type is Localhost"
        yield FieldError.invalid(f"{path}.localhostProfile", local, detail)


def _security(found: Obj, path: str) -> Problems:
    yield from seccomp(found.get("seccompProfile"), f"{path}.seccompProfile")
    for field in ("runAsUser", "runAsGroup"):
        if (value := found.get(field)) is not None and not 0 <= value < 1 << 31:
            yield FieldError.invalid(f"{path}.{field}", value, "must be between 0 and 2147483647, inclusive")
    added = (found.get("capabilities") or {}).get("add") or ()
    if found.get("allowPrivilegeEscalation") is False:
        if found.get("privileged"):
            detail = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true"
            yield FieldError.invalid(path, "", detail)
        elif "CAP_SYS_ADMIN" in added:
            detail = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN"
            yield FieldError.invalid(path, "", detail)
