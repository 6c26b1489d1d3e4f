"""What a PersistentVolumeClaim may ask for, itself and as a template (ValidatePersistentVolumeClaimSpec)."""

from collections.abc import Iterator

from .. import names
from ..errors import FieldError
from ..objects import Obj
from ..quantity import Quantity
from . import checks, meta
from .resource_checks import amount, fractions
from .rules import Problems, Table, among, follow, given, matching, may, need

ACCESS_MODES = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")
VOLUME_MODES = ("Block", "Filesystem")


def access_modes(modes: list[str], path: str) -> Problems:
    for mode in modes:
        if mode not in ACCESS_MODES:
            yield FieldError.not_supported(path, mode, ACCESS_MODES)
    known = {mode for mode in modes if mode in ACCESS_MODES}
    if "ReadWriteOncePod" in known and len(known) > 1:
        yield FieldError.forbidden(path, "may not use ReadWriteOncePod with other access modes")


_BEFORE: Table = {
    "accessModes": need(detail="at least 1 access mode is required"),
    "selector": may(checks.selector),
}
_AFTER: Table = {
    "storageClassName": may(matching(names.subdomain)),
    "volumeMode": given(among(*VOLUME_MODES)),
}


def claim_warnings(spec: Obj, path: str) -> Iterator[str]:
    """A claim for parts of a byte (GetWarningsForPersistentVolumeClaimSpec)."""
    for field in ("requests", "limits"):
        yield from fractions((spec.get("resources") or {}).get(field), f"{path}.resources.{field}", ("storage",))


def claim_spec(spec: Obj, path: str, *, any_group: bool = False) -> Problems:
    """`any_group`: the old claim had a data source of a group, so its form is not judged."""
    yield from follow(spec, _BEFORE, path)
    yield from access_modes(spec.get("accessModes") or [], f"{path}.accessModes")
    yield from _size(((spec.get("resources") or {}).get("requests") or {}).get("storage"), f"{path}.resources[storage]")
    yield from follow(spec, _AFTER, path)
    yield from _sources(spec, path, any_group=any_group)
    yield from follow(spec, {"volumeAttributesClassName": may(matching(names.subdomain))}, path)


def _size(storage: str | None, path: str) -> Problems:
    if storage is None:
        yield FieldError.required(path)
    elif Quantity.parse(storage).nano <= 0:
        yield FieldError.invalid(path, storage, "must be greater than zero")
    else:
        yield from amount("storage", storage, path)


def _sources(spec: Obj, path: str, *, any_group: bool) -> Problems:
    one, other = spec.get("dataSource"), spec.get("dataSourceRef")
    for field, source in (("dataSource", one), ("dataSourceRef", other)):
        if source is not None:
            yield from _source(source, f"{path}.{field}", any_group=any_group)
    if one is None or other is None:
        return
    if other.get("namespace"):
        detail = "may not be specified when dataSourceRef.namespace is specified"
        yield FieldError.invalid(path, f"{path}.dataSource", detail)
    elif any((one.get(field) or None) != (other.get(field) or None) for field in ("apiGroup", "kind", "name")):
        yield FieldError.invalid(path, f"{path}.dataSource", "must match dataSourceRef")


def _source(source: Obj, path: str, *, any_group: bool) -> Problems:
    yield from follow(source, {"name": need(), "kind": need()}, path)
    group, kind = source.get("apiGroup") or "", source.get("kind") or ""
    if not group and kind != "PersistentVolumeClaim":
        detail = "must be 'PersistentVolumeClaim' when referencing the default apiGroup"
        yield FieldError.invalid(path, kind, detail)
    if group and not any_group:
        yield from matching(names.subdomain)(group, f"{path}.apiGroup")
    if source.get("namespace"):
        yield from matching(names.label)(source["namespace"], f"{path}.namespace")


def claim_template(template: Obj, path: str) -> Problems:
    """Of an ephemeral volume: labels and annotations are all that its metadata may have."""
    yield from template_metadata(template.get("metadata") or {}, f"{path}.metadata")
    yield from claim_spec(template.get("spec") or {}, f"{path}.spec")


def template_metadata(metadata: Obj, path: str) -> Problems:
    yield from meta.annotations(metadata.get("annotations"), f"{path}.annotations")
    yield from meta.labels(metadata.get("labels"), f"{path}.labels")
    for field, value in metadata.items():
        if field not in ("annotations", "labels") and value not in (None, "", [], {}, 0):
            yield FieldError.forbidden(f"{path}.{field}", "cannot be set")
