"""The cluster of one run: in a root of its own, with the webhook registered, and gone afterwards whatever happens."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from .places import Places
from .webhook import serving

NAME = "upstream"
NODES = 2
_HERE = Path(__file__).parent
_DOWN_SECONDS = 120


class NoCluster(Exception):
    """The cluster did not start; what it said is on the terminal."""


@contextmanager
def cluster(places: Places, *, webhook: bool) -> Iterator[Path]:
    """The kubeconfig of a cluster that stands while the block runs, with the webhook or without. Raises NoCluster."""
    kept = str(places.kept)
    program = str(places.checkout / ".venv" / "bin" / "pybernetes")
    argv = ["unshare", "--mount", "sh", str(_HERE / "root.sh"), kept, program, NAME, "--nodes", str(NODES)]
    places.cluster.mkdir(parents=True, exist_ok=True)
    with serving(places.kept / "webhook") as hook:
        holder = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True, text=True
        )
        try:
            if _said(holder.stdout).readline() != "ready\n":
                raise NoCluster("the cluster did not start")
            kubeconfig = places.cluster / "state" / NAME / "kubeconfig"
            if webhook:
                _register(places, kubeconfig, hook)
            yield kubeconfig
        finally:
            _end(holder)


def _register(places: Places, kubeconfig: Path, hook: dict[str, Any]) -> None:
    kubectl = [str(places.checkout / ".venv" / "bin" / "kubectl"), "--kubeconfig", str(kubeconfig)]
    subprocess.run([*kubectl, "create", "-f", "-"], input=json.dumps(hook), text=True, check=True, capture_output=True)


def _end(holder: subprocess.Popen[str]) -> None:
    """Its input ends: it takes the cluster down, and its mounts go with it."""
    assert holder.stdin is not None
    holder.stdin.close()
    holder.wait(_DOWN_SECONDS)
    _said(holder.stdout).close()


def _said(stream: IO[str] | None) -> IO[str]:
    assert stream is not None
    return stream
