"""Indexes follow the objects."""

import pytest

from pybernetes.api.objects import Key, labels_of, name_of
from pybernetes.client import StaticCache
from support.objects import pod


def by_app(obj: dict) -> list[str]:
    return [labels_of(obj).get("app", "")]


def test_get_select_and_indexes_follow_changes() -> None:
    a, b = pod("a", labels={"app": "x"}), pod("b", namespace="other", labels={"app": "x"})
    cache = StaticCache([a, b], indexes={"app": by_app})
    assert cache.get(Key("default", "a")) is a
    assert cache.get(Key("default", "b")) is None
    assert [name_of(o) for o in cache.indexed("app", "x")] == ["a", "b"]
    moved = pod("a", labels={"app": "y"})
    assert cache.put(moved) is a
    assert [name_of(o) for o in cache.indexed("app", "x")] == ["b"]
    assert cache.indexed("app", "y") == [moved]
    assert cache.select("default") == [moved]
    assert cache.select(where=lambda o: labels_of(o)["app"] == "x") == [b]
    assert cache.remove(Key("other", "b")) is b
    assert cache.remove(Key("other", "b")) is None
    assert cache.indexed("app", "x") == []
    assert cache.select("other") == []
    assert len(cache) == 1
    assert Key("default", "a") in cache


def test_a_later_index_covers_what_is_there() -> None:
    cache = StaticCache([pod("a", labels={"app": "x"})])
    with pytest.raises(KeyError):
        cache.indexed("app", "x")
    cache.add_index("app", by_app)
    assert len(cache.indexed("app", "x")) == 1
