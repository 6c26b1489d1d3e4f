"""Quantities ("500m", "1Gi", "2e3") as exact whole nano units, with Kubernetes' canonical form.

Source: k8s.io/apimachinery/pkg/api/resource. Nothing is below one nano (rounded away from zero); nothing above 2^63-1.
"""

import re
from functools import lru_cache
from typing import NamedTuple, Self

_NANO = 10**9
_MOST = (2**63 - 1) * _NANO
_PATTERN = re.compile(r"([+-]?)([0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)")
_NUMBER = re.compile(r"[0-9]+(\.[0-9]*)?|\.[0-9]+")
_EXPONENT = re.compile(r"[eE]([-+]?[0-9]+)")
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
_DECIMAL_NAMES = {power: name for name, power in _DECIMAL.items()}
_BINARY_NAMES = {power: name for name, power in _BINARY.items()} | {0: ""}

FORMAT_TEXT = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
SUFFIX_TEXT = "unable to parse quantity's suffix"


class Quantity(NamedTuple):
    """An amount in nano units and the family it is written in: "decimal", "binary" or "exponent"."""

    nano: int = 0
    form: str = "decimal"

    @classmethod
    def parse(cls, value: "str | int | float | Quantity | None") -> Self:
        """From JSON (a string or a number); None is zero. Raises ValueError with the API's text."""
        if isinstance(value, Quantity):
            return cls(*value)
        return cls(*_parsed(_text(value)))

    @property
    def value(self) -> int:
        """Whole units, rounded up (Quantity.Value)."""
        return -(-self.nano // _NANO)

    @property
    def milli(self) -> int:
        """Thousandths, rounded up (Quantity.MilliValue)."""
        return -(-self.nano // 10**6)

    def plus(self, other: "Quantity") -> Self:
        """The sum, in this quantity's family (in the other's when this is zero)."""
        return self._replace(nano=self.nano + other.nano, form=self.form if self.nano else other.form)

    def minus(self, other: "Quantity") -> Self:
        return self._replace(nano=self.nano - other.nano, form=self.form if self.nano else other.form)

    def __str__(self) -> str:
        """The canonical form: the largest suffix without a fraction."""
        if not self.nano:
            return "0"
        sign, nano = ("-", -self.nano) if self.nano < 0 else ("", self.nano)
        whole, rest = divmod(nano, _NANO)
        if self.form == "binary" and whole >= 1024 and not rest:
            return sign + _binary_text(whole)
        return sign + _decimal_text(nano, exponent=self.form == "exponent")


def _text(value: str | int | float | None) -> str:
    if value is None:
        return "0"
    return value.strip() if isinstance(value, str) else str(value)


@lru_cache(maxsize=4096)
def _parsed(text: str) -> tuple[int, str]:
    match = _PATTERN.fullmatch(text)
    if match is None or not _NUMBER.fullmatch(match[2]):
        raise ValueError(FORMAT_TEXT)
    whole, _, fraction = match[2].partition(".")
    digits, scale = int(whole + fraction or "0"), -len(fraction)
    if match[3] in _BINARY:
        digits, form = digits << _BINARY[match[3]], "binary"
    elif match[3] in _DECIMAL:
        scale, form = scale + _DECIMAL[match[3]], "decimal"
    elif exponent := _EXPONENT.fullmatch(match[3]):
        scale, form = scale + max(-1000, min(1000, int(exponent[1]))), "exponent"
    else:
        raise ValueError(SUFFIX_TEXT)
    power = scale + 9
    nano = digits * 10**power if power >= 0 else -(-digits // 10**-power)
    nano = min(nano, _MOST)
    if form == "binary" and 0 < nano < _NANO:
        form = "decimal"
    return (-nano if match[1] == "-" else nano), form


def _binary_text(whole: int) -> str:
    power = 0
    while whole % 1024 == 0 and power < 60:
        whole, power = whole // 1024, power + 10
    return f"{whole}{_BINARY_NAMES[power]}"


def _decimal_text(nano: int, *, exponent: bool) -> str:
    power = -9
    while nano % 1000 == 0 and power < 18:
        nano, power = nano // 1000, power + 3
    if exponent:
        return f"{nano}e{power}" if power else str(nano)
    return f"{nano}{_DECIMAL_NAMES[power]}"


def canonical(value: str | int | float) -> str:
    """The canonical text. Raises ValueError."""
    return str(Quantity.parse(value))


def units(value: str | int | float | None) -> int:
    """Whole units rounded up (bytes, pods); 0 for None."""
    return Quantity.parse(value).value


def millis(value: str | int | float | None) -> int:
    """Thousandths rounded up (CPU); 0 for None."""
    return Quantity.parse(value).milli
