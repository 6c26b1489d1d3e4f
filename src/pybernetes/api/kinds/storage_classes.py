"""storage.k8s.io: classes of volumes, CSI drivers and where they run, attachments; storagemigration.k8s.io."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import ClassVar

from .. import names
from ..errors import FieldError
from ..objects import Obj, condition_is
from ..quantity import Quantity
from . import checks, meta
from .condition_checks import conditions
from .label_warnings import DEPRECATED_LABELS, selector_warnings
from .pod_defaults import default_source, fill
from .rules import (
    NOT_NEGATIVE,
    Problems,
    Rule,
    Table,
    among,
    at_least,
    follow,
    given,
    inside,
    may,
    need,
)
from .storage import inline_spec
from .strategy import Strategy
from .volume_sources import driver_name

_MOST_PARAMETERS, _MOST_BYTES = 512, 256 * 1024
_MOST_ERROR = 1024
_MOST_NODE_ID = 256
_SHORTEST_TOKEN, _LONGEST_TOKEN = 600, 1 << 32


def _provisioner(value: str, path: str) -> Problems:
    yield from checks.named(value.lower(), path, names.qualified)


def _too_large(found: Mapping[str, str], path: str) -> Problems:
    if sum(len(key.encode()) + len(value.encode()) for key, value in found.items()) > _MOST_BYTES:
        yield FieldError.too_long(path, "", _MOST_BYTES)


def _parameters(found: Mapping[str, str], path: str) -> Problems:
    if len(found) > _MOST_PARAMETERS:
        yield FieldError.too_long(path, "", _MOST_PARAMETERS)
        return
    if "" in found:
        yield FieldError.invalid(path, "", "field can not be empty.")
    yield from _too_large(found, path)


def _topologies(terms: list[Obj], path: str) -> Problems:
    seen: list[dict[str, set[str]]] = []
    for index, term in enumerate(terms):
        where = f"{path}[{index}].matchLabelExpressions"
        keys: dict[str, set[str]] = {}
        for number, expression in enumerate(term.get("matchLabelExpressions") or ()):
            yield from _topology(expression, f"{where}[{number}]")
            if (key := expression.get("key") or "") in keys:
                yield FieldError.duplicate(f"{where}[{number}].key", key)
            keys[key] = set(expression.get("values") or ())
        if keys in seen:
            yield FieldError.duplicate(where, "")
        seen.append(keys)


def _topology(expression: Obj, path: str) -> Problems:
    values = expression.get("values") or []
    if not values:
        yield FieldError.required(f"{path}.values")
    yield from checks.unique(values, lambda index: f"{path}.values[{index}]")
    yield from checks.named(expression.get("key") or "", f"{path}.key", names.qualified)


class StorageClassStrategy(Strategy):
    rules: ClassVar[Table] = {
        "provisioner": need(_provisioner),
        "parameters": may(_parameters),
        "reclaimPolicy": may(among("Delete", "Retain")),
        "volumeBindingMode": Rule(among("Immediate", "WaitForFirstConsumer"), required=True, empty=True),
        "allowedTopologies": may(_topologies),
    }

    def default(self, obj: Obj) -> None:
        fill(obj, {"reclaimPolicy": "Delete", "volumeBindingMode": "Immediate"})

    def check(self, new: Obj, old: Obj | None, *, part: str = "") -> Problems:
        yield from follow(new, self.rules, "")
        if old is not None:
            for field in ("parameters", "provisioner", "reclaimPolicy", "volumeBindingMode"):
                yield from meta.immutable(new.get(field) or None, old.get(field) or None, field)

    def warnings(self, new: Obj, old: Obj | None, *, part: str = "") -> Iterator[str]:
        for index, topology in enumerate(new.get("allowedTopologies") or ()):
            for number, one in enumerate(topology.get("matchLabelExpressions") or ()):
                if text := DEPRECATED_LABELS.get(one.get("key") or ""):
                    yield f"allowedTopologies[{index}].matchLabelExpressions[{number}].key: {text}"


class VolumeAttributesClassStrategy(Strategy):
    rules: ClassVar[Table] = {
        "driverName": need(_provisioner),
        "parameters": need(_parameters, "must contain at least one key/value pair"),
    }

    def check(self, new: Obj, old: Obj | None, *, part: str = "") -> Problems:
        yield from follow(new, self.rules, "spec")
        for field in ("driverName", "parameters") if old is not None else ():
            if new.get(field) != (old or {}).get(field):
                yield FieldError.forbidden(field, f"updates to {field} are forbidden.")


def _tokens(found: Iterable[Obj], path: str) -> Problems:
    """Audiences of their own; "" is the API server's, once."""
    seen: set[str] = set()
    for index, request in enumerate(found):
        audience, seconds = request.get("audience") or "", request.get("expirationSeconds")
        where = f"{path}[{index}].expirationSeconds"
        if audience in seen:
            yield FieldError.duplicate(f"{path}[{index}].audience", audience)
        elif seconds is not None and seconds < _SHORTEST_TOKEN:
            yield FieldError.invalid(where, seconds, "may not specify a duration less than 10 minutes")
        elif seconds is not None and seconds > _LONGEST_TOKEN:
            yield FieldError.invalid(where, seconds, "may not specify a duration larger than 2^32 seconds")
        seen.add(audience)


def _lifecycles(modes: list[str], path: str) -> Problems:
    for mode in modes:
        yield from among("Persistent", "Ephemeral")(mode, path)


class CsiDriverStrategy(Strategy):
    unconditional_update = False
    generation = True
    rules: ClassVar[Table] = {
        "fsGroupPolicy": given(among("File", "None", "ReadWriteOnceWithFSType")),
        "tokenRequests": may(_tokens),
        "volumeLifecycleModes": may(_lifecycles),
        "nodeAllocatableUpdatePeriodSeconds": given(at_least(10, "must be greater than or equal to 10 seconds")),
    }

    def default(self, obj: Obj) -> None:
        spec = obj.setdefault("spec", {})
        defaults = {
            "attachRequired": True,
            "podInfoOnMount": False,
            "storageCapacity": False,
            "fsGroupPolicy": "ReadWriteOnceWithFSType",
            "requiresRepublish": False,
            "preventPodSchedulingIfMissing": False,
            "seLinuxMount": False,
        }
        fill(spec, defaults)
        if not spec.get("volumeLifecycleModes"):
            spec["volumeLifecycleModes"] = ["Persistent"]

    def check(self, new: Obj, old: Obj | None, *, part: str = "") -> Problems:
        spec: Obj = new.get("spec") or {}
        yield from follow(spec, self.rules, "spec")
        hidden = spec.get("serviceAccountTokenInSecrets")
        if hidden is not None and not spec.get("tokenRequests"):
            detail = "serviceAccountTokenInSecrets is set but no tokenRequests are specified"
            yield FieldError.invalid("spec.serviceAccountTokenInSecrets", hidden, detail)
        if old is not None:
            before: Obj = old.get("spec") or {}
            yield from meta.immutable(spec.get("attachRequired"), before.get("attachRequired"), "spec.attachedRequired")
            field = "volumeLifecycleModes"
            yield from meta.immutable(spec.get(field), before.get(field), f"spec.{field}")

    def warnings(self, new: Obj, old: Obj | None, *, part: str = "") -> Iterator[str]:
        spec: Obj = new.get("spec") or {}
        asked, before = spec.get("tokenRequests"), ((old or {}).get("spec") or {}).get("tokenRequests")
        if asked and asked != before and spec.get("serviceAccountTokenInSecrets") is None:
            yield (
                "spec.serviceAccountTokenInSecrets is unset; if supported by this CSI driver, set to true to prevent "
                "possible logging of tokens in volume attributes"
            )


def _node_id(value: str, path: str) -> Problems:
    if len(value) > _MOST_NODE_ID:
        yield FieldError.invalid(path, value, f"must be {_MOST_NODE_ID} characters or less")


class CsiNodeStrategy(Strategy):
    status = True
    unconditional_update = False
    rules: ClassVar[Table] = {
        "name": need(driver_name),
        "nodeID": need(_node_id),
        "allocatable": may(inside({"count": given(NOT_NEGATIVE)})),
    }

    def prepare(self, new: Obj, old: Obj | None, *, part: str = "") -> None:
        """The health of storage is kept behind a feature gate that is off (CSIVolumeHealth, alpha)."""
        super().prepare(new, old, part=part)
        (new.get("status") or {}).pop("storageHealth", None)

    def check(self, new: Obj, old: Obj | None, *, part: str = "") -> Problems:
        drivers = (new.get("spec") or {}).get("drivers") or []
        seen: set[str] = set()
        for index, driver in enumerate(drivers):
            where = f"spec.drivers[{index}]"
            yield from follow(driver, self.rules, where)
            if (name := driver.get("name") or "") in seen:
                yield FieldError.duplicate(f"{where}.name", name)
            seen.add(name)
            yield from _topology_keys(driver.get("topologyKeys") or (), where)
        before = {driver.get("name"): driver for driver in ((old or {}).get("spec") or {}).get("drivers") or ()}
        for driver in drivers:
            was = before.get(driver.get("name"))
            if was is not None:
                yield from meta.immutable(_without_limits(driver), _without_limits(was), "spec.drivers")


def _topology_keys(keys: Iterable[str], path: str) -> Problems:
    seen: set[str] = set()
    for key in keys:
        if not key:
            yield FieldError.required(path)
        if key in seen:
            yield FieldError.duplicate(path, key)
        seen.add(key)
        yield from checks.named(key, path, names.qualified)


def _without_limits(driver: Obj) -> Obj:
    return {key: value for key, value in driver.items() if key != "allocatable"}


def _not_negative(value: str, path: str) -> Problems:
    if Quantity.parse(value).nano < 0:
        yield FieldError.invalid(path, value, checks.NOT_NEGATIVE)


class CsiStorageCapacityStrategy(Strategy):
    unconditional_update = False
    rules: ClassVar[Table] = {"nodeTopology": may(checks.selector), "capacity": may(_not_negative)}

    def check(self, new: Obj, old: Obj | None, *, part: str = "") -> Problems:
        yield from follow(new, self.rules, "")
        yield from checks.named(new.get("storageClassName") or "", "storageClassName", names.subdomain)
        for field in ("nodeTopology", "storageClassName") if old is not None else ():
            yield from meta.immutable(new.get(field), (old or {}).get(field), field)

    def warnings(self, new: Obj, old: Obj | None, *, part: str = "") -> Iterator[str]:
        yield from selector_warnings(new.get("nodeTopology") or {}, "nodeTopology")


def _error(found: Obj, path: str) -> Problems:
    if len((found.get("message") or "").encode()) > _MOST_ERROR:
        yield FieldError.too_long(f"{path}.message", "", _MOST_ERROR)
    code = found.get("errorCode")
    if code is not None and code < 0:
        detail = f"must be between 0 and {(1 << 31) - 1}, inclusive"
        yield FieldError.invalid(f"{path}.errorCode", code, detail)


class VolumeAttachmentStrategy(Strategy):
    unconditional_update = False
    status = True
    rules: ClassVar[Table] = {"attacher": need(driver_name)}
    status_rules: ClassVar[Table] = {
        "attachmentMetadata": may(_too_large),
        "attachError": may(_error),
        "detachError": may(_error),
    }

    def default(self, obj: Obj) -> None:
        inline = ((obj.get("spec") or {}).get("source") or {}).get("inlineVolumeSpec")
        if inline is not None:
            default_source(inline)

    def reset_status(self, new: Obj) -> None:
        new["status"] = {"attached": False}

    def check(self, new: Obj, old: Obj | None, *, part: str = "") -> Problems:
        spec: Obj = new.get("spec") or {}
        yield from follow(spec, self.rules, "spec")
        yield from _attached(spec.get("source") or {}, "spec.source")
        yield from checks.named(spec.get("nodeName") or "", "spec.nodeName", names.subdomain)
        yield from follow(new.get("status") or {}, self.status_rules, "status")
        if old is not None:
            yield from meta.immutable(spec, old.get("spec"), "spec")


def _attached(source: Obj, path: str) -> Problems:
    """What is attached: a volume by its name or one that is spelt out."""
    inline, name = source.get("inlineVolumeSpec"), source.get("persistentVolumeName")
    detail = "must specify exactly one of inlineVolumeSpec and persistentVolumeName"
    if inline is None and name is None:
        yield FieldError.required(path, detail)
    elif inline is not None and name is not None:
        yield FieldError.forbidden(path, detail)
    elif inline is not None:
        yield from inline_spec(inline, f"{path}.inlineVolumeSpec")
    elif not name:
        yield FieldError.required(f"{path}.persistentVolumeName", "must specify non empty persistentVolumeName")
    if name is not None:
        yield from checks.named(name, f"{path}.persistentVolumeName", names.subdomain)


class StorageVersionMigrationStrategy(Strategy):
    unconditional_update = False
    generation = True
    status = True

    def check(self, new: Obj, old: Obj | None, *, part: str = "") -> Problems:
        if part == "status":
            yield from _migration_status(new, old or {})
            return
        resource, before = ((one.get("spec") or {}).get("resource") or {} for one in (new, old or {}))
        if not resource.get("resource"):
            yield FieldError.required("spec.resource.resource", "resource is required")
        for field in ("group", "resource") if old is not None else ():
            yield from meta.immutable(resource.get(field) or "", before.get(field) or "", field)


def _migration_status(new: Obj, old: Obj) -> Problems:
    """A migration ends once, in one way, at the revision that it began with."""
    status, path = new.get("status") or {}, "status.conditions"
    revision, before = status.get("resourceVersion") or "", (old.get("status") or {}).get("resourceVersion") or ""
    if revision and not re.fullmatch(r"[0-9]+", revision):
        detail = f'failed to parse resource version "{revision}": invalid syntax'
        yield FieldError.invalid("status.resourceVersion", revision, detail)
    yield from conditions(status.get("conditions") or [], path)
    if before and revision != before:
        yield FieldError.invalid("status.resourceVersion", revision, "resourceVersion cannot be updated")
    done, failed, running = (condition_is(new, kind) for kind in ("Succeeded", "Failed", "Running"))
    for wrong, detail in (
        (done and failed, "Both success and failed conditions cannot be true at the same time"),
        (done and running, "Running condition cannot be true when success condition is true"),
        (failed and running, "Running condition cannot be true when failed condition is true"),
        (condition_is(old, "Succeeded") and not done, "Success condition cannot be set to false once it is true"),
        (condition_is(old, "Failed") and not failed, "Failed condition cannot be set to false once it is true"),
    ):
        if wrong:
            yield FieldError.invalid(path, status.get("conditions") or [], detail)
