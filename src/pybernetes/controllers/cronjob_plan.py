"""What a CronJob needs now: which Jobs to start, stop and forget, and when to look again. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

from pybernetes.api import cron, times
from pybernetes.api.cron import Schedule
from pybernetes.api.objects import (
    Obj,
    condition_is,
    is_deleting,
    metadata,
    name_of,
    namespace_of,
    owner_reference,
    revision_of,
    uid_of,
)

SCHEDULED = "batch.kubernetes.io/cronjob-scheduled-timestamp"
_MANY = 100
_SLACK_SECONDS = 0.1
"""Looks come so much later than the time itself: the clock has then surely passed it."""


@dataclass(slots=True)
class Plan:
    """`start` is the scheduled time of the Job to make; `wait` the seconds until the next look."""

    status: Obj
    events: list[tuple[str, str, str]] = field(default_factory=list)
    """(type, reason, message)."""
    stop: list[Obj] = field(default_factory=list)
    """Running Jobs that the new one replaces."""
    expired: list[Obj] = field(default_factory=list)
    """Finished Jobs beyond the history limits."""
    start: float | None = None
    wait: float | None = None

    def say(self, reason: str, message: str, *, type: str = "Normal") -> None:
        self.events.append((type, reason, message))


def plan(cronjob: Obj, jobs: Sequence[Obj], *, now: float) -> Plan:
    """`jobs` are those that the CronJob controls."""
    found = Plan(dict(cronjob.get("status") or {}))
    _count(found, jobs)
    if is_deleting(cronjob):
        return found
    spec = cronjob["spec"]
    _expire(found, spec, jobs)
    zone = str(spec.get("timeZone") or "")
    try:
        cron.zone_of(zone)
    except ValueError as error:
        found.say("UnknownTimeZone", f'invalid timeZone: "{zone}": {error}', type="Warning")
        return found
    if spec.get("suspend"):
        return found
    try:
        schedule = cron.parse(spec["schedule"], zone)
    except ValueError as error:
        found.say("UnparseableSchedule", f'unparseable schedule: "{spec["schedule"]}" : {error}', type="Warning")
        return found
    following = schedule.after(now)
    found.wait = following - now + _SLACK_SECONDS if following is not None else None
    due = _due(found, cronjob, schedule, now=now)
    if due is not None:
        _begin(found, cronjob, jobs, due, now=now)
    return found


def _count(found: Plan, jobs: Sequence[Obj]) -> None:
    """status.active and lastSuccessfulTime, as the Jobs say."""
    by_uid = {uid_of(job): job for job in jobs}
    active = []
    for reference in found.status.get("active") or ():
        job = by_uid.get(str(reference.get("uid")))
        if job is None:
            found.say("MissingJob", f"Active job went missing: {reference.get('name')}")
        elif end := _end(job):
            found.say("SawCompletedJob", f"Saw completed job: {name_of(job)}, condition: {end}")
        else:
            active.append(reference)
    known = {reference.get("uid") for reference in active}
    for job in jobs:
        if not _end(job) and not is_deleting(job) and uid_of(job) not in known:
            text = f"Saw a job that the controller did not create or forgot: {name_of(job)}"
            found.say("UnexpectedJob", text, type="Warning")
    found.status["active"] = active
    done = [str(job["status"]["completionTime"]) for job in jobs if _end(job) == "Complete" and _completed(job)]
    if done:
        found.status["lastSuccessfulTime"] = max([*done, str(found.status.get("lastSuccessfulTime") or "")])


def _end(job: Obj) -> str:
    return next((kind for kind in ("Complete", "Failed") if condition_is(job, kind)), "")


def _completed(job: Obj) -> bool:
    return bool((job.get("status") or {}).get("completionTime"))


def _expire(found: Plan, spec: Obj, jobs: Sequence[Obj]) -> None:
    for kind, limit in (
        ("Complete", spec.get("successfulJobsHistoryLimit")),
        ("Failed", spec.get("failedJobsHistoryLimit")),
    ):
        if limit is not None:
            ended = sorted((job for job in jobs if _end(job) == kind and not is_deleting(job)), key=_age)
            found.expired += ended[: max(0, len(ended) - int(limit))]


def _age(job: Obj) -> tuple[str, str]:
    return str((job.get("status") or {}).get("startTime") or "~"), name_of(job)


def _due(found: Plan, cronjob: Obj, schedule: Schedule, *, now: float) -> float | None:
    """The latest time that has come and not been acted on."""
    last = (cronjob.get("status") or {}).get("lastScheduleTime")
    since = times.parse(last) if last else times.parse(metadata(cronjob)["creationTimestamp"])
    deadline = cronjob["spec"].get("startingDeadlineSeconds")
    if deadline is not None:
        since = max(since, now - float(deadline))
    due = schedule.before(now, since=since) if since <= now else None
    if due is not None and _missed(schedule, since, due) > _MANY:
        text = "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew"
        found.say("TooManyMissedTimes", text, type="Warning")
    return due


def _missed(schedule: Schedule, since: float, until: float) -> int:
    """How many times there were, as far as it matters."""
    count, one = 0, schedule.after(since)
    while one is not None and one <= until and count <= _MANY:
        count, one = count + 1, schedule.after(one)
    return count


def _begin(found: Plan, cronjob: Obj, jobs: Sequence[Obj], due: float, *, now: float) -> None:
    spec, active = cronjob["spec"], found.status["active"]
    deadline = spec.get("startingDeadlineSeconds")
    if deadline is not None and due + float(deadline) < now:
        when = format_datetime(datetime.fromtimestamp(due, UTC))
        found.say("MissSchedule", f"Missed scheduled time to start a job: {when}", type="Warning")
        return
    if any(name_of(job) == job_name(cronjob, due) for job in jobs):
        found.status["lastScheduleTime"] = times.stamp(due)
        return
    if spec.get("concurrencyPolicy") == "Forbid" and active:
        text = "Not starting job because prior execution is running and concurrency policy is Forbid"
        found.say("JobAlreadyActive", text)
        return
    if spec.get("concurrencyPolicy") == "Replace":
        uids = {reference.get("uid") for reference in active}
        found.stop = [job for job in jobs if uid_of(job) in uids]
        found.status["active"] = []
    found.start = due


def job_name(cronjob: Obj, due: float) -> str:
    """One name for one scheduled time: it cannot be made twice."""
    return f"{name_of(cronjob)}-{int(due) // 60}"


def job_of(cronjob: Obj, due: float) -> Obj:
    template = cronjob["spec"]["jobTemplate"]
    meta: dict[str, Any] = template.get("metadata") or {}
    zone = cron.zone_of(str(cronjob["spec"].get("timeZone") or ""))
    when = datetime.fromtimestamp(due, zone).isoformat().replace("+00:00", "Z")
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": job_name(cronjob, due),
            "namespace": namespace_of(cronjob),
            "labels": meta.get("labels") or {},
            "annotations": (meta.get("annotations") or {}) | {SCHEDULED: when},
            "ownerReferences": [owner_reference(cronjob)],
        },
        "spec": template["spec"],
    }


def reference(job: Obj) -> Obj:
    """An entry of status.active."""
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "name": name_of(job),
        "namespace": namespace_of(job),
        "resourceVersion": revision_of(job),
        "uid": uid_of(job),
    }


def started(status: Obj, jobs: Iterable[Obj], due: float) -> Obj:
    """The status once these Jobs run."""
    active = [*(status.get("active") or ()), *(reference(job) for job in jobs)]
    return status | {"active": active, "lastScheduleTime": times.stamp(due)}
