"""/openapi/v3: its index and the documents, compressed once and kept so. /openapi/v2: everything in one document.

v2 is big (megabytes) and asked for by old clients only: it is made in a thread when first asked for, as are documents
of v3 in protobuf.
"""

import asyncio
import gzip
import hashlib
from collections.abc import Mapping
from functools import lru_cache
from urllib.parse import urlencode

from pybernetes.api import openapi, openapi_v2, openapi_v3_packed
from pybernetes.api.errors import NotAcceptable
from pybernetes.api.objects import decode, encode
from pybernetes.api.scheme import Scheme
from pybernetes.wire import Request, Response
from pybernetes.wire.answer import takes_gzip

from ..accept import JSON, clauses, unchanged
from ..route import missing

_YEAR = "public, immutable, max-age=31536000"


class OpenApi:
    """Documents are made when first asked for; only their gzip form is kept."""

    def __init__(self, scheme: Scheme) -> None:
        self._scheme = scheme
        self._index: tuple[bytes, str] | None = None
        self._documents: dict[tuple[str, str], tuple[bytes, str]] = {}
        self._v2: asyncio.Future[dict[bool, tuple[bytes, str]]] | None = None
        scheme.changed.append(self._forget)

    def _forget(self) -> None:
        self._index = None
        self._documents.clear()
        self._v2 = None

    async def serve(self, request: Request) -> Response:
        """Raises NotFound, NotAcceptable."""
        path = request.path.removeprefix("/openapi/v3").strip("/")
        if not path:
            return self._listed(request)
        content = _content_of(request.headers.get("accept", ""))
        packed, tag = self._document(path) if content == JSON else await self._packed(path)
        if (asked := request.param("hash")) and asked != tag:  # of another time: what there is now has its own address
            headers = {"location": f"/openapi/v3/{path}?{urlencode({'hash': tag})}"}
            return Response(status=301, headers=headers)
        headers = {"content-type": content, "etag": f'"{tag}"', "vary": "Accept, Accept-Encoding"}
        if asked:
            headers["cache-control"] = _YEAR
        if unchanged(request, headers["etag"]):
            return Response(status=304, headers=headers)
        return compressed(request, headers, packed)

    def _listed(self, request: Request) -> Response:
        if self._index is None:
            made = encode(openapi.index(self._scheme))
            self._index = made, f'"{hashlib.sha256(made).hexdigest().upper()}"'
        body, tag = self._index
        headers = {"content-type": "application/json", "etag": tag}
        if unchanged(request, tag):
            return Response(status=304, headers=headers)
        return Response(headers=headers, body=body)

    async def serve_v2(self, request: Request) -> Response:
        """JSON, or protobuf for those who ask for it."""
        protobuf = _GNOSTIC_ASKED in request.headers.get("accept", "")
        if self._v2 is None or self._v2.cancelled():
            self._v2 = asyncio.ensure_future(asyncio.to_thread(_both, self._scheme))
        made = await asyncio.shield(self._v2)
        packed, tag = made[protobuf]
        content = _GNOSTIC if protobuf else "application/json"
        headers = {"content-type": content, "etag": f'"{tag}"', "vary": "Accept, Accept-Encoding"}
        if unchanged(request, headers["etag"]):
            return Response(status=304, headers=headers)
        return compressed(request, headers, packed)

    def _document(self, path: str) -> tuple[bytes, str]:
        found = self._documents.get((path, JSON))
        if found is None:
            group, version = _group_version(path)
            made = openapi.document(self._scheme, group, version)
            if made is None:
                raise missing()
            tag = openapi.hash_of(self._scheme, group, version)
            found = self._documents[path, JSON] = gzip.compress(made, compresslevel=_LEVEL, mtime=0), tag
        return found

    async def _packed(self, path: str) -> tuple[bytes, str]:
        """In protobuf; of the same tag, as the same document."""
        found = self._documents.get((path, _GNOSTIC_V3))
        if found is None:
            known = self._document(path)
            found = await asyncio.to_thread(_packed_v3, *known)
            if self._documents.get((path, JSON)) is known:
                self._documents[path, _GNOSTIC_V3] = found
        return found


_LEVEL = 4
_GNOSTIC_V3 = "application/com.github.proto-openapi.spec.v3.v1.0+protobuf"
_TYPES_V3 = {
    "application/*": JSON,
    "*/*": JSON,
    JSON: JSON,
    _GNOSTIC_V3: _GNOSTIC_V3,
    "application/com.github.proto-openapi.spec.v3@v1.0+protobuf": _GNOSTIC_V3,
}


@lru_cache(maxsize=64)
def _content_of(accept: str) -> str:
    """The first of the best that a document of v3 can be written in. Raises NotAcceptable."""
    for clause in clauses(accept):
        if (found := _TYPES_V3.get(clause.type)) is not None:
            return found
    raise NotAcceptable(f"only the following media types are accepted: {JSON}, {_GNOSTIC_V3}")


def _group_version(path: str) -> tuple[str, str]:
    """Raises NotFound."""
    match path.split("/"):
        case ["api", version]:
            return "", version
        case ["apis", group, version]:
            return group, version
    raise missing()


def _packed_v3(document: bytes, tag: str) -> tuple[bytes, str]:
    """Of a compressed document in JSON the one in protobuf."""
    body = openapi_v3_packed.packed(decode(gzip.decompress(document)))
    return gzip.compress(body, compresslevel=_LEVEL, mtime=0), tag


_GNOSTIC_ASKED = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
_GNOSTIC = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
"""What is answered: "@" has no place in a media type."""


def _both(scheme: Scheme) -> dict[bool, tuple[bytes, str]]:
    """The v2 document compressed, with its tag: as protobuf (True) and as JSON."""
    document = openapi_v2.document(scheme)
    found = {}
    for protobuf, body in ((True, openapi_v2.packed(document)), (False, encode(document))):
        tag = hashlib.sha256(body).hexdigest().upper()
        found[protobuf] = gzip.compress(body, compresslevel=_LEVEL, mtime=0), tag
    return found


def compressed(request: Request, headers: Mapping[str, str], packed: bytes) -> Response:
    """A gzip body for those who take it, unpacked for the others."""
    if takes_gzip(request.headers.get("accept-encoding", "")):
        return Response(headers={**headers, "content-encoding": "gzip"}, body=packed)
    return Response(headers=headers, body=gzip.decompress(packed))
