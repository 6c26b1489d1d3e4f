"""Environment variables and the downward API, in containers and volumes (core/validation)."""

import re
from collections.abc import Collection, Iterable, Mapping

from .. import names
from ..errors import FieldError
from ..objects import Obj
from ..quantity import Quantity
from . import checks
from .rules import Problems, Table, follow, inside, matching, may, need
from .security_checks import local_path

_SOURCES = ("fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef")
_ENV_FIELDS = (
    *("metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName"),
    *("status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs"),
)
_VOLUME_FIELDS = ("metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid")
_LABELS = frozenset({*_ENV_FIELDS, *_VOLUME_FIELDS, "spec.restartPolicy", "spec.schedulerName", "status.phase"})
"""What converts as a field label of a pod at all."""
_SUBSCRIPTED = re.compile(r"(.+)\['([^']*)'\]")
_RESOURCE_FIELDS = tuple(f"{a}.{b}" for a in ("limits", "requests") for b in ("cpu", "ephemeral-storage", "memory"))
_HUGE = ("limits.hugepages-", "requests.hugepages-")
_SIZES = ("1", *(f"1{unit}" for unit in ("k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei")))


def reserved_path(value: str, path: str) -> Problems:
    """A relative path that does not start with ".." (ValidateLocalNonReservedPath)."""
    yield from local_path(value, path)
    if value.startswith("..") and not value.startswith("../") and value != "..":
        yield FieldError.invalid(path, value, "must not start with '..'")


def env(found: Iterable[Obj], path: str, *, volumes: Mapping[str, Obj]) -> Problems:
    for index, entry in enumerate(found):
        where = f"{path}[{index}]"
        yield from checks.required_name(entry, where, names.env_name)
        if (source := entry.get("valueFrom")) is not None:
            yield from _source(entry, source, f"{where}.valueFrom", volumes=volumes)


def _source(entry: Obj, source: Obj, path: str, *, volumes: Mapping[str, Obj]) -> Problems:
    given = [field for field in _SOURCES if source.get(field) is not None]
    for field in given:
        reference, where = source[field], f"{path}.{field}"
        match field:
            case "fieldRef":
                yield from field_reference(reference, where, known=_ENV_FIELDS)
            case "resourceFieldRef":
                yield from resource_reference(reference, where)
            case "fileKeyRef":
                yield from _file_key(reference, where, volumes=volumes)
            case _:
                yield from _key(reference, where)
    if not given:
        listed = "`fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`"
        yield FieldError.invalid(path, "", f"must specify one of: {listed}")
    elif entry.get("value"):
        yield FieldError.invalid(path, "", "may not be specified when `value` is not empty")
    elif len(given) > 1:
        yield FieldError.invalid(path, "", "may not have more than one field specified at a time")


def _key(reference: Obj, path: str) -> Problems:
    yield from checks.named(reference.get("name") or "", f"{path}.name", names.subdomain)
    yield from follow(reference, {"key": need(matching(names.config_key))}, path)


_FILE_KEY: Table = {"key": need(matching(names.env_name)), "volumeName": need(), "path": need(reserved_path)}


def _file_key(reference: Obj, path: str, *, volumes: Mapping[str, Obj]) -> Problems:
    yield from follow(reference, _FILE_KEY, path)
    name = reference.get("volumeName")
    if name and name not in volumes:
        yield FieldError.not_found(f"{path}.volumeName", name)
    elif name and volumes[name].get("emptyDir") is None:
        yield FieldError.invalid(f"{path}.volumeName", name, "referenced volume must be of type emptyDir")


_ENV_REFERENCE: Table = {"name": need(matching(names.subdomain))}
_ENV_FROM: Table = {
    "prefix": may(matching(names.env_name)),
    "configMapRef": may(inside(_ENV_REFERENCE)),
    "secretRef": may(inside(_ENV_REFERENCE)),
}


def env_from(found: Iterable[Obj], path: str) -> Problems:
    for index, entry in enumerate(found):
        where = f"{path}[{index}]"
        yield from follow(entry, _ENV_FROM, where)
        given = [field for field in ("configMapRef", "secretRef") if entry.get(field) is not None]
        for field in given:
            if not entry[field]:
                yield FieldError.required(f"{where}.{field}.name")
        if not given:
            yield FieldError.invalid(path, "", "must specify one of: `configMapRef` or `secretRef`")
        elif len(given) > 1:
            yield FieldError.invalid(path, "", "may not have more than one field specified at a time")


def field_reference(reference: Obj, path: str, *, known: Collection[str] = _VOLUME_FIELDS) -> Problems:
    """A downward API field, of environment variables or (by default) of volumes."""
    version, field = reference.get("apiVersion", "v1"), reference.get("fieldPath") or ""
    where = f"{path}.fieldPath"
    if not field:
        yield FieldError.required(where)
    elif version != "v1":
        detail = f"error converting fieldPath: unsupported pod version: {version}"
        yield FieldError.invalid(where, field, detail)
    elif subscript := _SUBSCRIPTED.fullmatch(field):
        yield from _subscripted(subscript[1], subscript[2], path, field=field)
    elif field not in _LABELS:
        detail = f"error converting fieldPath: field label not supported: {field}"
        yield FieldError.invalid(where, field, detail)
    elif field not in known:
        yield FieldError.not_supported(where, field, sorted(known))


def _subscripted(base: str, key: str, path: str, *, field: str) -> Problems:
    match base:
        case "metadata.annotations":
            key = key.lower()
        case "metadata.labels":
            pass
        case _:
            detail = f"error converting fieldPath: field label does not support subscript: {field}"
            yield FieldError.invalid(f"{path}.fieldPath", field, detail)
            return
    yield from checks.named(key, path, names.qualified)


def resource_reference(reference: Obj, path: str, *, volume: bool = False) -> Problems:
    """A container's own resource; a volume must say of which container."""
    resource = reference.get("resource") or ""
    if volume and not reference.get("containerName"):
        yield FieldError.required(f"{path}.containerName")
    elif not resource:
        yield FieldError.required(f"{path}.resource")
    elif resource not in _RESOURCE_FIELDS and not resource.startswith(_HUGE):
        yield FieldError.not_supported(f"{path}.resource", resource, _RESOURCE_FIELDS)
    divisor = str(reference.get("divisor") or "0")
    if Quantity.parse(divisor).nano:
        yield from _divisor(resource, divisor, path)


def _divisor(resource: str, divisor: str, path: str) -> Problems:
    kind = resource.partition(".")[2]
    if kind == "cpu":
        allowed: tuple[str, ...] = ("1m", "1")
        text, title = "1m and 1", "cpu"
    elif kind in ("memory", "ephemeral-storage") or kind.startswith("hugepages-"):
        allowed, text = _SIZES, ", ".join(_SIZES)
        title = {"memory": "memory", "ephemeral-storage": "local ephemeral storage"}.get(kind, "hugepages")
    else:
        return
    if divisor not in allowed:
        detail = f"only divisor's values {text} are supported with the {title} resource"
        yield FieldError.invalid(f"{path}.divisor", resource, detail)
