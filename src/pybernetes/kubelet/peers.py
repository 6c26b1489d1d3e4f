"""Who calls the kubelet's server: the subject of a verified client certificate, read from its DER.

A certificate library would cost every agent megabytes for two strings (X.690, RFC 5280 section 4.1).
"""

from collections.abc import Iterator
from typing import NamedTuple

_COMMON_NAME = bytes.fromhex("550403")
_ORGANIZATION = bytes.fromhex("55040a")
_SEQUENCE, _OID, _VERSION = 0x30, 0x06, 0xA0

ALLOWED_USERS = frozenset({"kube-apiserver-kubelet-client"})
ALLOWED_GROUPS = frozenset({"system:masters", "kubeadm:cluster-admins", "kubelet-api-admin"})


class Caller(NamedTuple):
    user: str
    groups: tuple[str, ...]

    @property
    def allowed(self) -> bool:
        return self.user in ALLOWED_USERS or bool(ALLOWED_GROUPS & set(self.groups))


class _Item(NamedTuple):
    tag: int
    data: bytes


def caller_of(certificate: bytes | None) -> Caller | None:
    """None without a certificate. Raises ValueError for what is none."""
    if not certificate:
        return None
    try:
        tbs = next(_items(next(_items(certificate)).data))
        fields = list(_items(tbs.data))
        if fields[0].tag == _VERSION:
            fields = fields[1:]
        subject = fields[4]  # serial, signature, issuer, validity, subject
        names = [(oid, text) for oid, text in _names(subject.data)]
    except (IndexError, StopIteration) as error:
        raise ValueError("not a certificate") from error
    user = next((text for oid, text in names if oid == _COMMON_NAME), "")
    return Caller(user, tuple(text for oid, text in names if oid == _ORGANIZATION))


def _names(subject: bytes) -> Iterator[tuple[bytes, str]]:
    for group in _items(subject):
        for pair in _items(group.data):
            oid, value = _items(pair.data)
            yield oid.data, value.data.decode("utf-8", "replace")


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
