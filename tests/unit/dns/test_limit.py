"""The token buckets, and what a client over its limit gets."""

from itertools import pairwise

import dns.asyncquery
import dns.flags
import dns.message
import dns.rcode
from hypothesis import given
from hypothesis import strategies as st

from pybernetes.api.resources import CONFIG_MAPS
from pybernetes.dns import Dns
from pybernetes.dns.limit import Limit, limit_of
from pybernetes.dns.metrics import counters
from support.fake_api import FakeApi

from .conftest import Serve
from .test_forward import ask, until
from .test_server import WEB, asker, query
from .test_settings import config_map


def counted(server: Dns) -> dict[tuple[str, ...], float]:
    families = {one.name: one for one in counters(server.stats, server.resolver, server="x")}
    return dict(families["pybernetes_dns_rate_limited"].values)


def test_a_burst_then_the_rate() -> None:
    limit = Limit(rate=10, burst=3)
    assert [limit.allows("a", now=5.0) for _ in range(5)] == [True, True, True, False, False]
    assert limit.allows("b", now=5.0), "each address has a bucket of its own"
    assert [limit.allows("a", now=5.1) for _ in range(2)] == [True, False]
    assert [limit.allows("a", now=9.0) for _ in range(5)] == [True, True, True, False, False]


def test_without_a_rate_there_is_no_limit() -> None:
    assert limit_of(0, 5) is None
    one = limit_of(2, 0)
    assert one is not None
    assert [one.allows("a", now=0.0) for _ in range(3)] == [True, True, False]


def test_the_addresses_kept_are_bounded_and_the_silent_go_first() -> None:
    limit = Limit(rate=1, burst=1, clients=2)
    assert [limit.allows(client, now=0.0) for client in "abaca"] == [True, True, False, True, False]
    assert len(limit) == 2
    assert limit.allows("b", now=0.0), "forgotten, so it begins anew"


@given(
    st.integers(1, 1000),
    st.integers(1, 100),
    st.lists(st.floats(0, 0.1), max_size=300),
)
def test_never_more_than_burst_and_rate(rate: int, burst: int, gaps: list[float]) -> None:
    limit, now, taken = Limit(rate=rate, burst=burst), 100.0, []
    for gap in gaps:
        now += gap
        if limit.allows("a", now=now):
            taken.append(now)
    for at, start in enumerate(taken):
        within = len(taken) - at
        assert within <= burst + rate * (taken[-1] - start) + 1e-3
    assert all(before <= after for before, after in pairwise(taken))


async def test_over_it_half_is_dropped_and_half_told_to_use_tcp(serve: Serve) -> None:
    async with serve(rate_limit=1, rate_burst=2) as server, asker(server) as one:
        server.server.responder.limit = Stopped(rate=1, burst=2)
        for _ in range(2):
            assert dns.message.from_wire(await one.ask(query().to_wire())).answer
        for edns in (False, 0, False):
            asked = query(use_edns=edns, payload=4096).to_wire()
            one.sock.send(asked)  # dropped
            cut = await one.ask(asked)
            assert len(cut) <= len(asked)
            reply = dns.message.from_wire(cut)
            assert reply.flags & dns.flags.TC
            assert (reply.rcode(), reply.answer, reply.question) == (dns.rcode.NOERROR, [], query().question)
        assert counted(server) == {("dropped",): 3, ("truncated",): 3}
        assert (await ask(server, WEB, tcp=True)).answer, "over TCP nobody is limited"
        turn_away = server.server.responder.turn_away
        assert {turn_away(data) for data in (b"", b"\0" * 11, b"\0" * 40, query().to_wire()[:20]) * 2} == {b""}
        assert turn_away(cut) == turn_away(cut) == b"", "an answer is never answered"


class Stopped(Limit):
    """A limit whose clock stands still."""

    def allows(self, client: str, *, now: float) -> bool:
        return super().allows(client, now=0.0)


async def test_one_client_does_not_cost_another(serve: Serve) -> None:
    async with serve(rate_limit=1, rate_burst=1) as server, asker(server) as one:
        assert await one.ask(query().to_wire())
        port = server.server.port
        reply = await dns.asyncquery.udp(query(), "127.0.0.1", port=port, source="127.0.0.2", timeout=30)
        assert reply.answer


async def test_configured_while_it_serves(serve: Serve, api: FakeApi) -> None:
    async with serve() as server:
        assert server.server.responder.limit is None
        api.put(CONFIG_MAPS, config_map("rateLimit: 50\nrateBurst: 100\n"))
        await until(lambda: server.server.responder.limit is not None)
        kept = server.server.responder.limit
        api.put(CONFIG_MAPS, config_map("rateLimit: 50\nrateBurst: 100\nttl: 9\n"))
        await until(lambda: server.config.ttl == 9)
        assert server.server.responder.limit is kept, "nobody's bucket is filled by another change"
        api.drop(CONFIG_MAPS, "pybernetes-dns", "kube-system")
        await until(lambda: server.server.responder.limit is None)
