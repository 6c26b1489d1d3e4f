"""CronJob: Jobs at the times of a schedule (kubernetes/pkg/controller/cronjob); decisions are in cronjob_plan."""

from pybernetes.api.errors import AlreadyExists, ApiError, NotFound
from pybernetes.api.objects import Key, Obj, controller_of, is_deleting, key_of, name_of, namespace_of, uid_of
from pybernetes.api.resources import CRON_JOBS, JOBS
from pybernetes.control import OWNER_INDEXES, Again, Controller, Writes, enqueue, enqueue_owner, write_status
from pybernetes.control.owners import OWNER

from .cronjob_plan import Plan, job_of, plan, started
from .pods import is_terminating
from .shared import Shared

COMPONENT = "cronjob-controller"


class CronJobController:
    def __init__(self, shared: Shared) -> None:
        self.client, self.now = shared.client, shared.now
        self.cronjobs = shared.informers.of(CRON_JOBS)
        self.jobs = shared.informers.of(JOBS, indexes=OWNER_INDEXES)
        self.events = shared.recorder(COMPONENT)
        self.made: Writes[Key] = Writes(self.jobs)
        self.own: Writes[Key] = Writes(self.cronjobs)
        self.controller = Controller(
            "cronjob", self.reconcile, workers=shared.config.workers, informers=(self.cronjobs, self.jobs)
        )
        self.cronjobs.subscribe(enqueue(self.controller.queue))
        self.jobs.subscribe(enqueue_owner(self.controller.queue, CRON_JOBS.kind))

    async def run(self) -> None:
        await self.controller.run()

    async def reconcile(self, key: Key) -> Again | None:
        cronjob = self.cronjobs.cache.get(key)
        if cronjob is None:
            self.own.forget(key)
            self.made.forget(key)
            return None
        if not self.own.seen(key) or not self.made.seen(key):
            return Again(1.0)  # the object's own event comes sooner
        jobs = [job for job in self.jobs.cache.indexed(OWNER, uid_of(cronjob)) if namespace_of(job) == key.namespace]
        self.made.keep(key, jobs)
        jobs = [job for job in jobs if is_deleting(job) or not self.made.gone(key, job)]
        found = plan(cronjob, jobs, now=self.now())
        for type_, reason, message in found.events:
            self.events.event(cronjob, reason, message, type=type_)
        for job in (*found.stop, *found.expired):
            await self._delete(cronjob, job)
        await self._start(cronjob, found)
        written = await write_status(self.client, CRON_JOBS, cronjob, found.status)
        if written is not None:
            self.own.wrote(key, written)
        return Again(found.wait) if found.wait is not None else None

    async def _start(self, cronjob: Obj, found: Plan) -> None:
        """Make the Job that is due and enter it in the status."""
        if found.start is None:
            return
        wanted = job_of(cronjob, found.start)
        try:
            job = await self.client.create(JOBS, wanted)
        except AlreadyExists:
            job = await self.client.get(JOBS, key_of(wanted))
            if (controller_of(job) or {}).get("uid") != uid_of(cronjob):
                return
        except ApiError as error:
            if not is_terminating(error):
                self.events.event(cronjob, "FailedCreate", f"Error creating job: {error.message}", type="Warning")
            raise
        else:
            self.events.event(cronjob, "SuccessfulCreate", f"Created job {name_of(job)}")
        self.made.wrote(key_of(cronjob), job)
        found.status = started(found.status, [job], found.start)

    async def _delete(self, cronjob: Obj, job: Obj) -> None:
        try:
            await self.client.delete(JOBS, key_of(job), uid=uid_of(job), propagation="Background")
        except NotFound:
            return
        except ApiError as error:
            self.events.event(cronjob, "FailedDelete", f"Deleted job: {error.message}", type="Warning")
            raise
        self.made.deleted(key_of(cronjob), job)
        self.events.event(cronjob, "SuccessfulDelete", f"Deleted job {name_of(job)}")
