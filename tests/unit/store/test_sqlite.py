"""What only the durable store does: outlive its process, however that ends."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pybernetes.aio.supervise import Fatal
from pybernetes.store import Compacted, Unavailable
from pybernetes.store.history import Window
from pybernetes.store.journal import Failed, Journal, Row
from pybernetes.store.sqlite import SqliteStore


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "state.db"


async def test_a_store_is_found_again_as_it_was(path: Path) -> None:
    store = await SqliteStore.open(path)
    a = await store.create("/a", b"1")
    b = await store.create("/b", b"1")
    a2 = await store.update("/a", b"2", expect=a.revision)
    await store.delete("/b", expect=b.revision)
    c = await store.create("/c", b"1")
    await store.close()

    again = await SqliteStore.open(path)
    assert again.revision == c.revision
    assert list((await again.scan("/")).records) == [a2, c]
    assert list((await again.scan("/", at=b.revision)).records) == [a, b]
    async with again.watch("/", after=a.revision) as batches:
        changes = await anext(batches)
    assert [(change.kind, change.revision) for change in changes] == [
        ("put", b.revision),
        ("put", a2.revision),
        ("delete", c.revision - 1),
        ("put", c.revision),
    ]
    assert [change.was for change in changes] == [None, a, b, None]
    d = await again.create("/d", b"")
    assert d.revision == c.revision + 1
    await again.close()


async def test_revisions_are_not_reused_when_nothing_is_left(path: Path) -> None:
    store = await SqliteStore.open(path, window=Window(changes=1))
    made = await asyncio.gather(*(store.create(f"/{index}", b"") for index in range(600)))
    await asyncio.gather(*(store.delete(record.key, expect=record.revision) for record in made))
    last = store.revision
    await store.compact(last)
    await store.create("/a", b"")  # the removal is under way before this
    await store.delete("/a", expect=last + 1)
    await store.close()
    with sqlite3.connect(path) as db:
        (rows,) = db.execute("SELECT count(*) FROM log").fetchone()
    db.close()
    assert rows < 600
    again = await SqliteStore.open(path)
    assert again.revision == last + 2
    assert (await again.create("/a", b"")).revision == last + 3
    await again.close()


async def test_what_left_the_ring_is_removed_from_the_file(path: Path) -> None:
    store = await SqliteStore.open(path, window=Window(changes=10))
    record = await store.create("/a", b"0")
    kept = await store.create("/kept", b"kept")
    first = record.revision
    for _ in range(20):
        others = await asyncio.gather(*(store.create(f"/other/{index}", b"") for index in range(50)))
        await asyncio.gather(*(store.delete(other.key, expect=other.revision) for other in others))
    for index in range(20):
        record = await store.update("/a", b"%d" % index, expect=record.revision)
    await store.close()
    with sqlite3.connect(path) as db:
        (rows,) = db.execute("SELECT count(*) FROM log").fetchone()
    db.close()
    assert rows < 600
    again = await SqliteStore.open(path, window=Window(changes=10))
    assert list((await again.scan("/")).records) == [record, kept]
    assert (await again.get("/a", at=record.revision - 3))[0] is not None
    with pytest.raises(Compacted):
        await again.get("/a", at=first)
    await again.close()


async def test_a_smaller_window_after_a_restart(path: Path) -> None:
    store = await SqliteStore.open(path)
    record = await store.create("/a", b"")
    for _ in range(100):
        record = await store.update("/a", b"", expect=record.revision)
    await store.close()
    again = await SqliteStore.open(path, window=Window(changes=3))
    with pytest.raises(Compacted) as caught:
        await again.get("/a", at=2)
    assert caught.value.oldest == record.revision - 3
    await again.close()


async def test_expiry_goes_on_after_a_restart(path: Path) -> None:
    store = await SqliteStore.open(path)
    short = await store.create("/short", b"", ttl=2.0)
    changed = await store.update("/short", b"2", expect=short.revision)
    long = await store.create("/long", b"", ttl=1000)
    await store.close()
    again = await SqliteStore.open(path)
    async with again.watch("/", after=long.revision) as batches, asyncio.timeout(60):
        deletion = (await anext(batches))[0]
    assert deletion.was == changed
    assert [record.key for record in (await again.scan("/")).records] == ["/long"]
    await again.close()


async def test_one_process_at_a_time(path: Path) -> None:
    store = await SqliteStore.open(path)
    with pytest.raises(Unavailable, match="in use"):
        await SqliteStore.open(path)
    await store.close()
    await (await SqliteStore.open(path)).close()


def no_store(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"this is no database at all, whatever its name says" * 100)


def size(path: Path) -> int:
    return path.stat().st_size


async def test_what_is_no_store_is_refused(path: Path) -> None:
    no_store(path)
    with pytest.raises(Unavailable):
        await SqliteStore.open(path)
    path = path.with_name("other.db")
    await (await SqliteStore.open(path)).close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version=99")
    db.close()
    with pytest.raises(Unavailable, match="another version"):
        await SqliteStore.open(path)


async def test_only_the_owner_can_read_it(path: Path) -> None:
    store = await SqliteStore.open(path)
    await store.create("/secret", b"")
    modes = {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()}
    assert set(modes.values()) == {0o600}
    assert path.parent.stat().st_mode & 0o777 == 0o700
    await store.close()


async def test_the_log_is_moved_into_the_file_while_it_runs(path: Path) -> None:
    store = await SqliteStore.open(path)
    for index in range(30):
        await asyncio.gather(*(store.create(f"/{index}/{number}", b"x" * 20_000) for number in range(20)))
    async with asyncio.timeout(60):
        while size(path) < 4_000_000:
            await asyncio.sleep(0.02)
    await store.close()
    assert not path.with_name("state.db-wal").exists()


# --- commits that fail


class Breaking:
    """Makes the next commits fail with an error of SQLite's."""

    def __init__(self, store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
        self.code = 0
        real = store._journal.commit

        def commit(rows: list[Row]) -> None:
            if self.code:
                error = sqlite3.OperationalError("as a test wants it")
                error.sqlite_errorcode = self.code
                raise Failed(error)
            real(rows)

        monkeypatch.setattr(store._journal, "commit", commit)


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    store = await SqliteStore.open(path)
    yield store
    await store.close()


async def test_a_failed_commit_did_not_happen(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    a = await store.create("/a", b"1")
    breaking = Breaking(store, monkeypatch)
    breaking.code = sqlite3.SQLITE_FULL
    async with store.watch("/", after=a.revision) as batches:
        results = await asyncio.gather(
            store.update("/a", b"2", expect=a.revision),
            store.create("/b", b"1"),
            store.create("/a", b"3"),  # is stale against the update, and again when that has failed
            return_exceptions=True,
        )
        assert [type(result).__name__ for result in results] == ["Unavailable", "Unavailable", "Stale"]
        assert store.revision == a.revision
        assert list((await store.scan("/")).records) == [a]
        breaking.code = 0
        c = await store.create("/c", b"1")
        assert c.revision == a.revision + 1
        a2 = await store.update("/a", b"4", expect=a.revision)
        seen = list(await anext(batches))
        assert [change.now for change in seen] == [c, a2]


async def test_what_was_decided_after_a_failed_commit_fails_with_it(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    breaking = Breaking(store, monkeypatch)
    breaking.code = sqlite3.SQLITE_FULL
    first = asyncio.create_task(store.create("/a", b"1"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    second = asyncio.create_task(store.create("/b", b"1"))  # waits behind the first
    results = await asyncio.gather(first, second, return_exceptions=True)
    assert all(isinstance(result, Unavailable) for result in results)
    assert store.revision == 1


async def test_an_error_of_unknown_outcome_closes_the_store(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    a = await store.create("/a", b"1")
    breaking = Breaking(store, monkeypatch)
    breaking.code = sqlite3.SQLITE_IOERR_FSYNC
    service = asyncio.create_task(store.run())
    async with store.watch("/", after=a.revision) as batches:
        with pytest.raises(Unavailable):
            await store.create("/b", b"1")
        with pytest.raises(Fatal, match="write failed"):
            await service
        breaking.code = 0
        for call in (store.create("/c", b""), store.get("/a")):
            with pytest.raises(Unavailable, match="write failed"):
                await call
        assert [batch async for batch in batches] == []


def test_a_full_disk_leaves_the_file_as_it_was(path: Path) -> None:
    journal = Journal(path)
    journal.commit([Row(2, "/a", 2, b"1")])
    journal._db.execute("PRAGMA max_page_count=5")
    with pytest.raises(Failed) as caught:
        journal.commit([Row(3 + index, f"/{index}", 3, b"x" * 5000) for index in range(20)])
    assert not caught.value.fatal
    assert [row.revision for row in journal.rows()] == [2]
    journal.close()


# --- kill -9, and what it can leave

WRITER = """
import asyncio, sys
from pybernetes.store.sqlite import SqliteStore
from pybernetes.store.history import Window

async def write(store, key):
    record = await store.create(key, b"first")
    while True:
        print(record.key, record.revision, flush=True)
        record = await store.update(key, b"after %d" % record.revision + b" " * 500, expect=record.revision)

async def main():
    store = await SqliteStore.open(sys.argv[1], window=Window(changes=50))
    await asyncio.gather(*(write(store, f"/{sys.argv[2]}-{index}") for index in range(8)))

asyncio.run(main())
"""


def killed_after(lines: int, path: Path, name: str) -> dict[str, int]:
    """Let a writer acknowledge so many writes, kill it, and return the last revision it acknowledged for each key."""
    found: dict[str, int] = {}
    command = [sys.executable, "-c", WRITER, str(path), name]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for count, line in enumerate(process.stdout):
            if count == lines:
                os.kill(process.pid, signal.SIGKILL)
            if line.endswith("\n"):
                key, revision = line.split()
                found[key] = int(revision)
    assert process.returncode == -signal.SIGKILL
    return found


async def test_every_acknowledged_write_survives_kill_9(path: Path) -> None:
    acknowledged: dict[str, int] = {}
    latest = 0
    for number in range(3):
        found = await asyncio.to_thread(killed_after, 400 + 300 * number, path, str(number))
        assert min(found.values()) > latest, "a revision was used twice"
        acknowledged |= found
        store = await SqliteStore.open(path, window=Window(changes=50))
        for key, revision in acknowledged.items():
            record, latest = await store.get(key)
            assert record is not None
            assert record.revision >= revision
            # One more write may have been under way, made on top of the acknowledged one
            assert record.revision == revision or record.value.split() == [b"after", b"%d" % revision]
        await store.close()


async def test_a_removal_that_was_cut_short_is_made_up_for(path: Path) -> None:
    store = await SqliteStore.open(path)
    a = await store.create("/a", b"1")
    b = await store.create("/b", b"1")
    a2 = await store.update("/a", b"2", expect=a.revision)
    gone = await store.delete("/b", expect=b.revision)
    a3 = await store.update("/a", b"3", expect=a2.revision)
    await store.close()
    with sqlite3.connect(path) as db:  # the mark is there, the rows it makes superfluous are too
        db.execute("INSERT OR REPLACE INTO oldest VALUES (1, ?)", (gone.revision,))
    db.close()
    again = await SqliteStore.open(path)
    assert list((await again.scan("/")).records) == [a3]
    assert list((await again.scan("/", at=gone.revision)).records) == [a2]
    with pytest.raises(Compacted):
        await again.get("/a", at=a2.revision)
    assert sorted(again._garbage) == [a.revision, b.revision, gone.revision]
    await again.close()
