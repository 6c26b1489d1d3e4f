"""A node's claim to the cluster DNS addresses in a kernel namespace: it holds while it is renewed, and no longer."""

import asyncio
from collections.abc import Iterator

import pytest

from pybernetes.dns.claim import SHAPES, TABLE, Claim, clear, keys, skeleton
from pybernetes.netlink.links import Links
from pybernetes.netlink.nft import IP, IP6, AddElements, AddTable, DeleteTable, KernelNftables, Transaction
from support import kernel

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(bool(kernel.missing()), reason=f"needs {kernel.missing()}")]

ADDRESSES = ("10.96.0.10", "fd00:10:96::a")
CLAIMED = {IP: keys(ADDRESSES[:1], [53]), IP6: keys(ADDRESSES[1:], [53])}


@pytest.fixture
def node() -> Iterator[str]:
    with kernel.namespace("claim") as path:
        with Links(path) as links:
            links.up("lo")
        yield path


def held(nft: KernelNftables) -> dict[int, frozenset[bytes]]:
    return {family: frozenset(nft.elements(family, TABLE, "claimed")) for family in (IP, IP6)}


async def until(holds, seconds: float = 60.0) -> None:
    async with asyncio.timeout(seconds):
        while not holds():
            await asyncio.sleep(0.02)


async def claimed_by(node: str, nft: KernelNftables) -> "asyncio.Task[None]":
    ready = asyncio.Event()
    claim = Claim(ADDRESSES, ready=ready, nft=KernelNftables(node), namespace=node)
    running = asyncio.create_task(claim.run())
    await until(lambda: nft.sets(IP6, TABLE))
    assert held(nft) == {IP: frozenset(), IP6: frozenset()}  # not before it can answer
    ready.set()
    await until(lambda: held(nft) == CLAIMED)
    return running


async def test_held_from_ready_on_and_released_at_the_end(node):
    nft = KernelNftables(node)
    running = await claimed_by(node, nft)
    with Links(node) as links:
        quiet = {a.address for a in links.addresses("lo") if a.quiet}
        assert quiet >= {"10.96.0.10/32", "fd00:10:96::a/128"}, "nothing of the node's own begins from these"
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert held(nft) == {IP: frozenset(), IP6: frozenset()}
    clear(nft)
    assert nft.sets(IP, TABLE) == frozenset()
    nft.close()


async def test_a_claim_outlives_its_time_by_being_renewed_and_a_flushed_table(node):
    nft = KernelNftables(node)
    running = await claimed_by(node, nft)
    nft.commit(Transaction(IP, TABLE, [AddTable(), DeleteTable()]))  # what `flush ruleset` does
    await until(lambda: nft.sets(IP, TABLE) and held(nft) == CLAIMED)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    nft.close()


async def test_a_claim_that_nobody_renews_ends_by_itself(node):
    nft = KernelNftables(node)
    wanted = AddElements("claimed", dict.fromkeys(CLAIMED[IP]))
    nft.commit(Transaction(IP, TABLE, [*skeleton(SHAPES[4]), wanted]))
    assert frozenset(nft.elements(IP, TABLE, "claimed")) == CLAIMED[IP]
    await until(lambda: not nft.elements(IP, TABLE, "claimed"))
    nft.close()
