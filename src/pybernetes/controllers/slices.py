"""EndpointSlices from endpoints with the least churn: which slices to create, update and delete; pure.

The rules are those of k8s.io/endpointslice (reconciler.go): slices that hold an endpoint keep it, slices that change
anyway are filled first, a full slice is not touched, and a slice about to be deleted is reused for one to be created.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from pybernetes.api.objects import Obj, annotations_of, decode, encode, labels_of, namespace_of, owner_reference
from pybernetes.api.resources import ENDPOINT_SLICES

SERVICE_NAME = "kubernetes.io/service-name"
MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
HEADLESS = "service.kubernetes.io/headless"
TRIGGER_TIME = "endpoints.kubernetes.io/last-change-trigger-time"
WEIGHTS = "pybernetes.io/weights"
"""Annotation of a slice: JSON, the weight of each of its addresses that has one of its own."""


@dataclass(frozen=True, slots=True)
class Group:
    """Endpoints that share address type and ports, and so can share slices."""

    address_type: str
    ports: tuple[bytes, ...]
    """Each port as JSON."""

    @property
    def port_objects(self) -> list[Obj]:
        return [decode(port) for port in self.ports]


class Wanted(NamedTuple):
    """The whole truth for one owner: endpoints by group, each group's by identity (targetRef uid, or address)."""

    owner: Obj
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    groups: Mapping[Group, Mapping[str, Obj]]
    prefix: str
    """What generated names begin with."""
    weights: Mapping[str, int] = {}
    """By identity, of those endpoints that do not have the full share of new connections."""


@dataclass(slots=True)
class Changes:
    """What is to be written. Slices in `update` carry the revision they were read at."""

    create: list[Obj] = field(default_factory=list)
    update: list[Obj] = field(default_factory=list)
    delete: list[Obj] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.create or self.update or self.delete)


def group_of(address_type: str, ports: Iterable[Obj]) -> Group:
    """Ports are compared as a set, with absent names and protocols as their defaults."""
    full = ({"name": "", "protocol": "TCP"} | {k: v for k, v in port.items() if v is not None} for port in ports)
    return Group(address_type, tuple(sorted(encode({k: port[k] for k in sorted(port)}) for port in full)))


def identity(endpoint: Obj) -> str:
    """What makes two endpoints the same one: the pod's uid, else the first address."""
    reference = endpoint.get("targetRef") or {}
    return str(reference.get("uid") or (endpoint.get("addresses") or [""])[0])


def plan(wanted: Wanted, existing: Sequence[Obj], *, limit: int, stamp: str = "") -> Changes:
    """The writes that make `existing` say what is wanted; `stamp` is the trigger time written with each change."""
    changes = Changes()
    held: dict[Group, list[Obj]] = {}
    for found in existing:
        held.setdefault(group_of(str(found.get("addressType")), found.get("ports") or ()), []).append(found)
    for group, endpoints in wanted.groups.items():
        _plan_group(wanted, group, endpoints, held.pop(group, []), changes, limit)
    for stale in held.values():
        changes.delete.extend(stale)
    _reuse(changes)
    for slice_ in (*changes.create, *changes.update):
        annotations = _annotations(wanted, slice_["endpoints"]) | ({TRIGGER_TIME: stamp} if stamp else {})
        if annotations:
            slice_["metadata"]["annotations"] = annotations
        else:
            slice_["metadata"].pop("annotations", None)
    return changes


def _plan_group(
    wanted: Wanted, group: Group, endpoints: Mapping[str, Obj], held: Sequence[Obj], changes: Changes, limit: int
) -> None:
    left = dict(endpoints)
    touched: list[Obj] = []
    still: list[Obj] = []
    empty: list[Obj] = []
    for found in held:
        kept, changed = _kept(found, left)
        if not kept and (endpoints or empty or still or touched):
            empty.append(found)
        elif changed or not _dressed(found, wanted, kept):
            touched.append(_with(found, wanted, kept))
        else:
            still.append(found)
    if not endpoints and not touched and not still and not empty:
        changes.create.append(_new(wanted, group, []))  # a service without endpoints has one empty slice
        return
    for slice_ in touched:
        _fill(slice_["endpoints"], left, limit)
    if left and len(left) < limit:
        _fit(wanted, left, still, touched, limit)
    while left:
        fresh: list[Obj] = []
        _fill(fresh, left, limit)
        changes.create.append(_new(wanted, group, fresh))
    changes.update.extend(touched)
    changes.delete.extend(empty)


def _kept(found: Obj, left: dict[str, Obj]) -> tuple[list[Obj], bool]:
    """The endpoints of a slice that stay, in their newest form (taken out of `left`), and whether it differs."""
    kept: list[Obj] = []
    changed = False
    for endpoint in found.get("endpoints") or ():
        fresh = left.pop(identity(endpoint), None)
        if fresh is None:
            changed = True
            continue
        changed = changed or fresh != _plain(endpoint)
        kept.append(fresh)
    return kept, changed


def _plain(endpoint: Obj) -> Obj:
    return {k: v for k, v in endpoint.items() if v not in (None, "", {}, [])}


def _fill(endpoints: list[Obj], left: dict[str, Obj], limit: int) -> None:
    for name in list(left)[: max(0, limit - len(endpoints))]:
        endpoints.append(left.pop(name))


def _fit(wanted: Wanted, left: dict[str, Obj], still: list[Obj], touched: list[Obj], limit: int) -> None:
    """Put all that is left into the fullest untouched slice that has room for it."""
    room = [(limit - len(found.get("endpoints") or ()), number) for number, found in enumerate(still)]
    fitting = [entry for entry in room if entry[0] >= len(left)]
    if fitting:
        _, number = min(fitting)
        slice_ = _with(still[number], wanted, list(still[number].get("endpoints") or ()))
        _fill(slice_["endpoints"], left, limit)
        touched.append(slice_)


def _annotations(wanted: Wanted, endpoints: Iterable[Obj]) -> dict[str, str]:
    """What a slice of these endpoints says beside the trigger time."""
    weights = {
        str(endpoint["addresses"][0]): wanted.weights[name]
        for endpoint in (endpoints if wanted.weights else ())
        if (name := identity(endpoint)) in wanted.weights
    }
    own = {WEIGHTS: encode(dict(sorted(weights.items()))).decode()} if weights else {}
    return dict(wanted.annotations) | own


def _dressed(found: Obj, wanted: Wanted, endpoints: Iterable[Obj]) -> bool:
    """Whether labels, annotations and owner are as they should be (the trigger time aside)."""
    annotations = {k: v for k, v in annotations_of(found).items() if k != TRIGGER_TIME}
    owners = (found.get("metadata") or {}).get("ownerReferences") or []
    return (
        labels_of(found) == wanted.labels
        and annotations == _annotations(wanted, endpoints)
        and any(owner.get("uid") == wanted.owner["metadata"].get("uid") for owner in owners)
    )


def _with(found: Obj, wanted: Wanted, endpoints: list[Obj]) -> Obj:
    """A copy of a slice with these endpoints and its dress in order."""
    meta = dict(found["metadata"]) | {
        "labels": dict(wanted.labels),
        "ownerReferences": [owner_reference(wanted.owner)],
    }
    return dict(found) | {"metadata": meta, "endpoints": endpoints}


def _new(wanted: Wanted, group: Group, endpoints: list[Obj]) -> Obj:
    return {
        "apiVersion": ENDPOINT_SLICES.api_version,
        "kind": ENDPOINT_SLICES.kind,
        "metadata": {
            "generateName": f"{wanted.prefix}-",
            "namespace": namespace_of(wanted.owner),
            "labels": dict(wanted.labels),
            "ownerReferences": [owner_reference(wanted.owner)],
        },
        "addressType": group.address_type,
        "ports": group.port_objects,
        "endpoints": endpoints,
    }


def _reuse(changes: Changes) -> None:
    """Write what is to be created into what is to be deleted, where the address type (immutable) allows."""
    spare = changes.delete
    changes.delete = []
    for old in spare:
        match = next((new for new in changes.create if new["addressType"] == old["addressType"]), None)
        if match is None:
            changes.delete.append(old)
            continue
        changes.create.remove(match)
        kept = {k: v for k, v in old["metadata"].items() if k in ("name", "namespace", "uid", "resourceVersion")}
        meta = {k: v for k, v in match["metadata"].items() if k != "generateName"} | kept
        meta["generateName"] = old["metadata"].get("generateName", "")
        changes.update.append(match | {"metadata": {k: v for k, v in meta.items() if v}})
