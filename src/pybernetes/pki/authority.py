"""The cluster's certificate authority: one self-signed certificate, and the pairs it signs for every component.

All keys are ECDSA P-256: made in microseconds where RSA takes a tenth of a second, and a start makes a dozen. The
common name of a client certificate is the user, its organizations the groups (docs: PKI certificates).
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple, Self

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from . import files

AUTHORITY_LIFE = timedelta(days=3652)
LEAF_LIFE = timedelta(days=365)
RENEW_BEFORE = timedelta(days=90)
"""A pair with less life left than this is made anew."""
_SKEW = timedelta(minutes=5)
"""Valid since a little earlier, for peers whose clock is behind."""


class Pair(NamedTuple):
    """Paths of a PEM certificate and its PEM key."""

    certificate: str
    key: str


class KeyPair(NamedTuple):
    """Paths of a PEM private key and its PEM public key."""

    private: str
    public: str


class Authority:
    """Signs certificates, and keeps them in files. Not safe for two processes in one directory at once."""

    def __init__(self, directory: Path, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        self.directory = directory
        self.certificate = str(directory / "ca.crt")
        """Path of its own certificate."""
        self._certificate = certificate
        self._key = key

    @classmethod
    def ensure(cls, directory: Path, *, name: str = "pybernetes-ca") -> Self:
        """The authority of a directory (ca.crt, ca.key); made when there is none. Raises ValueError for half of one."""
        found = _load(directory / "ca.crt", directory / "ca.key")
        if found is not None:
            return cls(directory, *found)
        if files.read(directory / "ca.crt"):
            raise ValueError(f"{directory}: ca.crt has no matching ca.key; a new authority would shut all clients out")
        key = ec.generate_private_key(ec.SECP256R1())
        subject = _name(name, ())
        certificate = _sign(_builder(subject, subject, key, AUTHORITY_LIFE), key, key, authority=True)
        _save(directory / "ca.crt", directory / "ca.key", certificate, key)
        return cls(directory, certificate, key)

    def issue(
        self,
        name: str,
        *,
        user: str,
        groups: Sequence[str] = (),
        dns: Sequence[str] = (),
        addresses: Sequence[str] = (),
        server: bool = False,
        client: bool = True,
        directory: Path | None = None,
    ) -> Pair:
        """The pair NAME.crt, NAME.key for an identity; kept while it is valid and for just this, else made anew."""
        where = directory or self.directory
        paths = where / f"{name}.crt", where / f"{name}.key"
        subject = _name(user, groups)
        names = [x509.DNSName(one) for one in dns] + [x509.IPAddress(ip_address(one)) for one in addresses]
        usages = [ExtendedKeyUsageOID.SERVER_AUTH] * server + [ExtendedKeyUsageOID.CLIENT_AUTH] * client
        found = _load(*paths)
        if found is None or not self._still_good(found[0], subject, names, usages):
            key = ec.generate_private_key(ec.SECP256R1())
            builder = _builder(subject, self._certificate.subject, key, LEAF_LIFE)
            builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            if names:
                builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
            _save(*paths, _sign(builder, key, self._key, authority=False), key)
        return Pair(*map(str, paths))

    def service_account_keys(self) -> KeyPair:
        """The key that signs service account tokens (sa.key, ES256), and the one that verifies them (sa.pub)."""
        private, public = self.directory / "sa.key", self.directory / "sa.pub"
        if not files.read(private):
            files.write(private, _pem(ec.generate_private_key(ec.SECP256R1())), secret=True)
            public.unlink(missing_ok=True)
        if not files.read(public):
            key = load_pem_private_key(files.read(private), None)
            pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
            files.write(public, pem, secret=False)
        return KeyPair(str(private), str(public))

    def _still_good(
        self,
        found: x509.Certificate,
        subject: x509.Name,
        names: Sequence[x509.GeneralName],
        usages: Sequence[x509.ObjectIdentifier],
    ) -> bool:
        """Signed by this authority, with life left, and for exactly this identity."""
        left = found.not_valid_after_utc - datetime.now(UTC)
        try:
            found.verify_directly_issued_by(self._certificate)
            has_names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except x509.ExtensionNotFound:
            has_names = x509.SubjectAlternativeName([])
        except (ValueError, TypeError, InvalidSignature):
            return False
        has_usages = found.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        same = found.subject == subject and set(has_names) == set(names) and set(has_usages) == set(usages)
        return same and left > RENEW_BEFORE


def _name(user: str, groups: Sequence[str]) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    return x509.Name([*attributes, x509.NameAttribute(NameOID.COMMON_NAME, user)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, life: timedelta
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + life)
    )


def _sign(
    builder: x509.CertificateBuilder,
    key: ec.EllipticCurvePrivateKey,
    signer: ec.EllipticCurvePrivateKey,
    *,
    authority: bool,
) -> x509.Certificate:
    """With the extensions that strict verifiers ask for (RFC 5280; OpenSSL's X509_STRICT, on in Python 3.13)."""
    usage = x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    return (
        builder.add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        .sign(signer, hashes.SHA256())
    )


def _load(certificate: Path, key: Path) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey] | None:
    """A pair from its files; None unless both are there, readable and belong together."""
    try:
        found = x509.load_pem_x509_certificate(files.read(certificate))
        private = load_pem_private_key(files.read(key), None)
    except (ValueError, TypeError):
        return None
    if not isinstance(private, ec.EllipticCurvePrivateKey) or private.public_key() != found.public_key():
        return None
    return found, private


def _save(certificate: Path, key: Path, signed: x509.Certificate, private: ec.EllipticCurvePrivateKey) -> None:
    """The key first: a crash in between leaves a pair that does not match, which is made anew."""
    files.write(key, _pem(private), secret=True)
    files.write(certificate, signed.public_bytes(Encoding.PEM), secret=False)


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
