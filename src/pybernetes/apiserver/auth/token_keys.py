"""The keys that verify service account tokens: the one that signs, and those of earlier days or other servers.

A key's id is what its tokens carry as `kid`: the hash of its public part, as Kubernetes computes it.
"""

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from pybernetes.api.objects import Obj

_BLOCK = re.compile(rb"-----BEGIN ([A-Z ]+)-----.*?-----END \1-----\n?", re.DOTALL)
_CURVES = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}


class BadKey(ValueError):
    """Not a key that tokens can be verified with; the text says why."""


class TokenKey(NamedTuple):
    """A public key, its id and its algorithm (RFC 7518)."""

    id: str
    public: Any
    algorithm: str

    @property
    def jwk(self) -> Obj:
        found: Obj = dict(jwt.get_algorithm_by_name(self.algorithm).to_jwk(self.public, as_dict=True))
        found.pop("key_ops", None)
        return found | {"use": "sig", "alg": self.algorithm, "kid": self.id}


def key_of(public: Any) -> TokenKey:
    """Raises BadKey."""
    if isinstance(public, rsa.RSAPublicKey):
        algorithm = "RS256"
    elif isinstance(public, ec.EllipticCurvePublicKey) and public.curve.name in _CURVES:
        algorithm = _CURVES[public.curve.name]
    else:
        raise BadKey(f"{type(public).__name__} is neither RSA nor ECDSA on a curve that tokens know")
    der = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return TokenKey(_base64url(hashlib.sha256(der).digest()), public, algorithm)


def keys_of(pem: bytes) -> list[TokenKey]:
    """Those of a file: public keys, or private ones of which the public part is taken. Raises BadKey."""
    found = [key_of(_public(match.group(0), match.group(1))) for match in _BLOCK.finditer(pem)]
    if not found:
        raise BadKey("no PEM key")
    return found


def by_id(keys: Iterable[TokenKey]) -> Mapping[str, TokenKey]:
    """Each once, in order."""
    return {key.id: key for key in keys}


def _public(block: bytes, kind: bytes) -> Any:
    try:
        if b"PRIVATE" in kind:
            return serialization.load_pem_private_key(block, password=None).public_key()
        return serialization.load_pem_public_key(block)
    except (ValueError, TypeError) as error:
        raise BadKey(str(error)) from error


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
