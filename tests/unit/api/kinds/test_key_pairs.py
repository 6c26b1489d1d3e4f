"""Certificates and keys that do not belong together, in Go's words."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from pybernetes.api.kinds.key_pairs import pair_problem

KEY, OTHER = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
SINCE = datetime(2026, 1, 1, tzinfo=UTC)
CERTIFICATE = (
    x509.CertificateBuilder()
    .subject_name(x509.Name([]))
    .issuer_name(x509.Name([]))
    .public_key(KEY.public_key())
    .serial_number(1)
    .not_valid_before(SINCE)
    .not_valid_after(SINCE + timedelta(days=1))
    .sign(KEY, hashes.SHA256())
    .public_bytes(Encoding.PEM)
)


def pem(key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey, *, old: bool = False) -> bytes:
    form = PrivateFormat.TraditionalOpenSSL if old else PrivateFormat.PKCS8
    return key.private_bytes(Encoding.PEM, form, NoEncryption())


@pytest.mark.parametrize("key", [pem(KEY), pem(KEY, old=True)])
def test_a_pair(key):
    assert pair_problem(CERTIFICATE, key) == ""
    assert (
        pair_problem(b"said before\n" + CERTIFICATE + CERTIFICATE, b"-----BEGIN X-----\n-----END X-----\n" + key) == ""
    )


@pytest.mark.parametrize(
    ("certificate", "key", "problem"),
    [
        (b"", pem(KEY), "failed to find any PEM data in certificate input"),
        (pem(KEY), pem(KEY), "failed to find certificate PEM data in certificate input, but did find a private key; "),
        (
            b"-----BEGIN X-----\n-----END X-----\n",
            pem(KEY),
            'failed to find "CERTIFICATE" PEM block in certificate input after skipping PEM blocks of the following '
            "types: [X]",
        ),
        (CERTIFICATE, b"x", "failed to find any PEM data in key input"),
        (CERTIFICATE, CERTIFICATE, "found a certificate rather than a key in the PEM for the private key"),
        (
            CERTIFICATE,
            CERTIFICATE * 2,
            'failed to find PEM block with type ending in "PRIVATE KEY" in key input after skipping PEM blocks of the '
            "following types: [CERTIFICATE CERTIFICATE]",
        ),
        (CERTIFICATE, b"-----BEGIN PRIVATE KEY-----\nYQ==\n-----END PRIVATE KEY-----\n", "failed to parse private key"),
        (CERTIFICATE, pem(OTHER), "private key does not match public key"),
        (CERTIFICATE, pem(ed25519.Ed25519PrivateKey.generate()), "private key type does not match public key type"),
    ],
)
def test_what_is_no_pair(certificate, key, problem):
    assert pair_problem(certificate, key).startswith(f"tls: {problem}")


def test_a_certificate_that_is_none():
    broken = b"-----BEGIN CERTIFICATE-----\nYQ==\n-----END CERTIFICATE-----\n"
    assert pair_problem(broken, pem(KEY)) == "x509: malformed certificate"
