"""DaemonSet: one pod on each node that fits (kubernetes/pkg/controller/daemon). The decisions are in daemonset_plan."""

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import partial

from pybernetes.api.errors import ApiError
from pybernetes.api.objects import Key, Obj, is_deleting, key_of, labels_of, name_of
from pybernetes.api.resources import DAEMON_SETS
from pybernetes.client import Delta
from pybernetes.control import Again, enqueue_owner, write_status
from pybernetes.control.pods import node_of, phase_of
from pybernetes.control.taints import taints_of

from .daemonset_plan import Work, by_target, is_rolling, limits, manage, pinned, rolling_update, should, status_of
from .owns_pods import OwnsPods
from .pods import NamespaceTerminating, pod_of, slow_start
from .revisions import HASH, Revisions, hash_of
from .shared import Shared

COMPONENT = "daemonset-controller"
GENERATION = "deprecated.daemonset.template.generation"
_ENDED = {"Failed": ("FailedDaemonPod", "Found failed"), "Succeeded": ("SucceededDaemonPod", "Found succeeded")}
_FIRST_ENDED_SECONDS, _LAST_ENDED_SECONDS = 1.0, 900.0


class DaemonSetController(OwnsPods):
    def __init__(self, shared: Shared) -> None:
        self.nodes = shared.nodes()
        self.revisions = Revisions(shared.client, shared.informers, DAEMON_SETS)
        informers = (self.nodes, self.revisions.informer)
        super().__init__(shared, DAEMON_SETS, name="daemonset", component=COMPONENT, informers=informers)
        self.endings: dict[tuple[Key, str], tuple[float, float]] = {}
        """By set and node: when a pod that ended may be replaced, and the wait after the next one."""
        self.revisions.informer.subscribe(enqueue_owner(self.controller.queue, DAEMON_SETS.kind))
        self.nodes.subscribe(self._node_changed)

    def _node_changed(self, delta: Delta) -> None:
        was, now = (_place(node) for node in delta)
        if was == now:
            return
        for daemon_set in self.owners.cache.select():
            before, after = (should(daemon_set, node) if node is not None else None for node in delta)
            if before != after:
                self.controller.queue.add(key_of(daemon_set))

    async def forget(self, key: Key) -> Again | None:
        self.revisions.writes.forget(key)
        self.endings = {held: value for held, value in self.endings.items() if held[0] != key}
        return None

    async def look(self, key: Key, owner: Obj) -> Again | None:
        if is_deleting(owner):
            return None
        history = await self.revisions.sync(owner, collisions=_collisions(owner))
        if history is None:
            return Again(1.0)
        pods = await self.claimed(owner)
        digest, nodes, here = hash_of(history.current), self.nodes.cache.select(), by_target(pods)
        again = await self._work(owner, nodes, here, digest)
        if not self.writes.seen(key):
            return again  # its pods' events bring it back with true counts
        await self.revisions.clean(owner, history, (labels_of(pod).get(HASH, "") for pod in pods))
        await self._write_status(owner, nodes, here, digest)
        return _sooner(again, self.when_available(owner, pods))

    async def _work(
        self, daemon_set: Obj, nodes: Sequence[Obj], here: Mapping[str, Sequence[Obj]], digest: str
    ) -> Again | None:
        """Missing and surplus pods; and when nothing is missing, the update. Raises ApiError."""
        key = key_of(daemon_set)

        def gone(pod: Obj) -> bool:
            return self.writes.gone(key, pod)

        surge = limits(daemon_set, len(nodes)).surge if is_rolling(daemon_set) else 0
        work = manage(daemon_set, nodes, here, gone=gone, surge=surge)
        again = await self._carry_out(daemon_set, work, digest)
        if is_rolling(daemon_set) and not (work.create or work.delete):
            update = rolling_update(daemon_set, nodes, here, digest=digest, gone=gone, now=self.now())
            again = _sooner(again, await self._carry_out(daemon_set, update, digest))
        return again

    async def _carry_out(self, daemon_set: Obj, work: Work, digest: str) -> Again | None:
        ended, wait = self._ended(daemon_set, work.ended)
        deletions = [partial(self.making.delete, daemon_set, pod) for pod in [*work.delete, *ended]]
        creations = [partial(self.making.create, daemon_set, _pod(daemon_set, node, digest)) for node in work.create]
        failure: ApiError | None = None
        for calls in (deletions, creations):
            try:
                await slow_start(calls)
            except NamespaceTerminating:
                return None
            except ApiError as error:
                failure = error
        if failure is not None:
            raise failure
        return Again(wait) if wait < math.inf else None

    def _ended(self, daemon_set: Obj, ended: Iterable[Obj]) -> tuple[list[Obj], float]:
        """Which ended pods to delete now, with a back-off per node, and how long until the next may go."""
        due: list[Obj] = []
        wait = math.inf
        now = self.now()
        for pod in ended:
            held = (key_of(daemon_set), node_of(pod))
            at, delay = self.endings.get(held, (0.0, _FIRST_ENDED_SECONDS))
            if at > now:
                wait = min(wait, at - now)
                continue
            self.endings[held] = (now + delay, min(delay * 2, _LAST_ENDED_SECONDS))
            reason, found = _ENDED[phase_of(pod)]
            message = f"{found} daemon pod {key_of(pod)} on node {node_of(pod)}, will try to "
            kind = "Warning" if reason == "FailedDaemonPod" else "Normal"
            self.events.event(
                daemon_set, reason, message + ("kill it" if kind == "Warning" else "delete it"), type=kind
            )
            due.append(pod)
        return due, wait

    async def _write_status(
        self, daemon_set: Obj, nodes: Sequence[Obj], here: Mapping[str, Sequence[Obj]], digest: str
    ) -> None:
        status = status_of(daemon_set, nodes, here, digest=digest, now=self.now())
        if _collisions(daemon_set):
            status["collisionCount"] = _collisions(daemon_set)
        await write_status(self.client, DAEMON_SETS, daemon_set, dict(daemon_set.get("status") or {}) | status)


def _pod(daemon_set: Obj, node_name: str, digest: str) -> Obj:
    template = daemon_set["spec"]["template"]
    pod = pod_of(daemon_set, template | {"spec": pinned(template.get("spec") or {}, node_name)})
    pod["metadata"]["labels"][HASH] = digest
    generation = (daemon_set["metadata"].get("annotations") or {}).get(GENERATION)
    if generation:
        pod["metadata"]["labels"]["pod-template-generation"] = generation
    return pod


def _collisions(daemon_set: Obj) -> int:
    return int((daemon_set.get("status") or {}).get("collisionCount") or 0)


def _place(node: Obj | None) -> tuple[object, ...] | None:
    """What of a node decides whether a daemon runs there."""
    return None if node is None else (labels_of(node), taints_of(node), name_of(node))


def _sooner(*waits: Again | None) -> Again | None:
    found = [wait for wait in waits if wait is not None]
    return min(found) if found else None
