"""Delays, back-off and waiting workers; the laws themselves are in tests/property."""

import asyncio

import pytest

from pybernetes.control import KeyQueue

pytestmark = pytest.mark.looptime


def time() -> float:
    return asyncio.get_running_loop().time()


async def test_adds_coalesce_and_an_add_while_busy_is_one_more_run() -> None:
    queue: KeyQueue[str] = KeyQueue("test")
    queue.add("a")
    queue.add("a")
    assert await queue.get() == "a"
    queue.add("a")
    queue.add("a")
    assert len(queue) == 0
    queue.done("a")
    assert await queue.get() == "a"
    queue.done("a")
    assert queue.idle


async def test_a_delayed_add_comes_when_asked_and_the_earliest_counts() -> None:
    queue: KeyQueue[str] = KeyQueue()
    began = time()
    queue.add("a", after=60)
    queue.add("a", after=10)
    queue.add("a", after=30)
    assert await queue.get() == "a"
    assert time() - began == pytest.approx(10, abs=0.1)
    queue.done("a")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(queue.get(), 1000)


async def test_retries_back_off_and_forget_starts_anew() -> None:
    queue: KeyQueue[str] = KeyQueue()
    waits = []
    for _ in range(16):
        began = time()
        queue.retry("a")
        await queue.get()
        waits.append(time() - began)
        queue.done("a")
    assert waits[0] < 0.02
    assert waits[3] == pytest.approx(0.04, abs=0.01)
    assert waits[-1] == pytest.approx(60, abs=0.5)
    assert queue.retries("a") == 16
    queue.forget("a")
    assert queue.retries("a") == 0


async def test_a_cancelled_worker_passes_its_turn_on() -> None:
    queue: KeyQueue[str] = KeyQueue()
    first = asyncio.create_task(queue.get())
    second = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.add("a")
    first.cancel()
    assert await asyncio.wait_for(second, 1) == "a"
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_close_drops_timers() -> None:
    queue: KeyQueue[str] = KeyQueue()
    queue.add("a", after=1)
    queue.close()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(queue.get(), 5)
