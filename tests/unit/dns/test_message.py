import dns.flags
import dns.message
import dns.rcode
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pybernetes.dns.message import Body, Odd, Query, body_of, read, reply
from pybernetes.dns.names import name_of
from pybernetes.dns.question import AAAA, CNAME, SRV, A, Answer, Question, Rcode, Record, Srv


def asked(name: str, kind: str = "A", **fields: object) -> Query:
    return read(dns.message.make_query(name, kind, **fields).to_wire())  # type: ignore[arg-type]


def many(count: int) -> Answer:
    return Answer(Rcode.NOERROR, tuple(Record(None, A, 5, bytes([10, 0, n >> 8, n & 255])) for n in range(count)))


def body(query: Query, answer: Answer) -> Body:
    return body_of(query.question, answer, wire_length=len(query.wire), ttl=5, serial=7)


def test_read() -> None:
    query = asked("Www.Example.COM", "AAAA", use_edns=0, payload=1400, want_dnssec=True)
    assert query.question == Question(name_of("www.example.com"), AAAA, 1)
    assert b"Example" in query.wire
    assert query.edns == (1400, 0, True)
    assert query.limit == 1400


@given(st.binary(max_size=100))
def test_read_anything(data: bytes) -> None:
    try:
        query = read(data)
    except Odd:
        return
    assert query.wire == data[12 : 12 + len(query.wire)]


def test_limits() -> None:
    plain, small, large = asked("a"), asked("a", use_edns=0, payload=100), asked("a", use_edns=0, payload=65000)
    assert (plain.limit, small.limit, large.limit) == (512, 512, 4096)
    assert plain._replace(udp=False).limit == 65535


@pytest.mark.parametrize("size", [512, 600, 1232, 4096])
def test_truncation(size: int) -> None:
    query = asked("db.default.svc.cluster.local", use_edns=0 if size > 512 else False, payload=size)
    packet = reply(query, body(query, many(300)), size=1232)
    size = min(size, 1232)
    assert len(packet) <= size
    message = dns.message.from_wire(packet, raise_on_truncation=False)
    assert message.flags & dns.flags.TC
    assert size - len(packet) < 16, "as many records as fit"
    assert len(message.answer[0]) == (len(packet) - 12 - len(query.wire) - (11 if query.edns else 0)) // 16


def test_not_truncated_over_tcp() -> None:
    query = asked("db.default.svc.cluster.local")._replace(udp=False)
    message = dns.message.from_wire(reply(query, body(query, many(300)), size=1232))
    assert len(message.answer[0]) == 300


def test_case_is_the_askers() -> None:
    query = asked("wEb.DeFault.svc.cLuster.local")
    answer = Answer(Rcode.NXDOMAIN, zone=2)
    message = dns.message.from_wire(reply(query, body(query, answer), size=1232))
    assert message.question[0].name.to_text() == "wEb.DeFault.svc.cLuster.local."
    assert message.authority[0].name.to_text() == "cLuster.local."
    assert message.authority[0][0].mname.to_text() == "ns.dns.cLuster.local."


def test_flags() -> None:
    request = dns.message.make_query("a.cluster.local", "A", flags=dns.flags.from_text("RD CD AD"))
    query = read(request.to_wire())
    message = dns.message.from_wire(reply(query, body(query, many(1)), size=1232))
    assert dns.flags.to_text(message.flags) == "QR AA RD RA CD"


def test_extended_rcode() -> None:
    query = asked("a", use_edns=1)
    message = dns.message.from_wire(reply(query, Body(Rcode.BADVERS, flags=0), size=1232))
    assert message.rcode() == dns.rcode.BADVERS
    assert message.edns == 0


labels = st.text("abcdefghij-", min_size=1, max_size=20)
names = st.lists(labels, min_size=1, max_size=5).map(tuple)
addresses = st.binary(min_size=4, max_size=4)


@given(names, st.lists(st.tuples(names, addresses), min_size=1, max_size=8), st.booleans())
def test_compression_is_read_back(
    name: tuple[str, ...], targets: list[tuple[tuple[str, ...], bytes]], srv: bool
) -> None:
    """Whatever points at whatever, dnspython reads the records that were meant."""
    query = asked(".".join(name), "SRV")._replace(udp=False)
    kind = SRV if srv else CNAME
    records = tuple(Record(None, kind, 5, Srv(0, 1, 80, t) if srv else t) for t, _ in targets)
    extra = tuple(Record(t, A, 5, address) for t, address in targets)
    answer = Answer(Rcode.NOERROR, records, extra, zone=0)
    message = dns.message.from_wire(reply(query, body(query, answer), size=1232), one_rr_per_rrset=True)
    shown = [s[0].to_text().split()[-1] for s in message.answer if s.rdtype == kind]
    assert sorted(shown) == sorted(".".join(t) + "." for t, _ in targets)
    assert [s.name.to_text() for s in message.additional] == [".".join(t) + "." for t, _ in targets]
