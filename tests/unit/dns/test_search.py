"""Search lists walked on the server: one question of a pod, one of ours, and never another answer than its own."""

import asyncio
from pathlib import Path
from typing import Any

import dns.asyncquery
import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest

from pybernetes.api.resources import PODS
from pybernetes.dns import Dns
from pybernetes.dns.rows import pod_row
from pybernetes.dns.snapshot import Snapshot
from support.dns_cluster import Z
from support.fake_api import FakeApi

from .conftest import Serve
from .test_forward import address, until, upstream

FIRST = f"default.svc.{Z}"
SOA = "ns.example.com. host.example.com. 7 7200 900 1209600 60"


def client(namespace: str = "default", *, ip: str = "127.0.0.1", node: str = "n1", **spec: Any) -> dict[str, Any]:
    """A pod that asks from loopback, as the tests do."""
    return {
        "metadata": {"name": "client", "namespace": namespace},
        "spec": {"nodeName": node, "dnsPolicy": "ClusterFirst", **spec},
        "status": {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}]},
    }


async def ask(server: Dns, name: str, kind: str = "A", *, tcp: bool = False, **options: Any) -> dns.message.Message:
    query = dns.message.make_query(name, kind, **options)
    if tcp:
        return await dns.asyncquery.tcp(query, "127.0.0.1", port=server.server.port, timeout=30)
    return await dns.asyncquery.udp(query, "127.0.0.1", port=server.server.port, timeout=30)


def lines(reply: dns.message.Message) -> list[str]:
    return [f"{rrset.name} {record.rdtype.name} {record}" for rrset in reply.answer for record in rrset]


def world(request: dns.message.Message) -> dns.message.Message:
    """www.example.com has an IPv4 address; nothing else is there."""
    response = dns.message.make_response(request, recursion_available=True)
    name = request.question[0].name.to_text().lower()
    if name == "www.example.com." and request.question[0].rdtype == 1:
        return address(request)
    response.set_rcode(dns.rcode.NOERROR if name == "www.example.com." else dns.rcode.NXDOMAIN)
    response.authority.append(dns.rrset.from_text("example.com.", 60, "IN", "SOA", SOA))
    return response


@pytest.mark.parametrize("tcp", [False, True])
async def test_one_question_for_a_name_outside(serve: Serve, api: FakeApi, tcp: bool) -> None:
    api.put(PODS, client())
    first = f"www.example.com.{FIRST}"
    async with upstream() as fake, serve(upstreams=(fake.text,)) as server:
        fake.answer = world
        for _ in range(3):  # later from cache, past an entry that is on the fast path
            reply = await ask(server, first, tcp=tcp)
            assert lines(reply) == [f"{first}. CNAME www.example.com.", "www.example.com. A 192.0.2.1"]
            assert reply.answer[0].ttl <= server.config.ttl
            assert not reply.flags & dns.flags.AA
        assert [each.question[0].name.to_text().lower() for each in fake.asked] == ["www.example.com."]
        none = await ask(server, first, "AAAA", tcp=tcp)
        assert (none.rcode(), lines(none)) == (dns.rcode.NOERROR, [f"{first}. CNAME www.example.com."])
        assert [f"{rrset.name} {rrset[0]}" for rrset in none.authority] == [f"example.com. {SOA}"]
        assert server.resolver.search
        assert server.resolver.search.successes == 4
        assert server.resolver.panics == 0


async def test_names_inside(serve: Serve, api: FakeApi) -> None:
    api.put(PODS, client())
    async with upstream() as fake, serve(upstreams=(fake.text,)) as server:
        fake.answer = world
        plain = await ask(server, f"web.{FIRST}")
        assert lines(plain) == [f"web.{FIRST}. A 10.96.0.20"]
        for short, full in (
            ("kube-dns.kube-system", f"kube-dns.kube-system.svc.{Z}"),
            (f"web.{FIRST}", f"web.{FIRST}"),
        ):
            reply = await ask(server, f"{short}.{FIRST}")
            assert lines(reply)[0] == f"{short}.{FIRST}. CNAME {full}."
            assert len(lines(reply)) == 2
            assert reply.flags & dns.flags.AA
            nodata = await ask(server, f"{short}.{FIRST}", "AAAA")
            assert (nodata.rcode(), len(nodata.answer), nodata.authority[0].name.to_text()) == (0, 1, f"{Z}.")
        assert not fake.asked


@pytest.mark.parametrize(
    ("name", "kind", "options"),
    [
        (f"www.example.com.{FIRST}", "TXT", {}),
        (f"www.example.com.{FIRST}", "A", {"want_dnssec": True}),
        (f"www.example.com.kube-system.svc.{Z}", "A", {}),
        (f"www.example.com.svc.{Z}", "A", {}),
    ],
)
async def test_what_is_not_the_first_of_an_address_search(
    serve: Serve, api: FakeApi, name: str, kind: str, options: dict[str, Any]
) -> None:
    api.put(PODS, client())
    async with upstream() as fake, serve(upstreams=(fake.text,)) as server:
        for _ in range(2):
            assert (await ask(server, name, kind, **options)).rcode() == dns.rcode.NXDOMAIN
        assert not fake.asked


@pytest.mark.parametrize("rcode", [dns.rcode.NXDOMAIN, dns.rcode.SERVFAIL, dns.rcode.REFUSED])
async def test_a_search_that_leads_nowhere_is_the_plain_denial(
    serve: Serve, api: FakeApi, rcode: dns.rcode.Rcode
) -> None:
    def deny(request: dns.message.Message) -> dns.message.Message:
        response = dns.message.make_response(request)
        response.set_rcode(rcode)
        return response

    api.put(PODS, client())
    async with upstream() as fake, serve(upstreams=(fake.text,)) as server:
        fake.answer = deny
        reply = await ask(server, f"nowhere.example.{FIRST}")
        assert (reply.rcode(), lines(reply)) == (dns.rcode.NXDOMAIN, [])
        assert reply.authority[0].name.to_text() == f"{Z}."
        assert fake.asked
        assert server.resolver.panics == 0


async def test_without_an_upstream_it_is_the_plain_denial(serve: Serve, api: FakeApi) -> None:
    api.put(PODS, client())
    async with serve() as server:
        assert (await ask(server, f"www.example.com.{FIRST}")).rcode() == dns.rcode.NXDOMAIN


@pytest.mark.parametrize("pod", [client(ip="10.244.1.1"), client(hostNetwork=True), client(dnsPolicy="Default"),
                                 client("kube-system"), client(node="n2")])  # fmt: skip
async def test_whose_list_is_not_known_walks_alone(serve: Serve, api: FakeApi, pod: dict[str, Any]) -> None:
    api.put(PODS, pod)
    async with upstream() as fake, serve(upstreams=(fake.text,), node_name="n1") as server:
        assert (await ask(server, f"www.example.com.{FIRST}")).rcode() == dns.rcode.NXDOMAIN
        assert not fake.asked


async def test_it_ends_with_the_pod_and_can_be_turned_off(serve: Serve, api: FakeApi) -> None:
    api.put(PODS, client())
    async with upstream() as fake, serve(upstreams=(fake.text,)) as server:
        assert (await ask(server, f"www.example.com.{FIRST}")).rcode() == dns.rcode.NOERROR
        api.edit(PODS, "client", "default", status={"phase": "Succeeded"})
        async with asyncio.timeout(60):
            while (await ask(server, f"www.example.com.{FIRST}")).rcode() != dns.rcode.NXDOMAIN:
                await asyncio.sleep(0.005)
    api.put(PODS, client())
    async with upstream() as fake, serve(upstreams=(fake.text,), autopath=False) as server:
        assert (await ask(server, f"www.example.com.{FIRST}")).rcode() == dns.rcode.NXDOMAIN
        assert not fake.asked


async def test_the_whole_list_in_its_order(serve: Serve, api: FakeApi, tmp_path: Path) -> None:
    """The cluster's domains, the node's, the pod's own, and the name as it is."""
    conf = tmp_path / "resolv.conf"
    conf.write_text(f"search corp.example {Z}\n")
    api.put(PODS, client(dnsConfig={"searches": ["own.example", "corp.example"]}))
    async with upstream() as fake, serve(upstreams=(fake.text,), resolv_conf=str(conf)) as server:
        fake.answer = world
        assert (await ask(server, f"absent.{FIRST}")).rcode() == dns.rcode.NXDOMAIN
        asked = [each.question[0].name.to_text().lower() for each in fake.asked]
        assert asked == ["absent.corp.example.", "absent.own.example.", "absent."]


async def test_many_pods_at_once(serve: Serve, api: FakeApi) -> None:
    """What is under way is asked once."""
    api.put(PODS, client())
    async with upstream() as fake, serve(upstreams=(fake.text,)) as server:
        fake.kept = []
        asked = [asyncio.create_task(ask(server, f"www.example.com.{FIRST}")) for _ in range(20)]
        await until(lambda: server.server.responder.waiting == 20)
        fake.give()
        replies = await asyncio.gather(*asked)
        assert {len(reply.answer) for reply in replies} == {2}
        assert len(fake.asked) == 1


def test_an_address_goes_with_the_pod_that_had_it_last() -> None:
    snapshot = Snapshot()
    old, new = client("a"), client("b")
    snapshot.put_pod(pod_row(old))
    snapshot.put_pod(pod_row(new))
    snapshot.drop_pod(pod_row(old).key)
    assert snapshot.clients["127.0.0.1"].key.namespace == "b"
    snapshot.drop_pod(pod_row(new).key)
    assert not snapshot.clients
