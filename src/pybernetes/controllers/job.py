"""Job: pods that run to their end (kubernetes/pkg/controller/job, ttlafterfinished); decisions are in job_plan."""

from collections.abc import Sequence
from functools import partial

from pybernetes.api import selectors
from pybernetes.api.errors import ApiError, NotFound
from pybernetes.api.objects import Key, Obj, condition, is_deleting, key_of, labels_of, name_of, revision_of, uid_of
from pybernetes.api.resources import JOBS, PODS
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
from pybernetes.control.owners import candidates
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
from .pods import NamespaceTerminating, OwnedPods, pod_of, slow_start
from .replicaset import enqueue_matching
from .shared import Shared

COMPONENT = "job-controller"


class JobController:
    def __init__(self, shared: Shared) -> None:
        self.client, self.now = shared.client, shared.now
        self.jobs = shared.informers.of(JOBS, indexes=OWNER_INDEXES)
        self.pods = shared.pods()
        self.events = shared.recorder(COMPONENT)
        self.writes: Writes[Key] = Writes(self.pods)
        self.own: Writes[Key] = Writes(self.jobs)
        self.making = OwnedPods(self.client, self.events, self.writes)
        self.claimer = Claimer(self.client, PODS, owners=JOBS)
        self.controller = Controller(
            "job", self.reconcile, workers=shared.config.workers, informers=(self.jobs, self.pods)
        )
        self.jobs.subscribe(enqueue(self.controller.queue))
        self.pods.subscribe(enqueue_owner(self.controller.queue, "Job"))
        self.pods.subscribe(enqueue_matching(self.controller.queue.add, self.jobs.cache.select))

    async def run(self) -> None:
        await self.controller.run()

    async def reconcile(self, key: Key) -> Again | None:
        job = self.jobs.cache.get(key)
        if job is None:
            for writes in (self.writes, self.own):
                writes.forget(key)
            for pod in self._strays(key):
                await self._untrack(key, pod)
            return None
        if not self.writes.seen(key) or not self.own.seen(key):
            return Again(1.0)  # the event of what was written comes sooner
        pods = await self._claimed(job)
        self.writes.keep(key, pods)
        if is_finished(job) or is_deleting(job):
            for pod in pods:
                if tracked(pod) and (ended(pod) or is_deleting(job)):
                    await self._untrack(key, pod)
            return await self._expire(job)
        return await self._step(key, job, pods)

    def _strays(self, key: Key) -> list[Obj]:
        """Pods of a Job that is gone would never lose their finalizer."""
        return [
            pod
            for pod in self.pods.cache.select(key.namespace)
            if tracked(pod) and any(o.get("kind") == "Job" and o.get("name") == key.name for o in _owners(pod))
        ]

    async def _claimed(self, job: Obj) -> list[Obj]:
        selector = selectors.of(job["spec"].get("selector"))
        return await self.claimer.claim(job, candidates(self.pods, job), selector.matches_object)

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


def _owners(pod: Obj) -> list[Obj]:
    return pod["metadata"].get("ownerReferences") or []
