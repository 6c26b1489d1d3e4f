"""The protobuf wire format: a message as a sequence of (field number, wire type, value).

Source: protobuf.dev/programming-guides/encoding. Values are ints (types 0, 1, 5) or bytes (type 2); groups are refused.
"""

from collections.abc import Iterator

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5

Value = int | bytes


class Malformed(ValueError):
    """The bytes are no protobuf message of the expected shape."""


def varint(data: bytes, at: int) -> tuple[int, int]:
    """The unsigned number at `at`, and where the next thing starts."""
    result = shift = 0
    while True:
        if at >= len(data):
            raise Malformed("unexpected EOF")
        byte = data[at]
        at += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result & 0xFFFF_FFFF_FFFF_FFFF, at
        shift += 7
        if shift >= 70:
            raise Malformed("proto: integer overflow")


def fields(data: bytes) -> Iterator[tuple[int, int, Value]]:
    """The fields in the order of the wire. Raises Malformed."""
    at, end = 0, len(data)
    while at < end:
        tag, at = varint(data, at)
        number, wire_type = tag >> 3, tag & 7
        if not number:
            raise Malformed(f"proto: illegal tag {number} (wire type {wire_type})")
        if wire_type == VARINT:
            value, at = varint(data, at)
            yield number, wire_type, value
            continue
        if wire_type == BYTES:
            size, at = varint(data, at)
        elif wire_type in (FIXED64, FIXED32):
            size = 8 if wire_type == FIXED64 else 4
        else:
            raise Malformed(f"proto: illegal wireType {wire_type}")
        if at + size > end:
            raise Malformed("unexpected EOF")
        piece = data[at : at + size]
        at += size
        yield number, wire_type, piece if wire_type == BYTES else int.from_bytes(piece, "little")


_SMALL = [bytes((value,)) for value in range(128)]


def number(value: int) -> bytes:
    """A varint; negative numbers as the 64 bits of their two's complement."""
    if 0 <= value < 128:
        return _SMALL[value]
    rest = value & 0xFFFF_FFFF_FFFF_FFFF
    found = bytearray()
    while rest > 0x7F:
        found.append(rest & 0x7F | 0x80)
        rest >>= 7
    found.append(rest)
    return bytes(found)


def sized(content: bytes) -> bytes:
    """A length-delimited content with its length before it."""
    return number(len(content)) + content


def signed(value: int) -> int:
    """A varint as int64 or int32 (both are sign-extended to 64 bits on the wire)."""
    return value - (1 << 64) if value >> 63 else value


def packed(data: bytes) -> Iterator[int]:
    """The varints of a packed repeated field."""
    at = 0
    while at < len(data):
        value, at = varint(data, at)
        yield value
