"""The data plane under any changes and faults: killed between any two transactions, tables destroyed, all made anew.

The number of changes is bounded; PYBERNETES_FUZZ_CHANGES=100000 makes it the long run.
"""

import os
import random
from collections.abc import Iterator

import pytest

from pybernetes.netlink.fake import FakeNftables
from pybernetes.netlink.nft import IP, DeleteTable, Transaction
from pybernetes.proxy.dataplane import NftDataplane
from pybernetes.proxy.layout import TABLE
from pybernetes.proxy.model import Backend, Desired, Front
from support.proxy_fuzz import NODE, SERVICES, dataplane, front, key
from support.tracer import Packet, Tracer

CHANGES = int(os.environ.get("PYBERNETES_FUZZ_CHANGES", "600"))
POD = "10.244.9.9"


class Killed(BaseException):
    """The process ended here."""


class Mortal(FakeNftables):
    """Ends the process before the commit that `countdown` says; what was applied before stays."""

    countdown = -1

    def commit(self, transaction: Transaction) -> None:
        if self.countdown == 0:
            self.countdown = -1
            raise Killed
        self.countdown -= self.countdown > 0
        super().commit(transaction)


def homes(desired: Desired) -> Iterator[tuple[Front, str]]:
    """The fronts that have their cluster IP to themselves: what becomes of calls to it is certain."""
    claims = [(each.vips[0], each.protocol) for each in desired.values()]
    for each in desired.values():
        if claims.count((each.vips[0], each.protocol)) == 1:
            yield each, each.vips[0]


def check_packets(nft: FakeNftables, desired: Desired, seed: int) -> None:
    tracer = Tracer(nft, own=frozenset({NODE}), seed=seed)
    for each, vip in homes(desired):
        outcome = tracer.receive(Packet(POD, vip, 80, 6 if each.protocol == "TCP" else 17))
        allowed = each.local_backends if each.internal_local else each.backends
        if allowed:
            assert (outcome.destination, outcome.port) in {(backend.address, backend.port) for backend in allowed}
        else:
            assert outcome.kind == ("dropped" if each.backends else "refused")
    assert tracer.receive(Packet(POD, "10.96.77.7", 80)).kind == "refused"


def check_nothing_stale(nft: FakeNftables, plane: NftDataplane) -> None:
    (book,) = plane._books
    for name, elements in book.wanted().items():
        assert nft.elements(IP, TABLE, name) == elements


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.timeout(36_000 if CHANGES > 10_000 else 300)
async def test_any_change_and_any_fault_ends_in_the_wanted_state(seed: int) -> None:
    rng = random.Random(seed)
    nft, desired = Mortal(), Desired()
    plane = dataplane(nft)
    await plane.sync(desired)
    for step in range(CHANGES // 2):
        touched = [key(number) for number in rng.sample(range(SERVICES), rng.randrange(1, 4))]
        if step % 97 == 96:  # all deleted and made anew at once
            touched = [key(number) for number in range(SERVICES)]
        for each in touched:
            desired.pop(each, None)
            if rng.random() < 0.75:
                desired[each] = front(rng, int(each.name[1:]))
        fault = rng.random()
        if fault < 0.05:
            nft.commit(Transaction(IP, TABLE, [DeleteTable()]))
            await plane.check(desired)
        nft.countdown = rng.randrange(3) if fault > 0.9 else -1
        try:
            await plane.sync(desired, changed=frozenset(touched))
        except Killed:
            await plane.close()
            plane = dataplane(nft)
            await plane.sync(desired)
        nft.countdown = -1
        check_packets(nft, desired, step)
        check_nothing_stale(nft, plane)
    await plane.sync({})
    await plane.close()


async def test_a_thousand_services_deleted_and_made_at_once_leave_the_others_alone() -> None:
    nft = FakeNftables()
    plane = dataplane(nft)
    rest = {key(0): Front(vips=("10.96.0.20",), port=80, backends=(Backend("10.244.1.2", 8080),))}
    many = {
        key(number): Front(
            vips=(f"10.96.{number >> 8}.{number & 255}",), port=80, backends=(Backend("10.244.2.9", 8080),)
        )
        for number in range(1000, 2000)
    }
    await plane.sync(rest | many)
    tracer = Tracer(nft, own=frozenset({NODE}))
    for wanted, kind in ((rest, "refused"), (rest | many, "forward"), (rest, "refused")):
        before = nft.commits
        await plane.sync(dict(wanted), changed=frozenset(many))
        assert nft.commits - before <= 2
        assert tracer.receive(Packet(POD, "10.96.0.20", 80)).destination == "10.244.1.2"
        assert tracer.receive(Packet(POD, "10.96.4.1", 80)).kind == kind
    await plane.close()
