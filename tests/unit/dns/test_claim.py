"""What a node claims in its kernel's table, over the model of nftables."""

import pytest

from pybernetes.dns.claim import SHAPES, TABLE, keys, skeleton
from pybernetes.netlink.expressions import BoundSocket, Notrack
from pybernetes.netlink.fake import FakeNftables
from pybernetes.netlink.nft import IP, Transaction

V4 = bytes([10, 96, 0, 10])


def test_a_claim_is_of_the_address_over_both_transports():
    assert keys(["10.96.0.10"], [53]) == {V4 + bytes([6, 0, 0, 0, 0, 53, 0, 0]), V4 + bytes([17, 0, 0, 0, 0, 53, 0, 0])}
    assert {len(key) for key in keys(["fd00::a"], [53])} == {24}


@pytest.mark.parametrize("version", [4, 6])
def test_the_table_can_be_made_again_without_doubling_its_rules(version):
    nft, shape = FakeNftables(), SHAPES[version]
    for _ in range(2):
        nft.commit(Transaction(shape.family, TABLE, skeleton(shape)))
    assert nft.chains(shape.family, TABLE) == {"prerouting": 1, "output": 2}
    assert nft.elements(shape.family, TABLE, "claimed") == {}


def test_only_arriving_packets_can_be_asked_for_a_socket():
    nft = FakeNftables()
    nft.commit(Transaction(IP, TABLE, skeleton(SHAPES[4])))
    chains = nft.tables[IP, TABLE].chains
    asked = {name: any(isinstance(e, BoundSocket) for r in chain.rules for e in r) for name, chain in chains.items()}
    assert asked == {"prerouting": True, "output": False}
    assert all(isinstance(rule[-1], Notrack) for chain in chains.values() for rule in chain.rules)


def test_a_kernel_without_the_socket_match_has_the_claims_alone():
    rules = [each for each in skeleton(SHAPES[4], sockets=False) if "BoundSocket" in repr(each)]
    assert rules == []
