"""Expressions against the types of their variables, before there is any value."""

import pytest

from pybernetes.api import cel

SELF = cel.Fields(
    {
        "count": "int",
        "share": "double",
        "name": "string",
        "on": "bool",
        "raw": "bytes",
        "at": "timestamp",
        "wait": "duration",
        "any": "dyn",
        "names": cel.ListOf("string"),
        "rows": cel.ListOf(cel.ListOf("int")),
        "labels": cel.MapOf("string"),
        "lists": cel.MapOf(cel.ListOf("int")),
        "parts": cel.ListOf(cel.Fields({"key": "string", "fooBar": "int", "foo_bar": "int"})),
        "byName": cel.MapOf(cel.Fields({"size": "int"})),
        "by_name": cel.MapOf("int"),
        "__namespace__": "string",
        "namespace": "string",
    }
)


@pytest.mark.parametrize(
    "expression",
    [
        "self.count == 1 && self.count < 1.5 && self.share >= 1",
        "self.name.startsWith('a') && self.raw == b'a' && self.on",
        "self.at > timestamp('2026-01-01T00:00:00Z') && self.wait < duration('1h')",
        "self.any == 1 || self.any == 'a' || self.any.b.c",
        "self.names.all(n, n.size() > 1) && self.names[0] == 'a' && 'a' in self.names",
        "self.rows.all(r, r.all(n, n > 1)) && self.lists['a'].exists(n, n == 1)",
        "self.labels.all(k, self.labels[k] != '') && self.labels.a == 'b' && 'a' in self.labels",
        "self.parts.exists(p, p.key == 'a' && p.fooBar == p.foo_bar)",
        "self.byName.all(k, v, v.size > 1) && self.by_name['a'] == 1",
        "has(self.name) && self.?name.orValue('a') == 'a' && self.?labels[?'a'].hasValue()",
        "self == oldSelf && self.namespace == self.__namespace__",
        "quantity(self.name).isGreaterThan(quantity('1')) && ip(self.name).family() == 4",
        "self.parts.map(p, p.fooBar).sum() > 1 && self.names.isSorted()",
        "!format.dns1123Label().validate(self.name).hasValue()",
        "format.dns1123Label().validate(self.name) == null",  # never so, but Gateway API 1.6 has it
        "type(self.count) == int",
    ],
)
def test_what_fits(expression: str) -> None:
    assert cel.Checker({"self": SELF, "oldSelf": SELF}).returns(expression) == "bool"


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        ("self.none == 1", "undefined field 'none'"),
        ("has(self.none)", "undefined field 'none'"),
        ("self.parts.all(p, p.none > 1)", "undefined field 'none'"),
        ("self.?none.hasValue()", "undefined field 'none'"),
        ("self.count == 'a'", r"no matching overload for '_==_' applied to '\(int, string\)'"),
        ("self.count == 1.0", "no matching overload"),
        ("self.names.all(n, n > 1)", "no matching overload"),
        ("self.name == null", "no matching overload"),
        ("self.labels['a'] > 1", "no matching overload"),
        ("self == oldSelf.name", r"\(object, string\)"),
    ],
)
def test_what_does_not(expression: str, why: str) -> None:
    with pytest.raises(cel.Broken, match=why):
        cel.Checker({"self": SELF, "oldSelf": SELF}).returns(expression)


@pytest.mark.parametrize(
    ("shape", "expression"),
    [
        ("string", "self.size() > 1"),
        ("dyn", "self.a == 1"),
        (cel.ListOf(cel.Fields({"a": "int"})), "self.all(x, x.a > 1)"),
        (cel.MapOf(cel.ListOf("int")), "self.all(k, self[k].size() > 1)"),
        (cel.Fields({}), "self == oldSelf"),
    ],
)
def test_any_shape_can_be_a_variable(shape: cel.Shape, expression: str) -> None:
    assert cel.Checker({"self": shape, "oldSelf": shape}).returns(expression) == "bool"
