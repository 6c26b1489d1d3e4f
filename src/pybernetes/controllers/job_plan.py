"""A Job's next step: what to count, how many pods to start or stop, and when it is over; pure.

Source: kubernetes/pkg/controller/job. Pods carry a finalizer until they are counted, so that none is counted twice or
lost: first its uid is written to status.uncountedTerminatedPods, then the finalizer goes, then the count grows.
"""

from collections.abc import Collection, Sequence
from typing import NamedTuple

from pybernetes.api import times
from pybernetes.api.objects import Obj, annotations_of, condition_is, is_deleting, metadata, uid_of
from pybernetes.control.pods import is_active, is_ready, is_terminal, moment, node_of, phase_of
from pybernetes.control.status import with_condition

FINALIZER = "batch.kubernetes.io/job-tracking"
INDEX = "batch.kubernetes.io/job-completion-index"
_FIRST_BACKOFF_SECONDS, _LAST_BACKOFF_SECONDS = 10.0, 600.0


class Ending(NamedTuple):
    """How a Job ends: Complete or Failed, and why."""

    type: str
    reason: str
    message: str


class Counted(NamedTuple):
    """Uids of ended pods by how they ended."""

    succeeded: frozenset[str]
    failed: frozenset[str]


def is_finished(job: Obj) -> bool:
    return condition_is(job, "Complete") or condition_is(job, "Failed")


def is_indexed(job: Obj) -> bool:
    return bool(job["spec"].get("completionMode") == "Indexed")


def ended(pod: Obj) -> str:
    """succeeded, failed, or "" for a pod that still counts as running."""
    if phase_of(pod) == "Succeeded":
        return "succeeded"
    if phase_of(pod) == "Failed" or (is_deleting(pod) and not node_of(pod)):
        return "failed"
    return ""


def tracked(pod: Obj) -> bool:
    return FINALIZER in (metadata(pod).get("finalizers") or ())


def uncounted(job: Obj, pods: Sequence[Obj]) -> Counted:
    """What is noted in the status and not flushed yet, and what has ended since."""
    noted = (job.get("status") or {}).get("uncountedTerminatedPods") or {}
    held = {uid_of(pod): pod for pod in pods if tracked(pod)}
    found = {}
    for field in ("succeeded", "failed"):
        still = {uid for uid in noted.get(field) or () if uid in held}
        fresh = {uid for uid, pod in held.items() if ended(pod) == field}
        found[field] = frozenset(still | fresh)
    return Counted(found["succeeded"], found["failed"] - found["succeeded"])


def counts(job: Obj, pods: Sequence[Obj]) -> dict[str, int]:
    """status.succeeded and .failed with those flushed whose finalizer is gone."""
    status = job.get("status") or {}
    noted = status.get("uncountedTerminatedPods") or {}
    held = {uid_of(pod) for pod in pods if tracked(pod)}
    return {
        field: int(status.get(field) or 0) + sum(uid not in held for uid in noted.get(field) or ())
        for field in ("succeeded", "failed")
    }


def completed_indexes(job: Obj, pods: Sequence[Obj]) -> set[int]:
    """Those below the completions, which may have become fewer."""
    done = parse_indexes(str((job.get("status") or {}).get("completedIndexes") or ""))
    done |= {index_of(pod) for pod in pods if ended(pod) == "succeeded"}
    completions = int(job["spec"].get("completions") or 0)
    return {index for index in done if 0 <= index < completions}


def index_of(pod: Obj) -> int:
    text = annotations_of(pod).get(INDEX, "")
    return int(text) if text.isdigit() else -1


def parse_indexes(text: str) -> set[int]:
    """ "1,3-5" -> {1, 3, 4, 5}."""
    found: set[int] = set()
    for part in filter(None, text.split(",")):
        low, _, high = part.partition("-")
        found.update(range(int(low), int(high or low) + 1))
    return found


def format_indexes(indexes: Collection[int]) -> str:
    """{1, 3, 4, 5} -> "1,3-5"."""
    runs: list[list[int]] = []
    for index in sorted(indexes):
        if runs and index == runs[-1][1] + 1:
            runs[-1][1] = index
        else:
            runs.append([index, index])
    return ",".join(f"{low}-{high}" if high > low else str(low) for low, high in runs)


def ending(job: Obj, *, succeeded: int, failed: int, active: int, now: float) -> Ending | None:
    """Whether the Job is to end now."""
    spec = job["spec"]
    limit = int(spec.get("backoffLimit", 6))
    if failed > limit:
        return Ending("Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit")
    if (left := deadline_in(job, now)) is not None and left <= 0:
        return Ending("Failed", "DeadlineExceeded", "Job was active longer than specified deadline")
    completions = spec.get("completions")
    if succeeded >= int(completions) if completions is not None else succeeded > 0 and active == 0:
        return Ending("Complete", "CompletionsReached", "Reached expected number of succeeded pods")
    return None


def deadline_in(job: Obj, now: float) -> float | None:
    """Seconds until activeDeadlineSeconds are over; None without a deadline or while suspended."""
    seconds = job["spec"].get("activeDeadlineSeconds")
    start = (job.get("status") or {}).get("startTime")
    if seconds is None or not start or job["spec"].get("suspend"):
        return None
    return moment(start, now) + float(seconds) - now


def wanted_active(job: Obj, *, succeeded: int, active: int) -> int:
    """How many pods should run at once now."""
    spec = job["spec"]
    parallelism = int(spec.get("parallelism", 1))
    if spec.get("suspend"):
        return 0
    if spec.get("completions") is None:
        return min(parallelism, active) if succeeded else parallelism
    return max(0, min(parallelism, int(spec["completions"]) - succeeded))


def backoff_in(job: Obj, pods: Sequence[Obj], now: float) -> float:
    """Seconds before the next pod may start after failures: 10 s, doubled with each pod that failed since a success."""
    failures = sorted(_ended_at(pod, now) for pod in pods if ended(pod) == "failed")
    success = max((_ended_at(pod, now) for pod in pods if ended(pod) == "succeeded"), default=0.0)
    recent = [at for at in failures if at > success]
    if not recent:
        return 0.0
    wait = min(_LAST_BACKOFF_SECONDS, _FIRST_BACKOFF_SECONDS * 2.0 ** min(len(recent) - 1, 10))
    return max(0.0, recent[-1] + wait - now)


def _ended_at(pod: Obj, now: float) -> float:
    statuses = (pod.get("status") or {}).get("containerStatuses") or ()
    ends = [moment(((s.get("state") or {}).get("terminated") or {}).get("finishedAt"), 0.0) for s in statuses]
    return max(ends, default=0.0) or moment(metadata(pod).get("deletionTimestamp"), now)


def status_of(
    job: Obj, pods: Sequence[Obj], *, noted: Counted, totals: dict[str, int], end: Ending | None, now: float
) -> Obj:
    """The status after this step. Complete or Failed is said only when every pod is counted and none runs any more."""
    status = dict(job.get("status") or {})
    active = [pod for pod in pods if is_active(pod)]
    leaving = [pod for pod in pods if is_deleting(pod) and not is_terminal(pod)]
    status |= totals | {
        "active": len(active),
        "ready": sum(is_ready(pod) for pod in active),
        "terminating": len(leaving),
        "uncountedTerminatedPods": {f: sorted(uids) for f, uids in noted._asdict().items() if uids},
    }
    if is_indexed(job):
        status["completedIndexes"] = format_indexes(completed_indexes(job, pods))
    conditions = list(status.get("conditions") or ())
    suspended = bool(job["spec"].get("suspend"))
    if not status.get("startTime") and (end is not None or not suspended):
        status["startTime"] = times.stamp(now)
    if suspended or condition_is(job, "Suspended"):
        word = "Suspended" if suspended else "Resumed"
        conditions = with_condition(conditions, "Suspended", "True" if suspended else "False", reason=f"Job{word}",
                                    message=f"Job {word.lower()}", now=now)  # fmt: skip
        if suspended and end is None:
            status["startTime"] = None
    if end is not None:
        target = "SuccessCriteriaMet" if end.type == "Complete" else "FailureTarget"
        conditions = with_condition(conditions, target, "True", reason=end.reason, message=end.message, now=now)
        if not active and not leaving and not noted.succeeded and not noted.failed:
            conditions = with_condition(conditions, end.type, "True", reason=end.reason, message=end.message, now=now)
            if end.type == "Complete":
                status["completionTime"] = times.stamp(now)
    status["conditions"] = conditions
    return status
