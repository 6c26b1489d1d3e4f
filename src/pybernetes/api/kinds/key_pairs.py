"""Whether a certificate and a key belong together, in the words of Go's tls.X509KeyPair, which users look for."""

import re
from collections.abc import Callable

_BLOCK = re.compile(rb"-----BEGIN ([^\n-]*)-----\r?\n(.*?)-----END \1-----", re.DOTALL)


def pair_problem(certificate: bytes, key: bytes) -> str:
    """What is wrong with the PEM of a certificate (a chain, leaf first) and of its private key; "" when nothing is."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    chain, found = _first(certificate, lambda kind: kind == "CERTIFICATE")
    if chain is None:
        return _no_certificate(found)
    private, found = _first(key, lambda kind: kind == "PRIVATE KEY" or kind.endswith(" PRIVATE KEY"))
    if private is None:
        return _no_key(found)
    try:
        leaf = x509.load_pem_x509_certificate(chain)
    except ValueError:
        return "x509: malformed certificate"
    try:
        held = load_pem_private_key(private, None)
    except (TypeError, ValueError):
        return "tls: failed to parse private key"
    if type(leaf.public_key()) is not type(held.public_key()):
        return "tls: private key type does not match public key type"
    return "" if leaf.public_key() == held.public_key() else "tls: private key does not match public key"


def _first(text: bytes, wanted: Callable[[str], bool]) -> tuple[bytes | None, list[str]]:
    """The first block of a wanted kind, and the kinds of all that came before."""
    passed: list[str] = []
    for block in _BLOCK.finditer(text):
        kind = block[1].decode("utf-8", "replace")
        if wanted(kind):
            return block[0], passed
        passed.append(kind)
    return None, passed


def _no_certificate(kinds: list[str]) -> str:
    if not kinds:
        return "tls: failed to find any PEM data in certificate input"
    if len(kinds) == 1 and kinds[0].endswith("PRIVATE KEY"):
        return (
            "tls: failed to find certificate PEM data in certificate input, but did find a private key; "
            "PEM inputs may have been switched"
        )
    shown = f"[{' '.join(kinds)}]"
    return (
        'tls: failed to find "CERTIFICATE" PEM block in certificate input after skipping PEM blocks of the following '
        f"types: {shown}"
    )


def _no_key(kinds: list[str]) -> str:
    if not kinds:
        return "tls: failed to find any PEM data in key input"
    if kinds == ["CERTIFICATE"]:
        return "tls: found a certificate rather than a key in the PEM for the private key"
    shown = f"[{' '.join(kinds)}]"
    return (
        'tls: failed to find PEM block with type ending in "PRIVATE KEY" in key input after skipping PEM blocks of the '
        f"following types: {shown}"
    )
