"""Any object that fits its schema gets through defaulting, preparation and validation: an answer, never a traceback."""

import base64
from functools import cache

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pybernetes.api import decoding
from pybernetes.api.errors import BadRequest, Invalid
from pybernetes.api.objects import copied, encode
from pybernetes.api.resources import RESOURCES
from pybernetes.api.schema import OBJECT_META, Type
from pybernetes.api.scheme import Scheme

SCHEME = Scheme.builtin()
WORDS = ("", "a", "web", "Bad_Name", "10.0.0.1", "10.0.0.0/8", "None", "Always", "TCP", "/x/..", "50%", "a.b/c", "*.x")
MORE = (
    "ClusterIP",
    "NodePort",
    "ExternalName",
    "IPv4",
    "RollingUpdate",
    "Exists",
    "* * * * *",
    "@x",
    "metadata.labels['",
)
NUMBERS = (-1, 0, 1, 80, 65536, (1 << 31) - 1)
DEPTH = 7

text = st.sampled_from(WORDS + MORE)
leaves = {
    "string": text,
    "integer": st.sampled_from(NUMBERS),
    "number": st.sampled_from((0, 1.5)),
    "boolean": st.booleans(),
    "int-or-string": st.one_of(text, st.sampled_from(NUMBERS)),
    "quantity": st.sampled_from(("0", "1", "-1", "500m", "1Gi")),
    "time": st.just("2024-01-01T00:00:00Z"),
    "micro-time": st.just("2024-01-01T00:00:00.000000Z"),
    "bytes": st.sampled_from(("", base64.b64encode(b"x").decode())),
    "object": st.just({}),
    "any": st.sampled_from((None, {}, 1)),
}


@cache
def values(type_: Type, depth: int):
    """Anything that fits the type; below some depth only what is empty."""
    match type_.kind:
        case "struct":
            wanted = type_.fields if depth > 0 else {}
            inner = {name: st.deferred(lambda t=t: values(t, depth - 1)) for name, t in wanted.items()}
            return (
                st.sets(st.sampled_from(sorted(inner)), max_size=5).flatmap(
                    lambda names: st.fixed_dictionaries({name: inner[name] for name in sorted(names)})
                )
                if inner
                else st.just({})
            )
        case "list":
            return st.lists(st.deferred(lambda: values(type_.items, depth - 1)), max_size=2)
        case "map":
            return st.dictionaries(text, st.deferred(lambda: values(type_.items, depth - 1)), max_size=2)
    return leaves[type_.kind]


@cache
def objects(row):
    type_ = SCHEME.type(row)
    fields = {name: values(inner, DEPTH) for name, inner in type_.fields.items() if name not in ("apiVersion", "kind")}
    head = {"apiVersion": st.just(row.api_version), "kind": st.just(row.kind)}
    return st.fixed_dictionaries(head, optional=fields)


def admit(obj, row, old=None, part=""):
    strategy = SCHEME.strategy(row)
    strategy.default(obj)
    strategy.prepare(obj, old, part=part)
    strategy.default(obj)
    problems = list(strategy.validate(obj, old, part=part))
    assert str(Invalid.of(row.kind, "x", problems, group=row.group))
    strategy.grace_seconds(obj, None)


@pytest.mark.parametrize("row", RESOURCES, ids=lambda row: f"{row.qualified}.{row.version}")
@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_whatever_fits_the_schema_gets_an_answer(row, data):
    obj, other = data.draw(objects(row)), data.draw(objects(row))
    before = copied(obj)
    assert SCHEME.conform(obj, row) == []
    assert SCHEME.conform(copied(before), row) == []
    admit(obj, row)
    for part in ("", *sorted(row.subresources & {"status", "ephemeralcontainers", "resize", "approval", "finalize"})):
        admit(copied(other), row, copied(obj), part)


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-5, 1 << 40), st.floats(allow_nan=False), text),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(text, inner, max_size=3)),
    max_leaves=8,
)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(RESOURCES), st.data())
def test_any_json_fits_or_is_refused(row, data):
    type_ = SCHEME.type(row)
    obj = data.draw(objects(row))
    name = data.draw(st.sampled_from(sorted(type_.fields)))
    obj[name] = data.draw(json_values)
    try:
        SCHEME.conform(obj, row)
    except BadRequest:
        return
    again = copied(obj)
    assert SCHEME.conform(again, row) == []
    assert again == obj


@given(json_values)
def test_a_document_written_by_us_has_no_duplicates(value):
    assert not decoding.duplicates(encode({"a": value}))


def test_metadata_is_the_same_everywhere():
    assert {SCHEME.type(row).fields["metadata"].name for row in RESOURCES} == {OBJECT_META}
