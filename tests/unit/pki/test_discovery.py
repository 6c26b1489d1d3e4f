"""Knowing a cluster by a hash and a token."""

import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from pybernetes.pki import Authority
from pybernetes.pki.discovery import authority_of, is_signed, pins_of, signature


def ders(path: str) -> list[bytes]:
    found = x509.load_pem_x509_certificates(Path(path).read_bytes())
    return [one.public_bytes(Encoding.DER) for one in found]


def test_the_pin_is_the_one_that_openssl_makes(tmp_path: Path) -> None:
    """As in kubeadm's documentation."""
    ours = Authority.ensure(tmp_path)
    command = (
        f"openssl x509 -pubkey -in {ours.certificate} | openssl pkey -pubin -outform der | openssl dgst -sha256 -hex"
    )
    digest = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True, timeout=20).stdout
    assert pins_of(Path(ours.certificate).read_bytes()) == [f"sha256:{digest.split()[-1]}"]


def test_the_authority_is_the_pinned_one_that_signed(tmp_path: Path) -> None:
    ours, other = Authority.ensure(tmp_path / "a"), Authority.ensure(tmp_path / "b")
    pair = ours.issue("api", user="api", dns=["api"], server=True, client=False)
    chain, pem = ders(pair.certificate), Path(ours.certificate).read_bytes()
    assert authority_of(chain, pins=[pins_of(pem)[0].upper().replace("SHA256", "sha256")]) == pem
    with pytest.raises(ValueError, match="does not show an authority of the given hash; it shows sha256:"):
        authority_of(chain, pins=pins_of(Path(other.certificate).read_bytes()))
    with pytest.raises(ValueError, match="it shows no authority"):
        authority_of(chain[:1], pins=pins_of(pem))
    stolen = [*ders(other.issue("x", user="x", server=True).certificate)[:1], *chain[1:]]
    with pytest.raises(ValueError, match="is not signed by the authority"):
        authority_of(stolen, pins=pins_of(pem))


def test_the_signature_is_the_tokens() -> None:
    mark = signature("x", token_id="abcdef", secret="0123456789abcdef")
    assert is_signed("x", mark, token="abcdef.0123456789abcdef")
    assert not is_signed("y", mark, token="abcdef.0123456789abcdef")
    assert not is_signed("x", mark, token="abcdef.0123456789abcdee")
    assert not is_signed("x", "", token="abcdef.0123456789abcdef")
