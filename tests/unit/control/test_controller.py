"""The loop: retries what fails, quietly or not, and never stops."""

import asyncio
import logging

import pytest

from pybernetes.api.errors import Conflict, Forbidden
from pybernetes.control import Again, Controller

pytestmark = pytest.mark.looptime


async def run_until(controller: Controller[str], done: asyncio.Event) -> None:
    task = asyncio.create_task(controller.run())
    await asyncio.wait_for(done.wait(), 600)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize(
    ("error", "level"),
    [(Conflict("c"), None), (Forbidden("f"), logging.WARNING), (ConnectionError("x"), logging.WARNING),
     (ValueError("bug"), logging.ERROR)],
)  # fmt: skip
async def test_what_fails_comes_again(error: Exception, level: int | None, caplog: pytest.LogCaptureFixture) -> None:
    tries = []
    done = asyncio.Event()

    async def reconcile(key: str) -> None:
        tries.append(key)
        if len(tries) < 3:
            raise error
        done.set()

    controller: Controller[str] = Controller("test", reconcile)
    controller.queue.add("a")
    await run_until(controller, done)
    assert tries == ["a", "a", "a"]
    said = [record.levelno for record in caplog.records if record.name == "pybernetes.control.controller"]
    assert said == ([] if level is None else [level, level])
    assert controller.queue.retries("a") == 0


async def test_again_comes_back_later() -> None:
    times = []
    done = asyncio.Event()

    async def reconcile(key: str) -> Again | None:
        times.append(asyncio.get_running_loop().time())
        if len(times) == 1:
            return Again(100.0)
        done.set()
        return None

    controller: Controller[str] = Controller("test", reconcile)
    controller.queue.add("a")
    await run_until(controller, done)
    assert times[1] - times[0] == pytest.approx(100, abs=0.1)


async def test_a_key_is_with_one_worker_at_a_time_and_keys_go_side_by_side() -> None:
    running: set[str] = set()
    most = []
    done = asyncio.Event()

    async def reconcile(key: str) -> None:
        assert key not in running
        running.add(key)
        most.append(len(running))
        await asyncio.sleep(1)
        running.discard(key)
        if len(most) >= 4:
            done.set()

    controller: Controller[str] = Controller("test", reconcile, workers=2)
    for key in ("a", "b", "a"):
        controller.queue.add(key)
    asyncio.get_running_loop().call_later(0.5, controller.queue.add, "a")
    asyncio.get_running_loop().call_later(0.5, controller.queue.add, "b")
    await run_until(controller, done)
    assert max(most) == 2
