import dns.message
import dns.rrset
import pytest

from pybernetes.dns.cache import AnswerCache
from pybernetes.dns.foreign import BadReply, Reply, read_reply
from pybernetes.dns.message import Query, read, reply


def make(name: str = "www.example.com", **fields: object) -> Query:
    return read(dns.message.make_query(name, "A", **fields).to_wire())  # type: ignore[arg-type]


def given(query: Query, *, ttl: int = 60, rcode: int = 0, denial: bool = False) -> Reply:
    """What an upstream would have said."""
    asked = dns.message.from_wire(packet(query))
    message = dns.message.make_response(asked)
    message.set_rcode(rcode)
    if denial:
        soa = dns.rrset.from_text("example.com.", 900, "IN", "SOA", f"ns. me. 1 2 3 4 {ttl}")
        message.authority.append(soa)
    elif not rcode:
        message.answer.append(dns.rrset.from_text(asked.question[0].name, ttl, "IN", "A", "192.0.2.1", "192.0.2.2"))
    return read_reply(message.to_wire(), query, id=query.id)


def cache(**fields: int) -> AnswerCache:
    return AnswerCache(**({"entries": 3, "seconds": 3600, "denial_seconds": 1800, "least_seconds": 5} | fields))


def test_ages() -> None:
    kept, query = cache(), make()
    kept.put(query, given(query, ttl=60), now=100.0)
    found = kept.get(query, now=110.5)
    assert found is not None
    message = dns.message.from_wire(reply(query, found.body, size=1232))
    assert message.answer[0].ttl == 50
    assert len(message.answer[0]) == 2
    assert kept.get(query, now=160.0) is None
    assert (kept.hits["success"], kept.misses) == (1, 1)


def test_another_case_is_the_same_name() -> None:
    kept, query = cache(), make("www.example.com")
    kept.put(query, given(query), now=0.0)
    other = make("WWW.example.COM")
    found = kept.get(other, now=1.0)
    assert found is not None
    assert dns.message.from_wire(reply(other, found.body, size=1232)).answer[0].name.to_text() == "WWW.example.COM."
    assert kept.get(make("www.example.com", use_edns=0, want_dnssec=True), now=1.0) is None


def test_types_have_no_case() -> None:
    """65 is HTTPS, and 97 nobody's: who asks for the one must not put words into the mouth of the other."""
    kept = cache()
    nobody = read(dns.message.make_query("www.example.com", "TYPE97").to_wire())
    https = read(dns.message.make_query("www.example.com", "HTTPS").to_wire())
    kept.put(nobody, given(nobody, denial=True), now=0.0)
    assert kept.get(https, now=1.0) is None
    with pytest.raises(BadReply):
        read_reply(dns.message.make_response(dns.message.from_wire(packet(nobody))).to_wire(), https, id=nobody.id)


def packet(query: Query) -> bytes:
    return query.id + query.flags.to_bytes(2) + b"\0\1\0\0\0\0\0\0" + query.wire


@pytest.mark.parametrize(
    ("fields", "lasts"),
    [
        ({"ttl": 100}, 100),
        ({"ttl": 0}, 5),
        ({"ttl": 999999}, 3600),
        ({"ttl": 30, "denial": True}, 30),
        ({"ttl": 5000, "denial": True}, 900),
        ({"ttl": 40, "denial": True, "rcode": 3}, 40),
        ({"rcode": 3}, 5),
        ({"rcode": 2}, 5),
        ({"rcode": 5}, 0),
    ],
)
def test_lasting(fields: dict[str, int], lasts: int) -> None:
    kept, query = cache(), make()
    kept.put(query, given(query, **fields), now=0.0)  # type: ignore[arg-type]
    assert (kept.get(query, now=lasts - 0.1) is not None) == bool(lasts)
    assert kept.get(query, now=lasts) is None


def test_bounded() -> None:
    kept = cache(entries=2)
    for name in ("a.example", "b.example", "a.example", "c.example"):
        query = make(name)
        if kept.get(query, now=0.0) is None:
            kept.put(query, given(query), now=0.0)
    assert len(kept) == 2
    assert kept.get(make("a.example"), now=0.0), "the least recently used one has gone"
    assert kept.get(make("b.example"), now=0.0) is None
    assert kept.evictions == {"success": 1, "denial": 0}


def test_stale_for_a_while() -> None:
    kept, query = cache(stale_seconds=100), make()
    kept.put(query, given(query, ttl=60), now=0.0)
    assert kept.get(query, now=60.0) is None
    old = kept.stale(query, now=159.0)
    assert old is not None
    assert dns.message.from_wire(reply(query, old.body, size=1232)).answer[0].ttl == 30
    kept.put(query, given(query, rcode=2), now=100.0)
    assert kept.stale(query, now=159.0) is not None, "a failure does not take its place"
    assert kept.stale(query, now=160.0) is None
    kept.put(query, given(query, rcode=2), now=160.0)
    assert kept.get(query, now=161.0) is not None
    assert kept.stale(query, now=166.0) is None, "a failure is not served stale"
    assert kept.get(query, now=300.0) is None
    assert len(kept) == 0


def test_popular_answers_are_due_before_they_end() -> None:
    kept, query = cache(), make()
    kept.put(query, given(query, ttl=60), now=0.0)
    assert kept.get(query, now=1.0)
    assert not kept.due(query, now=55.0), "asked for once"
    assert kept.get(query, now=2.0)
    assert not kept.due(query, now=53.0)
    assert kept.due(query, now=55.0)
    assert not kept.due(query, now=56.0), "once"
    assert not kept.due(make("other.example"), now=1.0)
