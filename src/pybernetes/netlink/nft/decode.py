"""Dumped elements back into keys and data. No I/O."""

import sys
from collections.abc import Iterator

from pybernetes.netlink.expressions import decode_verdict
from pybernetes.netlink.message import ATTRIBUTE, TYPE_MASK, attributes

from .model import Data

_LITTLE = sys.byteorder == "little"


def read_elements(data: bytes) -> Iterator[tuple[bytes, Data]]:
    """The elements of a list. Most are of one shape, a key and plain data: those are cut out at fixed places."""
    offset, end = 0, len(data)
    heads: dict[tuple[bytes, bytes], tuple[int, int]] = {}
    while offset < end:
        head = data[offset : offset + 12]
        key_end = offset + 8 + (head[8] | head[9] << 8 if _LITTLE else head[8] << 8 | head[9]) if len(head) == 12 else 0
        shape = (head, data[key_end : key_end + 8])
        cut = heads.get(shape)
        if cut is None:
            cut = heads[shape] = _shape(data, offset, key_end)
        size, length = cut
        if length:
            yield data[offset + 12 : key_end], data[key_end + 8 : key_end + 8 + length]
        else:
            values = attributes(data[offset + 4 : offset + size])
            if 1 in values:
                yield attributes(values[1])[1], _data(values.get(2))
        offset += size


def _shape(data: bytes, offset: int, key_end: int) -> tuple[int, int]:
    """(bytes to the next element, bytes of data if it is KEY { VALUE } DATA { VALUE } and nothing else, else 0)."""
    size, _ = ATTRIBUTE.unpack_from(data, offset)
    if size < ATTRIBUTE.size or offset + size > len(data):
        raise ValueError(f"nftables element of {size} bytes at {offset} of {len(data)}")
    whole = (size + 3) & ~3
    rest = offset + size - key_end
    if key_end <= offset or rest < 8 or key_end % 4 != offset % 4:
        return whole, 0
    nest, kind = ATTRIBUTE.unpack_from(data, key_end)
    value, inner = ATTRIBUTE.unpack_from(data, key_end + 4)
    plain = kind & TYPE_MASK == 2 and inner & TYPE_MASK == 1 and nest == rest and value == nest - 4 and value % 4 == 0
    return whole, value - 4 if plain else 0


def _data(value: bytes | None) -> Data:
    if value is None:
        return None
    values = attributes(value)
    return values[1] if 1 in values else decode_verdict(attributes(values[2]))
