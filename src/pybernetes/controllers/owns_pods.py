"""What ReplicaSet, DaemonSet, StatefulSet and Job share: an owner is a key, its pods are claimed by selector."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence

from pybernetes.api import selectors
from pybernetes.api.objects import Key, Obj, is_deleting, key_of, labels_of, namespace_of
from pybernetes.api.resources import PODS, Resource
from pybernetes.api.selectors import Selector
from pybernetes.client import Delta, Informer
from pybernetes.control import OWNER_INDEXES, Again, Claimer, Controller, Writes, enqueue, enqueue_owner
from pybernetes.control.owners import ORPHANS, OWNER, candidates
from pybernetes.control.pods import available_in

from .pods import OwnedPods
from .shared import Shared


class OwnsPods(ABC):
    """Informers, queue and claims of one kind of owner. A subclass says what to do about one owner and its pods."""

    def __init__(
        self, shared: Shared, owners: Resource, *, name: str, component: str, informers: Sequence[Informer] = ()
    ) -> None:
        """`name` is the queue's, `component` the source of events; workers wait for `informers` too."""
        self.client, self.now = shared.client, shared.now
        self.owners = shared.informers.of(owners, indexes=OWNER_INDEXES)
        self.pods = shared.pods()
        self.events = shared.recorder(component)
        self.writes: Writes[Key] = Writes(self.pods)
        self.making = OwnedPods(self.client, self.events, self.writes)
        self.claimer = Claimer(self.client, PODS, owners=owners)
        self.controller = Controller(
            name,
            self.reconcile,
            workers=shared.config.workers,
            informers=(self.owners, self.pods, *informers),
        )
        self.owners.subscribe(enqueue(self.controller.queue))
        self.pods.subscribe(enqueue_owner(self.controller.queue, owners.kind))
        self.pods.subscribe(self._orphan_changed)

    async def run(self) -> None:
        await self.controller.run()

    async def reconcile(self, key: Key) -> Again | None:
        owner = self.owners.cache.get(key)
        if owner is None:
            self.writes.forget(key)
            return await self.forget(key)
        if not self.writes.seen(key):
            return Again(1.0)  # the pod's own event comes sooner
        return await self.look(key, owner)

    @abstractmethod
    async def look(self, key: Key, owner: Obj) -> Again | None:
        """Bring one owner's pods to what it asks for; the cache has all that was written for it."""

    def selector(self, owner: Obj) -> Selector:
        """Which pods may be the owner's."""
        return selectors.of(owner["spec"].get("selector"))

    def _orphan_changed(self, delta: Delta) -> None:
        """All owners of its namespace whose selector matches an orphan pod may want to adopt it."""
        pod = delta.now
        if pod is None or is_deleting(pod) or any(OWNER_INDEXES[OWNER](pod)):
            return
        if delta.was is not None and labels_of(delta.was) == labels_of(pod) and any(OWNER_INDEXES[ORPHANS](delta.was)):
            return  # it was an orphan with these labels before
        for owner in self.owners.cache.select(namespace_of(pod)):
            if self.selector(owner).matches_object(pod):
                self.controller.queue.add(key_of(owner))

    async def forget(self, key: Key) -> Again | None:
        """The owner is gone: drop what is remembered of it."""
        return None

    async def claimed(self, owner: Obj, also: Callable[[Obj], bool] = lambda pod: True) -> list[Obj]:
        """The owner's pods, after adopting and releasing; a pod must match its selector and `also`."""
        selector = self.selector(owner)

        def matches(pod: Obj) -> bool:
            return also(pod) and selector.matches_object(pod)

        pods = await self.claimer.claim(owner, candidates(self.pods, owner), matches)
        self.writes.keep(key_of(owner), pods)
        return pods

    def when_available(self, owner: Obj, pods: Iterable[Obj]) -> Again | None:
        """When the next ready pod has been so for minReadySeconds."""
        seconds = int(owner["spec"].get("minReadySeconds") or 0)
        waits = [available_in(pod, seconds, self.now()) for pod in pods] if seconds else []
        soon = [wait for wait in waits if 0 < wait < math.inf]
        return Again(min(soon) + 0.05) if soon else None
