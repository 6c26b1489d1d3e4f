"""Jobs and CronJobs."""

from collections.abc import Collection, Iterator

from .. import cron as schedules
from .. import names
from ..errors import FieldError
from ..objects import Obj, metadata
from . import checks, meta
from .pod_checks import template
from .pod_defaults import fill
from .strategy import Strategy
from .workloads import default_template

Problems = Iterator[FieldError]

UID_LABEL, NAME_LABEL = "batch.kubernetes.io/controller-uid", "batch.kubernetes.io/job-name"
_OLD_LABELS = {"controller-uid": UID_LABEL, "job-name": NAME_LABEL}
_MOST_RETRIES = (1 << 31) - 1
_COUNTS = (
    *("parallelism", "completions", "activeDeadlineSeconds", "backoffLimit", "backoffLimitPerIndex"),
    *("maxFailedIndexes", "ttlSecondsAfterFinished"),
)


def default_job(obj: Obj) -> None:
    """A Job, or the job template of a CronJob."""
    spec = obj.setdefault("spec", {})
    default_template(spec)
    if spec.get("completions") is None and spec.get("parallelism") is None:
        spec["completions"] = spec["parallelism"] = 1
    elif spec.get("parallelism") is None:
        spec["parallelism"] = 1
    replaced = "Failed" if spec.get("podFailurePolicy") else "TerminatingOrFailed"
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
    status = True

    def default(self, obj: Obj) -> None:
        default_job(obj)
        labels = (obj["spec"]["template"].get("metadata") or {}).get("labels")
        if labels and UID_LABEL not in labels and not metadata(obj).get("labels"):
            obj.setdefault("metadata", {})["labels"] = dict(labels)

    def prepare(self, new: Obj, old: Obj | None, *, part: str = "") -> None:
        super().prepare(new, old, part=part)
        spec = new.setdefault("spec", {})
        if old is None and not spec.get("manualSelector"):
            _select_own(new)

    def check(self, new: Obj, old: Obj | None, *, part: str = "") -> Problems:
        if part == "status":
            return
        spec: Obj = new.get("spec") or {}
        yield from checks.workload_selector(spec, "spec", kind="job")
        yield from job_spec(spec, "spec")
        if old is not None:
            yield from _job_update(spec, old.get("spec") or {})


def _select_own(job: Obj) -> None:
    """The selector and labels that make the pods this job's own (generateSelector)."""
    spec, found = job["spec"], job.get("metadata") or {}
    own = {UID_LABEL: found.get("uid", ""), NAME_LABEL: found.get("name", "")}
    labels = spec["template"].setdefault("metadata", {}).setdefault("labels", {})
    labels |= own | {old: own[new] for old, new in _OLD_LABELS.items()}
    selector = spec.setdefault("selector", {})
    selector.setdefault("matchLabels", {})[UID_LABEL] = own[UID_LABEL]


def job_spec(spec: Obj, path: str) -> Problems:
    for field in _COUNTS:
        yield from checks.not_negative(spec.get(field), f"{path}.{field}")
    mode = spec.get("completionMode")
    yield from checks.one_of(mode, f"{path}.completionMode", ("Indexed", "NonIndexed"))
    if mode == "Indexed" and spec.get("completions") is None:
        detail = "when completion mode is Indexed"
        yield FieldError.required(f"{path}.completions", detail)
    for field in ("backoffLimitPerIndex", "maxFailedIndexes", "successPolicy"):
        if spec.get(field) is not None and mode != "Indexed":
            detail = f"requires indexed completion mode: {field}"
            yield FieldError.invalid(f"{path}.{field}", spec[field], detail)
    if (found := spec.get("podFailurePolicy")) is not None:
        yield from _failure_policy(found, spec, path)
    policies = ("Failed", "TerminatingOrFailed")
    yield from checks.one_of_if_set(spec.get("podReplacementPolicy"), f"{path}.podReplacementPolicy", policies)
    yield from template(spec, f"{path}.template", kind="Job")
    policy = ((spec.get("template") or {}).get("spec") or {}).get("restartPolicy") or ""
    where = f"{path}.template.spec.restartPolicy"
    if policy in ("Always", ""):
        yield FieldError.required(where, 'valid values: "OnFailure", "Never"')
    elif policy not in ("OnFailure", "Never"):
        yield FieldError.not_supported(where, policy, ("OnFailure", "Never"))


_ACTIONS = ("Count", "FailIndex", "FailJob", "Ignore")
_MOST_RULES = 20


def _failure_policy(found: Obj, spec: Obj, path: str) -> Problems:
    where = f"{path}.podFailurePolicy"
    rules = found.get("rules") or []
    if len(rules) > _MOST_RULES:
        yield FieldError.too_many(f"{where}.rules", len(rules), _MOST_RULES)
    containers: Obj = (spec.get("template") or {}).get("spec") or {}
    known = {
        one.get("name") for one in (*(containers.get("containers") or ()), *(containers.get("initContainers") or ()))
    }
    for index, rule in enumerate(rules):
        yield from _failure_rule(rule, f"{where}.rules[{index}]", known=known)
        if rule.get("action") == "FailIndex" and spec.get("backoffLimitPerIndex") is None:
            detail = "requires the backoffLimitPerIndex to be set"
            yield FieldError.invalid(f"{where}.rules[{index}].action", "FailIndex", detail)
    if containers.get("restartPolicy") != "Never":
        detail = 'only "Never" is supported when podFailurePolicy is specified'
        yield FieldError.invalid(f"{path}.template.spec.restartPolicy", containers.get("restartPolicy"), detail)


def _failure_rule(rule: Obj, path: str, *, known: Collection[str | None]) -> Problems:
    yield from checks.one_of(rule.get("action"), f"{path}.action", _ACTIONS)
    codes, patterns = rule.get("onExitCodes"), rule.get("onPodConditions") or []
    if codes is not None:
        yield from _exit_codes(codes, f"{path}.onExitCodes", known=known)
    for index, pattern in enumerate(patterns):
        where = f"{path}.onPodConditions[{index}]"
        yield from checks.named(pattern.get("type") or "", f"{where}.type", names.qualified)
        yield from checks.one_of(pattern.get("status"), f"{where}.status", ("False", "True", "Unknown"))
    if codes is not None and patterns:
        detail = "specifying both OnExitCodes and OnPodConditions is not supported"
        yield FieldError.invalid(path, "", detail)
    if codes is None and not patterns:
        yield FieldError.invalid(path, "", "specifying one of OnExitCodes and OnPodConditions is required")


def _exit_codes(found: Obj, path: str, *, known: Collection[str | None]) -> Problems:
    operator, values = found.get("operator"), found.get("values") or []
    yield from checks.one_of(operator, f"{path}.operator", ("In", "NotIn"))
    name = found.get("containerName")
    if name is not None and name not in known:
        detail = "must be one of the container or initContainer names in the pod template"
        yield FieldError.invalid(f"{path}.containerName", name, detail)
    if not values:
        yield FieldError.invalid(f"{path}.values", values, "at least one value is required")
    for index, value in enumerate(values):
        if operator == "In" and value == 0:
            yield FieldError.invalid(f"{path}.values[{index}]", value, "must not be 0 for the In operator")
    yield from checks.unique(values, lambda index: f"{path}.values[{index}]")
    if values != sorted(values):
        yield FieldError.invalid(f"{path}.values", values, "must be ordered")


def _job_update(spec: Obj, before: Obj) -> Problems:
    if before.get("completionMode") != "Indexed":
        yield from meta.immutable(spec.get("completions"), before.get("completions"), "spec.completions")
    yield from meta.immutable(spec.get("selector"), before.get("selector"), "spec.selector")
    for field in ("completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy"):
        yield from meta.immutable(spec.get(field), before.get(field), f"spec.{field}")
    if not before.get("suspend"):  # a suspended job's template may still be steered to nodes
        yield from meta.immutable(spec.get("template"), before.get("template"), "spec.template")


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
        name = metadata(new).get("name", "")
        if old is None and len(name) > 52:
            yield FieldError.invalid("metadata.name", name, "must be no more than 52 characters")
        spec: Obj = new.get("spec") or {}
        schedule = spec.get("schedule") or ""
        if not schedule:
            yield FieldError.required("spec.schedule")
        else:
            yield from cron(schedule, "spec.schedule")
        yield from time_zone(spec.get("timeZone"), "spec.timeZone")
        yield from checks.not_negative(spec.get("startingDeadlineSeconds"), "spec.startingDeadlineSeconds")
        yield from checks.one_of(
            spec.get("concurrencyPolicy"), "spec.concurrencyPolicy", ("Allow", "Forbid", "Replace")
        )
        for field in ("successfulJobsHistoryLimit", "failedJobsHistoryLimit"):
            yield from checks.not_negative(spec.get(field), f"spec.{field}")
        job: Obj = (spec.get("jobTemplate") or {}).get("spec") or {}
        if job.get("manualSelector"):
            yield FieldError.not_supported("spec.jobTemplate.spec.manualSelector", True, ("nil", "false"))
        yield from job_spec({"completionMode": "NonIndexed"} | job, "spec.jobTemplate.spec")


def cron(schedule: str, path: str) -> Problems:
    """The five fields of a crontab line, or @hourly and its like."""
    if "TZ=" in schedule:
        detail = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"
        yield FieldError.invalid(path, schedule, detail)
        return
    try:
        schedules.parse(schedule)
    except ValueError as error:
        yield FieldError.invalid(path, schedule, str(error))


def time_zone(name: str | None, path: str) -> Problems:
    if name is None:
        return
    if not name:
        yield FieldError.invalid(path, name, "timeZone must be nil or non-empty string")
    elif name.lower() == "local":
        detail = "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones"
        yield FieldError.invalid(path, name, detail)
    else:
        try:
            schedules.zone_of(name)
        except ValueError as error:
            yield FieldError.invalid(path, name, str(error))
