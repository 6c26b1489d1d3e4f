"""PATCH: which of the patch types it is, as an edit that the registry repeats while others write too."""

from collections.abc import Callable
from typing import Any, NamedTuple

from pybernetes.api import jsonpath
from pybernetes.api import patch as patches
from pybernetes.api.errors import BadRequest, Conflict, FieldError, Invalid, UnsupportedMediaType
from pybernetes.api.objects import Obj, metadata, name_of
from pybernetes.api.schema import Type
from pybernetes.wire import Request

from .body import APPLY_PATCH, field_validation, media_type, parse, parse_yaml, report, typed, yaml_duplicates
from .managers import Versions, applied
from .registry import Registry
from .served import Served
from .users import warn

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
_OF_A_SCALE = ("name", "namespace", "uid", "resourceVersion")


class Patch(NamedTuple):
    """`absent` makes the object when there is none (apply only); `apply` says the managed fields are dealt with.

    `versions` are those that `edit` may ask for.
    """

    edit: Callable[[Obj], Obj]
    versions: Versions
    absent: Callable[[], Obj] | None = None
    apply: bool = False


def patch_edit(
    request: Request, registry: Registry, served: Served, *, name: str, namespace: str, part: str = ""
) -> Patch:
    """Raises UnsupportedMediaType, BadRequest; the edit raises what applying raises."""
    media = media_type(request)
    row = served.row
    if media not in _accepted(row.custom):
        accepted = ", ".join(_accepted(row.custom))
        raise UnsupportedMediaType(
            f"the body of the request was in an unknown format - accepted media types include: {accepted}"
        )
    if media == APPLY_PATCH:
        return _apply(request, registry, served, name=name, namespace=namespace, part=part)
    type_ = registry.scheme.type(row)
    parse(request.body, "application/json")

    def edit(old: Obj) -> Obj:
        new = patched(old, parse(request.body, "application/json"), media, type_)
        return conformed(request, registry, served, new)

    return Patch(edit, Versions(served))


def patched(old: Obj, body: Any, media: str, type_: Type) -> Obj:
    """The object after a patch that is not an apply."""
    if media == JSON_PATCH:
        new: Obj = patches.json_patch(old, body)
        return new
    if media == MERGE_PATCH:
        return patches.merge_patch(old, body)
    return patches.strategic_merge(old, body, type_=type_)


def conformed(request: Request, registry: Registry, served: Served, new: Any) -> Obj:
    """A patched object, checked as a body is."""
    row = served.row
    typed(new, row.api_version, row.kind)
    problems = registry.scheme.conform(new, row)
    report(request, problems, field_validation(request), version=row.version, kind=row.kind)
    found: Obj = new
    return found


def _accepted(custom: bool) -> tuple[str, ...]:
    return (JSON_PATCH, MERGE_PATCH, APPLY_PATCH) if custom else (JSON_PATCH, MERGE_PATCH, APPLY_PATCH, STRATEGIC_PATCH)


def _workload(request: Request, registry: Registry, served: Served, scale: Obj) -> Obj:
    """What an applied Scale says of its workload, in the workload's own fields. Raises BadRequest, Invalid."""
    row, path = served.row, served.strategy.scale.spec
    found = row.subresource("scale")
    assert found is not None
    typed(scale, f"{found.group}/{found.version}", found.kind)
    problems = registry.scheme.conform(scale, row, part="scale")
    report(request, problems, field_validation(request), version=found.version, kind=found.kind)
    meta = {field: value for field, value in metadata(scale).items() if field in _OF_A_SCALE}
    wanted: Obj = {"apiVersion": row.api_version, "kind": row.kind, "metadata": meta}
    replicas = (scale.get("spec") or {}).get("replicas")
    if replicas is None:
        return wanted
    if replicas < 0:
        problem = FieldError.invalid("spec.replicas", replicas, "must be greater than or equal to 0")
        raise Invalid.of("Scale", name_of(scale), [problem], group="autoscaling")
    jsonpath.put(wanted, path, replicas)
    return wanted


def _report_doubles(request: Request, doubled: list[str], *, strict: bool) -> None:
    """Keys that stand twice. Raises BadRequest where that is strictly forbidden."""
    if not doubled:
        return
    text = "error converting YAML to JSON: yaml: unmarshal errors:\n  " + "\n  ".join(doubled)
    if strict:
        raise BadRequest(f"error strict decoding YAML: {text}")
    warn(request, text)


def _apply(request: Request, registry: Registry, served: Served, *, name: str, namespace: str, part: str) -> Patch:
    """Server-side apply (KEP-555)."""
    row = served.row
    manager = request.param("fieldManager")
    if not manager:
        problem = FieldError.required("fieldManager", "is required for apply patch")
        raise Invalid.of("PatchOptions", "", [problem], group="meta.k8s.io")
    force = request.flag("force")
    versions = Versions(served)

    if (validation := field_validation(request)) != "Ignore":
        parse_yaml(request.body)  # it must be well-formed first
        _report_doubles(request, yaml_duplicates(request.body), strict=validation == "Strict")

    def body() -> Obj:
        wanted = parse_yaml(request.body)
        if part == "scale":
            wanted = _workload(request, registry, served, wanted)
        if isinstance(wanted, dict) and isinstance(wanted.get("metadata") or {}, dict):
            patches.appliable(wanted, row.api_version)
        typed(wanted, row.api_version, row.kind)
        type_ = registry.scheme.type(row)
        patches.declared(wanted, type_, api_version=row.api_version, name=name, namespace=namespace)
        wanted = conformed(request, registry, served, wanted)
        meta = wanted["metadata"]
        meta.setdefault("name", name)
        if row.namespaced:
            meta.setdefault("namespace", namespace)
        if meta["name"] != name:
            raise BadRequest(f"the name of the object ({meta['name']}) does not match the name on the URL ({name})")
        return wanted

    def edit(old: Obj | None) -> Obj:
        return applied(old, body(), versions, manager=manager, force=force, part=part, now=registry.now())

    def absent() -> Obj:
        uid = metadata(body()).get("uid")
        if uid:
            why = f"uid mismatch: the provided object specified uid {uid}, and no existing object was found"
            raise Conflict.of(row.plural, name, group=row.group, why=why)
        return edit(None)

    return Patch(edit, versions, None if part else absent, apply=True)
