"""Certificate requests (PKCS #10): asking for a certificate, and signing what others ask for."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from .files import key_pem
from .signing import Issuer, certified, subject_of


class Asked(NamedTuple):
    """A request and the new key that signed it, PEM."""

    request: bytes
    key: bytes


def ask(user: str, *, groups: Sequence[str] = (), dns: Sequence[str] = (), addresses: Sequence[str] = ()) -> Asked:
    """A request for an identity, with a new key."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject_of(user, groups))
    if names := general_names(dns, addresses):
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return Asked(builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM), key_pem(key))


def stub(kind: str) -> Asked:
    """A request (DER) that says nothing but a new key of a kind, as the API names it. Raises ValueError."""
    key = _new_key(kind)
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    made = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, algorithm)
    return Asked(made.public_bytes(Encoding.DER), key_pem(key))


def _new_key(kind: str) -> ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey:
    if kind == "ED25519":
        return ed25519.Ed25519PrivateKey.generate()
    if kind.startswith("RSA"):
        return rsa.generate_private_key(65537, int(kind.removeprefix("RSA")))
    if kind in _CURVES:
        return ec.generate_private_key(_CURVES[kind])
    raise ValueError(f"unknown type of key {kind}")


_CURVES: Mapping[str, ec.EllipticCurve] = {
    "ECDSAP256": ec.SECP256R1(),
    "ECDSAP384": ec.SECP384R1(),
    "ECDSAP521": ec.SECP521R1(),
}


class Signer:
    """The authority of a directory (ca.crt, ca.key), which is there already."""

    def __init__(self, directory: Path) -> None:
        """Raises OSError, ValueError."""
        certificate = x509.load_pem_x509_certificate((directory / "ca.crt").read_bytes())
        key = load_pem_private_key((directory / "ca.key").read_bytes(), None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ValueError(f"{directory}/ca.key: not an EC key")
        self._issuer = Issuer(certificate.subject, key, certificate.not_valid_after_utc)

    def sign(self, request: x509.CertificateSigningRequest, *, usages: Iterable[str], life: timedelta) -> bytes:
        """The certificate (PEM) with the request's subject and names. It ends with its authority at the latest."""
        made = certified(
            request.subject,
            request.public_key(),
            issuer=self._issuer,
            life=life,
            usages=frozenset(usages),
            names=names_of(request),
        )
        return made.public_bytes(Encoding.PEM)


def general_names(dns: Sequence[str], addresses: Sequence[str]) -> list[x509.GeneralName]:
    return [*(x509.DNSName(one) for one in dns), *(x509.IPAddress(ip_address(one)) for one in addresses)]


def names_of(request: x509.CertificateSigningRequest) -> list[x509.GeneralName]:
    """The subject alternative names asked for."""
    try:
        return list(request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        return []
