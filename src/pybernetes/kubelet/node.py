"""The Node object: registered, kept true, and its Lease renewed; pure texts below, the shell that writes them above.

The lease says "alive" every few seconds; the status is written when it changes, and now and then.
"""

import asyncio
import contextlib
import logging
import os
import platform
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

from pybernetes import __version__
from pybernetes.api import times
from pybernetes.api.errors import AlreadyExists, ApiError, NotFound
from pybernetes.api.objects import Key, Obj, condition, uid_of
from pybernetes.api.resources import LEASES, NODES
from pybernetes.client import Client

from .config import KubeletConfig
from .status import difference

log = logging.getLogger(__name__)

LEASE_NAMESPACE = "kube-node-lease"
VERSION = "v1.37.0"
_MEMORY_PRESSURE_BYTES = 100 << 20
_DISK_PRESSURE_SHARE = 0.05
_PID_PRESSURE_SHARE = 0.95
_FIRST_RETRY, _LAST_RETRY = 0.1, 5.0


class NodeKeeper:
    """Registers and heartbeats; `registered` is set, and `node` is there, once the API knows this node."""

    def __init__(
        self,
        client: Client,
        config: KubeletConfig,
        *,
        clock: Callable[[], float],
        problem: Callable[[], str],
    ) -> None:
        """`problem` says why the node is not ready, "" when it is."""
        self.client = client
        self.config = config
        self.clock = clock
        self.problem = problem
        self.registered = asyncio.Event()
        self.node: Obj = {}
        self.capacity = capacity(config)
        self.written: Callable[[], None] = lambda: None
        """Called when the status was written, which may have other addresses."""
        self._changed = asyncio.Event()

    @property
    def allocatable(self) -> Mapping[str, str]:
        return self.capacity

    @property
    def pod_ranges(self) -> tuple[str, ...]:
        """spec.podCIDRs, () until somebody has given them."""
        return tuple((self.node.get("spec") or {}).get("podCIDRs") or ())

    def nudge(self) -> None:
        """Write the status now if it differs."""
        self._changed.set()

    async def run(self) -> None:
        await self._retrying(self._register, "node not registered")
        self.registered.set()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._renew_lease(), name="lease")
            group.create_task(self._keep_status(), name="node-status")

    async def _register(self) -> None:
        wanted = node_object(self.config)
        try:
            self.node = await self.client.create(NODES, wanted)
        except AlreadyExists:
            self.node = await self.client.get(NODES, Key("", self.config.node_name))
            labels = wanted["metadata"]["labels"]
            if any((self.node["metadata"].get("labels") or {}).get(name) != value for name, value in labels.items()):
                self.node = await self.client.patch(
                    NODES, Key("", self.config.node_name), {"metadata": {"labels": labels}}
                )
        await self._write_status()

    async def _keep_status(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.config.status_seconds):
                    await self._changed.wait()
            self._changed.clear()
            await self._retrying(self._write_status, "node status not written")

    async def _write_status(self) -> None:
        key = Key("", self.config.node_name)
        self.node = await self.client.get(NODES, key)
        now = self.clock()
        status = node_status(self.node, self.config, self.capacity, problem=self.problem(), now=now)
        patch = difference(self.node.get("status") or {}, status)
        if patch:
            self.node = await self.client.patch(NODES, key, {"status": patch}, subresource="status")
            self.written()

    async def _renew_lease(self) -> None:
        while True:
            if await self._retrying(self._renew, "lease not renewed"):
                self.nudge()  # we were cut off; meanwhile somebody may have written that this node is not ready
            await asyncio.sleep(self.config.lease_seconds)

    async def _renew(self) -> None:
        key = Key(LEASE_NAMESPACE, self.config.node_name)
        stamp = times.micro_stamp(self.clock())
        async with asyncio.timeout(max(2.0, self.config.lease_seconds)):
            try:
                await self.client.patch(LEASES, key, {"spec": {"renewTime": stamp}})
            except NotFound:
                try:
                    await self.client.create(LEASES, self._lease(stamp))
                except NotFound:  # the namespace for leases, or this node, is not there (any more)
                    await self._register()
                    raise

    def _lease(self, stamp: str) -> Obj:
        name = self.config.node_name
        owner = {"apiVersion": "v1", "kind": "Node", "name": name, "uid": uid_of(self.node)}
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": name, "namespace": LEASE_NAMESPACE, "ownerReferences": [owner]},
            "spec": {
                "holderIdentity": name,
                "leaseDurationSeconds": int(self.config.lease_duration_seconds),
                "renewTime": stamp,
            },
        }

    async def _retrying(self, attempt: Callable[[], Awaitable[None]], what: str) -> bool:
        """Until it succeeds; says whether it had to be tried again."""
        wait = _FIRST_RETRY
        while True:
            try:
                await attempt()
                return wait > _FIRST_RETRY
            except NotFound as error:
                log.info("%s node=%s error=%s", what, self.config.node_name, error)
                if attempt == self._write_status:  # somebody deleted the node: come back
                    with contextlib.suppress(ApiError, ConnectionError, TimeoutError):
                        await self._register()
            except (ApiError, ConnectionError, TimeoutError) as error:
                log.info("%s node=%s error=%s", what, self.config.node_name, error)
            await asyncio.sleep(wait)
            wait = min(wait * 2, _LAST_RETRY, max(0.5, self.config.lease_seconds / 2))


# What a node says of itself


def node_object(config: KubeletConfig) -> Obj:
    """The Node as it is registered."""
    spec: Obj = {}
    if config.pod_ranges:
        spec = {"podCIDR": config.pod_ranges[0], "podCIDRs": list(config.pod_ranges)}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": config.node_name, "labels": node_labels(config)},
        "spec": spec,
    }


def node_labels(config: KubeletConfig) -> dict[str, str]:
    arch = architecture()
    return {
        "beta.kubernetes.io/arch": arch,
        "beta.kubernetes.io/os": "linux",
        "kubernetes.io/arch": arch,
        "kubernetes.io/hostname": config.node_name,
        "kubernetes.io/os": "linux",
    } | dict(config.labels)


def architecture() -> str:
    """As Go names it."""
    machine = platform.machine()
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)


def capacity(config: KubeletConfig) -> dict[str, str]:
    disk = os.statvfs(config.state_directory if os.path.isdir(config.state_directory) else "/")
    return {
        "cpu": str(len(os.sched_getaffinity(0))),
        "memory": f"{memory()['MemTotal'] // 1024}Ki",
        "ephemeral-storage": f"{disk.f_blocks * disk.f_frsize // 1024}Ki",
        "pods": str(config.max_pods),
    }


def memory() -> dict[str, int]:
    """/proc/meminfo in bytes."""
    found = {}
    for line in Path("/proc/meminfo").read_text().splitlines():
        name, _, rest = line.partition(":")
        words = rest.split()
        found[name] = int(words[0]) * (1024 if len(words) > 1 else 1)
    return found


def node_status(node: Obj, config: KubeletConfig, capacity: Mapping[str, str], *, problem: str, now: float) -> Obj:
    """The parts of the status that the kubelet owns."""
    return {
        "addresses": [
            *({"type": "InternalIP", "address": address} for address in config.node_addresses),
            {"type": "Hostname", "address": config.node_name},
        ],
        "capacity": dict(capacity),
        "allocatable": dict(capacity),
        "conditions": _conditions(node, problem=problem, now=now),
        "daemonEndpoints": {"kubeletEndpoint": {"Port": config.port}},
        "nodeInfo": node_info(),
        "images": [],
    }


def node_info() -> Obj:
    release = {}
    with contextlib.suppress(OSError):
        for line in Path("/etc/os-release").read_text().splitlines():
            name, _, value = line.partition("=")
            release[name] = value.strip('"')
    return {
        "machineID": _line("/etc/machine-id"),
        "systemUUID": _line("/sys/class/dmi/id/product_uuid") or _line("/etc/machine-id"),
        "bootID": _line("/proc/sys/kernel/random/boot_id"),
        "kernelVersion": platform.release(),
        "osImage": release.get("PRETTY_NAME", "Linux"),
        "containerRuntimeVersion": f"pybernetes://{__version__}",
        "kubeletVersion": VERSION,
        "kubeProxyVersion": "",
        "operatingSystem": "linux",
        "architecture": architecture(),
    }


def _line(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def _conditions(node: Obj, *, problem: str, now: float) -> list[Obj]:
    rows: Sequence[tuple[str, bool, bool, tuple[str, str], tuple[str, str]]] = (
        (
            "MemoryPressure",
            memory().get("MemAvailable", _MEMORY_PRESSURE_BYTES) < _MEMORY_PRESSURE_BYTES,
            False,
            ("KubeletHasInsufficientMemory", "kubelet has insufficient memory available"),
            ("KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
        ),
        (
            "DiskPressure",
            _disk_share() < _DISK_PRESSURE_SHARE,
            False,
            ("KubeletHasDiskPressure", "kubelet has disk pressure"),
            ("KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        ),
        (
            "PIDPressure",
            _pid_share() > _PID_PRESSURE_SHARE,
            False,
            ("KubeletHasInsufficientPID", "kubelet has insufficient PID available"),
            ("KubeletHasSufficientPID", "kubelet has sufficient PID available"),
        ),
        ("Ready", not problem, True, ("KubeletReady", "kubelet is posting ready status"), ("KubeletNotReady", problem)),
    )
    ours = [_condition(node, kind, true, yes if true else no, now) for kind, true, _, yes, no in rows]
    names = {entry["type"] for entry in ours}
    others = (node.get("status") or {}).get("conditions") or ()
    return [*(entry for entry in others if entry["type"] not in names), *ours]


def _condition(node: Obj, kind: str, true: bool, words: tuple[str, str], now: float) -> Obj:
    status = "True" if true else "False"
    old = condition(node, kind)
    same = old is not None and old.get("status") == status
    return {
        "type": kind,
        "status": status,
        "lastHeartbeatTime": times.stamp(now),
        "lastTransitionTime": old["lastTransitionTime"] if same and old else times.stamp(now),
        "reason": words[0],
        "message": words[1],
    }


def _disk_share() -> float:
    disk = os.statvfs("/")
    return disk.f_bavail / disk.f_blocks if disk.f_blocks else 1.0


def _pid_share() -> float:
    with contextlib.suppress(OSError, ValueError):
        used = int(Path("/proc/loadavg").read_text().split()[3].split("/")[1])
        return used / int(Path("/proc/sys/kernel/pid_max").read_text())
    return 0.0
