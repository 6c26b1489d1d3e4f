"""Waiting pods: order, parking, back-off."""

import asyncio

import pytest

from pybernetes.scheduler.pending import Pending

pytestmark = pytest.mark.looptime


async def soon(pending: Pending) -> object:
    return await asyncio.wait_for(pending.get(), 0.01)


async def test_priority_then_arrival() -> None:
    pending = Pending()
    pending.add("a")
    pending.add("b", priority=10)
    pending.add("c", priority=10)
    pending.add("a")
    assert [await soon(pending) for _ in range(3)] == ["b", "c", "a"]


async def test_parked_pods_wait_for_a_change_and_back_off_longer_each_time() -> None:
    pending = Pending()
    pending.add("a")
    waits = []
    for _ in range(9):
        assert await pending.get() == "a"
        pending.park("a")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(pending.get(), 100)
        began = asyncio.get_running_loop().time()
        pending.wake_all()
        await asyncio.sleep(0)
        assert dict(pending.sizes)["backoff"] == 1
        await _until_active(pending)
        waits.append(asyncio.get_running_loop().time() - began)
    assert waits[0] == pytest.approx(0.1, abs=0.02)
    assert waits[1] == pytest.approx(0.2, abs=0.02)
    assert waits[-1] == pytest.approx(10, abs=0.1)


async def _until_active(pending: Pending) -> None:
    while not dict(pending.sizes)["active"]:
        await asyncio.sleep(0.01)


async def test_a_changed_pod_is_tried_at_once_and_one_that_is_gone_never() -> None:
    pending = Pending()
    pending.add("a")
    await soon(pending)
    pending.park("a")
    pending.add("a")
    assert await soon(pending) == "a"
    pending.back_off("a")
    pending.remove("a")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(pending.get(), 100)


async def test_long_parked_pods_are_tried_again() -> None:
    pending = Pending()
    pending.add("a")
    await soon(pending)
    pending.park("a")
    await asyncio.sleep(400)
    pending.wake_old()
    assert await soon(pending) == "a"
