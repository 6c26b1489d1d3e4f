"""The protobuf form of objects: `k8s\\0` and a runtime.Unknown around the message; and the frames of a watch.

Source: apimachinery/pkg/runtime/serializer/protobuf. In a watch the event is a bare meta/v1 WatchEvent after four bytes
of length (util/framer), and the object in it has its envelope.
"""

from collections.abc import Iterator, Sequence

from ..errors import BadRequest
from ..objects import Obj
from ..objects import decode as decode_json
from .encoding import item_of, writer_of
from .leaves import text
from .message import decode_message, message_of
from .wire import Malformed, Value, fields, number, sized
from .writers import Writer

CONTENT_TYPE = "application/vnd.kubernetes.protobuf"
WATCH_TYPE = f"{CONTENT_TYPE};stream=watch"
MAGIC = b"k8s\x00"
_AFTER_RAW = b"\x1a\x00\x22\x00"
"""contentEncoding and contentType, both empty."""


def decode(body: bytes, *, api_version: str = "", kind: str = "") -> Obj:
    """The object of a request body, with apiVersion and kind; those given here count when the body names none.

    Raises BadRequest for bytes that are no such message, and for a kind that has no protobuf form (custom resources).
    """
    if not body.startswith(MAGIC):
        raise BadRequest("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")
    try:
        return _object(body[len(MAGIC) :], api_version=api_version, kind=kind)
    except RecursionError as error:
        raise BadRequest("unable to decode the protobuf body: it is nested too deeply") from error
    except Malformed as error:
        raise BadRequest(f"unable to decode the protobuf body: {error}") from error


def _object(envelope: bytes, *, api_version: str, kind: str) -> Obj:
    parts = _strings(envelope)
    type_meta = _strings(parts.get(1, b""))
    api_version = text(type_meta.get(1, b"")) or api_version
    kind = text(type_meta.get(2, b"")) or kind
    raw = parts.get(2, b"")
    if text(parts.get(4, b"")) == "application/json":
        try:
            return {"apiVersion": api_version, "kind": kind} | dict(decode_json(raw))
        except (ValueError, TypeError) as error:
            raise Malformed(str(error)) from error
    message = message_of(api_version, kind)
    if message is None:
        raise BadRequest(f'no kind "{kind}" is registered for version "{api_version}" in protobuf')
    found: Obj = decode_message(message, raw)
    return {"apiVersion": api_version, "kind": kind} | found


def _strings(data: bytes) -> dict[int, bytes]:
    """The length-delimited fields of a small message."""
    pairs: list[tuple[int, Value]] = [(number, value) for number, _, value in fields(data)]
    return {number: value for number, value in pairs if isinstance(value, bytes)}


def encode(obj: Obj) -> bytes:
    """The bytes of an object of a built-in kind, which names it. Raises LookupError for one that has no message."""
    api_version, kind = obj.get("apiVersion", ""), obj["kind"]
    raw = writer_of(_message(api_version, kind))(obj)
    return b"%b%b%b" % (_before_raw(api_version, kind, len(raw)), raw, _AFTER_RAW)


def _message(api_version: str, kind: str) -> str:
    found = message_of(api_version, kind)
    if found is None:
        raise LookupError(f"{kind} of {api_version} has no protobuf form")
    return found


def _before_raw(api_version: str, kind: str, size: int) -> bytes:
    type_meta = b"\x0a" + sized(api_version.encode()) + b"\x12" + sized(kind.encode())
    return MAGIC + b"\x0a" + sized(type_meta) + b"\x12" + number(size)


def item_writer(api_version: str, list_kind: str) -> Writer:
    """What makes of an object its bytes as an item of a list of this kind, for `encode_list`."""
    return item_of(_message(api_version, list_kind))


def encode_list(head: Obj, items: Sequence[bytes]) -> Iterator[bytes]:
    """The parts of a list: `head` is the list object without its items, which `item_writer` has written."""
    api_version, kind = head["apiVersion"], head["kind"]
    before = writer_of(_message(api_version, kind))(head)  # metadata, whose number is before that of items
    yield _before_raw(api_version, kind, len(before) + sum(map(len, items))) + before
    yield from items
    yield _AFTER_RAW


def encode_event(kind: str, body: bytes) -> bytes:
    """A frame of a watch: `body` is the object with its envelope."""
    event = b"\x0a" + sized(kind.encode()) + b"\x12" + sized(b"\x0a" + sized(body))
    return len(event).to_bytes(4, "big") + event


def frames(data: bytes) -> Iterator[bytes]:
    """The events in whole frames, without their lengths."""
    at = 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        yield data[at + 4 : at + 4 + size]
        at += 4 + size
