import pytest
from hypothesis import given
from hypothesis import strategies as st

from pybernetes.dns.names import (
    BadName,
    name_of,
    packed,
    read_name,
    reverse_name,
    reverse_zones,
    reversed_address,
    text_of,
    wire_of,
)

labels = st.binary(min_size=1, max_size=63).map(lambda b: b.lower().decode("latin-1"))


@given(st.lists(labels, max_size=3))
def test_wire_round_trip(name: list[str]) -> None:
    wire = wire_of(tuple(name))
    assert read_name(b"xx" + wire + b"rest", 2) == (tuple(name), 2 + len(wire))


@given(st.ip_addresses())
def test_reverse_round_trip(address: object) -> None:
    wire = packed(str(address))
    assert wire is not None
    assert reversed_address(reverse_name(wire)) == wire


@pytest.mark.parametrize(
    "wire", [b"", b"\x03ab", b"\x03abc", b"\xc0\x0c", b"\x40" + b"a" * 64 + b"\0", (b"\x3f" + b"a" * 63) * 4 + b"\0"]
)
def test_bad_wire(wire: bytes) -> None:
    with pytest.raises(BadName):
        read_name(wire, 0)


@pytest.mark.parametrize("name", [("a" * 64,), ("",), ("a" * 63,) * 4, ("\u0101",)])
def test_unwritable(name: tuple[str, ...]) -> None:
    with pytest.raises(BadName):
        wire_of(name)


@pytest.mark.parametrize(
    "name", ["1.0.0.in-addr.arpa", "x.0.0.10.in-addr.arpa", "300.0.0.10.in-addr.arpa", "example.com", "zz.ip6.arpa"]
)
def test_no_reverse_name(name: str) -> None:
    assert reversed_address(name_of(name)) is None


def test_reverse_zones() -> None:
    assert [text_of(z) for z in reverse_zones("10.96.0.0/16")] == ["96.10.in-addr.arpa."]
    assert len(reverse_zones("10.96.0.0/12")) == 16
    assert [text_of(z) for z in reverse_zones("fd00:10::/32")] == ["0.1.0.0.0.0.d.f.ip6.arpa."]
    assert [text_of(z) for z in reverse_zones("192.0.2.7/32")] == ["7.2.0.192.in-addr.arpa."]
