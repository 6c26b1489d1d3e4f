import asyncio

import pytest

from pybernetes.store import Change, Lagged, Record
from pybernetes.store.watchers import Watchers


def change(revision: int, key: str) -> Change:
    return Change("put", revision, Record(key, b"", revision, revision))


@pytest.fixture
def watchers() -> Watchers:
    return Watchers(limit=3, progress_seconds=10)


async def test_a_batch_comes_as_one(watchers: Watchers) -> None:
    with watchers.watcher("/a/", [], after=1, now=1) as watcher:
        batch = [change(2, "/a/1"), change(3, "/b/1"), change(4, "/a/2")]
        watchers.publish(batch)
        assert list(await anext(watcher)) == [batch[0], batch[2]]
    watchers.close()


async def test_history_comes_first(watchers: Watchers) -> None:
    with watchers.watcher("/", [change(2, "/a")], after=1, now=2) as watcher:
        watchers.publish([change(3, "/b")])
        assert [one.revision for one in await anext(watcher)] == [2, 3]
    watchers.close()


async def test_lagging_is_for_ever_and_forgets_what_waited(watchers: Watchers) -> None:
    with watchers.watcher("/", [], after=1, now=1) as watcher:
        for revision in range(2, 10):
            watchers.publish([change(revision, "/a")])
        for _ in range(2):
            with pytest.raises(Lagged):
                await anext(watcher)
    watchers.close()


async def test_watchers_that_went_leave_nothing_behind(watchers: Watchers) -> None:
    for prefix in ("/a/", "/a", "/"):
        with watchers.watcher(prefix, [], after=1, now=1):
            pass
    assert (watchers._by_prefix, watchers._odd) == ({}, set())


@pytest.mark.looptime
async def test_marks_go_to_who_has_not_heard_of_the_latest_revision(watchers: Watchers) -> None:
    with (
        watchers.watcher("/a/", [], after=1, now=1) as a,
        watchers.watcher("/b/", [], after=1, now=1) as b,
        watchers.watcher("/late/", [], after=1, now=1) as late,
    ):
        watchers.publish([change(2, "/a/1")])
        await asyncio.sleep(11)
        assert list(await anext(a)) == [change(2, "/a/1")]
        assert list(await anext(b)) == [Change("mark", 2)]
        assert list(await anext(late)) == [Change("mark", 2)]
        await asyncio.sleep(100)
        assert a.inbox.empty
        assert b.inbox.empty
        watchers.publish([change(3, "/b/1")])
        await asyncio.sleep(11)
        assert list(await anext(a)) == [Change("mark", 3)]
        assert list(await anext(b)) == [change(3, "/b/1")]
    watchers.close()


@pytest.mark.looptime
async def test_a_watch_that_begins_behind_is_told_of_now(watchers: Watchers) -> None:
    with watchers.watcher("/a/", [], after=1, now=5) as watcher:
        assert list(await anext(watcher)) == [Change("mark", 5)]
    watchers.close()
