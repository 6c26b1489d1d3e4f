"""Representations of objects: as they are, as partial metadata, as Table rows; one, many, or in watch events."""

import contextlib
import functools
import itertools
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Any, NamedTuple, Protocol

import msgspec
import yaml

from pybernetes.api import columns
from pybernetes.api.errors import BadRequest
from pybernetes.api.objects import Obj, decode, encode
from pybernetes.store import Record, Revision
from pybernetes.wire import Request, Response

from .accept import JSON, META, YAML, Media, object_media, wants_pretty
from .served import Served

_HEADERS = {"content-type": JSON}
_CHUNK = 500
"""Objects in one chunk of a long list."""


class Position(NamedTuple):
    """Where a list stands: metadata of the answer."""

    revision: Revision
    continues: str = ""
    remaining: int | None = None

    @property
    def metadata(self) -> Obj:
        found: Obj = {"resourceVersion": str(self.revision)}
        if self.continues:
            found["continue"] = self.continues
            if self.remaining is not None:
                found["remainingItemCount"] = self.remaining
        return found


class Form(Protocol):
    """One representation of one row's objects."""

    name: str

    def one(self, record: Record) -> bytes: ...

    def line(self, record: Record, revision: Revision) -> bytes: ...

    def bookmark(self, metadata: Obj) -> Obj: ...

    def parts(self, records: Iterable[Record], position: Position) -> tuple[bytes, Iterable[bytes], bytes]:
        """Head, items and tail of a list."""
        ...


class Plain:
    """The objects themselves."""

    def __init__(self, served: Served) -> None:
        self._row, self._codec = served.row, served.codec
        self.name = f"={served.row.api_version}"

    def one(self, record: Record) -> bytes:
        return self._codec.raw(record) if record.revision else self._codec.unsaved(record)

    def line(self, record: Record, revision: Revision) -> bytes:
        return self._codec.raw(record, revision)

    def bookmark(self, metadata: Obj) -> Obj:
        return {"kind": self._row.kind, "apiVersion": self._row.api_version, "metadata": metadata}

    def parts(self, records: Iterable[Record], position: Position) -> tuple[bytes, Iterable[bytes], bytes]:
        head = {"kind": self._row.list_kind, "apiVersion": self._row.api_version, "metadata": position.metadata}
        return encode(head)[:-1] + b',"items":[', map(self._codec.item, records), b"]}"


class Partial:
    """metadata only (meta/v1 PartialObjectMetadata)."""

    def __init__(self, served: Served) -> None:
        self._codec = served.codec
        self.name = "partial"

    def one(self, record: Record) -> bytes:
        return self._codec.partial(record)

    def line(self, record: Record, revision: Revision) -> bytes:
        return self._codec.partial(record, revision)

    def bookmark(self, metadata: Obj) -> Obj:
        return {"kind": "PartialObjectMetadata", "apiVersion": f"{META}/v1", "metadata": metadata}

    def parts(self, records: Iterable[Record], position: Position) -> tuple[bytes, Iterable[bytes], bytes]:
        head = {"kind": "PartialObjectMetadataList", "apiVersion": f"{META}/v1", "metadata": position.metadata}
        return encode(head)[:-1] + b',"items":[', map(self._codec.partial, records), b"]}"


class Table:
    """Rows of cells, as `kubectl get` prints them (meta/v1 Table). `include` is None, Metadata or Object."""

    def __init__(self, served: Served, include: str) -> None:
        self._served = served
        self._include = include or "Metadata"
        self._columns = columns.columns_of(served.row)
        self.name = f"table/{served.row.api_version}/{self._include}"

    def _table(self, metadata: Obj) -> Obj:
        definitions = [column.definition for column in self._columns]
        return {
            "kind": "Table",
            "apiVersion": f"{META}/v1",
            "metadata": metadata,
            "columnDefinitions": definitions,
            "rows": [],
        }

    def _row(self, record: Record, revision: Revision = 0, *, make: Callable[[Obj], Obj] | None = None) -> bytes:
        obj = self._served.codec.obj(record, revision)
        row = make(obj) if make else columns.row(self._served.row, obj, now=time.time())
        if self._include == "None":
            shown = b"null"
        elif self._include == "Object":
            shown = self._served.codec.raw(record, revision)
        else:
            shown = self._served.codec.partial(record, revision)
        return b'%s,"object":%s}' % (encode(row)[:-1], shown)

    def one(self, record: Record) -> bytes:
        return self.line(record, record.revision)

    def line(self, record: Record, revision: Revision) -> bytes:
        table = encode(self._table({"resourceVersion": str(revision)}))
        return table[:-2] + self._row(record, revision) + b"]}"

    def bookmark(self, metadata: Obj) -> Obj:
        return self._table({"resourceVersion": metadata["resourceVersion"]}) | {
            "rows": [
                {
                    "cells": [],
                    "object": {"kind": "PartialObjectMetadata", "apiVersion": f"{META}/v1", "metadata": metadata},
                }
            ]
        }

    def parts(self, records: Iterable[Record], position: Position) -> tuple[bytes, Iterable[bytes], bytes]:
        objs = functools.partial(map, self._served.codec.obj, records)
        make = columns.rows(self._served.row, objs, now=time.time())
        return encode(self._table(position.metadata))[:-2], map(functools.partial(self._row, make=make), records), b"]}"


def form_of(request: Request, served: Served) -> tuple[Form, Media]:
    """What the Accept header asks for. Raises NotAcceptable."""
    media = object_media(request.headers.get("accept", ""))
    if wants_pretty(request.param("pretty"), request.headers.get("user-agent", "")):
        media = media._replace(pretty=True)
    if media.kind == "Table":
        return Table(served, _included(request.param("includeObject"))), media
    if media.kind:
        return Partial(served), media
    return Plain(served), media


def _included(text: str) -> str:
    if text not in ("", "None", "Metadata", "Object"):
        raise BadRequest(f"unrecognized includeObject value: {encode(text).decode()}")
    return text


def respond_list(form: Form, media: Media, records: Sequence[Record], position: Position) -> Response:
    head, items, tail = form.parts(records, position)
    if media.type == YAML:
        return as_yaml(head + b",".join(items) + tail)
    if media.pretty:
        return Response(headers=_HEADERS, body=indented(head + b",".join(items) + tail))
    if len(records) <= 2 * _CHUNK:
        return Response(headers=_HEADERS, body=head + b",".join(items) + tail)
    return Response(headers=_HEADERS, body=_chunks(head, iter(items), tail))


async def _chunks(head: bytes, items: Iterable[bytes], tail: bytes) -> AsyncIterator[bytes]:
    """A long list without its whole text in memory."""
    yield head
    start = b""
    while chunk := list(itertools.islice(items, _CHUNK)):
        yield start + b",".join(chunk)
        start = b","
    yield tail


def respond_one(form: Form, media: Media, record: Record, *, status: int = 200) -> Response:
    body = form.one(record)
    if media.type == YAML:
        return as_yaml(body, status=status)
    return Response(status=status, headers=_HEADERS, body=indented(body) if media.pretty else body)


def respond(value: Any, *, status: int = 200, media: str = JSON, pretty: bool = False) -> Response:
    """Any value as JSON (or YAML)."""
    body = encode(value)
    if media == YAML:
        return as_yaml(body, status=status)
    return Response(status=status, headers=_HEADERS, body=indented(body) if pretty else body)


def indented(body: bytes) -> bytes:
    """JSON for people to read, as `?pretty=true` has it."""
    return msgspec.json.format(body, indent=2) + b"\n"


def as_yaml(body: bytes, *, status: int = 200) -> Response:
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    with contextlib.suppress(RecursionError):  # nested deeper than the dumper can: JSON is YAML too
        body = yaml.dump(decode(body), Dumper=dumper, sort_keys=False, allow_unicode=True).encode()
    return Response(status=status, headers=_HEADERS | {"content-type": YAML}, body=body)
