"""Replies from outside: checked against what was asked, cut free of their OPT record, aged as time goes by.

The records stay the bytes they came as. Their names point into the question and into each other, and both stay where
they were, whatever case the next asker writes the question in.
"""

from struct import Struct
from typing import NamedTuple

from .message import AD, HEADER, QR, TC, Body, Query, uncased
from .names import BadName, Name, wire_of
from .question import AAAA, CNAME, IN, OPT, SOA, A, Rcode, Record

_RR = Struct("!HHIH")


class BadReply(ValueError):
    """Bytes that are no reply to the question."""


class Walked(NamedTuple):
    """Where one record lies: its owner's offset, type, class, ttl's offset, data's offset, and its end."""

    start: int
    type: int
    cls: int
    ttl_at: int
    data_at: int
    end: int


class Reply(NamedTuple):
    """An upstream's reply, ready to be passed on. Offsets of TTLs are within the tail."""

    body: Body
    ttls: tuple[int, ...]
    truncated: bool
    lasting: int
    """Seconds until the first record (of a denial: its SOA) runs out; 0 when there is none to tell."""

    @property
    def denial(self) -> bool:
        return self.body.rcode == Rcode.NXDOMAIN or not self.body.counts[0]


def aged(reply: Reply, seconds: int) -> Reply:
    """The reply with its TTLs `seconds` lower, never below zero."""
    if not seconds:
        return reply
    body = reply.body
    tail = bytearray(body.tail)
    for at in reply.ttls:
        left = max(0, int.from_bytes(tail[at : at + 4]) - seconds)
        tail[at : at + 4] = left.to_bytes(4)
    return reply._replace(body=Body(body.rcode, bytes(tail), body.ends, body.counts, body.flags))


def lasting(reply: Reply, seconds: int) -> Reply:
    """The reply with the same TTL for all its records."""
    body = reply.body
    tail = bytearray(body.tail)
    for at in reply.ttls:
        tail[at : at + 4] = seconds.to_bytes(4)
    return reply._replace(body=Body(body.rcode, bytes(tail), body.ends, body.counts, body.flags))


def recased(reply: Reply, *, asked: bytes, wanted: bytes) -> Reply:
    """The reply with the asker's upper and lower case in owners that repeat the question's name, or its end, in full.

    Most upstreams point into the question instead, whose case is each asker's own. `asked` and `wanted` are question
    sections that differ in case only.
    """
    body = reply.body
    tail = bytearray(body.tail)
    name, own = asked[:-4], wanted[:-4]
    for start in (0, *body.ends[:-1]):
        end = start
        while end < len(tail) and 0 < tail[end] < 64:
            end += 1 + tail[end]
        length = end + 1 - start
        if end < len(tail) and tail[end] == 0 and 1 < length <= len(name) and tail[start : end + 1] == name[-length:]:
            tail[start : end + 1] = own[-length:]
    return reply._replace(body=Body(body.rcode, bytes(tail), body.ends, body.counts, body.flags))


def read_reply(data: bytes, query: Query, *, id: bytes) -> Reply:
    """The reply in a packet; raises BadReply when it is not one to this question."""
    if len(data) < 12 or data[:2] != id:
        raise BadReply("another id")
    _, flags, questions, *sections = HEADER.unpack_from(data)
    wire = query.wire
    if not flags & QR or flags & 0x7800 or questions != 1 or uncased(data[12 : 12 + len(wire)]) != uncased(wire):
        raise BadReply("not a reply to the question")
    try:
        records = _walk(data, 12 + len(wire), sum(sections))
    except (IndexError, BadName) as error:
        raise BadReply(f"malformed: {error}") from None
    return _trimmed(data, 12 + len(wire), records, (flags, *sections))


def _walk(data: bytes, at: int, count: int) -> list[Walked]:
    records = []
    for _ in range(count):
        start = at
        at = _skip_name(data, at)
        if at + 10 > len(data):
            raise IndexError("record cut off")
        kind, cls, _, length = _RR.unpack_from(data, at)
        end = at + 10 + length
        if end > len(data):
            raise IndexError("record data cut off")
        records.append(Walked(start, kind, cls, at + 4, at + 10, end))
        at = end
    return records


def _skip_name(data: bytes, at: int) -> int:
    while length := data[at]:
        if length >= 0xC0:
            return at + 2
        if length > 63:
            raise BadName("extended label")
        at += 1 + length
    return at + 1


def _trimmed(data: bytes, start: int, records: list[Walked], header: tuple[int, ...]) -> Reply:
    """Without OPT, which is each hop's own, and without what follows it, since names there may have moved."""
    flags, answers, authority, _ = header
    rcode = flags & 15
    stop = next((at for at, record in enumerate(records) if record.type == OPT), len(records))
    if stop < len(records):
        rcode |= data[records[stop].ttl_at] << 4
    kept = records[:stop]
    end = kept[-1].end if kept else start
    counts = (
        min(answers, len(kept)),
        min(authority, max(0, len(kept) - answers)),
        max(0, len(kept) - answers - authority),
    )
    ends = tuple(record.end - start for record in kept)
    body = Body(rcode, data[start:end], ends, counts, flags & AD)
    ttls = tuple(record.ttl_at - start for record in kept)
    return Reply(body, ttls, bool(flags & TC), _lasting(data, kept, counts))


def _lasting(data: bytes, records: list[Walked], counts: tuple[int, int, int]) -> int:
    said = [int.from_bytes(data[one.ttl_at : one.ttl_at + 4]) for one in records[: counts[0] + counts[1]]]
    if not counts[0]:  # RFC 2308: a denial lasts as its SOA says
        said += [
            int.from_bytes(data[one.end - 4 : one.end])
            for one in records[: counts[1]]
            if one.type == SOA and one.end - one.data_at >= 20
        ]
    return min((ttl for ttl in said if ttl < 1 << 31), default=0)


def addresses(body: Body, query: Query) -> list[Record]:
    """The CNAME and address records of the answer, with their names written out, to be put in another answer.

    Raises BadReply when their names make no sense.
    """
    data = bytes(12) + query.wire + body.tail
    try:
        walked = _walk(data, 12 + len(query.wire), body.counts[0])
        return [_written_out(data, record) for record in walked if _wanted(record)]
    except (IndexError, BadName) as error:
        raise BadReply(f"malformed: {error}") from None


def start_of_authority(body: Body, query: Query) -> Record | None:
    """The SOA of a denial, its names written out; None without one. Raises BadReply when its names make no sense."""
    data = bytes(12) + query.wire + body.tail
    answers, authority, _ = body.counts
    try:
        walked = _walk(data, 12 + len(query.wire), answers + authority)[answers:]
        for one in walked:
            if one.type == SOA and one.cls == IN and one.end - one.data_at >= 22:
                second = _skip_name(data, one.data_at)
                if one.end - _skip_name(data, second) != 20:
                    raise BadName("SOA of another length")
                names = wire_of(expand(data, one.data_at)) + wire_of(expand(data, second))
                ttl = int.from_bytes(data[one.ttl_at : one.ttl_at + 4])
                return Record(expand(data, one.start), SOA, ttl, names + data[one.end - 20 : one.end])
    except (IndexError, BadName) as error:
        raise BadReply(f"malformed: {error}") from None
    return None


def _wanted(record: Walked) -> bool:
    length = record.end - record.data_at
    return record.cls == IN and (record.type == CNAME or (record.type, length) in ((A, 4), (AAAA, 16)))


def _written_out(data: bytes, record: Walked) -> Record:
    ttl = int.from_bytes(data[record.ttl_at : record.ttl_at + 4])
    owner = expand(data, record.start)
    if record.type == CNAME:
        return Record(owner, CNAME, ttl, expand(data, record.data_at))
    return Record(owner, record.type, ttl, data[record.data_at : record.end])


def expand(data: bytes, at: int) -> Name:
    """The name at an offset with its compression undone; raises BadName for circles, cuts and excess."""
    labels: list[str] = []
    room = 255
    while True:
        try:
            length = data[at]
            if length >= 0xC0:
                target = (length & 0x3F) << 8 | data[at + 1]
                if target >= at:
                    raise BadName("pointer forward")
                at = target
                continue
        except IndexError:
            raise BadName("name cut off") from None
        label = data[at + 1 : at + 1 + length]
        room -= length + 1
        if length > 63 or len(label) < length or room < 0:
            raise BadName("bad label")
        if not length:
            return tuple(labels)
        labels.append(label.lower().decode("latin-1"))
        at += 1 + length
