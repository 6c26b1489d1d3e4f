"""The status of a Deployment: counts of its ReplicaSets; conditions Available, Progressing, ReplicaFailure; pure."""

from collections.abc import Sequence

from pybernetes.api.objects import Obj, condition, name_of
from pybernetes.control.pods import moment
from pybernetes.control.status import with_condition, without_condition

from .deployment_rollout import bounds, count, is_complete, is_progressing, total, wanted

NO_DEADLINE = 2**31 - 1
NEW_SET_AVAILABLE = "NewReplicaSetAvailable"
TIMED_OUT = "ProgressDeadlineExceeded"


def has_deadline(deployment: Obj) -> bool:
    return int(deployment["spec"].get("progressDeadlineSeconds", 600)) != NO_DEADLINE


def counts_of(deployment: Obj, sets: Sequence[Obj], new: Obj | None, *, now: float) -> Obj:
    """Everything but Progressing and ReplicaFailure (calculateStatus)."""
    old = deployment.get("status") or {}
    available = sum(count(rs, "availableReplicas") for rs in sets)
    enough = available >= wanted(deployment) - bounds(deployment).unavailable
    conditions = with_condition(
        old.get("conditions") or (),
        "Available",
        "True" if enough else "False",
        reason="MinimumReplicasAvailable" if enough else "MinimumReplicasUnavailable",
        message=f"Deployment {'has' if enough else 'does not have'} minimum availability.",
        now=now,
        updates=True,
    )
    status: Obj = {
        "observedGeneration": deployment["metadata"].get("generation", 0),
        "replicas": sum(count(rs, "replicas") for rs in sets),
        "updatedReplicas": count(new, "replicas") if new is not None else 0,
        "readyReplicas": sum(count(rs, "readyReplicas") for rs in sets),
        "availableReplicas": available,
        "unavailableReplicas": max(0, total(sets) - available),
        "terminatingReplicas": sum(count(rs, "terminatingReplicas") for rs in sets),
        "conditions": conditions,
    }
    if old.get("collisionCount"):
        status["collisionCount"] = old["collisionCount"]
    return status


def rollout_status(deployment: Obj, sets: Sequence[Obj], new: Obj | None, *, now: float) -> Obj:
    """The status during and after a rollout (syncRolloutStatus)."""
    status = counts_of(deployment, sets, new, now=now)
    if not has_deadline(deployment):
        status["conditions"] = without_condition(status["conditions"], "Progressing")
    else:
        current = condition(deployment, "Progressing")
        done = status["replicas"] == status["updatedReplicas"] and current is not None
        if not (done and current is not None and current.get("reason") == NEW_SET_AVAILABLE):
            status["conditions"] = _progress(deployment, status, new, now=now)
    failures = [c for rs in ([new] if new else sets) if rs and (c := condition(rs, "ReplicaFailure")) is not None]
    if failures:
        first = failures[0]
        status["conditions"] = with_condition(
            status["conditions"], "ReplicaFailure", str(first["status"]), reason=str(first.get("reason", "")),
            message=str(first.get("message", "")), now=now, updates=True,
        )  # fmt: skip
    else:
        status["conditions"] = without_condition(status["conditions"], "ReplicaFailure")
    return status


def _progress(deployment: Obj, status: Obj, new: Obj | None, *, now: float) -> list[Obj]:
    conditions: list[Obj] = status["conditions"]
    who = f'ReplicaSet "{name_of(new)}"' if new is not None else f'Deployment "{name_of(deployment)}"'
    if is_complete(deployment, status):
        return with_condition(
            conditions, "Progressing", "True", reason=NEW_SET_AVAILABLE,
            message=f"{who} has successfully progressed.", now=now, updates=True,
        )  # fmt: skip
    if is_progressing(deployment.get("status") or {}, status):
        current = condition(deployment, "Progressing")
        fresh = with_condition(
            without_condition(conditions, "Progressing"), "Progressing", "True", reason="ReplicaSetUpdated",
            message=f"{who} is progressing.", now=now, updates=True,
        )  # fmt: skip
        if current is not None and current.get("status") == "True":
            fresh[-1]["lastTransitionTime"] = current.get("lastTransitionTime")
        return fresh
    if timed_out(deployment, now=now):
        return with_condition(
            conditions, "Progressing", "False", reason=TIMED_OUT,
            message=f"{who} has timed out progressing.", now=now, updates=True,
        )  # fmt: skip
    return conditions


def timed_out(deployment: Obj, *, now: float) -> bool:
    """No progress for progressDeadlineSeconds (DeploymentTimedOut)."""
    current = condition(deployment, "Progressing")
    if current is None or current.get("reason") == NEW_SET_AVAILABLE:
        return False
    return current.get("reason") == TIMED_OUT or deadline_in(deployment, now=now) <= 0


def deadline_in(deployment: Obj, *, now: float) -> float:
    """Seconds until the rollout counts as stuck; infinity when nothing is to be waited for."""
    current = condition(deployment, "Progressing")
    if not has_deadline(deployment) or current is None or current.get("reason") in (NEW_SET_AVAILABLE, TIMED_OUT):
        return float("inf")
    since = moment(current.get("lastUpdateTime"), now)
    return since + int(deployment["spec"].get("progressDeadlineSeconds", 600)) - now


def paused_conditions(deployment: Obj, conditions: Sequence[Obj], *, now: float) -> list[Obj]:
    """Pausing and resuming are noted, so that a pause does not run into the deadline (checkPausedConditions)."""
    current = condition(deployment, "Progressing")
    if not has_deadline(deployment) or (current is not None and current.get("reason") == TIMED_OUT):
        return list(conditions)
    paused = bool(deployment["spec"].get("paused"))
    noted = current is not None and current.get("reason") == "DeploymentPaused"
    if paused == noted:
        return list(conditions)
    word = "Paused" if paused else "Resumed"
    return with_condition(
        conditions, "Progressing", "Unknown", reason=f"Deployment{word}",
        message=f"Deployment is {word.lower()}", now=now, updates=True,
    )  # fmt: skip
