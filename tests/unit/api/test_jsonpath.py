"""The JSON paths of printer columns."""

from typing import Any

import pytest

from pybernetes.api.jsonpath import find, parse

OBJ = {
    "metadata": {"annotations": {"a.b/c": "v", "x-y": 1}},
    "spec": {"list": [{"p": 1}, {"p": 2}, {"p": 3}], "one": {"name": "n", "two": {"name": "q"}}},
}


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        (r".metadata.annotations.a\.b/c", ["v"]),
        (".metadata.annotations['a.b/c']", ["v"]),
        ('.metadata.annotations["a.b/c"]', ["v"]),
        (".metadata.annotations.x-y", [1]),
        (".spec.list[*].p", [1, 2, 3]),
        (".spec.list[0:2].p", [1, 2]),
        (".spec.list[-1:].p", [3]),
        (".spec.list[::2].p", [1, 3]),
        (".spec.list[-1].p", [3]),
        (".spec.list[7].p", []),
        (".spec.list[].p", [1]),  # Apache APISIX' columns
        (".spec.list[0,2].p", [1, 3]),
        (".spec..name", ["n", "q"]),
        (".spec.list[?(@.p>1)].p", [2, 3]),
        (".spec.list[?(@.p==2)]", [{"p": 2}]),
        ("{.spec.one.name}", ["n"]),
        ("$.spec.one.two.*", ["q"]),
        (".spec.none.name", []),
    ],
)
def test_what_a_path_finds(path: str, wanted: list[Any]) -> None:
    assert find(OBJ, path) == wanted


@pytest.mark.parametrize("path", [".spec[", "spec..", ".a b", ".a[x]", "..", ".list[?(@.p=)]"])
def test_what_is_no_path(path: str) -> None:
    with pytest.raises(ValueError, match="is not a simple JSON path"):
        parse(path)
