"""Deployment: rolls a pod template out through ReplicaSets (k8s.io/kubernetes/pkg/controller/deployment).

What the sizes should be is in deployment_rollout, what the status says in deployment_status; here they are carried out.
"""

from collections.abc import Sequence

from pybernetes.api import selectors
from pybernetes.api.errors import AlreadyExists, ApiError, NotFound
from pybernetes.api.objects import (
    Key,
    Obj,
    annotations_of,
    condition,
    controller_of,
    copied,
    is_deleting,
    key_of,
    labels_of,
    name_of,
    namespace_of,
    owner_reference,
    revision_of,
    uid_of,
)
from pybernetes.api.resources import DEPLOYMENTS, REPLICA_SETS
from pybernetes.client import Delta
from pybernetes.control import (
    OWNER_INDEXES,
    Again,
    Claimer,
    Controller,
    Writes,
    enqueue,
    enqueue_owner,
    write_status,
)
from pybernetes.control.owners import OWNER, candidates
from pybernetes.control.pods import is_terminal
from pybernetes.control.status import with_condition

from .deployment_rollout import (
    POD_TEMPLATE_HASH,
    REVISION,
    Resize,
    active,
    find_new,
    is_complete,
    is_rolling,
    is_scaling,
    new_size,
    revision,
    scale,
    scale_down_old,
    set_annotations,
    size_annotations,
    size_of,
    template_of,
    to_clean,
    wanted,
)
from .deployment_status import counts_of, deadline_in, has_deadline, paused_conditions, rollout_status
from .hashing import template_hash
from .pods import is_terminating
from .shared import Shared

COMPONENT = "deployment-controller"


class DeploymentController:
    def __init__(self, shared: Shared) -> None:
        self.client, self.now = shared.client, shared.now
        self.deployments = shared.informers.of(DEPLOYMENTS)
        self.sets = shared.informers.of(REPLICA_SETS, indexes=OWNER_INDEXES)
        self.pods = shared.pods()
        self.events = shared.recorder(COMPONENT)
        self.writes: Writes[Key] = Writes(self.sets)
        self.claimer = Claimer(self.client, REPLICA_SETS, owners=DEPLOYMENTS)
        self.controller = Controller(
            "deployment",
            self.reconcile,
            workers=shared.config.workers,
            informers=(self.deployments, self.sets, self.pods),
        )
        self.deployments.subscribe(enqueue(self.controller.queue))
        self.sets.subscribe(enqueue_owner(self.controller.queue, "Deployment"))
        self.sets.subscribe(self._orphan_set)
        self.pods.subscribe(self._pod_gone)

    async def run(self) -> None:
        await self.controller.run()

    def _orphan_set(self, delta: Delta) -> None:
        """A set that nobody owns may be one to adopt."""
        rs = delta.now
        if rs is None or is_deleting(rs) or controller_of(rs) is not None:
            return
        for deployment in self.deployments.cache.select(namespace_of(rs)):
            if selectors.of(deployment["spec"].get("selector")).matches_object(rs):
                self.controller.queue.add(key_of(deployment))

    def _pod_gone(self, delta: Delta) -> None:
        """Recreate waits for the last old pod to be gone."""
        if delta.now is not None and not is_terminal(delta.now):
            return
        owner = controller_of(delta.obj)
        if owner is None or owner.get("kind") != "ReplicaSet":
            return
        rs = self.sets.cache.get(Key(namespace_of(delta.obj), str(owner["name"])))
        parent = controller_of(rs) if rs is not None else None
        if parent is None or parent.get("kind") != "Deployment":
            return
        key = Key(namespace_of(delta.obj), str(parent["name"]))
        deployment = self.deployments.cache.get(key)
        if deployment is not None and not is_rolling(deployment):
            self.controller.queue.add(key)

    async def reconcile(self, key: Key) -> Again | None:
        deployment = self.deployments.cache.get(key)
        if deployment is None:
            self.writes.forget(key)
            return None
        selector = selectors.of(deployment["spec"].get("selector"))
        if not selector:
            self.events.event(
                deployment,
                "SelectingAll",
                "This deployment is selecting all pods. A non-empty selector is required.",
                type="Warning",
            )
            return None
        if not self.writes.seen(key):
            return Again(1.0)  # the set's own event comes sooner
        sets = await self.claimer.claim(deployment, candidates(self.sets, deployment), selector.matches_object)
        rollout = _Rollout(self, deployment, sets)
        if is_deleting(deployment):
            await rollout.write_counts()
        elif deployment["spec"].get("paused") or is_scaling(deployment, sets):
            await rollout.sync()
        elif is_rolling(deployment):
            await rollout.roll()
        else:
            await rollout.recreate()
        soon = deadline_in(deployment, now=self.now())
        return Again(max(soon, 0.0) + 1.0) if soon != float("inf") else None


class _Rollout:
    """One reconcile of one Deployment: its sets as they are now, kept up to date with what is written."""

    def __init__(self, controller: DeploymentController, deployment: Obj, sets: Sequence[Obj]) -> None:
        self.client, self.now = controller.client, controller.now
        self.pods, self.events, self.writes = controller.pods, controller.events, controller.writes
        self.deployment = deployment
        self.new = find_new(deployment, sets)
        self.old = [rs for rs in sets if self.new is None or uid_of(rs) != uid_of(self.new)]

    @property
    def all(self) -> list[Obj]:
        return [*self.old, *([self.new] if self.new is not None else [])]

    # -- the three roads --------------------------------------------------------------------------------------------

    async def sync(self) -> None:
        """Scale without rolling: a change of replicas, or a pause."""
        await self._sync_new(create=False)
        for resize in scale(self.deployment, self.new, self.old):
            await self._resize(resize)
        if self.deployment["spec"].get("paused"):
            await self._clean()
        await self.write_counts()

    async def roll(self) -> None:
        """RollingUpdate: grow the new set as far as the surge allows, shrink the old as far as availability allows."""
        await self._sync_new(create=True)
        if self.new is not None:
            size = wanted(self.deployment)
            if size_of(self.new) <= size:
                size = new_size(self.deployment, self.all, self.new)
            if await self._resize(Resize(self.new, size)):
                return await self._write_rollout()
        shrunk = [await self._resize(resize) for resize in scale_down_old(self.deployment, self.old, self.new)]
        if not any(shrunk) and is_complete(self.deployment, self.deployment.get("status") or {}):
            await self._clean()
        return await self._write_rollout()

    async def recreate(self) -> None:
        """Recreate: no new pod before the last old one is gone."""
        await self._sync_new(create=False)
        shrunk = [await self._resize(Resize(rs, 0)) for rs in active(self.old)]
        if not any(shrunk) and not self._old_pods_run():
            await self._sync_new(create=True)
            if self.new is not None:
                await self._resize(Resize(self.new, wanted(self.deployment)))
            if is_complete(self.deployment, self.deployment.get("status") or {}):
                await self._clean()
        await self._write_rollout()

    def _old_pods_run(self) -> bool:
        return any(not is_terminal(pod) for rs in self.old for pod in self.pods.cache.indexed(OWNER, uid_of(rs)))

    # -- the new set ------------------------------------------------------------------------------------------------

    async def _sync_new(self, *, create: bool) -> None:
        """Have the new set, with its annotations and revision as they should be (getNewReplicaSet)."""
        newest = max((revision(rs) for rs in self.old), default=0) + 1
        conditions = list((self.deployment.get("status") or {}).get("conditions") or ())
        if self.new is not None:
            await self._refresh_new(newest)
            if has_deadline(self.deployment) and condition(self.deployment, "Progressing") is None:
                await self._progress("FoundNewReplicaSet", f'Found new replica set "{name_of(self.new)}"', conditions)
        elif create:
            await self._create_new(newest, conditions)
        if self.new is not None:
            await self._note_revision()

    async def _refresh_new(self, newest: int) -> None:
        assert self.new is not None
        annotations = set_annotations(self.deployment, self.new, newest, exists=True)
        patch: Obj = {}
        if annotations != annotations_of(self.new):
            patch["metadata"] = {"annotations": annotations}
        ready = int(self.deployment["spec"].get("minReadySeconds") or 0)
        if int(self.new["spec"].get("minReadySeconds") or 0) != ready:
            patch["spec"] = {"minReadySeconds": ready}
        if patch:
            self.new = await self._patch(self.new, patch)

    async def _create_new(self, newest: int, conditions: list[Obj]) -> None:
        rs = new_set(self.deployment, newest, self.old)
        size = size_of(rs)
        try:
            self.new = await self.client.create(REPLICA_SETS, rs)
        except AlreadyExists:
            await self._collided(rs)
            return
        except ApiError as error:
            if is_terminating(error):
                return
            message = f'Failed to create new replica set "{name_of(rs)}": {error.message}'
            self.events.event(self.deployment, "ReplicaSetCreateError", message, type="Warning")
            if has_deadline(self.deployment):
                await self._progress("ReplicaSetCreateError", message, conditions, status="False")
            raise
        self.writes.wrote(key_of(self.deployment), self.new)
        if size:
            self._tell_scaled(self.new, 0, size)
        if has_deadline(self.deployment):
            await self._progress("NewReplicaSetCreated", f'Created new replica set "{name_of(rs)}"', conditions)

    async def _collided(self, rs: Obj) -> None:
        """The name is taken: by our own set that the cache has not seen, or by another template with the same hash."""
        taken = await self.client.get(REPLICA_SETS, key_of(rs))
        owner = controller_of(taken)
        ours = owner is not None and owner.get("uid") == uid_of(self.deployment)
        if ours and template_of(taken) == template_of(self.deployment):
            self.new = taken
            self.writes.wrote(key_of(self.deployment), taken)
            return
        collisions = int((self.deployment.get("status") or {}).get("collisionCount") or 0) + 1
        patch = {"status": {"collisionCount": collisions}}
        await self.client.patch(DEPLOYMENTS, key_of(self.deployment), patch, subresource="status")
        raise AlreadyExists.of(REPLICA_SETS.plural, name_of(rs), group=REPLICA_SETS.group)

    async def _note_revision(self) -> None:
        """The Deployment bears the revision of its new set."""
        assert self.new is not None
        number = annotations_of(self.new).get(REVISION)
        if number and annotations_of(self.deployment).get(REVISION) != number:
            patch = {"metadata": {"uid": uid_of(self.deployment), "annotations": {REVISION: number}}}
            self._merge(await self.client.patch(DEPLOYMENTS, key_of(self.deployment), patch))

    async def _progress(self, reason: str, message: str, conditions: list[Obj], *, status: str = "True") -> None:
        fresh = with_condition(
            conditions, "Progressing", status, reason=reason, message=message, now=self.now(), updates=True
        )
        patch = {"status": {"conditions": fresh}}
        self._merge(await self.client.patch(DEPLOYMENTS, key_of(self.deployment), patch, subresource="status"))

    def _merge(self, written: Obj) -> None:
        """Go on with the Deployment as written, but with the spec that this reconcile began with."""
        self.deployment = written | {
            "spec": self.deployment["spec"],
            "metadata": written["metadata"] | {"generation": self.deployment["metadata"].get("generation", 0)},
        }

    # -- sizes ------------------------------------------------------------------------------------------------------

    async def _resize(self, resize: Resize) -> bool:
        """Make a set that big and note what it was sized for; whether its size changed (scaleReplicaSet)."""
        rs, size = resize
        before = size_of(rs)
        annotations = size_annotations(self.deployment)
        noted = annotations_of(rs)
        if before == size and all(noted.get(name) == value for name, value in annotations.items()):
            return False
        patch: Obj = {"metadata": {"annotations": annotations}}
        if before != size:
            patch["spec"] = {"replicas": size}
        written = await self._patch(rs, patch)
        if self.new is not None and uid_of(rs) == uid_of(self.new):
            self.new = written
        else:
            self.old = [written if uid_of(one) == uid_of(rs) else one for one in self.old]
        if before != size:
            self._tell_scaled(rs, before, size)
        return before != size

    async def _patch(self, rs: Obj, patch: Obj) -> Obj:
        patch.setdefault("metadata", {})["resourceVersion"] = revision_of(rs)
        written = await self.client.patch(REPLICA_SETS, key_of(rs), patch)
        self.writes.wrote(key_of(self.deployment), written)
        return written

    def _tell_scaled(self, rs: Obj, before: int, size: int) -> None:
        way = "up" if size > before else "down"
        message = f"Scaled {way} replica set {name_of(rs)} from {before} to {size}"
        self.events.event(self.deployment, "ScalingReplicaSet", message)

    async def _clean(self) -> None:
        for rs in to_clean(self.deployment, self.old):
            try:
                await self.client.delete(REPLICA_SETS, key_of(rs), uid=uid_of(rs), propagation="Background")
            except NotFound:
                continue

    # -- status -----------------------------------------------------------------------------------------------------

    async def write_counts(self) -> None:
        now = self.now()
        status = counts_of(self.deployment, self.all, self.new, now=now)
        status["conditions"] = paused_conditions(self.deployment, status["conditions"], now=now)
        await write_status(self.client, DEPLOYMENTS, self.deployment, status)

    async def _write_rollout(self) -> None:
        now = self.now()
        status = rollout_status(self.deployment, self.all, self.new, now=now)
        status["conditions"] = paused_conditions(self.deployment, status["conditions"], now=now)
        await write_status(self.client, DEPLOYMENTS, self.deployment, status)


def new_set(deployment: Obj, newest: int, old: Sequence[Obj]) -> Obj:
    """The ReplicaSet of the present template."""
    collisions = int((deployment.get("status") or {}).get("collisionCount") or 0)
    template = copied(template_of(deployment))
    digest = template_hash(template, collisions)
    labels = dict(labels_of(template)) | {POD_TEMPLATE_HASH: digest}
    template["metadata"]["labels"] = labels
    selector = copied(deployment["spec"]["selector"])
    selector["matchLabels"] = (selector.get("matchLabels") or {}) | {POD_TEMPLATE_HASH: digest}
    rs: Obj = {
        "apiVersion": REPLICA_SETS.api_version,
        "kind": REPLICA_SETS.kind,
        "metadata": {
            "namespace": namespace_of(deployment),
            "name": f"{name_of(deployment)}-{digest}",
            "labels": labels,
            "ownerReferences": [owner_reference(deployment)],
        },
        "spec": {
            "replicas": new_size(deployment, old, None),
            "minReadySeconds": int(deployment["spec"].get("minReadySeconds") or 0),
            "selector": selector,
            "template": template,
        },
    }
    rs["metadata"]["annotations"] = set_annotations(deployment, rs, newest, exists=False)
    return rs
