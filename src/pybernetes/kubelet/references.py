"""ConfigMaps, Secrets and trust bundles that pods refer to: watched for as long as a pod needs them, the former alone.

A node may read no more than its pods' objects, so there is no list of all. A change calls back, so that files are
renewed within the time of a watch, not of a poll.
"""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

from pybernetes.api.objects import Key, Obj
from pybernetes.api.resources import CLUSTER_TRUST_BUNDLES, CONFIG_MAPS, SECRETS
from pybernetes.client import Client, Informer

from .lifecycle import containers_of

_RESOURCES = {"ConfigMap": CONFIG_MAPS, "Secret": SECRETS, "ClusterTrustBundle": CLUSTER_TRUST_BUNDLES}
SYNC_SECONDS = 5.0


class Reference(NamedTuple):
    """An object, or without a name all of its kind."""

    kind: str
    namespace: str
    name: str


ALL_BUNDLES = Reference("ClusterTrustBundle", "", "")
"""Any node may read them, and a pod may want those of a signer, whatever they are called."""


class References:
    """Watches by reference, counted by user (a pod's uid). `changed(uid)` is called for each user of what changed."""

    def __init__(self, client: Client, changed: Callable[[str], None]) -> None:
        self.client = client
        self.changed = changed
        self._informers: dict[Reference, Informer] = {}
        self._tasks: dict[Reference, asyncio.Task[None]] = {}
        self._users: dict[Reference, set[str]] = {}
        self._group: asyncio.TaskGroup | None = None

    async def run(self) -> None:
        """Hold the watches until cancelled."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            for reference in self._informers:
                self._start(reference)
            await asyncio.get_running_loop().create_future()

    def need(self, user: str, wanted: frozenset[Reference]) -> None:
        """Say all that a user needs from now on; what nobody needs any more is let go of."""
        for reference in wanted:
            if reference not in self._informers:
                self._open(reference)
            self._users[reference].add(user)
        for reference in [r for r, users in self._users.items() if user in users and r not in wanted]:
            self._users[reference].discard(user)
            if not self._users[reference]:
                self._close(reference)

    async def synced(self, wanted: frozenset[Reference]) -> None:
        """Wait until these are known (whether they exist or not). Raises TimeoutError."""
        async with asyncio.timeout(SYNC_SECONDS):
            for reference in wanted:
                await self._informers[reference].synced.wait()

    def get(self, reference: Reference) -> Obj | None:
        informer = self._informers.get(reference)
        if informer is None:
            return None
        found = informer.cache.get(Key(reference.namespace, reference.name))
        if found is not None and "kind" not in found:
            found = {"kind": reference.kind} | found
        return found

    def all(self, reference: Reference) -> Sequence[Obj]:
        """What is known of a reference without a name."""
        informer = self._informers.get(reference)
        return informer.cache.select() if informer is not None else ()

    def _open(self, reference: Reference) -> None:
        informer = Informer(
            self.client,
            _RESOURCES[reference.kind],
            namespace=reference.namespace,
            fields=f"metadata.name={reference.name}" if reference.name else "",
        )
        self._informers[reference] = informer
        self._users[reference] = set()
        informer.subscribe(lambda _: self._tell(reference))
        if self._group is not None:
            self._start(reference)

    def _tell(self, reference: Reference) -> None:
        for user in list(self._users.get(reference, ())):
            self.changed(user)

    def _start(self, reference: Reference) -> None:
        assert self._group is not None
        self._tasks[reference] = self._group.create_task(self._run(self._informers[reference]), name=f"{reference}")

    async def _run(self, informer: Informer) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await informer.run()

    def _close(self, reference: Reference) -> None:
        del self._users[reference], self._informers[reference]
        if task := self._tasks.pop(reference, None):
            task.cancel()


def references_of(pod: Obj) -> frozenset[Reference]:
    """Every ConfigMap and Secret, and whether there are trust bundles, that the pod's containers and volumes name."""
    namespace = pod["metadata"]["namespace"]
    spec = pod["spec"]
    found: set[Reference] = set()

    def add(kind: str, name: str | None) -> None:
        if name:
            found.add(Reference(kind, namespace, name))

    for container in containers_of(spec):
        for source in container.get("envFrom") or ():
            add("ConfigMap", (source.get("configMapRef") or {}).get("name"))
            add("Secret", (source.get("secretRef") or {}).get("name"))
        for entry in container.get("env") or ():
            value = entry.get("valueFrom") or {}
            add("ConfigMap", (value.get("configMapKeyRef") or {}).get("name"))
            add("Secret", (value.get("secretKeyRef") or {}).get("name"))
    for volume in spec.get("volumes") or ():
        for source in [volume, *((volume.get("projected") or {}).get("sources") or ())]:
            add("ConfigMap", (source.get("configMap") or {}).get("name"))
            secret = source.get("secret") or {}
            add("Secret", secret.get("secretName") or secret.get("name"))
            if source.get("clusterTrustBundle") is not None:
                found.add(ALL_BUNDLES)
    return frozenset(found)
