"""Every rule as question and answer: of the pure functions, and asked of the live servers over UDP and TCP."""

import asyncio
from contextlib import AsyncExitStack

import dns.asyncquery
import dns.message
import pytest

from pybernetes.api.objects import Obj
from pybernetes.api.resources import ENDPOINT_SLICES, NAMESPACES, PODS, SERVICES
from pybernetes.client import Client
from pybernetes.dns import Dns
from pybernetes.dns.message import read, reply
from pybernetes.dns.question import Answer, Rules
from pybernetes.dns.rows import pod_row, service_row, slice_row
from pybernetes.dns.snapshot import Snapshot
from pybernetes.dns.table import Table
from support.dns_cluster import cluster, fill
from support.dns_golden import GOLDEN, SERVERS, WORLD, Case, config, query_of, seen_by_dnspython
from support.dns_world import world
from support.fake_api import FakeApi

SELF = "127.0.0.1"
PURE = [case for case in GOLDEN if case.aa and case.server != "world" and not case.tc]


def table(server: str) -> Table:
    rules = config(server, listen=(SELF,), port=53, world="192.0.2.1")
    snapshot = Snapshot()

    def put(obj: Obj, resource: object) -> None:
        if resource is NAMESPACES:
            snapshot.put_namespace(obj["metadata"]["name"])
        elif resource is SERVICES:
            snapshot.put_service(service_row(obj))
        elif resource is PODS:
            snapshot.put_pod(pod_row(obj))
        elif resource is ENDPOINT_SLICES:
            snapshot.put_slice(slice_row(obj, pod_names=rules.endpoint_pod_names))

    for resource, obj in cluster(SELF):
        put(obj, resource)
    return Table(snapshot, Rules.of(rules))


def check(case: Case, message: dns.message.Message) -> None:
    assert list(case.at(SELF).differences(seen_by_dnspython(message))) == []


@pytest.mark.parametrize("case", PURE, ids=str)
def test_rules(case: Case) -> None:
    one = table(case.server)
    asked = query_of(case)
    query = read(asked.to_wire(), udp=not case.tcp)
    for _ in range(2):  # the second time from the table
        entry = one.find(query)
        assert entry is not None
        if isinstance(entry, Answer):
            assert entry.chase, "the rest is the world's to say"
            return
        message = dns.message.from_wire(reply(query, one.body(entry), size=1232))
        assert message.question == asked.question
        check(case, message)


async def test_live() -> None:
    """Each case twice over UDP, where it fits, and over TCP."""
    async with AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(world(WORLD))
        servers = {}
        for name in SERVERS:
            rules = config(name, listen=(SELF,), port=0, world=f"{SELF}:{upstream.port}")
            servers[name] = Dns(Client(fill(FakeApi(), SELF)), rules)
            task = asyncio.create_task(servers[name].run())
            stack.push_async_callback(asyncio.wait, [task])
            stack.callback(task.cancel)
        async with asyncio.timeout(60):
            for one in servers.values():
                await one.ready.wait()
                await one.server.started.wait()
        for case in GOLDEN * 2:
            asked = query_of(case)
            port = servers[case.server].server.port
            if not case.tc:
                check(case, await dns.asyncquery.tcp(asked, SELF, port=port, timeout=30))
            if not case.tcp:
                udp = await dns.asyncquery.udp(asked, SELF, port=port, timeout=30)
                check(case, udp)
                assert udp.edns == (-1 if case.plain else 0)
        assert [one.resolver.panics for one in servers.values()] == [0] * len(servers)


def test_the_table_is_not_satisfied_by_anything() -> None:
    """Each case's reply is another's wrong one."""
    first, second = (case.at(SELF) for case in PURE if case.name == "db.default.svc.cluster.local" and not case.tcp)
    one = table("default")
    query = read(query_of(first).to_wire())
    entry = one.find(query)
    assert entry is not None
    assert not isinstance(entry, Answer)
    seen = seen_by_dnspython(dns.message.from_wire(reply(query, one.body(entry), size=1232)))
    assert list(first.differences(seen)) == []
    assert [line.split(":")[0] for line in second.differences(seen)] == ["answer", "authority"]
    wrong = seen._replace(
        rcode="NXDOMAIN", aa=False, answer=[(f"x.{owner}", 9, data) for owner, _, data in seen.answer]
    )
    assert {line.split(":")[0].split()[0] for line in first.differences(wrong)} == {"rcode", "aa", "owner", "TTL"}
