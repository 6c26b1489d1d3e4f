"""What a Job's status may become (validateJobStatus): a rule is asked only when a field that it is about changes, so
that a status that was wrong, or that a change of the spec made wrong, does not keep others from being written."""

from collections.abc import Callable, Collection, Iterator
from typing import Any, NamedTuple

from ..errors import OMITTED, FieldError
from ..objects import Obj, condition_is
from .job_checks import intervals
from .rules import NOT_NEGATIVE, Problems, Table, follow, given

_COUNTS: Table = dict.fromkeys(("active", "succeeded", "failed", "ready", "terminating"), given(NOT_NEGATIVE))
_LASTING = ("Failed", "Complete", "FailureTarget")


def _ended(job: Obj) -> bool:
    return condition_is(job, "Complete") or condition_is(job, "Failed")


def _of(job: Obj, field: str) -> Any:
    """A status field; what Go leaves at its zero is None."""
    return (job.get("status") or {}).get(field) or None


_LOOKS: dict[str, Callable[[Obj], Any]] = {
    "finished": _ended,
    "Complete": lambda job: condition_is(job, "Complete"),
    "Failed": lambda job: condition_is(job, "Failed"),
    "FailureTarget": lambda job: condition_is(job, "FailureTarget"),
    "SuccessCriteriaMet": lambda job: condition_is(job, "SuccessCriteriaMet"),
}


class _Never(NamedTuple):
    """`when` must not hold of the new object after any of `fields` changed."""

    fields: Collection[str]
    when: Callable[[Obj], bool]
    field: str
    detail: str
    required: bool = False
    shown: bool = False


def _are(*kinds: str) -> Callable[[Obj], bool]:
    return lambda job: all(condition_is(job, kind) for kind in kinds)


def _without(kind: str, other: str) -> Callable[[Obj], bool]:
    return lambda job: condition_is(job, kind) and not condition_is(job, other)


def _before_start(job: Obj) -> bool:
    start, end = _of(job, "startTime"), _of(job, "completionTime")
    return bool(start and end and end < start)


def _unstarted(job: Obj) -> bool:
    spec: Obj = job.get("spec") or {}
    nothing = spec.get("suspend") is True and spec.get("completions") == 0
    return _ended(job) and not _of(job, "startTime") and not nothing


def _uncounted(job: Obj) -> bool:
    found: Obj = _of(job, "uncountedTerminatedPods") or {}
    return _ended(job) and bool(found.get("failed") or found.get("succeeded"))


_RULES = (
    _Never(("Complete", "Failed"), _are("Complete", "Failed"), "conditions",
           "cannot set Complete=True and Failed=true conditions"),
    _Never(("Complete", "FailureTarget"), _are("Complete", "FailureTarget"), "conditions",
           "cannot set Complete=True and FailureTarget=true conditions"),
    _Never(("Complete", "completionTime"), lambda job: bool(_of(job, "completionTime")) and not _are("Complete")(job),
           "completionTime", "cannot set completionTime when there is no Complete=True condition", shown=True),
    _Never(("Complete", "completionTime"), lambda job: not _of(job, "completionTime") and _are("Complete")(job),
           "completionTime", "completionTime is required for Complete jobs", required=True),
    _Never(("startTime", "completionTime"), _before_start, "completionTime",
           "completionTime cannot be set before startTime", shown=True),
    _Never(("Failed", "FailureTarget"), _without("Failed", "FailureTarget"), "conditions",
           "cannot set Failed=True condition without the FailureTarget=true condition"),
    _Never(("Complete", "SuccessCriteriaMet"), _without("Complete", "SuccessCriteriaMet"), "conditions",
           "cannot set Complete=True condition without the SuccessCriteriaMet=true condition"),
    _Never(("finished", "active"), lambda job: bool(_of(job, "active")) and _ended(job), "active",
           "active>0 is invalid for finished job", shown=True),
    _Never(("finished", "startTime"), _unstarted, "startTime", "startTime is required for finished job", required=True),
    _Never(("finished", "uncountedTerminatedPods"), _uncounted, "uncountedTerminatedPods",
           "uncountedTerminatedPods needs to be empty for finished job", shown=True),
    _Never(("finished", "terminating"), lambda job: bool(_of(job, "terminating")) and _ended(job), "terminating",
           "terminating>0 is invalid for finished job", shown=True),
    _Never(("ready", "active"), lambda job: (_of(job, "ready") or 0) > (_of(job, "active") or 0), "ready",
           "cannot set more ready pods than active", shown=True),
    _Never((), _are("SuccessCriteriaMet", "Failed"), "conditions",
           "cannot set SuccessCriteriaMet=True and Failed=true conditions"),
    _Never((), _are("SuccessCriteriaMet", "FailureTarget"), "conditions",
           "cannot set SuccessCriteriaMet=True and FailureTarget=true conditions"),
)  # fmt: skip


def job_status(new: Obj, old: Obj) -> Problems:
    """New and old are whole Jobs."""
    yield from follow(new.get("status") or {}, _COUNTS, "status")
    yield from _uids(_of(new, "uncountedTerminatedPods") or {}, "status.uncountedTerminatedPods")

    def changed(field: str) -> bool:
        look = _LOOKS.get(field)
        return bool(look(new) != look(old) if look else _of(new, field) != _of(old, field))

    for rule in _RULES:
        if rule.when(new) and (not rule.fields or any(map(changed, rule.fields))):
            where = f"status.{rule.field}"
            if rule.required:
                yield FieldError.required(where, rule.detail)
            else:
                yield FieldError.invalid(where, _of(new, rule.field) if rule.shown else OMITTED, rule.detail)
    yield from _indexes(new, old)
    yield from _kept(new, old)


def _uids(found: Obj, path: str) -> Problems:
    seen: set[str] = set()
    for field in ("succeeded", "failed"):
        for index, uid in enumerate(found.get(field) or ()):
            where = f"{path}.{field}[{index}]"
            if not uid:
                yield FieldError.invalid(where, uid, "must not be empty")
            elif uid in seen:
                yield FieldError.duplicate(where, uid)
            seen.add(uid)


def _indexes(new: Obj, old: Obj) -> Problems:
    spec: Obj = new.get("spec") or {}
    completions = spec.get("completions")
    done, failed = _of(new, "completedIndexes"), (new.get("status") or {}).get("failedIndexes")
    done_changed = done != _of(old, "completedIndexes")
    failed_changed = failed != (old.get("status") or {}).get("failedIndexes")
    if done_changed and done:
        if spec.get("completionMode") != "Indexed":
            detail = "cannot set non-empty completedIndexes when non-indexed completion mode"
            yield FieldError.invalid("status.completedIndexes", done, detail)
        yield from _formed("completedIndexes", done, completions)
    if failed_changed and failed is not None:
        if spec.get("backoffLimitPerIndex") is None:
            detail = "cannot set non-null failedIndexes when backoffLimitPerIndex is null"
            yield FieldError.invalid("status.failedIndexes", failed, detail)
        else:
            yield from _formed("failedIndexes", failed, completions)
    if (done_changed or failed_changed) and done and failed and completions is not None:
        for index in _both(done, failed, completions):
            detail = f"failedIndexes and completedIndexes overlap at index: {index}"
            yield FieldError.invalid("status.failedIndexes", failed, detail)
            return


def _formed(field: str, text: str, completions: int | None) -> Problems:
    if completions is None:
        return
    try:
        intervals(text, completions)
    except ValueError as error:
        yield FieldError.invalid(f"status.{field}", text, f"error parsing {field}: {error}")


def _both(done: str, failed: str, completions: int) -> Iterator[int]:
    """Indexes in both, from the lowest; none when a list is malformed."""
    try:
        one, other = intervals(done, completions), intervals(failed, completions)
    except ValueError:
        return
    yield from sorted(max(a, x) for a, b in one for x, y in other if a <= y and x <= b)


def _kept(new: Obj, old: Obj) -> Problems:
    """What once set stays."""
    for kind in _LASTING:
        if condition_is(old, kind) and not condition_is(new, kind):
            yield FieldError.invalid("status.conditions", OMITTED, f"cannot disable the terminal {kind}=True condition")
    spec: Obj = new.get("spec") or {}
    elastic = spec.get("completionMode") == "Indexed" and spec.get("completions") == spec.get("parallelism")
    for field in ("failed",) if elastic else ("failed", "succeeded"):
        if (count := _of(new, field) or 0) < (_of(old, field) or 0):
            yield FieldError.invalid(f"status.{field}", count, f"cannot decrease the {field} counter")
    end, start = _of(new, "completionTime"), _of(old, "startTime")
    if end and _of(old, "completionTime") not in (None, end):
        yield FieldError.invalid("status.completionTime", end, "completionTime cannot be mutated")
    if start and start != _of(new, "startTime") and not spec.get("suspend"):
        yield FieldError.required("status.startTime", "startTime cannot be removed for unsuspended job")
    met, was = (condition_is(job, "SuccessCriteriaMet") for job in (new, old))
    if was and not met:
        detail = "cannot disable the SuccessCriteriaMet=True condition"
        yield FieldError.invalid("status.conditions", OMITTED, detail)
    if met and not was and condition_is(old, "Complete"):
        detail = "cannot set SuccessCriteriaMet=True for Job already has Complete=true conditions"
        yield FieldError.invalid("status.conditions", OMITTED, detail)
