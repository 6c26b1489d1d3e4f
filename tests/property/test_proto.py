"""Whatever bytes come: an object or a BadRequest, nothing else."""

from hypothesis import given
from hypothesis import strategies as st

from pybernetes.api import proto
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
