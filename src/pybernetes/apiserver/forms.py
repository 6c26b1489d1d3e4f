"""Representations in JSON: objects as they are, as partial metadata, as Table rows; one, many, or in watch events."""

import functools
import itertools
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol

from pybernetes.api import columns
from pybernetes.api.objects import Obj, encode
from pybernetes.store import Record, Revision

from .accept import META
from .served import Served
from .watch import Form as Watched
from .watch import encoded

Body = bytes | AsyncIterator[bytes]
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


class Form(Watched, Protocol):
    """One representation of one row's objects: alone, in a list, in a watch."""

    def one(self, record: Record) -> bytes: ...

    def listed(self, records: Sequence[Record], position: Position, *, whole: bool = False) -> Body:
        """A list: long ones in pieces, unless `whole`."""
        ...


class JsonForm(ABC):
    """What all representations in JSON have: a list is its head, its items and brackets."""

    name = ""
    batch = _CHUNK
    field = "items"
    packed = staticmethod(encode)
    framed = staticmethod(encoded)

    @abstractmethod
    def one(self, record: Record) -> bytes: ...

    @abstractmethod
    def line(self, record: Record, revision: Revision) -> bytes: ...

    @abstractmethod
    def bookmark(self, metadata: Obj) -> Obj: ...

    @abstractmethod
    def head(self, position: Position) -> Obj:
        """A list without its items."""

    @abstractmethod
    def items(self, records: Iterable[Record]) -> Iterable[bytes]: ...

    def listed(self, records: Sequence[Record], position: Position, *, whole: bool = False) -> Body:
        head = b'%b,"%b":[' % (encode(self.head(position))[:-1], self.field.encode())
        if whole or len(records) <= 2 * _CHUNK:
            return head + b",".join(self.items(records)) + b"]}"
        return _chunks(head, iter(self.items(records)))


async def _chunks(head: bytes, items: Iterator[bytes]) -> AsyncIterator[bytes]:
    """A long list without its whole text in memory."""
    yield head
    start = b""
    while chunk := list(itertools.islice(items, _CHUNK)):
        yield start + b",".join(chunk)
        start = b","
    yield b"]}"


class Plain(JsonForm):
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

    def head(self, position: Position) -> Obj:
        return {"kind": self._row.list_kind, "apiVersion": self._row.api_version, "metadata": position.metadata}

    def items(self, records: Iterable[Record]) -> Iterable[bytes]:
        return map(self._codec.item, records)


class Partial(JsonForm):
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

    def head(self, position: Position) -> Obj:
        return {"kind": "PartialObjectMetadataList", "apiVersion": f"{META}/v1", "metadata": position.metadata}

    def items(self, records: Iterable[Record]) -> Iterable[bytes]:
        return map(self._codec.partial, records)


class Table(JsonForm):
    """Rows of cells, as `kubectl get` prints them (meta/v1 Table). `include` is None, Metadata or Object."""

    field = "rows"

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

    def head(self, position: Position) -> Obj:
        return {name: value for name, value in self._table(position.metadata).items() if name != self.field}

    def items(self, records: Iterable[Record]) -> Iterable[bytes]:
        """Rows; some columns look at the whole list first."""
        objs = functools.partial(map, self._served.codec.obj, records)
        make = columns.rows(self._served.row, objs, now=time.time())
        return map(functools.partial(self._row, make=make), records)
