"""Representations in protobuf: made of the JSON ones, for clients that take nothing else.

What is stored is JSON, so each answer costs a decoding and an encoding in Python, where one in JSON is spliced. The
length of a list comes before its items: all are made before the first is sent, a few at a time, others served between.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator, Sequence

from pybernetes.api import proto
from pybernetes.api.objects import Obj, decode
from pybernetes.store import Record, Revision

from .forms import Body, JsonForm, Position

_AT_ONCE = 50
"""Objects that are encoded before others have their turn: some 5 ms."""


class Packed:
    """The protobuf of another form, which says what is shown: the objects themselves or their metadata."""

    batch = _AT_ONCE
    packed = staticmethod(proto.encode)
    framed = staticmethod(proto.encode_event)

    def __init__(self, shown: JsonForm) -> None:
        self._shown = shown
        self.name = f"protobuf {shown.name}"

    def one(self, record: Record) -> bytes:
        return proto.encode(decode(self._shown.one(record)))

    def line(self, record: Record, revision: Revision) -> bytes:
        return proto.encode(decode(self._shown.line(record, revision)))

    def bookmark(self, metadata: Obj) -> Obj:
        return self._shown.bookmark(metadata)

    def listed(self, records: Sequence[Record], position: Position, *, whole: bool = False) -> Body:
        head = self._shown.head(position)
        write = proto.item_writer(head["apiVersion"], head["kind"])
        items = (write(decode(item)) for item in self._shown.items(records))
        if whole or len(records) <= _AT_ONCE:
            return b"".join(proto.encode_list(head, list(items)))
        return _chunks(head, items)


async def _chunks(head: Obj, items: Iterator[bytes]) -> AsyncIterator[bytes]:
    made: list[bytes] = []
    while chunk := b"".join(itertools.islice(items, _AT_ONCE)):
        made.append(chunk)
        await asyncio.sleep(0)
    for part in proto.encode_list(head, made):
        yield part
