"""The OpenAPI v3 documents: one for each group and version, its index, and the operations that clients look for in it.

Schemas with descriptions lie on disk as JSON and are spliced in as bytes, unparsed; only the paths are made here, from
the resource table. Clients read: the PATCH operations' x-kubernetes-group-version-kind and `fieldValidation` parameter
(kubectl then leaves validation to the server), merge keys (client-side apply), descriptions (`kubectl explain`).
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from . import openapi_builtin, openapi_custom
from .objects import Obj, decode, encode
from .openapi_builtin import documents, release
from .resources import Resource, Subresource, definition_of
from .scheme import Entry, Scheme

__all__ = ["document", "hash_of", "index", "path_of", "release"]

_META = "io.k8s.apimachinery.pkg.apis.meta.v1"
_PATCHES = (
    *("application/apply-patch+yaml", "application/json-patch+json", "application/merge-patch+json"),
    "application/strategic-merge-patch+json",
)
_CUSTOM_PATCHES = ("application/apply-patch+yaml", "application/json-patch+json", "application/merge-patch+json")
_MEDIA = ("application/json", "application/yaml", "application/vnd.kubernetes.protobuf")
_METHODS = {"get": "get", "list": "get", "create": "post", "update": "put", "patch": "patch", "delete": "delete"}
_ACTIONS = {"create": "post", "update": "put"}


def path_of(group: str, version: str) -> str:
    """A document's place in the index: "api/v1", "apis/apps/v1"."""
    return f"apis/{group}/{version}" if group else f"api/{version}"


def index(scheme: Scheme) -> Obj:
    """GET /openapi/v3."""
    paths = {}
    for group in scheme.groups():
        for version in group.versions:
            path = path_of(group.name, version)
            paths[path] = {"serverRelativeURL": f"/openapi/v3/{path}?hash={hash_of(scheme, group.name, version)}"}
    return {"paths": paths}


def hash_of(scheme: Scheme, group: str, version: str) -> str:
    """Changes whenever the document does: its ETag."""
    builtin = documents().get(path_of(group, version), {}).get("hash", "")
    rows = scheme.in_version(group, version)
    if not any(row.custom for row in rows):
        return builtin or hashlib.sha256(path_of(group, version).encode()).hexdigest()[:32].upper()
    told = "".join(f"{row!r}{_hash(scheme.entry(row))}" for row in rows)
    return hashlib.sha256(f"{builtin}{told}".encode()).hexdigest()[:32].upper()


def _hash(entry: Entry) -> str:
    if not entry.openapi_hash:
        entry.openapi_hash = hashlib.sha256(encode(entry.openapi)).hexdigest()
    return entry.openapi_hash


def document(scheme: Scheme, group: str, version: str) -> bytes | None:
    """GET /openapi/v3/<path>: the JSON document, or None when no such group and version is served."""
    rows = scheme.in_version(group, version)
    if not rows:
        return None
    paths = {path: item for row in rows for path, item in _paths(row)}
    info = {"title": "Kubernetes", "version": f"v{release()}"}
    head = encode({"openapi": "3.0.0", "info": info, "paths": paths})
    return head[:-1] + b',"components":{"schemas":' + _schemas(scheme, rows) + b"}}"


def _schemas(scheme: Scheme, rows: list[Resource]) -> bytes:
    text = openapi_builtin.schemas(path_of(rows[0].group, rows[0].version))
    if not any(row.custom for row in rows):
        return text
    found: Obj = openapi_builtin.shared() | decode(text)
    for row in rows:
        if row.custom:
            found |= openapi_custom.schemas(row, dict(scheme.entry(row).openapi or {}))
    return encode(found)


def _ref(name: str) -> str:
    return f"#/components/schemas/{name}"


def _gvk(group: str, version: str, kind: str) -> Obj:
    return {"group": group, "version": version, "kind": kind}


def _paths(row: Resource) -> Iterator[tuple[str, Obj]]:
    """All paths of a row: collections, the object, its subresources."""
    of_one = [verb for verb in ("get", "update", "patch", "delete") if verb in row.verbs]
    of_many = [verb for verb in ("list", "create") if verb in row.verbs]
    collection = row.path("{namespace}" if row.namespaced else "")
    if row.namespaced and "list" in row.verbs:
        yield row.root + f"/{row.plural}", _item(row, ["list"], everywhere=True)
    if of_many:
        item = _item(row, of_many)
        if "deletecollection" in row.verbs:
            item["delete"] = _operation(row, "deletecollection")
        yield collection, item
    if of_one:
        yield f"{collection}/{{name}}", _item(row, of_one, named=True)
    for part in row.parts:
        verbs = [verb for verb in ("get", "create", "update", "patch", "delete") if verb in part.verbs]
        yield f"{collection}/{{name}}/{part.name}", _item(row, verbs, named=True, part=part)


def _item(
    row: Resource,
    verbs: Sequence[str],
    *,
    named: bool = False,
    everywhere: bool = False,
    part: Subresource | None = None,
) -> Obj:
    item: Obj = {_METHODS[verb]: _operation(row, verb, part=part, everywhere=everywhere) for verb in verbs}
    parameters = [] if part and _connects(part) else [_parameter("pretty")]
    if named:
        parameters.append(_parameter("name", place="path"))
    if row.namespaced and not everywhere:
        parameters.append(_parameter("namespace", place="path"))
    item["parameters"] = parameters
    return item


def _operation(row: Resource, verb: str, *, part: Subresource | None = None, everywhere: bool = False) -> Obj:
    kind = part.kind if part else row.kind
    group, version = ((part.group if part else "") or row.group), ((part.version if part else "") or row.version)
    connects = part is not None and _connects(part)
    operation: Obj = {
        "tags": [f"{_group_name(row)}_{row.version}"],
        "operationId": _operation_id(row, verb, part, everywhere=everywhere),
        "responses": {"200": {"description": "OK", "content": _content(_answer(row, verb, part))}},
        "x-kubernetes-action": "connect" if connects else _ACTIONS.get(verb, verb),
        "x-kubernetes-group-version-kind": _gvk(group, version, kind),
    }
    query = _OPTIONS.get(part.kind if connects else part.name, ()) if part else ()
    if parameters := [_parameter(name) for name in query or (() if connects else _QUERY.get(verb, ()))]:
        operation["parameters"] = parameters
    if connects:
        return operation
    if verb in ("create", "update"):
        operation["requestBody"] = {"required": True, "content": _content(_answer(row, "get", part))}
    elif verb == "patch":
        media = _CUSTOM_PATCHES if row.custom else _PATCHES
        body = {"schema": {"$ref": _ref(f"{_META}.Patch")}}
        operation["requestBody"] = {"required": True, "content": dict.fromkeys(media, body)}
    elif verb in ("delete", "deletecollection"):
        operation["requestBody"] = {"content": _content(f"{_META}.DeleteOptions")}
    return operation


def _connects(part: Subresource) -> bool:
    return part.kind.endswith("Options")


def _group_name(row: Resource) -> str:
    """rbac.authorization.k8s.io is rbacAuthorization, example.com exampleCom."""
    first, *rest = (row.group.removesuffix(".k8s.io") or "core").split(".")
    return first + "".join(word[:1].upper() + word[1:] for word in rest)


def _operation_id(row: Resource, verb: str, part: Subresource | None, *, everywhere: bool) -> str:
    """As in Kubernetes' own documents, of which clients are generated: readCoreV1NamespacedPodLog."""
    name = _group_name(row)
    where = f"{name[:1].upper()}{name[1:]}{row.version.capitalize()}"
    what = f"{'Namespaced' if row.namespaced and not everywhere else ''}{row.kind}"
    tail = part.name.capitalize() if part else "ForAllNamespaces" if everywhere else ""
    if part and _connects(part):
        return f"connect{where}{_METHODS[verb].capitalize()}{what}{tail}"
    if verb == "deletecollection":
        return f"delete{where}Collection{what}"
    return f"{_WORDS.get(verb, verb)}{where}{what}{tail}"


_WORDS = {"get": "read", "update": "replace"}
_WRITE = ("dryRun", "fieldManager", "fieldValidation")
_LIST = (
    *("allowWatchBookmarks", "continue", "fieldSelector", "labelSelector", "limit", "resourceVersion"),
    *("resourceVersionMatch", "sendInitialEvents", "timeoutSeconds", "watch"),
)
_DELETE = ("dryRun", "gracePeriodSeconds", "orphanDependents", "propagationPolicy")
_QUERY = {
    "create": _WRITE,
    "update": _WRITE,
    "patch": (*_WRITE, "force"),
    "list": _LIST,
    "delete": _DELETE,
    "deletecollection": (*_DELETE, *(one for one in _LIST if one not in ("allowWatchBookmarks", "watch"))),
}
_STREAMS = ("container", "stderr", "stdin", "stdout", "tty")
_OPTIONS: Mapping[str, Sequence[str]] = {
    "PodExecOptions": ("command", *_STREAMS),
    "PodAttachOptions": _STREAMS,
    "PodPortForwardOptions": ("ports",),
    "PodProxyOptions": ("path",),
    "ServiceProxyOptions": ("path",),
    "NodeProxyOptions": ("path",),
    "log": (
        *("container", "follow", "insecureSkipTLSVerifyBackend", "limitBytes", "previous", "sinceSeconds", "stream"),
        *("tailLines", "timestamps"),
    ),
}
"""The query of what connects, by its kind, and of logs."""
_TYPES = {
    **dict.fromkeys(("allowWatchBookmarks", "sendInitialEvents", "watch", "force", "orphanDependents"), "boolean"),
    **dict.fromkeys(("stderr", "stdin", "stdout", "tty", "follow", "previous", "timestamps"), "boolean"),
    "insecureSkipTLSVerifyBackend": "boolean",
    **dict.fromkeys(("limit", "timeoutSeconds", "gracePeriodSeconds"), "integer"),
    **dict.fromkeys(("limitBytes", "ports", "sinceSeconds", "tailLines"), "integer"),
}


def _parameter(name: str, *, place: str = "query") -> Obj:
    found: Obj = {"name": name, "in": place, "schema": {"type": _TYPES.get(name, "string"), "uniqueItems": True}}
    return found | ({"required": True} if place == "path" else {})


def _answer(row: Resource, verb: str, part: Subresource | None) -> str:
    """The definition that a verb answers with; "" for plain text and streams."""
    if verb in ("delete", "deletecollection"):
        return f"{_META}.Status"
    if part is None or (part.kind == row.kind and part.name != "log"):
        return row.list_definition if verb == "list" else row.definition
    if part.name == "log" or part.kind.endswith("Options"):
        return ""
    return definition_of(part.group or row.group, part.version or row.version, part.kind)


def _content(definition: str) -> Mapping[str, Any]:
    if not definition:
        return {"*/*": {"schema": {"type": "string"}}}
    return {media: {"schema": {"$ref": _ref(definition)}} for media in _MEDIA}
