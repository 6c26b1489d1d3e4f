"""The scheduler as a service: deltas in, decisions by `cycle`, bindings out.

Decisions are made one after the other, without an await, on the snapshot; bindings are written at the same time as the
next decisions are made, since an assumed pod already counts on its node.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pybernetes.api.errors import ApiError, NotFound
from pybernetes.api.objects import Key, Obj, annotations_of, condition, is_deleting, key_of, labels_of, name_of, uid_of
from pybernetes.api.resources import NAMESPACES, NODES, PODS
from pybernetes.client import Client, Delta, Informers
from pybernetes.control import EventSink, Recorder
from pybernetes.control.pods import is_terminal, node_of, slim
from pybernetes.control.status import with_condition
from pybernetes.control.taints import taints_of

from . import metrics
from .cycle import Decision, decide
from .pending import Pending
from .snapshot import Snapshot

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulerConfig:
    """`name` is the schedulerName it answers to."""

    name: str = "default-scheduler"
    writers: int = 32
    """Bindings, and refusals, in flight at once."""
    seed: int | None = None
    """Fixes the choice among equally good nodes."""


class Scheduler:
    """`run` until cancelled."""

    def __init__(
        self,
        client: Client,
        config: SchedulerConfig | None = None,
        *,
        informers: Informers | None = None,
        events: EventSink | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        """`informers` are those of the process when it shares them; the caller then runs them."""
        self.client = client
        self.config = config or SchedulerConfig()
        self.now = now
        self._own = informers is None
        self.informers = informers or Informers(client)
        self.pods = self.informers.of(PODS, slim=slim)
        self.nodes = self.informers.of(NODES)
        self.namespaces = self.informers.of(NAMESPACES)
        self._recorder = Recorder(client, self.config.name) if events is None else None
        self.events: EventSink = events if events is not None else self._recorder  # type: ignore[assignment]
        self.snapshot = Snapshot()
        self.pending = Pending()
        self._writing = asyncio.Semaphore(self.config.writers)
        self._rng = random.Random(self.config.seed)
        self._start = 0
        self._since: dict[Key, float] = {}
        self.nodes.subscribe(self._node_changed)
        self.pods.subscribe(self._pod_changed)

    async def run(self) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                if self._own:
                    group.create_task(self.informers.run(), name="informers")
                if self._recorder is not None:
                    group.create_task(self._recorder.run(), name="scheduler-events")
                group.create_task(self._wake_old(), name="scheduler-wake")
                for informer in (self.nodes, self.pods, self.namespaces):
                    await informer.synced.wait()
                self._take_up()
                await self._schedule_all(group)
        finally:
            self.pending.close()

    # -- what happens in the cluster --------------------------------------------------------------------------------

    def _node_changed(self, delta: Delta) -> None:
        if delta.now is None:
            self.snapshot.remove_node(delta.key.name)
            return
        self.snapshot.set_node(delta.now)
        if delta.was is None or _offer(delta.was) != _offer(delta.now):
            self.pending.wake_all()

    def _pod_changed(self, delta: Delta) -> None:
        key, pod = delta.key, delta.now
        if pod is None:
            self.snapshot.remove_pod(key)
            self._settled(key)
            self.pending.wake_all()
            return
        assumed = self.snapshot.is_assumed(key)
        self.snapshot.set_pod(pod)
        if node_of(pod) or is_terminal(pod):
            self._settled(key)
            if delta.was is None or _place(delta.was) != _place(pod):
                self.pending.wake_all()
        elif self._is_ours(pod) and not assumed and (delta.was is None or _asks(delta.was) != _asks(pod)):
            self._since.setdefault(key, asyncio.get_running_loop().time())
            self.pending.add(key, priority=int((pod.get("spec") or {}).get("priority") or 0))

    def _settled(self, key: Key) -> None:
        self.pending.remove(key)
        self._since.pop(key, None)

    def _is_ours(self, pod: Obj) -> bool:
        spec = pod.get("spec") or {}
        ours = (spec.get("schedulerName") or "default-scheduler") == self.config.name
        return ours and not is_deleting(pod) and not spec.get("schedulingGates")

    def _labels_of_namespace(self, name: str) -> Mapping[str, str]:
        namespace = self.namespaces.cache.get(Key("", name))
        return labels_of(namespace) if namespace is not None else {}

    async def _wake_old(self) -> None:
        while True:
            await asyncio.sleep(30.0)
            self.pending.wake_old()

    def _take_up(self) -> None:
        """All that has no node yet, also what an earlier run had decided but not written."""
        for pod in self.pods.cache.select():
            if not node_of(pod) and not is_terminal(pod) and self._is_ours(pod):
                self.snapshot.forget(key_of(pod))
                self.pending.add(key_of(pod), priority=int((pod.get("spec") or {}).get("priority") or 0))

    # -- decisions --------------------------------------------------------------------------------------------------

    async def _schedule_all(self, group: asyncio.TaskGroup) -> None:
        while True:
            key = await self.pending.get()
            assert isinstance(key, Key)
            pod = self.pods.cache.get(key)
            if pod is None or node_of(pod) or not self._is_ours(pod) or self.snapshot.is_assumed(key):
                continue
            decision = self._decide(pod)
            if decision.node:
                self.snapshot.assume(pod, decision.node)
            else:
                self.pending.park(key)
            await self._writing.acquire()
            group.create_task(self._write(pod, decision), name=f"write-{key}")
            await asyncio.sleep(0)
            for queue, size in self.pending.sizes:
                metrics.PENDING.labels(queue).set(size)

    def _decide(self, pod: Obj) -> Decision:
        began = time.perf_counter()
        try:
            decision = decide(
                pod, self.snapshot, rng=self._rng, start=self._start, namespaces=self._labels_of_namespace
            )
        except Exception as error:
            log.exception("scheduling failed pod=%s", key_of(pod))
            return Decision(message=f"internal error: {error}")
        self._start += 1
        metrics.ALGORITHM.observe(time.perf_counter() - began)
        result = "scheduled" if decision.node else "unschedulable"
        metrics.ATTEMPTS.labels(result, self.config.name).inc()
        return decision

    async def _write(self, pod: Obj, decision: Decision) -> None:
        try:
            await (self._bind(pod, decision.node) if decision.node else self._refuse(pod, decision.message))
        finally:
            self._writing.release()

    async def _bind(self, pod: Obj, node: str) -> None:
        """Write the decision; on failure give the room back and try again."""
        key = key_of(pod)
        binding = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"namespace": key.namespace, "name": key.name, "uid": uid_of(pod)},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        }
        since = self._since.get(key)
        try:
            await self.client.create(PODS, binding, name=key.name, subresource="binding")
        except NotFound:
            self.snapshot.forget(key)
            return
        except (ApiError, ConnectionError, TimeoutError) as error:
            log.warning("binding failed pod=%s node=%s error=%r", key, node, error)
            self.snapshot.forget(key)
            self.pending.back_off(key)
            metrics.ATTEMPTS.labels("error", self.config.name).inc()
            return
        if since is not None:
            metrics.LATENCY.observe(asyncio.get_running_loop().time() - since)
        self.events.event(pod, "Scheduled", f"Successfully assigned {key} to {node}", action="Binding")

    async def _refuse(self, pod: Obj, message: str) -> None:
        """Say on the pod why it has no node."""
        self.events.event(pod, "FailedScheduling", message, type="Warning", action="Scheduling")
        old = condition(pod, "PodScheduled")
        if old is not None and old.get("status") == "False" and old.get("message") == message:
            return
        conditions = with_condition(
            (pod.get("status") or {}).get("conditions") or (), "PodScheduled", "False", reason="Unschedulable",
            message=message, now=self.now(),
        )  # fmt: skip
        patch = {"metadata": {"uid": uid_of(pod)}, "status": {"conditions": conditions}}
        try:
            await self.client.patch(PODS, key_of(pod), patch, subresource="status")
        except (ApiError, ConnectionError, TimeoutError) as error:
            log.info("status not written pod=%s error=%r", key_of(pod), error)


def _offer(node: Obj) -> tuple[object, ...]:
    """What of a node can make a pod fit that did not."""
    spec, status = node.get("spec") or {}, node.get("status") or {}
    return labels_of(node), taints_of(node), spec.get("unschedulable"), status.get("allocatable"), name_of(node)


def _place(pod: Obj) -> tuple[object, ...]:
    """What of a placed pod can make another fit: where it is, what it is, and whether it is going."""
    return node_of(pod), labels_of(pod), is_deleting(pod), is_terminal(pod)


def _asks(pod: Obj) -> tuple[object, ...]:
    """What of a pod can make it fit where it did not."""
    spec = pod.get("spec") or {}
    return labels_of(pod), annotations_of(pod), {k: v for k, v in spec.items() if k != "nodeName"}
