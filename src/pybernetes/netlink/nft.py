"""nftables over netlink: transactions in, dumps out; no nft binary, no library.

A `Transaction` collects operations on one table; `commit` hands them to the kernel as one batch, which is applied whole
or not at all. `Nftables` is the door; KernelNftables speaks to the kernel, fake.FakeNftables is a model of it.

Keys and data of elements are bytes: fields in order, each padded to four bytes, as they lie in the registers. That is
what makes 100,000 of them cheap: an element is four byte strings joined.
"""

import errno
import os
import socket
import struct
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Literal, NamedTuple, Protocol

from pybernetes.netlink.expressions import (
    Rule,
    Verdict,
    decode_verdict,
    encode_expression,
    encode_verdict,
    number,
)
from pybernetes.netlink.message import (
    ACK,
    ATTRIBUTE,
    CREATE,
    ERROR,
    NESTED,
    REQUEST,
    TYPE_MASK,
    Message,
    attribute,
    attributes,
    message,
    messages,
    nested,
    string,
    text,
)
from pybernetes.netlink.sockets import NETFILTER, Netlink, explain, grow_receive_buffer, grow_send_buffer

IP, IP6 = 2, 10

VERDICT: Literal["verdict"] = "verdict"

Data = bytes | Verdict | None
"""What a key leads to: bytes, a verdict, or None in a set that is no map."""


class Kind(NamedTuple):
    """A field's type as nft shows it, and its bytes before padding."""

    number: int
    length: int


KINDS = {
    "ipv4_addr": Kind(7, 4),
    "ipv6_addr": Kind(8, 16),
    "inet_proto": Kind(12, 1),
    "inet_service": Kind(13, 2),
    "mark": Kind(19, 4),
}


@dataclass(frozen=True, slots=True)
class Hook:
    """Where a base chain is called from; lower priorities go first."""

    type: Literal["filter", "nat"]
    point: Literal["prerouting", "input", "forward", "output", "postrouting"]
    priority: int


HOOK_POINTS = {"prerouting": 0, "input": 1, "forward": 2, "output": 3, "postrouting": 4}


@dataclass(frozen=True, slots=True, kw_only=True)
class Set:
    """A set, or with `data` a map. `key` and `data` name their fields' kinds in order; `data` may be VERDICT.

    interval: keys are ranges (elements are Range keys). timeout_seconds: elements go by themselves after that time.
    dynamic: rules may change it; `size` bounds it then.
    """

    name: str
    key: tuple[str, ...]
    data: tuple[str, ...] | Literal["verdict"] = ()
    interval: bool = False
    dynamic: bool = False
    timeout_seconds: int = 0
    size: int = 0

    @property
    def is_map(self) -> bool:
        return bool(self.data)

    @property
    def key_length(self) -> int:
        return _length(self.key)

    @property
    def data_length(self) -> int:
        return 0 if self.data == VERDICT else _length(self.data)


def _length(fields: Iterable[str]) -> int:
    return sum((KINDS[name].length + 3) & ~3 for name in fields)


# Operations: what a transaction is made of. The kernel's and the model's `commit` both read these.


@dataclass(frozen=True, slots=True)
class AddTable:
    comment: str = ""


@dataclass(frozen=True, slots=True)
class DeleteTable:
    missing_ok: bool = False


@dataclass(frozen=True, slots=True)
class AddChain:
    name: str
    hook: Hook | None = None


@dataclass(frozen=True, slots=True)
class DeleteChain:
    name: str


@dataclass(frozen=True, slots=True)
class AddRule:
    chain: str
    rule: Rule


@dataclass(frozen=True, slots=True)
class FlushChain:
    name: str


@dataclass(frozen=True, slots=True)
class AddSet:
    set: Set


@dataclass(frozen=True, slots=True)
class DeleteSet:
    name: str


@dataclass(frozen=True, slots=True)
class FlushSet:
    name: str


@dataclass(frozen=True, slots=True)
class AddElements:
    """`ends` are the keys of an interval set that close a range: the first key past it."""

    set: str
    elements: Mapping[bytes, Data]
    ends: frozenset[bytes] = frozenset()


@dataclass(frozen=True, slots=True)
class DeleteElements:
    set: str
    keys: Sequence[bytes]
    missing_ok: bool = False


Operation = (
    AddTable
    | DeleteTable
    | AddChain
    | DeleteChain
    | AddRule
    | FlushChain
    | AddSet
    | DeleteSet
    | FlushSet
    | AddElements
    | DeleteElements
)


@dataclass(slots=True)
class Transaction:
    """Operations on one table, in order. Empty ones may be committed: nothing happens."""

    family: int
    table: str
    operations: list[Operation] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.operations)

    def add(self, *operations: Operation) -> None:
        self.operations.extend(operations)


class Refused(OSError):
    """The kernel refused a transaction, and nothing of it was applied; `operation` is the one it stumbled over."""

    def __init__(self, code: int, words: str, operation: Operation | None = None) -> None:
        super().__init__(code, words)
        self.operation = operation


class Nftables(Protocol):
    """The tables of one namespace."""

    def commit(self, transaction: Transaction) -> None:
        """Apply all of it or nothing.

        Raises Refused: ENOENT for a table, chain, set or element that is not there, EEXIST for an element with other
        data or a set of another kind, EBUSY for a chain or set in use, EINVAL or EOPNOTSUPP for what makes no sense.
        """
        ...

    def generation(self) -> int:
        """A number that grows by one with each transaction that anybody applies in this namespace."""
        ...

    def comment(self, family: int, table: str) -> str | None:
        """The comment the table was added with; None when there is no such table."""
        ...

    def chains(self, family: int, table: str) -> Mapping[str, int]:
        """The names of its chains, with the number of rules in each."""
        ...

    def sets(self, family: int, table: str) -> frozenset[str]:
        """The names of its sets and maps."""
        ...

    def elements(self, family: int, table: str, name: str) -> Mapping[bytes, Data]:
        """All elements of a set or map; raises OSError(ENOENT). A range's end is a key of its own."""
        ...

    def close(self) -> None: ...


_NFNL_NFTABLES = 10 << 8
_NEWTABLE, _GETTABLE, _DELTABLE = 0, 1, 2
_NEWCHAIN, _GETCHAIN, _DELCHAIN = 3, 4, 5
_NEWRULE, _GETRULE, _DELRULE = 6, 7, 8
_NEWSET, _GETSET, _DELSET = 9, 10, 11
_NEWSETELEM, _GETSETELEM, _DELSETELEM = 12, 13, 14
_GETGEN = 16
_DESTROYTABLE, _DESTROYSETELEM = 26, 30
_BATCH_BEGIN, _BATCH_END = 16, 17

_SET_INTERVAL, _SET_MAP, _SET_TIMEOUT, _SET_EVAL, _SET_CONCAT = 0x4, 0x8, 0x10, 0x20, 0x80
_VERDICT_TYPE = 0xFFFFFF00
_ELEMENT_INTERVAL_END = 1

_ELEMENTS_BYTES = 64_000
"""An attribute's length has 16 bits: more elements go into further messages of the same batch."""

_HEAD = struct.Struct(">BBH")
_LITTLE = sys.byteorder == "little"
_DONTWAIT = socket.MSG_DONTWAIT
_SET_COUNT = 20
_DUMP_ATTEMPTS = 100
_DUMP_PAUSE_SECONDS = 0.01


class Encoded(NamedTuple):
    """One message of a batch, without its header, and the operation that it is (part) of."""

    kind: int
    flags: int
    body: bytes
    operation: Operation


def encode(transaction: Transaction) -> Iterator[Encoded]:
    """The messages of a transaction, in order."""
    head = _HEAD.pack(transaction.family, 0, 0)
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


class KernelNftables:
    """The kernel's nftables of a namespace (None: the caller's). Not for several threads at once."""

    def __init__(self, namespace: str | None = None) -> None:
        self.netlink = Netlink(NETFILTER, namespace=namespace)
        grow_receive_buffer(self.netlink.socket, 4 << 20)
        self._room = 0

    def close(self) -> None:
        self.netlink.close()

    def commit(self, transaction: Transaction) -> None:
        """See Nftables. Without CAP_NET_ADMIN in the first user namespace the send buffer is bounded by
        net.core.wmem_max; a transaction larger than that is sent in several batches, each whole in itself.
        """
        encoded = list(encode(transaction))
        size = sum(len(entry.body) + 20 for entry in encoded) + 64
        if size * 2 > self._room:
            self._room = grow_send_buffer(self.netlink.socket, max(size * 2, 1 << 20))
        limit = max(self._room // 2, 1 << 16)
        for batch in batches(encoded, limit):
            self._send(batch)

    def _send(self, batch: Sequence[Encoded]) -> None:
        """One batch in one datagram. The last message asks for an acknowledgement, so an answer always comes."""
        parts = [message(_BATCH_BEGIN, _HEAD.pack(0, 0, 10), flags=REQUEST, sequence=0)]
        for sequence, entry in enumerate(batch, 1):
            flags = entry.flags | REQUEST | (ACK if sequence == len(batch) else 0)
            parts.append(message(_NFNL_NFTABLES | entry.kind, entry.body, flags=flags, sequence=sequence))
        parts.append(message(_BATCH_END, _HEAD.pack(0, 0, 10), flags=REQUEST, sequence=len(batch) + 1))
        self._drain()
        self.netlink.socket.send(b"".join(parts))
        self._hear(batch)

    def _drain(self) -> None:
        """Throw away what a batch before this one left unread."""
        while True:
            try:
                self.netlink.socket.recv(1 << 16, _DONTWAIT)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise

    def _hear(self, batch: Sequence[Encoded]) -> None:
        """Raise the first error of the batch; return on the acknowledgement."""
        answered = False
        while True:
            try:
                data = self.netlink.socket.recv(1 << 18, _DONTWAIT)
            except BlockingIOError:
                break
            for reply in messages(data):
                if reply.type == ERROR:
                    _raise(reply, batch)
                    answered = True
        if not answered:
            raise Refused(errno.ENOBUFS, "nftables transaction: the kernel's answer was lost")

    def generation(self) -> int:
        reply = self.netlink.get(_NFNL_NFTABLES | _GETGEN, _HEAD.pack(0, 0, 0), attempt="get generation")
        return int.from_bytes(attributes(reply.body, _HEAD.size)[1], "big")

    def comment(self, family: int, table: str) -> str | None:
        body = _HEAD.pack(family, 0, 0) + text(1, table)
        try:
            reply = self.netlink.get(_NFNL_NFTABLES | _GETTABLE, body, attempt=f"get table {table}")
        except FileNotFoundError:
            return None
        data = attributes(reply.body, _HEAD.size).get(6, b"")
        return data[2 : 2 + data[1]].rstrip(b"\0").decode() if len(data) > 2 and data[0] == 0 else ""

    def chains(self, family: int, table: str) -> Mapping[str, int]:
        found = dict.fromkeys(self._names(_GETCHAIN, family, table, 3), 0)
        for name in self._names(_GETRULE, family, table, 2):
            found[name] = found.get(name, 0) + 1
        return found

    def sets(self, family: int, table: str) -> frozenset[str]:
        return frozenset(self._names(_GETSET, family, table, 2))

    def elements(self, family: int, table: str, name: str) -> Mapping[bytes, Data]:
        """See Nftables. A hash that has just grown is moved to larger buckets in the background, and a dump meanwhile
        misses elements (6.18: 91,870 of 100,000 seen), so it is repeated until it holds as many as the kernel counts.
        May take as long as that moving: call it in a thread.
        """
        before = -1
        for _ in range(_DUMP_ATTEMPTS):
            wanted = self._count(family, table, name)
            found = self._dump_elements(family, table, name)
            if len(found) >= wanted >= 0 or (wanted < 0 and len(found) == before):
                return found
            before = len(found)
            time.sleep(_DUMP_PAUSE_SECONDS)
        raise OSError(errno.EAGAIN, f"list elements of {table} {name}: kept changing while it was read")

    def _count(self, family: int, table: str, name: str) -> int:
        """How many elements the kernel counts in a set; -1 where it does not say (before Linux 6.15)."""
        body = _HEAD.pack(family, 0, 0) + text(1, table) + text(2, name)
        reply = self.netlink.get(_NFNL_NFTABLES | _GETSET, body, attempt=f"list elements of {table} {name}")
        count = attributes(reply.body, _HEAD.size).get(_SET_COUNT)
        return int.from_bytes(count, "big") if count else -1

    def _dump_elements(self, family: int, table: str, name: str) -> Mapping[bytes, Data]:
        body = _HEAD.pack(family, 0, 0) + text(1, table) + text(2, name)
        found: dict[bytes, Data] = {}
        for entry in self.netlink.dump(_NFNL_NFTABLES | _GETSETELEM, body, attempt=f"list elements of {table} {name}"):
            found.update(read_elements(attributes(entry.body, _HEAD.size).get(3, b"")))
        return found

    def _names(self, kind: int, family: int, table: str, which: int) -> list[str]:
        body = _HEAD.pack(family, 0, 0) + text(1, table)
        found = []
        for entry in self.netlink.dump(_NFNL_NFTABLES | kind, body, attempt=f"list {table}"):
            values = attributes(entry.body, _HEAD.size)
            if entry.body[0] == family and string(values.get(1, b"")) == table:
                found.append(string(values[which]))
        return found


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


def _raise(reply: Message, batch: Sequence[Encoded]) -> None:
    (code,) = struct.unpack_from("=i", reply.body)
    if code == 0:
        return
    operation = batch[reply.sequence - 1].operation if 1 <= reply.sequence <= len(batch) else None
    detail = explain(reply)
    words = f"{describe(operation)}: {os.strerror(-code)}" + (f" ({detail})" if detail else "")
    raise Refused(-code, words, operation)


def describe(operation: Operation | None) -> str:
    """An operation in a few words, for errors."""
    match operation:
        case None:
            return "commit"
        case AddElements(name, elements):
            return f"add {len(elements)} elements to {name} ({_some(elements)})"
        case DeleteElements(name, keys):
            return f"delete {len(keys)} elements of {name} ({_some(keys)})"
        case AddSet(new):
            return f"add set {new.name}"
        case AddRule(chain):
            return f"add rule to {chain}"
    return str(operation)


def _some(keys: Iterable[bytes]) -> str:
    return ", ".join(key.hex() for key in islice(keys, 3))
