"""Merge patch: RFC 7386's appendix A, as far as objects go."""

from typing import Any

import pytest

from pybernetes.api.errors import BadRequest
from pybernetes.api.patch import merge_diff, merge_patch

CASES: list[tuple[Any, Any, Any]] = [
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ({"a": {"b": 1}}, {"a": {}}, {"a": {"b": 1}}),
]


@pytest.mark.parametrize(("document", "patch", "result"), CASES)
def test_applies(document: Any, patch: Any, result: Any) -> None:
    before = repr(document), repr(patch)
    assert merge_patch(document, patch) == result
    assert (repr(document), repr(patch)) == before


def test_the_patch_must_be_an_object() -> None:
    with pytest.raises(BadRequest) as caught:
        merge_patch({}, [])
    text = "error decoding patch: json: cannot unmarshal array into Go value of type map[string]interface {}"
    assert caught.value.message == text


def test_too_deep_is_the_senders_mistake() -> None:
    deep: Any = {}
    for _ in range(5000):
        deep = {"a": deep}
    with pytest.raises(BadRequest, match="exceeded max depth"):
        merge_patch({}, deep)


def test_the_smallest_patch() -> None:
    source = {"a": 1, "b": {"c": 1, "d": 2}, "e": [1], "f": 1}
    assert merge_diff(source, {"a": 1, "b": {"c": 1, "d": 3}, "e": [1], "f": True}) == {"b": {"d": 3}, "f": True}
    assert merge_diff(source, source) == {}
