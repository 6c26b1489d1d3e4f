import pytest

from pybernetes.api.errors import FieldError
from pybernetes.api.kinds.jobs import cron
from support.admitted import accepted, admit, changed

TEMPLATE = {"spec": {"containers": [{"name": "a", "image": "host"}], "restartPolicy": "Never"}}


def job(**spec):
    wanted = {"template": TEMPLATE} | spec
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j"}, "spec": wanted}


def cron_job(**spec):
    wanted = {"schedule": "*/5 * * * *", "jobTemplate": {"spec": {"template": TEMPLATE}}} | spec
    return {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "j"}, "spec": wanted}


def test_a_jobs_defaults():
    spec = accepted(job())["spec"]
    assert {name: spec[name] for name in ("completions", "parallelism", "backoffLimit", "suspend")} == {
        "completions": 1,
        "parallelism": 1,
        "backoffLimit": 6,
        "suspend": False,
    }
    assert spec["completionMode"] == "NonIndexed"
    assert spec["podReplacementPolicy"] == "TerminatingOrFailed"


def test_a_job_selects_its_own_pods():
    spec = accepted(job())["spec"]
    assert spec["selector"] == {"matchLabels": {"batch.kubernetes.io/controller-uid": "uid-1"}}
    assert spec["template"]["metadata"]["labels"] == {
        "batch.kubernetes.io/controller-uid": "uid-1",
        "batch.kubernetes.io/job-name": "j",
        "controller-uid": "uid-1",
        "job-name": "j",
    }


def test_a_work_queue_has_no_completions():
    assert "completions" not in accepted(job(parallelism=3))["spec"]


@pytest.mark.parametrize(
    ("spec", "wrong"),
    [
        ({"parallelism": -1}, ["spec.parallelism"]),
        ({"completionMode": "Indexed", "parallelism": 1}, ["spec.completions"]),
        ({"completionMode": "Odd"}, ["spec.completionMode"]),
        ({"maxFailedIndexes": 1}, ["spec.backoffLimitPerIndex", "spec.maxFailedIndexes"]),
        (
            {"template": {"spec": TEMPLATE["spec"] | {"restartPolicy": "Always"}}},
            ["spec.template.spec.restartPolicy"],
        ),
    ],
)
def test_jobs(spec, wrong):
    assert admit(job(**spec)).fields == wrong


def test_a_jobs_template_stays():
    old = accepted(job())
    assert admit(changed(old, parallelism=2), old).fields == []
    other = old["spec"]["template"] | {"spec": {}}
    assert "spec.template" in admit(changed(old, template=other), old).fields
    assert admit(changed(old, completions=2), old).fields == ["spec.completions"]


def test_a_cron_jobs_defaults():
    spec = accepted(cron_job())["spec"]
    assert spec["concurrencyPolicy"] == "Allow"
    assert (spec["successfulJobsHistoryLimit"], spec["failedJobsHistoryLimit"]) == (3, 1)
    assert spec["suspend"] is False


def test_a_cron_jobs_name_leaves_room():
    assert admit(cron_job() | {"metadata": {"name": "a" * 53}}).fields == ["metadata.name"]


@pytest.mark.parametrize(
    "schedule",
    ["* * * * *", "0 0 1 1 0", "*/5 1-3,5 * jan-mar mon", "@hourly", "@every 1h", "? * * * *", "1/2 * * * *"],
)
def test_schedules(schedule):
    assert not list(cron(schedule, "s"))


@pytest.mark.parametrize(
    "schedule",
    [
        "* * * *",
        "60 * * * *",
        "* 24 * * *",
        "* * 0 * *",
        "5-1 * * * *",
        "a * * * *",
        "*/0 * * * *",
        "@often",
        "TZ=UTC * * * * *",
    ],
)
def test_bad_schedules(schedule):
    found = list(cron(schedule, "s"))
    assert [type(one) for one in found] == [FieldError]
