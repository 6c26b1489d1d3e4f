"""The proxy over the model of the API and the model of nftables: what it makes of changes, failures and restarts."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from pybernetes.api.objects import Obj
from pybernetes.api.resources import ENDPOINT_SLICES, NODES, SERVICES
from pybernetes.client import Client
from pybernetes.netlink.conntrack import UDP, Match
from pybernetes.netlink.fake import FakeNftables
from pybernetes.netlink.nft import IP, AddTable, DeleteElements, DeleteTable, Transaction
from pybernetes.proxy.dataplane import NftDataplane
from pybernetes.proxy.layout import TABLE
from pybernetes.proxy.loop import Proxy, planners
from support.fake_api import FakeApi
from support.proxy_cases import DNS, FOUR, config, endpoints, port, service
from support.tracer import Packet, Tracer

OTHER = "10.9.0.1"
"""A second address of the node."""
HTTP = port(80, name="http", node_port=30080)
DNS_PORT = port(53, name="dns", protocol="UDP", node_port=30053)


class Connections:
    def __init__(self) -> None:
        self.deleted: list[Match] = []

    def delete(self, match: Match) -> None:
        self.deleted.append(match)

    def close(self) -> None:
        return


class Events:
    """What was recorded: object, reason, message."""

    def __init__(self) -> None:
        self.recorded: list[tuple[Obj, str, str]] = []

    def event(
        self, about: Obj, reason: str, message: str, *, type: str = "Normal", field_path: str = "", action: str = ""
    ) -> None:
        self.recorded.append((about, reason, message))


class Told:
    """The addresses of a node's namespace, and what the kernel tells of them: nothing, or what a test has it tell."""

    def __init__(self, node: "Node") -> None:
        self.node = node
        self.event = asyncio.Event()
        self.broken = 0
        self.meanwhile: Callable[[], None] | None = None
        """What happens once while the addresses are read (in a thread), and is told before they are returned."""
        self._told = threading.Event()
        self._loop = asyncio.get_running_loop()

    def read(self) -> tuple[str, ...]:
        found = tuple(self.node.own)
        if (change := self.meanwhile) is not None:
            self.meanwhile = None
            change()
            self._told.clear()
            self._loop.call_soon_threadsafe(self.event.set)
            self._told.wait(5)
        return found

    async def changed(self) -> None:
        if self.broken:
            self.broken -= 1
            raise OSError("no such namespace")
        await self.event.wait()
        self.event.clear()
        self._told.set()

    def close(self) -> None:
        return


class Node:
    """A proxy of node-1 over the models."""

    def __init__(self, api: FakeApi, nft: FakeNftables, **settings: Any) -> None:
        self.nft = nft
        self.own = ["172.30.0.11", FOUR.service(DNS)]
        """What the node's namespace has for addresses."""
        self.told = Told(self)
        self.connections = Connections()
        self.events = Events()
        self.config = replace(config(FOUR, "node-1"), **settings)
        self.dataplane = NftDataplane(nft, self.connections, planners(self.config))
        self.proxy = Proxy(
            Client(api),
            self.config,
            dataplane=self.dataplane,
            events=self.events,
            addresses=self.told,
        )
        self.tracer = Tracer(nft, own=frozenset({FOUR.hosts["node-1"], OTHER, FOUR.service(DNS)}))

    def answers(self, number: int, number_port: int = 80, tries: int = 40, protocol: int = 6) -> set[str]:
        """Who is reached by a pod that calls a service."""
        packets = (Packet("10.244.9.9", FOUR.service(number), number_port, protocol) for _ in range(tries))
        outcomes = [self.tracer.receive(packet) for packet in packets]
        return {outcome.destination or outcome.kind for outcome in outcomes}

    def at(self, address: str, number: int = 30080, protocol: int = 6) -> set[str]:
        """Who is reached from outside at a node port."""
        packets = [Packet(FOUR.hosts["outside"], address, number, protocol) for _ in range(40)]
        return {outcome.destination or outcome.kind for outcome in map(self.tracer.receive, packets)}


@asynccontextmanager
async def running(api: FakeApi, nft: FakeNftables | None = None, **settings: Any) -> AsyncIterator[Node]:
    node = Node(api, nft or FakeNftables(), **settings)
    task = asyncio.create_task(node.proxy.run())
    try:
        await asyncio.wait_for(node.proxy.synced.wait(), 60)
        yield node
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await node.dataplane.close()


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not holds():
            await asyncio.sleep(0.005)


def put_web(api: FakeApi, *pods: str) -> None:
    api.put(SERVICES, service(FOUR, "web", 20, HTTP))
    api.put(ENDPOINT_SLICES, slice_of("web", *pods))


def slice_of(name: str, *pods: str, port_name: str = "http", number: int = 8080, protocol: str = "TCP") -> Obj:
    return endpoints(FOUR, name, pods, (port_name, number), protocol=protocol)


A, B, C = (FOUR.hosts[pod] for pod in ("pod-1a", "pod-1b", "pod-2a"))


async def test_what_is_there_at_the_start_is_applied() -> None:
    api = FakeApi()
    put_web(api, "pod-1a", "pod-2a")
    async with running(api) as node:
        assert node.answers(20) == {A, C}
        assert node.proxy.healthy
        assert node.proxy.applied.services


async def test_changes_follow() -> None:
    api = FakeApi()
    async with running(api) as node:
        assert node.answers(20) == {"refused"}
        api.put(SERVICES, service(FOUR, "web", 20, HTTP))
        api.put(ENDPOINT_SLICES, slice_of("web", "pod-1a"))
        await until(lambda: node.answers(20) == {A})
        api.put(ENDPOINT_SLICES, slice_of("web", "pod-1a", "pod-1b", "pod-2a"))
        await until(lambda: node.answers(20) == {A, B, C})
        api.put(ENDPOINT_SLICES, slice_of("web", "pod-2a"))
        await until(lambda: node.answers(20) == {C})
        api.put(ENDPOINT_SLICES, slice_of("web"))
        await until(lambda: node.answers(20) == {"refused"})
        api.drop(SERVICES, "web", "default")
        await until(lambda: not node.proxy.tracker.desired)
        assert node.answers(20) == {"refused"}


async def test_the_applied_revision_follows() -> None:
    api = FakeApi()
    put_web(api, "pod-1a")
    async with running(api) as node:
        changed = api.put(ENDPOINT_SLICES, slice_of("web", "pod-1b"))
        revision = changed["metadata"]["resourceVersion"]
        await until(lambda: node.proxy.applied.endpoint_slices == revision)
        assert node.answers(20) == {B}


async def test_a_burst_is_few_transactions() -> None:
    api = FakeApi()
    async with running(api) as node:
        before = node.nft.commits
        for number in range(30, 130):
            api.put(SERVICES, service(FOUR, f"s{number}", number, port(80, name="http")))
            api.put(ENDPOINT_SLICES, slice_of(f"s{number}", "pod-1a"))
        await until(lambda: all(node.answers(number, tries=1) == {A} for number in range(30, 130)))
        assert node.nft.commits - before <= 10


async def test_nothing_is_sent_to_the_kernel_for_a_change_that_changes_nothing() -> None:
    api = FakeApi()
    put_web(api, "pod-1a")
    async with running(api) as node:
        before = node.nft.commits
        changed = slice_of("web", "pod-1a") | {"extra": "field"}
        revision = api.put(ENDPOINT_SLICES, changed)["metadata"]["resourceVersion"]
        await until(lambda: node.proxy.applied.endpoint_slices == revision)
        assert node.nft.commits == before


async def test_a_removed_udp_endpoint_is_forgotten_by_the_connections() -> None:
    api = FakeApi()
    api.put(SERVICES, service(FOUR, "names", 21, DNS_PORT))
    udp = {"port_name": "dns", "number": 5353, "protocol": "UDP"}
    api.put(ENDPOINT_SLICES, slice_of("names", "pod-1a", "pod-2a", **udp))
    async with running(api) as node:
        assert node.answers(21, 53, protocol=17) == {A, C}
        node.connections.deleted.clear()
        api.put(ENDPOINT_SLICES, slice_of("names", "pod-1a", **udp))
        await until(lambda: bool(node.connections.deleted))
        vip = Match(protocol=UDP, destination=FOUR.service(21), port=53, backend=C, backend_port=5353)
        at_node = Match(protocol=UDP, destination=FOUR.hosts["node-1"], port=30053, backend=C, backend_port=5353)
        assert set(node.connections.deleted) == {vip, at_node}


async def test_the_first_udp_endpoint_ends_connections_that_were_not_translated() -> None:
    api = FakeApi()
    api.put(SERVICES, service(FOUR, "names", 21, port(53, name="dns", protocol="UDP")))
    async with running(api) as node:
        node.connections.deleted.clear()
        api.put(ENDPOINT_SLICES, slice_of("names", "pod-1a", port_name="dns", number=5353, protocol="UDP"))
        await until(lambda: bool(node.connections.deleted))
        vip = FOUR.service(21)
        assert node.connections.deleted == [Match(protocol=UDP, destination=vip, port=53, backend=vip)]


async def test_tcp_connections_are_left_to_themselves() -> None:
    api = FakeApi()
    put_web(api, "pod-1a", "pod-2a")
    async with running(api) as node:
        api.put(ENDPOINT_SLICES, slice_of("web", "pod-1a"))
        await until(lambda: node.answers(20) == {A})
        assert node.connections.deleted == []


async def test_stopping_leaves_the_rules_and_a_restart_takes_them_over() -> None:
    api, nft = FakeApi(), FakeNftables()
    put_web(api, "pod-1a", "pod-2a")
    async with running(api, nft) as node:
        pass
    assert node.answers(20) == {A, C}
    commits = nft.commits
    async with running(api, nft) as node:
        assert node.answers(20) == {A, C}
        assert nft.commits == commits  # nothing differed, nothing was touched
    api.put(ENDPOINT_SLICES, slice_of("web", "pod-1b"))
    async with running(api, nft) as node:
        assert node.answers(20) == {B}


async def test_a_table_of_another_layout_is_replaced_in_one_transaction() -> None:
    api, nft = FakeApi(), FakeNftables()
    nft.commit(Transaction(IP, TABLE, [AddTable("pybernetes service proxy, layout of old")]))
    put_web(api, "pod-1a")
    async with running(api, nft) as node:
        assert node.answers(20) == {A}
        assert nft.commits == 2


async def test_what_others_destroy_is_put_right() -> None:
    api, nft = FakeApi(), FakeNftables()
    put_web(api, "pod-1a")
    async with running(api, nft) as node:
        nft.commit(Transaction(IP, TABLE, [DeleteTable()]))
        assert await node.dataplane.check({}) > 0
        assert node.answers(20) == {A}
        assert await node.dataplane.check({}) == 0
        nft.commit(Transaction(IP, TABLE, [DeleteTable()]))
        put_web(api, "pod-1b")
        await until(lambda: (IP, TABLE) in nft.tables and node.answers(20) == {B})
        await until(lambda: node.proxy.healthy)


async def test_drift_is_repaired_and_said_of_the_node_in_quiet_times() -> None:
    api, nft = FakeApi(), FakeNftables()
    put_web(api, "pod-1a")
    async with running(api, nft, check_seconds=0.05) as node:
        (key,) = nft.elements(IP, TABLE, "endpoints")
        nft.commit(Transaction(IP, TABLE, [DeleteElements("endpoints", [key])]))
        await until(lambda: bool(node.events.recorded))
        ((about, reason, message),) = node.events.recorded
        assert (about["kind"], about["metadata"]["name"], reason) == ("Node", "node-1", "ProxyRulesDrifted")
        assert "1 operations" in message  # what differed, and nothing else
        assert node.answers(20) == {A}


async def test_changes_need_not_wait_for_the_look_for_drift() -> None:
    api, nft = FakeApi(), FakeNftables()
    for number in range(30, 90):
        api.put(SERVICES, service(FOUR, f"s{number}", number, port(80, name="http")))
        api.put(ENDPOINT_SLICES, slice_of(f"s{number}", "pod-1a", "pod-1b", "pod-2a"))
    async with running(api, nft) as node:
        nft.commits += 1  # somebody has changed something
        desired = dict(node.proxy.tracker.desired)
        gone = next(key for key in desired if key.name == "s30")
        del desired[gone]
        check = asyncio.create_task(node.dataplane.check({}))
        await asyncio.sleep(0)  # it begins
        await node.dataplane.sync(desired, changed=frozenset([gone]))
        assert node.answers(30) == {"refused"}
        assert not check.done()
        assert await check == 0


async def test_drift_is_repaired_while_changes_never_end() -> None:
    api, nft = FakeApi(), FakeNftables()
    put_web(api, "pod-1a")
    async with running(api, nft, check_seconds=0.2) as node:
        for key in list(nft.elements(IP, TABLE, "endpoints")):
            nft.commit(Transaction(IP, TABLE, [DeleteElements("endpoints", [key])]))
        async with asyncio.timeout(60):
            number = 0
            while not node.events.recorded:
                number += 1
                api.put(SERVICES, service(FOUR, "other", 30, port(80 + number % 2, name="http")))
                await asyncio.sleep(0.005)
        assert node.answers(20) == {A}


async def test_udp_connections_to_endpoints_that_went_while_nobody_looked_are_forgotten() -> None:
    api, nft = FakeApi(), FakeNftables()
    udp = {"port_name": "dns", "number": 5353, "protocol": "UDP"}
    api.put(SERVICES, service(FOUR, "names", 21, DNS_PORT))
    api.put(ENDPOINT_SLICES, slice_of("names", "pod-1a", "pod-2a", **udp))
    put_web(api, "pod-1a")
    async with running(api, nft):
        pass
    api.put(ENDPOINT_SLICES, slice_of("names", "pod-1a", **udp))
    put_web(api, "pod-1b")
    async with running(api, nft) as node:
        vip = Match(protocol=UDP, destination=FOUR.service(21), port=53, backend=C, backend_port=5353)
        at_node = Match(protocol=UDP, destination=FOUR.hosts["node-1"], port=30053, backend=C, backend_port=5353)
        assert set(node.connections.deleted) == {vip, at_node}
    async with running(api, nft) as node:
        assert node.connections.deleted == []


async def test_udp_connections_of_a_service_that_went_while_nobody_looked_are_forgotten() -> None:
    api, nft = FakeApi(), FakeNftables()
    api.put(SERVICES, service(FOUR, "names", 21, port(53, name="dns", protocol="UDP")))
    api.put(ENDPOINT_SLICES, slice_of("names", "pod-1a", port_name="dns", number=5353, protocol="UDP"))
    async with running(api, nft):
        pass
    api.drop(SERVICES, "names", "default")
    async with running(api, nft) as node:
        assert node.connections.deleted == [
            Match(protocol=UDP, destination=FOUR.service(21), port=53, backend=A, backend_port=5353)
        ]


async def test_a_refused_sync_is_tried_again_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    api, nft = FakeApi(), FakeNftables()
    put_web(api, "pod-1a")
    async with running(api, nft) as node:
        commit, failures = nft.commit, [3]

        def failing(transaction: Transaction) -> None:
            if failures[0]:
                failures[0] -= 1
                raise OSError(105, "no buffer space")
            commit(transaction)

        monkeypatch.setattr(nft, "commit", failing)
        put_web(api, "pod-2a")
        await until(lambda: node.answers(20) == {C})
        assert failures == [0]
        await until(lambda: node.proxy.healthy)


async def test_a_refused_sync_still_owes_the_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    api, nft = FakeApi(), FakeNftables()
    api.put(SERVICES, service(FOUR, "names", 21, port(53, name="dns", protocol="UDP")))
    udp = {"port_name": "dns", "number": 5353, "protocol": "UDP"}
    api.put(ENDPOINT_SLICES, slice_of("names", "pod-1a", "pod-2a", **udp))
    async with running(api, nft) as node:
        commit, failures = nft.commit, [2]

        def failing(transaction: Transaction) -> None:
            if failures[0]:
                failures[0] -= 1
                raise OSError(105, "no buffer space")
            commit(transaction)

        monkeypatch.setattr(nft, "commit", failing)
        api.put(ENDPOINT_SLICES, slice_of("names", "pod-1a", **udp))
        await until(lambda: node.answers(21, 53, protocol=17) == {A})
        await until(lambda: bool(node.connections.deleted))
        assert {match.backend for match in node.connections.deleted} == {C}


async def test_clear_takes_everything_away() -> None:
    api, nft = FakeApi(), FakeNftables()
    put_web(api, "pod-1a")
    async with running(api, nft) as node:
        await node.dataplane.clear()
        assert nft.tables == {}
        await node.dataplane.clear()


NODE_1 = FOUR.hosts["node-1"]


async def test_node_ports_follow_the_nodes_addresses() -> None:
    api = FakeApi()
    put_web(api, "pod-1a", "pod-2a")
    async with running(api, node_addresses=(), check_seconds=0.05) as node:
        assert node.at(NODE_1) == {A, C}
        assert not node.at(OTHER) & {A, C}
        node.own.append(OTHER)
        await until(lambda: node.at(OTHER) == {A, C})
        assert node.at(NODE_1) == {A, C}
        node.own.remove(NODE_1)
        await until(lambda: not node.at(NODE_1) & {A, C})
        assert node.at(OTHER) == {A, C}
        assert node.answers(20) == {A, C}
        api.put(ENDPOINT_SLICES, slice_of("web", "pod-1b"))
        await until(lambda: node.at(OTHER) == {B})
        assert node.events.recorded == []  # nobody else has changed anything


async def test_what_the_kernel_tells_of_addresses_is_followed_at_once() -> None:
    api = FakeApi()
    put_web(api, "pod-1a", "pod-2a")
    async with running(api, node_addresses=(), check_seconds=3600) as node:
        node.own.append(OTHER)
        node.told.event.set()
        await until(lambda: node.at(OTHER) == {A, C})
        node.own.remove(NODE_1)
        node.told.event.set()
        await until(lambda: not node.at(NODE_1) & {A, C})
        assert node.at(OTHER) == {A, C}


async def test_what_is_told_while_the_addresses_are_read_is_not_lost() -> None:
    api = FakeApi()
    put_web(api, "pod-1a")
    async with running(api, node_addresses=(), check_seconds=3600) as node:
        await until(node.proxy.synced.is_set)
        node.told.meanwhile = lambda: node.own.append(OTHER)
        node.told.event.set()
        await until(lambda: node.at(OTHER) == {A})


async def test_a_kernel_that_tells_nothing_is_asked_again() -> None:
    api = FakeApi()
    put_web(api, "pod-1a")
    async with running(api, node_addresses=(), check_seconds=0.05) as node:
        node.told.broken = 2
        node.told.event.set()
        await until(lambda: node.told.broken == 0)
        node.own.append(OTHER)
        node.told.event.set()
        await until(lambda: node.at(OTHER) == {A})
        assert node.proxy.healthy


async def test_an_address_that_went_takes_its_udp_connections_along() -> None:
    api = FakeApi()
    api.put(SERVICES, service(FOUR, "names", 21, DNS_PORT))
    api.put(ENDPOINT_SLICES, slice_of("names", "pod-1a", port_name="dns", number=5353, protocol="UDP"))
    async with running(api, node_addresses=(), check_seconds=0.05) as node:
        node.own.append(OTHER)
        await until(lambda: node.at(OTHER, 30053, 17) == {A})
        node.connections.deleted.clear()
        node.own.remove(OTHER)
        await until(lambda: bool(node.connections.deleted))
        gone = Match(protocol=UDP, destination=OTHER, port=30053, backend=A, backend_port=5353)
        assert node.connections.deleted == [gone]


async def test_node_ports_are_open_in_the_wanted_ranges_only() -> None:
    api = FakeApi()
    put_web(api, "pod-1a")
    async with running(api, node_port_addresses=("10.0.0.0/8",), check_seconds=0.05) as node:
        assert node.at(NODE_1) != {A}
        node.own.append(OTHER)
        await until(lambda: node.at(OTHER) == {A})
        assert node.at(NODE_1) != {A}
        await until(lambda: node.proxy.node_addresses == (OTHER,))  # not cluster DNS, which is in the range too


async def test_primary_is_what_the_node_says_of_itself() -> None:
    api = FakeApi()
    put_web(api, "pod-1a")

    def say(address: str) -> None:
        status = {"addresses": [{"type": "InternalIP", "address": address}]}
        api.put(NODES, {"metadata": {"name": "node-1"}, "status": status})

    settings: dict[str, Any] = {"node_addresses": (), "node_port_addresses": ("primary",), "check_seconds": 3600}
    async with running(api, **settings) as node:
        assert node.at(NODE_1) != {A}
        say(NODE_1)
        await until(lambda: node.at(NODE_1) == {A})
        assert node.at(OTHER) != {A}
        say(OTHER)
        await until(lambda: node.at(OTHER) == {A})
        assert node.at(NODE_1) != {A}


async def test_addresses_that_cannot_be_read_are_tried_again() -> None:
    api = FakeApi()
    put_web(api, "pod-1a")
    async with running(api, node_addresses=(), check_seconds=0.05) as node:
        own, node.own = node.own, Broken()
        await until(lambda: not node.proxy.healthy)
        assert node.at(NODE_1) == {A}
        node.own = [*own, OTHER]
        await until(lambda: node.proxy.healthy and node.at(OTHER) == {A})


class Broken(list[str]):
    def __iter__(self) -> Iterator[str]:
        raise OSError("no buffer space")


async def test_whose_pods_are_the_nodes_own_is_said_by_its_node() -> None:
    """They alone go to any endpoint by a node port of policy Local."""
    api = FakeApi()
    api.put(SERVICES, service(FOUR, "edge", 26, port(80, name="http", node_port=30026), externalTrafficPolicy="Local"))
    api.put(ENDPOINT_SLICES, endpoints(FOUR, "edge", ("pod-2a",), ("http", 8080)))
    async with running(api, node_cidr="") as node:

        def outcomes() -> list[str]:
            packets = [Packet(FOUR.hosts[name], FOUR.hosts["node-1"], 30026) for name in ("pod-1b", "pod-2a")]
            return [node.tracer.receive(packet).kind for packet in packets]

        await api.until(lambda: outcomes() == ["forward", "forward"])  # nobody has said so yet
        api.put(NODES, {"metadata": {"name": "node-1"}, "spec": {"podCIDRs": ["10.244.1.0/24", "fd00:244:1::/64"]}})
        await api.until(lambda: outcomes() == ["forward", "dropped"])
        operations = node.dataplane.operations
        api.edit(NODES, "node-1", "", metadata={"labels": {"a": "b"}})
        api.put(SERVICES, service(FOUR, "web", 20, port(80, name="http")))
        await api.until(lambda: node.dataplane.operations > operations)
        assert node.dataplane.operations < operations + 5, "nothing is made anew without need"
        assert outcomes() == ["forward", "dropped"]
