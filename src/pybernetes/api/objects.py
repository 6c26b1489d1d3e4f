"""API objects as plain dicts, and the few questions everybody asks of them.

Objects from a cache are shared: copy (`copied`) before you edit.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import msgspec

Obj = dict[str, Any]

_decoder = msgspec.json.Decoder()
_encoder = msgspec.json.Encoder()


class Key(NamedTuple):
    """What a reconciler is handed: namespace ("" for cluster scope) and name."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


def encode(value: object) -> bytes:
    """JSON bytes of a value."""
    return _encoder.encode(value)


def decode(data: bytes | str) -> Any:
    """Value of JSON bytes; raises msgspec.DecodeError."""
    return _decoder.decode(data)


def copied(obj: Obj) -> Obj:
    """A deep copy by a codec round trip (7 times faster than deepcopy, facts/http.md)."""
    copy: Obj = _decoder.decode(_encoder.encode(obj))
    return copy


def metadata(obj: Obj) -> Obj:
    """The metadata of an object; {} when it has none."""
    return obj.get("metadata") or {}


def name_of(obj: Obj) -> str:
    return str(metadata(obj).get("name", ""))


def namespace_of(obj: Obj) -> str:
    return str(metadata(obj).get("namespace", ""))


def uid_of(obj: Obj) -> str:
    return str(metadata(obj).get("uid", ""))


def revision_of(obj: Obj) -> str:
    """metadata.resourceVersion, opaque to clients."""
    return str(metadata(obj).get("resourceVersion", ""))


def key_of(obj: Obj) -> Key:
    return Key(namespace_of(obj), name_of(obj))


def labels_of(obj: Obj) -> Mapping[str, str]:
    return metadata(obj).get("labels") or {}


def annotations_of(obj: Obj) -> Mapping[str, str]:
    return metadata(obj).get("annotations") or {}


def owners_of(obj: Obj) -> list[Obj]:
    return metadata(obj).get("ownerReferences") or []


def controller_of(obj: Obj) -> Obj | None:
    """The owner reference with controller: true, if any."""
    return next((owner for owner in owners_of(obj) if owner.get("controller")), None)


def owner_reference(owner: Obj, *, controller: bool = True) -> Obj:
    """An ownerReferences entry that points at `owner` (blockOwnerDeletion as controllers set it)."""
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": name_of(owner),
        "uid": uid_of(owner),
        "controller": controller,
        "blockOwnerDeletion": True,
    }


def is_deleting(obj: Obj) -> bool:
    return bool(metadata(obj).get("deletionTimestamp"))


def condition(obj: Obj, kind: str) -> Obj | None:
    """The status condition of that type, if present."""
    conditions: Iterable[Obj] = (obj.get("status") or {}).get("conditions") or ()
    return next((entry for entry in conditions if entry.get("type") == kind), None)


def condition_is(obj: Obj, kind: str, status: str = "True") -> bool:
    found = condition(obj, kind)
    return found is not None and found.get("status") == status
