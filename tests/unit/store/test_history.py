import pytest

from pybernetes.store import Change, Compacted, Record
from pybernetes.store.history import History, Window, superseded


def put(history: History, key: str, value: bytes = b"") -> list[Change]:
    was = history.records.get(key)
    revision = history.revision + 1
    now = Record(key, value, was.created if was else revision, revision)
    return history.apply(Change("put", revision, now, was))


def drop(history: History, key: str) -> list[Change]:
    return history.apply(Change("delete", history.revision + 1, None, history.records[key]))


def test_what_falls_out_of_the_ring_is_told() -> None:
    history = History(Window(changes=2))
    assert put(history, "/a") == []
    assert put(history, "/a") == []
    assert [change.revision for change in put(history, "/a")] == [2]
    assert history.oldest == 2
    assert [change.revision for change in drop(history, "/a")] == [3]
    assert [change.revision for change in history.compact(4)] == [4]
    assert history.oldest == 4


def test_superseded_are_the_rows_before_a_change_and_tombstones() -> None:
    history = History(Window(changes=0))
    fallen = put(history, "/a") + put(history, "/a") + drop(history, "/a") + put(history, "/b")
    assert superseded(fallen) == [2, 3, 4]


def test_bytes_of_superseded_values_are_bounded() -> None:
    history = History(Window(bytes=10_000))
    for _ in range(100):
        put(history, "/a", b"x" * 1000)
    assert history.revision - history.oldest < 10
    big = History(Window(bytes=10_000))
    put(big, "/a", b"x" * 100_000)
    put(big, "/a", b"y")
    assert big.oldest == big.revision - 1  # the latest change is always kept


def test_loading_and_going_on() -> None:
    history = History(Window())
    history.load([Record("/b", b"", 5, 7), Record("/a", b"", 6, 6)], at=9)
    assert (history.revision, history.oldest) == (9, 9)
    put(history, "/c")
    page = history.scan("/", after="", limit=0, at=history.resolve(9))
    assert [record.key for record in page.records] == ["/a", "/b"]
    with pytest.raises(Compacted):
        history.resolve(8)
    with pytest.raises(Compacted):
        history.changes("/", after=8)
