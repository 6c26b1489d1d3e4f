"""Security contexts of pods and containers, for Linux and Windows (core/validation)."""

import re

from .. import names
from ..errors import FieldError
from ..objects import Obj, annotations_of
from .rules import Check, Problems, Table, among, each, follow, given, inside, matching, may, no_longer_than
from .walks import every_container

_MOST_ID = (1 << 31) - 1
_LONGEST_PROFILE = 4095
_SYSCTL = re.compile(r"([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?")
_SYSCTL_TEXT = f"must have at most 253 characters and match regex ^{_SYSCTL.pattern}$"
_IPC_SYSCTLS = ("kernel.shm", "kernel.msg", "kernel.sem", "fs.mqueue.")


def _id(value: int, path: str) -> Problems:
    if not 0 <= value <= _MOST_ID:
        yield FieldError.invalid(path, value, f"must be between 0 and {_MOST_ID}, inclusive")


def local_path(value: str, path: str) -> Problems:
    """A path that stays below where it starts."""
    if value.startswith("/"):
        yield FieldError.invalid(path, value, "must be a relative path")
    yield from no_backsteps(value, path)


def no_backsteps(value: str, path: str) -> Problems:
    if ".." in value.split("/"):
        yield FieldError.invalid(path, value, "must not contain '..'")


def _profile(kind: str, title: str, local_rule: Check) -> Check:
    """A SeccompProfile or AppArmorProfile: a type, and a local name with type Localhost alone."""
    types = ("Localhost", "RuntimeDefault", "Unconfined")

    def check(profile: Obj, path: str) -> Problems:
        found, local = profile.get("type"), profile.get("localhostProfile")
        if not found:
            yield FieldError.required(f"{path}.type", f"type is required when {kind} is set")
        elif found not in types:
            yield FieldError.not_supported(f"{path}.type", found, types)
        where = f"{path}.localhostProfile"
        if found == "Localhost":
            if local is None:
                yield FieldError.required(where, f"must be set when {title} type is Localhost")
            else:
                yield from local_rule(local, where)
        elif local is not None:
            yield FieldError.invalid(where, local, f"can only be set when {title} type is Localhost")

    return check


def _armor_name(value: str, path: str) -> Problems:
    if value != value.strip():
        yield FieldError.invalid(path, value, "must not be padded with whitespace")
    elif not value:
        yield FieldError.required(path, "must be set when AppArmor type is Localhost")
    yield from no_longer_than(_LONGEST_PROFILE)(value, path)


seccomp = _profile("seccompProfile", "seccomp", local_path)
app_armor = _profile("appArmorProfile", "AppArmor", _armor_name)

_NETBIOS = re.compile(r'[^\\/:*?"<>|.][^\\/:*?"<>|]{0,14}')
_DOMAIN_PART = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
_DOMAIN = re.compile(rf"{_DOMAIN_PART}(?:\.{_DOMAIN_PART})*")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_BAD_USER = re.compile(r'["/\\:;|=,+*?<>@\[\]]')
_MOST_SPEC_KIB = 64


def _windows_user(name: str, path: str) -> Problems:
    for text in _windows_user_problems(name):
        yield FieldError.invalid(path, name, f"runAsUserName{text}")


def _windows_user_problems(name: str) -> list[str]:
    if not name:
        return [" cannot be an empty string"]
    if _CONTROL.search(name):
        return [" cannot contain control characters"]
    if name.count("\\") > 1:
        return [" cannot contain more than one backslash"]
    domain, has_domain, user = name.rpartition("\\")
    wrong = {
        "'s Domain length must be under 256 characters": len(domain) >= 256,
        "'s Domain doesn't match the NetBios nor the DNS format": bool(has_domain)
        and not (_NETBIOS.fullmatch(domain) or _DOMAIN.fullmatch(domain)),
        "'s User cannot be empty": not user,
        "'s User length must not be longer than 104 characters": len(user) > 104,
        "'s User cannot contain only periods or spaces": bool(user) and not user.strip(". "),
        "'s User cannot contain the following characters: \"/\\:;|=,+*?<>@[]": bool(_BAD_USER.search(user)),
    }
    return [text for text, found in wrong.items() if found]


def _gmsa_spec(spec: str, path: str) -> Problems:
    if not spec:
        yield FieldError.invalid(path, spec, "gmsaCredentialSpec cannot be an empty string")
    elif len(spec.encode()) > _MOST_SPEC_KIB * 1024:
        yield FieldError.invalid(path, spec, f"gmsaCredentialSpec size must be under {_MOST_SPEC_KIB} KiB")


_WINDOWS: Table = {
    "gmsaCredentialSpecName": given(matching(names.subdomain)),
    "gmsaCredentialSpec": given(_gmsa_spec),
    "runAsUserName": given(_windows_user),
}
_POD: Table = {
    "fsGroup": given(_id),
    "runAsUser": given(_id),
    "runAsGroup": given(_id),
    "supplementalGroups": may(each(_id)),
    "fsGroupChangePolicy": given(among("Always", "OnRootMismatch")),
    "seccompProfile": given(seccomp),
    "windowsOptions": may(inside(_WINDOWS)),
    "appArmorProfile": given(app_armor),
    "supplementalGroupsPolicy": given(among("Merge", "Strict")),
    "seLinuxChangePolicy": given(among("MountOption", "Recursive")),
}
_CONTAINER: Table = {
    "runAsUser": given(_id),
    "runAsGroup": given(_id),
    "procMount": given(among("Default", "Unmasked")),
    "seccompProfile": given(seccomp),
    "windowsOptions": may(inside(_WINDOWS)),
    "appArmorProfile": given(app_armor),
}


def pod_security(spec: Obj, path: str) -> Problems:
    """spec.securityContext, and what stands beside it: host namespaces, user namespaces, host processes."""
    found: Obj = spec.get("securityContext") or {}
    where = f"{path}.securityContext"
    if found:
        yield from follow(found, _POD, where)
        if found.get("sysctls"):
            yield from _sysctls(spec, found["sysctls"], f"{where}.sysctls")
    if spec.get("hostPID") and spec.get("shareProcessNamespace"):
        detail = "ShareProcessNamespace and HostPID cannot both be enabled"
        yield FieldError.invalid(f"{where}.shareProcessNamespace", True, detail)
    if spec.get("hostUsers") is False:
        for field, shown in (("hostNetwork", "hostNetwork"), ("hostPID", "HostPID"), ("hostIPC", "HostIPC")):
            if spec.get(field):
                yield FieldError.forbidden(f"{path}.{shown}", "when `pod.Spec.HostUsers` is false")
    yield from _host_processes(spec, path)


def _sysctls(spec: Obj, found: list[Obj], path: str) -> Problems:
    seen: set[str] = set()
    for index, entry in enumerate(found):
        where, name = f"{path}[{index}].name", entry.get("name") or ""
        if not name:
            yield FieldError.required(where)
        elif len(name) > 253 or not _SYSCTL.fullmatch(name):
            yield FieldError.invalid(where, name, _SYSCTL_TEXT)
        elif name in seen:
            yield FieldError.duplicate(where, name)
        seen.add(name)
        dotted = name.replace("/", ".")
        if spec.get("hostNetwork") and dotted.startswith("net."):
            yield FieldError.invalid(where, name, "may not be specified when 'hostNetwork' is true")
        elif spec.get("hostIPC") and dotted.startswith(_IPC_SYSCTLS):
            yield FieldError.invalid(where, name, "may not be specified when 'hostIPC' is true")


def container_security(found: Obj, path: str, *, host_users: bool) -> Problems:
    yield from follow(found, _CONTAINER, path)
    if host_users and found.get("procMount") == "Unmasked":
        yield FieldError.invalid(f"{path}.procMount", "Unmasked", "`hostUsers` must be false to use `Unmasked`")
    if found.get("allowPrivilegeEscalation") is False:
        if found.get("privileged"):
            detail = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true"
            yield FieldError.invalid(path, found, detail)
        if "CAP_SYS_ADMIN" in ((found.get("capabilities") or {}).get("add") or ()):
            detail = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN"
            yield FieldError.invalid(path, found, detail)


def _host_processes(spec: Obj, path: str) -> Problems:
    """Windows HostProcess containers: all of a pod or none, and on the host's network."""
    whole = _host_process(spec)
    kinds: list[bool] = []
    for container, where in every_container(spec, path):
        own = _host_process(container)
        if whole is not None and own is not None and own != whole:
            detail = f"pod hostProcess value must be identical if both are specified, was {str(whole).lower()}"
            yield FieldError.invalid(f"{where}.securityContext.windowsOptions.hostProcess", own, detail)
        kinds.append(bool(whole if own is None else own))
    if not any(kinds):
        return
    if not all(kinds):
        detail = "If pod contains any hostProcess containers then all containers must be HostProcess containers"
        yield FieldError.invalid(path, "", detail)
    if not spec.get("hostNetwork"):
        detail = "hostNetwork must be true if pod contains any hostProcess containers"
        yield FieldError.invalid(f"{path}.hostNetwork", False, detail)


def _host_process(owner: Obj) -> bool | None:
    found: bool | None = ((owner.get("securityContext") or {}).get("windowsOptions") or {}).get("hostProcess")
    return found


_SYSTEMS = ("linux", "windows")
_NOT_ON_WINDOWS = ("hostUsers", "hostPID", "hostIPC", "shareProcessNamespace")
_NOT_ON_WINDOWS_POD = (
    *("appArmorProfile", "seLinuxOptions", "seccompProfile", "fsGroup", "fsGroupChangePolicy", "sysctls", "runAsUser"),
    *("runAsGroup", "supplementalGroups", "supplementalGroupsPolicy", "seLinuxChangePolicy"),
)
_NOT_ON_WINDOWS_CONTAINER = (
    *("appArmorProfile", "seLinuxOptions", "seccompProfile", "capabilities", "readOnlyRootFilesystem", "privileged"),
    *("allowPrivilegeEscalation", "procMount", "runAsUser", "runAsGroup"),
)


def system(spec: Obj, path: str) -> Problems:
    """spec.os, and what pods of that system cannot have."""
    found = spec.get("os")
    if found is None:
        return
    name = found.get("name") or ""
    if not name:
        yield FieldError.required(f"{path}.os.name", "cannot be empty")
    elif name not in _SYSTEMS:
        yield FieldError.not_supported(f"{path}.os", name, _SYSTEMS)
    elif name == "linux":
        yield from _without(spec, path, (), ("windowsOptions",), detail="windows options cannot be set for a linux pod")
    else:
        for field in _NOT_ON_WINDOWS:
            if spec.get(field) is not None and (field in ("hostUsers", "shareProcessNamespace") or spec[field]):
                yield FieldError.forbidden(f"{path}.{field}", "cannot be set for a windows pod")
        pod, container = _NOT_ON_WINDOWS_POD, _NOT_ON_WINDOWS_CONTAINER
        yield from _without(spec, path, pod, container, detail="cannot be set for a windows pod")


def _without(spec: Obj, path: str, pod: tuple[str, ...], container: tuple[str, ...], *, detail: str) -> Problems:
    for field in pod or container:
        if (spec.get("securityContext") or {}).get(field) is not None:
            yield FieldError.forbidden(f"{path}.securityContext.{field}", detail)
    for one, where in every_container(spec, path):
        for field in container:
            if (one.get("securityContext") or {}).get(field) is not None:
                yield FieldError.forbidden(f"{where}.securityContext.{field}", detail)


MIRROR = "kubernetes.io/config.mirror"
_SECCOMP_POD = "seccomp.security.alpha.kubernetes.io/pod"
_SECCOMP_CONTAINER = "container.seccomp.security.alpha.kubernetes.io/"
APP_ARMOR = "container.apparmor.security.beta.kubernetes.io/"
_SECCOMP_WORDS = {"runtime/default", "docker/default", "unconfined"}
_ARMOR_WORDS = {"", "runtime/default", "unconfined"}
_LOCAL = "localhost/"


def pod_annotations(obj: Obj, spec: Obj, path: str) -> Problems:
    """Annotations of a pod or template that mean something to a kubelet (ValidatePodSpecificAnnotations)."""
    notes = annotations_of(obj)
    if not notes:
        return
    if MIRROR in notes and not spec.get("nodeName"):
        detail = "must set spec.nodeName if mirror pod annotation is set"
        yield FieldError.invalid(f"{path}[{MIRROR}]", notes[MIRROR], detail)
    cost = "controller.kubernetes.io/pod-deletion-cost"
    if cost in notes and not _is_cost(notes[cost]):
        yield FieldError.invalid(f"{path}[{cost}]", notes[cost], "must be a 32bit integer")
    for key, value in notes.items():
        if key == _SECCOMP_POD or key.startswith(_SECCOMP_CONTAINER):
            yield from _seccomp_word(value, f"{path}.{key}")
        elif key.startswith(APP_ARMOR):
            name = key.removeprefix(APP_ARMOR)
            if not any(one.get("name") == name for one, _ in every_container(spec, "")):
                yield FieldError.invalid(f"{path}[{key}]", name, "container not found")
            if value not in _ARMOR_WORDS and not value.startswith(_LOCAL):
                yield FieldError.invalid(f"{path}[{key}]", value, f'invalid AppArmor profile name: "{value}"')


def _is_cost(text: str) -> bool:
    if not re.fullmatch(r"0|-?[1-9][0-9]*", text):
        return False
    return -(1 << 31) <= int(text) <= _MOST_ID


def _seccomp_word(value: str, path: str) -> Problems:
    if value.startswith(_LOCAL):
        yield from local_path(value.removeprefix(_LOCAL), path)
    elif value not in _SECCOMP_WORDS:
        yield FieldError.invalid(path, value, "must be a valid seccomp profile")
