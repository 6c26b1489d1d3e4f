"""The packet table through the tracer over the model of nftables."""

import pytest

from pybernetes.netlink.conntrack import Match
from pybernetes.netlink.fake import FakeNftables
from pybernetes.netlink.nft import IP, IP6
from pybernetes.proxy.dataplane import NftDataplane
from pybernetes.proxy.loop import planners
from pybernetes.proxy.model import PROTOCOLS
from support.proxy_cases import CASES, DNS, FAMILIES, NODES, Addresses, Case, config, desired, node_of
from support.tracer import Outcome, Packet, Tracer

TRIES = 60


class NoConnections:
    def delete(self, match: Match) -> None:
        return

    def close(self) -> None:
        return


async def node(at: Addresses, name: str) -> Tracer:
    """A node with all Services in its tables."""
    nft = FakeNftables()
    dataplane = NftDataplane(nft, NoConnections(), planners(config(at, name)))
    await dataplane.sync(desired(at, name))
    await dataplane.close()
    own = frozenset({at.hosts[name], at.service(DNS)})
    return Tracer(nft, family=IP if at.version == 4 else IP6, own=own)


def trace(tracer: Tracer, at: Addresses, case: Case) -> Outcome:
    packet = Packet(at.hosts[case.caller], case.address(at), case.port, PROTOCOLS[case.protocol])
    return tracer.send(packet) if case.caller.startswith("node-") else tracer.receive(packet)


def entry(case: Case) -> str:
    """The node whose rules the packet meets first."""
    if case.caller != "outside":
        return node_of(case.caller)
    return str(case.to) if case.to in NODES else "node-1"  # the route to the balancer's addresses


@pytest.mark.parametrize("at", FAMILIES, ids=lambda at: f"ipv{at.version}")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_packet(case: Case, at: Addresses) -> None:
    tracer = await node(at, entry(case))
    outcomes = [trace(tracer, at, case) for _ in range(TRIES)]
    if case.to == "node-2" and case.caller == "pod-1b":  # sent on by node-1; node-2 translates
        tracer = await node(at, "node-2")
        outcomes = [trace(tracer, at, case) for _ in range(TRIES)]
    if case.expected in ("refused", "dropped"):
        assert {outcome.kind for outcome in outcomes} == {case.expected}
        return
    if case.expected == "node":
        assert {(outcome.kind, outcome.translated, outcome.masqueraded) for outcome in outcomes} == {
            ("local", False, False)
        }
        return
    answered = {outcome.destination for outcome in outcomes}
    assert {outcome.kind for outcome in outcomes} == {"forward"}
    wanted = {at.hosts[pod] for pod in case.expected}
    assert answered <= wanted
    sticky = case.to in (24, 30) or case.port == 30024
    assert sticky or answered == wanted
    assert not sticky or len(answered) == 1
    for outcome in outcomes:
        itself = outcome.destination == at.hosts[case.caller]
        assert outcome.masqueraded == (itself or masked(case))


def masked(case: Case) -> bool:
    """Whether the caller's address is hidden from every endpoint, not only from itself."""
    return (not case.kept and not case.caller.startswith("pod-")) or (isinstance(case.to, str) and not case.kept)
