"""DNS messages as bytes (RFC 1035, RFC 6891): reading a question, and writing the reply to it.

A reply is the asker's id, a header, the question exactly as asked (0x20 clients compare it), and a tail of records.
The tail refers to the question by compression pointers, so it repeats the asker's upper and lower case, and can be made
once and sent to everybody who asks the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from struct import Struct
from typing import NamedTuple

from .names import BadName, Name, read_name, wire_of
from .question import OPT, SOA, TXT, Answer, Question, Rcode, Record, Srv

HEADER = Struct("!HHHHHH")
_RR = Struct("!HHIH")
_SRV = Struct("!HHH")
_SOA = Struct("!IIIII")
QR, AA, TC, RD, RA, AD, CD = 0x8000, 0x0400, 0x0200, 0x0100, 0x0080, 0x0020, 0x0010
DO = 0x8000
SMALLEST = 512
LARGEST = 4096
_TCP_LARGEST = 65535
_POINTER_LIMIT = 0x3FFF
_AT_QUESTION = b"\xc0\x0c"


class Odd(Exception):
    """A packet that the plain reader does not read; odd.py has a look at it."""


class Edns(NamedTuple):
    size: int
    version: int
    dnssec: bool


class Query(NamedTuple):
    """One question as it came."""

    id: bytes
    flags: int
    wire: bytes
    """The question section as asked: name, type, class."""
    question: Question
    edns: Edns | None = None
    udp: bool = True
    client: str = ""
    """The asker's address; "" when it does not matter who asks."""

    @property
    def limit(self) -> int:
        """The longest reply the asker takes."""
        if not self.udp:
            return _TCP_LARGEST
        return min(LARGEST, max(SMALLEST, self.edns.size)) if self.edns else SMALLEST


@dataclass(frozen=True, slots=True)
class Body:
    """A reply but for id, flags of the asker, question and OPT."""

    rcode: int
    tail: bytes = b""
    ends: tuple[int, ...] = ()
    """Where in the tail each record ends, for cutting."""
    counts: tuple[int, int, int] = (0, 0, 0)
    """Records in the answer, authority and additional section."""
    flags: int = AA


def read(data: bytes, *, udp: bool = True) -> Query:
    """The query in a packet. Raises Odd for everything but one uncompressed question with at most one OPT record."""
    if len(data) < 17:
        raise Odd("short")
    _, flags, questions, answers, authority, additional = HEADER.unpack_from(data)
    if flags & 0xF800 or questions != 1 or answers or authority or additional > 1:
        raise Odd("not a plain query")
    try:
        name, end = read_name(data, 12)
    except BadName as error:
        raise Odd(str(error)) from None
    if len(data) < end + 4:
        raise Odd("question cut off")
    kind, cls = int.from_bytes(data[end : end + 2]), int.from_bytes(data[end + 2 : end + 4])
    edns = None
    if additional:
        edns = _read_opt(data, end + 4)
    elif len(data) != end + 4:
        raise Odd("trailing bytes")
    return Query(data[:2], flags, data[12 : end + 4], Question(name, kind, cls), edns, udp)


def _read_opt(data: bytes, at: int) -> Edns:
    if len(data) < at + 11 or data[at : at + 3] != b"\0\0\x29":
        raise Odd("additional record is not OPT")
    size, _extended, version, flags, length = Struct("!HBBHH").unpack_from(data, at + 3)
    if len(data) != at + 11 + length:
        raise Odd("OPT of another length")
    _walk_options(data, at + 11)
    return Edns(size, version, bool(flags & DO))


def _walk_options(data: bytes, at: int) -> None:
    """See that the options, which are all passed over, fill their record."""
    while at < len(data):
        at += 4 + int.from_bytes(data[at + 2 : at + 4])
    if at != len(data):
        raise Odd("option of another length")


def opt(*, size: int, rcode: int = 0, dnssec: bool = False) -> bytes:
    """An OPT record."""
    return b"\0" + _RR.pack(OPT, size, (rcode >> 4) << 24 | (DO if dnssec else 0), 0)


def reply(query: Query, body: Body, *, size: int, recursion: bool = True) -> bytes:
    """The packet that answers a query; cut, with TC, to the asker's limit.

    `size` is what we announce and the longest answer over UDP: longer ones would come in fragments, which get lost or
    are forged, and make a small question in somebody else's name worth its while.
    """
    end = b""
    if query.edns:
        end = opt(size=size, rcode=body.rcode, dnssec=query.edns.dnssec)
    flags = QR | body.flags | query.flags & (RD | CD) | (RA if recursion else 0) | body.rcode & 15
    tail, counts = body.tail, body.counts
    most = min(query.limit, max(SMALLEST, size)) if query.udp else query.limit
    room = most - 12 - len(query.wire) - len(end)
    if len(tail) > room:
        flags |= TC
        tail, counts = cut(tail, body.ends, counts, room)
    answers, authority, additional = counts
    header = HEADER.pack(0, flags, 1, answers, authority, additional + bool(end))
    return query.id + header[2:] + query.wire + tail + end


def cut(
    tail: bytes, ends: Sequence[int], counts: tuple[int, int, int], room: int
) -> tuple[bytes, tuple[int, int, int]]:
    """As many whole records as fit, from the front. Pointers only point backwards, so what stays is whole."""
    kept = sum(1 for end in ends if end <= room)
    answers = min(kept, counts[0])
    authority = min(kept - answers, counts[1])
    return tail[: ends[kept - 1] if kept else 0], (answers, authority, kept - answers - authority)


def uncased(question: bytes) -> bytes:
    """A question section without regard to case, which its name has: type 65 (HTTPS) is no capital of type 97."""
    return question[:-4].lower() + question[-4:]


def error(data: bytes, rcode: int) -> bytes:
    """A bare header with an error, for packets (of twelve bytes or more) whose question is not repeated."""
    flags = QR | int.from_bytes(data[2:4]) & (0x7800 | RD | CD) | rcode & 15
    return data[:2] + HEADER.pack(0, flags, 0, 0, 0, 0)[2:]


class Encoder:
    """Records into a tail that follows a question of a given name. Names point at what is already there."""

    def __init__(self, name: Name, question_length: int) -> None:
        """`question_length` counts the question section's bytes; the header's twelve come before it."""
        self._base = 12 + question_length
        self._tail = bytearray()
        self._seen: dict[Name, int] = {}
        self._ends: list[int] = []
        self._name = name
        at = 12
        for cut_at, label in enumerate(name):
            self._seen.setdefault(name[cut_at:], at)
            at += len(label) + 1

    def __len__(self) -> int:
        """Bytes of the records so far."""
        return len(self._tail)

    def add(self, record: Record) -> None:
        owner = _AT_QUESTION if record.owner is None else self._pointed(record.owner, len(self._tail))
        start = len(self._tail) + len(owner)
        self._tail += owner
        data = self._data(record, start + 10)
        self._tail += _RR.pack(record.type, 1, record.ttl, len(data))
        self._tail += data
        self._ends.append(len(self._tail))

    def soa(self, zone: int, *, ttl: int, serial: int) -> None:
        """The SOA of the zone that is the last `zone` labels of the question."""
        self._tail += soa(self._at(self._name[len(self._name) - zone :]), ttl=ttl, serial=serial)
        self._ends.append(len(self._tail))

    def body(self, rcode: int, counts: tuple[int, int, int], *, flags: int = AA) -> Body:
        return Body(rcode, bytes(self._tail), tuple(self._ends), counts, flags)

    def _at(self, name: Name) -> int:
        return self._seen[name]

    def _data(self, record: Record, at: int) -> bytes:
        data = record.data
        if isinstance(data, Srv):
            # RFC 2782: the target is not compressed; later names may point into it
            self._learn(data.target, at + 6)
            return _SRV.pack(data.priority, data.weight, data.port) + wire_of(data.target)
        if isinstance(data, bytes):
            return bytes([len(data)]) + data if record.type == TXT else data
        return self._pointed(data, at)

    def _pointed(self, name: Name, at: int) -> bytes:
        """The name at an offset of the tail, compressed."""
        parts = []
        for index, label in enumerate(name):
            place = self._seen.get(name[index:])
            if place is not None:
                parts.append((0xC000 | place).to_bytes(2))
                break
            parts.append(bytes([len(label)]) + label.encode("latin-1"))
        else:
            parts.append(b"\0")
        self._learn(name, at)
        return b"".join(parts)

    def _learn(self, name: Name, at: int) -> None:
        at += self._base
        for index, label in enumerate(name):
            if name[index:] in self._seen or at > _POINTER_LIMIT:
                return
            self._seen[name[index:]] = at
            at += len(label) + 1


def soa(zone_at: int, *, ttl: int, serial: int) -> bytes:
    """An SOA record whose zone is at an offset of the message. The figures are CoreDNS'."""
    zone = (0xC000 | zone_at).to_bytes(2)
    data = b"\x02ns\x03dns" + zone + b"\x0ahostmaster" + zone + _SOA.pack(serial, 7200, 1800, 86400, ttl)
    return zone + _RR.pack(SOA, 1, min(ttl, 300), len(data)) + data


def zone_offset(name: Name, zone: int) -> int:
    """Where in a message the zone (the last `zone` labels of the question) begins."""
    return 12 + sum(len(label) + 1 for label in name[: len(name) - zone])


def body_of(question: Question, answer: Answer, *, wire_length: int, ttl: int, serial: int) -> Body:
    """The answer of the rules in wire form."""
    encoder = Encoder(question.name, wire_length)
    for record in (*answer.records, *answer.extra):
        encoder.add(record)
    if answer.rcode == Rcode.REFUSED:
        return encoder.body(answer.rcode, (0, 0, 0), flags=0)
    if answer.soa:
        encoder.soa(answer.zone, ttl=ttl, serial=serial)
        return encoder.body(answer.rcode, (1, 0, 0))
    if not answer.records:
        encoder.soa(answer.zone, ttl=ttl, serial=serial)
        return encoder.body(answer.rcode, (0, 1, 0))
    return encoder.body(answer.rcode, (len(answer.records), 0, len(answer.extra)))
