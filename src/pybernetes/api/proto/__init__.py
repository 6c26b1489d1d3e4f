"""Protobuf request bodies into API objects: `k8s\\0` and a runtime.Unknown around the message.

Typed Go clients (kubectl >= 1.32, helm 4) send these and do not retry as JSON, so the server must read them; nobody
needs it to write them. `decode` gives the object the same client would have sent as JSON.
"""

from ..errors import BadRequest
from ..objects import Obj
from ..objects import decode as decode_json
from .leaves import text
from .message import decode_message, message_of
from .wire import Malformed, Value, fields

CONTENT_TYPE = "application/vnd.kubernetes.protobuf"
MAGIC = b"k8s\x00"

__all__ = ["CONTENT_TYPE", "MAGIC", "decode"]


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
