"""Namespace: when one is deleted, delete all that is in it, then let it go (namespaced_resources_deleter.go).

What there is to delete comes from the resource table and from the CustomResourceDefinitions, not from a list of kinds.
"""

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from pybernetes.api.errors import ApiError, Conflict, MethodNotAllowed, NotFound
from pybernetes.api.objects import Key, Obj, copied, is_deleting, name_of
from pybernetes.api.resources import CUSTOM_RESOURCE_DEFINITIONS, NAMESPACES, PODS, RESOURCES, Resource
from pybernetes.client import Client
from pybernetes.control import Again, Controller, write_status
from pybernetes.control.status import with_condition

from .custom import custom_resources
from .shared import Shared

FINALIZER = "kubernetes"
_FIRST_LOOK_SECONDS, _LAST_LOOK_SECONDS = 0.1, 5.0


class Left(NamedTuple):
    """What was found of one resource after its collection was deleted."""

    resource: Resource
    names: list[str]
    finalizers: dict[str, int]
    error: str = ""


class NamespaceController:
    def __init__(self, shared: Shared) -> None:
        self.client, self.now = shared.client, shared.now
        self.namespaces = shared.informers.of(NAMESPACES)
        self.custom = shared.informers.of(CUSTOM_RESOURCE_DEFINITIONS)
        self.looks: dict[str, int] = {}
        self.controller = Controller("namespace", self.reconcile, workers=3, informers=(self.namespaces,))
        self.namespaces.subscribe(lambda delta: self.controller.queue.add(delta.key.name))

    async def run(self) -> None:
        await self.controller.run()

    async def reconcile(self, name: str) -> Again | None:
        namespace = self.namespaces.cache.get(Key("", name))
        if namespace is None or not is_deleting(namespace):
            self.looks.pop(name, None)
            return None
        finalizers = (namespace.get("spec") or {}).get("finalizers") or []
        if FINALIZER not in finalizers:
            return None
        left = await empty(self.client, name, self._resources())
        status = dict(namespace.get("status") or {}) | {"phase": "Terminating"}
        status["conditions"] = conditions_of(status.get("conditions") or (), left, now=self.now())
        if left:
            await write_status(self.client, NAMESPACES, namespace, status)
            looks = self.looks[name] = self.looks.get(name, 0) + 1
            return Again(min(_LAST_LOOK_SECONDS, _FIRST_LOOK_SECONDS * 1.5**looks))
        await self._finalize(namespace)
        return None

    def _resources(self) -> list[Resource]:
        builtin = [row for row in RESOURCES if row.namespaced and row.stored_as is None and is_collection(row)]
        return [
            *builtin,
            *(row for crd in self.custom.cache.select() for row in custom_resources(crd) if row.namespaced),
        ]

    async def _finalize(self, namespace: Obj) -> None:
        """Take our finalizer off; the server removes the namespace when it was the last."""
        fresh = copied(namespace)
        fresh["spec"]["finalizers"] = [one for one in fresh["spec"]["finalizers"] if one != FINALIZER]
        try:
            await self.client.update(NAMESPACES, fresh, subresource="finalize")
        except Conflict:
            fresh = copied(await self.client.get(NAMESPACES, Key("", name_of(namespace))))
            fresh["spec"]["finalizers"] = [one for one in fresh["spec"].get("finalizers") or () if one != FINALIZER]
            await self.client.update(NAMESPACES, fresh, subresource="finalize")
        except NotFound:
            return


def is_collection(row: Resource) -> bool:
    return {"list", "delete", "deletecollection"} <= set(row.verbs)


async def empty(client: Client, namespace: str, resources: Sequence[Resource]) -> list[Left]:
    """Delete all objects of a namespace; returns what is still there, resource by resource.

    Pods go first, and nothing else while there are any: they may need it to the end (KEP-5080).
    """
    if PODS in resources and (pods := await _empty_one(client, namespace, PODS)) is not None:
        return [pods]
    rest = [row for row in resources if row != PODS]
    left = await asyncio.gather(*(_empty_one(client, namespace, row) for row in rest))
    return [one for one in left if one is not None]


async def _empty_one(client: Client, namespace: str, row: Resource) -> Left | None:
    try:
        found = await client.list(row, namespace=namespace)
    except (NotFound, MethodNotAllowed):
        return None  # not served here
    except ApiError as error:
        return Left(row, [], {}, error.message)
    if not found.items:
        return None
    try:
        await client.delete_collection(row, namespace=namespace, propagation="Background")
        found = await client.list(row, namespace=namespace)
    except ApiError as error:
        return Left(row, [], {}, error.message)
    finalizers: dict[str, int] = {}
    for item in found.items:
        for finalizer in item["metadata"].get("finalizers") or ():
            finalizers[finalizer] = finalizers.get(finalizer, 0) + 1
    return Left(row, [name_of(item) for item in found.items], finalizers) if found.items else None


def conditions_of(old: Sequence[Obj], left: Sequence[Left], *, now: float) -> list[Obj]:
    """What hinders the deletion, as Kubernetes words it (namespace_conditions.go); pure."""
    failures = sorted(one.error for one in left if one.error)
    content = [one for one in left if one.names]
    finalizers: dict[str, int] = {}
    for one in left:
        for name, number in one.finalizers.items():
            finalizers[name] = finalizers.get(name, 0) + number
    remaining = ", ".join(f"{one.resource.qualified}. has {len(one.names)} resource instances" for one in content)
    holding = ", ".join(f"{name} in {number} resource instances" for name, number in sorted(finalizers.items()))
    said = (
        ("NamespaceDeletionDiscoveryFailure", "", "ResourcesDiscovered", "All resources successfully discovered"),
        (
            "NamespaceDeletionGroupVersionParsingFailure",
            "",
            "ParsedGroupVersions",
            "All legacy kube types successfully parsed",
        ),
        (
            "NamespaceDeletionContentFailure",
            f"Failed to delete all resource types, {len(failures)} remaining: {', '.join(failures)}"
            if failures
            else "",
            "ContentDeletionFailed" if failures else "ContentDeleted",
            "All content successfully deleted, may be waiting on finalization",
        ),
        (
            "NamespaceContentRemaining",
            f"Some resources are remaining: {remaining}" if remaining else "",
            "SomeResourcesRemain" if remaining else "ContentRemoved",
            "All content successfully removed",
        ),
        (
            "NamespaceFinalizersRemaining",
            f"Some content in the namespace has finalizers remaining: {holding}" if holding else "",
            "SomeFinalizersRemain" if holding else "ContentHasNoFinalizers",
            "All content-preserving finalizers finished",
        ),
    )
    conditions = list(old)
    for kind, trouble, reason, fine in said:
        status = "True" if trouble else "False"
        conditions = with_condition(conditions, kind, status, reason=reason, message=trouble or fine, now=now)
    return conditions
