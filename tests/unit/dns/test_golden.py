"""Every rule as question and answer: of the pure functions, and asked of the live server over UDP and TCP."""

import dns.asyncquery
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import pytest

from pybernetes.dns.config import DnsConfig
from pybernetes.dns.message import read, reply
from pybernetes.dns.question import Answer, Rules
from pybernetes.dns.rows import service_row, slice_row
from pybernetes.dns.snapshot import Snapshot
from pybernetes.dns.table import Table
from support.dns_cluster import GOLDEN, NAMES, REVERSE, SERVICE_OBJECTS, SLICE_OBJECTS, Case

from .conftest import Serve


def cluster() -> Table:
    snapshot = Snapshot()
    for name in NAMES:
        snapshot.put_namespace(name)
    for obj in SERVICE_OBJECTS:
        snapshot.put_service(service_row(obj))
    for obj in SLICE_OBJECTS:
        snapshot.put_slice(slice_row(obj))
    return Table(snapshot, Rules.of(DnsConfig(listen=("127.0.0.1",), reverse_ranges=REVERSE)))


def check(case: Case, message: dns.message.Message) -> None:
    assert dns.rcode.to_text(message.rcode()) == case.rcode
    assert message.flags & dns.flags.AA
    answers = [f"{dns.rdatatype.to_text(s.rdtype)} {r}" for s in message.answer for r in s]
    assert sorted(answers) == sorted(case.answers)
    extra = [f"{s.name} {dns.rdatatype.to_text(s.rdtype)} {r}" for s in message.additional for r in s]
    assert sorted(extra) == sorted(case.extra)
    if case.answers:
        assert not message.authority
        assert message.answer[0].name == message.question[0].name
    else:
        (authority,) = message.authority
        assert authority.rdtype == dns.rdatatype.SOA
        assert message.question[0].name.is_subdomain(authority.name)


@pytest.mark.parametrize("case", GOLDEN, ids=lambda case: f"{case.name}-{case.type}")
def test_rules(case: Case) -> None:
    table = cluster()
    asked = dns.message.make_query(case.name, case.type)
    query = read(asked.to_wire())
    for _ in range(2):  # the second time from the table
        entry = table.find(query)
        assert entry is not None
        assert not isinstance(entry, Answer)
        message = dns.message.from_wire(reply(query, table.body(entry), size=1232))
        assert message.question == asked.question
        check(case, message)


@pytest.mark.parametrize("edns", [False, 0])
async def test_live(serve: Serve, edns: int | bool) -> None:
    async with serve() as server:
        for case in GOLDEN * 2:
            asked = dns.message.make_query(case.name, case.type, use_edns=edns)
            tcp = await dns.asyncquery.tcp(asked, "127.0.0.1", port=server.server.port, timeout=5)
            check(case, tcp)
            udp = await dns.asyncquery.udp(asked, "127.0.0.1", port=server.server.port, timeout=5)
            check(case, udp)
            assert udp.edns == (-1 if edns is False else 0)
        assert server.resolver.panics == 0
