"""Keys given twice in a YAML body are named, as strict decoding names them."""

import pytest

from pybernetes.apiserver.body import yaml_duplicates


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a: 1\nb: 2\n", []),
        ("a: 1\na: 2\n", ['line 2: key "a" already set in map']),
        ("data:\n  x: 1\n  y: 2\n  x: 3\n", ['line 4: key "x" already set in map']),
        ("- {a: 1}\n- {a: 2}\n", []),
        ("a: {b: [a, a, a]}\nb: {a: 1}\n", []),
        ("{a: {c: 1}, b: {c: 1}, a: 2}", ['line 1: key "a" already set in map']),
        ("a: &x {k: v}\nb: *x\nb: 1\n", ['line 3: key "b" already set in map']),
        ("? [1, 2]\n: v\na: 1\na: 2\n", ['line 4: key "a" already set in map']),
    ],
)
def test_duplicates(text, found):
    assert yaml_duplicates(text.encode()) == found
