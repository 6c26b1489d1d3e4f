"""CronJobs: one Job for each time, however often it is looked at; policies, deadlines and history."""

from typing import Any

import pytest

from pybernetes.api import times
from pybernetes.api.objects import Obj, controller_of, name_of
from pybernetes.api.resources import CRON_JOBS, JOBS
from pybernetes.controllers.cronjob import CronJobController
from pybernetes.controllers.cronjob_plan import SCHEDULED, Plan, job_name, job_of, plan, reference
from support.control_plane import Stage
from support.objects import meta

BORN = times.parse("2026-01-01T00:00:00Z")
MINUTE = 60.0


def cronjob(status: Obj | None = None, **spec: Any) -> Obj:
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"template": {"spec": {"containers": [{"name": "c"}]}}}}
    base = {"schedule": "*/5 * * * *", "concurrencyPolicy": "Allow", "jobTemplate": template}
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": meta("tick", "default"),
        "spec": base | {"successfulJobsHistoryLimit": 3, "failedJobsHistoryLimit": 1} | spec,
        "status": status or {},
    }


def job(name: str, *, end: str = "", at: str = "2026-01-01T00:00:00Z") -> Obj:
    status: Obj = {"startTime": at}
    if end:
        status["conditions"] = [{"type": end, "status": "True"}]
    if end == "Complete":
        status["completionTime"] = at
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": meta(name, "default"), "status": status}


def reasons(found: Plan) -> list[str]:
    return [reason for _, reason, _ in found.events]


def test_nothing_is_started_before_its_time() -> None:
    found = plan(cronjob(), [], now=BORN + 4 * MINUTE)
    assert (found.start, found.wait) == (None, pytest.approx(MINUTE + 0.1))


def test_the_latest_time_that_has_come_is_started_once() -> None:
    found = plan(cronjob(), [], now=BORN + 11 * MINUTE)
    assert found.start == BORN + 10 * MINUTE
    made = job_of(cronjob(), found.start)
    assert made["metadata"]["name"] == f"tick-{int(found.start) // 60}"
    assert made["metadata"]["annotations"][SCHEDULED] == "2026-01-01T00:10:00Z"
    assert made["metadata"]["labels"] == {"a": "b"}
    done = cronjob({"lastScheduleTime": "2026-01-01T00:10:00Z"})
    assert plan(done, [], now=BORN + 11 * MINUTE).start is None


def test_should_not_schedule_jobs_when_suspended() -> None:
    found = plan(cronjob(suspend=True), [], now=BORN + 11 * MINUTE)
    assert (found.start, found.wait) == (None, None)


def test_should_schedule_multiple_jobs_concurrently() -> None:
    running = job("one")
    found = plan(cronjob({"active": [reference(running)]}), [running], now=BORN + 6 * MINUTE)
    assert found.start == BORN + 5 * MINUTE
    assert found.stop == []
    assert len(found.status["active"]) == 1


def test_should_not_schedule_new_jobs_when_forbid_concurrent() -> None:
    running = job("one")
    one = cronjob({"active": [reference(running)]}, concurrencyPolicy="Forbid")
    found = plan(one, [running], now=BORN + 6 * MINUTE)
    assert found.start is None
    assert reasons(found) == ["JobAlreadyActive"]
    ended = job("one", end="Complete")
    ended["metadata"] = running["metadata"]
    assert plan(one, [ended], now=BORN + 6 * MINUTE).start == BORN + 5 * MINUTE


def test_should_replace_jobs_when_replace_concurrent() -> None:
    running = job("one")
    one = cronjob({"active": [reference(running)]}, concurrencyPolicy="Replace")
    found = plan(one, [running], now=BORN + 6 * MINUTE)
    assert found.start == BORN + 5 * MINUTE
    assert found.stop == [running]
    assert found.status["active"] == []


def test_a_time_past_its_deadline_is_not_made_up_for() -> None:
    assert plan(cronjob(startingDeadlineSeconds=30), [], now=BORN + 6 * MINUTE).start is None
    assert plan(cronjob(startingDeadlineSeconds=90), [], now=BORN + 6 * MINUTE).start == BORN + 5 * MINUTE


def test_a_long_absence_is_told_and_started_once() -> None:
    found = plan(cronjob(schedule="* * * * *"), [], now=BORN + 500 * MINUTE + 1)
    assert reasons(found) == ["TooManyMissedTimes"]
    assert found.start == BORN + 500 * MINUTE


def test_a_time_zone_moves_the_schedule() -> None:
    found = plan(cronjob(schedule="5 1 * * *", timeZone="Europe/Berlin"), [], now=BORN + 6 * MINUTE)
    assert found.start == BORN + 5 * MINUTE
    assert job_of(cronjob(timeZone="Europe/Berlin"), BORN)["metadata"]["annotations"][SCHEDULED].endswith("+01:00")
    assert reasons(plan(cronjob(timeZone="Mars/Olympus"), [], now=BORN)) == ["UnknownTimeZone"]


def test_ended_jobs_leave_the_status_and_beyond_the_limits_the_cluster() -> None:
    jobs = [job(f"ok-{n}", end="Complete", at=f"2026-01-01T00:0{n}:00Z") for n in range(5)]
    jobs += [job(f"bad-{n}", end="Failed", at=f"2026-01-01T00:0{n}:00Z") for n in range(2)]
    one = cronjob({"active": [reference(jobs[4])], "lastScheduleTime": "2026-01-01T00:05:00Z"})
    found = plan(one, jobs, now=BORN + 6 * MINUTE)
    assert [name_of(one) for one in found.expired] == ["ok-0", "ok-1", "bad-0"]
    assert found.status["active"] == []
    assert found.status["lastSuccessfulTime"] == "2026-01-01T00:04:00Z"
    assert reasons(found) == ["SawCompletedJob"]


def test_a_job_that_went_missing_is_forgotten() -> None:
    found = plan(cronjob({"active": [reference(job("gone"))]}), [], now=BORN + MINUTE)
    assert found.status["active"] == []
    assert reasons(found) == ["MissingJob"]


@pytest.fixture
async def stage() -> tuple[Stage, CronJobController]:
    found = Stage()
    found.shared.now = lambda: BORN + 6 * MINUTE
    return found, CronJobController(found.shared)


async def test_a_job_is_made_owned_and_entered(stage: tuple[Stage, CronJobController]) -> None:
    play, controller = stage
    play.api.put(CRON_JOBS, cronjob())
    async with play.running(controller) as api:
        await api.until(lambda: bool(api.one(CRON_JOBS, "tick", "default")["status"].get("active")))
        (made,) = api.of(JOBS)
        assert name_of(made) == job_name(cronjob(), BORN + 5 * MINUTE)
        assert controller_of(made)["kind"] == "CronJob"  # type: ignore[index]
        status = api.one(CRON_JOBS, "tick", "default")["status"]
        assert status["lastScheduleTime"] == "2026-01-01T00:05:00Z"
        assert status["active"][0]["name"] == name_of(made)
        api.edit(JOBS, name_of(made), "default", status={"conditions": [{"type": "Complete", "status": "True"}]})
        await api.until(lambda: not api.one(CRON_JOBS, "tick", "default")["status"].get("active"))
        assert len(api.of(JOBS)) == 1


async def test_a_job_that_is_there_already_is_not_made_again(stage: tuple[Stage, CronJobController]) -> None:
    play, controller = stage
    one = play.api.put(CRON_JOBS, cronjob())
    play.api.put(JOBS, job_of(one, BORN + 5 * MINUTE))
    async with play.running(controller) as api:
        await api.until(lambda: bool(api.one(CRON_JOBS, "tick", "default")["status"].get("lastScheduleTime")))
        assert len(api.of(JOBS)) == 1
