"""Netlink messages as bytes: headers, attributes, and how to read them back. No I/O.

A message is a 16-byte header, a fixed body of its family, then attributes: length, type, value, padded to four bytes.
Numbers are host-endian in rtnetlink, big-endian in nfnetlink; the callers pack values themselves.
"""

import struct
from collections.abc import Iterator
from typing import NamedTuple

HEADER = struct.Struct("=IHHII")
ATTRIBUTE = struct.Struct("=HH")

NESTED = 0x8000
TYPE_MASK = 0x3FFF

ERROR, DONE = 2, 3

REQUEST, MULTI, ACK, DUMP_INTERRUPTED = 0x1, 0x2, 0x4, 0x10
DUMP = 0x300
REPLACE, EXCLUSIVE, CREATE, APPEND = 0x100, 0x200, 0x400, 0x800
ACK_CAPPED, ACK_ATTRIBUTES = 0x100, 0x200


class Message(NamedTuple):
    """One message as received; `body` follows the header."""

    type: int
    flags: int
    sequence: int
    body: bytes


def message(kind: int, body: bytes, *, flags: int, sequence: int) -> bytes:
    """Bytes of one message."""
    return HEADER.pack(HEADER.size + len(body), kind, flags, sequence, 0) + body


def attribute(kind: int, value: bytes) -> bytes:
    """Bytes of one attribute, padded."""
    length = ATTRIBUTE.size + len(value)
    return ATTRIBUTE.pack(length, kind) + value + bytes(-length % 4)


def nested(kind: int, *parts: bytes) -> bytes:
    """An attribute that holds attributes."""
    return attribute(kind | NESTED, b"".join(parts))


def text(kind: int, value: str) -> bytes:
    """A zero-terminated string attribute."""
    return attribute(kind, value.encode() + b"\0")


def messages(data: bytes) -> Iterator[Message]:
    """The messages of one datagram; raises ValueError when a length is impossible."""
    offset = 0
    while offset + HEADER.size <= len(data):
        length, kind, flags, sequence, _ = HEADER.unpack_from(data, offset)
        if length < HEADER.size or offset + length > len(data):
            raise ValueError(f"netlink message of {length} bytes at {offset} of {len(data)}")
        yield Message(kind, flags, sequence, data[offset + HEADER.size : offset + length])
        offset += (length + 3) & ~3


def pairs(data: bytes, offset: int = 0) -> Iterator[tuple[int, bytes]]:
    """The attributes from `offset` on, as (type, value), in order."""
    end = len(data)
    while offset + ATTRIBUTE.size <= end:
        length, kind = ATTRIBUTE.unpack_from(data, offset)
        if length < ATTRIBUTE.size or offset + length > end:
            raise ValueError(f"netlink attribute of {length} bytes at {offset} of {end}")
        yield kind & TYPE_MASK, data[offset + ATTRIBUTE.size : offset + length]
        offset += (length + 3) & ~3


def attributes(data: bytes, offset: int = 0) -> dict[int, bytes]:
    """The attributes from `offset` on by type; of repeated ones the last."""
    return dict(pairs(data, offset))


def string(value: bytes) -> str:
    """A zero-terminated string attribute's text."""
    return value.rstrip(b"\0").decode()
