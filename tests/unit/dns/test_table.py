"""The table never says anything but what the rules would say now, whatever has changed in which order."""

import itertools

import dns.message
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pybernetes.api.objects import Key
from pybernetes.dns import table as table_module
from pybernetes.dns.message import Query, read, reply
from pybernetes.dns.names import reverse_name, text_of
from pybernetes.dns.question import Answer, Rcode, Record, Rules
from pybernetes.dns.rows import Endpoint, Port, Service, Slice
from pybernetes.dns.snapshot import Snapshot, Token
from pybernetes.dns.table import Entry, Table, rotations

RULES = Rules(domain=("cluster", "local"))
KEYS = [Key(namespace, name) for namespace in ("one", "two") for name in ("a", "b")]
ADDRESSES = [bytes([10, 0, 0, n]) for n in range(4)]
PORTS = (Port("http", "tcp", 80), Port("", "tcp", 9))


def query(name: str, kind: str) -> Query:
    return read(dns.message.make_query(name, kind).to_wire(), udp=False)


QUERIES = [
    query(f"{prefix}{key.name}.{key.namespace}.svc.cluster.local", kind)
    for key in KEYS
    for prefix in ("", "_http._tcp.", "e0.", "10-0-0-1.")
    for kind in ("A", "AAAA", "SRV", "TXT")
] + [query(text_of(reverse_name(address)), "PTR") for address in ADDRESSES]
QUERIES += [query(f"{name}.svc.cluster.local", "A") for name in ("one", "two", "x.y.z.one")]

services = st.builds(
    Service,
    st.sampled_from(KEYS),
    headless=st.booleans(),
    external=st.sampled_from(["", "", "", "b.two.svc.cluster.local", "\u0101"]),
    addresses=st.lists(st.sampled_from(ADDRESSES), max_size=2, unique=True).map(tuple),
    ports=st.sampled_from([PORTS, PORTS[:1]]),
)
slices = st.builds(
    Slice,
    st.builds(Key, st.sampled_from(["one", "two"]), st.sampled_from(["s1", "s2"])),
    st.sampled_from(KEYS),
    st.lists(st.builds(Endpoint, st.sampled_from(ADDRESSES), st.sampled_from(["e0", "10-0-0-1"])), max_size=3).map(
        tuple
    ),
    st.just(PORTS[:1]),
)
changes = st.one_of(
    st.tuples(st.just("put_service"), services),
    st.tuples(st.just("drop_service"), st.sampled_from(KEYS)),
    st.tuples(st.just("put_slice"), slices),
    st.tuples(st.just("drop_slice"), st.builds(Key, st.sampled_from(["one", "two"]), st.sampled_from(["s1", "s2"]))),
    st.tuples(st.just("put_namespace"), st.sampled_from(["one", "two"])),
    st.tuples(st.just("drop_namespace"), st.sampled_from(["one", "two"])),
)


def say(table: Table, asked: Query) -> bytes | None:
    entry = table.find(asked)
    if entry is None:
        return None
    assert isinstance(entry, Entry)
    # a rotation may stand anywhere: compare what it is made of
    body = table.body(entry)
    cuts = [0, *body.ends]
    records = sorted(body.tail[a:b] for a, b in itertools.pairwise(cuts))
    return bytes([entry.rcode, *body.counts]) + b"".join(records)


@settings(max_examples=150, deadline=None)
@given(st.lists(changes, max_size=12))
def test_never_stale(script: list[tuple[str, object]]) -> None:
    snapshot = Snapshot()
    kept = Table(snapshot, RULES)
    for method, argument in script:
        touched: set[Token] = getattr(snapshot, method)(argument)
        kept.forget(touched)
        fresh = Table(snapshot, RULES)
        for asked in QUERIES:
            assert say(kept, asked) == say(fresh, asked), (method, argument, asked.question)
    assert set(snapshot.cluster_ips) == {a for s in snapshot.services.values() for a in s.addresses}
    rows = [row for held in snapshot.slices.values() for row in held.values()]
    assert set(snapshot.endpoint_ips) == {e.address for row in rows for e in row.endpoints}


def test_denials_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_module, "_NEGATIVES", 50)
    snapshot = Snapshot()
    snapshot.put_namespace("one")
    snapshot.put_service(Service(KEYS[0], addresses=(ADDRESSES[0],), ports=PORTS))
    table = Table(snapshot, RULES)
    there = query("a.one.svc.cluster.local", "A")
    table.find(there)
    for n in range(500):
        table.find(query(f"x{n}.one.svc.cluster.local", "A"))
        assert len(table.entries) <= 51
    assert there.wire.lower() in table.entries


def test_unusual_types_are_not_kept() -> None:
    snapshot = Snapshot()
    snapshot.put_namespace("one")
    table = Table(snapshot, RULES)
    for kind in range(1, 2000):
        asked = query("one.svc.cluster.local", f"TYPE{kind}")
        assert table.find(asked) is not None
    assert len(table.entries) < 10


def test_the_serial_is_the_newest_also_in_kept_denials() -> None:
    snapshot = Snapshot()
    snapshot.put_namespace("one")
    table = Table(snapshot, RULES)
    asked = query("none.one.svc.cluster.local", "A")
    for serial in (100, 200):
        table.changed(serial)
        entry = table.find(asked)
        assert isinstance(entry, Entry)
        message = dns.message.from_wire(reply(asked, table.body(entry), size=1232))
        assert message.authority[0][0].serial == serial


def test_rotations() -> None:
    records = tuple(Record(None, 1, 5, bytes([10, 0, 0, n])) for n in range(20))
    turned = rotations(Answer(Rcode.NOERROR, records))
    assert len(turned) == 8
    assert len({one.records[0] for one in turned}) == 8
    assert all(sorted(one.records) == sorted(records) for one in turned)
    assert rotations(Answer(Rcode.NOERROR, records[:1])) == [Answer(Rcode.NOERROR, records[:1])]
