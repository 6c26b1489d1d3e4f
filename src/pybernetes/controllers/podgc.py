"""Pod garbage: pods of nodes that are gone, and ended pods beyond a limit (kubernetes/pkg/controller/podgc)."""

import asyncio

from pybernetes.api.errors import ApiError, NotFound
from pybernetes.api.objects import Key, Obj, is_deleting, key_of, uid_of
from pybernetes.api.resources import NODES, PODS
from pybernetes.control.pods import is_terminal, node_of
from pybernetes.control.status import with_condition

from .shared import Shared

COMPONENT = "pod-garbage-collector"


def surplus(pods: list[Obj], limit: int) -> list[Obj]:
    """The oldest ended pods beyond the limit; pure."""
    ended = sorted((pod for pod in pods if is_terminal(pod)), key=lambda pod: pod["metadata"]["creationTimestamp"])
    return ended[: max(0, len(ended) - limit)]


class PodCollector:
    """Looks from time to time; a node must be missing for a whole round before its pods go."""

    def __init__(self, shared: Shared) -> None:
        self.client, self.now = shared.client, shared.now
        self.seconds = shared.config.pod_gc_seconds
        self.limit = shared.config.terminated_pods
        self.pods = shared.pods()
        self.nodes = shared.nodes()
        self.missing: set[str] = set()

    async def run(self) -> None:
        await self.pods.synced.wait()
        await self.nodes.synced.wait()
        while True:
            await asyncio.sleep(self.seconds)
            await self.collect()

    async def collect(self) -> None:
        pods = list(self.pods.cache.select())
        for pod in [*await self._orphans(pods), *surplus(pods, self.limit), *_unscheduled(pods)]:
            await self._delete(pod)

    async def _orphans(self, pods: list[Obj]) -> list[Obj]:
        absent = {name for pod in pods if (name := node_of(pod)) and self.nodes.cache.get(Key("", name)) is None}
        sure = {name for name in absent & self.missing if not await self._exists(name)}
        self.missing = absent
        return [pod for pod in pods if node_of(pod) in sure]

    async def _exists(self, name: str) -> bool:
        try:
            await self.client.get(NODES, Key("", name))
        except NotFound:
            return False
        return True

    async def _delete(self, pod: Obj) -> None:
        """Without grace: there is no kubelet to confirm it. What had not ended is marked Failed first."""
        try:
            if not is_terminal(pod):
                conditions = with_condition(
                    (pod.get("status") or {}).get("conditions") or (), "DisruptionTarget", "True",
                    reason="DeletionByPodGC", message="PodGC: node no longer exists", now=self.now(),
                )  # fmt: skip
                patch = {"metadata": {"uid": uid_of(pod)}, "status": {"phase": "Failed", "conditions": conditions}}
                await self.client.patch(PODS, key_of(pod), patch, subresource="status")
            await self.client.delete(PODS, key_of(pod), uid=uid_of(pod), grace_seconds=0)
        except ApiError:
            return  # gone, or there again with another uid; else the next round sees it


def _unscheduled(pods: list[Obj]) -> list[Obj]:
    """Deleted before they had a node: nobody will confirm their end."""
    return [pod for pod in pods if is_deleting(pod) and not node_of(pod)]
