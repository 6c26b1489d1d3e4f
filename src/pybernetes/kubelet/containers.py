"""From a container of a pod to what a runtime starts: a pure function, everything looked up before."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pybernetes.api.objects import Obj, name_of, namespace_of, uid_of

from .environment import ConfigError, command, number
from .files import hostname
from .runtime.protocol import ContainerSpec, Identity, Limits, Mount

ETC_FILES = ("hosts", "resolv.conf", "hostname")


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What surrounds a container on this node."""

    environment: Mapping[str, str]
    mounts: Sequence[Mount]
    etc: Path
    termination: Path
    log: Path
    node_name: str
    target: str = ""
    """The runtime's id of the container whose processes it sees, for an ephemeral one."""


def container_spec(pod: Obj, container: Obj, attempt: int, setting: Setting) -> ContainerSpec:
    """Raises ConfigError for an identity that the pod forbids."""
    return ContainerSpec(
        name=container["name"],
        attempt=attempt,
        argv=command(container, setting.environment),
        environment=setting.environment,
        directory=str(container.get("workingDir") or ""),
        hostname="" if pod["spec"].get("hostNetwork") else hostname(pod, node_name=setting.node_name),
        mounts=tuple(_mounts(container, setting)),
        limits=limits(container),
        identity=identity(pod, container),
        read_only_root=bool((container.get("securityContext") or {}).get("readOnlyRootFilesystem")),
        tty=bool(container.get("tty")),
        stdin=bool(container.get("stdin")),
        stdin_once=bool(container.get("stdinOnce")),
        log=str(setting.log),
        target=setting.target,
        annotations={
            "io.kubernetes.pod.name": name_of(pod),
            "io.kubernetes.pod.namespace": namespace_of(pod),
            "termination": str(setting.termination),
        },
    )


def _mounts(container: Obj, setting: Setting) -> list[Mount]:
    taken = {mount.target.rstrip("/") for mount in setting.mounts}
    mounts = list(setting.mounts)
    for name in ETC_FILES:
        if f"/etc/{name}" not in taken and "/etc" not in taken:
            mounts.append(Mount(source=str(setting.etc / name), target=f"/etc/{name}"))
    path = str(container.get("terminationMessagePath") or "/dev/termination-log")
    mounts.append(Mount(source=str(setting.termination), target=path))
    return mounts


def limits(container: Obj) -> Limits:
    resources = container.get("resources") or {}
    limit, request = resources.get("limits") or {}, resources.get("requests") or {}
    if not limit and not request:
        return Limits()
    cores = number(request.get("cpu", limit.get("cpu", 0)))
    return Limits(
        memory_bytes=int(number(limit.get("memory", 0))),
        cpu_quota_cores=number(limit.get("cpu", 0)),
        cpu_shares=max(2, int(cores * 1024)),
    )


def identity(pod: Obj, container: Obj) -> Identity:
    """The container's securityContext over the pod's."""
    outer = pod["spec"].get("securityContext") or {}
    inner = container.get("securityContext") or {}

    def setting(name: str) -> object:
        value = inner.get(name)
        return outer.get(name) if value is None else value

    uid, gid = setting("runAsUser"), setting("runAsGroup")
    if setting("runAsNonRoot") and not uid:
        raise ConfigError(
            f'container has runAsNonRoot and image will run as root (pod: "{name_of(pod)}_{namespace_of(pod)}'
            f'({uid_of(pod)})", container: {container["name"]})'
        )
    groups = [int(group) for group in outer.get("supplementalGroups") or ()]
    if outer.get("fsGroup") is not None:
        groups.append(int(outer["fsGroup"]))
    capabilities = inner.get("capabilities") or {}
    return Identity(
        uid=int(str(uid or 0)),
        gid=int(str(gid or 0)),
        groups=tuple(dict.fromkeys(groups)),
        add_capabilities=tuple(capabilities.get("add") or ()),
        drop_capabilities=tuple(capabilities.get("drop") or ()),
        privileged=bool(inner.get("privileged")),
        no_new_privileges=inner.get("allowPrivilegeEscalation") is not True,
    )
