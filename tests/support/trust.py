"""A certificate request, a stub of one and an authority, as objects of certificates.k8s.io hold them."""

import base64
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

_KEY = ec.generate_private_key(ec.SECP256R1())
_NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "somebody")])
_ASKED = x509.CertificateSigningRequestBuilder().subject_name(_NAME).sign(_KEY, hashes.SHA256())


def authority(*, days: int = 1) -> str:
    """A certificate of one, in PEM, another at each call."""
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(_NAME)
        .issuer_name(_NAME)
        .public_key(_KEY.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    )
    return builder.sign(_KEY, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


REQUEST = base64.b64encode(_ASKED.public_bytes(Encoding.PEM)).decode()
"""spec.request of a CertificateSigningRequest: PEM in base64."""
STUB = base64.b64encode(_ASKED.public_bytes(Encoding.DER)).decode()
"""spec.stubPKCS10Request of a PodCertificateRequest: DER in base64."""
AUTHORITY = authority()
"""spec.trustBundle of a ClusterTrustBundle: PEM."""
