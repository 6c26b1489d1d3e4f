"""The stores against a model that keeps every state it ever had: any sequence of calls, restarts included."""

import asyncio
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pybernetes.store import Change, Compacted, Record, Stale
from pybernetes.store.history import Window
from pybernetes.store.memory import MemoryStore
from pybernetes.store.sqlite import SqliteStore

KEYS = [f"/{resource}/{namespace}/{name}" for resource in ("a", "ab") for namespace in ("x", "y") for name in "01"]
PREFIXES = ["/", "/a/", "/ab/", "/a", "/a/x/", "/a/x/0", "/none/"]
WINDOW = Window(changes=12)


@dataclass
class Model:
    """states[r] is everything at revision r; changes[r] is what made it."""

    states: dict[int, dict[str, Record]] = field(default_factory=lambda: {1: {}})
    changes: dict[int, Change] = field(default_factory=dict)
    revision: int = 1
    oldest: int = 1

    @property
    def now(self) -> dict[str, Record]:
        return self.states[self.revision]

    def write(self, key: str, value: bytes | None) -> Change:
        was = self.now.get(key)
        self.revision += 1
        state = dict(self.states[self.revision - 1])
        if value is None:
            del state[key]
            change = Change("delete", self.revision, None, was)
        else:
            state[key] = Record(key, value, was.created if was else self.revision, self.revision)
            change = Change("put", self.revision, state[key], was)
        self.states[self.revision] = state
        self.changes[self.revision] = change
        self.oldest = max(self.oldest, self.revision - WINDOW.changes)
        return change

    def under(self, prefix: str, *, at: int) -> list[Record]:
        return [record for key, record in sorted(self.states[at].items()) if key.startswith(prefix)]

    def since(self, prefix: str, after: int) -> list[Change]:
        changes = [self.changes[revision] for revision in range(after + 1, self.revision + 1)]
        return [c for c in changes if (c.now or c.was or Record("", b"", 0, 0)).key.startswith(prefix)]


@dataclass(frozen=True)
class Put:
    key: str
    value: bytes
    right: bool  # expects the right revision


@dataclass(frozen=True)
class Drop:
    key: str
    right: bool


@dataclass(frozen=True)
class Read:
    key: str
    back: int


@dataclass(frozen=True)
class Scan:
    prefix: str
    after: str
    limit: int
    back: int


@dataclass(frozen=True)
class Watch:
    prefix: str
    back: int


@dataclass(frozen=True)
class Compact:
    back: int


@dataclass(frozen=True)
class Restart:
    pass


Step = Put | Drop | Read | Scan | Watch | Compact | Restart

keys = st.sampled_from(KEYS)
backs = st.integers(0, 16)
rights = st.integers(0, 9).map(bool)
STEPS = st.lists(
    st.one_of(
        st.builds(Put, keys, st.binary(max_size=3), rights),
        st.builds(Put, keys, st.binary(max_size=3), rights),
        st.builds(Drop, keys, rights),
        st.builds(Read, keys, backs),
        st.builds(Scan, st.sampled_from(PREFIXES), st.sampled_from(["", *KEYS]), st.integers(0, 4), backs),
        st.builds(Watch, st.sampled_from(PREFIXES), backs),
        st.builds(Compact, backs),
        st.builds(Restart),
    ),
    max_size=60,
)


class Driver:
    """Carries out steps on a store and its model, and compares."""

    def __init__(self, store: MemoryStore, path: Path | None) -> None:
        self.store = store
        self.path = path
        self.model = Model()

    async def step(self, step: Step) -> None:
        match step:
            case Put(key, value, right):
                await self.put(key, value, right=right)
            case Drop(key, right):
                await self.drop(key, right=right)
            case Read(key, back):
                await self.read(key, self.model.revision - back)
            case Scan(prefix, after, limit, back):
                await self.scan(prefix, after=after, limit=limit, at=self.model.revision - back)
            case Watch(prefix, back):
                await self.watch(prefix, self.model.revision - back)
            case Compact(back):
                before = self.model.revision - back
                await self.store.compact(before)
                self.model.oldest = max(self.model.oldest, before)
            case Restart() if self.path is not None:
                await self.store.close()
                self.store = await SqliteStore.open(self.path, window=WINDOW)
                # A mark of a compaction may not have reached the file: then more of the past is there, which is right
                self.model.oldest = self.store._history.oldest
        assert self.store.revision == self.model.revision

    async def put(self, key: str, value: bytes, *, right: bool) -> None:
        current = self.model.now.get(key)
        try:
            if current is None and right:
                record = await self.store.create(key, value)
            else:
                expect = current.revision if current and right else self.model.revision + 7
                record = await self.store.update(key, value, expect=expect)
        except Stale as stale:
            assert not right
            assert stale.current == current  # noqa: PT017
        else:
            assert right
            assert record == self.model.write(key, value).now

    async def drop(self, key: str, *, right: bool) -> None:
        current = self.model.now.get(key)
        try:
            gone = await self.store.delete(key, expect=current.revision if current and right else 0)
        except Stale as stale:
            assert not (right and current)
            assert stale.current == current  # noqa: PT017
        else:
            assert current is not None
            assert gone == current._replace(revision=self.model.write(key, None).revision)

    async def read(self, key: str, at: int) -> None:
        if at < 1:
            return
        try:
            found = await self.store.get(key, at=at)
        except Compacted as compacted:
            assert at < self.model.oldest == compacted.oldest  # noqa: PT017
        else:
            assert found == (self.model.states[at].get(key), at)

    async def scan(self, prefix: str, *, after: str, limit: int, at: int) -> None:
        if at < 1:
            return
        try:
            page = await self.store.scan(prefix, after=after, limit=limit, at=at)
        except Compacted as compacted:
            assert at < self.model.oldest == compacted.oldest  # noqa: PT017
            return
        wanted = [record for record in self.model.under(prefix, at=at) if record.key > after]
        assert list(page.records) == (wanted[:limit] if limit else wanted)
        assert page.remaining == len(wanted) - len(page.records)
        assert page.revision == at

    async def watch(self, prefix: str, after: int) -> None:
        try:
            async with self.store.watch(prefix, after=after) as batches:
                wanted = self.model.since(prefix, after)
                assert await take(batches, len(wanted)) == wanted
        except Compacted as compacted:
            assert after < self.model.oldest == compacted.oldest  # noqa: PT017


async def take(batches: object, count: int) -> Sequence[Change]:
    found: list[Change] = []
    while len(found) < count:
        found += await anext(batches)  # type: ignore[call-overload]
    return found


async def run(steps: Sequence[Step], store: MemoryStore, path: Path | None) -> None:
    driver = Driver(store, path)
    async with store.watch("/", after=1) as batches:
        for step in steps:
            await driver.step(step)
        if driver.store is store:  # it watched from the beginning to the end
            wanted = driver.model.since("/", 1)
            assert await take(batches, len(wanted)) == wanted
    await driver.store.close()


@settings(max_examples=150, deadline=None)
@given(STEPS)
def test_memory_store_agrees_with_the_model(steps: list[Step]) -> None:
    async def go() -> None:
        await run(steps, MemoryStore(window=WINDOW), None)

    asyncio.run(go())


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(STEPS)
def test_sqlite_store_agrees_with_the_model(steps: list[Step]) -> None:
    async def go() -> None:
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / "state.db"
            await run(steps, await SqliteStore.open(path, window=WINDOW), path)

    asyncio.run(go())
