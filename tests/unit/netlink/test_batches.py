"""What a transaction is encoded to, where the kernel has limits: element lists of 64 KB, send buffers."""

import struct

from pybernetes.netlink.expressions import DROP, Decide
from pybernetes.netlink.message import attributes, pairs
from pybernetes.netlink.nft import (
    IP,
    AddChain,
    AddElements,
    AddRule,
    AddTable,
    DeleteElements,
    Transaction,
    batches,
    describe,
    encode,
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
