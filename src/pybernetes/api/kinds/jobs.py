"""Jobs and CronJobs."""

import re
from collections.abc import Iterator

from .. import cron as schedules
from ..errors import FieldError
from ..objects import Obj, metadata, name_of
from . import checks, meta
from .job_checks import host_names, job_spec, own_labels
from .job_status import job_status
from .pod_defaults import fill
from .pod_warnings import label_name_warning, pod_warnings
from .rules import NOT_NEGATIVE, Table, among, follow, given, need
from .strategy import Strategy
from .workloads import default_template

Problems = Iterator[FieldError]

UID_LABEL, NAME_LABEL = "batch.kubernetes.io/controller-uid", "batch.kubernetes.io/job-name"
_OLD_LABELS = {"controller-uid": UID_LABEL, "job-name": NAME_LABEL}
_MOST_RETRIES = (1 << 31) - 1


def default_job(obj: Obj) -> None:
    """A Job, or the job template of a CronJob."""
    spec = obj.setdefault("spec", {})
    default_template(spec)
    if spec.get("completions") is None and spec.get("parallelism") is None:
        spec["completions"] = spec["parallelism"] = 1
    elif spec.get("parallelism") is None:
        spec["parallelism"] = 1
    replaced = "TerminatingOrFailed" if spec.get("podFailurePolicy") is None else "Failed"
    retries = 6 if spec.get("backoffLimitPerIndex") is None else _MOST_RETRIES
    fill(
        spec,
        {"backoffLimit": retries, "completionMode": "NonIndexed", "suspend": False, "podReplacementPolicy": replaced},
    )
    if spec.get("manualSelector") is None:
        spec["manualSelector"] = False
    for rule in (spec.get("podFailurePolicy") or {}).get("rules") or ():
        for pattern in rule.get("onPodConditions") or ():
            fill(pattern, {"status": "True"})


class JobStrategy(Strategy):
    generation = True
    orphans = True
    orphans_warning = (
        "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them or "
        "set propagationPolicy=Orphan to suppress this warning"
    )
    status = True

    def default(self, obj: Obj) -> None:
        default_job(obj)
        _take_labels(obj)

    def prepare(self, new: Obj, old: Obj | None, *, part: str = "") -> None:
        super().prepare(new, old, part=part)
        spec = new.setdefault("spec", {})
        if old is None and not spec.get("manualSelector"):
            _select_own(new)
            _take_labels(new)

    def check(self, new: Obj, old: Obj | None, *, part: str = "") -> Problems:
        if part == "status":
            yield from job_status(new, old or {})
            return
        spec: Obj = new.get("spec") or {}
        optional = () if old is None or _is_prefixed(old) else (UID_LABEL, NAME_LABEL)
        yield from own_labels(new, _own(new), optional=optional)
        yield from job_spec(spec, "spec")
        yield from checks.workload_selector(spec, "spec")
        yield from host_names(new)
        if old is not None:
            yield from _job_update(new, old)

    def warnings(self, new: Obj, old: Obj | None, *, part: str = "") -> Iterator[str]:
        if old is None:
            yield from label_name_warning(name_of(new), "Pod names and hostnames")
        if not part and (old is None or self.changed(new, old)):
            yield from _spec_warnings(new.get("spec") or {}, "spec")


def _spec_warnings(spec: Obj, path: str) -> Iterator[str]:
    """Of a Job, or of what a CronJob makes Jobs of (pkg/api/job/warnings.go)."""
    many = (spec.get("completions") or 0) > _MANY_COMPLETIONS and (spec.get("parallelism") or 0) > _MANY_AT_ONCE
    if spec.get("completionMode") == "Indexed" and many:
        yield (
            f"{path}: In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than "
            "10^4, Kubernetes might not be able to track completedIndexes when a big number of indexes fail"
        )
    yield from pod_warnings(spec.get("template") or {}, f"{path}.template")


def _take_labels(job: Obj) -> None:
    """A Job without labels has those of its pods."""
    labels = (job["spec"]["template"].get("metadata") or {}).get("labels")
    if labels and not metadata(job).get("labels"):
        job.setdefault("metadata", {})["labels"] = dict(labels)


def _own(job: Obj) -> dict[str, str]:
    found = metadata(job)
    own = {UID_LABEL: found.get("uid") or "", NAME_LABEL: found.get("name") or ""}
    return {old: own[new] for old, new in _OLD_LABELS.items()} | own


def _is_prefixed(job: Obj) -> bool:
    return UID_LABEL in (metadata(job["spec"].get("template") or {}).get("labels") or {})


def _select_own(job: Obj) -> None:
    """The selector and labels that make the pods this job's own (generateSelector). What the caller says instead stays,
    for validation to refuse."""
    spec, own = job["spec"], _own(job)
    found = spec["template"].setdefault("metadata", {})
    found["labels"] = own | (found.get("labels") or {})
    selector = spec.setdefault("selector", {})
    selector["matchLabels"] = {UID_LABEL: own[UID_LABEL]} | (selector.get("matchLabels") or {})


_FIXED = ("completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy")


def _job_update(new: Obj, old: Obj) -> Problems:
    spec, before = new.get("spec") or {}, old.get("spec") or {}
    if spec.get("completionMode") != "Indexed":
        yield from meta.immutable(spec.get("completions"), before.get("completions"), "spec.completions")
    elif spec.get("completions") not in (None, before.get("completions"), spec.get("parallelism")):
        detail = "can only be modified in tandem with spec.parallelism"
        yield FieldError.invalid("spec.completions", spec["completions"], detail)
    yield from meta.immutable(spec.get("selector"), before.get("selector"), "spec.selector")
    template, earlier = spec.get("template") or {}, before.get("template") or {}
    if before.get("suspend") and not (old.get("status") or {}).get("startTime"):
        same = _unsteered(template) == _unsteered(earlier)
    else:
        same = template == earlier
    if not same:
        yield FieldError.invalid("spec.template", template, "field is immutable")
    for field in _FIXED:
        yield from meta.immutable(spec.get(field), before.get(field), f"spec.{field}")


def _unsteered(template: Obj) -> Obj:
    """A template without what sends its pods to nodes: that may change while the Job has not started."""
    spec: Obj = dict(template.get("spec") or {})
    for field in ("nodeSelector", "tolerations", "schedulingGates"):
        spec.pop(field, None)
    rest = {key: value for key, value in (spec.pop("affinity", None) or {}).items() if key != "nodeAffinity"}
    found = {key: value for key, value in metadata(template).items() if key not in ("labels", "annotations")}
    return template | {"metadata": found, "spec": spec | ({"affinity": rest} if rest else {})}


class CronJobStrategy(Strategy):
    generation = True
    status = True

    def default(self, obj: Obj) -> None:
        spec = obj.setdefault("spec", {})
        fill(
            spec,
            {
                "concurrencyPolicy": "Allow",
                "suspend": False,
                "successfulJobsHistoryLimit": 3,
                "failedJobsHistoryLimit": 1,
            },
        )
        default_template(spec.setdefault("jobTemplate", {}).setdefault("spec", {}))

    def check(self, new: Obj, old: Obj | None, *, part: str = "") -> Problems:
        if part == "status":
            return
        spec: Obj = new.get("spec") or {}
        before: Obj = (old or {}).get("spec") or {}
        if schedule := spec.get("schedule"):
            zoned = "TZ" in (before.get("schedule") or "")
            yield from cron(schedule, "spec.schedule", zoned=zoned, zone=spec.get("timeZone"))
        else:
            yield FieldError.required("spec.schedule")
        yield from follow(spec, _CRON, "spec")
        if old is None or spec.get("timeZone") != before.get("timeZone"):
            yield from time_zone(spec.get("timeZone"), "spec.timeZone")
        yield from _job_template(spec.get("jobTemplate") or {}, "spec.jobTemplate")
        name = metadata(new).get("name") or ""
        if old is None and len(name) > _LONGEST_NAME:
            detail = f"must be no more than {_LONGEST_NAME} characters"
            yield FieldError.invalid("metadata.name", name, detail)

    def warnings(self, new: Obj, old: Obj | None, *, part: str = "") -> Iterator[str]:
        spec: Obj = new.get("spec") or {}
        if old is None:
            yield from label_name_warning(name_of(new), "Pod names and hostnames")
        if not part and (old is None or self.changed(new, old)):
            yield from _spec_warnings((spec.get("jobTemplate") or {}).get("spec") or {}, "spec.jobTemplate.spec")
        if not part and old is not None and "TZ" in (spec.get("schedule") or ""):
            yield (
                "cannot use TZ or CRON_TZ in spec.spec.schedule, use timeZone instead, see "
                "https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details"
            )


_LONGEST_NAME = 52
_MANY_COMPLETIONS, _MANY_AT_ONCE = 100_000, 10_000
"""A Job's name is the CronJob's and eleven characters of the time."""
_CRON: Table = {
    "startingDeadlineSeconds": given(NOT_NEGATIVE),
    "concurrencyPolicy": need(among("Allow", "Forbid", "Replace")),
    "successfulJobsHistoryLimit": given(NOT_NEGATIVE),
    "failedJobsHistoryLimit": given(NOT_NEGATIVE),
}


def _job_template(found: Obj, path: str) -> Problems:
    spec: Obj = found.get("spec") or {}
    yield from job_spec(spec, f"{path}.spec")
    if spec.get("selector") is not None:
        yield FieldError.invalid(f"{path}.spec.selector", spec["selector"], "`selector` will be auto-generated")
    if spec.get("manualSelector"):
        yield FieldError.not_supported(f"{path}.spec.manualSelector", True, ("nil", "false"))


def cron(schedule: str, path: str, *, zoned: bool = False, zone: str | None = None) -> Problems:
    """The five fields of a crontab line, or @hourly and its like. `zoned`: the old one had a zone, so this may have."""
    if "TZ" in schedule:
        if not zoned:
            detail = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"
            yield FieldError.invalid(path, schedule, detail)
        elif zone is not None:
            detail = "cannot use both timeZone field and TZ or CRON_TZ in schedule"
            yield FieldError.invalid(path, schedule, detail)
    try:
        schedules.parse(_ZONE.sub("", schedule))
    except ValueError as error:
        yield FieldError.invalid(path, schedule, str(error))


_ZONE = re.compile(r"^(CRON_)?TZ=\S+ +")
_ZONE_PART = re.compile(r"[A-Za-z._0-9+][A-Za-z.\-_0-9+]{0,13}")


def time_zone(name: str | None, path: str) -> Problems:
    if name is None:
        return
    if not name:
        yield FieldError.invalid(path, name, "timeZone must be nil or non-empty string")
    elif any(part in (".", "..") or not _ZONE_PART.fullmatch(part) for part in name.split("/")):
        yield FieldError.invalid(path, name, f"unknown time zone {name}")
    elif name.lower() == "local":
        detail = "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones"
        yield FieldError.invalid(path, name, detail)
    else:
        try:
            schedules.zone_of(name)
        except ValueError as error:
            yield FieldError.invalid(path, name, str(error))
