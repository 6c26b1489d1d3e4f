"""An address that several have, and that one of them leaves while questions come: none is lost."""

import asyncio
from collections.abc import AsyncIterator

import dns.asyncquery
import dns.exception
import dns.message
import pytest

from pybernetes.client import Client
from pybernetes.dns import Dns, DnsConfig
from pybernetes.dns.sockets import bind, leave
from support.dns_cluster import Z, fill
from support.dns_world import world
from support.fake_api import FakeApi
from support.ports import free_port

from .test_forward import until

QUESTION = dns.message.make_query(f"web.default.svc.{Z}", "A")


class Instances:
    """Servers of one address and port."""

    def __init__(self, host: str) -> None:
        self.host, self.port = host, free_port(host)
        self.tasks: list[asyncio.Task[None]] = []

    async def start(self) -> Dns:
        """One more, which answers."""
        config = DnsConfig(listen=(self.host,), port=self.port, upstreams=(), lameduck_seconds=0.05)
        server = Dns(Client(fill(FakeApi())), config)
        self.tasks.append(asyncio.create_task(server.run()))
        async with asyncio.timeout(60):
            await server.server.started.wait()
            await server.ready.wait()
        return server

    async def stop(self) -> None:
        """The oldest."""
        task = self.tasks.pop(0)
        task.cancel()
        await asyncio.wait([task])


@pytest.fixture(params=["127.0.0.1", "::1"])
async def instances(request: pytest.FixtureRequest) -> AsyncIterator[Instances]:
    found = Instances(request.param)
    yield found
    while found.tasks:
        await found.stop()


class Clients:
    """Who asks all the time, from a new socket each time, and never twice."""

    def __init__(self, instances: Instances, transport: str) -> None:
        self.instances = instances
        self.ask = dns.asyncquery.udp if transport == "udp" else dns.asyncquery.tcp
        self.asked = 0
        self.lost: list[str] = []
        self.done = False

    async def run(self) -> None:
        where, port = self.instances.host, self.instances.port
        while not self.done:
            self.asked += 1
            try:
                reply = await self.ask(QUESTION, where, port=port, timeout=30)
            except (OSError, EOFError, dns.exception.Timeout) as error:
                self.lost.append(repr(error))
            else:
                self.lost += [] if reply.answer else [str(reply)]

    async def ask_more(self, number: int) -> None:
        seen = self.asked
        await until(lambda: self.asked > seen + number)


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_no_question_is_lost_in_a_restart(instances: Instances, transport: str) -> None:
    """One instance follows the other, several times (over TCP who is not let in knocks again after a second)."""
    clients = Clients(instances, transport)
    await instances.start()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(8):
            tasks.create_task(clients.run())
        await clients.ask_more(50)
        for _ in range(10 if transport == "udp" else 3):
            following = await instances.start()
            await instances.stop()
            assert following.server.started.is_set()
            await clients.ask_more(50)
        clients.done = True
    assert clients.lost == []


async def test_both_are_asked(instances: Instances) -> None:
    """The kernel deals clients out by their port."""
    one, two = await instances.start(), await instances.start()
    for _ in range(64):
        await dns.asyncquery.udp(QUESTION, instances.host, port=instances.port, timeout=30)
    served = [sum(each.stats.all(each.resolver.table.tallies)[1].values()) for each in (one, two)]
    assert sum(served) == 64
    assert min(served) > 0


async def test_a_question_under_way_is_answered_before_the_end() -> None:
    """Forwarded over UDP and TCP, while the server has been asked to end."""
    async with world(["www.example.com. A 192.0.2.1"]) as outside:
        outside.keeps = True
        config = DnsConfig(
            listen=("127.0.0.1",),
            port=0,
            upstreams=(f"127.0.0.1:{outside.port}",),
            lameduck_seconds=0.0,
            cache_entries=0,
        )
        server = Dns(Client(fill(FakeApi())), config)
        task = asyncio.create_task(server.run())
        async with asyncio.timeout(60):
            await server.server.started.wait()
        query = dns.message.make_query("www.example.com", "A")
        port = server.server.port
        asked = [
            asyncio.create_task(ask(query, "127.0.0.1", port=port, timeout=30))
            for ask in (dns.asyncquery.udp, dns.asyncquery.tcp)
        ]
        await until(lambda: len(outside.asked) == 1 and server.server.responder.waiting == 2)
        task.cancel()
        await asyncio.sleep(0)
        outside.give()
        replies = await asyncio.gather(*asked)
        assert all(reply.answer for reply in replies)
        await asyncio.wait([task])


async def test_who_has_come_in_is_answered_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Over TCP, while the server has been asked to end; who has been answered already is let go at once."""
    monkeypatch.setattr("pybernetes.dns.server._FIRST_SECONDS", 60.0)
    config = DnsConfig(listen=("127.0.0.1",), port=0, upstreams=(), lameduck_seconds=0.0, forward_timeout_seconds=60.0)
    server = Dns(Client(fill(FakeApi())), config)
    task = asyncio.create_task(server.run())
    async with asyncio.timeout(60):
        await server.server.started.wait()
        await server.ready.wait()
        wire = QUESTION.to_wire()
        old, new = [await asyncio.open_connection("127.0.0.1", server.server.port) for _ in range(2)]
        await until(lambda: server.server.open_connections == 2)
        old[1].write(len(wire).to_bytes(2) + wire)
        assert await old[0].readexactly(int.from_bytes(await old[0].readexactly(2)))
        task.cancel()
        assert await old[0].read() == b""
        new[1].write(len(wire).to_bytes(2) + wire)
        data = await new[0].read()
        assert dns.message.from_wire(data[2:]).answer
        await asyncio.wait([task])
    for _, writer in (old, new):
        writer.close()
        await writer.wait_closed()


def test_only_who_says_so_shares() -> None:
    pair = bind("127.0.0.1", free_port())
    try:
        with pytest.raises(OSError, match="cannot bind"):
            bind("127.0.0.1", pair.udp.getsockname()[1], shared=True)
        leave(pair)
        with pytest.raises(OSError, match="not connected"):
            pair.udp.getpeername()
    finally:
        pair.close()
