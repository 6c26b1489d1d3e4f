"""The volumes of one pod on this node's disk: made before its containers, renewed while they run, removed after.

<state>/pods/<uid>/volumes/<name>    files or an empty directory
<state>/pods/<uid>/etc               hosts, resolv.conf, hostname
"""

import ctypes
import logging
import os
import shutil
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from pybernetes.api.objects import Obj

from ..environment import ConfigError, Lookup, number
from .atomic import AtomicDirectory, File
from .content import Bundles, Credentials, Token, files_of, no_bundles, no_credential
from .mounts import VolumeError

log = logging.getLogger(__name__)

WRITTEN = ("configMap", "secret", "downwardAPI", "projected")
_MNT_DETACH = 2
_libc = ctypes.CDLL(None, use_errno=True)


def written(pod: Obj) -> frozenset[str]:
    """Names of the volumes that the kubelet writes: read-only in the containers (kubelet since 1.9.4)."""
    volumes = pod["spec"].get("volumes") or ()
    return frozenset(str(one["name"]) for one in volumes if any(one.get(kind) is not None for kind in WRITTEN))


class PodVolumes:
    """Volumes under `directory`, which is this pod's own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @property
    def etc(self) -> Path:
        return self.directory / "etc"

    def build(
        self,
        pod: Obj,
        *,
        lookup: Lookup,
        token: Token,
        status: Obj,
        allocatable: Mapping[str, str],
        bundles: Bundles = no_bundles,
        credential: Credentials = no_credential,
    ) -> dict[str, Path]:
        """Make or renew all volumes; returns their paths by name. Raises VolumeError naming the volume."""
        (self.directory / "volumes").mkdir(parents=True, exist_ok=True)
        os.chmod(self.directory, 0o750)
        files = partial(
            files_of,
            pod,
            lookup=lookup,
            token=token,
            status=status,
            allocatable=allocatable,
            bundles=bundles,
            credential=credential,
        )
        paths = {}
        for volume in pod["spec"].get("volumes") or ():
            name = volume["name"]
            try:
                paths[name] = self._build(pod, volume, files)
            except (ConfigError, VolumeError, OSError) as error:
                raise VolumeError(f'MountVolume.SetUp failed for volume "{name}" : {error}') from error
        return paths

    def _build(self, pod: Obj, volume: Obj, files: Callable[[Obj], dict[str, File]]) -> Path:
        path = self.directory / "volumes" / str(volume["name"])
        group = (pod["spec"].get("securityContext") or {}).get("fsGroup")
        gid = -1 if group is None else int(group)
        if volume["name"] in written(pod):
            AtomicDirectory(path, gid=gid).write(files(volume))
            return path
        if (source := volume.get("hostPath")) is not None:
            return _host_path(source)
        if (source := volume.get("emptyDir")) is not None or len(volume) == 1:
            return _empty(path, source or {}, gid)
        kind = next((key for key in volume if key != "name"), "")
        raise VolumeError(f"volumes of type {kind} are not supported on this node")

    def remove(self) -> None:
        """Unmount what is ours, then remove what is ours. Nothing of the pod may run any more."""
        base = self.directory / "volumes"
        if base.is_dir():
            for path in base.iterdir():
                if os.path.ismount(path):
                    _libc.umount2(os.fsencode(path), _MNT_DETACH)
        if any(os.path.ismount(path) for path in (base.iterdir() if base.is_dir() else ())):
            log.warning("volume stays mounted directory=%s", base)
            return
        shutil.rmtree(self.directory, ignore_errors=True)


def _empty(path: Path, source: Obj, gid: int) -> Path:
    fresh = not path.is_dir()
    path.mkdir(parents=True, exist_ok=True)
    if source.get("medium") == "Memory" and not os.path.ismount(path):
        limit = int(number(source["sizeLimit"])) if source.get("sizeLimit") else 0
        options = "mode=0777" + (f",size={limit}" if limit else "")
        if _libc.mount(b"tmpfs", os.fsencode(path), b"tmpfs", 0, options.encode()) != 0:
            code = ctypes.get_errno()
            raise OSError(code, f"mount tmpfs: {os.strerror(code)}")
    if fresh:
        if gid >= 0:
            os.chown(path, -1, gid)
        os.chmod(path, 0o2777 if gid >= 0 else 0o777)
    return path


_CHECKS = {
    "Directory": os.path.isdir,
    "File": os.path.isfile,
    "Socket": os.path.exists,
    "CharDevice": os.path.exists,
    "BlockDevice": os.path.exists,
}


def _host_path(source: Obj) -> Path:
    path, kind = Path(source["path"]), source.get("type") or ""
    if kind == "DirectoryOrCreate":
        path.mkdir(parents=True, exist_ok=True, mode=0o755)
    elif kind == "FileOrCreate":
        path.touch(mode=0o644, exist_ok=True)
    elif kind in _CHECKS and not _CHECKS[kind](path):
        raise VolumeError(f"hostPath type check failed: {path} is not a {kind.lower()}")
    elif not kind and not path.exists():
        path.mkdir(parents=True, exist_ok=True, mode=0o755)
    return path
