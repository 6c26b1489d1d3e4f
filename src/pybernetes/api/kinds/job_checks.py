"""What a JobSpec may say, in a Job and in a CronJob's template (validateJobSpec)."""

from collections.abc import Collection

from .. import names
from ..errors import OMITTED, FieldError
from ..objects import Obj
from ..selectors import of
from . import checks
from .pod_checks import template
from .rules import (
    NOT_NEGATIVE,
    Problems,
    Table,
    among,
    at_most,
    both,
    follow,
    given,
    no_longer_than,
)

_MOST_AT_ONCE = _MOST_FAILED = _MANY = 100_000
_MOST_OF_MANY = 10_000
_MOST_RULES, _MOST_CODES, _MOST_PATTERNS = 20, 255, 20
_MOST_INDEX_BYTES = 64 * 1024

_COUNTS: Table = dict.fromkeys(
    (
        *("parallelism", "completions", "activeDeadlineSeconds", "backoffLimit", "ttlSecondsAfterFinished"),
        *("backoffLimitPerIndex", "maxFailedIndexes"),
    ),
    given(NOT_NEGATIVE),
)
_MODE: Table = {
    "managedBy": given(both(checks.domain_prefixed_path, no_longer_than(63))),
    "completionMode": given(among("NonIndexed", "Indexed")),
}


def job_spec(spec: Obj, path: str) -> Problems:
    """All but the selector, which a CronJob's template has not."""
    yield from follow(spec, _COUNTS, path)
    per_index = spec.get("backoffLimitPerIndex") is not None
    if spec.get("maxFailedIndexes") is not None and not per_index:
        yield FieldError.required(f"{path}.backoffLimitPerIndex", "when maxFailedIndexes is specified")
    yield from follow(spec, _MODE, path)
    mode = spec.get("completionMode") or "NonIndexed"
    if mode == "Indexed":
        yield from _indexed(spec, path)
    elif mode == "NonIndexed":
        for field in ("backoffLimitPerIndex", "maxFailedIndexes"):
            if spec.get(field) is not None:
                yield FieldError.invalid(f"{path}.{field}", spec[field], "requires indexed completion mode")
    if (failure := spec.get("podFailurePolicy")) is not None:
        yield from _failure_policy(failure, spec, f"{path}.podFailurePolicy")
    if (success := spec.get("successPolicy")) is not None:
        if mode != "Indexed":
            yield FieldError.invalid(f"{path}.successPolicy", success, "requires indexed completion mode")
        else:
            yield from _success_policy(success, f"{path}.successPolicy", completions=spec.get("completions") or 0)
    replacing = ("Failed",) if failure is not None else ("Failed", "TerminatingOrFailed")
    yield from follow(spec, {"podReplacementPolicy": given(among(*replacing))}, path)
    yield from template(spec, f"{path}.template", kind="Job")
    yield from _restarts(spec, f"{path}.template.spec.restartPolicy")


def _indexed(spec: Obj, path: str) -> Problems:
    """An index for each completion is kept in the status, whose size these limits bound."""
    completions, failed, at_once = (spec.get(f) for f in ("completions", "maxFailedIndexes", "parallelism"))
    if completions is None:
        yield FieldError.required(f"{path}.completions", "when completion mode is Indexed")
    limits: list[tuple[str, int | None, int | None, str]] = [
        ("parallelism", at_once, _MOST_AT_ONCE, f"{_MOST_AT_ONCE} when completion mode is Indexed"),
        ("maxFailedIndexes", failed, completions, "completions"),
        ("maxFailedIndexes", failed, _MOST_FAILED, str(_MOST_FAILED)),
    ]
    if (completions or 0) > _MANY and spec.get("backoffLimitPerIndex") is not None:
        if failed is None:
            detail = f"must be specified when completions is above {_MANY}"
            yield FieldError.required(f"{path}.maxFailedIndexes", detail)
        text = f"{_MOST_OF_MANY} when completions are above {_MANY} and used with backoff limit per index"
        limits += [("parallelism", at_once, _MOST_OF_MANY, text), ("maxFailedIndexes", failed, _MOST_OF_MANY, text)]
    for field, value, most, said in limits:
        if value is not None and most is not None and value > most:
            yield FieldError.invalid(f"{path}.{field}", value, f"must be less than or equal to {said}")


def _restarts(spec: Obj, path: str) -> Problems:
    """Pods that end: Always is what a template gets that does not say."""
    policy = ((spec.get("template") or {}).get("spec") or {}).get("restartPolicy") or ""
    if policy in ("Always", ""):
        yield FieldError.required(path, 'valid values: "OnFailure", "Never"')
    elif policy not in ("OnFailure", "Never"):
        yield FieldError.not_supported(path, policy, ("OnFailure", "Never"))
    elif spec.get("podFailurePolicy") is not None and policy != "Never":
        detail = 'only "Never" is supported when podFailurePolicy is specified'
        yield FieldError.invalid(path, policy, detail)


_ACTIONS = ("Count", "FailIndex", "FailJob", "Ignore")


def _chosen(value: str | None, path: str, supported: Collection[str]) -> Problems:
    """A word that must be given; the error for none lists the words as Go prints a list."""
    if not value:
        listed = " ".join(f'"{word}"' for word in supported)
        yield FieldError.required(path, f"valid values: [{listed}]")
    elif value not in supported:
        yield FieldError.not_supported(path, value, supported)


def _failure_policy(found: Obj, spec: Obj, path: str) -> Problems:
    rules = found.get("rules") or []
    yield from at_most(_MOST_RULES)(rules, f"{path}.rules")
    inner: Obj = (spec.get("template") or {}).get("spec") or {}
    known = {one.get("name") for field in ("containers", "initContainers") for one in inner.get(field) or ()}
    for index, rule in enumerate(rules):
        where = f"{path}.rules[{index}]"
        if rule.get("action") == "FailIndex" and spec.get("backoffLimitPerIndex") is None:
            detail = "requires the backoffLimitPerIndex to be set"
            yield FieldError.invalid(f"{where}.action", "FailIndex", detail)
        yield from _failure_rule(rule, where, known=known)


def _failure_rule(rule: Obj, path: str, *, known: Collection[str | None]) -> Problems:
    yield from _chosen(rule.get("action"), f"{path}.action", _ACTIONS)
    codes, patterns = rule.get("onExitCodes"), rule.get("onPodConditions") or []
    if codes is not None:
        yield from _exit_codes(codes, f"{path}.onExitCodes", known=known)
    yield from at_most(_MOST_PATTERNS)(patterns, f"{path}.onPodConditions")
    for index, pattern in enumerate(patterns):
        where = f"{path}.onPodConditions[{index}]"
        yield from checks.named(pattern.get("type") or "", f"{where}.type", names.qualified)
        yield from _chosen(pattern.get("status"), f"{where}.status", ("False", "True", "Unknown"))
    if codes is not None and patterns:
        detail = "specifying both OnExitCodes and OnPodConditions is not supported"
        yield FieldError.invalid(path, OMITTED, detail)
    if codes is None and not patterns:
        yield FieldError.invalid(path, OMITTED, "specifying one of OnExitCodes and OnPodConditions is required")


def _exit_codes(found: Obj, path: str, *, known: Collection[str | None]) -> Problems:
    operator, values = found.get("operator"), found.get("values") or []
    yield from _chosen(operator, f"{path}.operator", ("In", "NotIn"))
    name = found.get("containerName")
    if name is not None and name not in known:
        detail = "must be one of the container or initContainer names in the pod template"
        yield FieldError.invalid(f"{path}.containerName", name, detail)
    if not values:
        yield FieldError.invalid(f"{path}.values", values, "at least one value is required")
    yield from at_most(_MOST_CODES)(values, f"{path}.values")
    for index, value in enumerate(values):
        if operator == "In" and value == 0:
            yield FieldError.invalid(f"{path}.values[{index}]", value, "must not be 0 for the In operator")
    yield from checks.unique(values, lambda index: f"{path}.values[{index}]")
    if values != sorted(values):
        yield FieldError.invalid(f"{path}.values", values, "must be ordered")


def _success_policy(found: Obj, path: str, *, completions: int) -> Problems:
    rules = found.get("rules") or []
    if not rules:
        detail = "at least one rules must be specified when the successPolicy is specified"
        yield FieldError.required(f"{path}.rules", detail)
    yield from at_most(_MOST_RULES)(rules, f"{path}.rules")
    for index, rule in enumerate(rules):
        yield from _success_rule(rule, f"{path}.rules[{index}]", completions=completions)


def _success_rule(rule: Obj, path: str, *, completions: int) -> Problems:
    indexes, count = rule.get("succeededIndexes"), rule.get("succeededCount")
    if indexes is None and count is None:
        detail = "at least one of succeededCount or succeededIndexes must be specified"
        yield FieldError.required(path, detail)
    total = 0
    if indexes is not None:
        where = f"{path}.succeededIndexes"
        yield from no_longer_than(_MOST_INDEX_BYTES)(indexes, where)
        try:
            total = sum(last - first + 1 for first, last in intervals(indexes, completions))
        except ValueError as error:
            yield FieldError.invalid(where, indexes, f"error parsing succeededIndexes: {error}")
    if count is not None:
        where = f"{path}.succeededCount"
        yield from NOT_NEGATIVE(count, where)
        if count > completions:
            detail = f"must be less than or equal to {completions} (the number of specified completions)"
            yield FieldError.invalid(where, count, detail)
        if indexes is not None and count > total:
            said = "the number of indexes in the specified succeededIndexes field"
            yield FieldError.invalid(where, count, f"must be less than or equal to {total} ({said})")


def intervals(text: str, completions: int) -> list[tuple[int, int]]:
    """ "1,3-5" -> [(1, 1), (3, 5)]. Raises ValueError for what is none, out of order or not below `completions`."""
    found: list[tuple[int, int]] = []
    for part in text.split(",") if text else ():
        limits = part.split("-")
        if len(limits) > 2:
            raise ValueError(
                f'the fragment "{part}" violates the requirement that an index interval can have at most two parts '
                "separated by '-'"
            )
        first = _index(limits[0], completions)
        last = _index(limits[1], completions) if len(limits) > 1 else first
        previous, current = (found[-1][1], first) if found and found[-1][1] >= first else (first, last)
        if previous > current or (len(limits) > 1 and first == last) or (found and found[-1][1] >= first):
            raise ValueError(f"non-increasing order, previous: {previous}, current: {current}")
        found.append((first, last))
    return found


def _index(text: str, completions: int) -> int:
    if not text.isascii() or not text.isdigit():
        raise ValueError(f'cannot convert string to integer for index: "{text}"')
    if int(text) >= completions:
        raise ValueError(f'too large index: "{text}"')
    return int(text)


def own_labels(job: Obj, expected: dict[str, str], *, optional: Collection[str] = ()) -> Problems:
    """The labels that make the pods a Job's own, unless it selects by hand (validateGeneratedSelector)."""
    spec: Obj = job.get("spec") or {}
    if spec.get("manualSelector") or spec.get("selector") is None:
        return
    labels: Obj = ((spec.get("template") or {}).get("metadata") or {}).get("labels") or {}
    for key, value in expected.items():
        where = f"spec.template.metadata.labels[{key}]"
        if key not in labels and key not in optional:
            yield FieldError.required(where, f"must be '{value}'")
        elif labels.get(key, value) != value:
            yield FieldError.invalid(where, labels, f"must be '{value}'")
    try:
        matched = of(spec["selector"]).matches(expected)
    except ValueError:
        return  # said of the selector itself
    if not matched:
        yield FieldError.invalid("spec.selector", spec["selector"], "`selector` not auto-generated")


def host_names(job: Obj) -> Problems:
    """Of an Indexed Job each pod's host name ends in its index: the longest must be one."""
    spec, name = job.get("spec") or {}, (job.get("metadata") or {}).get("name") or ""
    if spec.get("completionMode") == "Indexed" and (spec.get("completions") or 0) > 0:
        longest = f"{name}-{spec['completions'] - 1}"
        if any(names.label(longest)):
            detail = f"will not able to create pod with invalid DNS label: {longest}"
            yield FieldError.invalid("metadata.name", name, detail)
