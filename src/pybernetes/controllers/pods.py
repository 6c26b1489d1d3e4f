"""Making and deleting the pods of an owner: the one way for ReplicaSet, DaemonSet, StatefulSet and Job.

Every write is noted (Writes), so that the owner's next reconcile waits for the cache instead of acting on an old one.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from pybernetes.api.errors import ApiError, NotFound
from pybernetes.api.objects import Key, Obj, copied, key_of, name_of, namespace_of, owner_reference, uid_of
from pybernetes.api.resources import PODS
from pybernetes.client import Client
from pybernetes.control import EventSink, Writes

BURST = 500
"""At most so many pods are made or deleted for one owner in one go."""


class NamespaceTerminating(Exception):
    """Nothing can be made any more; the owner goes too."""


class OwnedPods:
    """Creates and deletes with events on the owner: SuccessfulCreate, FailedCreate, SuccessfulDelete, FailedDelete."""

    def __init__(self, client: Client, events: EventSink, writes: Writes[Key]) -> None:
        self.client = client
        self.events = events
        self.writes = writes

    async def create(self, owner: Obj, pod: Obj) -> Obj:
        """Make one pod. Raises NamespaceTerminating, ApiError."""
        try:
            made = await self.client.create(PODS, pod)
        except ApiError as error:
            if is_terminating(error):
                raise NamespaceTerminating(namespace_of(owner)) from error
            self.events.event(owner, "FailedCreate", f"Error creating: {error.message}", type="Warning")
            raise
        self.writes.wrote(key_of(owner), made)
        self.events.event(owner, "SuccessfulCreate", f"Created pod: {name_of(made)}")
        return made

    async def delete(self, owner: Obj, pod: Obj) -> None:
        """Ask for the pod's deletion, once. Raises ApiError."""
        key = key_of(owner)
        if self.writes.gone(key, pod):
            return
        try:
            await self.client.delete(PODS, key_of(pod), uid=uid_of(pod))
        except NotFound:
            return
        except ApiError as error:
            self.events.event(owner, "FailedDelete", f"Error deleting: {error.message}", type="Warning")
            raise
        self.writes.deleted(key, pod)
        self.events.event(owner, "SuccessfulDelete", f"Deleted pod: {name_of(pod)}")


def pod_of(owner: Obj, template: Obj, *, name: str = "") -> Obj:
    """The pod of a template, owned by `owner`; without `name` the server completes "<owner>-"."""
    meta = template.get("metadata") or {}
    pod: Obj = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "namespace": namespace_of(owner),
            "labels": dict(meta.get("labels") or {}),
            "ownerReferences": [owner_reference(owner)],
        },
        "spec": copied(template.get("spec") or {}),
    }
    for field in ("annotations", "finalizers"):
        if meta.get(field):
            pod["metadata"][field] = meta[field]
    pod["metadata"] |= {"name": name} if name else {"generateName": f"{name_of(owner)}-"}
    return pod


async def slow_start(calls: Sequence[Callable[[], Awaitable[object]]]) -> None:
    """Make the calls in batches of 1, 2, 4, ... at once; the first batch with an error is the last, and it is raised.

    So a quota or an admission rule that refuses all costs one call, not five hundred.
    """
    done, size = 0, 1
    while done < len(calls):
        batch = calls[done : done + size]
        results = await asyncio.gather(*(call() for call in batch), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result
        done, size = done + len(batch), size * 2


def is_terminating(error: ApiError) -> bool:
    """Whether a create was refused because its namespace is being deleted."""
    return any(cause.get("reason") == "NamespaceTerminating" for cause in error.causes)
