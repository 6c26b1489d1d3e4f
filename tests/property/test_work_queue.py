"""The laws of the work queue, under any order of calls."""

import asyncio
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from pybernetes.control import KeyQueue

KEYS = st.sampled_from("abc")
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), KEYS),
        st.tuples(st.just("get"), st.just("")),
        st.tuples(st.just("done"), KEYS),
        st.tuples(st.just("retry"), KEYS),
        st.tuples(st.just("forget"), KEYS),
    ),
    max_size=60,
)


@settings(max_examples=200, deadline=None)
@given(STEPS)
def test_one_worker_per_key_and_nothing_lost(steps: list[tuple[str, str]]) -> None:
    async def play() -> None:
        queue: KeyQueue[str] = KeyQueue()
        busy: set[str] = set()
        dirty: set[str] = set()  # added since it was last taken
        for step, key in steps:
            if step == "add":
                queue.add(key)
                dirty.add(key)
            elif step == "get":
                if dirty - busy:
                    key = await asyncio.wait_for(queue.get(), 60)
                    assert key not in busy
                    assert key in dirty
                    busy.add(key)
                    dirty.discard(key)
                else:
                    assert len(queue) == 0
            elif step == "done" and key in busy:
                queue.done(key)
                busy.discard(key)
            elif (step == "retry" and key in busy) or step == "forget":
                queue.forget(key)
        for key in sorted(busy):
            queue.done(key)
        rest = [await asyncio.wait_for(queue.get(), 60) for _ in range(len(queue))]
        assert Counter(rest) == Counter(dirty)
        queue.close()

    asyncio.run(play())


@settings(max_examples=50, deadline=None)
@given(st.lists(KEYS, min_size=1, max_size=40), st.integers(1, 5))
def test_the_last_add_is_always_seen(adds: list[str], workers: int) -> None:
    """Whatever is added is worked on after it was added: no worker's result is older than the last add."""

    async def play() -> None:
        queue: KeyQueue[str] = KeyQueue()
        added: Counter[str] = Counter()
        seen: Counter[str] = Counter()
        running: set[str] = set()

        async def work() -> None:
            while True:
                key = await queue.get()
                assert key not in running
                running.add(key)
                now = added[key]
                await asyncio.sleep(0)
                seen[key] = now
                running.discard(key)
                queue.done(key)

        tasks = [asyncio.create_task(work()) for _ in range(workers)]
        for number, key in enumerate(adds):
            added[key] += 1
            queue.add(key)
            if number % 3 == 0:
                await asyncio.sleep(0)
        while not queue.idle:
            await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(result, asyncio.CancelledError) for result in results)
        assert seen == added

    asyncio.run(play())
