"""The string formats checked in custom resources; others say nothing (source: apiextensions-apiserver, formats)."""

import base64
import re
from collections.abc import Callable
from datetime import date, timedelta
from ipaddress import IPv4Address, IPv6Address, ip_network
from urllib.parse import urlsplit

from .. import times

_EMAIL = re.compile(r"[^@\s]+@[^@\s]+")
_HOSTNAME = re.compile(r"(?=.{1,253}$)[A-Za-z0-9]([A-Za-z0-9-]{0,62})(\.[A-Za-z0-9][A-Za-z0-9-]{0,62})*\.?")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_ISBN_10, _ISBN_13 = re.compile(r"(?:\d[ -]?){9}[\dXx]"), re.compile(r"(?:\d[ -]?){13}")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_WORDS = re.compile(r"(\d+)\s*([A-Za-z\u00b5]+)")
_UNITS = (
    (("ns", "nano"), 1e-9),
    (("us", "\u00b5s", "micro"), 1e-6),
    (("ms", "milli"), 1e-3),
    (("s", "sec"), 1.0),
    (("m", "min"), 60.0),
    (("h", "hr", "hour"), 3600.0),
    (("d", "day"), 86400.0),
    (("w", "week", "wk"), 604800.0),
)
"""Each unit's names; one that begins with the last of them is meant as well ("hours")."""


def fits(value: str, format_: str) -> bool:
    """Whether a text is of a format; an unknown format is always fitted."""
    check = FORMATS.get(_plain(format_))
    if check is None:
        return True
    try:
        return check(value) is not False
    except ValueError:
        return False


def _plain(format_: str) -> str:
    """With hyphens or without, it is the same."""
    return format_.replace("-", "")


def is_known(format_: str, *, type_: str) -> bool:
    """Whether a format is one that values of a type ("" for any) are held to."""
    numbers = {"integer": ("int32", "int64"), "number": ("float", "double")}
    return _plain(format_) in FORMATS if type_ in ("", "string") else format_ in numbers.get(type_, ())


def duration(text: str) -> timedelta:
    """Go's durations, "1h30m", and ones in words, "2 days" (kube-openapi, strfmt.ParseDuration). Raises ValueError."""
    try:
        return timedelta(seconds=times.duration(text))
    except ValueError:
        parts = [(int(number), _unit(word.lower())) for number, word in _WORDS.findall(text)]
    known = [number * seconds for number, seconds in parts if seconds]
    if not known:
        raise ValueError(f"unable to parse {text} as duration")
    return timedelta(seconds=sum(known))


def _unit(word: str) -> float:
    """Seconds; 0 for none."""
    return next((seconds for names, seconds in _UNITS if word in names or word.startswith(names[-1])), 0.0)


def _uri(text: str) -> bool:
    parts = urlsplit(text)
    return bool(parts.scheme) or text.startswith("/")


def _uuid(version: str = "[0-9a-f]", variant: str = "[0-9a-f]") -> Callable[[str], bool]:
    """With or without hyphens, in either case."""
    digits = f"[0-9a-f]{{8}}-?[0-9a-f]{{4}}-?{version}[0-9a-f]{{3}}-?{variant}[0-9a-f]{{3}}-?[0-9a-f]{{12}}"
    pattern = re.compile(digits, re.IGNORECASE)
    return lambda text: bool(pattern.fullmatch(text))


FORMATS: dict[str, Callable[[str], object]] = {
    "bsonobjectid": lambda text: bool(re.fullmatch("[0-9a-fA-F]{24}", text)),
    "uri": _uri,
    "email": lambda text: bool(_EMAIL.fullmatch(text)),
    "hostname": lambda text: bool(_HOSTNAME.fullmatch(text)),
    "ipv4": IPv4Address,
    "ipv6": IPv6Address,
    "cidr": lambda text: "/" in text and bool(ip_network(text, strict=False)),
    "mac": lambda text: bool(re.fullmatch("([0-9a-fA-F]{2}[:-]){5}[0-9a-fA-F]{2}", text)),
    "uuid": _uuid(),
    "uuid3": _uuid("3"),
    "uuid4": _uuid("4", "[89ab]"),
    "uuid5": _uuid("5", "[89ab]"),
    "byte": lambda text: bool(base64.b64decode(text, validate=True)),
    "date": lambda text: bool(_DATE.fullmatch(text) and date.fromisoformat(text)),
    "datetime": lambda text: bool(times.canonical(text)),
    "duration": duration,
    "hexcolor": lambda text: bool(re.fullmatch("#?([0-9a-fA-F]{3}|[0-9a-fA-F]{6})", text)),
    "rgbcolor": lambda text: bool(re.fullmatch(r"rgb\(\s*\d{1,3}\s*,\s*\d{1,3}\s*,\s*\d{1,3}\s*\)", text)),
    "creditcard": lambda text: bool(re.fullmatch(r"[0-9 -]{13,19}", text)),
    "ssn": lambda text: bool(re.fullmatch(r"\d{3}[- ]?\d{2}[- ]?\d{4}", text)),
    "isbn": lambda text: bool(_ISBN_10.fullmatch(text) or _ISBN_13.fullmatch(text)),
    "isbn10": lambda text: bool(_ISBN_10.fullmatch(text)),
    "isbn13": lambda text: bool(_ISBN_13.fullmatch(text)),
    "password": lambda text: True,
    "k8sshortname": lambda text: len(text) <= 63 and bool(re.fullmatch("[a-z0-9]([-a-z0-9]*[a-z0-9])?", text)),
    "k8slongname": lambda text: len(text) <= 253 and bool(_SUBDOMAIN.fullmatch(text)),
}
"""By their names without hyphens."""
