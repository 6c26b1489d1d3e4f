"""PersistentVolume and PersistentVolumeClaim: defaults, and what a change may touch."""

import posixpath
from collections.abc import Iterator, Mapping
from typing import Any

from .. import names, times
from ..errors import FieldError
from ..objects import Obj, annotations_of, metadata
from ..quantity import Quantity
from . import meta
from .affinity_checks import node_selector
from .claim_checks import VOLUME_MODES, access_modes, claim_spec, claim_warnings
from .label_warnings import term_warnings
from .pod_defaults import default_source, fill, round_to_millis
from .resource_checks import amount, is_native
from .rules import Problems, Table, among, follow, given, matching, may
from .strategy import Strategy
from .volume_sources import VOLUME_SOURCES, one_source, portal_problem, portal_too_long

_SINCE = "lastPhaseTransitionTime"
_CLASS = "volume.beta.kubernetes.io/storage-class"
_BETA_LABELS = {
    "failure-domain.beta.kubernetes.io/zone": "topology.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region": "topology.kubernetes.io/region",
    "beta.kubernetes.io/os": "kubernetes.io/os",
    "beta.kubernetes.io/arch": "kubernetes.io/arch",
    "beta.kubernetes.io/instance-type": "node.kubernetes.io/instance-type",
}


class PersistentVolumeStrategy(Strategy):
    status = True

    def default(self, obj: Obj) -> None:
        spec = obj.setdefault("spec", {})
        fill(spec, {"persistentVolumeReclaimPolicy": "Retain", "volumeMode": "Filesystem"})
        round_to_millis(spec.get("capacity"))
        default_source(spec)
        fill(obj.setdefault("status", {}), {"phase": "Pending"})

    def prepare(self, new: Obj, old: Obj | None, *, part: str = "") -> None:
        super().prepare(new, old, part=part)
        if old is None:
            new["status"] = {"phase": "Pending"}

    def stamp(self, new: Obj, old: Obj | None, *, now: float, part: str = "") -> None:
        """When the phase was entered (KEP-3762), unless who wrote it says so."""
        if old is not None and part != "status":
            return
        status, before = new.setdefault("status", {}), (old or {}).get("status") or {}
        said, was = status.get(_SINCE), before.get(_SINCE)
        if status.get("phase") != before.get("phase"):
            if said is None or said == was:
                status[_SINCE] = times.stamp(now)
        elif said is None and was is not None:
            status[_SINCE] = was

    def check(self, new: Obj, old: Obj | None, *, part: str = "") -> Problems:
        if part == "status":
            return
        spec: Obj = new.get("spec") or {}
        yield from volume_spec(spec, "spec", name=metadata(new).get("name") or "")
        if old is not None:
            yield from _volume_update(spec, old.get("spec") or {})

    def warnings(self, new: Obj, old: Obj | None, *, part: str = "") -> Iterator[str]:
        if not part:
            yield from _volume_warnings(new)


_NAME = matching(names.subdomain)
_VOLUME: Table = {
    "storageClassName": may(_NAME),
    "volumeMode": given(among(*VOLUME_MODES)),
}


_ANNOTATIONS = {
    _CLASS: 'deprecated since v1.8; use "storageClassName" attribute instead',
    "volume.beta.kubernetes.io/mount-options": 'deprecated since v1.31; use "mountOptions" attribute instead',
}
_PLUGINS = {
    "cephfs": "cephfs: deprecated in v1.28, non-functional in v1.31+",
    "photonPersistentDisk": "photonPersistentDisk: deprecated in v1.11, non-functional in v1.16+",
    "scaleIO": "scaleIO: deprecated in v1.16, non-functional in v1.22+",
    "storageos": "storageOS: deprecated in v1.22, non-functional in v1.25+",
    "glusterfs": "glusterfs: deprecated in v1.25, non-functional in v1.26+",
    "rbd": "rbd: deprecated in v1.28, non-functional in v1.31+",
}


def _volume_warnings(volume: Obj) -> Iterator[str]:
    """pkg/api/persistentvolume."""
    spec: Obj = volume.get("spec") or {}
    yield from (
        f"metadata.annotations[{key}]: {text}" for key, text in _ANNOTATIONS.items() if key in annotations_of(volume)
    )
    if spec.get("persistentVolumeReclaimPolicy") == "Recycle":
        yield (
            "spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the recommended "
            "approach is to use dynamic provisioning."
        )
    required: Obj = (spec.get("nodeAffinity") or {}).get("required") or {}
    for index, term in enumerate(required.get("nodeSelectorTerms") or ()):
        yield from term_warnings(term, f"spec.nodeAffinity.required.nodeSelectorTerms[{index}]")
    yield from (f"spec.{text}" for field, text in _PLUGINS.items() if spec.get(field) is not None)


def volume_spec(spec: Obj, path: str, *, name: str) -> Problems:
    """A PersistentVolumeSpec (ValidatePersistentVolumeSpec)."""
    yield from _modes(spec, path)
    yield from _capacity(spec.get("capacity") or {}, f"{path}.capacity")
    policies = {"persistentVolumeReclaimPolicy": may(among("Delete", "Recycle", "Retain"))}
    yield from follow(spec, policies, path)
    affinity = spec.get("nodeAffinity")
    if affinity is not None:
        if affinity.get("required") is None:
            yield FieldError.required(f"{path}.nodeAffinity.required", "must specify required node constraints")
        else:
            yield from node_selector(affinity["required"], f"{path}.nodeAffinity.required")
    yield from _source(spec, path, name=name)
    host = spec.get("hostPath")
    root = host is not None and posixpath.normpath(host.get("path") or ".").lstrip("/") == "" and host.get("path")
    if root and spec.get("persistentVolumeReclaimPolicy") == "Recycle":
        detail = "may not be 'recycle' for a hostPath mount of '/'"
        yield FieldError.forbidden(f"{path}.persistentVolumeReclaimPolicy", detail)
    yield from follow(spec, _VOLUME, path)
    yield from _attributes(spec, path)


def _modes(spec: Obj, path: str) -> Problems:
    if not spec.get("accessModes"):
        yield FieldError.required(f"{path}.accessModes")
    yield from access_modes(spec.get("accessModes") or [], f"{path}.accessModes")


def _capacity(found: Mapping[str, str], path: str) -> Problems:
    if not found:
        yield FieldError.required(path)
    if set(found) != {"storage"}:
        yield FieldError.not_supported(path, dict(found) or None, ("storage",))
    for name, value in found.items():
        yield from _basic(value, f"{path}[{name}]")
        if Quantity.parse(value).nano <= 0:
            yield FieldError.invalid(f"{path}[{name}]", value, "must be greater than zero")


def _source(spec: Obj, path: str, *, name: str) -> Problems:
    yield from one_source(spec, path, VOLUME_SOURCES)
    if spec.get("local") is not None and not (spec.get("nodeAffinity") or {}).get("required"):
        yield FieldError.required(f"{path}.nodeAffinity", "Local volume requires node affinity")
    if (iscsi := spec.get("iscsi")) is not None and name and portal_too_long(iscsi, name):
        yield portal_problem(f"{path}.iscsi.targetportal", iscsi.get("targetPortal") or "")


def _attributes(spec: Obj, path: str) -> Problems:
    name = spec.get("volumeAttributesClassName")
    if name is None:
        return
    where = f"{path}.volumeAttributesClassName"
    if not name:
        yield FieldError.required(where, "an empty string is disallowed")
    else:
        yield from _NAME(name, where)
    if spec.get("csi") is None:
        yield FieldError.required(f"{path}.csi", "has to be specified when using volumeAttributesClassName")


def inline_spec(spec: Obj, path: str) -> Problems:
    """The volume that a VolumeAttachment brings along: CSI, and nothing that binds it."""
    for field in ("claimRef", "capacity", "nodeAffinity", "storageClassName"):
        if spec.get(field) not in (None, "", {}):
            yield FieldError.forbidden(f"{path}.{field}", "may not be specified in the context of inline volumes")
    if spec.get("csi") is None:
        yield FieldError.required(f"{path}.csi", "has to be specified in the context of inline volumes")
    yield from _modes(spec, path)
    if spec.get("persistentVolumeReclaimPolicy") not in (None, "", "Retain"):
        detail = "may only be Retain in the context of inline volumes"
        yield FieldError.forbidden(f"{path}.persistentVolumeReclaimPolicy", detail)
    yield from one_source(spec, path, VOLUME_SOURCES)
    if spec.get("volumeMode") not in (None, "Filesystem"):
        detail = "may not specify volumeMode other than Filesystem in the context of inline volumes"
        yield FieldError.forbidden(f"{path}.volumeMode", detail)
    yield from _attributes(spec, path)


def _volume_update(spec: Obj, before: Obj) -> Problems:
    sources, earlier = ({field: held.get(field) for field in VOLUME_SOURCES} for held in (spec, before))
    csi, was = sources["csi"], earlier["csi"]
    if csi is not None and was is not None and was.get("controllerExpandSecretRef") is None:
        sources["csi"] = {key: value for key, value in csi.items() if key != "controllerExpandSecretRef"}
    if sources != earlier:
        detail = "spec.persistentvolumesource is immutable after creation"
        yield FieldError.forbidden("spec.persistentvolumesource", detail)
    yield from meta.immutable(spec.get("volumeMode"), before.get("volumeMode"), "volumeMode")
    placed, place = spec.get("nodeAffinity"), before.get("nodeAffinity")
    if place is not None and _renamed(placed) != _renamed(place):
        detail = "field is immutable, except for updating from beta label to GA"
        yield FieldError.invalid("nodeAffinity", placed, detail)
    if before.get("volumeAttributesClassName") is not None and spec.get("volumeAttributesClassName") is None:
        detail = "update from non-nil value to nil is forbidden"
        yield FieldError.forbidden("spec.volumeAttributesClassName", detail)


def _renamed(value: Any) -> Any:
    """Node affinity with the labels' names of today."""
    if isinstance(value, dict):
        return {key: _renamed(_BETA_LABELS.get(one, one) if key == "key" else one) for key, one in value.items()}
    return [_renamed(one) for one in value] if isinstance(value, list) else value


class PersistentVolumeClaimStrategy(Strategy):
    status = True

    def default(self, obj: Obj) -> None:
        spec = obj.setdefault("spec", {})
        fill(spec, {"volumeMode": "Filesystem"})
        for field in ("requests", "limits"):
            round_to_millis((spec.get("resources") or {}).get(field))
        fill(obj.setdefault("status", {}), {"phase": "Pending"})

    def reset_status(self, new: Obj) -> None:
        new["status"] = {"phase": "Pending"}

    def prepare(self, new: Obj, old: Obj | None, *, part: str = "") -> None:
        super().prepare(new, old, part=part)
        if part != "status":
            _match_sources(new.setdefault("spec", {}), (old or {}).get("spec") or {})

    def check(self, new: Obj, old: Obj | None, *, part: str = "") -> Problems:
        if part == "status":
            yield from _claim_status(new.get("status") or {})
            return
        before: Obj = (old or {}).get("spec") or {}
        grouped = any((before.get(field) or {}).get("apiGroup") is not None for field in _SOURCES)
        yield from claim_spec(new.get("spec") or {}, "spec", any_group=grouped)
        if old is not None:
            yield from _claim_update(new, old)

    def warnings(self, new: Obj, old: Obj | None, *, part: str = "") -> Iterator[str]:
        if not part:
            if _CLASS in annotations_of(new):
                yield f"metadata.annotations[{_CLASS}]: {_ANNOTATIONS[_CLASS]}"
            yield from claim_warnings(new.get("spec") or {}, "spec")


_SOURCES = ("dataSource", "dataSourceRef")
_RESIZES = (
    *("ControllerResizeInProgress", "ControllerResizeInfeasible"),
    *("NodeResizeInProgress", "NodeResizeInfeasible", "NodeResizePending"),
)


def _match_sources(spec: Obj, before: Obj) -> None:
    """dataSource and dataSourceRef say the same, but for a source that only the newer field can name."""
    old, new = spec.get("dataSource"), spec.get("dataSourceRef")
    if old is not None and before.get("dataSource") is None and not _is_plain(old):
        spec.pop("dataSource")
        old = None
    if (new or {}).get("namespace"):
        return
    if old is not None and new is None:
        spec["dataSourceRef"] = {field: old[field] for field in ("apiGroup", "kind", "name") if field in old}
    elif new is not None and old is None:
        spec["dataSource"] = {field: new[field] for field in ("apiGroup", "kind", "name") if field in new}


def _is_plain(source: Obj) -> bool:
    """Of a claim or of a snapshot: all that the older field ever meant."""
    kind, group = source.get("kind"), source.get("apiGroup") or ""
    return (kind, group) in (("PersistentVolumeClaim", ""), ("VolumeSnapshot", "snapshot.storage.k8s.io"))


def _storage(held: Obj, *way: str) -> Quantity:
    found: Any = held
    for field in way:
        found = (found or {}).get(field)
    return Quantity.parse(found or "0")


def _claim_update(new: Obj, old: Obj) -> Problems:
    spec, before = new.get("spec") or {}, old.get("spec") or {}
    bound = (new.get("status") or {}).get("phase") == "Bound"
    if _fixed(spec, before, bound=bound, annotated=annotations_of(old).get(_CLASS)) != _fixed(before, before):
        detail = (
            "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"
        )
        yield FieldError.forbidden("spec", detail)
    asked = _storage(spec, "resources", "requests", "storage")
    shrinks = asked < _storage(before, "resources", "requests", "storage")
    if shrinks and asked <= _storage(old, "status", "capacity", "storage"):
        detail = "field can not be less than status.capacity"
        yield FieldError.forbidden("spec.resources.requests.storage", detail)
    yield from meta.immutable(spec.get("volumeMode"), before.get("volumeMode"), "volumeMode")
    name, was = spec.get("volumeAttributesClassName"), before.get("volumeAttributesClassName")
    if was is not None and not name:
        what = "nil" if name is None else "an empty string"
        detail = f"update from non-nil value to {what} is forbidden"
        yield FieldError.forbidden("spec.volumeAttributesClassName", detail)


def _fixed(spec: Obj, before: Obj, *, bound: bool = False, annotated: str | None = None) -> Obj:
    """The part of a claim's spec that stays, with amounts as numbers."""
    kept = {key: value for key, value in spec.items() if key != "resources" and value not in (None, [], {})}
    amounts = spec.get("resources") or {}
    for field in ("requests", "limits"):
        found = {name: Quantity.parse(value).nano for name, value in (amounts.get(field) or {}).items()}
        if field == "requests" and bound and found:
            found["storage"] = _storage(before, "resources", "requests", "storage").nano
        kept[field] = found
    if not before.get("volumeName"):
        kept.pop("volumeName", None)  # a claim is bound once
    name = spec.get("storageClassName")
    if before.get("storageClassName") is None and name is not None and annotated in (None, name):
        kept.pop("storageClassName", None)
    if bound and kept.get("volumeAttributesClassName") is not None:
        kept["volumeAttributesClassName"] = before.get("volumeAttributesClassName")
    return {key: value for key, value in kept.items() if value is not None}


def _claim_status(status: Obj) -> Problems:
    for name, value in (status.get("capacity") or {}).items():
        yield from _basic(value, f"status.capacity[{name}]")
    for name, state in (status.get("allocatedResourceStatuses") or {}).items():
        where = "status.allocatedResourceStatus"
        yield from _resource(name, where)
        if state not in _RESIZES:
            yield FieldError.not_supported(where, name, _RESIZES)
    for name, value in (status.get("allocatedResources") or {}).items():
        problems = list(_resource(name, "status.allocatedResources"))
        where = f"status.allocatedResources[{name}]"
        yield from problems or list(_basic(value, where)) or amount("storage", value, where)


def _resource(name: str, path: str) -> Problems:
    wrong = list(matching(names.qualified)(name, path))
    yield from wrong
    if not wrong and is_native(name) and name != "storage":
        yield FieldError.not_supported(path, name, ("storage",))


def _basic(value: str, path: str) -> Problems:
    if Quantity.parse(value).nano < 0:
        yield FieldError.invalid(path, value, "must be a valid resource quantity")
