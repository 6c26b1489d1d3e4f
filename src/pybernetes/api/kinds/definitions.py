"""CustomResourceDefinition: its defaults, what is wrong with one, and the status that it starts with.

Source: apiextensions-apiserver, pkg/apis/apiextensions/{v1/defaults,validation}.go.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from .. import jsonpath, names
from ..errors import FieldError
from ..objects import Obj, annotations_of, condition_is, name_of
from ..structural import schema_problems, unwise
from . import checks, meta
from .pod_defaults import fill
from .strategy import Problems, Strategy
from .webhooks import client_config, review_versions

CLEANUP = "customresourcecleanup.apiextensions.k8s.io"
"""The finalizer that keeps a deleted definition until its objects are gone."""
APPROVED = "api-approved.kubernetes.io"
_URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://[^/?#]+")
_PROTECTED = ("k8s.io", "kubernetes.io")
_COLUMN_TYPES = ("boolean", "date", "integer", "number", "string")
_COLUMN_FORMATS = ("byte", "date", "date-time", "double", "float", "int32", "int64", "password")
_CONVERSIONS = ("None", "Webhook")
_MOST_SELECTABLE = 8
_STILL_STORED = (
    "missing from spec.versions; objects may be stored in it until status.storedVersions no longer names it after a "
    "storage migration"
)


class CustomResourceDefinitionStrategy(Strategy):
    generation = True
    owned_finalizers = False
    unconditional_update = False
    status = True

    def default(self, obj: Obj) -> None:
        spec = obj.setdefault("spec", {})
        found = spec.setdefault("names", {})
        if kind := found.get("kind"):
            fill(found, {"singular": kind.lower(), "listKind": f"{kind}List"})
        fill(spec.setdefault("conversion", {}), {"strategy": "None"})
        service = ((spec["conversion"].get("webhook") or {}).get("clientConfig") or {}).get("service")
        if service is not None:
            fill(service, {"port": 443})

    def reset_status(self, new: Obj) -> None:
        stored = [version.get("name") for version in _versions(new) if version.get("storage")]
        new["status"] = {"conditions": None, "acceptedNames": {"plural": "", "kind": ""}, "storedVersions": stored}

    def prepare(self, new: Obj, old: Obj | None, *, part: str = "") -> None:
        """A version that objects may have been stored in stays in status.storedVersions until somebody takes it out."""
        super().prepare(new, old, part=part)
        if old is None or part:
            return
        stored = (new.get("status") or {}).get("storedVersions") or []
        names_ = [one.get("name") for one in _versions(new) if one.get("storage")]
        missing = [name for name in names_ if name and name not in stored]
        if missing:
            new["status"] = (new.get("status") or {}) | {"storedVersions": [*stored, *missing]}

    def keep_metadata(self, new: Obj, old: Obj) -> None:
        """All of it may be written with the status: the finalizer of one whose spec is no longer valid too."""

    def terminating(self, obj: Obj) -> None:
        """Its objects go first."""
        meta = obj["metadata"]
        if CLEANUP not in (meta.get("finalizers") or ()):
            meta["finalizers"] = [*(meta.get("finalizers") or ()), CLEANUP]

    def check(self, new: Obj, old: Obj | None, *, part: str = "") -> Problems:
        if part == "status":
            yield from _name_rules((new.get("status") or {}).get("acceptedNames") or {}, "status.acceptedNames")
            return
        spec: Obj = new.get("spec") or {}
        found: Obj = spec.get("names") or {}
        wanted = f"{found.get('plural', '')}.{spec.get('group', '')}"
        if name_of(new) != wanted:
            yield FieldError.invalid("metadata.name", name_of(new), 'must be spec.names.plural+"."+spec.group')
        yield from _group(new)
        yield from checks.one_of(spec.get("scope"), "spec.scope", ("Cluster", "Namespaced"))
        yield from _names(found)
        yield from _all_versions(spec)
        before: Obj = (old or {}).get("spec") or {}
        yield from _conversion(spec.get("conversion") or {}, "spec.conversion", old=before.get("conversion") or {})
        if spec.get("preserveUnknownFields"):
            yield FieldError.invalid("spec.preserveUnknownFields", True, "must be false")
        if old is not None:
            yield from _immutable(spec, before, established=condition_is(old, "Established"))
            yield from _stored_versions(new)

    def warnings(self, new: Obj, old: Obj | None, *, part: str = "") -> Iterator[str]:
        if not part:
            before = set(_unwise(old or {}))
            yield from (text for text in _unwise(new) if text not in before)


def _unwise(crd: Obj) -> Iterator[str]:
    """Formats first, of all versions."""
    schemas = [(version.get("schema") or {}).get("openAPIV3Schema") or {} for version in _versions(crd)]
    found = [text for schema in schemas for text in unwise(schema)]
    yield from sorted(found, key=lambda text: not text.startswith("unrecognized"))


def _versions(crd: Obj) -> list[Obj]:
    return (crd.get("spec") or {}).get("versions") or []


def _stored_versions(crd: Obj) -> Problems:
    """All that objects may be stored in must stay known."""
    known = {version.get("name") for version in _versions(crd)}
    stored = (crd.get("status") or {}).get("storedVersions") or []
    for index, name in enumerate(stored):
        if name not in known:
            yield FieldError.invalid(f"status.storedVersions[{index}]", name, _STILL_STORED)


def _immutable(spec: Obj, before: Obj, *, established: bool) -> Problems:
    """What names the definition never changes; what its objects are stored by, not once there can be some."""
    found, was = spec.get("names") or {}, before.get("names") or {}
    yield from meta.immutable(spec.get("group"), before.get("group"), "spec.group")
    yield from meta.immutable(found.get("plural"), was.get("plural"), "spec.names.plural")
    if established:
        yield from meta.immutable(spec.get("scope"), before.get("scope"), "spec.scope")
        yield from meta.immutable(found.get("kind"), was.get("kind"), "spec.names.kind")


def _group(crd: Obj) -> Problems:
    group = (crd.get("spec") or {}).get("group") or ""
    if not group:
        yield FieldError.required("spec.group")
        return
    yield from checks.named(group, "spec.group", names.subdomain)
    if "." not in group:
        yield FieldError.invalid("spec.group", group, "should be a domain with at least one dot")
    state, detail = approval(crd)
    where = f"metadata.annotations[{APPROVED}]"
    if state == "MissingAnnotation":
        yield FieldError.required(where, detail)
    elif state == "InvalidAnnotation":
        yield FieldError.invalid(where, annotations_of(crd)[APPROVED], detail)


def approval(crd: Obj) -> tuple[str, str]:
    """Of a definition in a group of the Kubernetes community: reason and message of its condition; "" of others."""
    group = (crd.get("spec") or {}).get("group") or ""
    if not (group in _PROTECTED or group.endswith(tuple(f".{one}" for one in _PROTECTED))):
        return "", ""
    said = annotations_of(crd).get(APPROVED) or ""
    must = f'protected groups must have approval annotation "{APPROVED}"'
    see = "see https://github.com/kubernetes/enhancements/pull/1111"
    if not said:
        return "MissingAnnotation", f"{must}, {see}"
    if said.startswith("unapproved"):
        return "UnapprovedAnnotation", f'not approved: "{said}"'
    if _URL.match(said):
        return "ApprovedAnnotation", f"approved in {said}"
    return "InvalidAnnotation", f'{must} with either a URL or a reason starting with "unapproved", {see}'


_NAMES = ("plural", "singular", "kind", "listKind")


def _names(found: Obj) -> Problems:
    for field in _NAMES:
        if not found.get(field):
            yield FieldError.required(f"spec.names.{field}")
    yield from _name_rules(found, "spec.names")


def _name_rules(found: Obj, path: str) -> Problems:
    """What each name must be that is there."""
    for field in _NAMES:
        if value := found.get(field):
            yield from checks.named(value.lower(), f"{path}.{field}", names.label_1035)
    for field in ("shortNames", "categories"):
        for index, value in enumerate(found.get(field) or ()):
            yield from checks.named(value, f"{path}.{field}[{index}]", names.label_1035)
    if found.get("kind") and found.get("kind") == found.get("listKind"):
        yield FieldError.invalid(f"{path}.listKind", found["listKind"], "kind and listKind may not be the same")


def _all_versions(spec: Obj) -> Problems:
    versions: list[Obj] = spec.get("versions") or []
    if not versions:
        yield FieldError.required("spec.versions")
    if sum(bool(version.get("storage")) for version in versions) != 1:
        detail = "must have exactly one version marked as storage version"
        yield FieldError.invalid("spec.versions", [v.get("name") for v in versions], detail)
    for index, version in enumerate(versions):
        yield from _version(version, f"spec.versions[{index}]")
    yield from checks.unique((v.get("name") for v in versions), lambda index: f"spec.versions[{index}].name")


def _version(version: Obj, path: str) -> Problems:
    yield from checks.named(version.get("name") or "", f"{path}.name", names.label_1035)
    schema = (version.get("schema") or {}).get("openAPIV3Schema")
    if schema is None:
        yield FieldError.required(f"{path}.schema.openAPIV3Schema", "schemas are required")
    else:
        yield from schema_problems(schema, f"{path}.schema.openAPIV3Schema")
    if version.get("deprecationWarning") and not version.get("deprecated"):
        detail = "can only be set for deprecated versions"
        yield FieldError.invalid(f"{path}.deprecationWarning", version["deprecationWarning"], detail)
    yield from _columns(version.get("additionalPrinterColumns") or (), f"{path}.additionalPrinterColumns")
    yield from _scale((version.get("subresources") or {}).get("scale"), f"{path}.subresources.scale")
    yield from _selectable(version.get("selectableFields") or (), schema or {}, f"{path}.selectableFields")


def _columns(columns: Iterable[Obj], path: str) -> Problems:
    for index, column in enumerate(columns):
        where = f"{path}[{index}]"
        yield from checks.required(column, "name", where)
        if not column.get("type"):
            yield FieldError.required(f"{where}.type", f"must be one of {','.join(_COLUMN_TYPES)}")
        elif column["type"] not in _COLUMN_TYPES:
            yield FieldError.invalid(f"{where}.type", column["type"], f"must be one of {','.join(_COLUMN_TYPES)}")
        if (format_ := column.get("format")) and format_ not in _COLUMN_FORMATS:
            yield FieldError.invalid(f"{where}.format", format_, f"must be one of {','.join(_COLUMN_FORMATS)}")
        if not column.get("jsonPath"):
            yield FieldError.required(f"{where}.jsonPath")
        else:
            yield from _path(column["jsonPath"], f"{where}.jsonPath")


def _path(text: str, path: str) -> Problems:
    try:
        jsonpath.parse(text)
    except ValueError as error:
        yield FieldError.invalid(path, text, f"is an invalid jsonPath: {error}")


def _scale(scale: Obj | None, path: str) -> Problems:
    if scale is None:
        return
    for field, root, required in (
        ("specReplicasPath", ".spec.", True),
        ("statusReplicasPath", ".status.", True),
        ("labelSelectorPath", (".spec.", ".status."), False),
    ):
        text = scale.get(field) or ""
        if not text:
            if required:
                yield FieldError.required(f"{path}.{field}")
            continue
        yield from _simple(text, f"{path}.{field}")
        if not text.startswith(root):
            words = root if isinstance(root, str) else " or ".join(root)
            yield FieldError.invalid(f"{path}.{field}", text, f"should be a json path under {words.rstrip('.')}")


def _simple(text: str, path: str) -> Problems:
    """A path of fields only."""
    if not jsonpath.is_simple(text):
        yield FieldError.invalid(path, text, "is an invalid path: array notation is not allowed; only field names are")


def _selectable(fields: Iterable[Obj], schema: Mapping[str, Any], path: str) -> Problems:
    found = list(fields)
    if len(found) > _MOST_SELECTABLE:
        yield FieldError.too_many(path, len(found), _MOST_SELECTABLE)
    for index, field in enumerate(found):
        where, text = f"{path}[{index}].jsonPath", field.get("jsonPath") or ""
        if not text:
            yield FieldError.required(where)
            continue
        yield from _simple(text, where)
        place: Any = schema
        for part in text.removeprefix(".").split("."):
            place = ((place or {}).get("properties") or {}).get(part)
        if place is None:
            yield FieldError.invalid(where, text, "is an invalid path: does not refer to a valid field")
        elif place.get("type") not in ("boolean", "integer", "string"):
            detail = "is an invalid path: must refer to a field of type string, boolean or integer"
            yield FieldError.invalid(where, text, detail)
        elif text.removeprefix(".").partition(".")[0] == "metadata":
            yield FieldError.invalid(where, text, "must not point to fields in metadata")
    yield from checks.unique((one.get("jsonPath") for one in found), lambda index: f"{path}[{index}].jsonPath")


def _conversion(conversion: Obj, path: str, *, old: Obj) -> Problems:
    strategy, webhook = conversion.get("strategy"), conversion.get("webhook")
    yield from checks.one_of(strategy, f"{path}.strategy", _CONVERSIONS)
    if strategy == "None":
        if webhook:
            yield FieldError.forbidden(f"{path}.webhook", "should not be set when strategy is not set to Webhook")
        return
    if strategy != "Webhook":
        return
    # the fields go by their internal names in errors: Kubernetes itself has no other
    client = (webhook or {}).get("clientConfig")
    where = f"{path}.webhookClientConfig"
    if not client:
        yield FieldError.required(where, "required when strategy is set to Webhook")
    else:
        yield from _client(client, (old.get("webhook") or {}).get("clientConfig") or {}, where)
    reviews = (webhook or {}).get("conversionReviewVersions") or []
    yield from review_versions(reviews, f"{path}.conversionReviewVersions")


def _client(client: Obj, old: Obj, path: str) -> Problems:
    """A bundle that was bad before may stay so: else nobody could mend anything beside it."""
    problems = list(client_config(client, path))
    where = f"{path}.caBundle"
    kept = any(one.field == where for one in client_config(old, path)) if old else False
    yield from (one for one in problems if not (kept and one.field == where))
