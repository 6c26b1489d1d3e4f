"""Conditions of a Deployment."""

from pybernetes.api import times
from pybernetes.api.objects import Obj, condition
from pybernetes.controllers.deployment_status import deadline_in, paused_conditions, rollout_status
from support.objects import workload


def state(obj: Obj, kind: str) -> tuple[str, str] | None:
    found = condition(obj, kind)
    return (found["status"], found["reason"]) if found else None


def rs(available: int, replicas: int = 3) -> Obj:
    found = workload("ReplicaSet", "web-1", replicas=replicas)
    found["status"] = {"replicas": replicas, "availableReplicas": available, "readyReplicas": available}
    return found


def progressing(reason: str, at: float, status: str = "True") -> dict:
    stamp = times.stamp(at)
    return {
        "type": "Progressing",
        "status": status,
        "reason": reason,
        "lastUpdateTime": stamp,
        "lastTransitionTime": stamp,
    }


def test_from_nothing_to_available() -> None:
    owner = workload("Deployment", progressDeadlineSeconds=600)
    owner["status"] = {"conditions": [progressing("NewReplicaSetCreated", 1000.0)]}
    new = rs(0)
    first = {"status": rollout_status(owner, [new], new, now=1001.0)}
    assert state(first, "Available") == ("False", "MinimumReplicasUnavailable")
    assert state(first, "Progressing") == ("True", "ReplicaSetUpdated")
    assert first["status"]["unavailableReplicas"] == 3
    done = rs(3)
    second = {"status": rollout_status(owner | first, [done], done, now=1002.0)}
    assert state(second, "Available") == ("True", "MinimumReplicasAvailable")
    assert state(second, "Progressing") == ("True", "NewReplicaSetAvailable")
    assert condition(second, "Progressing")["message"] == 'ReplicaSet "web-1" has successfully progressed.'
    assert condition(second, "Progressing")["lastTransitionTime"] == times.stamp(1000.0)


def test_the_deadline() -> None:
    owner = workload("Deployment", progressDeadlineSeconds=60)
    new = rs(1)
    owner["status"] = {"updatedReplicas": 3, "replicas": 3, "readyReplicas": 1, "availableReplicas": 1,
                       "conditions": [progressing("ReplicaSetUpdated", 1000.0)]}  # fmt: skip
    assert deadline_in(owner, now=1010.0) == 50.0
    assert state({"status": rollout_status(owner, [new], new, now=1059.0)}, "Progressing") == (
        "True",
        "ReplicaSetUpdated",
    )
    late = {"status": rollout_status(owner, [new], new, now=1061.0)}
    assert state(late, "Progressing") == ("False", "ProgressDeadlineExceeded")
    assert deadline_in(owner | late, now=1061.0) == float("inf")


def test_no_deadline_no_progressing() -> None:
    owner = workload("Deployment", progressDeadlineSeconds=2**31 - 1)
    owner["status"] = {"conditions": [progressing("ReplicaSetUpdated", 1000.0)]}
    assert state({"status": rollout_status(owner, [rs(1)], rs(1), now=1.0)}, "Progressing") is None


def test_a_failing_set_shows() -> None:
    owner, new = workload("Deployment"), rs(0)
    new["status"]["conditions"] = [
        {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "no"}
    ]
    found = {"status": rollout_status(owner, [new], new, now=1.0)}
    assert state(found, "ReplicaFailure") == ("True", "FailedCreate")


def test_pause_and_resume_are_noted() -> None:
    owner = workload("Deployment", paused=True)
    paused = paused_conditions(owner, [], now=1.0)
    assert [(c["status"], c["reason"]) for c in paused] == [("Unknown", "DeploymentPaused")]
    owner = workload("Deployment") | {"status": {"conditions": paused}}
    resumed = paused_conditions(owner, paused, now=2.0)
    assert [(c["status"], c["reason"]) for c in resumed] == [("Unknown", "DeploymentResumed")]
