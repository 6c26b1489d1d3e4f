"""Node lifecycle: a node that is not heard of is NotReady, is tainted, and its pods leave the endpoints.

Source: kubernetes/pkg/controller/nodelifecycle. A node is heard of when its Lease is renewed or its status is posted.
Clocks of nodes are not compared with ours: what counts is when *we* saw the last renewal, on the loop's clock, so a
controller that starts anew gives every node its whole grace.
"""

import asyncio
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from pybernetes.api import times
from pybernetes.api.errors import NotFound
from pybernetes.api.objects import Key, Obj, condition, key_of, name_of, revision_of, uid_of
from pybernetes.api.resources import LEASES, NODES, PODS
from pybernetes.client import Delta
from pybernetes.control import Again, Controller
from pybernetes.control.pods import is_terminal
from pybernetes.control.status import with_condition
from pybernetes.control.taints import (
    DISK_PRESSURE,
    MEMORY_PRESSURE,
    NETWORK_UNAVAILABLE,
    NO_EXECUTE,
    NO_SCHEDULE,
    NOT_READY,
    PID_PRESSURE,
    UNREACHABLE,
    UNSCHEDULABLE,
    same,
    taints_of,
)

from .shared import ON_NODE, Shared

COMPONENT = "node-controller"
LEASE_NAMESPACE = "kube-node-lease"
_REPORTED = ("Ready", "MemoryPressure", "DiskPressure", "PIDPressure")
_TAINT_OF: Mapping[tuple[str, str], str] = {
    ("Ready", "False"): NOT_READY,
    ("Ready", "Unknown"): UNREACHABLE,
    ("MemoryPressure", "True"): MEMORY_PRESSURE,
    ("DiskPressure", "True"): DISK_PRESSURE,
    ("PIDPressure", "True"): PID_PRESSURE,
    ("NetworkUnavailable", "True"): NETWORK_UNAVAILABLE,
}
_MANAGED = frozenset({*_TAINT_OF.values(), UNSCHEDULABLE})


class Heard(NamedTuple):
    """The last sign of life: what it said, and when we saw it (loop time)."""

    lease: str
    status: str
    at: float


def wanted_taints(node: Obj, *, now: float) -> list[Obj]:
    """The node's taints as its conditions ask for; those of others stay as they are; pure."""
    old = taints_of(node)
    kept = [taint for taint in old if taint.get("key") not in _MANAGED or taint.get("effect") not in _EFFECTS]
    fresh: list[Obj] = []
    for entry in (node.get("status") or {}).get("conditions") or ():
        key = _TAINT_OF.get((str(entry.get("type")), str(entry.get("status"))))
        if key is not None:
            fresh.append({"key": key, "effect": NO_SCHEDULE})
            if entry["type"] == "Ready":
                fresh.append({"key": key, "effect": NO_EXECUTE})
    if (node.get("spec") or {}).get("unschedulable"):
        fresh.append({"key": UNSCHEDULABLE, "effect": NO_SCHEDULE})
    return [*kept, *(_timed(taint, old, now) for taint in fresh)]


_EFFECTS = (NO_SCHEDULE, NO_EXECUTE)


def _timed(taint: Obj, old: Iterable[Obj], now: float) -> Obj:
    return next((found for found in old if same(found, taint)), taint | {"timeAdded": times.stamp(now)})


def silent_conditions(node: Obj, *, now: float) -> list[Obj]:
    """Ready and the pressures turned Unknown, since nothing is known of a silent node; pure."""
    conditions = list((node.get("status") or {}).get("conditions") or ())
    for kind in _REPORTED:
        old = condition(node, kind)
        if old is not None and old.get("status") == "Unknown":
            continue
        said = old is not None
        conditions = with_condition(
            conditions, kind, "Unknown", reason="NodeStatusUnknown" if said else "NodeStatusNeverUpdated",
            message="Kubelet stopped posting node status." if said else "Kubelet never posted node status.", now=now,
        )  # fmt: skip
        if old is not None and old.get("lastHeartbeatTime"):
            conditions[-1]["lastHeartbeatTime"] = old["lastHeartbeatTime"]
    return conditions


class NodeLifecycleController:
    def __init__(self, shared: Shared) -> None:
        self.client, self.now = shared.client, shared.now
        self.grace_seconds = shared.config.node_grace_seconds
        self.startup_grace_seconds = shared.config.node_startup_grace_seconds
        self.nodes = shared.nodes()
        self.leases = shared.informers.of(LEASES, namespace=LEASE_NAMESPACE)
        self.pods = shared.pods()
        self.events = shared.recorder(COMPONENT)
        self.heard: dict[str, Heard] = {}
        self.controller = Controller(
            "node_lifecycle", self.reconcile, workers=4, informers=(self.nodes, self.leases, self.pods)
        )
        self.nodes.subscribe(self._node_changed)
        self.leases.subscribe(self._lease_changed)
        self.pods.subscribe(self._pod_changed)

    async def run(self) -> None:
        await self.controller.run()

    def _node_changed(self, delta: Delta) -> None:
        name = delta.key.name
        if delta.was is None:
            self.events.event(delta.obj, "RegisteredNode", f"Node {name} event: Registered Node {name} in Controller")
        if delta.now is None:
            self.events.event(delta.obj, "RemovingNode", f"Node {name} event: Removing Node {name} from Controller")
            self.heard.pop(name, None)
        else:
            self._hear(name)
        self.controller.queue.add(name)

    def _lease_changed(self, delta: Delta) -> None:
        """A renewal is only noted; there is nothing to do unless the node counted as silent."""
        name = delta.key.name
        node = self.nodes.cache.get(Key("", name))
        if delta.now is not None and node is not None:
            self._hear(name)
            if ready_of(node) == "Unknown":
                self.controller.queue.add(name)

    def _pod_changed(self, delta: Delta) -> None:
        """A pod that turns up Ready on a node that is not is marked too."""
        pod = delta.now
        if pod is None or not _is_shown_ready(pod):
            return
        node = self.nodes.cache.get(Key("", str((pod.get("spec") or {}).get("nodeName") or "")))
        if node is not None and ready_of(node) not in ("True", ""):
            self.controller.queue.add(name_of(node))

    def _hear(self, name: str) -> None:
        """Note a sign of life, if the Lease or the posted status is another than last time."""
        lease = self.leases.cache.get(Key(LEASE_NAMESPACE, name))
        renewed = str(((lease or {}).get("spec") or {}).get("renewTime") or "")
        node = self.nodes.cache.get(Key("", name))
        ready = condition(node, "Ready") if node is not None else None
        posted = str((ready or {}).get("lastHeartbeatTime") or "")
        old = self.heard.get(name)
        if old is None or (renewed, posted) != (old.lease, old.status):
            self.heard[name] = Heard(renewed, posted, asyncio.get_running_loop().time())

    async def reconcile(self, name: str) -> Again | None:
        node = self.nodes.cache.get(Key("", name))
        if node is None:
            return None
        left = self._grace_left(name, node)
        if left <= 0 and ready_of(node) != "Unknown":
            node = await self._silence(node)
        await self._taint(node)
        if ready_of(node) in ("False", "Unknown"):
            await self._mark_pods(node)
        return Again(left + 0.01) if left > 0 else None

    def _grace_left(self, name: str, node: Obj) -> float:
        heard = self.heard.get(name)
        if heard is None:
            self._hear(name)
            heard = self.heard[name]
        never = condition(node, "Ready") is None and not heard.lease
        grace = self.startup_grace_seconds if never else self.grace_seconds
        return heard.at + grace - asyncio.get_running_loop().time()

    async def _silence(self, node: Obj) -> Obj:
        self.events.event(node, "NodeNotReady", f"Node {name_of(node)} status is now: NodeNotReady")
        conditions = silent_conditions(node, now=self.now())
        patch = {"metadata": {"resourceVersion": revision_of(node)}, "status": {"conditions": conditions}}
        return await self.client.patch(NODES, key_of(node), patch, subresource="status")

    async def _taint(self, node: Obj) -> None:
        taints = wanted_taints(node, now=self.now())
        if taints != taints_of(node):
            patch = {"metadata": {"resourceVersion": revision_of(node)}, "spec": {"taints": taints or None}}
            await self.client.patch(NODES, key_of(node), patch)

    async def _mark_pods(self, node: Obj) -> None:
        """Ready=False on each pod of the node, so that they leave the endpoints, until the kubelet is back."""
        pods = [pod for pod in self.pods.cache.indexed(ON_NODE, name_of(node)) if _is_shown_ready(pod)]
        await asyncio.gather(*(self._mark(pod) for pod in pods))

    async def _mark(self, pod: Obj) -> None:
        conditions = with_condition(
            (pod.get("status") or {}).get("conditions") or (), "Ready", "False", reason="NodeNotReady",
            message="Node is not ready", now=self.now(),
        )  # fmt: skip
        meta = {"uid": uid_of(pod), "resourceVersion": revision_of(pod)}
        patch = {"metadata": meta, "status": {"conditions": conditions}}
        try:
            await self.client.patch(PODS, key_of(pod), patch, subresource="status")
        except NotFound:
            return
        self.events.event(pod, "NodeNotReady", "Node is not ready", type="Warning")


def ready_of(node: Obj) -> str:
    """True, False or Unknown; "" before the first post."""
    return str((condition(node, "Ready") or {}).get("status") or "")


def _is_shown_ready(pod: Obj) -> bool:
    return (condition(pod, "Ready") or {}).get("status") == "True" and not is_terminal(pod)
