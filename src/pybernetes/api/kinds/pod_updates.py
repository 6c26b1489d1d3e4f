"""What may change of a pod that is there: its spec, its ephemeral containers, its resources, its status."""

from collections.abc import Collection

from .. import names
from ..errors import FieldError
from ..objects import Obj, annotations_of, copied
from . import checks
from .affinity_checks import REQUIRED
from .pod_checks import pod
from .rules import Problems, among, distinct
from .security_checks import APP_ARMOR, MIRROR

_FIXED = (
    "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
    "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)
_MOST_SECONDS = (1 << 31) - 1


def annotations(new: Obj, old: Obj) -> Problems:
    """Annotations that a kubelet acted on once do not change."""
    now, before = annotations_of(new), annotations_of(old)
    for key in {**before, **now}:
        if now.get(key) == before.get(key):
            continue
        verb = "remove or update" if key in before else "add"
        if key.startswith(APP_ARMOR):
            yield FieldError.forbidden(f"metadata.annotations[{key}]", f"may not {verb} AppArmor annotations")
        elif key == MIRROR:
            yield FieldError.forbidden(f"metadata.annotations[{key}]", f"may not {verb} mirror pod annotation")


def updated(new: Obj, old: Obj) -> Problems:
    """A write of the pod itself (ValidatePodUpdate)."""
    yield from pod(new)
    yield from annotations(new, old)
    spec, before = new["spec"], old["spec"]
    for field in ("containers", "initContainers"):
        if len(spec.get(field) or ()) != len(before.get(field) or ()):
            yield FieldError.forbidden(f"spec.{field}", "pod updates may not add or remove containers")
            return
    yield from _deadline(spec.get("activeDeadlineSeconds"), before.get("activeDeadlineSeconds"))
    kept, found = before.get("tolerations") or [], list(map(_untimed, spec.get("tolerations") or []))
    if any(_untimed(one) not in found for one in kept):
        detail = "existing toleration can not be modified except its tolerationSeconds"
        yield FieldError.forbidden("spec.tolerations", detail)
    yield from _gates(spec, before)
    if before.get("schedulingGates"):
        yield from _placement(spec, before)
    if _fixed(spec, before) != _fixed(before, before):
        yield FieldError.forbidden("spec", _FIXED)


def _deadline(new: int | None, old: int | None) -> Problems:
    path = "spec.activeDeadlineSeconds"
    if new is None:
        if old is not None:
            yield FieldError.invalid(path, None, "must not update from a positive integer to nil value")
    elif not 0 <= new <= _MOST_SECONDS:
        yield FieldError.invalid(path, new, f"must be between 0 and {_MOST_SECONDS}, inclusive")
    elif old is not None and new > old:
        yield FieldError.invalid(path, new, "must be less than or equal to previous value")


def _gates(new: Obj, old: Obj) -> Problems:
    known = {gate.get("name") for gate in old.get("schedulingGates") or ()}
    for index, gate in enumerate(new.get("schedulingGates") or ()):
        if gate.get("name") not in known:
            detail = f"only deletion is allowed, but found new scheduling gate '{gate.get('name')}'"
            yield FieldError.forbidden(f"spec.schedulingGates[{index}].name", detail)


def _placement(new: Obj, old: Obj) -> Problems:
    """While it is gated a pod may be asked to run on fewer nodes, not on others."""
    now, before = new.get("nodeSelector") or {}, old.get("nodeSelector") or {}
    if any(now.get(key) != value for key, value in before.items()):
        detail = "only additions to spec.nodeSelector are allowed (no mutations or deletions)"
        yield FieldError.invalid("spec.nodeSelector", now, detail)
    terms, kept = _node_terms(new), _node_terms(old)
    if not kept:
        return
    where = f"spec.affinity.nodeAffinity.{REQUIRED}.nodeSelectorTerms"
    if len(terms) != len(kept):
        detail = "no additions/deletions to non-empty NodeSelectorTerms list are allowed"
        yield FieldError.invalid(where, terms, detail)
        return
    for index, (term, was) in enumerate(zip(terms, kept, strict=True)):
        if not _only_added(term, was):
            detail = "only additions are allowed (no mutations or deletions)"
            yield FieldError.invalid(f"{where}[{index}]", term, detail)


def _node_terms(spec: Obj) -> list[Obj]:
    found = ((spec.get("affinity") or {}).get("nodeAffinity") or {}).get(REQUIRED) or {}
    terms: list[Obj] = found.get("nodeSelectorTerms") or []
    return terms


def _only_added(term: Obj, was: Obj) -> bool:
    lists = [(was.get(field) or [], term.get(field) or []) for field in ("matchExpressions", "matchFields")]
    if not any(before for before, _ in lists):
        return not any(now for _, now in lists)
    return all(now[: len(before)] == before for before, now in lists)


def _untimed(toleration: Obj) -> Obj:
    return {key: value for key, value in toleration.items() if key != "tolerationSeconds"}


def _fixed(spec: Obj, old: Obj) -> Obj:
    """The part of a spec that may not change: what may is left out."""
    kept = _without(spec, ("activeDeadlineSeconds", "tolerations", "schedulingGates"))
    for field in ("containers", "initContainers"):
        if spec.get(field):
            kept[field] = [_without(container, ("image",)) for container in spec[field]]
    if spec.get("terminationGracePeriodSeconds") == 1 and old.get("terminationGracePeriodSeconds", 0) < 0:
        kept["terminationGracePeriodSeconds"] = old["terminationGracePeriodSeconds"]
    if old.get("schedulingGates"):
        kept.pop("nodeSelector", None)
        if found := _without(spec.get("affinity") or {}, ("nodeAffinity",)):
            kept["affinity"] = found
        else:
            kept.pop("affinity", None)
    return kept


def _without(found: Obj, fields: Collection[str]) -> Obj:
    return {key: value for key, value in found.items() if key not in fields and value not in (None, "", [], {})}


def ephemeral(new: Obj, old: Obj) -> Problems:
    """A write of the ephemeralcontainers part: more of them, none changed (ValidatePodEphemeralContainersUpdate)."""
    if MIRROR in annotations_of(old):
        yield FieldError.forbidden("", "static pods do not support ephemeral containers")
        return
    yield from pod(new)
    yield from annotations(new, old)
    path = "spec.ephemeralContainers"
    found = {one.get("name"): one for one in new["spec"].get("ephemeralContainers") or ()}
    for one in old["spec"].get("ephemeralContainers") or ():
        name = one.get("name")
        if name not in found:
            yield FieldError.forbidden(path, f'existing ephemeral containers "{name}" may not be removed\n')
        elif found[name] != one:
            yield FieldError.forbidden(path, f'existing ephemeral containers "{name}" may not be changed\n')
    if _without(new["spec"], ("ephemeralContainers",)) != _without(old["spec"], ("ephemeralContainers",)):
        yield FieldError.forbidden("spec", "pod updates may not change fields other than `spec.ephemeralContainers`")


_ELASTIC = ("cpu", "memory")


def resized(new: Obj, old: Obj, *, same_class: bool) -> Problems:
    """A write of the resize part: CPU and memory of containers (ValidatePodResize)."""
    if MIRROR in annotations_of(old):
        yield FieldError.forbidden("", "static pods cannot be resized")
        return
    if (old["spec"].get("os") or {}).get("name") == "windows":
        yield FieldError.forbidden("", "windows pods cannot be resized")
        return
    yield from pod(new)
    if not same_class:
        shown = (new.get("status") or {}).get("qosClass") or ""
        yield FieldError.invalid("spec", shown, "Pod QOS Class may not change as a result of resizing")
    spec, before = new["spec"], old["spec"]
    if any(len(spec.get(one) or ()) != len(before.get(one) or ()) for one in ("containers", "initContainers")):
        yield FieldError.forbidden("spec", "only cpu and memory resources are mutable")
        return
    rest = copied(spec)
    for field in ("initContainers", "containers"):
        yield from _resized_containers(rest, before, field)
    if _pruned(rest) != _pruned(before):
        yield FieldError.forbidden("spec", "only cpu and memory resources are mutable")


def _resized_containers(rest: Obj, before: Obj, field: str) -> Problems:
    """What was resized is put back in `rest`, so that all else can be compared."""
    for index, was in enumerate(before.get(field) or ()):
        now = rest[field][index]
        if field == "initContainers" and was.get("restartPolicy") != "Always":
            if _pruned(now) != _pruned(was):
                yield FieldError.forbidden("spec", "resources for non-sidecar init containers are immutable")
                rest[field][index] = was
            continue
        yield from _resized_container(now, was, f"spec.{field}[{index}].resources")
        _put_back(now, was)


def _resized_container(now: Obj, was: Obj, path: str) -> Problems:
    new, old = now.get("resources") or {}, was.get("resources") or {}
    for field in ("requests", "limits"):
        if set(old.get(field) or ()) - set(new.get(field) or ()):
            yield FieldError.forbidden(f"{path}.{field}", f"resource {field} cannot be removed")
    policies = {one.get("resourceName"): one.get("restartPolicy") for one in now.get("resizePolicy") or ()}
    most, least = (new.get("limits") or {}).get("memory"), (old.get("limits") or {}).get("memory")
    if most is None or least is not None or policies.get("memory", "NotRequired") != "NotRequired":
        return
    detail = "memory limits cannot be added unless resizePolicy is RestartContainer"
    yield FieldError.forbidden(f"{path}.limits[memory]", detail)


def _put_back(now: Obj, was: Obj) -> None:
    new, old = now.get("resources") or {}, was.get("resources") or {}
    merged: Obj = {}
    for field in ("limits", "requests"):
        others = {name: one for name, one in (new.get(field) or {}).items() if name not in _ELASTIC}
        merged[field] = others | {n: one for n, one in (old.get(field) or {}).items() if n in _ELASTIC}
    if claims := new.get("claims"):
        merged["claims"] = claims
    now["resources"] = merged
    now["resizePolicy"] = was.get("resizePolicy")


def _pruned(value: object) -> object:
    """Without what is empty, at any depth."""
    if isinstance(value, dict):
        found = {key: _pruned(inner) for key, inner in value.items()}
        return {key: inner for key, inner in found.items() if inner not in (None, "", [], {})}
    return [_pruned(inner) for inner in value] if isinstance(value, list) else value


_STATUSES = ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses")
_SYSTEM_CONDITIONS = ("PodScheduled", "Ready", "Initialized")


def status(new: Obj, old: Obj) -> Problems:
    """A write of the status part (ValidatePodStatusUpdate)."""
    yield from annotations(new, old)
    found, before = new.get("status") or {}, old.get("status") or {}
    for index, entry in enumerate(found.get("conditions") or ()):
        if entry.get("type") not in _SYSTEM_CONDITIONS:
            where = f"metadata.conditions[{index}].Type"
            yield from checks.named(entry.get("type") or "", where, names.qualified)
    nominated = found.get("nominatedNodeName")
    if nominated and nominated != before.get("nominatedNodeName"):
        yield from checks.named(nominated, "status.nominatedNodeName", names.subdomain)
    if before.get("qosClass") and found.get("qosClass") != before["qosClass"]:
        yield FieldError.invalid("status.qosClass", found.get("qosClass") or "", "field is immutable")
    policy = old["spec"].get("restartPolicy") or "Always"
    for field in _STATUSES:
        never = field == "ephemeralContainerStatuses"
        yield from _transitions(found, before, field, policy="Never" if never else policy, spec=old["spec"])
    yield from _claim_statuses(found.get("resourceClaimStatuses") or [], new["spec"])
    yield from _addresses(found, "podIPs", "podIP")
    yield from _addresses(found, "hostIPs", "hostIP")


def _transitions(found: Obj, before: Obj, field: str, *, policy: str, spec: Obj) -> Problems:
    """A container that ended for good does not come back."""
    if policy == "Always":
        return
    restarted = _restarting(spec) if field != "ephemeralContainerStatuses" else set()
    for index, was in enumerate(before.get(field) or ()):
        ended = (was.get("state") or {}).get("terminated")
        name = was.get("name")
        if ended is None or name in restarted or (policy == "OnFailure" and ended.get("exitCode")):
            continue
        for now in found.get(field) or ():
            if now.get("name") == name and (now.get("state") or {}).get("terminated") is None:
                detail = "may not be transitioned to non-terminated state"
                yield FieldError.forbidden(f"status.{field}[{index}].state", detail)


def _restarting(spec: Obj) -> set[str | None]:
    """Containers with a restart policy or rules of their own."""
    lists = (*(spec.get("initContainers") or ()), *(spec.get("containers") or ()))
    return {one.get("name") for one in lists if one.get("restartPolicy") or one.get("restartPolicyRules")}


def _claim_statuses(found: list[Obj], spec: Obj) -> Problems:
    known = {claim.get("name") for claim in spec.get("resourceClaims") or ()}
    path = "status.resourceClaimStatuses"
    for index, entry in enumerate(found):
        where, name = f"{path}[{index}].name", entry.get("name") or ""
        if name not in known:
            yield FieldError.invalid(where, name, "must match the name of an entry in `spec.resourceClaims`")
        if claim := entry.get("resourceClaimName"):
            yield from checks.named(claim, where, names.subdomain)
    yield from checks.unique((one.get("name") for one in found), lambda index: f"{path}[{index}].name")


def _addresses(found: Obj, field: str, first: str) -> Problems:
    entries = found.get(field) or []
    path = f"status.{field}"
    texts = [entry.get("ip") or "" for entry in entries]
    if first == "hostIP" and texts and texts[0] != (found.get(first) or ""):
        yield FieldError.invalid(f"{path}[0].ip", texts[0], "must be equal to `hostIP`")
    bad = False
    for index, text in enumerate(texts):
        problems = list(checks.named(text, f"{path}[{index}]", names.ip))
        bad = bad or bool(problems)
        yield from problems
    if len(texts) < 2 or bad:
        return
    if len({":" in text for text in texts}) != 2 or len(texts) > 2:
        yield FieldError.invalid(path, entries, "may specify no more than one IP for each IP family")
    yield from distinct(entries, path)


_KINDS = among("Node", "<empty>")


def binding(found: Obj) -> Problems:
    """A Binding: the node that a pod shall run on (ValidatePodBinding)."""
    target: Obj = found.get("target") or {}
    if target.get("kind"):
        yield from _KINDS(target["kind"], "target.kind")
    if not target.get("name"):
        yield FieldError.required("target.name")
