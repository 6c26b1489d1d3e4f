"""The proxy's plan against any sequence of truths: every packet reaches a ready endpoint or is refused, nothing stale
is left, and a packet between two lookups of a changing table finds no hole.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from pybernetes.netlink.fake import Elements, FakeNftables, Table
from pybernetes.netlink.nft import IP, Transaction
from pybernetes.proxy.layout import LOCAL_SLOTS, TABLE, Layout, Ranges
from pybernetes.proxy.model import Backend, Desired, Front, ServicePort
from pybernetes.proxy.plan import ELEMENT_SETS, Book, Planner, assign
from support.tracer import Outcome, Packet, Tracer

NODE = "172.30.0.11"
POD = "10.244.9.9"
OUTSIDE = "172.30.0.99"
RANGES = Ranges(services=("10.96.0.0/16",), pods=("10.244.0.0/16",), ours=("10.96.0.10",))

backends = st.integers(2, 9).map(lambda n: Backend(f"10.244.{1 + n % 2}.{n}", 8080 + n % 3, n % 2 == 0))
groups = st.lists(backends, max_size=6, unique=True).map(tuple)


@st.composite
def fronts(draw: st.DrawFn, number: int) -> Front:
    all_backends = draw(groups)
    return Front(
        vips=(f"10.96.0.{20 + draw(st.integers(0, 1)) * number}",),  # numbers meet at .20: contradictory Services
        port=80,
        protocol=draw(st.sampled_from(["TCP", "UDP"])),
        node_port=draw(st.sampled_from([0, 30080, 30080 + number])),
        externals=draw(st.sampled_from([(), ("198.51.100.1",)])),
        backends=all_backends,
        local_backends=tuple(each for each in all_backends if each.local),
        internal_local=draw(st.booleans()),
        external_local=draw(st.booleans()),
        affinity_seconds=draw(st.sampled_from([0, 0, 60, 10800])),
    )


@st.composite
def truths(draw: st.DrawFn) -> Desired:
    found: Desired = {}
    for number in range(draw(st.integers(0, 4))):
        found[ServicePort("default", f"s{number}", "", "TCP")] = draw(fronts(number))
    return found


class EverySlot(random.Random):
    """Chance that gives each number in turn, so that nothing is left to luck."""

    def __init__(self) -> None:
        super().__init__(0)
        self.next = 0

    def randrange(self, start: int, stop: int | None = None, step: int = 1) -> int:
        assert stop is None
        self.next += 1
        return self.next % start


@dataclass
class World:
    nft: FakeNftables
    book: Book

    @property
    def table(self) -> Table:
        return self.nft.tables[IP, TABLE]

    def apply(self, truth: Desired, before: Desired) -> list[tuple[Table, Table]]:
        """As the data plane does it; the table before and after each transaction."""
        changed = {key: truth.get(key) for key in truth.keys() | before.keys() if truth.get(key) != before.get(key)}
        change = self.book.update(changed)
        steps = []
        for operations in filter(None, (change.chains, change.elements)):
            was = self.table.copied()
            self.nft.commit(Transaction(IP, TABLE, operations))
            steps.append((was, self.table.copied()))
        return steps


def world() -> World:
    layout = Layout(IP, RANGES)
    nft = FakeNftables()
    nft.commit(Transaction(IP, TABLE, layout.skeleton()))
    return World(nft, Book(Planner(layout, node_addresses=(NODE,))))


def calls(nft: FakeNftables, source: str, address: str, port: int, protocol: str) -> list[Outcome]:
    """Enough calls that every slot comes up."""
    found = []
    for number in range(9):
        tracer = Tracer(nft, own=frozenset({NODE}))
        tracer.random = EverySlot()
        tracer.random.next = number
        nft.tables[IP, TABLE].sets["affinity"].content.clear()
        found.append(tracer.receive(Packet(source, address, port, 6 if protocol == "TCP" else 17)))
    return found


def owned(book: Book) -> Iterator[tuple[Front, str, int, bool]]:
    """(front, address, port, external) of everything that answers and that no other Service has taken."""
    for key, placement in book.placements.items():
        denied = book.denied.get(key, frozenset())
        home = book.planner.key(placement.addresses[0], placement.front.protocol)
        for address in placement.addresses:
            if home not in denied and book.planner.key(address, placement.front.protocol) not in denied:
                yield placement.front, address.address, address.port, address.external


def expected(front: Front, *, external: bool, outside: bool) -> tuple[set[tuple[str, int]], str]:
    """Who may answer; and what happens when nobody may."""
    local = front.external_local and outside if external else front.internal_local
    allowed = front.local_backends if local else front.backends
    verdict = "dropped" if local and front.backends else "refused"
    return {(each.address, each.port) for each in allowed}, verdict


def check_packets(at: World) -> None:
    for front, address, port, external in owned(at.book):
        for source in (POD, OUTSIDE):
            allowed, otherwise = expected(front, external=external, outside=source == OUTSIDE)
            outcomes = calls(at.nft, source, address, port, front.protocol)
            if allowed:
                assert {(each.destination, each.port) for each in outcomes} == allowed
                masked = source == OUTSIDE if not external else not front.external_local
                assert all(each.masqueraded == masked for each in outcomes)
            else:
                assert {each.kind for each in outcomes} == {otherwise}
    unknown = calls(at.nft, POD, "10.96.77.7", 80, "TCP")
    assert {each.kind for each in unknown} == {"refused"}


def check_nothing_stale(at: World) -> None:
    wanted = at.book.wanted()
    assert {name: at.table.sets[name].content for name in ELEMENT_SETS} == {name: wanted[name] for name in ELEMENT_SETS}
    pairs = {
        address
        for key, placement in at.book.placements.items()
        for address in at.book.planner.elements(placement, at.book.denied.get(key, frozenset()))[0]["hairpin"]
    }
    assert at.table.sets["hairpin"].content.keys() == pairs


@given(st.lists(truths(), min_size=1, max_size=6))
@settings(max_examples=60, deadline=None)
def test_every_packet_reaches_a_ready_endpoint_or_is_refused(sequence: list[Desired]) -> None:
    at = world()
    before: Desired = {}
    for truth in sequence:
        at.apply(truth, before)
        check_packets(at)
        at.apply(truth, truth)  # hairpin pairs go one update later
        check_nothing_stale(at)
        before = truth
    at.apply({}, before)
    at.apply({}, {})
    assert all(not at.table.sets[name].content for name in ELEMENT_SETS)


@given(st.lists(truths(), min_size=2, max_size=4))
@settings(max_examples=40, deadline=None)
def test_step_by_step_is_as_good_as_from_scratch(sequence: list[Desired]) -> None:
    """Repairing the table that many steps led to finds nothing to do, whoever compares."""
    at = world()
    before: Desired = {}
    for truth in sequence:
        at.apply(truth, before)
        before = truth
    observed = {name: dict(at.nft.elements(IP, TABLE, name)) for name in ELEMENT_SETS}
    assert at.book.repair(observed) == []


LOOKUPS = ("external-local", "services", "targets", "affinity", "members", "local-members", "endpoints")
"""In the order in which a packet looks."""


def mixed(before: Table, after: Table, cut: int) -> Table:
    """The table as a packet sees it that came to the hook before a transaction (it keeps to the rules of that moment,
    so a chain made since is empty) and whose first `cut` lookups came before it too, the others after.
    """
    table = after.copied()
    for name, chain in table.chains.items():
        chain.rules[:] = before.chains[name].rules if name in before.chains else []
    for name in LOOKUPS[:cut]:
        held = before.sets[name]
        table.sets[name] = Elements(held.shape, dict(held.content), set(held.ends))
    return table


living = st.lists(backends, min_size=1, max_size=6, unique=True).map(tuple)


@given(
    living,
    living,
    st.sampled_from([0, 60]),
    st.booleans(),
    st.booleans(),
    st.integers(0, len(LOOKUPS)),
    st.integers(0, 8),
)
@settings(max_examples=300, deadline=None)
def test_a_packet_between_two_lookups_finds_no_hole(
    old: tuple[Backend, ...],
    new: tuple[Backend, ...],
    affinity_seconds: int,
    external: bool,
    remembered: bool,
    cut: int,
    number: int,
) -> None:
    """The kernel's lookups are not one: each may see the table before or after an update (facts/dataplane.md, 6)."""
    at = world()
    key = ServicePort("default", "web", "", "TCP")

    def front(members: tuple[Backend, ...]) -> Front:
        return Front(
            vips=("10.96.0.20",), port=80, node_port=30080, backends=members, affinity_seconds=affinity_seconds
        )

    at.apply({key: front(old)}, {})
    tracer = Tracer(at.nft, own=frozenset({NODE}))
    tracer.random = EverySlot()
    tracer.random.next = number
    to = (NODE, 30080) if external else ("10.96.0.20", 80)
    if remembered:
        tracer.receive(Packet(OUTSIDE, *to))
    steps = at.apply({key: front(new)}, {key: front(old)})
    final = at.table
    for was, became in steps:
        at.nft.tables[IP, TABLE] = mixed(was, became, cut)
        outcome = tracer.receive(Packet(OUTSIDE, *to))
        assert (outcome.destination, outcome.port) in {(each.address, each.port) for each in (*old, *new)}
    at.nft.tables[IP, TABLE] = mixed(final, final, 0)
    outcome = tracer.receive(Packet(OUTSIDE, *to))
    # after the change nobody is sent to an endpoint that went, remembered or not
    assert (outcome.destination, outcome.port) in {(each.address, each.port) for each in new}
    if affinity_seconds:
        again = tracer.receive(Packet(OUTSIDE, *to))
        assert (again.destination, again.port) == (outcome.destination, outcome.port)


@given(groups, groups)
def test_slots_are_kept(old: tuple[Backend, ...], new: tuple[Backend, ...]) -> None:
    slots = assign(old, new)
    assert sorted(slots) == sorted(new)
    kept = [slot for slot, backend in enumerate(slots) if slot < len(old) and old[slot] == backend]
    staying = set(old) & set(new)
    if len(new) >= len(old):
        assert len(kept) == len(staying)  # nobody who stays moves while there is room
    else:
        assert len(kept) >= len([each for each in old[: len(new)] if each in staying])


def test_slots_are_far_apart() -> None:
    """More endpoints than LOCAL_SLOTS would run into the slots of the Local policies."""
    assert LOCAL_SLOTS > 60_000
