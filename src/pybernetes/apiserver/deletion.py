"""What a delete does to an object: gone at once, marked and left to its finalizers or its kubelet, or nothing. Pure.

Follows apimachinery's rest.BeforeDelete and the registry's finalizers for propagation policies.
"""

from dataclasses import dataclass, replace
from typing import Literal

from pybernetes.api import times
from pybernetes.api.errors import BadRequest, Conflict, FieldError, Invalid
from pybernetes.api.objects import Obj, is_deleting, metadata, revision_of, uid_of
from pybernetes.api.resources import Resource

ORPHAN, FOREGROUND = "orphan", "foregroundDeletion"
POLICIES = ("Foreground", "Background", "Orphan")

Act = Literal["remove", "mark", "keep"]


@dataclass(frozen=True, slots=True)
class DeleteOptions:
    """meta/v1 DeleteOptions; the query may say the same."""

    grace_seconds: int | None = None
    policy: str = ""
    uid: str | None = None
    revision: str | None = None
    dry_run: bool = False


def delete_options(body: Obj, query: Obj) -> DeleteOptions:
    """The options of a body, else of the query. Raises BadRequest, Invalid."""
    found = body or query
    policy = found.get("propagationPolicy") or ""
    orphan = found.get("orphanDependents")
    problems = []
    if policy and policy not in POLICIES:
        problems.append(FieldError.not_supported("propagationPolicy", policy, (*POLICIES, "nil")))
    if policy and orphan is not None:
        problems.append(
            FieldError.invalid(
                "propagationPolicy", policy, "orphanDependents and deletionPropagation cannot be both set"
            )
        )
    dry = found.get("dryRun") or []
    if any(one != "All" for one in dry):
        problems.append(FieldError.not_supported("dryRun", dry, ["All"]))
    if problems:
        raise Invalid.of("DeleteOptions", "", problems, group="meta.k8s.io")
    if orphan is not None and not policy:
        policy = "Orphan" if orphan else "Background"
    conditions = found.get("preconditions") or {}
    grace = found.get("gracePeriodSeconds")
    if grace is not None and type(grace) is not int:
        raise BadRequest("gracePeriodSeconds must be a number")
    return DeleteOptions(
        grace_seconds=grace,
        policy=policy,
        uid=conditions.get("uid"),
        revision=conditions.get("resourceVersion"),
        dry_run=bool(dry),
    )


def orphaning(options: DeleteOptions, obj: Obj) -> DeleteOptions:
    """As meant for a kind that leaves orphans, unless its own finalizers say what becomes of them."""
    told = {ORPHAN, FOREGROUND} & set(metadata(obj).get("finalizers") or ())
    return options if told else replace(options, policy="Orphan")


def check(obj: Obj, options: DeleteOptions, row: Resource) -> None:
    """The preconditions. Raises Conflict."""
    for wanted, found, what in (
        (options.uid, uid_of(obj), "UID"),
        (options.revision, revision_of(obj), "ResourceVersion"),
    ):
        if wanted is not None and wanted != found:
            why = f"Precondition failed: {what} in precondition: {wanted}, {what} in object meta: {found}"
            raise Conflict.of(row.plural, metadata(obj).get("name", ""), group=row.group, why=why)


def plan(obj: Obj, options: DeleteOptions, *, grace_seconds: int, now: float) -> tuple[Act, Obj]:
    """(what to do, the object as it then is). `obj` is not changed; `grace_seconds` is the strategy's answer."""
    meta = dict(metadata(obj))
    finalizers = _finalizers(meta.get("finalizers") or [], options.policy)
    marked = obj | {"metadata": meta}
    changed = finalizers != (meta.get("finalizers") or [])
    if is_deleting(obj):
        had = meta.get("deletionGracePeriodSeconds") or 0
        if options.grace_seconds is not None and max(0, options.grace_seconds) < had:
            _mark(meta, grace=grace_seconds, now=times.parse(meta["deletionTimestamp"]) - had)
            changed, had = True, grace_seconds
        if had == 0 and not finalizers and not _held(obj):
            return "remove", marked
    elif grace_seconds == 0 and not finalizers and not _held(obj):
        return "remove", marked
    else:
        _mark(meta, grace=grace_seconds, now=now)
        if meta.get("generation"):
            meta["generation"] += 1
        changed = True
    if finalizers:
        meta["finalizers"] = finalizers
    else:
        meta.pop("finalizers", None)
    if obj.get("kind") == "Namespace":
        marked["status"] = (obj.get("status") or {}) | {"phase": "Terminating"}
    return ("mark" if changed else "keep"), marked


def finished(obj: Obj) -> bool:
    """Whether an update has left an object that is being deleted with nothing to wait for."""
    meta = metadata(obj)
    return (
        is_deleting(obj)
        and not meta.get("finalizers")
        and not meta.get("deletionGracePeriodSeconds")
        and not _held(obj)
    )


def _held(obj: Obj) -> bool:
    """A namespace has finalizers of its own, in its spec."""
    return obj.get("kind") == "Namespace" and bool((obj.get("spec") or {}).get("finalizers"))


def _mark(meta: Obj, *, grace: int, now: float) -> None:
    meta["deletionTimestamp"] = times.stamp(now + grace)
    meta["deletionGracePeriodSeconds"] = grace


def _finalizers(found: list[str], policy: str) -> list[str]:
    """With the finalizer of the policy asked for, without that of another."""
    if not policy:
        return list(found)
    wanted = {"Orphan": ORPHAN, "Foreground": FOREGROUND}.get(policy)
    kept = [one for one in found if one not in (ORPHAN, FOREGROUND) or one == wanted]
    return kept if wanted is None or wanted in kept else [*kept, wanted]
