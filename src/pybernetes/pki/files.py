"""PEM files that are there whole or not at all, and keys that only their owner reads."""

import os
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat


def write(path: Path, data: bytes, *, secret: bool) -> None:
    """Write in one step: a reader, or a crash, finds the old file or the new one. Mode 0600 or 0644."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if secret else 0o644)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def read(path: Path) -> bytes:
    """The file's bytes, b"" when there is none."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


def key_pem(key: PrivateKeyTypes) -> bytes:
    """PKCS#8; an RSA key in its older form (PKCS#1), as Kubernetes' tools write it."""
    form = PrivateFormat.TraditionalOpenSSL if isinstance(key, rsa.RSAPrivateKey) else PrivateFormat.PKCS8
    return key.private_bytes(Encoding.PEM, form, NoEncryption())
