"""How who joins knows the cluster: the hash of its authority's key, and what only who knows the token can have signed.

Source: kubeadm's token-based discovery (docs: "kubeadm join"); cluster-bootstrap/token/jws; RFC 7515, appendix F.
"""

import hashlib
import hmac
from collections.abc import Iterable

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.api_jws import PyJWS

SIGNED = "jws-kubeconfig-"
"""Before the token's id: the key of a signature in ConfigMap cluster-info."""
_SHORTEST_KEY = 32


def pin_of(certificate: x509.Certificate) -> str:
    """ "sha256:" and the hash of the public key (RFC 7469 section 2.4, in hexadecimal)."""
    spki = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return f"sha256:{hashlib.sha256(spki).hexdigest()}"


def pins_of(pem: bytes) -> list[str]:
    """Those of all certificates of a file. Raises ValueError."""
    return [pin_of(one) for one in x509.load_pem_x509_certificates(pem)]


def authority_of(chain: Iterable[bytes], *, pins: Iterable[str]) -> bytes:
    """The certificate (PEM) of a presented chain (DER) that is pinned and signed the first. Raises ValueError."""
    certificates = [x509.load_der_x509_certificate(one) for one in chain]
    wanted = {pin.lower() for pin in pins}
    for one in certificates:
        if pin_of(one) not in wanted:
            continue
        try:
            certificates[0].verify_directly_issued_by(one)
        except (ValueError, TypeError, InvalidSignature) as error:
            raise ValueError("the server's certificate is not signed by the authority of that hash") from error
        return one.public_bytes(Encoding.PEM)
    found = ", ".join(pin_of(one) for one in certificates[1:]) or "no authority"
    raise ValueError(f"the server does not show an authority of the given hash; it shows {found}")


def signature(content: str, *, token_id: str, secret: str) -> str:
    """Compact JWS (HS256) of the content, without the content.

    Clients compute it again and compare the text, so the header is to the byte what go-jose writes: sorted, no `typ`.
    """
    key = secret.encode().ljust(_SHORTEST_KEY, b"\0")  # HMAC pads with zeros anyway; libraries want 32 bytes
    whole = PyJWS().encode(content.encode(), key, "HS256", headers={"kid": token_id, "typ": ""})
    header, _, mark = whole.split(".")
    return f"{header}..{mark}"


def is_signed(content: str, mark: str, *, token: str) -> bool:
    """Whether a signature is that of a token ("id.secret")."""
    token_id, _, secret = token.partition(".")
    return hmac.compare_digest(signature(content, token_id=token_id, secret=secret).encode(), mark.encode())
