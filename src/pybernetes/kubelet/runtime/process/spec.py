"""From a ContainerSpec to what the zygote reads: one flat JSON object, every decision taken."""

import os
import pwd
from pathlib import Path
from typing import Any, NamedTuple

from ..protocol import ContainerSpec, Identity
from .cgroups import Group

CAPABILITIES = (
    "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP",
    "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER",
    "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE",
    "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP",
    "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF",
    "CHECKPOINT_RESTORE",
)  # fmt: skip
"""By number, from 0 (capabilities(7))."""

DEFAULT_CAPABILITIES = 0xA80425FB
"""The fourteen that container engines leave by default."""

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Place(NamedTuple):
    """Where a container is put."""

    base: str
    netns: str
    pidns: str
    """The file of the process namespace to join, "" for a new one."""
    overlay: bool
    hidden: tuple[str, ...]
    log_max_bytes: int
    log_files: int


def zygote_spec(spec: ContainerSpec, place: Place, group: Group) -> dict[str, Any]:
    identity = spec.identity
    return {
        "argv": list(spec.argv),
        "environment": _environment(spec),
        "directory": spec.directory or "/",
        "hostname": spec.hostname,
        "netns": place.netns,
        "pidns": place.pidns,
        "ipcns": "",
        "base": place.base,
        "overlay": place.overlay,
        "hidden": list(place.hidden),
        "mounts": [
            {"source": m.source, "target": m.target, "read_only": m.read_only, "propagate": m.propagate}
            for m in spec.mounts
        ],
        "cgroups": list(group.directories),
        "oom": group.oom,
        "uid": identity.uid,
        "gid": identity.gid,
        "groups": list(identity.groups),
        "capabilities": capability_mask(identity),
        "last_capability": _last_capability(),
        "privileged": identity.privileged,
        "no_new_privileges": identity.no_new_privileges and not identity.privileged,
        "read_only_root": spec.read_only_root,
        "tty": spec.tty,
        "stdin": spec.stdin,
        "stdin_once": spec.stdin_once,
        "log": spec.log,
        "log_max_bytes": place.log_max_bytes,
        "log_files": place.log_files,
    }


def capability_mask(identity: Identity) -> int:
    """The default set, less `drop`, plus `add`; ALL is every one this kernel knows."""
    everything = (1 << (_last_capability() + 1)) - 1
    if identity.privileged:
        return everything
    mask = DEFAULT_CAPABILITIES
    if "ALL" in identity.add_capabilities:
        mask = everything
    for name in identity.drop_capabilities:
        mask = 0 if name == "ALL" else mask & ~_bit(name)
    for name in identity.add_capabilities:
        mask |= 0 if name == "ALL" else _bit(name)
    return mask & everything


def _bit(name: str) -> int:
    plain = name.upper().removeprefix("CAP_")
    return 1 << CAPABILITIES.index(plain) if plain in CAPABILITIES else 0


def _last_capability() -> int:
    return int(Path("/proc/sys/kernel/cap_last_cap").read_text())


def _environment(spec: ContainerSpec) -> dict[str, str]:
    """What engines add when the pod does not say: PATH, HOME, HOSTNAME, TERM."""
    base = {"PATH": DEFAULT_PATH, "HOSTNAME": spec.hostname or os.uname().nodename}
    if spec.tty:
        base["TERM"] = "xterm"
    try:
        base["HOME"] = pwd.getpwuid(spec.identity.uid).pw_dir
    except KeyError:
        base["HOME"] = "/"
    return base | dict(spec.environment)
