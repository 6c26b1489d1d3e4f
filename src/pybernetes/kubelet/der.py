"""What a certificate says, read from its DER: subject, validity, names.

A certificate library would cost every agent megabytes for a few strings (X.690, RFC 5280 section 4.1).
"""

import base64
from collections.abc import Iterator
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import NamedTuple

_COMMON_NAME = bytes.fromhex("550403")
_ORGANIZATION = bytes.fromhex("55040a")
_ALTERNATIVE_NAMES = bytes.fromhex("551d11")
_VERSION, _EXTENSIONS, _UTC_TIME = 0xA0, 0xA3, 0x17
_DNS, _ADDRESS = 0x82, 0x87


class Facts(NamedTuple):
    """Times are POSIX; `names` are DNS names and addresses."""

    user: str
    groups: tuple[str, ...]
    since: float
    until: float
    names: frozenset[str]


class _Item(NamedTuple):
    tag: int
    data: bytes


def facts_of(certificate: bytes) -> Facts:
    """Raises ValueError for what is no certificate."""
    try:
        tbs = next(_items(next(_items(certificate)).data))
        fields = list(_items(tbs.data))
        if fields[0].tag == _VERSION:
            fields = fields[1:]
        _, _, _, validity, subject, _, *rest = fields  # serial, signature, issuer, validity, subject, key
        since, until = (_moment(one) for one in _items(validity.data))
        words = list(_words(subject.data))
        return Facts(
            user=next((text for oid, text in words if oid == _COMMON_NAME), ""),
            groups=tuple(text for oid, text in words if oid == _ORGANIZATION),
            since=since,
            until=until,
            names=frozenset(name for one in rest if one.tag == _EXTENSIONS for name in _names(one.data)),
        )
    except (IndexError, StopIteration, ValueError) as error:
        raise ValueError("not a certificate") from error


def der_of(pem: bytes) -> bytes:
    """The first certificate of a PEM file. Raises ValueError when there is none."""
    _, begin, rest = pem.partition(b"-----BEGIN CERTIFICATE-----")
    body, end, _ = rest.partition(b"-----END CERTIFICATE-----")
    if not begin or not end:
        raise ValueError("no certificate")
    return base64.b64decode(body)


def _moment(item: _Item) -> float:
    """UTCTime has two digits of the year: from 1950 to 2049 (RFC 5280 section 4.1.2.5)."""
    text = item.data.decode()
    if item.tag == _UTC_TIME:
        text = ("19" if int(text[:2]) >= 50 else "20") + text
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp()


def _words(subject: bytes) -> Iterator[tuple[bytes, str]]:
    for group in _items(subject):
        for pair in _items(group.data):
            oid, value = _items(pair.data)
            yield oid.data, value.data.decode("utf-8", "replace")


def _names(extensions: bytes) -> Iterator[str]:
    for extension in _items(next(_items(extensions)).data):
        oid, *_, value = _items(extension.data)
        if oid.data != _ALTERNATIVE_NAMES:
            continue
        for name in _items(next(_items(value.data)).data):
            if name.tag == _DNS:
                yield name.data.decode("ascii")
            elif name.tag == _ADDRESS:
                yield str(ip_address(name.data))


def _items(data: bytes) -> Iterator[_Item]:
    """The elements of a DER encoding, one after the other."""
    at = 0
    while at < len(data):
        tag, length, at = data[at], data[at + 1], at + 2
        if length & 0x80:
            count = length & 0x7F
            length, at = int.from_bytes(data[at : at + count], "big"), at + count
        if at + length > len(data):
            raise IndexError("truncated")
        yield _Item(tag, data[at : at + length])
        at += length
