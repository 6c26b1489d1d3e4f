"""Transactions into netlink messages, and messages into batches that fit the send buffer. No I/O.

An element is four byte strings joined, its frames made once for each pair of lengths: that is what makes 100,000 of
them cheap.
"""

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from pybernetes.netlink.expressions import Verdict, encode_expression, encode_verdict, number
from pybernetes.netlink.message import ATTRIBUTE, CREATE, NESTED, attribute, nested, text

from .model import (
    HOOK_POINTS,
    KINDS,
    VERDICT,
    AddChain,
    AddElements,
    AddRule,
    AddSet,
    AddTable,
    Data,
    DeleteChain,
    DeleteElements,
    DeleteSet,
    DeleteTable,
    FlushChain,
    FlushSet,
    Hook,
    Operation,
    Set,
    Transaction,
)

_NEWTABLE, _DELTABLE = 0, 2
_NEWCHAIN, _DELCHAIN = 3, 5
_NEWRULE, _DELRULE = 6, 8
_NEWSET, _DELSET = 9, 11
_NEWSETELEM, _DELSETELEM = 12, 14
_DESTROYTABLE, _DESTROYSETELEM = 26, 30

_SET_INTERVAL, _SET_MAP, _SET_TIMEOUT, _SET_EVAL, _SET_CONCAT = 0x4, 0x8, 0x10, 0x20, 0x80
_VERDICT_TYPE = 0xFFFFFF00
_ELEMENT_INTERVAL_END = 1

_ELEMENTS_BYTES = 64_000
"""An attribute's length has 16 bits: more elements go into further messages of the same batch."""

HEAD = struct.Struct(">BBH")
"""Family, version, resource: what follows the header of each message."""


class Encoded(NamedTuple):
    """One message of a batch, without its header, and the operation that it is (part) of."""

    kind: int
    flags: int
    body: bytes
    operation: Operation


def encode(transaction: Transaction) -> Iterator[Encoded]:
    """The messages of a transaction, in order."""
    head = HEAD.pack(transaction.family, 0, 0)
    table = head + text(1, transaction.table)
    set_ids = 0
    for operation in transaction.operations:
        match operation:
            case AddTable(comment):
                userdata = attribute(6, _comment(comment)) if comment else b""
                yield Encoded(_NEWTABLE, CREATE, table + number(2, 0) + userdata, operation)
            case DeleteTable(missing_ok):
                yield Encoded(_DESTROYTABLE if missing_ok else _DELTABLE, 0, table, operation)
            case AddChain(name, hook):
                yield Encoded(_NEWCHAIN, CREATE, table + text(3, name) + _hook(hook), operation)
            case DeleteChain(name):
                yield Encoded(_DELCHAIN, 0, table + text(3, name), operation)
            case AddRule(chain, rule):
                expressions = nested(4, *(encode_expression(expression) for expression in rule))
                yield Encoded(_NEWRULE, CREATE | 0x800, table + text(2, chain) + expressions, operation)
            case FlushChain(name):
                yield Encoded(_DELRULE, 0, table + text(2, name), operation)
            case AddSet(new):
                set_ids += 1
                yield Encoded(_NEWSET, CREATE, table + _set(new, set_ids), operation)
            case DeleteSet(name):
                yield Encoded(_DELSET, 0, table + text(2, name), operation)
            case FlushSet(name):
                yield Encoded(_DELSETELEM, 0, table + text(2, name), operation)
            case AddElements(name, elements, ends):
                for chunk in _chunks(_elements(elements, ends)):
                    yield Encoded(_NEWSETELEM, CREATE, table + text(2, name) + chunk, operation)
            case DeleteElements(name, keys, missing_ok):
                kind = _DESTROYSETELEM if missing_ok else _DELSETELEM
                for chunk in _chunks(_keys(keys)):
                    yield Encoded(kind, 0, table + text(2, name) + chunk, operation)


def _comment(comment: str) -> bytes:
    value = comment.encode()[:127] + b"\0"
    return bytes([0, len(value)]) + value


def _hook(hook: Hook | None) -> bytes:
    if hook is None:
        return b""
    place = nested(4, number(1, HOOK_POINTS[hook.point]), attribute(2, struct.pack(">i", hook.priority)))
    return place + text(7, hook.type)


def _type(fields: Iterable[str]) -> int:
    kind = 0
    for name in fields:
        kind = kind << 6 | KINDS[name].number
    return kind


def _set(new: Set, identity: int) -> bytes:
    flags = _SET_INTERVAL if new.interval else 0
    flags |= _SET_MAP if new.is_map else 0
    flags |= _SET_TIMEOUT if new.timeout_seconds else 0
    flags |= _SET_EVAL if new.dynamic else 0
    body = text(2, new.name) + number(3, flags) + number(4, _type(new.key)) + number(5, new.key_length)
    if new.data == VERDICT:
        body += number(6, _VERDICT_TYPE) + number(7, 0)
    elif new.data:
        body += number(6, _type(new.data)) + number(7, new.data_length)
    body += nested(9, number(1, new.size)) if new.size else b""
    body += number(10, identity)
    return body + (attribute(11, struct.pack(">Q", new.timeout_seconds * 1000)) if new.timeout_seconds else b"")


def _elements(elements: Mapping[bytes, Data], ends: frozenset[bytes]) -> Iterator[bytes]:
    """One list element each: KEY { VALUE }, and of a map DATA { VALUE or VERDICT }. The frames repeat: see _frame."""
    verdicts: dict[Verdict, bytes] = {}
    frames: dict[tuple[int, int], tuple[bytes, bytes]] = {}
    for key, data in elements.items():
        if isinstance(data, bytes):
            shape = (len(key), len(data))
            frame = frames.get(shape)
            if frame is None:
                frame = frames[shape] = _frame(*shape)
            yield frame[0] + key + frame[1] + data
        elif data is None:
            last = number(3, _ELEMENT_INTERVAL_END) if key in ends else b""
            yield nested(1, nested(1, attribute(1, key)), last)
        else:
            encoded = verdicts.get(data)
            if encoded is None:
                encoded = verdicts[data] = nested(2, encode_verdict(data))
            yield nested(1, nested(1, attribute(1, key)), encoded)


def _frame(key: int, data: int) -> tuple[bytes, bytes]:
    """What stands before the key and between key and data, for these lengths (multiples of four)."""
    pack = ATTRIBUTE.pack
    before = pack(4 + 8 + key + 8 + data, 1 | NESTED) + pack(8 + key, 1 | NESTED) + pack(4 + key, 1)
    return before, pack(8 + data, 2 | NESTED) + pack(4 + data, 1)


def _keys(keys: Iterable[bytes]) -> Iterator[bytes]:
    for key in keys:
        yield nested(1, nested(1, attribute(1, key)))


def _chunks(elements: Iterator[bytes]) -> Iterator[bytes]:
    """Elements in lists that fit an attribute."""
    held: list[bytes] = []
    size = 0
    for element in elements:
        if size + len(element) > _ELEMENTS_BYTES:
            yield nested(3, *held)
            held, size = [], 0
        held.append(element)
        size += len(element)
    if held:
        yield nested(3, *held)


def batches(encoded: Sequence[Encoded], limit: int) -> Iterator[Sequence[Encoded]]:
    """Messages in as few batches as the limit (bytes) allows, in order."""
    remaining = iter(encoded)
    batch: list[Encoded] = []
    size = 0
    for entry in remaining:
        if batch and size + len(entry.body) + 20 > limit:
            yield batch
            batch, size = [], 0
        batch.append(entry)
        size += len(entry.body) + 20
    if batch:
        yield batch
