"""PersistentVolume, PersistentVolumeClaim, StorageClass and the CSI kinds."""

from collections.abc import Iterator

from .. import names
from ..errors import FieldError
from ..objects import Obj
from ..quantity import Quantity
from . import checks, meta
from .affinity_checks import node_term
from .pod_defaults import fill
from .strategy import Strategy

Problems = Iterator[FieldError]

_MODES = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")
_BEFORE_SOURCE = {
    *("capacity", "accessModes", "claimRef", "persistentVolumeReclaimPolicy", "storageClassName", "mountOptions"),
    *("volumeMode", "nodeAffinity", "volumeAttributesClassName"),
}


def _modes(modes: list[str], path: str) -> Problems:
    if not modes:
        yield FieldError.required(path)
    for mode in modes:
        if mode not in _MODES:
            yield FieldError.not_supported(path, mode, _MODES)
    if "ReadWriteOncePod" in modes and len(modes) > 1:
        yield FieldError.forbidden(path, "may not use ReadWriteOncePod with other access modes")


class PersistentVolumeStrategy(Strategy):
    status = True

    def default(self, obj: Obj) -> None:
        spec = obj.setdefault("spec", {})
        fill(spec, {"persistentVolumeReclaimPolicy": "Retain", "volumeMode": "Filesystem"})
        if (host := spec.get("hostPath")) is not None and host.get("type") is None:
            host["type"] = ""

    def reset_status(self, new: Obj) -> None:
        new["status"] = {"phase": "Pending"}

    def check(self, new: Obj, old: Obj | None, *, part: str = "") -> Problems:
        spec: Obj = new.get("spec") or {}
        yield from _modes(spec.get("accessModes") or [], "spec.accessModes")
        capacity: Obj = spec.get("capacity") or {}
        if not capacity:
            yield FieldError.required("spec.capacity")
        elif set(capacity) != {"storage"}:
            yield FieldError.not_supported("spec.capacity", ",".join(capacity), ("storage",))
        elif Quantity.parse(capacity["storage"]).nano <= 0:
            yield FieldError.invalid("spec.capacity[storage]", capacity["storage"], "must be greater than zero")
        yield from checks.one_of(
            spec.get("persistentVolumeReclaimPolicy"),
            "spec.persistentVolumeReclaimPolicy",
            ("Delete", "Recycle", "Retain"),
        )
        yield from _source(spec, old)
        for index, term in enumerate(
            ((spec.get("nodeAffinity") or {}).get("required") or {}).get("nodeSelectorTerms") or ()
        ):
            yield from node_term(term, f"spec.nodeAffinity.required.nodeSelectorTerms[{index}]")
        if name := spec.get("storageClassName"):
            yield from checks.named(name, "spec.storageClassName", names.subdomain)


def _source(spec: Obj, old: Obj | None) -> Problems:
    sources = sorted(set(spec) - _BEFORE_SOURCE)
    if not sources:
        yield FieldError.required("spec", "must specify a volume type")
    for field in sources[1:]:
        yield FieldError.forbidden(f"spec.{field}", "may not specify more than 1 volume type")
    if old is not None:
        before: Obj = old.get("spec") or {}
        if {f: spec.get(f) for f in sources} != {f: before.get(f) for f in sorted(set(before) - _BEFORE_SOURCE)}:
            detail = "spec.persistentvolumesource is immutable after creation"
            yield FieldError.forbidden("spec.persistentvolumesource", detail)


class PersistentVolumeClaimStrategy(Strategy):
    status = True

    def default(self, obj: Obj) -> None:
        fill(obj.setdefault("spec", {}), {"volumeMode": "Filesystem"})

    def reset_status(self, new: Obj) -> None:
        new["status"] = {"phase": "Pending"}

    def check(self, new: Obj, old: Obj | None, *, part: str = "") -> Problems:
        spec: Obj = new.get("spec") or {}
        if part == "status":
            return
        modes = spec.get("accessModes") or []
        if not modes:
            yield FieldError.required("spec.accessModes", "at least 1 access mode is required")
        else:
            yield from _modes(modes, "spec.accessModes")
        yield from checks.selector(spec.get("selector"), "spec.selector")
        storage = ((spec.get("resources") or {}).get("requests") or {}).get("storage")
        if storage is None:
            yield FieldError.required("spec.resources[storage]")
        elif Quantity.parse(storage).nano <= 0:
            yield FieldError.invalid("spec.resources[storage]", storage, "must be greater than zero")
        if name := spec.get("storageClassName"):
            yield from checks.named(name, "spec.storageClassName", names.subdomain)
        if old is not None:
            yield from _claim_update(spec, old.get("spec") or {})


def _claim_update(spec: Obj, before: Obj) -> Problems:
    def fixed(found: Obj) -> Obj:
        kept = {key: value for key, value in found.items() if key not in ("resources", "volumeAttributesClassName")}
        if not before.get("volumeName"):
            kept.pop("volumeName", None)
        return kept

    if fixed(spec) != fixed(before):
        detail = (
            "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"
        )
        yield FieldError.forbidden("spec", detail)
    old = ((before.get("resources") or {}).get("requests") or {}).get("storage")
    new = ((spec.get("resources") or {}).get("requests") or {}).get("storage")
    if Quantity.parse(new).nano < Quantity.parse(old).nano:
        detail = "field can not be less than previous value"
        yield FieldError.forbidden("spec.resources.requests.storage", detail)


class StorageClassStrategy(Strategy):
    def default(self, obj: Obj) -> None:
        fill(obj, {"reclaimPolicy": "Delete", "volumeBindingMode": "Immediate"})

    def check(self, new: Obj, old: Obj | None, *, part: str = "") -> Problems:
        if provisioner := new.get("provisioner"):
            yield from checks.named(provisioner.lower(), "provisioner", names.qualified)
        else:
            yield FieldError.required("provisioner")
        yield from checks.one_of(new.get("reclaimPolicy"), "reclaimPolicy", ("Delete", "Retain"))
        yield from checks.one_of(
            new.get("volumeBindingMode"), "volumeBindingMode", ("Immediate", "WaitForFirstConsumer")
        )
        if old is not None:
            for field in ("parameters", "provisioner", "reclaimPolicy", "volumeBindingMode"):
                if (new.get(field) or None) != (old.get(field) or None):
                    yield FieldError.forbidden(field, f"updates to {field} are forbidden.")


class CsiDriverStrategy(Strategy):
    generation = True

    def default(self, obj: Obj) -> None:
        spec = obj.setdefault("spec", {})
        defaults = {
            "attachRequired": True,
            "podInfoOnMount": False,
            "storageCapacity": False,
            "fsGroupPolicy": "ReadWriteOnceWithFSType",
            "requiresRepublish": False,
            "seLinuxMount": False,
        }
        fill(spec, defaults)
        if not spec.get("volumeLifecycleModes"):
            spec["volumeLifecycleModes"] = ["Persistent"]

    def check(self, new: Obj, old: Obj | None, *, part: str = "") -> Problems:
        if old is not None:
            before = (old.get("spec") or {}).get("attachRequired")
            yield from meta.immutable((new.get("spec") or {}).get("attachRequired"), before, "spec.attachRequired")


class CsiNodeStrategy(Strategy):
    def check(self, new: Obj, old: Obj | None, *, part: str = "") -> Problems:
        drivers = (new.get("spec") or {}).get("drivers") or []
        for index, driver in enumerate(drivers):
            for field in ("name", "nodeID"):
                yield from checks.required(driver, field, f"spec.drivers[{index}]")
        yield from checks.unique((d.get("name") for d in drivers), lambda index: f"spec.drivers[{index}].name")


class VolumeAttachmentStrategy(Strategy):
    status = True

    def check(self, new: Obj, old: Obj | None, *, part: str = "") -> Problems:
        spec: Obj = new.get("spec") or {}
        for field in ("attacher", "nodeName"):
            yield from checks.required(spec, field, "spec")
        if not spec.get("source"):
            yield FieldError.required(
                "spec.source", "must specify exactly one of inlineVolumeSpec and persistentVolumeName"
            )
        if old is not None:
            yield from meta.immutable(spec, old.get("spec"), "spec")
