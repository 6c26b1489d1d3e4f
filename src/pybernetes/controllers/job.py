"""Job: pods that run to their end (kubernetes/pkg/controller/job, ttlafterfinished); decisions are in job_plan."""

from collections.abc import Sequence
from functools import partial

from pybernetes.api.errors import ApiError, NotFound
from pybernetes.api.objects import (
    Key,
    Obj,
    condition,
    controller_of,
    is_deleting,
    key_of,
    labels_of,
    name_of,
    revision_of,
    uid_of,
)
from pybernetes.api.resources import JOBS, PODS
from pybernetes.control import Again, Writes, write_status
from pybernetes.control.pods import is_active, moment

from .job_plan import (
    FINALIZER,
    INDEX,
    Ending,
    backoff_in,
    completed_indexes,
    counts,
    deadline_in,
    ended,
    ending,
    index_of,
    is_finished,
    is_indexed,
    status_of,
    tracked,
    uncounted,
    wanted_active,
)
from .owns_pods import OwnsPods
from .pods import NamespaceTerminating, pod_of, slow_start
from .shared import Shared

COMPONENT = "job-controller"


class JobController(OwnsPods):
    def __init__(self, shared: Shared) -> None:
        super().__init__(shared, JOBS, name="job", component=COMPONENT)
        self.own: Writes[Key] = Writes(self.owners)

    async def forget(self, key: Key) -> Again | None:
        """Pods of a Job that is gone would never lose their finalizer."""
        self.own.forget(key)
        for pod in self.pods.cache.select(key.namespace, tracked):
            owner = controller_of(pod)
            if owner is not None and (owner.get("kind"), owner.get("name")) == (JOBS.kind, key.name):
                await self._untrack(key, pod)
        return None

    async def look(self, key: Key, owner: Obj) -> Again | None:
        if not self.own.seen(key):
            return Again(1.0)  # the Job's own event comes sooner
        pods = await self.claimed(owner)
        if not is_finished(owner) and not is_deleting(owner):
            return await self._step(key, owner, pods)
        for pod in pods:
            if tracked(pod) and (ended(pod) or is_deleting(owner)):
                await self._untrack(key, pod)
        return await self._expire(owner)

    async def _step(self, key: Key, job: Obj, pods: Sequence[Obj]) -> Again | None:
        now = self.now()
        noted, totals = uncounted(job, pods), counts(job, pods)
        active = [pod for pod in pods if is_active(pod) and not self.writes.gone(key, pod)]
        if is_indexed(job):
            succeeded = len(completed_indexes(job, pods))
        else:
            succeeded = totals["succeeded"] + len(noted.succeeded)
        failed = totals["failed"] + len(noted.failed)
        end = _chosen(job) or ending(job, succeeded=succeeded, failed=failed, active=len(active), now=now)
        status = status_of(job, pods, noted=noted, totals=totals, end=end, now=now)
        written = await write_status(self.client, JOBS, job, status)
        if written is not None:
            self.own.wrote(key, written)
            self._tell(job, written)
        for pod in pods:
            if uid_of(pod) in noted.succeeded | noted.failed and tracked(pod):
                await self._untrack(key, pod)
        want = 0 if end else wanted_active(job, succeeded=succeeded, active=len(active))
        wait = await self._scale(job, pods, active, want)
        left = deadline_in(job, now)
        waits = [one for one in (wait, left) if one is not None and one > 0]
        return Again(min(waits) + 0.01) if waits else None

    async def _scale(self, job: Obj, pods: Sequence[Obj], active: Sequence[Obj], want: int) -> float | None:
        """Start or stop pods; returns the seconds to wait when a back-off is in the way."""
        if len(active) > want:
            surplus = sorted(active, key=lambda pod: bool((pod.get("spec") or {}).get("nodeName")))[
                : len(active) - want
            ]
            await slow_start([partial(self.making.delete, job, pod) for pod in surplus])
            return None
        missing = want - len(active)
        if missing <= 0:
            return None
        if (wait := backoff_in(job, pods, self.now())) > 0:
            return wait
        try:
            await slow_start([partial(self.making.create, job, pod) for pod in self._new(job, pods, active, missing)])
        except NamespaceTerminating:
            return None
        return None

    def _new(self, job: Obj, pods: Sequence[Obj], active: Sequence[Obj], count: int) -> list[Obj]:
        if not is_indexed(job):
            return [_pod(job, None) for _ in range(count)]
        taken = completed_indexes(job, pods) | {index_of(pod) for pod in active}
        free = (index for index in range(int(job["spec"].get("completions") or 0)) if index not in taken)
        return [_pod(job, index) for index, _ in zip(free, range(count), strict=False)]

    async def _untrack(self, key: Key, pod: Obj) -> None:
        kept = [one for one in pod["metadata"].get("finalizers") or () if one != FINALIZER]
        meta = {"uid": uid_of(pod), "resourceVersion": revision_of(pod), "finalizers": kept or None}
        try:
            self.writes.wrote(key, await self.client.patch(PODS, key_of(pod), {"metadata": meta}))
        except NotFound:
            return

    def _tell(self, job: Obj, written: Obj) -> None:
        """Events for conditions that are new."""
        for kind, event, level in (
            ("Complete", ("Completed", "Job completed"), "Normal"),
            ("Failed", None, "Warning"),
            ("Suspended", None, "Normal"),
        ):
            old, new = condition(job, kind), condition(written, kind)
            if new is None or (old or {}).get("status") == new.get("status"):
                continue
            reason, message = event or (str(new["reason"]).removeprefix("Job"), str(new["message"]))
            self.events.event(job, reason, message, type=level)

    async def _expire(self, job: Obj) -> Again | None:
        """ttlSecondsAfterFinished."""
        ttl = job["spec"].get("ttlSecondsAfterFinished")
        if ttl is None or is_deleting(job):
            return None
        done = condition(job, "Complete") or condition(job, "Failed") or {}
        left = moment(done.get("lastTransitionTime"), self.now()) + float(ttl) - self.now()
        if left > 0:
            return Again(left + 0.01)
        try:
            await self.client.delete(JOBS, key_of(job), uid=uid_of(job), propagation="Foreground")
        except ApiError as error:
            if not isinstance(error, NotFound):
                raise
        return None


def _chosen(job: Obj) -> Ending | None:
    """An end once decided stays decided."""
    for target, kind in (("SuccessCriteriaMet", "Complete"), ("FailureTarget", "Failed")):
        found = condition(job, target)
        if found is not None and found.get("status") == "True":
            return Ending(kind, str(found.get("reason")), str(found.get("message")))
    return None


def _pod(job: Obj, index: int | None) -> Obj:
    pod = pod_of(job, job["spec"]["template"])
    meta = pod["metadata"]
    meta["finalizers"] = [*(meta.get("finalizers") or ()), FINALIZER]
    if index is None:
        return pod
    meta["annotations"] = dict(meta.get("annotations") or {}) | {INDEX: str(index)}
    meta["labels"] = dict(labels_of(pod)) | {INDEX: str(index)}
    meta["generateName"] = f"{name_of(job)}-{index}-"
    pod["spec"]["hostname"] = f"{name_of(job)}-{index}"[:63]
    field = {"fieldRef": {"fieldPath": f"metadata.labels['{INDEX}']"}}
    for container in (*(pod["spec"].get("containers") or ()), *(pod["spec"].get("initContainers") or ())):
        env = [one for one in container.get("env") or () if one["name"] != "JOB_COMPLETION_INDEX"]
        container["env"] = [*env, {"name": "JOB_COMPLETION_INDEX", "valueFrom": field}]
    return pod
