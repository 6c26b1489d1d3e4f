"""Whole zones: to whom, what is in them, and that they are of one moment."""

import asyncio
from collections.abc import Iterator

import dns.asyncquery
import dns.flags
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdatatype
import dns.rrset
import dns.xfr
import dns.zone
import pytest

from pybernetes.api.resources import CONFIG_MAPS, ENDPOINT_SLICES, SERVICES
from pybernetes.dns import Dns, DnsConfig
from pybernetes.dns.settings import merged
from pybernetes.dns.transfer import AT_ONCE, Allowed
from support.dns_cluster import HTTP, Z, endpoint, endpoint_slice, service
from support.dns_golden import GOLDEN
from support.fake_api import FakeApi

from .conftest import Serve
from .test_forward import ask, until
from .test_settings import config_map


async def transfer(server: Dns, zone: str = Z, *, source: str = "127.0.0.1") -> dns.zone.Zone:
    """The zone as dnspython takes it in, which checks the order of the messages and the SOAs around."""
    found = dns.zone.Zone(zone, relativize=False)
    query, _ = dns.xfr.make_query(found)
    await dns.asyncquery.inbound_xfr(
        "127.0.0.1", found, query, port=server.server.port, timeout=15, lifetime=30, source=source
    )
    return found


def records(zone: dns.zone.Zone) -> Iterator[tuple[str, str]]:
    for name, ttl, data in zone.iterate_rdatas():
        assert ttl in (5, 28800)
        yield str(name), f"{dns.rdatatype.to_text(data.rdtype)} {data}"


async def test_nobody_has_it_unless_it_is_said(serve: Serve) -> None:
    async with serve() as server:
        with pytest.raises(dns.xfr.TransferError, match="REFUSED"):
            await transfer(server)


async def test_only_those_named_have_it(serve: Serve) -> None:
    async with serve(transfer_to=("127.0.0.2", "192.0.2.0/24")) as server:
        with pytest.raises(dns.xfr.TransferError, match="REFUSED"):
            await transfer(server, source="127.0.0.1")
        assert (await transfer(server, source="127.0.0.2")).nodes


async def test_all_that_would_be_answered_is_in_it(serve: Serve) -> None:
    """Each answer of the golden table but those for names of pods, and of the world."""
    async with serve(transfer_to=("*",)) as server:
        found = set(records(await transfer(server)))
        names = {name for name, _ in found}
        for case in GOLDEN:
            in_zone = case.name.lower().endswith(f".{Z}") and ".pod." not in case.name
            if case.server != "default" or not in_zone or case.type not in ("A", "AAAA", "SRV", "TXT", "CNAME"):
                continue
            name = f"{case.name.lower()}."
            if case.answer and not case.answer[0].startswith("CNAME") and case.name != f"ns.dns.{Z}":
                below = case.type == "A" and case.name.startswith("_")  # port names have SRV records
                wanted = set() if below else {(name, line) for line in case.at("127.0.0.1").answer}
                assert wanted <= found, case
            if case.rcode == "NXDOMAIN":
                assert name not in names, case
        assert (f"outside.default.svc.{Z}.", "CNAME www.example.com.") in found
        assert (f"{Z}.", f"NS kube-dns.kube-system.svc.{Z}.") in found
        assert not [name for name in names if "gone" in name], "its namespace does not exist"


async def test_every_record_is_answered(serve: Serve) -> None:
    async with serve(transfer_to=("*",)) as server:
        for name, text in set(records(await transfer(server))):
            kind, _, data = text.partition(" ")
            if kind == "SOA":
                continue
            reply = await ask(server, name, kind, tcp=True)
            assert data in [str(one) for each in reply.answer for one in each], (name, text)


async def test_a_large_zone_comes_in_several_messages(serve: Serve, api: FakeApi) -> None:
    for n in range(1500):
        address = f"10.97.{n >> 8}.{n & 255}"
        api.put(SERVICES, service(f"s{n}", clusterIP=address, clusterIPs=[address], ports=[HTTP]))
    query = dns.message.make_query(Z, "AXFR")
    async with serve(transfer_to=("127.0.0.1",)) as server:
        found = set(records(await transfer(server)))
        assert len({name for name, _ in found if name.startswith("s") and name[1].isdigit()}) == 1500
        reader, writer = await asyncio.open_connection("127.0.0.1", server.server.port)
        wire = query.to_wire()
        writer.write((len(wire).to_bytes(2) + wire) * 2)  # twice on one connection
        soas, messages = 0, 0
        async with asyncio.timeout(60):
            while soas < 4:
                data = await reader.readexactly(int.from_bytes(await reader.readexactly(2)))
                message = dns.message.from_wire(data, one_rr_per_rrset=True, xfr=True)
                assert message.id == query.id
                assert message.flags & dns.flags.AA
                assert len(data) < 20_000
                messages += 1
                soas += sum(each.rdtype == dns.rdatatype.SOA for each in message.answer)
        writer.close()
        assert messages > 8
        assert server.server.responder.transfers == 0


async def test_it_is_of_one_moment(serve: Serve, api: FakeApi) -> None:
    """A change while it is under way is not in it."""
    async with serve(transfer_to=("127.0.0.1",)) as server:
        responder = server.server.responder
        sent: list[bytes] = []

        async def send(packet: bytes) -> None:
            if not sent:
                api.put(ENDPOINT_SLICES, endpoint_slice("db-1", "db", [endpoint("10.244.77.77")], ports=[HTTP]))
                await until(lambda: b"\x0a\xf4\x4d\x4d" in answered(server))
            sent.append(packet)

        query = dns.message.make_query(Z, "AXFR").to_wire()
        assert await responder.transfer(query, client="127.0.0.1", send=send)
        assert b"\x0a\xf4\x4d\x4d" not in b"".join(sent)


def answered(server: Dns) -> bytes:
    data = dns.message.make_query(f"db.default.svc.{Z}", "A").to_wire()
    found = server.server.responder.respond(data, udp=True)
    assert isinstance(found, bytes)
    return found


async def test_reverse_zones(serve: Serve) -> None:
    async with serve(transfer_to=("127.0.0.1",)) as server:
        found = set(records(await transfer(server, "96.10.in-addr.arpa")))
        assert ("20.0.96.10.in-addr.arpa.", f"PTR web.default.svc.{Z}.") in found
        assert not [text for _, text in found if "db-0" in text]


@pytest.mark.parametrize("name", [f"svc.{Z}", "example.com", f"default.svc.{Z}"])
async def test_what_is_no_zone_of_ours_is_refused(serve: Serve, name: str) -> None:
    async with serve(transfer_to=("*",)) as server:
        with pytest.raises(dns.xfr.TransferError, match="REFUSED"):
            await transfer(server, name)


async def test_over_udp_there_is_none(serve: Serve) -> None:
    async with serve(transfer_to=("*",)) as server:
        for kind in ("AXFR", "IXFR"):
            query = dns.message.make_query(Z, kind)
            if kind == "IXFR":
                query.authority.append(dns.rrset.from_text(f"{Z}.", 0, "IN", "SOA", ". . 1 1 1 1 1"))
            reply = await dns.asyncquery.udp(query, "127.0.0.1", port=server.server.port, timeout=30)
            assert reply.rcode() == dns.rcode.REFUSED


async def test_who_has_the_current_zone_is_told_so(serve: Serve) -> None:
    async with serve(transfer_to=("*",)) as server:
        for serial, current in ((server.snapshot.serial, True), (7, False)):
            query = dns.message.make_query(Z, "IXFR")
            query.authority.append(dns.rrset.from_text(f"{Z}.", 0, "IN", "SOA", f". . {serial} 1 1 1 1"))
            reply = await dns.asyncquery.tcp(
                query, "127.0.0.1", port=server.server.port, timeout=30, one_rr_per_rrset=True
            )
            assert reply.answer[0].rdtype == dns.rdatatype.SOA
            assert (len(reply.answer) == 1) == current


async def test_before_the_cluster_is_known_there_is_none(serve: Serve) -> None:
    async with serve(transfer_to=("*",)) as server:
        server.resolver.ready = False
        with pytest.raises(dns.xfr.TransferError, match="SERVFAIL"):
            await transfer(server)


async def test_so_many_at_once(serve: Serve) -> None:
    async with serve(transfer_to=("*",)) as server:
        server.server.responder.transfers = AT_ONCE
        with pytest.raises(dns.xfr.TransferError, match="SERVFAIL"):
            await transfer(server)


async def test_the_configmap_says_who(serve: Serve, api: FakeApi) -> None:
    async with serve() as server:
        api.put(CONFIG_MAPS, config_map("transferTo: [127.0.0.0/8]"))
        await until(lambda: bool(server.config.transfer_to))
        assert (await transfer(server)).nodes
        api.drop(CONFIG_MAPS, "pybernetes-dns", "kube-system")
        await until(lambda: not server.config.transfer_to)
        with pytest.raises(dns.xfr.TransferError, match="REFUSED"):
            await transfer(server)


@pytest.mark.parametrize("text", ["10.0.0.1/8", "everybody", "10.0.0"])
def test_bad_lists(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        merged(DnsConfig(), config_map(f"transferTo: ['{text}']"))


def test_allowed() -> None:
    assert not Allowed(())
    some = Allowed(("10.0.0.0/8", "fd00::1"))
    assert [some.allows(text) for text in ("10.1.2.3", "11.0.0.1", "fd00::1", "fe80::1%eth0", "")] == [
        True, False, True, False, False,
    ]  # fmt: skip
    assert Allowed(("*",)).allows("192.0.2.1")
