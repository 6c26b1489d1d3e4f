"""What a PKCS #10 request asks to become."""

import base64

from cryptography import x509
from cryptography.x509.oid import NameOID


class BadRequestBytes(ValueError):
    """Not a certificate request in PEM."""


def organizations(request: str) -> tuple[str, ...]:
    """The groups of a CertificateSigningRequest's spec.request (base64 of PEM). Raises BadRequestBytes."""
    return _words(request, NameOID.ORGANIZATION_NAME)


def common_name(request: str) -> str:
    """Its user, "" for none. Raises BadRequestBytes."""
    return next(iter(_words(request, NameOID.COMMON_NAME)), "")


def _words(request: str, oid: x509.ObjectIdentifier) -> tuple[str, ...]:
    try:
        found = x509.load_pem_x509_csr(base64.b64decode(request, validate=True))
    except ValueError as error:
        raise BadRequestBytes(str(error)) from error
    return tuple(str(one.value) for one in found.subject.get_attributes_for_oid(oid))
