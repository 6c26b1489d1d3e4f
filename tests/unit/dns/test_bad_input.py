"""Packets from people who mean no good: what comes back is right or an error, is short, and nothing is left behind."""

import asyncio
import errno
import socket
import struct
from typing import Any

import dns.exception
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pybernetes.api.resources import ENDPOINT_SLICES, SERVICES
from pybernetes.client import Client
from pybernetes.dns import Dns, DnsConfig
from pybernetes.dns.question import Rules
from pybernetes.dns.server import UdpListener
from pybernetes.dns.table import Table
from support.dns_cluster import HTTP, Z, endpoint, endpoint_slice, service
from support.dns_golden import GOLDEN, REVERSE, query_of
from support.fake_api import FakeApi

from .conftest import Serve
from .test_forward import ask, until, upstream
from .test_golden import table
from .test_server import asker, query

WEB = f"web.default.svc.{Z}"


def packet(name: bytes, *, kind: int = 1, cls: int = 1, flags: int = 0x0100, more: bytes = b"", **counts: int) -> bytes:
    """A packet with the bytes of a name."""
    sections = (
        counts.get("questions", 1),
        counts.get("answers", 0),
        counts.get("authority", 0),
        counts.get("extra", 0),
    )
    return struct.pack("!HHHHHH", 0xBEEF, flags, *sections) + name + struct.pack("!HH", kind, cls) + more


def wire(name: str) -> bytes:
    return dns.name.from_text(name).to_wire() or b""


OPT = b"\0\0\x29\x04\xd0\0\0\0\0"
WRONG = {
    "a pointer to itself": packet(b"\xc0\x0c"),
    "a pointer forward": packet(b"\xc0\x20" + bytes(40)),
    "two pointers to each other": packet(b"\xc0\x0e\xc0\x0c"),
    "a pointer into the header": packet(b"\x03web\xc0\x00"),
    "a pointer out of the packet": packet(b"\x03web\xff\xff"),
    "a label of 64 bytes": packet(b"\x40" + b"a" * 64 + b"\0"),
    "an extended label": packet(b"\x41" + b"a" * 65 + b"\0"),
    "a name of 256 bytes": packet((b"\x3f" + b"a" * 63) * 4 + b"\0"),
    "a name without an end": packet(b"")[:12] + b"\x03web",
    "a label cut off": packet(b"")[:12] + b"\x3fweb",
    "no type": packet(b"")[:12] + wire(WEB),
    "two OPT records": packet(wire(WEB), more=(OPT + b"\0\0") * 2, extra=2),
    "OPT longer than the packet": packet(wire(WEB), more=OPT + b"\xff\xff", extra=1),
    "an option longer than OPT": packet(wire(WEB), more=OPT + b"\0\x08\0\x0a\xff\xff\0\0\0\0", extra=1),
    "records that are not there": packet(wire(WEB), extra=7),
    "a million questions": packet(wire(WEB), questions=65535),
    "two questions": packet(wire(WEB), questions=2, more=wire(WEB) + b"\0\1\0\1"),
}


@pytest.mark.parametrize("what", WRONG)
async def test_what_cannot_be_read_is_a_format_error(serve: Serve, what: str) -> None:
    async with serve() as server, asker(server) as one:
        reply = dns.message.from_wire(await one.ask(WRONG[what]))
        assert (reply.id, reply.rcode()) == (0xBEEF, dns.rcode.FORMERR)
        assert not reply.answer
        assert dns.message.from_wire(await one.ask(query().to_wire())).answer
        assert server.resolver.panics == 0


NAMES = {
    rf"w\000eb.default.svc.{Z}": "NXDOMAIN",
    rf"web\000.default.svc.{Z}": "NXDOMAIN",
    rf"\000.{Z}": "NXDOMAIN",
    rf"we\032b.default.svc.{Z}": "NXDOMAIN",
    rf"web\.default.svc.{Z}": "NXDOMAIN",
    rf"web.default\.svc.{Z}": "NXDOMAIN",
    r"web.default.svc\.cluster.local": "REFUSED",
    rf"\255\254.default.svc.{Z}": "NXDOMAIN",
    rf"*.default.svc.{Z}": "NXDOMAIN",
    rf"10-244-7-7\000.default.pod.{Z}": "NXDOMAIN",
    rf"10\0462-4-4.default.pod.{Z}": "NXDOMAIN",
    r"20\0000.96.10.in-addr.arpa": "NXDOMAIN",
    r"\0500.0.96.10.in-addr.arpa": "NOERROR",
    "+20.0.96.10.in-addr.arpa": "NXDOMAIN",
    "020.0.96.10.in-addr.arpa": "NXDOMAIN",
    f"{'a' * 63}.default.svc.{Z}": "NXDOMAIN",
    ".".join(["a" * 49] * 4) + f".default.svc.{Z}": "NXDOMAIN",
}


@pytest.mark.parametrize("name", NAMES, ids=repr)
async def test_every_byte_of_a_name_counts(serve: Serve, name: str) -> None:
    """Also the second time, and it comes back as it was asked."""
    async with serve() as server, asker(server) as one:
        asked = query(name)
        for _ in range(2):
            data = await one.ask(asked.to_wire())
            reply = dns.message.from_wire(data)
            assert dns.rcode.to_text(reply.rcode()) == NAMES[name]
            assert not reply.answer
            assert data[12 : len(asked.to_wire())] == asked.to_wire()[12:]


async def test_a_name_of_any_bytes_goes_upstream_as_it_is(serve: Serve) -> None:
    names = [r"a\.b.example.com.", r"a\000b.example.com.", r"\032\255.example.com."]
    async with upstream() as fake, serve(upstreams=(fake.text,), mixed_case=False) as server:
        for name in names:
            assert (await ask(server, name)).answer
        assert [str(request.question[0].name) for request in fake.asked] == names


@pytest.mark.parametrize("opcode", range(1, 16))
async def test_other_operations_are_not_implemented(serve: Serve, opcode: int) -> None:
    async with serve() as server, asker(server) as one:
        data = await one.ask(packet(wire(WEB), flags=opcode << 11))
        assert (data[2] >> 3 & 15, data[3] & 15) == (opcode, dns.rcode.NOTIMP)


@pytest.mark.parametrize(("kind", "rcode"), [(0, "NOERROR"), (41, "NOERROR"), (249, "NOERROR"), (65535, "NOERROR")])
async def test_unknown_types_have_no_data(serve: Serve, kind: int, rcode: str) -> None:
    async with serve() as server, asker(server) as one:
        reply = dns.message.from_wire(await one.ask(packet(wire(WEB), kind=kind)))
        assert (dns.rcode.to_text(reply.rcode()), bool(reply.authority)) == (rcode, True)


@pytest.mark.parametrize("cls", [0, 2, 3, 4, 254, 255, 65535])
async def test_other_classes_are_refused(serve: Serve, cls: int) -> None:
    async with serve() as server, asker(server) as one:
        for name in (WEB, "www.example.com", f"no.default.svc.{Z}"):
            assert (await one.ask(packet(wire(name), cls=cls)))[3] & 15 == dns.rcode.REFUSED


async def test_edns_of_any_size(serve: Serve) -> None:
    """Options are passed over (no COOKIE comes back), a large record is only long, a later version is told ours."""
    async with serve() as server, asker(server) as one:
        for options in (b"\0\x0a\0\x08" + b"c" * 8, b"\xff\xff\x0b\xb4" + bytes(2996)):
            more = OPT + len(options).to_bytes(2) + options
            reply = dns.message.from_wire(await one.ask(packet(wire(WEB), more=more, extra=1)))
            assert [one.address for one in reply.answer[0]] == ["10.96.0.20"]
            assert (reply.edns, reply.options) == (0, ())
        later = dns.message.from_wire(await one.ask(query(use_edns=1).to_wire()))
        assert (later.rcode(), later.edns) == (dns.rcode.BADVERS, 0)


@pytest.mark.parametrize("payload", [0, 512, 1232, 4096, 65535])
async def test_no_answer_over_udp_is_longer_than_ours_may_be(serve: Serve, api: FakeApi, payload: int) -> None:
    many = [endpoint(f"10.244.{n >> 8}.{n & 255}", hostname=f"h-{n}") for n in range(1, 401)]
    api.put(SERVICES, service("big", clusterIP="None", ports=[HTTP]))
    api.put(ENDPOINT_SLICES, endpoint_slice("big-1", "big", many, ports=[HTTP]))
    async with serve() as server, asker(server) as one:
        for kind in ("A", "SRV", "ANY"):
            for _ in range(2):
                data = await one.ask(query(f"big.default.svc.{Z}", kind, use_edns=0, payload=payload).to_wire())
                assert len(data) <= max(512, min(payload, 1232))


class Fed:
    """A UDP socket that has received packets, and keeps what is sent."""

    family = socket.AF_INET

    def __init__(self, *packets: bytes) -> None:
        self.packets = list(packets)
        self.sent: list[bytes] = []

    def recvfrom(self, size: int) -> tuple[bytes, Any]:
        if not self.packets:
            raise BlockingIOError(errno.EAGAIN, "nothing")
        return self.packets.pop(0)[:size], ("127.0.0.1", 5353)

    def sendto(self, data: bytes, peer: Any) -> None:
        self.sent.append(data)


def offline() -> Dns:
    """A server of the golden cluster without sockets, that knows everything."""
    server = Dns(Client(FakeApi()), DnsConfig(listen=("127.0.0.1",), upstreams=(), reverse_ranges=REVERSE))
    full = table("default")
    for row in list(full.snapshot.services.values()):
        if row.external:
            full.snapshot.drop_service(row.key)  # (nobody is asked)
    server.resolver.table = Table(full.snapshot, Rules.of(server.config))
    server.resolver.ready = True
    return server


def drained(server: Dns, *packets: bytes) -> list[bytes]:
    """What comes out of the UDP loop."""
    fed = Fed(*packets)
    listener = UdpListener(fed, server.server.responder, None, concurrent=0)  # type: ignore[arg-type]
    while fed.packets:
        listener.drain()
    assert server.resolver.panics == 0
    return fed.sent


CORPUS = (
    [query_of(case).to_wire() for case in GOLDEN] + list(WRONG.values()) + [query(name).to_wire() for name in NAMES]
)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A packet of the corpus with bytes changed, cut, doubled, or put in from another one."""
    data = bytearray(draw(st.sampled_from(CORPUS)))
    for _ in range(draw(st.integers(0, 6))):
        at = draw(st.integers(0, len(data)))
        match draw(st.integers(0, 5)):
            case 0 if at < len(data):
                data[at] = draw(st.sampled_from([0, 1, 0x3F, 0x40, 0x80, 0xC0, 0xFF, draw(st.integers(0, 255))]))
            case 1 if at < len(data):
                data[at] ^= 1 << draw(st.integers(0, 7))
            case 2:
                del data[at : at + draw(st.integers(1, 8))]
            case 3:
                data[at:at] = data[at : at + draw(st.integers(1, 16))]
            case 4:
                other = draw(st.sampled_from(CORPUS))
                start = draw(st.integers(0, len(other)))
                data[at:at] = other[start : start + draw(st.integers(1, 40))]
            case _:
                data[at:at] = draw(st.binary(min_size=1, max_size=8))
    return bytes(data[:4096])


@settings(max_examples=1500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=mutated())
def test_fuzzed_packets_get_the_same_answer_fast_and_slow(data: bytes) -> None:
    """The table's answer (the second and third) is that of the rules (the first), and short."""
    server = offline()
    slow = server.server.responder.respond(data, udp=True, client="127.0.0.1")
    assert isinstance(slow, bytes), "nobody is asked"
    fast = drained(server, data, data)
    assert len(fast) == (2 if slow else 0)
    for reply in fast:
        assert comparable(reply) == comparable(slow)
        assert reply[:2] == data[:2]
        assert len(reply) <= 1232
        dns.message.from_wire(reply, raise_on_truncation=False)


def comparable(reply: bytes) -> tuple[bytes, list[int]]:
    """Header, and the bytes in any order, for addresses take turns."""
    cut = reply[2] & 2  # the addresses that fit are others each time
    return (reply[2:6], []) if cut else (reply[2:12], sorted(reply[12:]))


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=mutated())
def test_fuzzed_packets_over_tcp(data: bytes) -> None:
    server = offline()
    reply = server.server.responder.respond(data, udp=False, client="127.0.0.1")
    assert isinstance(reply, bytes)
    if reply:
        dns.message.from_wire(reply)
    assert server.resolver.panics == 0


async def test_tcp_of_all_sorts_leaves_nothing(serve: Serve) -> None:
    """Nothing sent, half a length, lengths that lie, garbage, and a peer that never reads."""
    async with serve(tcp_idle_seconds=0.3, tcp_connections=40) as server:
        port = server.server.port
        frame = len(query().to_wire()).to_bytes(2) + query().to_wire()
        openings = [b"", b"\0", b"\0\0", b"\xff\xff", b"\0\x05short", b"\0\x0c" + bytes(12), frame[:-1], frame]
        for _ in range(4):
            pairs = [await asyncio.open_connection("127.0.0.1", port) for _ in openings]
            for opening, (_, writer) in zip(openings, pairs, strict=True):
                writer.write(opening)
            for reader, writer in pairs:
                async with asyncio.timeout(60):
                    while await reader.read(4096):
                        pass
                writer.close()
        greedy = socket.create_connection(("127.0.0.1", port))
        greedy.setblocking(False)
        try:
            with pytest.raises(ConnectionError):  # noqa: PT012 - it is cut off at some time
                async with asyncio.timeout(60):
                    while True:
                        await asyncio.get_running_loop().sock_sendall(greedy, frame * 100)
        finally:
            greedy.close()
        assert server.resolver.panics == 0
        reply = await ask(server, WEB, tcp=True)
        assert reply.answer
        await until(lambda: server.server.open_connections == 0)


async def test_many_questions_on_one_connection_are_answered_in_order(serve: Serve) -> None:
    async with serve() as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.server.port)
        for id in range(500):
            data = dns.message.make_query(WEB if id % 2 else f"no.default.svc.{Z}", "A", id=id).to_wire()
            writer.write(len(data).to_bytes(2) + data)
        async with asyncio.timeout(60):
            ids = [dns.message.from_wire(await reader.readexactly(int.from_bytes(await reader.readexactly(2)))).id
                   for _ in range(500)]  # fmt: skip
        writer.close()
        assert ids == list(range(500))


async def test_a_reply_from_another_port_is_nobodys(serve: Serve) -> None:
    """Who forges has to send from the upstream's own address and port."""
    async with upstream() as fake, serve(upstreams=(fake.text,)) as server:

        def forge(request: dns.message.Message) -> dns.message.Message:
            from .test_forward import address

            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
                other.bind(("127.0.0.1", 0))
                for port in fake.ports:
                    other.sendto(address(request, "203.0.113.66").to_wire(), ("127.0.0.1", port))
            return address(request)

        fake.answer = forge
        reply = await ask(server, "www.example.com")
        assert [one.address for one in reply.answer[0]] == ["192.0.2.1"]


async def test_forged_replies_over_tcp_are_failures(serve: Serve) -> None:
    """Of another id or question: nothing of them is believed or kept."""

    def wrong(request: dns.message.Message) -> dns.message.Message:
        from .test_forward import address

        return address(dns.message.make_query("other.example.com", "A", id=request.id), "203.0.113.66")

    async with upstream() as fake, serve(upstreams=(f"tcp://{fake.text}",), forward_try_seconds=1.0) as server:
        fake.answer = wrong
        assert (await ask(server, "www.example.com")).rcode() == dns.rcode.SERVFAIL
        assert (await ask(server, "other.example.com")).rcode() != dns.rcode.NXDOMAIN
        assert server.resolver.forwarder.cache.sizes()["success"] == 1, "the one that was asked for"
