"""volumeMounts of a container as binds of host paths; a subPath can never lead out of its volume."""

import os
import stat
from collections.abc import Container, Mapping
from pathlib import Path

from pybernetes.api.objects import Obj

from ..environment import expand
from ..runtime.protocol import Mount


class VolumeError(Exception):
    """A volume cannot be given to the pod: a FailedMount event, tried again later."""


def mounts(
    container: Obj, paths: Mapping[str, Path], variables: Mapping[str, str], *, ours: Container[str] = ()
) -> list[Mount]:
    """Volumes named in `ours` are only read by the pod. Raises VolumeError for a subPath that leaves its volume."""
    result = []
    for entry in container.get("volumeMounts") or ():
        path = paths.get(entry["name"])
        if path is None:
            raise VolumeError(f'volume "{entry["name"]}" is not of the pod')
        sub = entry.get("subPath") or ""
        if entry.get("subPathExpr"):
            sub = expand(entry["subPathExpr"], variables)
        source = str(path) if not sub else _inside(path, sub)
        result.append(
            Mount(
                source=source,
                target=str(entry["mountPath"]),
                read_only=bool(entry.get("readOnly")) or entry["name"] in ours,
                propagate=entry.get("mountPropagation") in ("HostToContainer", "Bidirectional"),
            )
        )
    return result


def _inside(volume: Path, sub: str) -> str:
    if os.path.isabs(sub) or ".." in Path(sub).parts:
        raise VolumeError(f"subPath {sub!r} must be relative and without '..'")
    root = os.path.realpath(volume)
    path = os.path.realpath(os.path.join(root, sub))
    if path != root and not path.startswith(root + os.sep):
        raise VolumeError(f"subPath {sub!r} leads out of its volume")
    if not os.path.exists(path):
        mode = stat.S_IMODE(os.stat(root).st_mode)
        os.makedirs(path, exist_ok=True)
        os.chmod(path, mode)
    return path
