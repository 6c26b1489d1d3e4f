"""Netlink bytes: what is packed is read back, and what cannot be right is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pybernetes.netlink.message import attribute, attributes, message, messages, nested, pairs, string, text

kinds = st.integers(1, 0x3FFF)


@given(st.lists(st.tuples(kinds, st.binary(max_size=40)), max_size=8))
def test_attributes_come_back(values: list[tuple[int, bytes]]) -> None:
    packed = b"".join(attribute(kind, value) for kind, value in values)
    assert len(packed) % 4 == 0
    assert list(pairs(packed)) == values


@given(st.lists(st.tuples(st.integers(0, 0xFFFF), st.binary(max_size=40)), max_size=8))
def test_messages_come_back(values: list[tuple[int, bytes]]) -> None:
    parts = [message(kind, body, flags=1, sequence=number) for number, (kind, body) in enumerate(values)]
    packed = b"".join(part + bytes(-len(part) % 4) for part in parts)
    assert [(found.type, found.body) for found in messages(packed)] == values


def test_nesting_and_text() -> None:
    packed = nested(7, text(1, "eth0"), nested(2, attribute(3, b"\x01")))
    inner = attributes(attributes(packed)[7])
    assert string(inner[1]) == "eth0"
    assert attributes(inner[2]) == {3: b"\x01"}


@pytest.mark.parametrize("data", [b"\x03\x00\x01\x00", b"\xff\x00\x01\x00abcd"])
def test_impossible_attributes(data: bytes) -> None:
    with pytest.raises(ValueError, match="attribute"):
        list(pairs(data))


@pytest.mark.parametrize("length", [0, 15, 200])
def test_impossible_messages(length: int) -> None:
    data = length.to_bytes(4, "little") + bytes(12)
    with pytest.raises(ValueError, match="message"):
        list(messages(data))


@given(st.binary(max_size=200))
def test_nonsense_ends(data: bytes) -> None:
    for read in (messages, pairs):
        try:
            list(read(data))  # type: ignore[operator]
        except ValueError:
            continue
