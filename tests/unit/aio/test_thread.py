import asyncio
import threading
import time

import pytest

from pybernetes.aio.thread import Worker


async def test_calls_run_in_order_in_one_other_thread() -> None:
    worker = Worker("test")
    seen: list[tuple[int, int]] = []

    def note(number: int) -> int:
        time.sleep(0.001 * (5 - number))
        seen.append((number, threading.get_ident()))
        return number

    assert await asyncio.gather(*(worker.call(note, number) for number in range(5))) == list(range(5))
    assert [number for number, _ in seen] == list(range(5))
    assert {thread for _, thread in seen}.isdisjoint({threading.get_ident()})
    assert len({thread for _, thread in seen}) == 1
    await worker.close()


async def test_errors_come_back() -> None:
    worker = Worker("test")

    def fail() -> None:
        raise LookupError("x")

    with pytest.raises(LookupError):
        await worker.call(fail)
    await worker.close()


async def test_a_call_goes_on_when_its_caller_is_cancelled() -> None:
    worker = Worker("test")
    go = threading.Event()
    done: list[bool] = []

    def slow() -> None:
        go.wait(10)
        done.append(True)

    task = asyncio.create_task(worker.call(slow))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    go.set()
    await worker.close()
    assert done == [True]


async def test_after_close_calls_are_refused() -> None:
    worker = Worker("test")
    await worker.close()
    with pytest.raises(RuntimeError):
        await worker.call(int)
