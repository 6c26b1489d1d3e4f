"""Stored bytes and served bytes: what is kept has no resourceVersion, what is served gets it by splicing.

A stored value always begins `{"apiVersion":...,"kind":...,"metadata":{`, so the revision goes in at a known offset:
no read parses or encodes an object. List items of built-in kinds leave out apiVersion and kind, as Kubernetes does.
"""

from collections.abc import Callable
from typing import Any, TypedDict

import msgspec

from pybernetes.api.objects import Obj, decode, encode
from pybernetes.api.resources import Resource
from pybernetes.store import Record, Revision

Convert = Callable[[Obj], Obj]


class _Parts(msgspec.Struct):
    metadata: msgspec.Raw


_parts = msgspec.json.Decoder(_Parts)
_PARTIAL = b'{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":{"resourceVersion":"%d",'


def stored(obj: Obj, row: Resource) -> bytes:
    """The bytes to keep. A custom resource says itself which version it is in."""
    version = obj["apiVersion"] if row.custom else row.api_version
    return in_order(obj | {"apiVersion": version, "kind": row.kind})


def in_order(obj: Obj) -> bytes:
    """The bytes of an object in the order that splicing needs, whatever order its fields are in."""
    metadata = {name: value for name, value in obj["metadata"].items() if name != "resourceVersion"}
    return encode({"apiVersion": obj["apiVersion"], "kind": obj["kind"], "metadata": metadata} | _rest(obj))


def _rest(obj: Obj) -> Obj:
    return {name: value for name, value in obj.items() if name not in ("apiVersion", "kind", "metadata")}


def restored(record: Record) -> Obj:
    """The object of a record, with its resourceVersion."""
    obj: Obj = decode(record.value)
    obj["metadata"]["resourceVersion"] = str(record.revision)
    return obj


class Codec:
    """The served forms of the records of one row. `convert` is given for a row stored in another row's version.

    A custom resource's records may each be in another version; they come here through its `conversion.Converter`.
    """

    def __init__(self, row: Resource, convert: Convert | None = None) -> None:
        self.row = row
        self._convert = convert
        kept = row if row.custom else row.storage
        self._head = f'{{"apiVersion":"{kept.api_version}","kind":"{kept.kind}","metadata":{{'.encode()
        self._offset = len(self._head)
        self._open = self._head + b'"resourceVersion":"%d",'
        self._item = (self._head if row.custom else b'{"metadata":{') + b'"resourceVersion":"%d",'

    def raw(self, record: Record, revision: Revision = 0) -> bytes:
        """The object as JSON; with `revision` that one in place of the record's own (deletions)."""
        if self._convert is not None:
            return encode(self.obj(record, revision))
        return self._open % (revision or record.revision) + record.value[self._offset :]

    def unsaved(self, record: Record) -> bytes:
        """An object that a dry run would have created: it has no revision."""
        return record.value if self._convert is None else encode(self.obj(record))

    def item(self, record: Record) -> bytes:
        """The object as an item of a list."""
        if self._convert is not None:
            return encode(
                {name: value for name, value in self.obj(record).items() if name not in ("apiVersion", "kind")}
            )
        return self._item % record.revision + record.value[self._offset :]

    def partial(self, record: Record, revision: Revision = 0) -> bytes:
        """Its PartialObjectMetadata."""
        metadata = bytes(_parts.decode(record.value).metadata)
        return _PARTIAL % (revision or record.revision) + metadata[1:] + b"}"

    def obj(self, record: Record, revision: Revision = 0) -> Obj:
        """The object in this row's version."""
        obj = restored(record)
        if revision:
            obj["metadata"]["resourceVersion"] = str(revision)
        return obj if self._convert is None else self._convert(obj)


def view_decoder(paths: tuple[str, ...]) -> Callable[[bytes], Obj]:
    """A decoder of just these dotted paths, several times faster than a whole one."""
    tree: dict[str, Any] = {}
    for path in paths:
        node = tree
        *outer, last = path.split(".")
        for part in outer:
            node = node.setdefault(part, {})
        node.setdefault(last, None)
    return msgspec.json.Decoder(_typed(tree)).decode


def _typed(tree: dict[str, Any]) -> Any:
    fields = {name: Any if inner is None else _typed(inner) | None for name, inner in tree.items()}
    return TypedDict("View", fields, total=False)  # type: ignore[operator]
