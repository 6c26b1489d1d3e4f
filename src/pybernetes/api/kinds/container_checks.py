"""Validation of containers, init containers and ephemeral containers (core/validation)."""

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from .. import names
from ..errors import FieldError
from ..objects import Obj
from . import checks
from .env_checks import env, env_from
from .probe_checks import PROBES, lifecycle, probes
from .resource_checks import requirements
from .rules import Problems, Table, among, at_most, follow, given, inside, matching, may, need
from .security_checks import container_security, local_path, no_backsteps

PULL_POLICIES = ("Always", "IfNotPresent", "Never")
_COMMON: Table = {
    "name": need(matching(names.label)),
    "image": need(),
    "terminationMessagePolicy": need(among("File", "FallbackToLogsOnError")),
    "imagePullPolicy": need(among(*PULL_POLICIES)),
}
_EPHEMERAL_NOT = ("ports", "resources", *PROBES, "lifecycle", "resizePolicy", "restartPolicy", "restartPolicyRules")


class Scope(NamedTuple):
    """What of the pod its containers are checked against."""

    volumes: Mapping[str, Obj] = {}
    """The good ones, by name."""
    claims: Collection[str] = ()
    """Names in spec.resourceClaims."""
    grace: int | None = 30
    policy: str = "Always"
    """spec.restartPolicy."""
    host_users: bool = True


def containers(found: list[Obj], path: str, scope: Scope) -> Problems:
    """spec.containers."""
    seen: set[str] = set()
    for index, container in enumerate(found):
        where = f"{path}[{index}]"
        yield from _common(container, where, scope)
        yield from _once(container, where, seen)
        yield from lifecycle(container.get("lifecycle") or {}, f"{where}.lifecycle", grace=scope.grace)
        yield from probes(container, where)
        yield from _restart(container, where)
    yield from _host_ports(found, path)


def init_containers(found: list[Obj], path: str, scope: Scope, *, taken: Iterable[str]) -> Problems:
    """spec.initContainers; `taken` are the names of the main ones."""
    seen = set(taken)
    for index, container in enumerate(found):
        where = f"{path}[{index}]"
        yield from _common(container, where, scope)
        yield from _restart(container, where)
        yield from _once(container, where, seen)
        yield from _host_ports([container], path)
        if container.get("restartPolicy") == "Always":
            yield from lifecycle(container.get("lifecycle") or {}, f"{where}.lifecycle", grace=scope.grace)
            yield from probes(container, where)
            continue
        for field in ("lifecycle", *PROBES):
            if container.get(field) is not None:
                detail = "may not be set for init containers without restartPolicy=Always"
                yield FieldError.forbidden(f"{where}.{field}", detail)


def ephemeral_containers(found: list[Obj], path: str, scope: Scope, *, others: Collection[str]) -> Problems:
    """spec.ephemeralContainers; `others` are the names of all other containers."""
    seen = set(others)
    for index, container in enumerate(found):
        where = f"{path}[{index}]"
        yield from _common(container, where, scope)
        yield from image(container, where)
        yield from _once(container, where, seen)
        target = container.get("targetContainerName")
        if target and target not in others:
            yield FieldError.not_found(f"{where}.targetContainerName", target)
        for field in _EPHEMERAL_NOT:
            if container.get(field):
                yield FieldError.forbidden(f"{where}.{field}", "cannot be set for an Ephemeral Container")
        for number, mount in enumerate(container.get("volumeMounts") or ()):
            for field in ("subPath", "subPathExpr"):
                if mount.get(field):
                    detail = "cannot be set for an Ephemeral Container"
                    yield FieldError.forbidden(f"{where}.volumeMounts[{number}].{field}", detail)


def _once(container: Obj, path: str, seen: set[str]) -> Problems:
    name = container.get("name") or ""
    if name and name in seen:
        yield FieldError.duplicate(f"{path}.name", name)
    seen.add(name)


def _common(container: Obj, path: str, scope: Scope) -> Problems:
    yield from follow(container, _COMMON, path)
    if container.get("ports"):
        yield from ports(container["ports"], f"{path}.ports")
    if container.get("env"):
        yield from env(container["env"], f"{path}.env", volumes=scope.volumes)
    if container.get("envFrom"):
        yield from env_from(container["envFrom"], f"{path}.envFrom")
    if container.get("volumeMounts"):
        yield from _mounts(container, path, scope.volumes)
    if container.get("volumeDevices"):
        yield from _devices(container, path, scope.volumes)
    if container.get("resources"):
        yield from requirements(container["resources"], f"{path}.resources", claims=scope.claims)
    if container.get("resizePolicy"):
        yield from _resize(container["resizePolicy"], f"{path}.resizePolicy", policy=scope.policy)
    if container.get("securityContext"):
        where = f"{path}.securityContext"
        yield from container_security(container["securityContext"], where, host_users=scope.host_users)


def image(container: Obj, path: str) -> Problems:
    """What pods ask of an image and templates do not."""
    found = container.get("image") or ""
    if found != found.strip():
        yield FieldError.invalid(f"{path}.image", found, "must not have leading or trailing whitespace")


def _port_number(value: int, path: str) -> Problems:
    yield from (FieldError.invalid(path, value, text) for text in names.port_number(value))


_PORT: Table = {
    "containerPort": need(_port_number),
    "protocol": need(among(*checks.PROTOCOLS)),
}


def ports(found: Collection[Obj], path: str) -> Problems:
    """Container ports."""
    seen: set[str] = set()
    for index, port in enumerate(found):
        where = f"{path}[{index}]"
        if name := port.get("name"):
            problems = [FieldError.invalid(f"{where}.name", name, text) for text in names.port_name(name)]
            yield from problems
            if not problems and name in seen:
                yield FieldError.duplicate(f"{where}.name", name)
            seen.add(name)
        if port.get("containerPort") == 0:
            yield FieldError.required(f"{where}.containerPort")
            port = port | {"containerPort": 1}
        yield from follow(port, _PORT, where)
        if port.get("hostPort"):
            yield from _port_number(port["hostPort"], f"{where}.hostPort")


def _host_ports(found: list[Obj], path: str) -> Problems:
    """No host port is asked for twice."""
    seen: set[str] = set()
    for index, container in enumerate(found):
        for number, port in enumerate(container.get("ports") or ()):
            if not port.get("hostPort"):
                continue
            key = f"{port.get('protocol', 'TCP')}/{port.get('hostIP', '')}/{port['hostPort']}"
            if key in seen:
                yield FieldError.duplicate(f"{path}[{index}].ports[{number}].hostPort", key)
            seen.add(key)


_PROPAGATIONS = ("Bidirectional", "HostToContainer", "None")
_READ_ONLY = ("Disabled", "Enabled", "IfPossible")


def _mounts(container: Obj, path: str, volumes: Mapping[str, Obj]) -> Problems:
    devices = {one.get("name"): one.get("devicePath") for one in container.get("volumeDevices") or ()}
    seen: set[str] = set()
    whole = f"{path}.volumeMounts"
    for index, mount in enumerate(container["volumeMounts"]):
        where = f"{whole}[{index}]"
        name, target = mount.get("name") or "", mount.get("mountPath") or ""
        if not name:
            yield FieldError.required(f"{where}.name")
        if name not in volumes:
            yield FieldError.not_found(f"{where}.name", name)
        if not target:
            yield FieldError.required(f"{where}.mountPath")
        if target in seen:
            yield FieldError.invalid(f"{where}.mountPath", target, "must be unique")
        seen.add(target)
        if name in devices:
            yield FieldError.invalid(f"{where}.name", name, "must not already exist in volumeDevices")
        if target in devices.values():
            detail = "must not already exist as a path in volumeDevices"
            yield FieldError.invalid(f"{where}.mountPath", target, detail)
        yield from _mount_options(container, mount, whole, where)


def _mount_options(container: Obj, mount: Obj, whole: str, path: str) -> Problems:
    if mount.get("subPath"):
        yield from local_path(mount["subPath"], f"{whole}.subPath")
    if expression := mount.get("subPathExpr"):
        if mount.get("subPath"):
            detail = "subPathExpr and subPath are mutually exclusive"
            yield FieldError.invalid(f"{path}.subPathExpr", expression, detail)
        yield from local_path(expression, f"{whole}.subPathExpr")
    propagation = mount.get("mountPropagation")
    if propagation is not None and propagation not in _PROPAGATIONS:
        yield FieldError.not_supported(f"{whole}.mountPropagation", propagation, _PROPAGATIONS)
    if propagation == "Bidirectional" and not (container.get("securityContext") or {}).get("privileged"):
        detail = "Bidirectional mount propagation is available only to privileged containers"
        yield FieldError.forbidden(f"{whole}.mountPropagation", detail)
    recursive, where = mount.get("recursiveReadOnly"), f"{whole}.recursiveReadOnly"
    if recursive in ("Enabled", "IfPossible"):
        if not mount.get("readOnly"):
            yield FieldError.forbidden(where, "may only be specified when readOnly is true")
        if propagation not in (None, "None"):
            detail = "may only be specified when mountPropagation is None or not specified"
            yield FieldError.forbidden(where, detail)
    elif recursive is not None and recursive not in _READ_ONLY:
        yield FieldError.not_supported(where, recursive, _READ_ONLY)


def _devices(container: Obj, path: str, volumes: Mapping[str, Obj]) -> Problems:
    mounts = {one.get("name"): one.get("mountPath") for one in container.get("volumeMounts") or ()}
    paths: set[str] = set()
    taken: set[str] = set()
    for index, device in enumerate(container["volumeDevices"]):
        where = f"{path}.volumeDevices[{index}]"
        name, target = device.get("name") or "", device.get("devicePath") or ""
        volume = volumes.get(name)
        if not name:
            yield FieldError.required(f"{where}.name")
        if name in taken:
            yield FieldError.invalid(f"{where}.name", name, "must be unique")
        if volume is None:
            yield FieldError.not_found(f"{where}.name", name)
        elif volume.get("persistentVolumeClaim") is None and volume.get("ephemeral") is None:
            detail = "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode"
            yield FieldError.invalid(f"{where}.name", name, detail)
        if not target:
            yield FieldError.required(f"{where}.devicePath")
        if target in paths:
            yield FieldError.invalid(f"{where}.devicePath", target, "must be unique")
        if any(no_backsteps(target, where)):
            yield FieldError.invalid(f"{where}.devicePath", target, "can not contain backsteps ('..')")
        if name in mounts:
            yield FieldError.invalid(f"{where}.name", name, "must not already exist in volumeMounts")
        if target in mounts.values():
            detail = "must not already exist as a path in volumeMounts"
            yield FieldError.invalid(f"{where}.devicePath", target, detail)
        paths.add(target)
        taken.add(name)


_RESIZED = ("cpu", "memory")
_RESIZE_POLICIES = ("NotRequired", "RestartContainer")


def _resize(found: list[Obj], path: str, *, policy: str) -> Problems:
    seen: set[str] = set()
    for index, entry in enumerate(found):
        name, restart = entry.get("resourceName") or "", entry.get("restartPolicy") or ""
        if name in seen:
            yield FieldError.duplicate(f"{path}[{index}]", name)
        seen.add(name)
        for value, known in ((name, _RESIZED), (restart, _RESIZE_POLICIES)):
            if not value:
                yield FieldError.required(path)
            elif value not in known:
                yield FieldError.not_supported(path, value, known)
        if policy == "Never" and restart != "NotRequired":
            yield FieldError.invalid(path, restart, "must be 'NotRequired' when `restartPolicy` is 'Never'")


_EXIT_CODES: Table = {
    "operator": given(among("In", "NotIn")),
    "values": may(at_most(255)),
}
_RULE: Table = {
    "action": given(among("Restart", "RestartAllContainers")),
    "exitCodes": need(inside(_EXIT_CODES), "must be specified"),
}
_MOST_RULES = 20


def _restart(container: Obj, path: str) -> Problems:
    """restartPolicy and restartPolicyRules of a container (KEP-5307)."""
    policy, rules = container.get("restartPolicy"), container.get("restartPolicyRules") or []
    if policy is not None:
        yield from among("Always", "Never", "OnFailure")(policy, f"{path}.restartPolicy")
    elif rules:
        yield FieldError.required(f"{path}.restartPolicy", "must specify restartPolicy when restart rules are used")
    yield from at_most(_MOST_RULES)(rules, f"{path}.restartPolicyRules")
    for index, rule in enumerate(rules):
        yield from follow(rule, _RULE, f"{path}.restartPolicyRules[{index}]")
