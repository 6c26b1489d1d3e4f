"""Taint eviction: pods leave a node with NoExecute taints that they do not tolerate, or no longer.

Source: kubernetes/pkg/controller/tainteviction. Keys are pods; a pod that tolerates for some seconds comes back then.
"""

import math
from collections.abc import Sequence

from pybernetes.api.errors import ApiError, NotFound
from pybernetes.api.objects import Key, Obj, is_deleting, key_of, uid_of
from pybernetes.api.resources import PODS
from pybernetes.client import Delta
from pybernetes.control import Again, Controller
from pybernetes.control.pods import moment, node_of
from pybernetes.control.status import with_condition
from pybernetes.control.taints import NO_EXECUTE, taints_of, tolerates, tolerations_of

from .shared import ON_NODE, Shared

COMPONENT = "taint-eviction-controller"


def evict_in(pod: Obj, taints: Sequence[Obj], now: float) -> float:
    """Seconds until the pod must go: 0 or less is now, infinity is never; pure."""
    left = math.inf
    tolerations = tolerations_of(pod.get("spec") or {})
    for taint in taints:
        if taint.get("effect") != NO_EXECUTE:
            continue
        bearing = [toleration for toleration in tolerations if tolerates(toleration, taint)]
        if not bearing:
            return 0.0
        limits = [float(one["tolerationSeconds"]) for one in bearing if one.get("tolerationSeconds") is not None]
        if limits:
            left = min(left, moment(taint.get("timeAdded"), now) + max(0.0, min(limits)) - now)
    return left


class TaintEvictionController:
    def __init__(self, shared: Shared) -> None:
        self.client, self.now = shared.client, shared.now
        self.nodes = shared.nodes()
        self.pods = shared.pods()
        self.events = shared.recorder(COMPONENT)
        self.evicted: set[str] = set()
        """Uids of pods asked to go that the cache still has."""
        self.controller = Controller("taint_eviction", self.reconcile, workers=4, informers=(self.nodes, self.pods))
        self.nodes.subscribe(self._node_changed)
        self.pods.subscribe(self._pod_changed)

    async def run(self) -> None:
        await self.controller.run()

    def _node_changed(self, delta: Delta) -> None:
        was, now = (_no_execute(node) for node in delta)
        if was != now:
            for pod in self.pods.cache.indexed(ON_NODE, delta.key.name):
                self.controller.queue.add(key_of(pod))

    def _pod_changed(self, delta: Delta) -> None:
        pod = delta.now
        if pod is None:
            self.evicted.discard(uid_of(delta.obj))
        elif (node := self.nodes.cache.get(Key("", node_of(pod)))) and _no_execute(node):
            self.controller.queue.add(delta.key)

    async def reconcile(self, key: Key) -> Again | None:
        pod = self.pods.cache.get(key)
        if pod is None or is_deleting(pod) or uid_of(pod) in self.evicted:
            return None
        node = self.nodes.cache.get(Key("", node_of(pod)))
        left = evict_in(pod, taints_of(node), self.now()) if node is not None else math.inf
        if left == math.inf:
            return None
        if left > 0:
            return Again(left)
        await self._evict(pod)
        return None

    async def _evict(self, pod: Obj) -> None:
        self.evicted.add(uid_of(pod))
        self.events.event(pod, "TaintManagerEviction", f"Marking for deletion Pod {key_of(pod)}")
        conditions = with_condition(
            (pod.get("status") or {}).get("conditions") or (), "DisruptionTarget", "True",
            reason="DeletionByTaintManager", message="Taint manager: deleting due to NoExecute taint", now=self.now(),
        )  # fmt: skip
        patch = {"metadata": {"uid": uid_of(pod)}, "status": {"conditions": conditions}}
        try:
            await self.client.patch(PODS, key_of(pod), patch, subresource="status")
            await self.client.delete(PODS, key_of(pod), uid=uid_of(pod))
        except NotFound:
            return
        except (ApiError, ConnectionError, TimeoutError):
            self.evicted.discard(uid_of(pod))
            raise


def _no_execute(node: Obj | None) -> list[Obj]:
    return [taint for taint in taints_of(node) if taint.get("effect") == NO_EXECUTE] if node is not None else []
