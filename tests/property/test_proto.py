"""Whatever bytes come: an object or a BadRequest, nothing else. Whatever object is written: it is read as it was."""

import base64
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from pybernetes.api import proto, times
from pybernetes.api.errors import BadRequest
from pybernetes.api.objects import encode
from pybernetes.api.proto.message import table

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
