"""The packet table through the tracer over the model of nftables."""

from collections.abc import Sequence

import pytest

from pybernetes.netlink.conntrack import Match
from pybernetes.netlink.fake import FakeNftables
from pybernetes.netlink.nft import IP, IP6
from pybernetes.proxy.dataplane import NftDataplane
from pybernetes.proxy.layout import TABLE
from pybernetes.proxy.loop import planners
from pybernetes.proxy.model import PROTOCOLS
from support.proxy_cases import DNS, FAMILIES, FOUR, NODES, SIX, Addresses, config, desired, node_of
from support.proxy_table import CASES, Case, of
from support.tracer import Outcome, Packet, Tracer

TRIES = 60


class NoConnections:
    def delete(self, match: Match) -> None:
        return

    def close(self) -> None:
        return


CLUSTERS = [(at, families) for families in ((FOUR,), (SIX,), FAMILIES) for at in families]
NAMES = [f"ipv{at.version}" + (" of both" if len(families) > 1 else "") for at, families in CLUSTERS]


async def node(name: str, at: Addresses, families: Sequence[Addresses]) -> Tracer:
    """A node with all Services in its tables; packets are traced in one family."""
    nft = FakeNftables()
    first, *more = families
    dataplane = NftDataplane(nft, NoConnections(), planners(config(first, name, *more, localhost_node_ports=True)))
    await dataplane.sync(desired(name, of(*families)))
    await dataplane.close()
    own = frozenset({at.hosts[name], at.service(DNS)})
    return Tracer(nft, family=IP if at.version == 4 else IP6, own=own)


def trace(tracer: Tracer, at: Addresses, case: Case) -> Outcome:
    source = at.hosts["loopback" if case.to == "loopback" else case.caller]
    packet = Packet(source, case.address(at), case.port, PROTOCOLS[case.protocol])
    return tracer.send(packet) if case.caller.startswith("node-") else tracer.receive(packet)


def entry(case: Case) -> str:
    """The node whose rules translate the packet."""
    if str(case.to) in NODES and not case.caller.startswith("node-"):
        return str(case.to)  # a pod's own node sends it on
    return node_of(case.caller) if case.caller != "outside" else "node-1"  # the route to the balancer's addresses


@pytest.mark.parametrize(("at", "families"), CLUSTERS, ids=NAMES)
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.name} by {case.protocol}")
async def test_packet(case: Case, at: Addresses, families: Sequence[Addresses]) -> None:
    tracer, expected = await node(entry(case), at, families), case.by(at)
    outcomes = [trace(tracer, at, case) for _ in range(TRIES)]
    kinds = {outcome.kind for outcome in outcomes}
    if expected in ("refused", "dropped"):
        assert kinds == {expected}
        return
    if expected in ("node", "alone"):
        kind = "local" if expected == "node" else "forward"
        assert {(outcome.kind, outcome.translated, outcome.masqueraded) for outcome in outcomes} == {
            (kind, False, False)
        }
        return
    names = {address: host for host, address in at.hosts.items()}
    answered = {names[outcome.destination] for outcome in outcomes}
    assert kinds <= {"forward", "local"}
    assert answered <= set(expected)
    assert len(answered) == 1 if case.sticky else answered == set(expected)
    for outcome in outcomes:
        assert outcome.masqueraded == case.is_masked(names[outcome.destination])


async def test_nobody_reaches_loopback_from_a_link() -> None:
    """127.0.0.0/8 is protected by a rule where node ports are open there, for the kernel then routes it."""
    tracer = await node("node-1", FOUR, FAMILIES)
    outside = FOUR.hosts["outside"]
    for source, destination in ((outside, "127.0.0.1"), (outside, "127.9.9.9"), ("127.0.0.7", FOUR.hosts["node-1"])):
        for port in (30080, 10250):
            assert tracer.receive(Packet(source, destination, port)).kind == "dropped"
    assert tracer.receive(Packet("127.0.0.1", "127.0.0.1", 10250, link=1)).kind == "local"
    assert tracer.receive(Packet(outside, FOUR.hosts["node-1"], 10250)).kind == "local"


async def test_the_kernels_own_protection_of_loopback_is_off_only_behind_the_rule() -> None:
    nft, log = FakeNftables(), []

    def note(on: bool) -> None:
        log.append((on, "martians" in nft.chains(IP, TABLE)))

    for settings in ({"localhost_node_ports": True}, {"localhost_node_ports": True}, {}):
        made = planners(config(FOUR, "node-1", SIX, **settings))
        dataplane = NftDataplane(nft, NoConnections(), made, route_localnet=note)
        await dataplane.sync({})
        await dataplane.close()
    assert log == [(True, True), (True, True), (False, True)]  # the last before the rule went
    dataplane = NftDataplane(nft, NoConnections(), planners(config(FOUR, "node-1")), route_localnet=note)
    await dataplane.clear()
    await dataplane.close()
    assert len(log) == 3  # nothing was there to be undone
