"""Up and down of a whole cluster on this machine.

`up` writes its record before it makes anything, and makes everything in an order that can be repeated; so `up` twice
is one cluster, `up` after a crash mends it, and `down` finds what there is to remove, whatever was interrupted.
"""

import asyncio
import fcntl
import os
import shutil
import socket
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

import msgspec

from pybernetes.api.objects import condition_is, name_of
from pybernetes.api.resources import NODES
from pybernetes.client import Client

from . import checks, network
from .layout import SLOTS, VERSIONS, Layout, Node, Wanted, conflicts, layout_at, problems
from .processes import Processes, Record, inhabitants, stop


class CannotStart(Exception):
    """The cluster cannot be made; the text says why and what to do."""


class Steps(Protocol):
    """How progress is shown (cli.Progress)."""

    def step(self, title: str) -> AbstractContextManager[None]: ...


class Hooks(Protocol):
    """What only the composition knows: configuration files, identities, clients, and the kubelet's clean-up."""

    def configure(self, layout: Layout) -> None:
        """Write the configuration file of the server."""
        ...

    def prepare(self, layout: Layout) -> None:
        """Write certificates and kubeconfigs, and the agents' configuration (kept when there and valid)."""
        ...

    def server_command(self, layout: Layout) -> list[str]: ...

    def agent_command(self, layout: Layout, node: Node) -> list[str]: ...

    def client(self, layout: Layout) -> Client:
        """A client with the administrator's identity."""
        ...

    async def server_ready(self, layout: Layout) -> bool: ...

    async def agent_ready(self, layout: Layout, node: Node) -> bool:
        """Whether a node's kubelet, proxy and DNS have seen the cluster's state."""
        ...

    def end_containers(self, layout: Layout, node: Node) -> None:
        """End all containers of a node and undo the kubelet's mounts."""
        ...


class LocalCluster:
    """One cluster on this machine."""

    def __init__(self, layout: Layout, hooks: Hooks) -> None:
        self.layout = layout
        self.hooks = hooks
        self.processes = Processes(Path(layout.run) / "processes")

    async def up(self, steps: Steps) -> None:
        """Start what is not running and wait until the API answers and all nodes are Ready. Raises CannotStart."""
        layout = self.layout
        with steps.step(f"Network: {layout.size} nodes on {layout.node_range}"):
            self._record()
            network.build(layout)
        with steps.step(f"API server at {layout.server_url}"):
            self.hooks.configure(layout)
            server = self._ensure("server", self.hooks.server_command(layout))
            self.hooks.prepare(layout)  # beside the server's start, which takes longer
            await self._until(lambda: self.hooks.server_ready(layout), [server], "the API server", seconds=60)
        with steps.step(f"{layout.size} nodes Ready"):
            agents = [
                self._ensure(node.name, self.hooks.agent_command(layout, node), namespace=node.namespace)
                for node in layout.nodes()
            ]
            client = self.hooks.client(layout)
            try:
                await self._until(lambda: self._nodes_ready(client), [server, *agents], "the nodes", seconds=60)
                await self._until(self._agents_ready, [server, *agents], "proxy and DNS", seconds=60)
            finally:
                await client.close()

    def down(self, steps: Steps) -> None:
        """End and remove everything; repeats are harmless."""
        with steps.step("Agents and server stopped"):
            records = self.processes.all()
            stop([r for r in records if r.name != "server"], grace_seconds=10)
            stop([r for r in records if r.name == "server"], grace_seconds=10)
        with steps.step("Pods ended"):
            for node in self.layout.nodes():
                self.hooks.end_containers(self.layout, node)
                stop(inhabitants(node.namespace), grace_seconds=0)
        with steps.step("Network and files removed"):
            network.remove(self.layout)
            for directory in (self.layout.run, self.layout.logs, self.layout.state):
                remove_tree(Path(directory))
            for root in (Path(self.layout.logs).parent, Path(self.layout.state).parent):
                if root.is_dir() and not any(root.iterdir()):
                    root.rmdir()

    def status(self) -> Mapping[str, Record | None]:
        """The process of each part, None where it has never been started."""
        return {name: self.processes.find(name) for name in ["server", *(node.name for node in self.layout.nodes())]}

    def _record(self) -> None:
        record = self.layout.record
        record.parent.mkdir(parents=True, exist_ok=True, mode=0o711)
        partial = record.with_suffix(".new")
        partial.write_bytes(msgspec.json.format(msgspec.json.encode(self.layout)))
        os.replace(partial, record)

    def _ensure(self, name: str, argv: list[str], *, namespace: str | None = None) -> Record:
        found = self.processes.find(name)
        if found is not None and found.alive:
            return found
        return self.processes.spawn(name, argv, log=Path(self.layout.logs) / f"{name}.log", namespace=namespace)

    async def _until(
        self, check: Callable[[], Awaitable[bool]], records: list[Record], what: str, *, seconds: float
    ) -> None:
        deadline = asyncio.get_running_loop().time() + seconds
        while not await check():
            for record in records:
                if not record.alive:
                    raise CannotStart(f"{record.name} ended; its last words, from {record.log}:\n{tail(record.log)}")
            if asyncio.get_running_loop().time() > deadline:
                raise CannotStart(f"{what} did not become ready in {seconds:.0f} s; see {self.layout.logs}")
            await asyncio.sleep(0.02)

    async def _nodes_ready(self, client: Client) -> bool:
        found = await client.list(NODES)
        ready = {name_of(node) for node in found.items if condition_is(node, "Ready")}
        return ready >= {node.name for node in self.layout.nodes()}

    async def _agents_ready(self) -> bool:
        return all([await self.hooks.agent_ready(self.layout, node) for node in self.layout.nodes()])


def find(name: str, *, state_root: str) -> Layout | None:
    """The layout of a cluster that `up` has made, None when there is none."""
    try:
        return msgspec.json.decode((Path(state_root) / name / "cluster.json").read_bytes(), type=Layout)
    except FileNotFoundError:
        return None


def all_layouts(state_root: str) -> list[Layout]:
    """All clusters that `up` has made under a state root."""
    records = sorted(Path(state_root).glob("*/cluster.json"))
    return [msgspec.json.decode(path.read_bytes(), type=Layout) for path in records]


def check_machine(wanted: Wanted) -> None:
    """Raises CannotStart with all that is wrong with the wishes, or missing on this machine."""
    if wrong := problems(wanted) or checks.missing(Path(wanted.run_root), versions=VERSIONS[wanted.ip_family]):
        raise CannotStart("\n".join(wrong))


def choose(wanted: Wanted) -> Layout:
    """A layout that fits beside what is there. Raises CannotStart with what is in the way."""
    used, links = network.used_ranges()
    taken = {layout.slot for layout in all_layouts(wanted.state_root)}
    reasons: list[str] = []
    for slot in range(SLOTS):
        layout = layout_at(wanted, slot)
        if slot in taken or (wanted.api_port is None and not _port_free(layout.api_port)):
            reasons.append(f"slot {slot}: taken by another cluster, or port {layout.api_port} is")
            continue
        if not (clash := conflicts(layout, used, links)):
            return layout
        reasons += [f"slot {slot}: {text}" for text in clash]
    raise CannotStart(
        "no free addresses for the cluster; choose others with --pod-range, --service-range, --node-range:\n  "
        + "\n  ".join(reasons)
    )


@contextmanager
def locked(run_root: str) -> Iterator[None]:
    """One `up` or `down` at a time on this machine. The last to leave takes the lock's file with it."""
    path = Path(run_root) / "lock"
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if not _is_at(file.fileno(), path):
                continue  # whoever had it removed the file: it locks nothing any more
            try:
                yield
            finally:
                if [entry.name for entry in path.parent.iterdir()] == ["lock"]:
                    path.unlink()
                    path.parent.rmdir()
            return


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def remove_tree(directory: Path) -> None:
    """Remove a directory of ours. Refuses while something is mounted in it: unlinking would detach it elsewhere."""
    prefix = f"{directory}/"
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    if inside := [point for point in mounts if point.startswith(prefix)]:
        raise CannotStart(f"still mounted, so not removed: {', '.join(inside)}")
    shutil.rmtree(directory, ignore_errors=False) if directory.exists() else None


def tail(path: str, lines: int = 15) -> str:
    """The last lines of a log."""
    try:
        return "\n".join("    " + line for line in Path(path).read_text(errors="replace").splitlines()[-lines:])
    except FileNotFoundError:
        return "    (no log)"


def _port_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def python_command(*arguments: str) -> list[str]:
    """argv that runs this very installation."""
    return [sys.executable, "-m", "pybernetes.app.main", *arguments]
