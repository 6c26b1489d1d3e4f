import pytest

from pybernetes.api.quantity import Quantity, canonical, millis, units


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("0", "0"),
        ("1", "1"),
        ("1000m", "1"),
        ("0.5", "500m"),
        (".5", "500m"),
        ("1.", "1"),
        ("100m", "100m"),
        ("1024Mi", "1Gi"),
        ("1536Mi", "1536Mi"),
        ("1.5Gi", "1536Mi"),
        ("0.5Gi", "512Mi"),
        ("1023", "1023"),
        ("1Ki", "1Ki"),
        ("0.1Ki", "102400m"),
        ("1000k", "1M"),
        ("1e3", "1e3"),
        ("1500e3", "1500e3"),
        ("1E3", "1e3"),
        ("1E", "1E"),
        ("12e6", "12e6"),
        ("1n", "1n"),
        ("0.1n", "1n"),
        ("-0.5", "-500m"),
        ("+3", "3"),
        ("-1Gi", "-1Gi"),
        ("0.0001Ki", "102400u"),
    ],
)
def test_canonical_form(text, wanted):
    assert canonical(text) == wanted


def test_numbers_are_quantities_too():
    assert canonical(2) == "2"
    assert canonical(0.25) == "250m"


@pytest.mark.parametrize("text", ["", "x", "1.2.3", "1 Gi", "1Gib", "--1", ".", "1e"])
def test_what_is_no_quantity(text):
    with pytest.raises(ValueError, match="quantit"):
        canonical(text)


def test_what_is_too_much_is_capped():
    assert Quantity.parse("1e40") == Quantity.parse("9223372036854775807e0")


def test_values_are_rounded_up():
    assert units("1500m") == 2
    assert units("-1500m") == -1
    assert millis("1n") == 1
    assert units(None) == 0


def test_sums_keep_the_family_of_the_first():
    assert str(Quantity.parse("1Gi").plus(Quantity.parse("1Gi"))) == "2Gi"
    assert str(Quantity.parse("0").plus(Quantity.parse("1Gi"))) == "1Gi"
    assert str(Quantity.parse("2").minus(Quantity.parse("500m"))) == "1500m"


def test_order_is_by_amount():
    assert Quantity.parse("1Gi").nano > Quantity.parse("1G").nano
    assert Quantity.parse("1000m").nano == Quantity.parse("1").nano
