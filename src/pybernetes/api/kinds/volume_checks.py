"""Validation of a pod's volumes."""

from collections.abc import Collection, Iterator

from .. import names
from ..errors import FieldError
from ..objects import Obj
from . import checks
from .container_checks import field_reference, local_path, no_backsteps, resource_reference

Problems = Iterator[FieldError]

_HOST_TYPES = ("", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket")


def volumes(found: Collection[Obj], path: str) -> Problems:
    seen: set[str] = set()
    for index, volume in enumerate(found):
        where = f"{path}[{index}]"
        yield from checks.required_name(volume, where, names.label)
        name = volume.get("name") or ""
        if name in seen:
            yield FieldError.duplicate(f"{where}.name", name)
        seen.add(name)
        yield from _source(volume, where)


def _source(volume: Obj, path: str) -> Problems:
    given = [field for field, value in volume.items() if field != "name" and value is not None]
    if not given:
        yield FieldError.required(path, "must specify a volume type")
    for field in given[1:]:
        yield FieldError.forbidden(f"{path}.{field}", "may not specify more than 1 volume type")
    for field in given[:1]:
        yield from _one(field, volume[field], f"{path}.{field}")


def _one(field: str, source: Obj, path: str) -> Problems:
    match field:
        case "hostPath":
            yield from checks.required(source, "path", path)
            yield from no_backsteps(source.get("path") or "", f"{path}.path")
            if (kind := source.get("type") or "") not in _HOST_TYPES:
                yield FieldError.not_supported(f"{path}.type", kind, _HOST_TYPES)
        case "emptyDir":
            yield from checks.amounts({"sizeLimit": source["sizeLimit"]} if "sizeLimit" in source else {}, path)
        case "configMap":
            yield from checks.required(source, "name", path)
            yield from _items(source, path)
        case "secret":
            yield from checks.required(source, "secretName", path)
            yield from _items(source, path)
        case "downwardAPI":
            yield from _mode(source.get("defaultMode"), f"{path}.defaultMode")
            yield from _files(source.get("items") or (), f"{path}")
        case "projected":
            yield from _mode(source.get("defaultMode"), f"{path}.defaultMode")
            for index, inner in enumerate(source.get("sources") or ()):
                yield from _projection(inner, f"{path}.sources[{index}]")
        case "persistentVolumeClaim":
            yield from checks.required(source, "claimName", path)
        case "nfs":
            yield from checks.required(source, "server", path)
            yield from checks.required(source, "path", path)
            if (target := source.get("path") or "/") and not target.startswith("/"):
                yield FieldError.invalid(f"{path}.path", target, "must be an absolute path")
        case "csi":
            yield from checks.required(source, "driver", path)
        case "ephemeral":
            yield from checks.required(source, "volumeClaimTemplate", path)
        case "image":
            yield from checks.required(source, "reference", path)
            yield from checks.one_of_if_set(
                source.get("pullPolicy"), f"{path}.pullPolicy", ("Always", "IfNotPresent", "Never")
            )


def _mode(value: int | None, path: str) -> Problems:
    if value is not None and not 0 <= value <= 0o777:
        yield FieldError.invalid(path, value, "must be a number between 0 and 0777 (octal), both inclusive")


def _items(source: Obj, path: str) -> Problems:
    """Keys that become files."""
    yield from _mode(source.get("defaultMode"), f"{path}.defaultMode")
    for index, item in enumerate(source.get("items") or ()):
        where = f"{path}.items[{index}]"
        yield from checks.required(item, "key", where)
        yield from _file(item, where)


def _file(item: Obj, path: str) -> Problems:
    if target := item.get("path"):
        yield from local_path(target, f"{path}.path")
    else:
        yield FieldError.required(f"{path}.path")
    yield from _mode(item.get("mode"), f"{path}.mode")


def _files(items: Collection[Obj], path: str) -> Problems:
    """Downward API files."""
    for index, item in enumerate(items):
        where = f"{path}.items[{index}]"
        yield from _file(item, where)
        field, resource = item.get("fieldRef"), item.get("resourceFieldRef")
        if field is not None:
            yield from field_reference(field, f"{where}.fieldRef")
            if resource is not None:
                yield FieldError.invalid(
                    where, "resource", "fieldRef and resourceFieldRef can not be specified simultaneously"
                )
        elif resource is not None:
            yield from checks.required(resource, "containerName", f"{where}.resourceFieldRef")
            yield from resource_reference(resource, f"{where}.resourceFieldRef")
        else:
            yield FieldError.required(where, "one of fieldRef and resourceFieldRef is required")


def _projection(source: Obj, path: str) -> Problems:
    given = [field for field, value in source.items() if value is not None]
    if not given:
        yield FieldError.required(path, "must specify a volume type")
    for field in given[1:]:
        yield FieldError.forbidden(f"{path}.{field}", "may not specify more than 1 volume type")
    for field in given[:1]:
        inner, where = source[field], f"{path}.{field}"
        match field:
            case "configMap" | "secret":
                yield from checks.required(inner, "name", where)
                yield from _items(inner, where)
            case "downwardAPI":
                yield from _files(inner.get("items") or (), where)
            case "serviceAccountToken":
                yield from checks.required(inner, "path", where)
                seconds = inner.get("expirationSeconds", 3600)
                if seconds < 600:
                    yield FieldError.invalid(
                        f"{where}.expirationSeconds", seconds, "may not specify a duration less than 10 minutes"
                    )
                elif seconds > 1 << 32:
                    yield FieldError.invalid(
                        f"{where}.expirationSeconds", seconds, "may not specify a duration larger than 2^32 seconds"
                    )
