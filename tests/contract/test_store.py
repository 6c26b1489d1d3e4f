"""The contract of Store, for every implementation."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path

import pytest

from pybernetes.store import Change, Compacted, Lagged, Record, Stale, Store, Unavailable
from pybernetes.store.history import Window
from pybernetes.store.memory import MemoryStore
from pybernetes.store.sqlite import SqliteStore

Open = Callable[..., Awaitable[Store]]


@pytest.fixture(params=["memory", "sqlite"])
async def opening(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Open]:
    """Makes stores with options, and closes them."""
    stores: list[Store] = []

    async def make(**options: object) -> Store:
        store: Store
        if request.param == "memory":
            store = MemoryStore(**options)  # type: ignore[arg-type]
        else:
            store = await SqliteStore.open(tmp_path / f"{len(stores)}.db", **options)  # type: ignore[arg-type]
        stores.append(store)
        return store

    yield make
    for store in stores:
        await store.close()


@pytest.fixture
async def store(opening: Open) -> Store:
    return await opening()


async def keys_of(store: Store, prefix: str = "/", **options: object) -> list[str]:
    return [record.key for record in (await store.scan(prefix, **options)).records]  # type: ignore[arg-type]


class Reader:
    """Reads a watch change by change."""

    def __init__(self, batches: AsyncIterator[Sequence[Change]]) -> None:
        self._batches = batches
        self._pending: list[Change] = []

    async def next(self) -> Change:
        while not self._pending:
            self._pending = list(await asyncio.wait_for(anext(self._batches), 60))
        return self._pending.pop(0)

    async def take(self, count: int) -> list[Change]:
        return [await self.next() for _ in range(count)]


# --- reads and writes


async def test_a_new_store_is_empty(store: Store) -> None:
    assert store.revision >= 1
    assert await store.get("/a") == (None, store.revision)
    page = await store.scan("/")
    assert (list(page.records), page.revision, page.remaining) == ([], store.revision, 0)


async def test_create_get_update_delete(store: Store) -> None:
    before = store.revision
    made = await store.create("/a", b"1")
    assert made == Record("/a", b"1", before + 1, before + 1)
    assert await store.get("/a") == (made, before + 1)
    changed = await store.update("/a", b"2", expect=made.revision)
    assert changed == Record("/a", b"2", before + 1, before + 2)
    gone = await store.delete("/a", expect=changed.revision)
    assert gone == Record("/a", b"2", before + 1, before + 3)
    assert await store.get("/a") == (None, before + 3)
    again = await store.create("/a", b"3")
    assert again.created == again.revision == before + 4 == store.revision


async def test_create_of_what_exists_is_stale(store: Store) -> None:
    made = await store.create("/a", b"1")
    with pytest.raises(Stale) as caught:
        await store.create("/a", b"2")
    assert caught.value.current == made
    assert store.revision == made.revision


@pytest.mark.parametrize("expect", [0, 999])
async def test_update_and_delete_of_another_revision_are_stale(store: Store, expect: int) -> None:
    made = await store.create("/a", b"1")
    for write in (store.update("/a", b"2", expect=expect), store.delete("/a", expect=expect)):
        with pytest.raises(Stale) as caught:
            await write
        assert caught.value.current == made
    for write in (store.update("/none", b"2", expect=expect), store.delete("/none", expect=expect)):
        with pytest.raises(Stale) as caught:
            await write
        assert caught.value.current is None
    assert store.revision == made.revision


async def test_values_are_opaque(store: Store) -> None:
    for index, value in enumerate((b"", b"\x00\xff" * 1000, "é".encode())):
        made = await store.create(f"/{index}/ü", value)
        assert (await store.get(f"/{index}/ü"))[0] == made
        assert made.value == value


async def test_scan_is_ordered_and_bounded_by_prefix(store: Store) -> None:
    for key in ("/pods/b", "/pods/a/x", "/pods/a", "/podsx", "/po", "/services/a", "/pods/ü", "/pods/Z"):
        await store.create(key, b"")
    assert await keys_of(store, "/pods/") == sorted(["/pods/b", "/pods/a/x", "/pods/a", "/pods/ü", "/pods/Z"])
    assert await keys_of(store, "/pods/a/") == ["/pods/a/x"]
    assert await keys_of(store, "/nothing/") == []
    assert len(await keys_of(store)) == 8


async def test_scan_in_pages(store: Store) -> None:
    for index in range(10):
        await store.create(f"/pods/{index}", b"")
    await store.create("/z", b"")
    first = await store.scan("/pods/", limit=4)
    assert [record.key for record in first.records] == [f"/pods/{index}" for index in range(4)]
    assert first.remaining == 6
    second = await store.scan("/pods/", after="/pods/3", limit=4)
    assert [record.key for record in second.records] == [f"/pods/{index}" for index in range(4, 8)]
    assert second.remaining == 2
    last = await store.scan("/pods/", after="/pods/7", limit=4)
    assert ([record.key for record in last.records], last.remaining) == (["/pods/8", "/pods/9"], 0)
    assert await keys_of(store, "/pods/", after="/pods/9") == []
    assert await keys_of(store, "/pods/", after="/pods/35") == [f"/pods/{index}" for index in range(4, 10)]


async def test_reading_the_past(store: Store) -> None:
    a = await store.create("/a", b"1")
    b = await store.create("/b", b"1")
    a2 = await store.update("/a", b"2", expect=a.revision)
    await store.delete("/b", expect=b.revision)
    c = await store.create("/c", b"1")
    assert await store.get("/a", at=b.revision) == (a, b.revision)
    assert await store.get("/b", at=a.revision) == (None, a.revision)
    assert await store.get("/b", at=a2.revision) == (b, a2.revision)
    page = await store.scan("/", at=b.revision)
    assert (list(page.records), page.revision, page.remaining) == ([a, b], b.revision, 0)
    page = await store.scan("/", at=a2.revision, limit=1)
    assert (list(page.records), page.remaining) == ([a2], 1)
    assert list((await store.scan("/", at=a2.revision, after="/a")).records) == [b]
    assert list((await store.scan("/")).records) == [a2, c]


async def test_reading_the_future_is_an_error(store: Store) -> None:
    for read in (store.get("/a", at=store.revision + 1), store.scan("/", at=store.revision + 1)):
        with pytest.raises(ValueError, match="future"):
            await read


async def test_compaction_forgets_the_past_only(store: Store) -> None:
    a = await store.create("/a", b"1")
    a2 = await store.update("/a", b"2", expect=a.revision)
    a3 = await store.update("/a", b"3", expect=a2.revision)
    await store.compact(a2.revision)
    with pytest.raises(Compacted) as caught:
        await store.get("/a", at=a.revision)
    assert (caught.value.asked, caught.value.oldest) == (a.revision, a2.revision)
    with pytest.raises(Compacted):
        await store.scan("/", at=a.revision)
    with pytest.raises(Compacted):
        async with store.watch("/", after=a.revision):
            pass
    assert (await store.get("/a", at=a2.revision))[0] == a2
    assert (await store.get("/a"))[0] == a3
    await store.compact(store.revision + 100)
    assert (await store.get("/a"))[0] == a3
    assert (await store.create("/b", b"")).revision == a3.revision + 1


async def test_the_past_is_bounded(opening: Open) -> None:
    store = await opening(window=Window(changes=5))
    record = await store.create("/a", b"0")
    revisions = [record.revision]
    for index in range(10):
        record = await store.update("/a", b"%d" % index, expect=record.revision)
        revisions.append(record.revision)
    with pytest.raises(Compacted) as caught:
        await store.get("/a", at=revisions[0])
    assert caught.value.oldest == revisions[-6]
    assert (await store.get("/a", at=revisions[-6]))[0] is not None


async def test_the_past_is_bounded_in_bytes_too(opening: Open) -> None:
    store = await opening(window=Window(bytes=10_000))
    record = await store.create("/a", b"x" * 3000)
    first = record.revision
    for _ in range(10):
        record = await store.update("/a", b"x" * 3000, expect=record.revision)
    with pytest.raises(Compacted):
        await store.get("/a", at=first)


# --- writers at the same time


async def test_writers_at_once_get_revisions_of_their_own(store: Store) -> None:
    before = store.revision
    records = await asyncio.gather(*(store.create(f"/{index}", b"x") for index in range(300)))
    assert sorted(record.revision for record in records) == list(range(before + 1, before + 301))


async def test_of_many_writers_to_one_revision_one_wins(store: Store) -> None:
    made = await store.create("/a", b"0")
    results = await asyncio.gather(
        *(store.update("/a", b"%d" % index, expect=made.revision) for index in range(20)), return_exceptions=True
    )
    winners = [result for result in results if isinstance(result, Record)]
    losers = [result for result in results if isinstance(result, Stale)]
    assert (len(winners), len(losers)) == (1, 19)
    assert {loser.current for loser in losers} == {winners[0]}


async def test_a_stale_writer_is_told_only_of_what_is_committed(store: Store) -> None:
    async def late() -> tuple[Record | None, Record | None]:
        with pytest.raises(Stale) as caught:
            await store.create("/a", b"2")
        return caught.value.current, (await store.get("/a"))[0]

    made, (told, read) = await asyncio.gather(store.create("/a", b"1"), late())
    assert made == told == read


async def test_a_writer_reads_its_own_write(store: Store) -> None:
    async def writer(index: int) -> None:
        record = await store.create(f"/{index}", b"")
        for _ in range(5):
            assert (await store.get(f"/{index}"))[0] == record
            record = await store.update(f"/{index}", b"", expect=record.revision)

    await asyncio.gather(*(writer(index) for index in range(20)))


async def test_a_caller_that_gives_up_does_not_disturb_the_others(store: Store) -> None:
    task = asyncio.create_task(store.create("/a", b"1"))
    other = asyncio.create_task(store.create("/b", b"1"))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    b = await other
    await store.update("/b", b"2", expect=b.revision)
    record, _ = await store.get("/a")
    assert record is None or record.value == b"1"


# --- watches


async def test_a_watch_sees_each_change_once_in_order(store: Store) -> None:
    async with store.watch("/", after=store.revision) as batches:
        reader = Reader(batches)
        a = await store.create("/a", b"1")
        a2 = await store.update("/a", b"2", expect=a.revision)
        gone = await store.delete("/a", expect=a2.revision)
        assert await reader.take(3) == [
            Change("put", a.revision, a, None),
            Change("put", a2.revision, a2, a),
            Change("delete", gone.revision, None, a2),
        ]


async def test_a_watch_begins_in_the_past_without_gap_or_repetition(store: Store) -> None:
    a = await store.create("/a", b"1")
    b = await store.create("/b", b"1")
    async with store.watch("/", after=a.revision) as batches:
        c = await store.create("/c", b"1")
        reader = Reader(batches)
        assert [change.now for change in await reader.take(2)] == [b, c]
    async with store.watch("/", after=a.revision - 1) as batches:
        assert [change.now for change in await Reader(batches).take(3)] == [a, b, c]


async def test_a_watch_sees_its_prefix_only(store: Store) -> None:
    async with (
        store.watch("/pods/", after=store.revision) as pods,
        store.watch("/pods/default/", after=store.revision) as default,
        store.watch("/pods/default/web", after=store.revision) as web,
    ):
        keys = ["/services/a", "/podsx", "/pods/other/a", "/pods/default/a", "/pods/default/web-0", "/pods/default/web"]
        for key in keys:
            await store.create(key, b"")
        assert [change.now.key for change in await Reader(pods).take(4) if change.now] == keys[2:]
        assert [change.now.key for change in await Reader(default).take(3) if change.now] == keys[3:]
        assert [change.now.key for change in await Reader(web).take(2) if change.now] == keys[4:]


async def test_watchers_see_only_what_can_be_read(store: Store) -> None:
    async with store.watch("/", after=store.revision) as batches:
        writing = asyncio.gather(*(store.create(f"/{index}", b"") for index in range(50)))
        seen = 0
        async for batch in batches:
            for change in batch:
                assert change.revision <= store.revision
                assert change.now is not None
                assert (await store.get(change.now.key))[0] == change.now
                seen += 1
            if seen == 50:
                break
        await writing


async def test_a_watch_from_the_future_waits_for_it(store: Store) -> None:
    future = store.revision + 2
    async with store.watch("/", after=future) as batches:
        for index in range(3):
            await store.create(f"/{index}", b"")
        change = await Reader(batches).next()
        assert change.revision == future + 1


async def test_a_slow_watcher_is_closed_and_the_others_go_on(opening: Open) -> None:
    store = await opening(watch_limit=5)
    async with (
        store.watch("/", after=store.revision) as slow,
        store.watch("/z/", after=store.revision) as other,
    ):
        for index in range(10):
            await store.create(f"/{index}", b"")
        z = await store.create("/z/1", b"")
        assert (await Reader(other).next()).now == z
        with pytest.raises(Lagged):
            async for _ in slow:
                pass


async def test_a_long_history_does_not_make_a_watcher_lag(opening: Open) -> None:
    store = await opening(watch_limit=5)
    first = store.revision
    for index in range(20):
        await store.create(f"/{index}", b"")
    async with store.watch("/", after=first) as batches:
        assert len(await Reader(batches).take(20)) == 20


async def test_a_quiet_watcher_is_told_of_progress(opening: Open) -> None:
    store = await opening(progress_seconds=0.05)
    async with store.watch("/quiet/", after=store.revision) as batches:
        made = await store.create("/loud/a", b"")
        assert await Reader(batches).next() == Change("mark", made.revision)


async def test_a_watch_that_ended_costs_nothing_more(store: Store) -> None:
    async with store.watch("/", after=store.revision) as batches:
        await store.create("/a", b"")
        await anext(batches)
    await store.create("/b", b"")


# --- expiry


async def test_a_key_with_a_ttl_is_deleted(store: Store) -> None:
    async with store.watch("/", after=store.revision) as batches:
        reader = Reader(batches)
        await store.create("/stays", b"")
        made = await store.create("/event", b"", ttl=0.2)
        deletion = (await reader.take(3))[2]
        assert (deletion.kind, deletion.was) == ("delete", made)
        assert deletion.revision == made.revision + 1
    assert await keys_of(store) == ["/stays"]


async def test_a_write_puts_expiry_off(store: Store) -> None:
    loop = asyncio.get_running_loop()
    changed = None
    while changed is None:
        made = await store.create("/event", b"", ttl=0.5)
        await asyncio.sleep(0.3)
        updated_at = loop.time()
        with contextlib.suppress(Stale):  # a busy machine was too late
            changed = await store.update("/event", b"2", expect=made.revision)
    async with store.watch("/", after=changed.revision) as batches:
        deletion = await Reader(batches).next()
    assert deletion.was == changed
    assert loop.time() - updated_at >= 0.45


async def test_a_deleted_key_does_not_expire_its_successor(store: Store) -> None:
    again = None
    while again is None:
        made = await store.create("/event", b"", ttl=0.5)
        with contextlib.suppress(Stale):  # a busy machine was too late
            await store.delete("/event", expect=made.revision)
            again = await store.create("/event", b"stays")
    short = await store.create("/short", b"", ttl=0.55)
    async with store.watch("/", after=short.revision) as batches:
        assert (await Reader(batches).next()).was == short
    assert (await store.get("/event"))[0] == again


async def test_a_flood_expires(store: Store) -> None:
    await asyncio.gather(*(store.create(f"/event/{index}", b"", ttl=0.05) for index in range(1500)))
    async with asyncio.timeout(60):
        while await keys_of(store):
            await asyncio.sleep(0.02)


# --- the end


async def test_after_close_all_calls_raise(store: Store) -> None:
    made = await store.create("/a", b"")
    await store.close()
    calls: list[Callable[[], Awaitable[object]]] = [
        lambda: store.get("/a"),
        lambda: store.scan("/"),
        lambda: store.create("/b", b""),
        lambda: store.update("/a", b"", expect=made.revision),
        lambda: store.delete("/a", expect=made.revision),
        lambda: store.compact(made.revision),
    ]
    for call in calls:
        with pytest.raises(Unavailable):
            await call()
    with pytest.raises(Unavailable):
        async with store.watch("/", after=0):
            pass
    await store.close()


async def test_closing_ends_watches_after_their_last_change(store: Store) -> None:
    async with store.watch("/", after=store.revision) as batches:
        made = await store.create("/a", b"")
        await store.close()
        changes = [change async for batch in batches for change in batch]
    assert [change.now for change in changes] == [made]


async def test_closing_waits_for_writes_under_way(store: Store) -> None:
    writes = [asyncio.create_task(store.create(f"/{index}", b"")) for index in range(50)]
    await asyncio.sleep(0)
    await store.close()
    assert len(await asyncio.gather(*writes)) == 50
