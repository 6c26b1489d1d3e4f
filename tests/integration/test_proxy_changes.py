"""The proxy under change in kernel namespaces: no connection is lost by an update, flows leave endpoints that went."""

import asyncio
import itertools
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from pybernetes.netlink import namespaces
from pybernetes.netlink.message import attributes, pairs, text
from pybernetes.netlink.nft import IP, DeleteTable, KernelNftables, Transaction
from pybernetes.proxy.dataplane import NftDataplane
from pybernetes.proxy.layout import TABLE
from pybernetes.proxy.loop import cleanup, kernel_dataplane
from pybernetes.proxy.model import Desired
from support import kernel
from support.proxy_cases import FAMILIES, FOUR, NODES, Addresses, desired, endpoints, port, service
from support.proxy_net import Net, network

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(bool(kernel.missing()), reason=f"needs {kernel.missing()}")]

POD_SETS = (("pod-1a",), ("pod-1a", "pod-1b", "pod-2a"), ("pod-1b", "pod-2a"), ("pod-1a", "pod-2a"))
STICKY = {"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 60}}}


@pytest.fixture(scope="module")
def net() -> Iterator[Net]:
    with network() as made:
        yield made


def web(at: Addresses, pods: tuple[str, ...], **spec: object) -> Desired:
    made = service(at, "web", 20, port(80, name="http", node_port=30080), **spec)
    return desired("node-1", [(made, [endpoints(at, "web", pods, ("http", 8080))])])


def names(at: Addresses, pods: tuple[str, ...]) -> Desired:
    made = service(at, "names", 21, port(53, name="dns", protocol="UDP", node_port=30053))
    return desired("node-1", [(made, [endpoints(at, "names", pods, ("dns", 5353), protocol="UDP")])])


def on_node(net: Net, at: Addresses, body: Callable[[NftDataplane], object]) -> None:
    """Run a coroutine function with node-1's data plane, from a fresh start to a closed end."""

    async def run() -> None:
        dataplane = kernel_dataplane(net.config(at, "node-1"))
        try:
            await dataplane.sync({})
            await body(dataplane)  # type: ignore[misc]
        finally:
            await dataplane.close()

    asyncio.run(run())


@pytest.mark.parametrize("spec", [{}, STICKY], ids=["plain", "affinity"])
@pytest.mark.parametrize("target", ["cluster IP", "node port"])
def test_no_connection_is_lost_while_endpoints_come_and_go(net: Net, target: str, spec: dict[str, object]) -> None:
    """Endpoints change as fast as the kernel takes it; all of them live, so every connection must be answered.

    A smoke test: the holes are rare. Each is forced in tests/property/test_proxy_plan.py.
    """
    at = FOUR
    to = (at.service(20), 80) if target == "cluster IP" else (at.hosts["node-1"], 30080)
    caller = "pod-1b" if target == "cluster IP" else "outside"
    lost: list[str] = []
    done = threading.Event()
    counts = [0, 0]

    def call() -> None:
        while not done.is_set():
            name, _ = net.call(caller, *to)
            counts[0] += 1
            if name in ("refused", "dropped"):
                lost.append(name)

    async def body(dataplane: NftDataplane) -> None:
        truths = [web(at, pods, **spec) for pods in POD_SETS]
        keys = frozenset(truths[0])
        await dataplane.sync(truths[0])
        callers = [threading.Thread(target=call) for _ in range(2)]
        for thread in callers:
            thread.start()
        try:
            async with asyncio.timeout(200):
                for truth in itertools.cycle(truths):
                    await dataplane.sync(truth, changed=keys)
                    counts[1] += 1
                    if counts[0] >= 1500 and counts[1] >= 100:
                        break
        finally:
            done.set()
            for thread in callers:
                thread.join()

    on_node(net, at, body)
    assert lost == []


@pytest.mark.parametrize("at", FAMILIES, ids=lambda at: f"ipv{at.version}")
@pytest.mark.parametrize("target", ["cluster IP", "node port"])
def test_a_udp_flow_leaves_an_endpoint_that_went(net: Net, at: Addresses, target: str) -> None:
    """One socket, one flow: without deleting the tracked connection it would stick to the pod that went."""
    to = (at.service(21), 53) if target == "cluster IP" else (at.hosts["node-1"], 30053)
    caller = "pod-1b" if target == "cluster IP" else "outside"
    family = socket.AF_INET6 if at.version == 6 else socket.AF_INET

    async def body(dataplane: NftDataplane) -> None:
        await dataplane.sync(names(at, ("pod-1a",)))
        with namespaces.run_in(net.paths[caller], lambda: socket.socket(family, socket.SOCK_DGRAM)) as flow:
            flow.settimeout(30)
            flow.connect(to)

            def ask() -> str:
                flow.send(b"?")
                return flow.recv(100).decode().split()[0]

            assert ask() == "pod-1a"
            await dataplane.sync(names(at, ("pod-1a", "pod-2a")), changed=frozenset(names(at, ())))
            assert ask() == "pod-1a"  # a flow stays while its endpoint is there
            await dataplane.sync(names(at, ("pod-2a",)), changed=frozenset(names(at, ())))
            assert ask() == "pod-2a"

    on_node(net, at, body)


@pytest.mark.parametrize("at", FAMILIES, ids=lambda at: f"ipv{at.version}")
@pytest.mark.parametrize("target", ["node port", "external address", "load balancer"])
def test_a_udp_flow_from_before_there_was_an_endpoint_finds_the_first_one(net: Net, at: Addresses, target: str) -> None:
    """The kernel tracks it as going to the node itself, or through it; without deleting that it would for ever."""
    number = {"external address": 7, "load balancer": 8}.get(target)
    to = (at.balancer(number), 53) if number else (at.hosts["node-1"], 30053)
    family = socket.AF_INET6 if at.version == 6 else socket.AF_INET

    def truth(*pods: str) -> Desired:
        made = service(at, "names", 21, port(53, name="dns", protocol="UDP", node_port=30053))
        made["spec"]["externalIPs"] = [at.balancer(7)]
        made["status"] = {"loadBalancer": {"ingress": [{"ip": at.balancer(8)}]}}
        return desired("node-1", [(made, [endpoints(at, "names", pods, ("dns", 5353), protocol="UDP")])])

    async def body(dataplane: NftDataplane) -> None:
        with namespaces.run_in(net.paths["outside"], lambda: socket.socket(family, socket.SOCK_DGRAM)) as flow:
            flow.settimeout(0.3)
            flow.connect(to)
            for _ in range(2):
                with pytest.raises((ConnectionRefusedError, TimeoutError)):
                    ask(flow)
            await dataplane.sync(truth("pod-1a"), changed=frozenset(truth()))
            flow.settimeout(30)
            assert ask(flow) == "pod-1a"

    on_node(net, at, body)


def ask(flow: socket.socket) -> str:
    flow.send(b"?")
    return flow.recv(100).decode().split()[0]


def test_affinity_holds_and_moves_only_when_it_must(net: Net) -> None:
    async def body(dataplane: NftDataplane) -> None:
        truth = web(FOUR, ("pod-1a", "pod-1b", "pod-2a"), **STICKY)
        await dataplane.sync(truth)
        caller, address = "outside", FOUR.hosts["node-1"]
        (stays,) = {net.call(caller, address, 30080)[0] for _ in range(15)}
        await dataplane.sync(web(FOUR, (stays,), **STICKY), changed=frozenset(truth))
        await dataplane.sync(truth, changed=frozenset(truth))
        assert {net.call(caller, address, 30080)[0] for _ in range(15)} == {stays}
        rest = tuple(pod for pod in ("pod-1a", "pod-1b", "pod-2a") if pod != stays)
        await dataplane.sync(web(FOUR, rest, **STICKY), changed=frozenset(truth))
        (moved,) = {net.call(caller, address, 30080)[0] for _ in range(15)}
        assert moved in rest
        await dataplane.sync(truth, changed=frozenset(truth))
        assert {net.call(caller, address, 30080)[0] for _ in range(15)} == {moved}

    on_node(net, FOUR, body)


def remaining_ms(net: Net) -> list[int]:
    """How long the clients that node-1 remembers have left (NFTA_SET_ELEM_EXPIRATION, which Nftables does not show)."""
    nft = KernelNftables(net.paths["node-1"])
    body = bytes([IP, 0, 0, 0]) + text(1, TABLE) + text(2, "affinity")
    found = []
    for entry in nft.netlink.dump(10 << 8 | 13, body):
        for _, element in pairs(attributes(entry.body, 4).get(3, b"")):
            found.append(int.from_bytes(attributes(element)[5], "big"))
    nft.close()
    return found


def test_a_further_connection_starts_the_time_anew_and_keeps_the_endpoint(net: Net) -> None:
    async def body(dataplane: NftDataplane) -> None:
        await dataplane.clear()  # the clients of earlier tests are still remembered: a start takes them over
        await dataplane.sync(web(FOUR, ("pod-1a", "pod-1b", "pod-2a"), **STICKY))
        call = ("outside", FOUR.hosts["node-1"], 30080)
        first = net.call(*call)[0]
        (start,) = remaining_ms(net)
        assert start <= 60_000
        async with asyncio.timeout(60):
            while (low := remaining_ms(net)[0]) > start - 200:
                await asyncio.sleep(0.05)
        assert net.call(*call)[0] == first
        (again,) = remaining_ms(net)
        assert again > low

    on_node(net, FOUR, body)


def test_affinity_ends_after_its_time(net: Net) -> None:
    short = {"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 2}}}

    async def body(dataplane: NftDataplane) -> None:
        await dataplane.sync(web(FOUR, ("pod-1a", "pod-1b", "pod-2a"), **short))
        (first,) = {net.call("outside", FOUR.hosts["node-1"], 30080)[0] for _ in range(10)}
        found = {first}
        async with asyncio.timeout(200):  # each time one of three, by chance
            while len(found) == 1:
                await asyncio.sleep(2.1)
                found.add(net.call("outside", FOUR.hosts["node-1"], 30080)[0])

    on_node(net, FOUR, body)


def test_a_restart_takes_over_what_an_older_run_left(net: Net) -> None:
    async def body(dataplane: NftDataplane) -> None:
        await dataplane.sync(web(FOUR, ("pod-1a", "pod-2a")))
        again = kernel_dataplane(net.config(FOUR, "node-1"))
        await again.sync(web(FOUR, ("pod-1a", "pod-2a")))
        assert again.operations == 0  # nothing differs, nothing is touched
        await again.sync(web(FOUR, ("pod-1b",)))
        await again.close()
        assert {net.call("outside", FOUR.hosts["node-1"], 30080)[0] for _ in range(10)} == {"pod-1b"}

    on_node(net, FOUR, body)


def test_other_settings_replace_the_table(net: Net) -> None:
    async def body(dataplane: NftDataplane) -> None:
        await dataplane.sync(web(FOUR, ("pod-1a",)))
        other = kernel_dataplane(replace(net.config(FOUR, "node-1"), cluster_cidr="10.244.0.0/20"))
        await other.sync(web(FOUR, ("pod-1a",)))
        assert other.operations > 0
        await other.close()
        assert net.call("outside", FOUR.hosts["node-1"], 30080)[0] == "pod-1a"

    on_node(net, FOUR, body)


def test_what_others_destroy_is_put_right(net: Net) -> None:
    async def body(dataplane: NftDataplane) -> None:
        truth = web(FOUR, ("pod-1a",))
        await dataplane.sync(truth)
        assert await dataplane.check(truth) == 0
        vandal = KernelNftables(net.paths["node-1"])
        vandal.commit(Transaction(IP, TABLE, [DeleteTable()]))
        vandal.close()
        assert await dataplane.check(truth) > 0
        assert net.call("outside", FOUR.hosts["node-1"], 30080)[0] == "pod-1a"
        assert await dataplane.check(truth) == 0

    on_node(net, FOUR, body)


def test_cleanup_leaves_nothing(net: Net) -> None:
    on_node(net, FOUR, lambda dataplane: dataplane.sync(web(FOUR, ("pod-1a",))))
    for node in NODES:
        asyncio.run(cleanup(net.config(FOUR, node)))
        nft = KernelNftables(net.paths[node])
        assert nft.comment(IP, TABLE) is None
        nft.close()


@pytest.mark.parametrize("at", FAMILIES, ids=lambda at: f"ipv{at.version}")
@pytest.mark.parametrize("drain", ["keep", "reset"])
def test_a_connection_to_an_endpoint_that_went(net: Net, at: Addresses, drain: str) -> None:
    """The pod lives and would go on answering: only the Service's annotation says whether the connection may."""
    family = socket.AF_INET if at.version == 4 else socket.AF_INET6

    def held(pod: str) -> Desired:
        made = service(at, "held", 22, port(80, name="http"))
        made["metadata"]["annotations"] = {"pybernetes.io/drain": drain}
        return desired("node-1", [(made, [endpoints(at, "held", (pod,), ("http", 8090))])])

    async def body(dataplane: NftDataplane) -> None:
        await dataplane.sync(held("pod-2a"), changed=frozenset(held("pod-2a")))
        caller.connect((at.service(22), 80))
        peer, _ = listener.accept()
        with peer:
            peer.settimeout(60)
            caller.send(b"1")
            assert peer.recv(1) == b"1"
            await dataplane.sync(held("pod-1a"), changed=frozenset(held("pod-1a")))
            caller.send(b"2")
            if drain == "reset":
                with pytest.raises(ConnectionResetError):
                    caller.recv(1)
                return
            assert peer.recv(1) == b"2"
            peer.send(b"3")
            assert caller.recv(1) == b"3"

    listening = namespaces.run_in(
        net.paths["pod-2a"], lambda: socket.create_server((at.hosts["pod-2a"], 8090), family=family)
    )
    calling = namespaces.run_in(net.paths["pod-1b"], lambda: socket.socket(family, socket.SOCK_STREAM))
    with listening as listener, calling as caller:
        listener.settimeout(60)
        caller.settimeout(60)
        on_node(net, at, body)
