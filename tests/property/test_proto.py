"""Whatever bytes come: an object or a BadRequest, nothing else. Whatever object is written: it is read as it was."""

import base64
import random
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from pybernetes.api import proto, times
from pybernetes.api.errors import BadRequest
from pybernetes.api.objects import encode
from pybernetes.api.proto.message import table
from pybernetes.api.resources import RESOURCES, Resource
from pybernetes.api.schema import Type, type_of
from pybernetes.api.scheme import Scheme

SCHEME = Scheme.builtin()

KINDS = sorted((api_version, kind) for api_version, kinds in table().kinds.items() for kind in kinds if api_version)


def varint(value: int) -> bytes:
    return bytes([value & 0x7F | 0x80]) + varint(value >> 7) if value > 0x7F else bytes([value])


def text(field: int, data: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(data)) + data


FIELDS = st.integers(1, 24)
MESSAGES = st.recursive(
    st.binary(max_size=6),
    lambda inner: st.lists(
        st.tuples(FIELDS, inner).map(lambda pair: text(*pair))
        | st.tuples(FIELDS, st.integers(0, 1 << 63)).map(lambda pair: varint(pair[0] << 3) + varint(pair[1])),
        max_size=4,
    ).map(b"".join),
    max_leaves=12,
)


@given(data=st.binary(max_size=60))
def test_noise(data: bytes) -> None:
    try:
        proto.decode(proto.MAGIC + data)
    except BadRequest:
        return


@given(kind=st.sampled_from(KINDS), message=MESSAGES)
def test_messages_of_any_shape(kind: tuple[str, str], message: bytes) -> None:
    meta = text(1, text(1, kind[0].encode()) + text(2, kind[1].encode()))
    try:
        found = proto.decode(proto.MAGIC + meta + text(2, message))
    except BadRequest:
        return
    assert (found["apiVersion"], found["kind"]) == kind
    encode(found)


WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
ANY = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | WORDS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(WORDS, inner, max_size=2),
    max_leaves=4,
)
SECONDS = st.integers(-62_135_596_799, 253_402_300_799)
LEAF_VALUES: dict[str, st.SearchStrategy[Any]] = {
    "string": WORDS,
    "bytes": st.binary(max_size=4).map(lambda data: base64.b64encode(data).decode()),
    "bool": st.booleans(),
    "int32": st.integers(-(2**31), 2**31 - 1),
    "int64": st.integers(-(2**63), 2**63 - 1),
    "double": st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**14), 10**14),
    "api.resource.Quantity": st.sampled_from(["0", "1", "100m", "1Gi", "-2k", "1500u"]),
    "util.intstr.IntOrString": st.integers(-(2**31), 2**31 - 1) | WORDS,
    "meta.v1.Time": SECONDS.map(times.stamp),
    "meta.v1.MicroTime": st.tuples(st.integers(-(10**9), 10**10), st.integers(0, 999_999)).map(
        lambda pair: f"{times.stamp(pair[0])[:-1]}.{pair[1]:06}Z"
    ),
    "apiextensions.v1.JSON": ANY.filter(lambda value: value is not None),
    "meta.v1.FieldsV1": st.dictionaries(WORDS, ANY, max_size=2),
    "pkg.runtime.RawExtension": st.dictionaries(WORDS, ANY, max_size=2),
}
SCHEMA = "apiextensions.v1.JSONSchemaProps"


@st.composite
def values(draw: st.DrawFn, type_: str, depth: int) -> Any:
    """A JSON value of a type of the table, with some of its fields."""
    if type_ in LEAF_VALUES:
        return draw(LEAF_VALUES[type_])
    if type_.startswith(SCHEMA) and type_ != SCHEMA:
        schema = values(SCHEMA, depth - 1)
        other = {
            "OrArray": st.lists(schema, min_size=1, max_size=2),
            "OrBool": st.booleans(),
            "OrStringArray": st.lists(WORDS, min_size=1, max_size=2),
        }
        return draw(schema | other[type_.removeprefix(SCHEMA)])
    rows = msgspec.json.decode(table().messages[type_], type=dict[str, str])
    if "*" in rows:
        return draw(st.lists(values(rows["*"].split()[1], depth - 1), min_size=1, max_size=2))
    if depth <= 0:
        return {}
    found: dict[str, Any] = {}
    for name in draw(st.lists(st.sampled_from(sorted(rows)), unique=True, max_size=4)) if rows else ():
        _, inner, *flags = rows[name].split()
        value = values(inner, depth - 1)
        if name.startswith("^"):
            found |= draw(value)
        elif "[]" in flags:
            found[name] = draw(st.lists(value, min_size=1, max_size=2))
        elif "{}" in flags:
            found[name] = draw(st.dictionaries(WORDS, value, min_size=1, max_size=2))
        else:
            found[name] = draw(value)
    return found


@st.composite
def objects(draw: st.DrawFn) -> dict[str, Any]:
    api_version, kind = draw(st.sampled_from(KINDS))
    made: dict[str, Any] = draw(values(table().kinds[api_version][kind], 5))
    return made | {"apiVersion": api_version, "kind": kind}


def less_zeros(value: Any) -> Any:
    """Without what Go leaves out of JSON, or what is the same to a server: zeros, and structs with nothing in them."""
    if isinstance(value, dict):
        inner = {name: less_zeros(one) for name, one in value.items()}
        return {name: one for name, one in inner.items() if one and one != "0"}
    return [less_zeros(one) for one in value] if isinstance(value, list) else value


@given(obj=objects())
def test_what_is_written_is_read_as_it_was(obj: dict[str, Any]) -> None:
    """Empty bytes are lost where JSON leaves them out, in Go too: what has been read once stays byte for byte."""
    found = proto.decode(proto.encode(obj))
    assert less_zeros(found) == less_zeros(obj)
    written = proto.encode(found)
    assert proto.decode(written) == found
    assert proto.encode(proto.decode(written)) == written


ODD: tuple[Any, ...] = (
    *(None, "", 0, 1, -1, 2**31, 2**63, 1.5, 1e300, True, False, [], {}, "x", "é", "\x00", "1Gi", "1e3", "AAEC", "50%"),
    *("2020-01-01T00:00:00Z", "2020-01-01T00:00:00.123456789+05:00", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"),
)


class Odd:
    """Objects that are near what their type says, with odd values anywhere."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)

    def object(self) -> tuple[Resource, dict[str, Any]]:
        row = self._rng.choice(RESOURCES)
        made = self._struct(type_of(row.definition), 0)
        metadata = made.get("metadata")
        made["metadata"] = metadata if isinstance(metadata, dict) else {}
        return row, made | {"apiVersion": row.api_version, "kind": row.kind}

    def _value(self, type_: Type, depth: int) -> Any:
        if self._rng.random() < 0.1:
            return self._rng.choice(ODD)
        if type_.kind == "struct":
            return self._struct(type_, depth)
        if type_.kind == "list" and type_.items is not None:
            return [self._value(type_.items, depth + 1) for _ in range(self._rng.randrange(3))]
        if type_.kind == "map" and type_.items is not None:
            keys = self._rng.sample(("a", "cpu", "", "é"), self._rng.randrange(3))
            return {key: self._value(type_.items, depth + 1) for key in keys}
        return self._rng.choice(ODD)

    def _struct(self, type_: Type, depth: int) -> dict[str, Any]:
        chance = 0.5 if depth < 3 else 0.2 if depth < 9 else 0.0
        return {
            name: self._value(inner, depth + 1) for name, inner in type_.fields.items() if self._rng.random() < chance
        }

    def less(self, obj: dict[str, Any]) -> None:
        """Take something out."""
        found: list[tuple[Any, Any]] = []
        todo: list[Any] = [obj]
        while todo:
            one = todo.pop()
            keys = list(one) if isinstance(one, dict) else list(range(len(one)))
            found += [(one, key) for key in keys if one is not obj or key not in ("apiVersion", "kind", "metadata")]
            todo += [one[key] for key in keys if isinstance(one[key], dict | list)]
        if found:
            where, key = self._rng.choice(found)
            del where[key]


@given(seed=st.integers(0, 2**32))
def test_whatever_a_type_lets_through_can_be_written(seed: int) -> None:
    odd = Odd(seed)
    row, obj = odd.object()
    for _ in range(100):
        try:
            SCHEME.conform(obj, row)
            break
        except BadRequest:
            odd.less(obj)
    else:
        return
    found = proto.decode(proto.encode(obj))
    written = proto.encode(found)
    assert proto.encode(proto.decode(written)) == written
