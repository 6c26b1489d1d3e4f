"""Forwarding, with upstreams of our own on loopback."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import cast

import dns.asyncquery
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pybernetes.dns import Dns, DnsConfig
from pybernetes.dns.address import Address, address_of, nameservers
from pybernetes.dns.foreign import BadReply, addresses, aged, expand, read_reply, recased
from pybernetes.dns.forward import Forwarder
from pybernetes.dns.message import read
from pybernetes.dns.sockets import bind
from pybernetes.dns.upstream import mixed

from .conftest import Serve

Reply = Callable[[dns.message.Message], dns.message.Message | None]


def address(request: dns.message.Message, *texts: str, ttl: int = 60) -> dns.message.Message:
    response = dns.message.make_response(request, recursion_available=True)
    response.answer.append(dns.rrset.from_text(request.question[0].name, ttl, "IN", "A", *(texts or ("192.0.2.1",))))
    return response


class Fake(asyncio.DatagramProtocol):
    """An upstream: `answer` makes the reply; over TCP always the whole one, over UDP cut when it is `large`."""

    def __init__(self) -> None:
        self.answer: Reply = address
        self.asked: list[dns.message.Message] = []
        self.tcp = 0
        self.ports: set[int] = set()
        self.transport: asyncio.DatagramTransport
        self.port = 0
        self.kept: list[tuple[bytes, tuple[str, int]]] | None = None
        """Replies over UDP that wait for `give`, once this is a list."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.DatagramTransport", transport)
        self.port = transport.get_extra_info("sockname")[1]

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        request = dns.message.from_wire(data)
        self.asked.append(request)
        self.ports.add(addr[1])
        response = self.answer(request)
        if response is not None:
            wire = response.to_wire(max_size=65535)
            if len(wire) > 1232:
                cut = dns.message.make_response(request)
                cut.flags |= dns.flags.TC
                wire = cut.to_wire()
            if self.kept is None:
                self.transport.sendto(wire, addr)
            else:
                self.kept.append((wire, addr))

    def give(self) -> None:
        """Send what was kept; from now on nothing is."""
        kept, self.kept = self.kept or [], None
        for wire, addr in kept:
            self.transport.sendto(wire, addr)

    async def stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.tcp += 1
        request = dns.message.from_wire(await reader.readexactly(int.from_bytes(await reader.readexactly(2))))
        response = self.answer(request)
        assert response is not None
        wire = response.to_wire(max_size=65535)
        writer.write(len(wire).to_bytes(2) + wire)
        await writer.drain()
        writer.close()

    @property
    def text(self) -> str:
        return f"127.0.0.1:{self.port}"


@asynccontextmanager
async def upstream() -> AsyncIterator[Fake]:
    loop = asyncio.get_running_loop()
    udp, tcp = bind("127.0.0.1", 0)
    _, fake = await loop.create_datagram_endpoint(Fake, sock=udp)
    server = await asyncio.start_server(fake.stream, sock=tcp)
    try:
        yield fake
    finally:
        fake.transport.close()
        server.close()
        await server.wait_closed()
        await asyncio.sleep(0)  # the transport closes its socket in the loop's next turn


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.005)


async def ask(server: Dns, name: str, kind: str = "A", *, tcp: bool = False, **fields: object) -> dns.message.Message:
    query = dns.message.make_query(name, kind, **fields)  # type: ignore[arg-type]
    port = server.server.port
    if tcp:
        return await dns.asyncquery.tcp(query, "127.0.0.1", port=port, timeout=30)
    return await dns.asyncquery.udp(query, "127.0.0.1", port=port, timeout=30)


async def test_forwarded_then_cached(serve: Serve) -> None:
    async with upstream() as fake, serve(upstreams=(fake.text,)) as server:
        for _ in range(3):
            reply = await ask(server, "wWw.example.com", use_edns=0)
            assert [r.address for r in reply.answer[0]] == ["192.0.2.1"]
            assert reply.flags & dns.flags.RA
            assert not reply.flags & dns.flags.AA
        assert len(fake.asked) == 1
        assert fake.asked[0].question[0].name == dns.name.from_text("www.example.com.")


async def test_asked_once_for_all(serve: Serve) -> None:
    async with upstream() as fake, serve(upstreams=(fake.text,)) as server:
        fake.kept = []
        asked = [asyncio.create_task(ask(server, "www.example.com")) for _ in range(20)]
        await until(lambda: server.server.responder.waiting == 20)
        fake.give()
        replies = await asyncio.gather(*asked)
        assert all(reply.answer for reply in replies)
        assert len(fake.asked) == 1


async def test_ids_and_ports_vary(serve: Serve) -> None:
    async with upstream() as fake, serve(upstreams=(fake.text,)) as server:
        for n in range(12):
            await ask(server, f"n{n}.example.com")
        assert len({request.id for request in fake.asked}) > 10
        assert len(fake.ports) > 8


async def test_names_of_the_cluster_never_leave(serve: Serve) -> None:
    async with upstream() as fake, serve(upstreams=(fake.text,)) as server:
        for name in ("no.default.svc.cluster.local", "x.cluster.local", "cluster.local", "7.77.96.10.in-addr.arpa"):
            await ask(server, name)
            await ask(server, name, "MX")
        assert not fake.asked
        await ask(server, "1.2.0.192.in-addr.arpa", "PTR")
        assert len(fake.asked) == 1


async def test_denials_pass_and_are_cached(serve: Serve) -> None:
    def deny(request: dns.message.Message) -> dns.message.Message:
        response = dns.message.make_response(request)
        response.set_rcode(dns.rcode.NXDOMAIN)
        response.authority.append(dns.rrset.from_text("example.com.", 60, "IN", "SOA", "ns. me. 1 2 3 4 60"))
        return response

    async with upstream() as fake, serve(upstreams=(fake.text,)) as server:
        fake.answer = deny
        for _ in range(2):
            reply = await ask(server, "no.example.com")
            assert reply.rcode() == dns.rcode.NXDOMAIN
            assert reply.authority
        assert len(fake.asked) == 1


async def test_cut_answers_are_fetched_whole(serve: Serve) -> None:
    async with upstream() as fake, serve(upstreams=(fake.text,)) as server:
        fake.answer = lambda request: address(request, *(f"192.0.2.{n}" for n in range(200)))
        reply = await ask(server, "big.example.com", tcp=True)
        assert len(reply.answer[0]) == 200
        assert fake.tcp == 1
        port = server.server.port
        query = dns.message.make_query("big.example.com", "A")
        cut = await dns.asyncquery.udp(query, "127.0.0.1", port=port, timeout=30)
        assert cut.flags & dns.flags.TC
        assert len(fake.asked) == 1


async def test_the_next_upstream_steps_in(serve: Serve) -> None:
    async with upstream() as good, upstream() as bad:
        bad.answer = lambda request: None
        fields = {"upstreams": (bad.text, good.text), "forward_try_seconds": 2.0, "health_seconds": 60.0}
        async with serve(**fields) as server:
            for n in range(8):
                assert (await ask(server, f"n{n}.example.com")).answer
            assert len(bad.asked) == 2, "after two failures it is left alone, but for the health check"
            assert [u.down for u in server.resolver.forwarder.upstreams] == [True, False]
            bad.answer = address
            forwarder = server.resolver.forwarder
            for one in forwarder.upstreams:
                one.next_probe = 0.0
            forwarder.upstreams[1].fails = 9
            assert (await ask(server, "again.example.com")).answer


async def test_refusals_are_second_best(serve: Serve) -> None:
    def refuse(request: dns.message.Message) -> dns.message.Message:
        response = dns.message.make_response(request)
        response.set_rcode(dns.rcode.REFUSED)
        return response

    async with upstream() as good, upstream() as bad, serve(upstreams=(bad.text, good.text)) as server:
        bad.answer = refuse
        for n in range(4):
            assert (await ask(server, f"n{n}.example.com")).answer
        good.answer = refuse
        assert (await ask(server, "last.example.com")).rcode() == dns.rcode.REFUSED


async def test_dead_upstreams_fail_fast(serve: Serve) -> None:
    async with upstream() as fake:
        text = fake.text
    async with serve(upstreams=(text,), forward_try_seconds=0.2) as server:
        forwarder = server.resolver.forwarder
        forwarder.clock = lambda: 100.0
        for n in range(20):
            assert (await ask(server, f"n{n}.example.com")).rcode() == dns.rcode.SERVFAIL
        assert forwarder.upstreams[0].requests == 2, "then it is left alone, but for a probe a second"


async def test_what_held_before_is_given_when_nobody_replies(serve: Serve) -> None:
    now = 1000.0
    async with upstream() as fake, serve(upstreams=(fake.text,), max_fails=100) as server:
        forwarder = server.resolver.forwarder
        forwarder.clock = lambda: now
        assert (await ask(server, "www.example.com")).answer[0].ttl == 60
        fake.answer = lambda _: None
        forwarder.configure(replace(forwarder.config, forward_try_seconds=0.1))
        now += 61
        for _ in range(2):
            reply = await ask(server, "www.example.com")
            assert (reply.rcode(), reply.answer[0].ttl) == (dns.rcode.NOERROR, 30)
        assert (await ask(server, "other.example.com")).rcode() == dns.rcode.SERVFAIL
        now += server.config.stale_seconds
        assert (await ask(server, "www.example.com")).rcode() == dns.rcode.SERVFAIL
        fake.answer = address
        assert (await ask(server, "www.example.com")).answer[0].ttl == 60


async def test_nobody_waits_long_for_what_held_before(serve: Serve) -> None:
    now = 1000.0
    async with upstream() as fake, serve(upstreams=(fake.text,), stale_wait_seconds=0.02) as server:
        server.resolver.forwarder.clock = lambda: now
        await ask(server, "www.example.com")
        now += 61
        fake.kept = []
        assert (await ask(server, "www.example.com")).answer[0].ttl == 30
        fake.give()
        async with asyncio.timeout(60):
            while server.resolver.forwarder.cache.get(read(dns.message.make_query("www.example.com", "A").to_wire()),
                                                      now=now) is None:  # fmt: skip
                await asyncio.sleep(0.01)
        assert (await ask(server, "www.example.com")).answer[0].ttl == 60
        assert len(fake.asked) == 2


async def test_popular_answers_are_asked_anew_in_time(serve: Serve) -> None:
    now = 1000.0
    async with upstream() as fake, serve(upstreams=(fake.text,)) as server:
        server.resolver.forwarder.clock = lambda: now
        for _ in range(3):
            await ask(server, "www.example.com")
        now += 55
        fake.kept = []
        for _ in range(10):  # while it is asked anew
            assert (await ask(server, "www.example.com")).answer[0].ttl == 5
        fake.give()
        async with asyncio.timeout(60):
            while (await ask(server, "www.example.com")).answer[0].ttl != 60:
                await asyncio.sleep(0.005)
        assert (len(fake.asked), server.resolver.forwarder.prefetches) == (2, 1)


async def test_forgeries_are_passed_over(serve: Serve) -> None:
    def forge(request: dns.message.Message) -> dns.message.Message:
        wrong = address(request, "203.0.113.66")
        wrong.id = request.id ^ 1
        fake.transport.sendto(wrong.to_wire(), peer())
        other = dns.message.make_query("other.example.com", "A", id=request.id)
        fake.transport.sendto(address(other, "203.0.113.66").to_wire(), peer())
        fake.transport.sendto(b"\0" * 5, peer())
        return address(request)

    def peer() -> tuple[str, int]:
        return "127.0.0.1", next(iter(fake.ports))

    async with upstream() as fake, serve(upstreams=(fake.text,)) as server:
        fake.answer = forge
        reply = await ask(server, "www.example.com")
        assert [r.address for r in reply.answer[0]] == ["192.0.2.1"]


def lowered(request: dns.message.Message) -> dns.message.Message:
    """A reply to the question as some write it: all in lower case."""
    wire = request.to_wire()
    end = wire.index(0, 12)
    return address(dns.message.from_wire(wire[:12] + wire[12:end].lower() + wire[end:]), "203.0.113.66")


async def test_each_question_goes_out_in_a_case_of_its_own(serve: Serve) -> None:
    name = "a-name-with-many-letters.example.com."
    async with upstream() as fake, serve(upstreams=(fake.text,), cache_entries=0) as server:
        for _ in range(6):
            reply = await ask(server, name)
            assert {rrset.name.to_text() for rrset in (*reply.question, *reply.answer)} == {name}
        asked = {request.question[0].name.to_text() for request in fake.asked}
        assert len(asked) > 3
        assert {text.lower() for text in asked} == {name}


async def test_a_reply_in_another_case_is_asked_again_over_tcp(serve: Serve) -> None:
    async with upstream() as fake, serve(upstreams=(fake.text,)) as server:
        fake.answer = lambda request: address(request) if fake.tcp else lowered(request)
        reply = await ask(server, "a-name-with-many-letters.example.com")
        assert [r.address for r in reply.answer[0]] == ["192.0.2.1"]
        assert (fake.tcp, server.resolver.forwarder.upstreams[0].doubts) == (1, 1)


async def test_names_as_they_are_asked_for_when_so_configured(serve: Serve) -> None:
    async with upstream() as fake, serve(upstreams=(fake.text,), mixed_case=False) as server:
        await ask(server, "a-Name-with-many-letters.example.com")
        assert fake.asked[0].question[0].name.to_text() == "a-Name-with-many-letters.example.com."


async def test_who_guesses_often_gets_no_further_try(serve: Serve) -> None:
    def guess(request: dns.message.Message) -> dns.message.Message:
        if not fake.tcp:
            for n in range(1, 40):
                wrong = address(request, "203.0.113.66")
                wrong.id = request.id ^ n
                fake.transport.sendto(wrong.to_wire(), ("127.0.0.1", next(iter(fake.ports))))
        return address(request)

    async with upstream() as fake, serve(upstreams=(fake.text,)) as server:
        fake.answer = guess
        assert [r.address for r in (await ask(server, "www.example.com")).answer[0]] == ["192.0.2.1"]
        assert (fake.tcp, server.resolver.forwarder.upstreams[0].doubts) == (1, 1)


def test_owners_written_in_full_get_the_case_of_the_asker() -> None:
    request = dns.message.make_query("wWw.eXample.com", "A")
    query = read(request.to_wire())
    asked = query._replace(wire=mixed(query.wire, (1 << 200) - 1))
    assert asked.wire[:17] == b"\x03WwW\x07ExAMPLE\x03COM\0"
    owner, rest = asked.wire[:-4], b"\0\x01\0\x01\0\0\0\x3c\0\x04\xc0\0\x02\x01"
    records = owner + rest + owner[4:] + rest + b"\x05other\0" + rest + b"\xc0\x0c" + rest
    wire = query.id + b"\x81\x80\0\1\0\4\0\0\0\0" + asked.wire + records
    reply = read_reply(wire, asked, id=query.id)
    tail = recased(reply, asked=asked.wire, wanted=query.wire).body.tail
    own = query.wire[:-4]
    assert tail == own + rest + own[4:] + rest + b"\x05other\0" + rest + b"\xc0\x0c" + rest


@given(st.lists(st.binary(min_size=1, max_size=63), max_size=3), st.integers(0, 1 << 2000))
def test_mixing_changes_letters_only(labels: list[bytes], bits: int) -> None:
    wire = b"".join(bytes([len(label)]) + label for label in labels) + b"\0\0\x41\0\1"
    found = mixed(wire, bits)
    assert found[-4:] == wire[-4:]
    assert found.lower() == wire.lower()
    assert [a for a, b in zip(found, wire, strict=True) if a != b and not chr(a).isalpha()] == []


async def test_external_names_are_chased(serve: Serve) -> None:
    async with upstream() as fake, serve(upstreams=(fake.text,)) as server:
        for _ in range(2):
            reply = await ask(server, "Outside.default.svc.cluster.local")
            assert [s.to_text().split(" ", 1)[1] for s in reply.answer] == [
                "5 IN CNAME www.example.com.",
                "60 IN A 192.0.2.1",
            ]
            assert reply.answer[1].name.to_text() == "www.example.com."
        assert len(fake.asked) == 1
        fake.answer = lambda request: None
    async with serve(upstreams=()) as server:
        reply = await ask(server, "outside.default.svc.cluster.local")
        assert reply.rcode() == dns.rcode.NOERROR
        assert not reply.answer
        assert reply.authority


async def test_an_external_name_leads_to_what_somebody_wrote_down_too(serve: Serve) -> None:
    async with upstream() as fake, serve(upstreams=(fake.text,), hosts={"192.0.2.77": ("www.example.com",)}) as server:
        reply = await ask(server, "outside.default.svc.cluster.local")
        assert [s.to_text() for s in reply.answer] == [
            "outside.default.svc.cluster.local. 5 IN CNAME www.example.com.",
            "www.example.com. 5 IN A 192.0.2.77",
        ]
        assert not fake.asked


async def test_resolv_conf_is_followed(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    path.write_text("search x\nnameserver 127.0.0.1\nnameserver nonsense\nnameserver 192.0.2.53\n")
    async with serve(upstreams=None, resolv_conf=str(path)) as server:
        forwarder = server.resolver.forwarder
        assert [str(u.address) for u in forwarder.upstreams] == ["127.0.0.1:53", "192.0.2.53:53"]
        kept = forwarder.upstreams[1]
        path.write_text("nameserver 192.0.2.53\n")
        forwarder.look()
        assert forwarder.upstreams == [kept]
        path.unlink()
        forwarder.look()
        assert forwarder.upstreams == []
        assert (await ask(server, "www.example.com")).rcode() == dns.rcode.REFUSED


def test_never_asks_itself() -> None:
    config = DnsConfig(listen=("10.96.0.10", "fd00::a"), upstreams=("10.96.0.10:53", "[fd00:0::a]:53", "10.96.0.10:54"))
    forwarder = Forwarder(config, clock=lambda: 0.0)
    assert [str(u.address) for u in forwarder.upstreams] == ["10.96.0.10:54"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("192.0.2.1", Address("192.0.2.1", 53)),
        ("192.0.2.1:5300", Address("192.0.2.1", 5300)),
        ("fd00::1", Address("fd00::1", 53)),
        ("[fd00::1]:54", Address("fd00::1", 54)),
        ("[fd00::1]", Address("fd00::1", 53)),
        ("udp://192.0.2.1", Address("192.0.2.1")),
        ("dns://[fd00::1]:54", Address("fd00::1", 54)),
        ("tcp://192.0.2.1", Address("192.0.2.1", 53, "tcp")),
        ("tls://192.0.2.1", Address("192.0.2.1", 853, "tls")),
        ("tls://[fd00::1]:8853#dns.example.", Address("fd00::1", 8853, "tls", "dns.example")),
    ],
)
def test_address(text: str, found: Address) -> None:
    assert address_of(text) == found
    assert address_of(str(found)) == found._replace(transport="udp", server_name="")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "example.com",
        "192.0.2.1:x",
        "192.0.2.1:0",
        "[fd00::1",
        "1.2.3",
        "[fd00::1]53",
        "https://192.0.2.1",
        "192.0.2.1#dns.example",
        "tls://192.0.2.1#",
        "tls://192.0.2.1#a..b" + "c" * 64,
    ],
)
def test_no_address(text: str) -> None:
    with pytest.raises(ValueError):
        print(address_of(text))


def test_nameservers() -> None:
    text = "# x\nnameserver 192.0.2.1\nnameserver\nnameserver fe80::1%eth0\noptions ndots:5\n"
    assert nameservers(text) == [Address("192.0.2.1"), Address("fe80::1%eth0")]


def test_malformed_replies() -> None:
    request = dns.message.make_query("www.example.com", "A")
    query = read(request.to_wire())
    wire = address(request).to_wire()
    assert read_reply(wire, query, id=query.id).body.counts == (1, 0, 0)
    for length in range(len(wire)):
        with pytest.raises(BadReply):
            read_reply(wire[:length], query, id=query.id)
    with pytest.raises(ValueError):
        expand(b"\xc0\x00", 0)


@given(st.data())
def test_fuzzed_replies(data: st.DataObject) -> None:
    """A reply with some bytes changed is taken or left, and never anything else."""
    request = dns.message.make_query("www.example.com", "A", id=7)
    response = address(request, "192.0.2.1", "192.0.2.2")
    response.answer.insert(0, dns.rrset.from_text("www.example.com.", 5, "IN", "CNAME", "x.www.example.com."))
    response.use_edns(0)
    query = read(request.to_wire())
    wire = bytearray(response.to_wire())
    for _ in range(data.draw(st.integers(0, 4))):
        wire[data.draw(st.integers(2, len(wire) - 1))] = data.draw(st.integers(0, 255))
    try:
        reply = read_reply(bytes(wire), query, id=query.id)
        aged(reply, 3)
        addresses(reply.body, query)
    except BadReply:
        return
    assert len(reply.ttls) == sum(reply.body.counts) == len(reply.body.ends)
