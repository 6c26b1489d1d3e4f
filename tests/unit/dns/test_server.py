"""The live server on loopback: what a packet may look like, and what comes back."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import dns.asyncquery
import dns.edns
import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pybernetes.api.resources import ENDPOINT_SLICES, SERVICES
from pybernetes.client import Client
from pybernetes.dns import Dns, DnsConfig
from support.dns_cluster import HTTP, endpoint, endpoint_slice, service
from support.fake_api import FakeApi

from .conftest import Serve

WEB = "web.default.svc.cluster.local"


class Asker:
    """A UDP socket that sends bytes and takes one datagram back."""

    def __init__(self, port: int) -> None:
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.setblocking(False)
        self.sock.connect(("127.0.0.1", port))

    async def ask(self, data: bytes, seconds: float = 30.0) -> bytes:
        self.sock.send(data)
        async with asyncio.timeout(seconds):
            return await asyncio.get_running_loop().sock_recv(self.sock, 65535)

    async def silent(self, data: bytes) -> bool:
        """No answer to this comes before the answer to a plain question sent after it."""
        self.sock.send(data)
        follow = dns.message.make_query(WEB, "A", id=0xBEEF)
        return (await self.ask(follow.to_wire()))[:2] == b"\xbe\xef"


@asynccontextmanager
async def asker(server: Dns) -> AsyncIterator[Asker]:
    found = Asker(server.server.port)
    try:
        yield found
    finally:
        found.sock.close()


def query(name: str = WEB, kind: str = "A", **fields: object) -> dns.message.QueryMessage:
    return dns.message.make_query(name, kind, **fields)  # type: ignore[arg-type]


async def test_before_sync_no_name_is_denied(serve: Serve, api: FakeApi) -> None:
    gate = asyncio.Event()

    def hold(request: object) -> None:
        if not gate.is_set():
            raise ConnectionError("the API is away")

    api.fail = hold
    async with serve(wait=False) as server, asker(server) as one:
        reply = dns.message.from_wire(await one.ask(query().to_wire()))
        assert reply.rcode() == dns.rcode.SERVFAIL
        assert not server.synced
        gate.set()
        await asyncio.wait_for(server.ready.wait(), 60)
        assert dns.message.from_wire(await one.ask(query().to_wire())).rcode() == dns.rcode.NOERROR


@pytest.mark.parametrize("fields", [
    {}, {"use_edns": 0, "payload": 512}, {"use_edns": 0, "want_dnssec": True}, {"flags": dns.flags.CD},
    {"use_edns": 0, "options": [dns.edns.GenericOption(10, b"12345678")]}, {"flags": dns.flags.from_text("RD AD")},
])  # fmt: skip
async def test_shapes_of_one_question(serve: Serve, fields: dict[str, object]) -> None:
    async with serve() as server, asker(server) as one:
        asked = query(**fields)
        for _ in range(3):
            reply = dns.message.from_wire(await one.ask(asked.to_wire()))
            assert reply.is_response(asked) or asked.is_response(reply)
            assert [r.address for r in reply.answer[0]] == ["10.96.0.20"]
            assert (reply.edns >= 0) == (asked.edns >= 0)
            assert bool(reply.ednsflags & dns.flags.DO) == bool(asked.ednsflags & dns.flags.DO)


async def test_the_question_comes_back_as_asked(serve: Serve) -> None:
    async with serve() as server, asker(server) as one:
        for name in ("wEb.deFault.svc.Cluster.local", "WEB.default.svc.cluster.LOCAL", "nO.default.svc.clusteR.local"):
            for kind in ("A", "AAAA"):
                wire = query(name, kind).to_wire()
                assert (await one.ask(wire))[12 : len(wire)] == wire[12:]


async def test_addresses_take_turns(serve: Serve) -> None:
    async with serve() as server, asker(server) as one:
        first = set()
        for _ in range(6):
            reply = dns.message.from_wire(await one.ask(query("db.default.svc.cluster.local").to_wire()))
            assert len(reply.answer[0]) == 3
            # dnspython keeps sets in order of the wire
            first.add(reply.answer[0][0].address)
        assert first == {"10.244.1.6", "10.244.1.7", "10.244.9.6"}


async def test_wrong_packets(serve: Serve) -> None:
    async with serve() as server, asker(server) as one:
        update = query()
        update.set_opcode(dns.opcode.UPDATE)
        assert dns.message.from_wire(await one.ask(update.to_wire()), question_only=True).rcode() == dns.rcode.NOTIMP
        none = struct.pack("!HHHHHH", 7, 0x0100, 0, 0, 0, 0)
        assert dns.message.from_wire(await one.ask(none)).rcode() == dns.rcode.SERVFAIL
        two = query().to_wire()
        two = two[:4] + b"\0\x02" + two[6:] + two[12:]
        assert dns.message.from_wire(await one.ask(two)).rcode() == dns.rcode.FORMERR
        cut = query().to_wire()[:-3]
        assert dns.message.from_wire(await one.ask(cut)).rcode() == dns.rcode.FORMERR
        loop = struct.pack("!HHHHHH", 7, 0x0100, 1, 0, 0, 0) + b"\xc0\x0c\0\x01\0\x01"
        assert dns.message.from_wire(await one.ask(loop)).rcode() == dns.rcode.FORMERR
        assert dns.message.from_wire(await one.ask(query(use_edns=3).to_wire())).rcode() == dns.rcode.BADVERS
        chaos = query("version.bind", "TXT", rdclass="CH")
        assert dns.message.from_wire(await one.ask(chaos.to_wire())).rcode() == dns.rcode.REFUSED
        assert dns.message.from_wire(await one.ask(query(kind="AXFR").to_wire())).rcode() == dns.rcode.REFUSED
        assert await one.silent(b"short")
        assert await one.silent(dns.message.make_response(query()).to_wire()), "an answer is never answered"


async def test_odd_but_right_packets(serve: Serve) -> None:
    async with serve() as server, asker(server) as one:
        trailing = query().to_wire() + b"junk"
        reply = dns.message.from_wire(await one.ask(trailing))
        assert [r.address for r in reply.answer[0]] == ["10.96.0.20"]
        uncounted = query(use_edns=0).to_wire()
        uncounted = uncounted[:11] + b"\0" + uncounted[12:]
        for _ in range(2):
            reply = dns.message.from_wire(await one.ask(uncounted))
            assert reply.edns == -1
            assert [r.address for r in reply.answer[0]] == ["10.96.0.20"]
        escaped = query(r"w\000b.default.svc.cluster.local")
        reply = dns.message.from_wire(await one.ask(escaped.to_wire()))
        assert reply.rcode() == dns.rcode.NXDOMAIN
        assert reply.question == escaped.question
        dotted = query(r"10\.244\.7\.7.default.pod.cluster.local")
        assert dns.message.from_wire(await one.ask(dotted.to_wire())).rcode() == dns.rcode.NXDOMAIN


async def test_unknown_names_are_refused_without_an_upstream(serve: Serve) -> None:
    async with serve() as server, asker(server) as one:
        for name in ("www.example.com", ".", "local", "1.2.0.192.in-addr.arpa"):
            reply = dns.message.from_wire(await one.ask(query(name).to_wire()))
            assert reply.rcode() == dns.rcode.REFUSED


async def test_large_answers(serve: Serve, api: FakeApi) -> None:
    many = [endpoint(f"10.244.{n >> 8}.{n & 255}", hostname=f"h-{n}") for n in range(1, 401)]
    api.put(SERVICES, service("big", clusterIP="None", ports=[HTTP]))
    api.put(ENDPOINT_SLICES, endpoint_slice("big-1", "big", many, ports=[HTTP]))
    async with serve() as server, asker(server) as one:
        asked = query("big.default.svc.cluster.local")
        for _ in range(2):
            data = await one.ask(asked.to_wire())
            assert len(data) <= 512
            assert dns.message.from_wire(data, raise_on_truncation=False).flags & dns.flags.TC
        reply = await dns.asyncquery.tcp(asked, "127.0.0.1", port=server.server.port, timeout=30)
        assert len(reply.answer[0]) == 400
        reply = await dns.asyncquery.tcp(query("big.default.svc.cluster.local", "SRV"), "127.0.0.1",
                                         port=server.server.port, timeout=30)  # fmt: skip
        assert len(reply.answer[0]) == 400
        assert len(reply.additional) == 400


async def test_tcp(serve: Serve) -> None:
    async with serve(tcp_idle_seconds=1.0, tcp_connections=2) as server:
        port = server.server.port
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        wire = query().to_wire()
        framed = len(wire).to_bytes(2) + wire
        writer.write(framed * 3 + framed[:5])
        for _ in range(3):
            length = int.from_bytes(await reader.readexactly(2))
            assert dns.message.from_wire(await reader.readexactly(length)).rcode() == dns.rcode.NOERROR
        assert await asyncio.wait_for(reader.read(), 60) == b"", "an idle connection is closed"
        writer.close()
        held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
        reader, surplus = await asyncio.open_connection("127.0.0.1", port)
        assert await asyncio.wait_for(reader.read(), 60) == b""
        for _, other in [*held, (reader, surplus)]:
            other.close()


async def test_stop_leaves_nothing(serve: Serve) -> None:
    async with serve() as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.server.port)
        listeners = server.server.udp
    assert await asyncio.wait_for(reader.read(), 60) == b"", "the open connection has ended"
    writer.close()
    assert [listener.sock.fileno() for listener in listeners] == [-1]
    assert not server.server.started.is_set()


async def test_address_in_use(api: FakeApi) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        server = Dns(Client(api), DnsConfig(listen=("127.0.0.1",), port=taken.getsockname()[1], upstreams=()))
        with pytest.raises(ExceptionGroup) as failure:
            await asyncio.wait_for(server.run(), 60)
        assert "cannot bind 127.0.0.1 port" in str(failure.value.exceptions[0])


async def test_answers_come_from_the_address_asked(serve: Serve) -> None:
    async with serve(listen=("127.0.0.2", "127.0.0.3")) as server:
        for host in ("127.0.0.2", "127.0.0.3"):
            reply = await dns.asyncquery.udp(query(), host, port=server.server.port, timeout=30)
            assert reply.answer


async def test_a_bug_is_an_answer(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serve() as server, asker(server) as one:
        monkeypatch.setattr(server.resolver.table, "find", None)
        reply = dns.message.from_wire(await one.ask(query().to_wire()))
        assert reply.rcode() == dns.rcode.SERVFAIL
        assert server.resolver.panics == 1


@settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(data=st.data())
def test_fuzz(data: st.DataObject, responder: "Fuzzed") -> None:
    """No packet makes the server fail, and no reply is longer than the client takes."""
    packet = data.draw(st.one_of(st.binary(max_size=300), packets()))
    found = responder.answer(packet)
    if found:
        assert found[:2] == packet[:2]
        assert found[2] & 0x80
        dns.message.from_wire(found, raise_on_truncation=False)


@st.composite
def packets(draw: st.DrawFn) -> bytes:
    """Nearly right packets: a real query with some bytes changed, cut or added."""
    name = draw(st.sampled_from([WEB, "x.y", "db.default.svc.cluster.local", r"a\000b.pod.cluster.local"]))
    kind = draw(st.sampled_from(["A", "AAAA", "SRV", "PTR", "ANY", "TXT"]))
    data = bytearray(query(name, kind, use_edns=draw(st.sampled_from([False, 0, 1]))).to_wire())
    for _ in range(draw(st.integers(0, 4))):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    return bytes(data[: draw(st.integers(0, len(data)))] + draw(st.binary(max_size=20)))


class Fuzzed:
    """The responder without sockets."""

    def __init__(self, server: Dns) -> None:
        self.server = server

    def answer(self, packet: bytes) -> bytes:
        found = self.server.server.responder.respond(packet, udp=True)
        assert isinstance(found, bytes), "without upstreams everything is answered at once"
        assert self.server.resolver.panics == 0
        return found


@pytest.fixture
def responder() -> Fuzzed:
    server = Dns(Client(FakeApi()), DnsConfig(upstreams=()))
    server.resolver.ready = True
    return Fuzzed(server)


async def test_who_asks_and_hangs_up_is_no_trouble(serve: Serve) -> None:
    troubles: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: troubles.append(context))
    packet = query().to_wire()
    async with serve(transfer_to=("127.0.0.1",)) as server:

        def knock() -> None:
            with socket.create_connection(("127.0.0.1", server.server.port)) as caller:
                caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # close is a reset
                caller.sendall(len(packet).to_bytes(2) + packet)

        for _ in range(20):
            await asyncio.to_thread(knock)
        async with asyncio.timeout(60):
            while server.server.open_connections:
                await asyncio.sleep(0.005)
        assert (await dns.asyncquery.tcp(query(), "127.0.0.1", port=server.server.port, timeout=30)).answer
    assert not troubles
