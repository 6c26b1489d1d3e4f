"""Discovery: what is served, in the aggregated form (KEP-3352), and group by group as older clients ask."""

import base64
import hashlib
from collections.abc import Callable

from pybernetes.api.objects import Obj
from pybernetes.api.resources import Resource, Subresource
from pybernetes.api.scheme import Scheme
from pybernetes.wire import Request, Response

from ..accept import Media, media_of, offers, unchanged
from ..answers import respond
from ..route import missing

_GROUP = "apidiscovery.k8s.io"
_VERSIONS = ("v2", "v2beta1")


class Discovery:
    """Made once, and again after a CustomResourceDefinition has changed the scheme."""

    def __init__(self, scheme: Scheme, *, address: str) -> None:
        self._scheme = scheme
        self._address = address
        self._made: dict[tuple[str, str], tuple[bytes, str]] = {}
        scheme.changed.append(self._made.clear)

    def serve(self, request: Request) -> Response:
        """/api, /apis and below. Raises NotFound."""
        parts = [part for part in request.path.split("/") if part]
        match parts:
            case ["api"] | ["apis"]:
                return self._root(request, core=parts[0] == "api")
            case ["api", version]:
                return self._answer(request, request.path, lambda: self._resources("", version))
            case ["apis", group]:
                return self._answer(request, request.path, lambda: self._group(group))
            case ["apis", group, version]:
                return self._answer(request, request.path, lambda: self._resources(group, version))
        raise missing()

    def _root(self, request: Request, *, core: bool) -> Response:
        for media in offers(request.headers.get("accept", "")):
            if not media.kind:
                break
            if media.kind == "APIGroupDiscoveryList" and media.group == _GROUP and media.version in _VERSIONS:
                return self._aggregate(request, media, core=core)
        if core:
            return self._answer(request, "api", self._core)
        return self._answer(request, "apis", self._groups)

    def _aggregate(self, request: Request, media: Media, *, core: bool) -> Response:
        version = media.version
        name = f"{'api' if core else 'apis'} {version}"
        content = f"{media.type};g={_GROUP};v={version};as=APIGroupDiscoveryList"
        return self._written(request, (name, media.type), lambda: self._aggregated(version, core=core), content)

    def _answer(self, request: Request, name: str, make: Callable[[], Obj]) -> Response:
        """Raises NotAcceptable."""
        media = media_of(request)
        return self._written(request, (name, media), make, media)

    def _written(self, request: Request, key: tuple[str, str], make: Callable[[], Obj], content: str) -> Response:
        """`key` is what is told, and in which type."""
        made = self._made.get(key)
        if made is None:
            body = respond(make(), media=key[1]).body
            assert isinstance(body, bytes)
            made = self._made[key] = body, f'"{hashlib.sha256(body).hexdigest().upper()}"'
        body, tag = made
        headers = {"content-type": content, "etag": tag, "vary": "Accept", "cache-control": "public"}
        if unchanged(request, tag):
            return Response(status=304, headers=headers)
        return Response(headers=headers, body=body)

    def _core(self) -> Obj:
        return {
            "kind": "APIVersions",
            "versions": ["v1"],
            "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": self._address}],
        }

    def _groups(self) -> Obj:
        groups = [self._group_of(group.name, group.versions) for group in self._scheme.groups() if group.name]
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}

    def _group(self, name: str) -> Obj:
        found = next((group for group in self._scheme.groups() if group.name == name and name), None)
        if found is None:
            raise missing()
        return {"kind": "APIGroup", "apiVersion": "v1"} | self._group_of(name, found.versions)

    def _group_of(self, name: str, versions: tuple[str, ...]) -> Obj:
        shown = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
        return {"name": name, "versions": shown, "preferredVersion": shown[0]}

    def _resources(self, group: str, version: str) -> Obj:
        rows = self._scheme.in_version(group, version)
        if not rows:
            raise missing()
        found = []
        for row in rows:
            found.append(_legacy(row))
            found += [_legacy_part(row, part) for part in row.parts]
        where = f"{group}/{version}" if group else version
        return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": where, "resources": found}

    def _aggregated(self, version: str, *, core: bool) -> Obj:
        items = []
        for group in self._scheme.groups():
            if core == (not group.name):
                versions = [self._version(group.name, one) for one in group.versions]
                metadata: Obj = {"name": group.name} if group.name else {}
                items.append({"metadata": metadata, "versions": versions})
        return {"kind": "APIGroupDiscoveryList", "apiVersion": f"{_GROUP}/{version}", "metadata": {}, "items": items}

    def _version(self, group: str, version: str) -> Obj:
        rows = self._scheme.in_version(group, version)
        return {"version": version, "resources": [_aggregated(row) for row in rows], "freshness": "Current"}


def _legacy(row: Resource) -> Obj:
    found: Obj = {
        "name": row.plural,
        "singularName": row.singular,
        "namespaced": row.namespaced,
        "kind": row.kind,
        "verbs": list(row.verbs),
    }
    if row.short:
        found["shortNames"] = list(row.short)
    if row.categories:
        found["categories"] = list(row.categories)
    if "get" in row.verbs and "create" in row.verbs:
        found["storageVersionHash"] = _storage_hash(row.storage)
    return found


def _storage_hash(row: Resource) -> str:
    """Another when objects come to be stored in another version; Kubernetes' own values for its kinds."""
    digest = hashlib.sha256(f"{row.group}/{row.version}/{row.kind}".encode()).digest()
    return base64.b64encode(digest[:8]).decode()


def _legacy_part(row: Resource, part: Subresource) -> Obj:
    found: Obj = {"name": f"{row.plural}/{part.name}", "singularName": "", "namespaced": row.namespaced}
    if part.group or part.version:
        found |= {"group": part.group, "version": part.version or row.version}
    return found | {"kind": part.kind, "verbs": list(part.verbs)}


def _aggregated(row: Resource) -> Obj:
    found: Obj = {
        "resource": row.plural,
        "responseKind": {"group": row.group, "version": row.version, "kind": row.kind},
        "scope": "Namespaced" if row.namespaced else "Cluster",
        "singularResource": row.singular,
        "verbs": list(row.verbs),
    }
    if row.short:
        found["shortNames"] = list(row.short)
    if row.categories:
        found["categories"] = list(row.categories)
    if row.parts:
        found["subresources"] = [
            {
                "subresource": part.name,
                "responseKind": {
                    "group": part.group or row.group,
                    "version": part.version or row.version,
                    "kind": part.kind,
                },
                "verbs": list(part.verbs),
            }
            for part in row.parts
        ]
    return found
