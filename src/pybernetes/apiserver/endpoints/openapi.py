"""/openapi/v3: its index and the documents, compressed once and kept so. /openapi/v2: the least that kubectl needs.

kubectl asks for v2 when v3 has no such kind, and in protobuf only; it then looks the kind up in discovery, where its
own message ("no matches for kind") comes from. So the v2 document names no paths and no definitions.
"""

import gzip
from collections.abc import Mapping

from pybernetes.api import openapi
from pybernetes.api.objects import encode
from pybernetes.api.scheme import Scheme
from pybernetes.wire import Request, Response

from ..forms import respond
from ..route import missing

_YEAR = "public, immutable, max-age=31536000"


class OpenApi:
    """Documents are made when first asked for; only their gzip form is kept."""

    def __init__(self, scheme: Scheme) -> None:
        self._scheme = scheme
        self._index = b""
        self._documents: dict[str, tuple[bytes, str]] = {}
        scheme.changed.append(self._forget)

    def _forget(self) -> None:
        self._index = b""
        self._documents.clear()

    def serve(self, request: Request) -> Response:
        """Raises NotFound."""
        path = request.path.removeprefix("/openapi/v3").strip("/")
        if not path:
            self._index = self._index or encode(openapi.index(self._scheme))
            return Response(headers={"content-type": "application/json"}, body=self._index)
        packed, tag = self._document(path)
        headers = {"content-type": "application/json", "etag": f'"{tag}"', "vary": "Accept, Accept-Encoding"}
        if request.param("hash") == tag:
            headers["cache-control"] = _YEAR
        if request.headers.get("if-none-match", "") == headers["etag"]:
            return Response(status=304, headers=headers)
        return compressed(request, headers, packed)

    def serve_v2(self, request: Request) -> Response:
        if "proto-openapi.spec.v2" in request.headers.get("accept", ""):
            return Response(headers={"content-type": _GNOSTIC}, body=_least_v2())
        info = {"title": _TITLE, "version": f"v{openapi.release()}"}
        return respond({"swagger": "2.0", "info": info, "paths": {}, "definitions": {}})

    def _document(self, path: str) -> tuple[bytes, str]:
        found = self._documents.get(path)
        if found is None:
            match path.split("/"):
                case ["api", version]:
                    group = ""
                case ["apis", group, version]:
                    pass
                case _:
                    raise missing()
            made = openapi.document(self._scheme, group, version)
            if made is None:
                raise missing()
            tag = openapi.hash_of(self._scheme, group, version)
            found = self._documents[path] = gzip.compress(made, compresslevel=4, mtime=0), tag
        return found


_GNOSTIC = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
"""What is answered; clients ask with "@v1.0", which is no valid media type."""
_TITLE = "Kubernetes"


def _least_v2() -> bytes:
    """An openapi.v2.Document (gnostic) with swagger, info and empty paths."""
    info = _text(1, _TITLE) + _text(2, f"v{openapi.release()}")
    return _text(1, "2.0") + bytes([0x12, len(info)]) + info + b"\x42\x00"


def _text(number: int, value: str) -> bytes:
    """A short string field of a protobuf message."""
    data = value.encode()
    return bytes([number << 3 | 2, len(data)]) + data


def compressed(request: Request, headers: Mapping[str, str], packed: bytes) -> Response:
    """A gzip body for those who take it, unpacked for the others."""
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(headers={**headers, "content-encoding": "gzip"}, body=packed)
    return Response(headers=headers, body=gzip.decompress(packed))
