"""Protobuf as Kubernetes speaks it: bodies and answers of built-in kinds, `k8s\\0` and a runtime.Unknown around each.

Typed Go clients (kubectl >= 1.32, helm 4) send these and do not retry as JSON; those that accept nothing else get them.
`decode` gives the object the same client would have sent as JSON, `encode` the bytes that Kubernetes would have sent.
"""

from .envelope import (
    CONTENT_TYPE,
    MAGIC,
    WATCH_TYPE,
    decode,
    encode,
    encode_event,
    encode_list,
    frames,
    item_writer,
)

__all__ = [
    "CONTENT_TYPE",
    "MAGIC",
    "WATCH_TYPE",
    "decode",
    "encode",
    "encode_event",
    "encode_list",
    "frames",
    "item_writer",
]
