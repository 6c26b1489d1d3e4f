"""The cluster's certificate authority: one self-signed certificate, and the pairs it signs for every component.

Keys are ECDSA P-256: made in microseconds where RSA takes a tenth of a second, and a start makes a dozen. Only what
people's own programs are given is RSA, as kubeadm's: fabric8, which Java operators are built on, takes a key for RSA
unless its file says EC, and reads EC with a further library only. The common name of a client certificate is the user,
its organizations the groups (docs: PKI certificates).
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple, Self

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from . import files
from .requests import general_names
from .signing import CLIENT_AUTH, PLAIN, SERVER_AUTH, Issuer, certified, extended_usages, subject_of

Private = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
AUTHORITY_LIFE = timedelta(days=3652)
LEAF_LIFE = timedelta(days=365)
RENEW_BEFORE = timedelta(days=90)
"""A pair with less life left than this is made anew."""


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
        self._issuer = Issuer(certificate.subject, key, certificate.not_valid_after_utc)

    @classmethod
    def ensure(cls, directory: Path, *, name: str = "pybernetes-ca") -> Self:
        """The authority of a directory (ca.crt, ca.key); made when there is none. Raises ValueError for half of one."""
        found = _load(directory / "ca.crt", directory / "ca.key")
        if found is not None and isinstance(found.key, ec.EllipticCurvePrivateKey):
            return cls(directory, found.certificate, found.key)
        if files.read(directory / "ca.crt"):
            raise ValueError(f"{directory}: ca.crt has no matching ca.key; a new authority would shut all clients out")
        key = ec.generate_private_key(ec.SECP256R1())
        subject = subject_of(name, ())
        certificate = certified(
            subject, key.public_key(), issuer=Issuer(subject, key), life=AUTHORITY_LIFE, authority=True
        )
        _save(directory / "ca.crt", directory / "ca.key", [certificate], key)
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
        plain: bool = False,
        directory: Path | None = None,
    ) -> Pair:
        """The pair NAME.crt, NAME.key for an identity; kept while it is valid and for just this, else made anew.

        A server's shows the authority too, so that who knows only its hash can trust it (a node that joins). With
        `plain` its key is RSA, which every client can read.
        """
        where = directory or self.directory
        paths = where / f"{name}.crt", where / f"{name}.key"
        subject, names = subject_of(user, groups), general_names(dns, addresses)
        usages = [PLAIN] + [SERVER_AUTH] * server + [CLIENT_AUTH] * client
        above = [self._certificate] if server else []
        found = _load(*paths)
        kept = found is not None and found.above == above and isinstance(found.key, rsa.RSAPrivateKey) == plain
        if found is None or not kept or not self._still_good(found.certificate, subject, names, usages):
            key: Private = rsa.generate_private_key(65537, 2048) if plain else ec.generate_private_key(ec.SECP256R1())
            made = certified(subject, key.public_key(), issuer=self._issuer, life=LEAF_LIFE, usages=usages, names=names)
            _save(*paths, [made, *above], key)
        return Pair(*map(str, paths))

    def service_account_keys(self) -> KeyPair:
        """The key that signs service account tokens (sa.key, ES256), and the one that verifies them (sa.pub)."""
        private, public = self.directory / "sa.key", self.directory / "sa.pub"
        if not files.read(private):
            files.write(private, files.key_pem(ec.generate_private_key(ec.SECP256R1())), secret=True)
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
        usages: Sequence[str],
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
        same = found.subject == subject and set(has_names) == set(names)
        return same and set(has_usages) == set(extended_usages(usages)) and left > RENEW_BEFORE


class _Loaded(NamedTuple):
    certificate: x509.Certificate
    key: Private
    above: list[x509.Certificate]


def _load(certificate: Path, key: Path) -> _Loaded | None:
    """A pair from its files; None unless both are there, readable and belong together."""
    try:
        found, *above = x509.load_pem_x509_certificates(files.read(certificate))
        private = load_pem_private_key(files.read(key), None)
    except (ValueError, TypeError):
        return None
    if not isinstance(private, Private) or private.public_key() != found.public_key():
        return None
    return _Loaded(found, private, above)


def _save(certificate: Path, key: Path, chain: Sequence[x509.Certificate], private: Private) -> None:
    """The key first: a crash in between leaves a pair that does not match, which is made anew."""
    files.write(key, files.key_pem(private), secret=True)
    files.write(certificate, b"".join(one.public_bytes(Encoding.PEM) for one in chain), secret=False)
