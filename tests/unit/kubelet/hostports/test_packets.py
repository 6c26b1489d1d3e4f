"""The packet table of host ports through the tracer over the model of nftables, beside the service proxy's rules."""

import asyncio

import pytest

from pybernetes.kubelet.hostports import HostPorts
from pybernetes.kubelet.hostports.mapping import PROTOCOLS
from pybernetes.netlink.fake import FakeNftables
from pybernetes.netlink.nft import IP, IP6
from pybernetes.proxy.dataplane import NftDataplane
from pybernetes.proxy.loop import planners
from support.hostport_cases import EVERYWHERE, NAMES, ROWS, pods
from support.proxy_cases import FAMILIES, FOUR, NODES, SIX, config, desired, node_of
from support.proxy_table import of
from support.tracer import Outcome, Packet, Tracer


class NoConnections:
    def delete(self, match):
        return

    def close(self):
        return


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    return asyncio.run(nodes(tmp_path_factory.mktemp("records")))


async def nodes(records):
    """The nftables of both nodes; host ports are on node-1 only."""
    made = {node: FakeNftables() for node in NODES}
    for node, nft in made.items():
        dataplane = NftDataplane(nft, NoConnections(), planners(config(FOUR, node, SIX, localhost_node_ports=True)))
        await dataplane.sync(desired(node, of(*FAMILIES)))
        await dataplane.close()
    keeper = HostPorts(
        versions={4, 6},
        records=records,
        owner="me",
        nft=lambda: made["node-1"],
        connections=NoConnections,
        localnet=lambda link, on: None,
    )
    for pod, ports in pods().items():
        await keeper.open(pod, ports)
    return made


def trace(tables, at, case, protocol) -> Outcome:
    """What the first node does whose rules translate the packet, else the last one."""
    source = at.hosts["loopback" if case.to == "loopback" else case.caller]
    destination, number = at.hosts[case.to], PROTOCOLS[protocol]
    first, last = node_of(case.caller), case.to if case.to.startswith("node-") else node_of(case.caller)
    outcome = None
    for node in dict.fromkeys(each for each in (first, last) if each in NODES):
        own = frozenset({at.hosts[node]})
        tracer = Tracer(tables[node], family=IP if at is FOUR else IP6, own=own)
        packet = Packet(source, destination, case.port, number)
        outcome = tracer.send(packet) if case.caller == node else tracer.receive(packet)
        if outcome.translated:
            return outcome
    assert outcome is not None
    return outcome


@pytest.mark.parametrize("at", FAMILIES, ids=lambda at: f"ipv{at.version}")
@pytest.mark.parametrize(("case", "protocol"), ROWS, ids=NAMES)
def test_packet(tables, at, case, protocol):
    outcome, expected = trace(tables, at, case, protocol), case.by(at)
    if expected == "refused" or expected == case.to:
        assert not outcome.translated  # nobody listens there
        assert outcome.kind in ("local", "forward")
        return
    assert outcome.destination == at.hosts[expected]
    assert outcome.masqueraded == case.masked


async def test_an_address_that_is_exempt_is_left_alone(tmp_path):
    """Cluster DNS is on the node's loopback link; whoever has host port 53 is not cluster DNS."""
    nft, addresses = FakeNftables(), {4: "10.96.0.10", 6: "fd00:96::a"}
    keeper = HostPorts(
        versions={4, 6}, records=tmp_path, owner="me", exempt=addresses.values(), nft=lambda: nft,
        connections=NoConnections, localnet=lambda link, on: None,
    )  # fmt: skip
    await keeper.open("pod-1a", pods()["pod-1a"])
    for at, family in ((FOUR, IP), (SIX, IP6)):
        dns, node = addresses[at.version], at.hosts["node-1"]
        tracer = Tracer(nft, family=family, own=frozenset({dns, node}))
        for destination, translated in ((dns, False), (node, True)):
            packet = Packet(at.hosts["pod-1b"], destination, EVERYWHERE, PROTOCOLS["UDP"])
            assert tracer.receive(packet).translated == translated


@pytest.mark.parametrize("source", ["172.30.0.9", "10.244.1.2"], ids=["a caller outside", "a pod with a host port"])
async def test_nobody_reaches_loopback_from_a_link(tmp_path, source):
    nft = FakeNftables()
    keeper = HostPorts(
        versions={4}, records=tmp_path, owner="me", nft=lambda: nft, connections=NoConnections,
        localnet=lambda link, on: None,
    )  # fmt: skip
    await keeper.open("pod-1a", pods()["pod-1a"])
    tracer = Tracer(nft, own=frozenset({FOUR.hosts["node-1"]}))
    for port in (EVERYWHERE, 10250):
        assert tracer.receive(Packet(source, "127.0.0.1", port)).kind == "dropped"
        assert tracer.receive(Packet("127.0.0.7", FOUR.hosts["node-1"], port)).kind == "dropped"
    assert tracer.receive(Packet("127.0.0.1", "127.0.0.1", 10250, link=1)).kind == "local"
