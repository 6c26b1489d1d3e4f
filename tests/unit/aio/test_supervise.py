import asyncio
import itertools
import random

import pytest

from pybernetes.aio.backoff import Backoff
from pybernetes.aio.supervise import Fatal, stacked, supervise


def quick() -> Backoff:
    return Backoff(first=0.001, limit=0.01, rng=random.Random(0))


class Steady:
    def __init__(self) -> None:
        self.ended = False

    async def run(self) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            self.ended = True


class Failing:
    """Fails so many times, then runs."""

    def __init__(self, *failures: BaseException | None) -> None:
        self.failures = list(failures)
        self.runs = 0
        self.steady = asyncio.Event()

    async def run(self) -> None:
        self.runs += 1
        if self.failures:
            failure = self.failures.pop(0)
            if failure is not None:
                raise failure
            return
        self.steady.set()
        await asyncio.Event().wait()


async def test_what_fails_or_returns_is_started_again(caplog: pytest.LogCaptureFixture) -> None:
    failing, steady = Failing(OSError("one"), None, ValueError("two")), Steady()
    task = asyncio.create_task(supervise(failing, steady, backoff=quick))
    async with asyncio.timeout(60):
        await failing.steady.wait()
    assert failing.runs == 4
    assert not steady.ended
    assert "service failed service=failing" in caplog.text
    assert "service ended by itself service=failing" in caplog.text
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert steady.ended


async def test_a_cancellation_of_its_own_making_does_not_end_a_service(caplog: pytest.LogCaptureFixture) -> None:
    failing = Failing(asyncio.CancelledError())
    task = asyncio.create_task(supervise(failing, backoff=quick))
    async with asyncio.timeout(60):
        await failing.steady.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert failing.runs == 2


async def test_fatal_ends_all() -> None:
    steady = Steady()
    with pytest.raises(Fatal, match="port in use"):
        await supervise(steady, Failing(OSError(), Fatal("port in use")), backoff=quick)
    assert steady.ended


@pytest.mark.looptime
async def test_waits_grow_until_it_has_run_well() -> None:
    loop = asyncio.get_running_loop()
    started: list[float] = []

    class Flaky:
        async def run(self) -> None:
            started.append(loop.time())
            if len(started) == 4:
                await asyncio.sleep(120)  # well for two minutes
            raise OSError

    task = asyncio.create_task(supervise(Flaky(), backoff=lambda: Backoff(first=1, limit=30, jitter=0)))
    await asyncio.sleep(200)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    waits = [later - earlier for earlier, later in itertools.pairwise(started)]
    assert [round(wait) for wait in waits[:6]] == [1, 2, 4, 121, 2, 4]


async def test_what_others_stand_on_ends_last() -> None:
    began: list[str] = []
    ended: list[str] = []

    class Layer:
        def __init__(self, name: str) -> None:
            self.name = name

        async def run(self) -> None:
            began.append(self.name)
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0.01)
                ended.append(self.name)

    task = asyncio.create_task(stacked([Layer("store")], [Layer("api")], [Layer("socket")]))
    async with asyncio.timeout(60):
        while len(began) < 3:
            await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == ["socket", "api", "store"]


@pytest.mark.parametrize("layer", [0, 1, 2])
async def test_what_cannot_go_on_ends_all_layers(layer: int) -> None:
    services: list[Steady | Failing] = [Steady(), Steady(), Steady()]
    services[layer] = Failing(Fatal("broken"))
    with pytest.raises(Fatal, match="broken"):
        await stacked(*([one] for one in services))
    assert all(one.ended for one in services if isinstance(one, Steady))
