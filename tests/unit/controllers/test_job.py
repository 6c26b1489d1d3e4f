"""Jobs: every end is counted once, whatever happens meanwhile."""

from collections.abc import AsyncIterator

import pytest

from pybernetes.api.objects import Key, Obj, annotations_of, condition, condition_is
from pybernetes.api.resources import JOBS, PODS
from pybernetes.controllers.job import JobController
from pybernetes.controllers.job_plan import (
    FINALIZER,
    INDEX,
    Counted,
    backoff_in,
    completed_indexes,
    ending,
    format_indexes,
    parse_indexes,
    status_of,
    wanted_active,
)
from support.control_plane import Stage
from support.objects import meta, pod


def job(**spec: object) -> Obj:
    template = {
        "metadata": {"labels": {"job": "sum"}},
        "spec": {"restartPolicy": "Never", "containers": [{"name": "c"}]},
    }
    base = {"selector": {"matchLabels": {"job": "sum"}}, "template": template, "parallelism": 1, "backoffLimit": 6}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": meta("sum", "default", generation=1),
        "spec": base | spec,
    }


def test_indexes() -> None:
    assert format_indexes({5, 0, 1, 2, 7}) == "0-2,5,7"
    assert parse_indexes("0-2,5,7") == {0, 1, 2, 5, 7}
    assert parse_indexes(format_indexes(set())) == set()


def test_indexes_that_are_no_longer_asked_for_do_not_count() -> None:
    """completions became fewer: the API server takes no index that is not below them."""
    one = job(completions=2, completionMode="Indexed") | {"status": {"completedIndexes": "0,2-3"}}
    assert completed_indexes(one, []) == {0}


def test_a_job_that_ends_while_suspended_has_started() -> None:
    """The API server takes no finished Job without a start."""
    one = job(completions=1, suspend=True) | {"status": {"succeeded": 1}}
    end = ending(one, succeeded=1, failed=0, active=0, now=9.0)
    noted = Counted(frozenset(), frozenset())
    status = status_of(one, [], noted=noted, totals={"succeeded": 1, "failed": 0}, end=end, now=9.0)
    assert condition_is({"status": status}, "Complete")
    assert status["startTime"] == status["completionTime"]


@pytest.mark.parametrize(
    ("spec", "succeeded", "active", "expected"),
    [
        ({"completions": 5, "parallelism": 2}, 0, 0, 2),
        ({"completions": 5, "parallelism": 2}, 4, 1, 1),
        ({"parallelism": 3}, 0, 0, 3),
        ({"parallelism": 3}, 1, 2, 2),
        ({"completions": 5, "suspend": True}, 0, 2, 0),
    ],
)
def test_how_many_run(spec: dict, succeeded: int, active: int, expected: int) -> None:
    assert wanted_active(job(**spec), succeeded=succeeded, active=active) == expected


def test_ends() -> None:
    def reason(one: Obj, succeeded: int, failed: int, active: int, now: float = 0.0) -> str:
        found = ending(one, succeeded=succeeded, failed=failed, active=active, now=now)
        return found.reason if found else ""

    assert reason(job(completions=2), 2, 0, 0) == "CompletionsReached"
    assert reason(job(completions=2), 1, 6, 1) == ""
    assert reason(job(completions=2), 1, 7, 1) == "BackoffLimitExceeded"
    assert reason(job(), 1, 0, 1) == ""
    assert reason(job(), 1, 0, 0) == "CompletionsReached"
    late = job(activeDeadlineSeconds=10) | {"status": {"startTime": "1970-01-01T00:00:00Z"}}
    assert reason(late, 0, 0, 1, 9.0) == ""
    assert reason(late, 0, 0, 1, 10.0) == "DeadlineExceeded"


def test_back_off_after_failures() -> None:
    def failed(at: str) -> Obj:
        one = pod(f"f{at}", phase="Failed")
        one["status"]["containerStatuses"] = [{"state": {"terminated": {"finishedAt": f"1970-01-01T00:00:{at}Z"}}}]
        return one

    assert backoff_in(job(), [], 30.0) == 0
    assert backoff_in(job(), [failed("25")], 30.0) == 5
    assert backoff_in(job(), [failed("20"), failed("25")], 30.0) == 15


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    found = Stage()
    found.kubelet.broken = lambda pod: True
    async with found.running(JobController(found.shared)):
        yield found


def status(stage: Stage, field: str) -> object:
    return (stage.api.one(JOBS, "sum", "default").get("status") or {}).get(field)


def running(stage: Stage) -> list[Obj]:
    return [one for one in stage.api.of(PODS) if (one.get("status") or {}).get("phase") not in ("Succeeded", "Failed")]


async def end(stage: Stage, one: Obj, phase: str) -> None:
    key = Key("default", one["metadata"]["name"])
    await stage.client.patch(PODS, key, {"status": {"phase": phase}}, subresource="status")


def done(stage: Stage, kind: str) -> bool:
    return condition_is(stage.api.one(JOBS, "sum", "default"), kind)


async def test_to_completion(stage: Stage) -> None:
    api = stage.api
    api.put(JOBS, job(completions=3, parallelism=2))
    for number in range(3):
        await api.until(lambda number=number: len(running(stage)) == min(2, 3 - number))
        assert FINALIZER in running(stage)[0]["metadata"]["finalizers"]
        await end(stage, running(stage)[0], "Succeeded")
    await api.until(lambda: done(stage, "Complete"))
    assert status(stage, "succeeded") == 3
    assert not status(stage, "active")
    assert not status(stage, "uncountedTerminatedPods")
    assert all("finalizers" not in one["metadata"] for one in api.of(PODS))
    assert len(api.of(PODS)) == 3
    await api.until(lambda: ("Completed", "Job completed") in stage.events)


async def test_too_many_failures_end_it_and_stop_the_rest(stage: Stage) -> None:
    api = stage.api
    api.put(JOBS, job(completions=3, parallelism=2, backoffLimit=0))
    await api.until(lambda: len(running(stage)) == 2)
    await end(stage, running(stage)[0], "Failed")
    await api.until(lambda: done(stage, "FailureTarget"))
    await api.until(lambda: not running(stage))
    await api.until(lambda: done(stage, "Failed"))
    found = condition(api.one(JOBS, "sum", "default"), "Failed")
    assert found is not None
    assert found["reason"] == "BackoffLimitExceeded"


async def test_indexed(stage: Stage) -> None:
    api = stage.api
    api.put(JOBS, job(completions=3, parallelism=3, completionMode="Indexed"))
    await api.until(lambda: len(running(stage)) == 3)
    pods = {annotations_of(one)[INDEX]: one for one in running(stage)}
    assert sorted(pods) == ["0", "1", "2"]
    assert pods["1"]["spec"]["hostname"] == "sum-1"
    for index in ("0", "2"):
        await end(stage, pods[index], "Succeeded")
    await api.until(lambda: status(stage, "completedIndexes") == "0,2")
    await end(stage, pods["1"], "Succeeded")
    await api.until(lambda: done(stage, "Complete"))
    assert status(stage, "completedIndexes") == "0-2"


async def test_suspend_and_resume(stage: Stage) -> None:
    api = stage.api
    api.put(JOBS, job(completions=1))
    await api.until(lambda: len(running(stage)) == 1)
    api.edit(JOBS, "sum", "default", spec={"suspend": True})
    await api.until(lambda: done(stage, "Suspended") and not running(stage))
    api.edit(JOBS, "sum", "default", spec={"suspend": False})
    await api.until(lambda: len(running(stage)) == 1)


async def test_a_finished_job_goes_after_its_time(stage: Stage) -> None:
    api = stage.api
    api.put(JOBS, job(completions=1, ttlSecondsAfterFinished=0))
    await api.until(lambda: len(running(stage)) == 1)
    await end(stage, running(stage)[0], "Succeeded")
    await api.until(lambda: bool(api.asked("DELETE", "/jobs/")))
