"""What a transaction is encoded to, where the kernel has limits: element lists of 64 KB, send buffers."""

import struct

from hypothesis import given
from hypothesis import strategies as st

from pybernetes.netlink.expressions import DROP, Decide, goto
from pybernetes.netlink.message import attributes, pairs
from pybernetes.netlink.nft import (
    IP,
    AddChain,
    AddElements,
    AddRule,
    AddTable,
    Data,
    DeleteElements,
    Transaction,
    batches,
    describe,
    encode,
    read_elements,
)


def keys(count: int) -> list[bytes]:
    return [struct.pack(">I", number) for number in range(count)]


def test_elements_are_split_to_fit_an_attribute() -> None:
    wanted = dict.fromkeys(keys(20_000), b"\0\0\0\x01")
    encoded = list(encode(Transaction(IP, "t", [AddElements("s", wanted)])))
    assert len(encoded) > 1
    assert all(len(entry.body) < 0xFFFF for entry in encoded)
    found = []
    for entry in encoded:
        elements = attributes(entry.body, 4)[3]
        found += [attributes(attributes(value)[1])[1] for _, value in pairs(elements)]
    assert found == list(wanted)


def test_an_empty_list_is_no_message() -> None:
    assert list(encode(Transaction(IP, "t", [AddElements("s", {}), DeleteElements("s", [])]))) == []


def test_batches_keep_the_order_and_the_limit() -> None:
    operations = [AddTable(), AddChain("c"), *(AddRule("c", (Decide(DROP),)) for _ in range(100))]
    encoded = list(encode(Transaction(IP, "t", operations)))
    split = list(batches(encoded, 1000))
    assert len(split) > 5
    assert [entry for batch in split for entry in batch] == encoded
    assert all(sum(len(entry.body) + 20 for entry in batch) <= 1000 for batch in split)
    assert list(batches(encoded, 10**9)) == [encoded]


def test_operations_in_words() -> None:
    assert describe(AddElements("services", {b"\x0a\x60": None})) == "add 1 elements to services (0a60)"
    assert describe(None) == "commit"


DATA = st.one_of(
    st.none(),
    st.binary(min_size=4, max_size=24).filter(lambda b: len(b) % 4 == 0),
    st.sampled_from([DROP, goto("a"), goto("chain-name")]),
)


@given(st.dictionaries(st.binary(min_size=4, max_size=24).filter(lambda b: len(b) % 4 == 0), DATA, max_size=30))
def test_elements_come_back(elements: dict[bytes, Data]) -> None:
    found: dict[bytes, Data] = {}
    for entry in encode(Transaction(IP, "t", [AddElements("s", elements)])):
        found.update(read_elements(attributes(entry.body, 4)[3]))
    assert found == elements


@given(st.binary(max_size=120))
def test_elements_of_nonsense_end(data: bytes) -> None:
    try:
        list(read_elements(data))
    except (ValueError, KeyError, struct.error):
        return
