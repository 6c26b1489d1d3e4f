"""How a Deployment's ReplicaSets should be sized: arithmetic over counts; pure (deployment_util.go, rolling.go).

A set is seen as a dict (the ReplicaSet object); sizes are spec.replicas unless said otherwise.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from pybernetes.api.objects import Obj, annotations_of, name_of

REVISION = "deployment.kubernetes.io/revision"
REVISION_HISTORY = "deployment.kubernetes.io/revision-history"
DESIRED = "deployment.kubernetes.io/desired-replicas"
MAX = "deployment.kubernetes.io/max-replicas"
POD_TEMPLATE_HASH = "pod-template-hash"
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
NOT_COPIED = frozenset({LAST_APPLIED, REVISION, REVISION_HISTORY, DESIRED, MAX, "deprecated.deployment.rollback.to"})


class Resize(NamedTuple):
    """One ReplicaSet's new size."""

    set: Obj
    size: int


class Bounds(NamedTuple):
    """How many pods may be there above the wanted number, and how many of it may be missing."""

    surge: int
    unavailable: int


def size_of(rs: Obj) -> int:
    return int(rs["spec"].get("replicas", 1))


def wanted(deployment: Obj) -> int:
    return int(deployment["spec"].get("replicas", 1))


def count(rs: Obj, field: str) -> int:
    """A count of its status."""
    return int((rs.get("status") or {}).get(field) or 0)


def total(sets: Iterable[Obj]) -> int:
    return sum(size_of(rs) for rs in sets)


def active(sets: Iterable[Obj]) -> list[Obj]:
    return [rs for rs in sets if size_of(rs) > 0]


def is_rolling(deployment: Obj) -> bool:
    strategy = deployment["spec"].get("strategy") or {}
    return bool(strategy.get("type", "RollingUpdate") == "RollingUpdate")


def scaled_value(value: Any, of: int, *, up: bool) -> int:
    """An IntOrString of a whole: "25%" of 3 is 1 up and 0 down."""
    if isinstance(value, str) and value.endswith("%"):
        share = int(value[:-1]) * of / 100
        return math.ceil(share) if up else math.floor(share)
    return int(value or 0)


def bounds(deployment: Obj) -> Bounds:
    """maxSurge rounded up, maxUnavailable rounded down, never both 0 (ResolveFenceposts)."""
    if not is_rolling(deployment):
        return Bounds(0, 0)
    rolling = (deployment["spec"].get("strategy") or {}).get("rollingUpdate") or {}
    replicas = wanted(deployment)
    surge = scaled_value(rolling.get("maxSurge", "25%"), replicas, up=True)
    unavailable = scaled_value(rolling.get("maxUnavailable", "25%"), replicas, up=False)
    if surge == 0 and unavailable == 0:
        unavailable = 1
    return Bounds(surge, min(unavailable, replicas))


def revision(rs: Obj) -> int:
    try:
        return int(annotations_of(rs).get(REVISION) or 0)
    except ValueError:
        return 0


def by_age(sets: Iterable[Obj]) -> list[Obj]:
    """Oldest first, then by name."""
    return sorted(sets, key=lambda rs: (rs["metadata"].get("creationTimestamp", ""), name_of(rs)))


def template_of(owner: Obj) -> Obj:
    """A pod template as it is compared: without the hash label and what codecs add."""
    template = owner["spec"]["template"]
    meta = {k: v for k, v in (template.get("metadata") or {}).items() if v and k != "creationTimestamp"}
    if "labels" in meta:
        meta["labels"] = {k: v for k, v in meta["labels"].items() if k != POD_TEMPLATE_HASH}
        if not meta["labels"]:
            del meta["labels"]
    return {"metadata": meta, "spec": template.get("spec") or {}}


def find_new(deployment: Obj, sets: Iterable[Obj]) -> Obj | None:
    """The set of the present template; the oldest if there are several."""
    template = template_of(deployment)
    return next((rs for rs in by_age(sets) if template_of(rs) == template), None)


def new_size(deployment: Obj, sets: Sequence[Obj], new: Obj | None) -> int:
    """How big the new set may be now (NewRSNewReplicas); `sets` are all of them."""
    want = wanted(deployment)
    size = size_of(new) if new is not None else 0
    if not is_rolling(deployment):
        return want
    room = want + bounds(deployment).surge - total(sets)
    return size if room <= 0 else size + min(room, want - size)


def scale_down_old(deployment: Obj, old: Sequence[Obj], new: Obj | None) -> list[Resize]:
    """What rolling may take from the old sets now (reconcileOldReplicaSets): first pods not available anyway."""
    alive = active(old)
    sets = [*alive, *([new] if new is not None else [])]
    want, may_miss = wanted(deployment), bounds(deployment).unavailable
    missing = size_of(new) - count(new, "availableReplicas") if new is not None else 0
    most = total(sets) - (want - may_miss) - missing
    if not alive or most <= 0:
        return []
    sizes = {name_of(rs): size_of(rs) for rs in alive}
    left = most
    for rs in by_age(alive):
        sick = min(left, max(0, size_of(rs) - count(rs, "availableReplicas")))
        sizes[name_of(rs)] -= sick
        left -= sick
    spare = sum(count(rs, "availableReplicas") for rs in sets) - (want - may_miss)
    for rs in by_age(alive):
        taken = min(sizes[name_of(rs)], max(0, spare))
        sizes[name_of(rs)] -= taken
        spare -= taken
    return [Resize(rs, sizes[name_of(rs)]) for rs in by_age(alive) if sizes[name_of(rs)] != size_of(rs)]


def scale(deployment: Obj, new: Obj | None, old: Sequence[Obj]) -> list[Resize]:
    """A scaling without a rollout, or in the midst of one: in proportion (sync.go scale). Also sizes that stay."""
    want = wanted(deployment)
    if (only := _active_or_latest(new, old)) is not None:
        return [Resize(only, want)]
    alive = active(old)
    if new is not None and _saturated(deployment, new):
        return [Resize(rs, 0) for rs in alive]
    if not is_rolling(deployment):
        return []
    sets = active([*old, *([new] if new is not None else [])])
    most = want + bounds(deployment).surge if want > 0 else 0
    return _proportional(deployment, sets, most - total(sets), most)


def _proportional(deployment: Obj, sets: Sequence[Obj], change: int, most: int) -> list[Resize]:
    ordered = sorted(sets, key=lambda rs: rs["metadata"].get("creationTimestamp", ""), reverse=change > 0)
    ordered.sort(key=lambda rs: -size_of(rs))
    sizes, moved = [], 0
    for rs in ordered:
        step = _share(deployment, rs, most) if change and change != moved and size_of(rs) else 0
        step = min(step, change - moved) if change > 0 else max(step, change - moved)
        sizes.append(size_of(rs) + step)
        moved += step
    if sizes and change:
        sizes[0] = max(0, sizes[0] + change - moved)
    return [Resize(rs, size) for rs, size in zip(ordered, sizes, strict=True)]


def _share(deployment: Obj, rs: Obj, most: int) -> int:
    """How much of the change is this set's (getReplicaSetFraction)."""
    if wanted(deployment) == 0:
        return -size_of(rs)
    before = int(annotations_of(rs).get(MAX) or 0) or count(deployment, "replicas")
    if not before:
        return 0
    return math.floor(size_of(rs) * most / before + 0.5) - size_of(rs)


def _active_or_latest(new: Obj | None, old: Sequence[Obj]) -> Obj | None:
    """The one set with pods; without any, the newest; None when several have pods."""
    if new is None and not old:
        return None
    alive = active([*([new] if new is not None else []), *old])
    if len(alive) == 1:
        return alive[0]
    if alive:
        return None
    return new if new is not None else by_age(old)[-1]


def _saturated(deployment: Obj, new: Obj) -> bool:
    """The new set is all there is to be (IsSaturated)."""
    want = wanted(deployment)
    return (
        size_of(new) == want
        and annotations_of(new).get(DESIRED) == str(want)
        and count(new, "availableReplicas") == want
    )


def is_complete(deployment: Obj, status: Obj) -> bool:
    """All pods are new and available, and this generation was looked at (DeploymentComplete)."""
    want = wanted(deployment)
    counts = [int(status.get(field) or 0) for field in ("updatedReplicas", "replicas", "availableReplicas")]
    observed = int(status.get("observedGeneration") or 0)
    return all(have == want for have in counts) and observed >= int(deployment["metadata"].get("generation") or 0)


def is_progressing(old: Obj, new: Obj) -> bool:
    """More of the new, less of the old, more ready or available than at the last look (DeploymentProgressing)."""

    def number(status: Obj, field: str) -> int:
        return int(status.get(field) or 0)

    def outdated(status: Obj) -> int:
        return number(status, "replicas") - number(status, "updatedReplicas")

    grown = any(number(new, f) > number(old, f) for f in ("updatedReplicas", "readyReplicas", "availableReplicas"))
    return grown or outdated(new) < outdated(old)


def to_clean(deployment: Obj, old: Sequence[Obj]) -> list[Obj]:
    """Old empty sets beyond revisionHistoryLimit, oldest revisions first (cleanupDeployment)."""
    limit = int(deployment["spec"].get("revisionHistoryLimit", 10))
    alive = [rs for rs in old if not rs["metadata"].get("deletionTimestamp")]
    over = len(alive) - limit
    return [rs for rs in sorted(alive, key=revision)[: max(0, over)] if _is_empty(rs)]


def _is_empty(rs: Obj) -> bool:
    observed = int((rs.get("status") or {}).get("observedGeneration") or 0)
    return size_of(rs) == 0 and count(rs, "replicas") == 0 and int(rs["metadata"].get("generation") or 0) <= observed


def set_annotations(deployment: Obj, rs: Obj, newest: int, *, exists: bool) -> dict[str, str]:
    """The annotations the new set should have (SetNewReplicaSetAnnotations): the Deployment's, and its revision."""
    have = dict(annotations_of(rs))
    result = have | {k: v for k, v in annotations_of(deployment).items() if k not in NOT_COPIED}
    if revision(rs) < newest:
        if exists and have.get(REVISION):
            history = [part for part in (have.get(REVISION_HISTORY) or "").split(",") if part]
            result[REVISION_HISTORY] = ",".join([*history, have[REVISION]][-100:])
        result[REVISION] = str(newest)
    if not exists:
        result |= size_annotations(deployment)
    return result


def size_annotations(deployment: Obj) -> dict[str, str]:
    want = wanted(deployment)
    return {DESIRED: str(want), MAX: str(want + bounds(deployment).surge)}


def is_scaling(deployment: Obj, sets: Iterable[Obj]) -> bool:
    """The wanted number changed since the sets were sized (isScalingEvent)."""
    desired = [annotations_of(rs).get(DESIRED) for rs in active(sets)]
    return any(value is not None and value != str(wanted(deployment)) for value in desired)
