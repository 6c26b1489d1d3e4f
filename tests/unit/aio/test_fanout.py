import asyncio

import pytest

from pybernetes.aio.fanout import Fanout, Inbox, Overflow


async def test_every_reader_gets_everything_in_order() -> None:
    fanout: Fanout[int] = Fanout()
    with fanout.subscribe() as one, fanout.subscribe() as two:
        fanout.publish(1)
        fanout.publish(2, 3)
        assert list(await anext(one)) == [1, 2, 3]
        fanout.publish(4)
        assert list(await anext(one)) == [4]
        assert list(await anext(two)) == [1, 2, 3, 4]
    assert len(fanout) == 0


async def test_a_reader_waits() -> None:
    fanout: Fanout[str] = Fanout()
    with fanout.subscribe() as inbox:
        task = asyncio.create_task(anext(inbox))  # type: ignore[arg-type]
        await asyncio.sleep(0)
        assert not task.done()
        fanout.publish("x")
        fanout.publish("y")
        assert list(await task) == ["x", "y"]


async def test_overflow_ends_the_slow_reader_only() -> None:
    fanout: Fanout[int] = Fanout(limit=2)
    with fanout.subscribe() as slow, fanout.subscribe() as quick:
        for number in range(5):
            fanout.publish(number)
            assert list(await anext(quick)) == [number]
        assert len(fanout) == 1
        for _ in range(2):
            with pytest.raises(Overflow):
                await anext(slow)


async def test_closing_delivers_what_waits_then_ends() -> None:
    fanout: Fanout[int] = Fanout()
    with fanout.subscribe() as inbox:
        fanout.publish(1)
        fanout.close()
        fanout.publish(2)
        assert [list(batch) async for batch in inbox] == [[1]]


async def test_closing_with_a_reason_raises_it() -> None:
    inbox: Inbox[int] = Inbox(10)
    task = asyncio.create_task(anext(inbox))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    inbox.close(LookupError("gone"))
    with pytest.raises(LookupError):
        await task
    assert not inbox.offer([1])


async def test_a_reader_that_is_cancelled_loses_nothing() -> None:
    inbox: Inbox[int] = Inbox(10)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await anext(inbox)
    inbox.offer([1])
    assert list(await anext(inbox)) == [1]
