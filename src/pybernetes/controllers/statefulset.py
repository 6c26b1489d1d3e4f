"""StatefulSet: pods with lasting names, made and replaced in order (kubernetes/pkg/controller/statefulset)."""

from collections.abc import Mapping, Sequence

from pybernetes.api.errors import AlreadyExists, ApiError, NotFound
from pybernetes.api.objects import Key, Obj, is_deleting, key_of, labels_of, name_of, uid_of
from pybernetes.api.resources import PERSISTENT_VOLUME_CLAIMS, PODS, STATEFUL_SETS
from pybernetes.control import Again, enqueue_owner, write_status

from .owns_pods import OwnsPods
from .pods import is_terminating
from .revisions import HASH, History, Revisions
from .shared import Shared
from .statefulset_plan import claims_for, ordinal_of, plan, pod_for, status_of

COMPONENT = "statefulset-controller"


class StatefulSetController(OwnsPods):
    def __init__(self, shared: Shared) -> None:
        self.revisions = Revisions(shared.client, shared.informers, STATEFUL_SETS)
        informers = (self.revisions.informer,)
        super().__init__(shared, STATEFUL_SETS, name="statefulset", component=COMPONENT, informers=informers)
        self.revisions.informer.subscribe(enqueue_owner(self.controller.queue, STATEFUL_SETS.kind))

    async def forget(self, key: Key) -> Again | None:
        self.revisions.writes.forget(key)
        return None

    async def look(self, key: Key, owner: Obj) -> Again | None:
        if is_deleting(owner):
            return None
        history = await self.revisions.sync(
            owner, collisions=int((owner.get("status") or {}).get("collisionCount") or 0)
        )
        if history is None:
            return Again(1.0)
        pods = await self.claimed(owner, lambda pod: ordinal_of(owner, pod) >= 0)
        await self._step(owner, pods, history)
        if not self.writes.seen(key):
            return None  # its pods' events bring it back with true counts
        await self._settle(owner, pods, history)
        return self.when_available(owner, pods)

    async def _step(self, found: Obj, pods: Sequence[Obj], history: History) -> None:
        key = key_of(found)
        current, update = revisions_of(found, history)
        templates = {name_of(one): one["data"]["spec"]["template"] for one in (*history.old, history.current)}
        work = plan(
            found,
            pods,
            current=current,
            update=update,
            gone=lambda pod: self.writes.gone(key, pod),
            now=self.now(),
        )
        for ordinal, revision in work.create:
            if not await self._create(found, ordinal, revision, templates):
                return
        for pod in work.delete:
            await self._delete(found, pod)

    async def _create(self, found: Obj, ordinal: int, revision: str, templates: Mapping[str, Obj]) -> bool:
        """Claims first, then the pod; False when the namespace is going away."""
        template = {field: value for field, value in templates[revision].items() if field != "$patch"}
        pod = pod_for(found, template, ordinal, revision)
        shown = f"create Pod {name_of(pod)} in StatefulSet {name_of(found)}"
        try:
            for claim in claims_for(found, ordinal):
                await self._claim(claim)
            made = await self.client.create(PODS, pod)
        except ApiError as error:
            if is_terminating(error):
                return False
            if not isinstance(error, AlreadyExists):
                self.events.event(found, "FailedCreate", f"{shown} failed error: {error.message}", type="Warning")
            raise
        self.writes.wrote(key_of(found), made)
        self.events.event(found, "SuccessfulCreate", f"{shown} successful")
        return True

    async def _claim(self, claim: Obj) -> None:
        try:
            await self.client.create(PERSISTENT_VOLUME_CLAIMS, claim)
        except AlreadyExists:
            return

    async def _delete(self, found: Obj, pod: Obj) -> None:
        shown = f"delete Pod {name_of(pod)} in StatefulSet {name_of(found)}"
        try:
            await self.client.delete(PODS, key_of(pod), uid=uid_of(pod))
        except NotFound:
            return
        except ApiError as error:
            self.events.event(found, "FailedDelete", f"{shown} failed error: {error.message}", type="Warning")
            raise
        self.writes.deleted(key_of(found), pod)
        self.events.event(found, "SuccessfulDelete", f"{shown} successful")

    async def _settle(self, found: Obj, pods: Sequence[Obj], history: History) -> None:
        """Status and history."""
        current, update = revisions_of(found, history)
        status = status_of(found, pods, current=current, update=update, now=self.now())
        kept = {k: v for k, v in (found.get("status") or {}).items() if k in ("collisionCount", "conditions")}
        await write_status(self.client, STATEFUL_SETS, found, kept | status)
        used = {labels_of(pod).get(HASH, "") for pod in pods} | {status["currentRevision"]}
        in_use = [labels_of(one).get(HASH, "") for one in history.old if name_of(one) in used]
        await self.revisions.clean(found, history, in_use)


def revisions_of(found: Obj, history: History) -> tuple[str, str]:
    """The names of the revision that pods had until now, and of the newest; the same once a rollout is complete."""
    update = name_of(history.current)
    current = str((found.get("status") or {}).get("currentRevision") or update)
    known = {name_of(one) for one in history.old}
    return (current if current in known else update), update
