"""How every certificate here is made: subject, life, and the extensions that strict verifiers ask for.

RFC 5280; OpenSSL's X509_STRICT, on in Python 3.13, refuses what lacks them.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_SKEW = timedelta(minutes=5)
"""Valid since a little earlier, for peers whose clock is behind."""
CLIENT_AUTH, SERVER_AUTH = "client auth", "server auth"
PLAIN, ENCIPHER = "digital signature", "key encipherment"
EXTENDED: Mapping[str, x509.ObjectIdentifier] = {
    CLIENT_AUTH: ExtendedKeyUsageOID.CLIENT_AUTH,
    SERVER_AUTH: ExtendedKeyUsageOID.SERVER_AUTH,
}
"""Usages that are extended ones, by the API's words (certificates.k8s.io KeyUsage)."""


class Issuer(NamedTuple):
    """Who signs: its name, its key, and when its own certificate ends (None for one that signs itself)."""

    name: x509.Name
    key: ec.EllipticCurvePrivateKey
    until: datetime | None = None


def certified(
    subject: x509.Name,
    key: CertificatePublicKeyTypes,
    *,
    issuer: Issuer,
    life: timedelta,
    usages: Collection[str] = (PLAIN,),
    names: Sequence[x509.GeneralName] = (),
    authority: bool = False,
) -> x509.Certificate:
    """A certificate for a public key. `usages` are the API's words; it ends with its issuer's at the latest."""
    now = datetime.now(UTC)
    until = now + life if issuer.until is None else min(now + life, issuer.until)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.name)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(until)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(_usage(usages, authority=authority), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()), critical=False)
    )
    if extended := extended_usages(usages):
        builder = builder.add_extension(x509.ExtendedKeyUsage(extended), critical=False)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(issuer.key, hashes.SHA256())


def extended_usages(usages: Collection[str]) -> list[x509.ObjectIdentifier]:
    return [EXTENDED[one] for one in sorted(EXTENDED.keys() & set(usages))]


def subject_of(user: str, groups: Sequence[str]) -> x509.Name:
    """The name of an identity: groups are organizations, the user is the common name (docs: PKI certificates)."""
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    return x509.Name([*attributes, x509.NameAttribute(NameOID.COMMON_NAME, user)])


def _usage(words: Collection[str], *, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=PLAIN in words,
        key_encipherment=ENCIPHER in words,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
