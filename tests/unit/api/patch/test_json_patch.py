"""JSON patch: RFC 6902's examples, and the API server's words and bounds."""

from typing import Any

import pytest

from pybernetes.api.errors import BadRequest, Invalid, TooLarge
from pybernetes.api.patch import json_patch

GOOD: list[tuple[Any, list[dict[str, Any]], Any]] = [
    ({"foo": "bar"}, [{"op": "add", "path": "/baz", "value": "qux"}], {"baz": "qux", "foo": "bar"}),
    ({"foo": ["a", "b"]}, [{"op": "add", "path": "/foo/1", "value": "x"}], {"foo": ["a", "x", "b"]}),
    ({"foo": ["a"]}, [{"op": "add", "path": "/foo/1", "value": "x"}], {"foo": ["a", "x"]}),
    ({"foo": ["a"]}, [{"op": "add", "path": "/foo/-", "value": ["b"]}], {"foo": ["a", ["b"]]}),
    ({"foo": 1}, [{"op": "add", "path": "/foo", "value": None}], {"foo": None}),
    ({"baz": 1, "foo": 2}, [{"op": "remove", "path": "/baz"}], {"foo": 2}),
    ({"foo": ["a", "b", "c"]}, [{"op": "remove", "path": "/foo/1"}], {"foo": ["a", "c"]}),
    ({"foo": ["a", "b"]}, [{"op": "remove", "path": "/foo/-1"}], {"foo": ["a"]}),
    ({"a": 1}, [{"op": "replace", "path": "/a", "value": 2}], {"a": 2}),
    ({"a": [1, 2]}, [{"op": "replace", "path": "/a/0", "value": 3}], {"a": [3, 2]}),
    (
        {"foo": {"bar": 1, "waldo": 2}, "qux": {"corge": 3}},
        [{"op": "move", "from": "/foo/waldo", "path": "/qux/thud"}],
        {"foo": {"bar": 1}, "qux": {"corge": 3, "thud": 2}},
    ),
    ({"a": ["1", "2", "3"]}, [{"op": "move", "from": "/a/0", "path": "/a/2"}], {"a": ["2", "3", "1"]}),
    ({"a": {"b": 1}}, [{"op": "copy", "from": "/a", "path": "/c"}], {"a": {"b": 1}, "c": {"b": 1}}),
    ({"a": "b"}, [{"op": "test", "path": "/a", "value": "b"}], {"a": "b"}),
    ({"a": 1}, [{"op": "test", "path": "/a", "value": 1.0}], {"a": 1}),
    ({"/": 9, "~1": 10}, [{"op": "test", "path": "/~01", "value": 10}], {"/": 9, "~1": 10}),
    ({"a/b": 1}, [{"op": "replace", "path": "/a~1b", "value": 2}], {"a/b": 2}),
    ({"": 1}, [{"op": "remove", "path": "/"}], {}),
    ({"a": 1}, [{"op": "replace", "path": "", "value": {"b": 2}}], {"b": 2}),
    ({"a": 1}, [{"op": "add", "path": "/b", "value": 2, "unknown": True}], {"a": 1, "b": 2}),
    ({"a": 1}, [], {"a": 1}),
    # more than the RFC allows, as the API server does (evanphx/json-patch 4.13 was asked)
    ({"a": 1}, [{"op": "test", "path": "/b", "value": None}], {"a": 1}),
    ({"a": 1}, [{"op": "test", "path": "/b"}], {"a": 1}),
    ({"a": None}, [{"op": "test", "path": "/a", "value": None}], {"a": None}),
    ({"a": 1}, [{"op": "test", "path": "", "value": {"a": 1}}], {"a": 1}),
    ({"a": 1}, [{"op": "replace", "path": "/b", "value": 2}], {"a": 1, "b": 2}),
    ({"a": 1}, [{"op": "replace", "path": "/a"}], {"a": None}),
    ({"a": 1}, [{"op": "add", "path": "/b"}], {"a": 1, "b": None}),
    ({"a": 1}, [{"op": "copy", "from": "/b", "path": "/c"}], {"a": 1, "c": None}),
]

BAD: list[tuple[Any, list[dict[str, Any]]]] = [
    ({"a": 1}, [{"op": "add", "path": "/b/c", "value": 1}]),
    ({"a": 1}, [{"op": "remove", "path": "/b"}]),
    ({"a": 1}, [{"op": "replace", "path": "/b/c", "value": 1}]),
    ({"a": [1]}, [{"op": "replace", "path": "/a/3", "value": 1}]),
    ({"a": [1]}, [{"op": "replace", "path": "/a/-", "value": 1}]),
    ({"a": 1}, [{"op": "test", "path": "/b", "value": 1}]),
    ({"a": 1}, [{"op": "test", "path": "/b/c", "value": None}]),
    ({"a": 1}, [{"op": "test", "path": "/a", "value": None}]),
    ({"a": [1]}, [{"op": "test", "path": "/a/3", "value": None}]),
    ({"a": 1}, [{"op": "move", "from": "/b", "path": "/c"}]),
    ({"a": 1}, [{"op": "add", "path": "", "value": {"b": 1}}]),
    ({"a": 1}, [{"op": "remove", "path": ""}]),
    ({"a": 1}, [{"op": "test", "path": "/a", "value": True}]),
    ({"a": 1}, [{"op": "test", "path": "/a", "value": "1"}]),
    ({"a": [1]}, [{"op": "add", "path": "/a/2", "value": 1}]),
    ({"a": [1]}, [{"op": "add", "path": "/a/01", "value": 1}]),
    ({"a": [1]}, [{"op": "remove", "path": "/a/x"}]),
    ({"a": [1]}, [{"op": "remove", "path": "/a/-"}]),
    ({"a": [1]}, [{"op": "remove", "path": "/a/²"}]),
    ({"a": {"b": 1}}, [{"op": "move", "from": "/a", "path": "/a/b"}]),
    ({"a": 1}, [{"op": "add", "path": "b", "value": 1}]),
    ({"a": 1}, [{"op": "add", "value": 1}]),
    ({"a": 1}, [{"op": "spam", "path": "/a"}]),
    ({"a": 1}, [{"op": ["add"], "path": "/a"}]),
    ({"a": 1}, [{"path": "/a"}]),
    ({"a": 1}, [{"op": "add", "path": "/a/b", "value": 1}]),
]


@pytest.mark.parametrize(("document", "operations", "result"), GOOD)
def test_applies(document: Any, operations: list[dict[str, Any]], result: Any) -> None:
    assert json_patch(document, operations) == result


@pytest.mark.parametrize(("document", "operations"), BAD)
def test_a_failing_operation_is_invalid(document: Any, operations: list[dict[str, Any]]) -> None:
    with pytest.raises(Invalid, match=r"^the server rejected our request due to an error in our request$") as caught:
        json_patch(document, operations)
    assert caught.value.code == 422
    assert caught.value.__cause__ is not None


def test_all_or_nothing_and_the_input_stays() -> None:
    document = {"a": [1], "b": {"c": 1}}
    with pytest.raises(Invalid):
        json_patch(document, [{"op": "add", "path": "/a/-", "value": 2}, {"op": "remove", "path": "/x"}])
    json_patch(document, [{"op": "add", "path": "/b/d", "value": 2}, {"op": "remove", "path": "/a/0"}])
    assert document == {"a": [1], "b": {"c": 1}}


def test_a_copy_is_a_copy() -> None:
    result = json_patch({"a": {"b": 1}}, [{"op": "copy", "from": "/a", "path": "/c"}])
    assert result["a"] is not result["c"]


@pytest.mark.parametrize(
    ("operations", "text"),
    [
        ({"op": "add"}, "json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp"),
        ("x", "json: cannot unmarshal string into Go value of type []handlers.jsonPatchOp"),
        ([1], "json: cannot unmarshal number into Go value of type handlers.jsonPatchOp"),
    ],
)
def test_no_list_of_operations(operations: Any, text: str) -> None:
    with pytest.raises(BadRequest) as caught:
        json_patch({}, operations)
    assert caught.value.message == f"error decoding patch: {text}"


def test_too_many_operations() -> None:
    with pytest.raises(TooLarge, match="The allowed maximum operations in a JSON patch is 10000, got 10001"):
        json_patch({"a": 1}, [{"op": "test", "path": "/a", "value": 1}] * 10_001)


def test_copies_cannot_double_for_ever() -> None:
    double = {"op": "copy", "from": "/a", "path": "/a/-"}
    with pytest.raises(Invalid):
        json_patch({"a": ["x" * 1000]}, [double] * 60)
