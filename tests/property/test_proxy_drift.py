"""The look for drift while others destroy and changes go on: in any order of steps it repairs what differs.

The number of runs is bounded; PYBERNETES_FUZZ_SEEDS makes them more.
"""

import os
import random

import pytest

from pybernetes.netlink.fake import FakeNftables
from pybernetes.netlink.nft import IP, AddElements, Data, DeleteElements, Transaction
from pybernetes.proxy.dataplane import NftDataplane
from pybernetes.proxy.layout import TABLE
from pybernetes.proxy.model import Desired
from pybernetes.proxy.plan import ELEMENT_SETS
from support.proxy_fuzz import SERVICES, dataplane, front, key

SEEDS = int(os.environ.get("PYBERNETES_FUZZ_SEEDS", "6"))


class Vandal:
    """Takes elements out, changes them, and puts others in, as any program with the right may."""

    def __init__(self, nft: FakeNftables, rng: random.Random) -> None:
        self.nft, self.rng = nft, rng
        self.touched: set[tuple[str, bytes]] = set()

    def strike(self) -> None:
        name = self.rng.choice([each for each in ELEMENT_SETS if self.nft.elements(IP, TABLE, each)] or ["hairpin"])
        held = dict(self.nft.elements(IP, TABLE, name))
        if not held:
            return
        victim = self.rng.choice(sorted(held))
        kind = self.rng.choice(("take", "change", "add"))
        if kind == "add":
            victim = bytes([victim[0] ^ 0x80]) + victim[1:]
        data = self.other(held, name, victim)
        if victim in held:
            self.nft.commit(Transaction(IP, TABLE, [DeleteElements(name, [victim])]))
        if kind != "take":
            self.nft.commit(Transaction(IP, TABLE, [AddElements(name, {victim: data})]))
        self.touched.add((name, victim))

    def other(self, held: dict[bytes, Data], name: str, key: bytes) -> Data:
        return self.rng.choice([data for each, data in sorted(held.items()) if each != key] or list(held.values()))


def settle(plane: NftDataplane) -> int:
    return sum(plane._check())


def differing(nft: FakeNftables, plane: NftDataplane) -> list[str]:
    (book,) = plane._books
    return [name for name, elements in book.wanted().items() if nft.elements(IP, TABLE, name) != elements]


def change(plane: NftDataplane, desired: Desired, rng: random.Random) -> None:
    touched = [key(number) for number in rng.sample(range(SERVICES), rng.randrange(1, 4))]
    for each in touched:
        desired.pop(each, None)
        if rng.random() < 0.75:
            desired[each] = front(rng, int(each.name[1:]))
    plane._update({each: desired.get(each) for each in touched})


def filled(rng: random.Random) -> tuple[FakeNftables, NftDataplane, Desired]:
    nft = FakeNftables()
    plane = dataplane(nft)
    desired = {key(number): front(rng, number) for number in range(SERVICES)}
    plane._replace(desired)
    return nft, plane, desired


@pytest.mark.parametrize("seed", range(SEEDS))
def test_any_order_of_steps_ends_in_the_wanted_state(seed: int) -> None:
    rng = random.Random(seed)
    nft, plane, desired = filled(rng)
    vandal, refused = Vandal(nft, rng), 0
    for _ in range(25):
        for _ in range(rng.randrange(4)):
            vandal.strike()
        try:
            for _ in plane._check():
                if rng.random() < 0.2:
                    change(plane, desired, rng)
                if rng.random() < 0.03:
                    vandal.strike()
        except OSError:  # a change, or a repair, of what had just been destroyed: all is synced anew, as the loop does
            plane._replace(desired)
            refused += 1
        settle(plane)  # what was destroyed during the first one
        assert differing(nft, plane) == []
        assert settle(plane) == 0
    assert refused < 20


@pytest.mark.parametrize("seed", range(SEEDS))
def test_own_changes_meanwhile_are_no_drift(seed: int) -> None:
    rng = random.Random(seed)
    nft, plane, desired = filled(rng)
    for _ in range(25):
        nft.commits += 1  # somebody changed a table of his own
        found = 0
        for step in plane._check():
            found += step
            if rng.random() < 0.3:
                change(plane, desired, rng)
        assert found == 0
        assert differing(nft, plane) == []


@pytest.mark.parametrize("seed", range(SEEDS))
def test_only_what_differs_is_touched(seed: int) -> None:
    rng = random.Random(seed)
    nft, plane, _ = filled(rng)
    vandal = Vandal(nft, rng)
    for _ in range(5):
        vandal.strike()
    repaired: set[tuple[str, bytes]] = set()
    commit = nft.commit

    def noted(transaction: Transaction) -> None:
        for each in transaction.operations:
            assert isinstance(each, AddElements | DeleteElements)
            keys = each.elements if isinstance(each, AddElements) else each.keys
            repaired.update((each.set, name) for name in keys)
        commit(transaction)

    nft.commit = noted  # type: ignore[method-assign]
    assert settle(plane) > 0
    assert repaired <= vandal.touched
    assert differing(nft, plane) == []
