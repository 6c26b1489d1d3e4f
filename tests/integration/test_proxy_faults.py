"""Faults of the proxy on a real kernel: whatever happens, who is not concerned notices nothing, and all comes right."""

import asyncio
import os
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from pybernetes.api.objects import Key, Obj
from pybernetes.api.resources import ENDPOINT_SLICES, SERVICES
from pybernetes.client import Client
from pybernetes.netlink.nft import IP, DeleteElements, DeleteTable, KernelNftables, Refused, Transaction
from pybernetes.netlink.nft.encode import HEAD, Encoded
from pybernetes.proxy import Proxy
from pybernetes.proxy.dataplane import NftDataplane
from pybernetes.proxy.layout import TABLE
from pybernetes.proxy.loop import cleanup, kernel_dataplane
from pybernetes.proxy.model import Backend, Front, ServicePort
from support import kernel
from support.fake_api import FakeApi
from support.proxy_cases import FOUR, SIX, endpoints, port, service
from support.proxy_mortal import change, untouched
from support.proxy_net import Net, network

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.timeout(600),
    pytest.mark.skipif(bool(kernel.missing()), reason=f"needs {kernel.missing()}"),
]

TESTS = Path(__file__).parents[1]
PODS = {"pod-1a", "pod-1b", "pod-2a"}
KILLS = 12


@pytest.fixture(scope="module")
def net() -> Iterator[Net]:
    with network() as made:
        yield made


@pytest.fixture(autouse=True)
def clean(net: Net) -> Iterator[None]:
    yield
    asyncio.run(cleanup(net.config(FOUR, "node-1", SIX)))


class Callers:
    """Loops of connections; `answers` is who answered, by loop."""

    def __init__(self, net: Net, *calls: tuple[str, tuple[str, int]]) -> None:
        self.done = threading.Event()
        self.answers: list[list[str]] = [[] for _ in calls]
        self.threads = [
            threading.Thread(target=self._call, args=(net, *call, found))
            for call, found in zip(calls, self.answers, strict=True)
        ]

    async def more(self, count: int = 2) -> None:
        """Wait until each loop has made so many further calls."""
        wanted = [len(found) + count for found in self.answers]
        async with asyncio.timeout(100):
            while any(len(found) < least for found, least in zip(self.answers, wanted, strict=True)):
                await asyncio.sleep(0.002)

    def reach(self, count: int) -> None:
        """Wait until each loop has made so many calls in all."""
        deadline = time.monotonic() + 100
        while any(len(found) < count for found in self.answers):
            assert time.monotonic() < deadline, self.answers
            time.sleep(0.002)

    def _call(self, net: Net, caller: str, to: tuple[str, int], found: list[str]) -> None:
        while not self.done.is_set():
            found.append(net.call(caller, *to)[0])


@contextmanager
def calling(net: Net, *calls: tuple[str, tuple[str, int]]) -> Iterator[Callers]:
    callers = Callers(net, *calls)
    for thread in callers.threads:
        thread.start()
    try:
        yield callers
    finally:
        callers.done.set()
        for thread in callers.threads:
            thread.join()


@contextmanager
def undisturbed(net: Net) -> Iterator[None]:
    """Every connection to the untouched Service is answered all the while: cluster IP and node port, both families."""
    calls = [("pod-1b", (at.service(20), 80)) for at in (FOUR, SIX)]
    calls += [("outside", (at.hosts["node-1"], 30080)) for at in (FOUR, SIX)]
    with calling(net, *calls) as callers:
        callers.reach(1)
        yield
        callers.reach(21)
    for found in callers.answers:
        assert set(found) <= PODS


def plane(net: Net) -> NftDataplane:
    return kernel_dataplane(net.config(FOUR, "node-1", SIX))


def differing(net: Net, dataplane: NftDataplane) -> list[str]:
    """The sets in the kernel that are not as the data plane's books have them."""
    nft = KernelNftables(net.paths["node-1"])
    try:
        return [
            name
            for book in dataplane._books
            for name, elements in book.wanted().items()
            if nft.elements(book.planner.layout.family, TABLE, name) != elements
        ]
    finally:
        nft.close()


@asynccontextmanager
async def synced(net: Net) -> AsyncIterator[NftDataplane]:
    """A data plane that has written the untouched Service."""
    dataplane = plane(net)
    try:
        await dataplane.sync(untouched())
        yield dataplane
    finally:
        await dataplane.close()


@asynccontextmanager
async def running(net: Net, api: FakeApi, **settings: Any) -> AsyncIterator[tuple[Proxy, NftDataplane]]:
    """The whole proxy; the untouched Service is among what it has."""
    vips = [FOUR.service(20), SIX.service(20)]
    api.put(SERVICES, service(FOUR, "web", 20, port(80, name="http", node_port=30080), clusterIPs=vips))
    for at in (FOUR, SIX):
        api.put(ENDPOINT_SLICES, named(endpoints(at, "web", tuple(PODS), ("http", 8080)), f"web-{at.version}"))
    dataplane = plane(net)
    proxy = Proxy(Client(api), net.config(FOUR, "node-1", SIX, **settings), dataplane=dataplane)
    task = asyncio.create_task(proxy.run())
    try:
        await asyncio.wait_for(proxy.synced.wait(), 60)
        yield proxy, dataplane
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await dataplane.close()


def named(made: Obj, name: str) -> Obj:
    made["metadata"] |= {"name": name, "uid": name}
    return made


async def until(holds: Callable[[], Any]) -> None:
    async with asyncio.timeout(100):
        while not await asyncio.to_thread(holds):
            await asyncio.sleep(0.02)


async def applied(proxy: Proxy, made: Obj) -> None:
    """Wait until the kernel is programmed up to this Service or slice."""
    revision = int(made["metadata"]["resourceVersion"])
    which = "services" if made["kind"] == "Service" else "endpoint_slices"
    async with asyncio.timeout(100):
        while int(getattr(proxy.applied, which) or 0) < revision:
            await asyncio.sleep(0.002)


def test_killed_at_any_point_of_a_sync(net: Net) -> None:
    """Nothing is left half done: the next process takes over what it finds, without a gap, and ends up right."""
    rng = random.Random(7)
    asyncio.run(write(net))
    with undisturbed(net):
        for number in range(KILLS):
            kill_in_the_middle(net, rng, seed=number)
        truth = untouched()
        change(rng, truth)
        assert asyncio.run(write(net, truth)) == []


async def write(net: Net, truth: Any = None) -> list[str]:
    """What differs in the kernel after a whole sync."""
    async with synced(net) as dataplane:
        await dataplane.sync(truth or untouched())
        return differing(net, dataplane)


def kill_in_the_middle(net: Net, rng: random.Random, *, seed: int) -> None:
    """A third dies in the first, whole sync or right after it; the others among changes."""
    process = subprocess.Popen(
        [sys.executable, "-m", "support.proxy_mortal", net.paths["node-1"], str(seed)],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(TESTS)},
    )
    try:
        assert process.stdout is not None
        if seed % 3:
            assert process.stdout.readline() == b"synced\n"
        else:
            generation_moved(net, process)
        with pytest.raises(subprocess.TimeoutExpired):  # the moment of death is chance
            process.wait(rng.uniform(0, 0.15))
    finally:
        process.kill()
        process.communicate()


def generation_moved(net: Net, process: subprocess.Popen[bytes]) -> None:
    """Wait until the process has made its first transaction."""
    nft = KernelNftables(net.paths["node-1"])
    try:
        before = nft.generation()
        while nft.generation() == before:
            assert process.poll() is None
    finally:
        nft.close()


def flush_ruleset(net: Net) -> None:
    """As `nft flush ruleset`: all tables of all families."""
    nft = KernelNftables(net.paths["node-1"])
    nft._send([Encoded(2, 0, HEAD.pack(0, 0, 0), DeleteTable())])
    nft.close()


async def test_a_foreign_flush_of_all_rules_is_put_right(net: Net) -> None:
    async with running(net, FakeApi(), check_seconds=0.1) as (proxy, dataplane):
        for _ in range(5):
            flush_ruleset(net)
            await until(lambda: differing_or_gone(net, dataplane) == [])
            assert net.call("outside", FOUR.hosts["node-1"], 30080)[0] in PODS
        assert proxy.healthy


def differing_or_gone(net: Net, dataplane: NftDataplane) -> list[str]:
    try:
        return differing(net, dataplane)
    except FileNotFoundError:
        return [TABLE]


async def test_others_take_out_elements_and_only_these_are_put_back(net: Net) -> None:
    async with synced(net) as dataplane:
        await dataplane.sync(untouched())
        nft = KernelNftables(net.paths["node-1"])
        try:
            targets = list(nft.elements(IP, TABLE, "targets"))
            nft.commit(Transaction(IP, TABLE, [DeleteElements("targets", targets)]))
        finally:
            nft.close()
        with calling(net, ("pod-1b", (FOUR.service(20), 80))) as callers:
            assert await dataplane.check({}) == 1
            assert differing(net, dataplane) == []
        assert set(callers.answers[0]) <= PODS


async def test_a_change_of_what_others_took_out_is_refused_and_then_all_is_synced(net: Net) -> None:
    rng, truth = random.Random(3), untouched()
    change(rng, truth)
    async with synced(net) as dataplane:
        await dataplane.sync(truth)
        with undisturbed(net):
            vandal = KernelNftables(net.paths["node-1"])
            try:
                keys = [each for each in vandal.elements(IP, TABLE, "endpoints") if each[2] == 7]  # 10.96.7.0/24
                vandal.commit(Transaction(IP, TABLE, [DeleteElements("endpoints", keys)]))
            finally:
                vandal.close()
            changed = frozenset(key for key in truth if key.name != "web")
            with pytest.raises(Refused, match="No such file"):
                await dataplane.sync(untouched(), changed=changed)
            await dataplane.sync(untouched(), changed=changed)
        assert differing(net, dataplane) == []


async def test_answers_that_overrun_the_socket_are_an_error_that_is_got_over(net: Net) -> None:
    """The table has gone, and the kernel answers to each of hundreds of operations; the socket holds a few of these."""
    truth = untouched()
    for size in range(1, 120):
        backends = tuple(Backend(f"10.244.9.{n}", 8080) for n in range(1, size + 1))
        front = Front(vips=(f"10.96.7.{size}",), port=80, backends=backends)
        truth[ServicePort("default", f"of-{size}", "", "TCP")] = front
    async with synced(net) as dataplane:
        assert isinstance(dataplane.nft, KernelNftables)
        dataplane.nft.netlink.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        flush_ruleset(net)
        with pytest.raises(OSError) as caught:
            await dataplane.sync(truth, changed=frozenset(truth))
        assert isinstance(caught.value, Refused)
        await dataplane.sync(truth, changed=frozenset(truth))
        assert differing(net, dataplane) == []
        assert {net.call("pod-1b", FOUR.service(20), 80)[0] for _ in range(20)} <= PODS


async def test_a_thousand_services_deleted_and_made_at_once(net: Net) -> None:
    api = FakeApi()

    def make() -> Obj:
        for number in range(1000):
            made = service(FOUR, f"many-{number}", 0, port(80, name="http"), clusterIPs=[vip(number)], type="ClusterIP")
            api.put(SERVICES, made)
            last = api.put(ENDPOINT_SLICES, endpoints(FOUR, f"many-{number}", ("pod-1a", "pod-2a"), ("http", 8080)))
        return last

    def drop() -> None:
        for number in range(1000):
            api.drop(SERVICES, f"many-{number}", "default")
            api.drop(ENDPOINT_SLICES, f"many-{number}-1", "default")

    async with running(net, api) as (proxy, dataplane):
        with undisturbed(net):
            await applied(proxy, make())
            for _ in range(3):
                drop()
                await applied(proxy, make())
            await until(lambda: differing(net, dataplane) == [])
            assert {net.call("pod-1b", vip(number), 80)[0] for number in (0, 500, 999) for _ in range(10)} == {
                "pod-1a",
                "pod-2a",
            }
            drop()
            await until(lambda: len(proxy.tracker.desired) == 1 and differing(net, dataplane) == [])
            assert net.call("pod-1b", vip(500), 80)[0] == "refused"


def vip(number: int) -> str:
    return f"10.96.{number // 250 + 1}.{number % 250 + 1}"


async def test_a_service_changes_its_type_while_it_is_called(net: Net) -> None:
    """Whoever calls reaches its endpoints or is refused: nobody else answers, and nobody waits in vain."""
    api, at = FakeApi(), FOUR
    http = port(80, name="http", node_port=30060)
    kinds: list[dict[str, Any]] = [
        {"type": "NodePort"},
        {"type": "ExternalName", "externalName": "example.org", "clusterIPs": []},
        {"type": "ClusterIP"},
        {"type": "NodePort", "sessionAffinity": "ClientIP"},
        {"type": "ClusterIP", "clusterIPs": ["None"]},
        {"type": "LoadBalancer", "externalTrafficPolicy": "Local"},
        {"type": "ClusterIP", "externalIPs": [at.balancer(9)]},
        {"type": "ExternalName", "externalName": "example.org", "clusterIPs": []},
    ]

    def put(kind: dict[str, Any]) -> Obj:
        ports = [http] if kind["type"] in ("NodePort", "LoadBalancer") else [port(80, name="http")]
        return api.put(SERVICES, service(at, "shift", 60, *ports, **kind))

    targets = [("pod-1b", (at.service(60), 80)), ("outside", (at.hosts["node-1"], 30060))]
    async with running(net, api, min_sync_seconds=0.001) as (proxy, dataplane):
        api.put(ENDPOINT_SLICES, endpoints(at, "shift", ("pod-1a",), ("http", 8080)))
        with undisturbed(net), calling(net, *targets) as callers:
            for _ in range(8):
                for kind in kinds:
                    await applied(proxy, put(kind))
                    await callers.more()
        for found in callers.answers:
            assert set(found) <= {"pod-1a", "refused"}
            assert "refused" in found
        assert "pod-1a" in callers.answers[0]
        await applied(proxy, put(kinds[0]))
        assert net.call("outside", at.hosts["node-1"], 30060)[0] == "pod-1a"
        assert differing(net, dataplane) == []


async def test_an_address_moves_between_services_while_it_is_called(net: Net) -> None:
    """Two Services exchange their cluster IPs and node ports over and over: one of the two answers, or none does."""
    api, at = FakeApi(), FOUR
    pods = {"first": "pod-1a", "second": "pod-2a"}
    async with running(net, api, min_sync_seconds=0.001) as (proxy, dataplane):
        for name, pod in pods.items():
            api.put(ENDPOINT_SLICES, endpoints(at, name, (pod,), ("http", 8080)))
        calls = [("pod-1b", (at.service(61), 80)), ("outside", (at.hosts["node-1"], 30061))]
        with undisturbed(net), calling(net, *calls) as callers:
            for turn in range(40):
                for number, name in zip((61, 62), sorted(pods, reverse=bool(turn % 2)), strict=True):
                    http = port(80, name="http", node_port=30000 + number)
                    made = api.put(SERVICES, service(at, name, number, http))
                await applied(proxy, made)
                await callers.more()
        for found in callers.answers:
            assert set(found) <= {*pods.values(), "refused"}
            assert set(found) >= set(pods.values())
        await until(lambda: differing(net, dataplane) == [])
        assert net.call("pod-1b", at.service(61), 80)[0] == "pod-2a"
        assert net.call("pod-1b", at.service(62), 80)[0] == "pod-1a"


BAD_SLICES: dict[str, Callable[[Obj], Any]] = {
    "the same endpoint, not ready": lambda one: one["endpoints"][0].update(conditions={"ready": False}),
    "the same endpoint, on another node": lambda one: one["endpoints"][0].update(nodeName="node-2"),
    "the same endpoint twice": lambda one: one["endpoints"].extend(one["endpoints"] * 3),
    "another port number": lambda one: one["ports"][0].update(port=8081),
    "no port number": lambda one: one["ports"][0].update(port=None),
    "a port out of range": lambda one: one["ports"][0].update(port=70000),
    "another protocol": lambda one: one["ports"][0].update(protocol="UDP"),
    "no ports": lambda one: one.update(ports=[]),
    "no endpoints": lambda one: one.update(endpoints=[]),
    "endpoints that are null": lambda one: one.update(endpoints=None),
    "an address of the other family": lambda one: one["endpoints"][0].update(addresses=[SIX.hosts["pod-1a"]]),
    "what is no address": lambda one: one["endpoints"][0].update(addresses=["10.244.1.2.3"]),
    "several addresses": lambda one: one["endpoints"][0].update(addresses=[FOUR.hosts["pod-1a"], "10.244.77.7"]),
    "the type of the other family": lambda one: one.update(addressType="IPv6"),
    "names for addresses": lambda one: one.update(addressType="FQDN"),
    "weights that are none": lambda one: one["metadata"].update(annotations={"pybernetes.io/weights": "{[}"}),
}


async def test_slices_that_contradict_each_other_or_make_no_sense(net: Net) -> None:
    """One good slice and a bad one beside it: the good endpoint answers, and others notice nothing."""
    api, at = FakeApi(), FOUR
    async with running(net, api) as (proxy, dataplane):
        api.put(SERVICES, service(at, "doubt", 63, port(80, name="http", node_port=30063)))
        api.put(ENDPOINT_SLICES, endpoints(at, "doubt", ("pod-1a",), ("http", 8080)))
        with undisturbed(net):
            for spoil in BAD_SLICES.values():
                bad = named(endpoints(at, "doubt", ("pod-1a",), ("http", 8080)), "doubt-bad")
                spoil(bad)
                await applied(proxy, api.put(ENDPOINT_SLICES, bad))
                assert proxy.healthy
                for call in (("pod-1b", at.service(63), 80), ("outside", at.hosts["node-1"], 30063)):
                    assert {net.call(*call)[0] for _ in range(6)} == {"pod-1a"}
                assert differing(net, dataplane) == []
    assert len(proxy.tracker.slices.indexed("service", str(Key("default", "doubt")))) == 2
