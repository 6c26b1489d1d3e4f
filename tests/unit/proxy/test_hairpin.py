"""A pod that calls its own Service is masqueraded, also by the packet that is under way while the pod leaves it."""

import pytest

from pybernetes.netlink.fake import FakeNftables
from pybernetes.netlink.nft import IP, Transaction
from pybernetes.proxy.layout import TABLE, Layout, Ranges
from pybernetes.proxy.model import Backend, Front, ServicePort
from pybernetes.proxy.plan import Book, Planner

KEY = ServicePort("default", "web", "", "TCP")
POD = "10.244.1.2"
PAIR = bytes((10, 244, 1, 2)) * 2
RANGES = Ranges(services=("10.96.0.0/16",), pods=("10.244.0.0/16",), ours=())


def front(*addresses):
    backends = tuple(Backend(address, 8080, address == POD) for address in addresses)
    return Front(
        vips=("10.96.0.20",), port=80, protocol="TCP", node_port=0, externals=(), backends=backends,
        local_backends=tuple(each for each in backends if each.local), internal_local=False, external_local=False,
        affinity_seconds=0,
    )  # fmt: skip


class World:
    def __init__(self):
        layout = Layout(IP, RANGES)
        self.nft = FakeNftables()
        self.nft.commit(Transaction(IP, TABLE, layout.skeleton()))
        self.book = Book(Planner(layout, node_addresses=()))

    def update(self, updates):
        change = self.book.update(updates)
        for operations in filter(None, (change.chains, change.elements)):
            self.nft.commit(Transaction(IP, TABLE, operations))

    @property
    def pairs(self):
        return set(self.nft.tables[IP, TABLE].sets["hairpin"].content)


@pytest.fixture
def world():
    world = World()
    world.update({KEY: front(POD, "10.244.2.3")})
    assert world.pairs == {PAIR}
    return world


@pytest.mark.parametrize("gone", [front("10.244.2.3"), front(), None], ids=["a pod less", "no pod", "no Service"])
def test_the_pair_outlives_its_endpoint_by_one_update(world, gone):
    world.update({KEY: gone})
    assert world.pairs == {PAIR}
    world.update({})
    assert world.pairs == set()


def test_a_pair_that_comes_back_stays(world):
    world.update({KEY: front("10.244.2.3")})
    world.update({KEY: front(POD)})
    world.update({})
    assert world.pairs == {PAIR}
    world.update({KEY: None})
    world.update({})
    assert world.pairs == set()


def test_a_repair_takes_nothing_that_lingers(world):
    world.update({KEY: front("10.244.2.3")})
    observed = {name: dict(held.content) for name, held in world.nft.tables[IP, TABLE].sets.items()}
    wanted = world.book.wanted()
    assert world.book.repair({name: observed[name] for name in wanted}) == []
