"""Rows of apps, batch, autoscaling and policy."""

from typing import Any

from .. import times
from ..objects import Obj, controller_of, is_deleting
from .cells import (
    NIL,
    NONE,
    UNKNOWN,
    UNSET,
    age,
    condition_true,
    containers,
    count,
    flag,
    labels,
    name,
    since,
    spec,
    status,
    template,
)
from .cells import selector as selector_text
from .column import Printer, columns

_JOB_STATES = (
    ("Complete", "Complete"),
    ("Failed", "Failed"),
    ("", "Terminating"),
    ("Suspended", "Suspended"),
    ("FailureTarget", "FailureTarget"),
    ("SuccessCriteriaMet", "SuccessCriteriaMet"),
)
"""Condition and word, the first that holds; "" is deletion."""


def _deployment(obj: Obj, now: float) -> list[Any]:
    found = status(obj)
    ready = f"{count(found, 'readyReplicas')}/{count(spec(obj), 'replicas')}"
    text = selector_text(spec(obj).get("selector"))
    return [
        name(obj),
        ready,
        count(found, "updatedReplicas"),
        count(found, "availableReplicas"),
        age(obj, now),
        *containers(template(obj)),
        "" if text == NONE else "<invalid>" if text == "<error>" else text,
    ]


def _replica_set(obj: Obj, now: float) -> list[Any]:
    wanted = spec(obj).get("selector")
    counts = [count(spec(obj), "replicas"), count(status(obj), "replicas"), count(status(obj), "readyReplicas")]
    text = labels(wanted) if obj.get("kind") == "ReplicationController" else selector_text(wanted)
    return [name(obj), *counts, age(obj, now), *containers(template(obj)), text]


_DAEMON_COUNTS = (
    *("desiredNumberScheduled", "currentNumberScheduled", "numberReady"),
    *("updatedNumberScheduled", "numberAvailable"),
)


def _daemon_set(obj: Obj, now: float) -> list[Any]:
    return [
        name(obj),
        *(count(status(obj), field) for field in _DAEMON_COUNTS),
        labels(spec(template(obj)).get("nodeSelector")),
        age(obj, now),
        *containers(template(obj)),
        selector_text(spec(obj).get("selector")),
    ]


def _stateful_set(obj: Obj, now: float) -> list[Any]:
    ready = f"{count(status(obj), 'readyReplicas')}/{count(spec(obj), 'replicas')}"
    return [name(obj), ready, age(obj, now), *containers(template(obj))]


def _controller_revision(obj: Obj, now: float) -> list[Any]:
    owner = controller_of(obj)
    text = NONE
    if owner is not None:
        group, slash, _ = str(owner.get("apiVersion", "")).partition("/")
        kind = f"{owner.get('kind', '')}.{group}" if slash else str(owner.get("kind", ""))
        text = f"{kind.lower()}/{owner.get('name', '')}"
    return [name(obj), text, count(obj, "revision"), age(obj, now)]


def _job(obj: Obj, now: float) -> list[Any]:
    done = count(status(obj), "succeeded")
    completions, parallelism = spec(obj).get("completions"), count(spec(obj), "parallelism")
    if completions is not None:
        shown = f"{done}/{completions}"
    else:
        shown = f"{done}/1 of {parallelism}" if parallelism > 1 else f"{done}/1"
    state = next((word for kind, word in _JOB_STATES if _holds(obj, kind)), "Running")
    tail = [*containers(template(obj)), selector_text(spec(obj).get("selector"))]
    return [name(obj), state, shown, _duration(obj, now), age(obj, now), *tail]


def _holds(obj: Obj, kind: str) -> bool:
    return condition_true(obj, kind) if kind else is_deleting(obj)


def _duration(obj: Obj, now: float) -> str:
    started, ended = status(obj).get("startTime"), status(obj).get("completionTime")
    if not started:
        return ""
    return since(started, times.parse(ended) if ended else now)


def _cron_job(obj: Obj, now: float) -> list[Any]:
    last = status(obj).get("lastScheduleTime")
    job = spec(obj).get("jobTemplate") or {}
    return [
        name(obj),
        spec(obj).get("schedule", ""),
        spec(obj).get("timeZone", NONE),
        flag(spec(obj).get("suspend")),
        len(status(obj).get("active") or ()),
        since(last, now) if last else NONE,
        age(obj, now),
        *containers(template(job)),
        selector_text(spec(job).get("selector")),
    ]


def _budget(obj: Obj, now: float) -> list[Any]:
    limits = (str(spec(obj).get(field, "N/A")) for field in ("minAvailable", "maxUnavailable"))
    return [name(obj), *limits, count(status(obj), "disruptionsAllowed"), age(obj, now)]


def _autoscaler(obj: Obj, now: float) -> list[Any]:
    """Of both versions; autoscaling/v1 knows the processor only."""
    target = spec(obj).get("scaleTargetRef") or {}
    return [
        name(obj),
        f"{target.get('kind', '')}/{target.get('name', '')}",
        _targets(obj),
        str(spec(obj).get("minReplicas", UNSET)),
        count(spec(obj), "maxReplicas"),
        count(status(obj), "currentReplicas"),
        age(obj, now),
    ]


def _targets(obj: Obj) -> str:
    metrics = spec(obj).get("metrics") or []
    if (wanted := spec(obj).get("targetCPUUtilizationPercentage")) is not None:
        have = status(obj).get("currentCPUUtilizationPercentage")
        return f"cpu: {UNKNOWN if have is None else f'{have}%'}/{wanted}%"
    measured = status(obj).get("currentMetrics") or []
    shown = [_metric(one, measured[at] if at < len(measured) else {}) for at, one in enumerate(metrics)]
    more = f" + {len(shown) - 2} more..." if len(shown) > 2 else ""
    return ", ".join(shown[:2]) + more or NONE


_SOURCES = {
    "External": "external",
    "Pods": "pods",
    "Object": "object",
    "Resource": "resource",
    "ContainerResource": "containerResource",
}


def _metric(wanted: Obj, measured: Obj) -> str:
    field = _SOURCES.get(wanted.get("type", ""))
    if field is None:
        return "<unknown type>"
    target = (wanted.get(field) or {}).get("target") or {}
    found = measured.get(field)
    current = (found or {}).get("current") or {}
    missing = UNKNOWN if found is None else NIL
    prefix = f"{(wanted.get(field) or {}).get('name', '')}: " if field in ("resource", "containerResource") else ""
    if "averageValue" in target or field == "pods":
        if field in ("external", "object"):
            return f"{current.get('averageValue', UNKNOWN)}/{target['averageValue']} (avg)"
        return f"{prefix}{current.get('averageValue', missing)}/{target.get('averageValue', NIL)}"
    if not prefix:
        return f"{current.get('value', missing)}/{target.get('value', NIL)}"
    have, want = current.get("averageUtilization"), target.get("averageUtilization")
    return f"{prefix}{UNKNOWN if have is None else f'{have}%'}/{'<auto>' if want is None else f'{want}%'}"


def _scale(obj: Obj, now: float) -> list[Any]:
    return [name(obj), count(spec(obj), "replicas"), count(status(obj), "replicas"), age(obj, now)]


_TAIL = ("Containers*", "Images*", "Selector*")
_SET = Printer(columns("Name", "Desired#", "Current#", "Ready#", "Age", *_TAIL), _replica_set)

PRINTERS: dict[tuple[str, str], Printer] = {
    ("apps", "Deployment"): Printer(columns("Name", "Ready", "Up-to-date", "Available", "Age", *_TAIL), _deployment),
    ("apps", "ReplicaSet"): _SET,
    ("", "ReplicationController"): _SET,
    ("apps", "DaemonSet"): Printer(
        columns(
            *("Name", "Desired#", "Current#", "Ready#", "Up-to-date#", "Available#", "Node Selector", "Age"), *_TAIL
        ),
        _daemon_set,
    ),
    ("apps", "StatefulSet"): Printer(columns("Name", "Ready", "Age", "Containers*", "Images*"), _stateful_set),
    ("apps", "ControllerRevision"): Printer(columns("Name", "Controller", "Revision", "Age"), _controller_revision),
    ("batch", "Job"): Printer(columns("Name", "Status", "Completions", "Duration", "Age", *_TAIL), _job),
    ("batch", "CronJob"): Printer(
        columns("Name", "Schedule", "Timezone", "Suspend?", "Active#", "Last Schedule", "Age", *_TAIL), _cron_job
    ),
    ("policy", "PodDisruptionBudget"): Printer(
        columns("Name", "Min Available", "Max Unavailable", "Allowed Disruptions#", "Age"), _budget
    ),
    ("autoscaling", "HorizontalPodAutoscaler"): Printer(
        columns("Name", "Reference", "Targets", "MinPods", "MaxPods", "Replicas", "Age"), _autoscaler
    ),
    ("autoscaling", "Scale"): Printer(columns("Name!", "Desired#", "Available#", "Age"), _scale),
}
