"""Host ports as real connections: the packet table in kernel namespaces, beside the service proxy's rules; loopback,
UDP flows that would go astray, flushes by others.
"""

import asyncio
import socket
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from pybernetes.kubelet.hostports import HostPorts, PodPorts, PortMapping, remove_tables
from pybernetes.kubelet.hostports.layout import TABLE
from pybernetes.netlink import namespaces, sysctl
from pybernetes.netlink.conntrack import Conntrack
from pybernetes.netlink.links import Links
from pybernetes.netlink.nft import IP, IP6, AddTable, DeleteTable, FlushChain, KernelNftables, Transaction
from support import kernel
from support.hostport_cases import EVERYWHERE, NAMES, ROWS, Case, pods
from support.packets import datagram
from support.proxy_cases import FAMILIES, FOUR, NODES, SIX, Addresses, desired
from support.proxy_net import Net, network
from support.proxy_table import of

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(bool(kernel.missing()), reason=f"needs {kernel.missing()}")]

TRIES = 3


class World:
    """node-1 with a keeper of its host ports."""

    def __init__(self, net: Net, records: Path) -> None:
        self.net = net
        self.path = net.paths["node-1"]
        self.records = records
        self.keeper = self.agent()

    def agent(self) -> HostPorts:
        def localnet(link: str, on: bool) -> None:
            sysctl.write(setting(link), int(on), namespace=self.path)

        return HostPorts(
            versions={4, 6},
            records=self.records,
            owner="me",
            nft=partial(KernelNftables, self.path),
            connections=partial(Conntrack, self.path),
            localnet=localnet,
        )

    def tables(self) -> list[object]:
        nft = KernelNftables(self.path)
        try:
            return [nft.comment(family, TABLE) for family in (IP, IP6)]
        finally:
            nft.close()

    def harm(self, family: int, *operations: object) -> None:
        nft = KernelNftables(self.path)
        try:
            nft.commit(Transaction(family, TABLE, list(operations)))  # type: ignore[arg-type]
        finally:
            nft.close()


def setting(link: str) -> str:
    return f"net/ipv4/conf/{link}/route_localnet"


@pytest.fixture(scope="module")
def net() -> Iterator[Net]:
    with network() as made:
        configs = {node: made.config(FOUR, node, SIX) for node in NODES}
        made.sync(configs, {node: desired(node, of(*FAMILIES)) for node in NODES})
        yield made


@pytest.fixture(scope="class")
def table(net: Net, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """With the pods of the packet table."""
    world = World(net, tmp_path_factory.mktemp("table"))

    async def fill() -> None:
        for pod, ports in pods().items():
            await world.keeper.open(pod, ports)

    async def empty() -> None:
        for pod in list(world.keeper.pods):
            await world.keeper.close(pod)

    asyncio.run(fill())
    yield world
    asyncio.run(empty())
    assert world.tables() == [None, None]


class TestTable:
    """The pods of the packet table, which are gone after it."""

    @pytest.mark.parametrize("at", FAMILIES, ids=lambda at: f"ipv{at.version}")
    @pytest.mark.parametrize(("case", "protocol"), ROWS, ids=NAMES)
    def test_connection(self, table: World, case: Case, protocol: str, at: Addresses) -> None:
        address, expected = at.hosts[case.to], case.by(at)
        if expected == "refused" and protocol == "SCTP":  # a node without SCTP sockets says nothing
            assert table.net.call(case.caller, address, case.port, protocol, seconds=0.3)[0] in (
                "refused",
                "dropped",
            )
            return
        found = [table.net.call(case.caller, address, case.port, protocol) for _ in range(TRIES)]
        assert {name for name, _ in found} == {expected}
        for _, seen in found:
            assert seen != at.hosts["loopback"]
            if expected != "refused":
                assert (seen != at.hosts[case.caller]) == case.masked

    @pytest.mark.parametrize("caller", ["outside", "pod-1a"])
    def test_loopback_is_protected_from_links_by_a_rule(self, table: World, caller: str) -> None:
        """The kernel routes 127.0.0.0/8 to and from pods with host ports: without the rule such a pod would reach what
        listens on loopback only (CVE-2020-8558), as is shown by flushing it; the flush is noticed and put right.
        Callers at other links do not even then.
        """
        node_end = "eth0" if caller == "outside" else caller
        with Links(table.path) as links:
            mac = bytes.fromhex(links.get(node_end).mac.replace(":", ""))
        secret = namespaces.run_in(table.path, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        raw = namespaces.run_in(table.net.paths[caller], lambda: socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0))
        with secret, raw:
            secret.bind(("127.0.0.1", 9999))
            secret.settimeout(0.3)

            def arrives() -> bool:
                raw.sendto(datagram(FOUR.hosts[caller], "127.0.0.1", 9999), ("eth0", 0x0800, 0, 0, mac))
                try:
                    return bool(secret.recv(10))
                except TimeoutError:
                    return False

            assert not arrives()
            table.harm(IP, FlushChain("martians"))
            assert arrives() == (caller == "pod-1a")
            assert asyncio.run(table.keeper.check()) == 1
            assert not arrives()


@pytest.fixture
def world(net: Net, tmp_path: Path) -> Iterator[World]:
    made = World(net, tmp_path)
    yield made

    def remove() -> None:
        remove_tables("me")

    namespaces.run_in(made.path, remove)
    for pod in ("pod-1a", "pod-1b"):
        sysctl.write(setting(pod), 0, namespace=made.path)
    assert made.tables() == [None, None]


def ports(pod: str, *mappings: PortMapping) -> PodPorts:
    return PodPorts(addresses=tuple(at.hosts[pod] for at in FAMILIES), link=pod, mappings=mappings)


def udp(host_port: int = EVERYWHERE) -> PortMapping:
    return PortMapping(protocol="UDP", host_port=host_port, container_port=8080)


async def test_the_kernel_guards_loopback_where_no_pod_needs_it(world: World) -> None:
    await world.keeper.open("pod-1a", ports("pod-1a", udp()))
    await world.keeper.open("pod-1b", ports("pod-1b", PortMapping(host_ip="::", host_port=1, container_port=1)))
    values = {link: sysctl.read(setting(link), namespace=world.path) for link in ("all", "eth0", "pod-1a", "pod-1b")}
    assert values == {"all": "0", "eth0": "0", "pod-1a": "1", "pod-1b": "0"}
    await world.keeper.close("pod-1a")
    assert sysctl.read(setting("pod-1a"), namespace=world.path) == "0"


@pytest.mark.parametrize("at", FAMILIES, ids=lambda at: f"ipv{at.version}")
@pytest.mark.parametrize("to", ["node-1", "loopback"])
async def test_a_udp_client_that_asks_on_and_on_follows_the_port(world: World, at: Addresses, to: str) -> None:
    """One socket: without the deletion of tracked connections it would stay with what it met first."""
    if to == "loopback" and at is SIX:
        caller, to = "node-1", "node-1"
    else:
        caller = "node-1" if to == "loopback" else "outside"
    family = socket.AF_INET6 if at is SIX else socket.AF_INET
    sock = namespaces.run_in(world.net.paths[caller], lambda: socket.socket(family, socket.SOCK_DGRAM))
    with sock:
        sock.settimeout(30)
        sock.connect((at.hosts[to], EVERYWHERE))

        async def ask() -> str:
            for _ in range(2):  # the first may meet the refusal of the one before
                try:
                    await asyncio.to_thread(sock.send, b"?")
                    return (await asyncio.to_thread(sock.recv, 100)).decode().split()[0]
                except ConnectionRefusedError:
                    continue
            return "refused"

        assert await ask() == "refused"
        await world.keeper.open("a", ports("pod-1a", udp()))
        assert await ask() == "pod-1a"
        await world.keeper.open("b", ports("pod-1b", udp()))
        assert await ask() == "pod-1b"
        await world.keeper.close("b")
        assert await ask() == "pod-1a"
        await world.keeper.close("a")
        assert await ask() == "refused"


async def test_another_agent_takes_over_and_connections_go_on(world: World) -> None:
    await world.keeper.open("pod-1a", ports("pod-1a", udp(), PortMapping(host_port=EVERYWHERE, container_port=8080)))
    agent = world.agent()
    before = generation(world)
    await agent.restore(lambda uid: True)
    assert generation(world) == before  # all is as it should be
    assert set(agent.pods) == {"pod-1a"}
    world.harm(IP, AddTable(), DeleteTable())
    assert world.net.call("outside", FOUR.hosts["node-1"], EVERYWHERE)[0] == "refused"
    await world.agent().restore(lambda uid: True)
    assert world.net.call("outside", FOUR.hosts["node-1"], EVERYWHERE)[0] == "pod-1a"
    await world.agent().restore(lambda uid: False)
    assert world.tables() == [None, None]


def generation(world: World) -> int:
    nft = KernelNftables(world.path)
    try:
        return nft.generation()
    finally:
        nft.close()


async def test_a_foreign_flush_is_repaired(world: World) -> None:
    await world.keeper.open("pod-1a", ports("pod-1a", PortMapping(host_port=EVERYWHERE, container_port=8080)))
    told: list[int] = []
    task = asyncio.create_task(world.keeper.run(told.append))
    try:
        for family in (IP, IP6):
            world.harm(family, AddTable(), DeleteTable())
        async with asyncio.timeout(60):
            while sum(told) < 2:
                await asyncio.sleep(0.05)
    finally:
        task.cancel()
    for at in FAMILIES:
        assert world.net.call("outside", at.hosts["node-1"], EVERYWHERE)[0] == "pod-1a"
