"""Laws of quantities: the canonical form says the same, once and for all, and sums are sums."""

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from pybernetes.api.quantity import Quantity, canonical

DECIMAL = {"": 0, "k": 3, "M": 6, "G": 9, "T": 12, "m": -3, "u": -6, "n": -9, "e3": 3, "E-3": -3, "e0": 0}
BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40}
SCALES = {suffix: Fraction(10) ** power for suffix, power in DECIMAL.items()}
SCALES |= {suffix: Fraction(2) ** power for suffix, power in BINARY.items()}
numbers = st.one_of(
    st.integers(0, 10**6).map(str),
    st.tuples(st.integers(0, 10**4), st.integers(0, 10**4)).map(lambda pair: f"{pair[0]}.{pair[1]:04d}"),
)
texts = st.tuples(st.sampled_from(["", "+", "-"]), numbers, st.sampled_from(sorted(SCALES))).map("".join)


def amount(text):
    """The exact value, read in the most naive way."""
    number = text.lstrip("+-")
    suffix = next((s for s in sorted(SCALES, key=len, reverse=True) if s and number.endswith(s)), "")
    value = Fraction(number.removesuffix(suffix)) * SCALES[suffix]
    return -value if text.startswith("-") else value


@given(texts)
def test_parsing_is_exact_or_rounded_away_from_zero_to_a_nano(text):
    exact = amount(text) * 10**9
    nano = Quantity.parse(text).nano
    assert abs(nano) - abs(exact) < 1
    assert abs(nano) >= abs(exact)
    assert nano * exact >= 0


@given(texts)
def test_the_canonical_form_is_a_fixed_point_and_says_the_same(text):
    once = canonical(text)
    assert canonical(once) == once
    assert Quantity.parse(once).nano == Quantity.parse(text).nano


@given(texts)
def test_the_canonical_form_has_no_fraction(text):
    assert "." not in canonical(text)


@given(texts, texts)
def test_equal_amounts_of_one_family_look_the_same(one, other):
    a, b = Quantity.parse(one), Quantity.parse(other)
    if a == b:
        assert str(a) == str(b)


@given(texts, texts, texts)
def test_sums(one, other, third):
    a, b, c = map(Quantity.parse, (one, other, third))
    assert a.plus(b).nano == b.plus(a).nano
    assert a.plus(b).plus(c).nano == a.plus(b.plus(c)).nano
    assert a.plus(b).minus(b).nano == a.nano
    assert Quantity.parse(str(a.plus(b))).nano == a.plus(b).nano


@given(texts)
def test_whole_units_are_rounded_up(text):
    found = Quantity.parse(text)
    assert 0 <= found.value * 10**9 - found.nano < 10**9
    assert 0 <= found.milli * 10**6 - found.nano < 10**6


@given(st.text("0123456789.eEinumkKMGTP+- ", max_size=8))
def test_any_text_is_a_quantity_or_a_value_error(text):
    try:
        once = canonical(text)
    except ValueError:
        return
    assert canonical(once) == once
