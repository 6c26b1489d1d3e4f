"""A whole cluster on this machine for a test: the commands a user types, run as a user runs them."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pybernetes.local.layout import Layout
from pybernetes.netlink.links import Links

BIN = Path(sys.executable).parent


class Local:
    """One named cluster with directories of its own; `down` is called by the fixture whatever happens."""

    def __init__(self, name: str, root: Path) -> None:
        self.name = name
        self.root = root
        self.environment = os.environ | {
            "PYBERNETES_STATE_ROOT": f"{root}/state",
            "PYBERNETES_RUN_ROOT": f"{root}/run",
            "PYBERNETES_LOG_ROOT": f"{root}/log",
            "HOME": str(root),
            "KUBECONFIG": f"{root}/state/{name}/kubeconfig",
        }

    def run(
        self, *argv: str, check: bool = True, text: str = "", user: int | None = None
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            argv, env=self.environment, input=text, capture_output=True, text=True, timeout=200, check=False, user=user
        )
        if check and done.returncode != 0:
            raise AssertionError(f"{argv} ended with {done.returncode}\n{done.stdout}\n{done.stderr}\n{self.logs()}")
        return done

    def pybernetes(self, command: str, *argv: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.run(str(BIN / "pybernetes"), *command.split(), *argv, "--name", self.name, check=check)

    def kubectl(self, *argv: str, text: str = "") -> str:
        return self.run(str(BIN / "kubectl"), *argv, text=text).stdout

    def refused(self, *argv: str, text: str = "") -> str:
        """What kubectl says of a command that must fail."""
        done = self.run(str(BIN / "kubectl"), *argv, text=text, check=False)
        assert done.returncode != 0, done.stdout
        return done.stderr

    def get(self, *argv: str) -> Any:
        return json.loads(self.kubectl("get", *argv, "-o", "json"))

    def until(self, holds: Callable[[], Any], *, seconds: float = 90, what: str = "") -> Any:
        deadline = time.monotonic() + seconds
        while not (value := holds()):
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {seconds} s: {what or holds}\n{self.logs()}")
            time.sleep(0.1)
        return value

    def processes(self) -> dict[str, int]:
        """Part -> pid, as recorded."""
        records = Path(f"{self.root}/run/{self.name}/processes").glob("*.json")
        return {path.stem: int(json.loads(path.read_bytes())["pid"]) for path in records}

    def logs(self, lines: int = 30) -> str:
        texts = []
        for path in sorted(Path(f"{self.root}/log").glob("*/*.log")):
            tail = path.read_text(errors="replace").splitlines()[-lines:]
            texts.append(f"--- {path}\n" + "\n".join(tail))
        return "\n".join(texts)


def container_processes(api_address: str) -> set[int]:
    """What runs in a cluster's pods (it knows its API server's address), and the shims and zygotes above it."""
    found = set()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            environment = (entry / "environ").read_bytes().split(b"\0")
            if f"KUBERNETES_SERVICE_HOST={api_address}".encode() in environment and alive(entry):
                found |= {int(entry.name), parent(entry)}
        except OSError:
            continue
    return {pid for pid in found if pid > 1 and alive(Path(f"/proc/{pid}"))}


def alive(entry: Path) -> bool:
    """Whether a process (its directory in /proc) runs and is no zombie."""
    try:
        return (entry / "stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def parent(entry: Path) -> int:
    return int((entry / "stat").read_text().rpartition(")")[2].split()[1])


def leftovers(layout: Layout, root: Path) -> list[str]:
    """What of a cluster is still on the machine: mounts, its link, routes, control groups, processes."""
    found = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(root) in line]
    with Links() as host:
        found += [f"link {link.name}" for link in host.list() if link.name == layout.host_link]
        found += [f"route {route.destination}" for route in host.routes() if route.destination in layout.ranges]
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if state not in "ZX" and f"{root}/" in command:
            found.append(f"process {entry.name}: {command}")
    return found
