"""Answers: objects, lists and anything else in the representation that the client accepts."""

import contextlib
import time
from collections.abc import Sequence
from typing import Any

import msgspec
import yaml

from pybernetes.api import columns, proto
from pybernetes.api.errors import BadRequest
from pybernetes.api.objects import Obj, decode, encode
from pybernetes.api.resources import Resource
from pybernetes.store import Record
from pybernetes.wire import Request, Response

from .accept import JSON, META, PROTOBUF, YAML, Media, custom_media, object_media, wants_pretty
from .forms import Form, Partial, Plain, Position, Table
from .protobuf import Packed
from .served import Served

_HEADERS = {"content-type": JSON}


def form_of(request: Request, served: Served) -> tuple[Form, Media]:
    """What the Accept header asks for. Raises NotAcceptable."""
    media = _media(request, custom=served.row.custom)
    if media.type == PROTOBUF:
        return Packed(Partial(served) if media.kind else Plain(served)), media
    if _pretty(request):
        media = media._replace(pretty=True)
    if media.kind == "Table":
        return Table(served, _included(request.param("includeObject"))), media
    if media.kind:
        return Partial(served), media
    return Plain(served), media


def _media(request: Request, *, custom: bool) -> Media:
    """Custom resources have no protobuf. Raises NotAcceptable."""
    media = object_media(request.headers.get("accept", ""))
    return custom_media(request.headers["accept"]) if custom and media.type == PROTOBUF else media


def _pretty(request: Request) -> bool:
    return wants_pretty(request.param("pretty"), request.headers.get("user-agent", ""))


def _headers(media: str) -> dict[str, str]:
    return _HEADERS if media == JSON else _HEADERS | {"content-type": media}


def _included(text: str) -> str:
    if text not in ("", "None", "Metadata", "Object"):
        raise BadRequest(f"unrecognized includeObject value: {encode(text).decode()}")
    return text


def respond_list(form: Form, media: Media, records: Sequence[Record], position: Position) -> Response:
    if media.type == YAML or media.pretty:
        body = form.listed(records, position, whole=True)
        assert isinstance(body, bytes)
        return as_yaml(body) if media.type == YAML else Response(headers=_HEADERS, body=indented(body))
    return Response(headers=_headers(media.type), body=form.listed(records, position))


def respond_one(form: Form, media: Media, record: Record, *, status: int = 200) -> Response:
    body = form.one(record)
    if media.type == YAML:
        return as_yaml(body, status=status)
    return Response(status=status, headers=_headers(media.type), body=indented(body) if media.pretty else body)


def respond(value: Any, *, status: int = 200, media: str = JSON, pretty: bool = False) -> Response:
    """Any value as JSON or YAML, an object of a built-in kind as protobuf."""
    if media == PROTOBUF:
        return Response(status=status, headers=_headers(media), body=proto.encode(value))
    body = encode(value)
    if media == YAML:
        return as_yaml(body, status=status)
    return Response(status=status, headers=_HEADERS, body=indented(body) if pretty else body)


_SCALES = Resource(group="autoscaling", plural="scales", kind="Scale", definition="")


def respond_scale(request: Request, scale: Obj, *, custom: bool) -> Response:
    """A Scale in the representation that is asked for; it is stored nowhere. Raises NotAcceptable, BadRequest."""
    media = _media(request, custom=custom)
    if not media.kind:
        return respond(scale, media=media.type, pretty=_pretty(request))
    found: Obj = {"kind": "PartialObjectMetadata", "apiVersion": f"{META}/v1", "metadata": scale["metadata"]}
    if media.kind == "Table":
        shown = {"None": None, "Object": scale}.get(_included(request.param("includeObject")), found)
        found = {
            "kind": "Table",
            "apiVersion": f"{META}/v1",
            "metadata": {"resourceVersion": scale["metadata"]["resourceVersion"]},
            "columnDefinitions": [column.definition for column in columns.columns_of(_SCALES)],
            "rows": [columns.row(_SCALES, scale, now=time.time()) | {"object": shown}],
        }
    return respond(found, media=media.type)


def indented(body: bytes) -> bytes:
    """JSON for people to read, as `?pretty=true` has it."""
    return msgspec.json.format(body, indent=2) + b"\n"


def as_yaml(body: bytes, *, status: int = 200) -> Response:
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    with contextlib.suppress(RecursionError):  # nested deeper than the dumper can: JSON is YAML too
        body = yaml.dump(decode(body), Dumper=dumper, sort_keys=False, allow_unicode=True).encode()
    return Response(status=status, headers=_headers(YAML), body=body)
