import os
import ssl
import stat
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jwt
import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from pybernetes.pki import Authority, Pair, authority


@pytest.fixture
def ours(tmp_path: Path) -> Authority:
    return Authority.ensure(tmp_path / "pki")


@pytest.fixture(autouse=True)
def usual_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def load(path: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(Path(path).read_bytes())


def serial(pair: Pair) -> int:
    return load(pair.certificate).serial_number


def test_the_authority_is_made_once(tmp_path: Path) -> None:
    first = Authority.ensure(tmp_path / "pki")
    before = Path(first.certificate).read_bytes()
    again = Authority.ensure(tmp_path / "pki")
    assert Path(again.certificate).read_bytes() == before
    certificate = load(first.certificate)
    certificate.verify_directly_issued_by(certificate)
    life = certificate.not_valid_after_utc - datetime.now(UTC)
    assert timedelta(days=3650) <= life <= timedelta(days=3653)
    assert certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert certificate.extensions.get_extension_for_class(x509.KeyUsage).critical


def test_what_is_issued(ours: Authority) -> None:
    pair = ours.issue(
        "kubelet",
        user="system:node:n1",
        groups=["system:nodes", "more"],
        dns=["n1", "n1.local"],
        addresses=["10.0.0.1", "fd00::1"],
        server=True,
    )
    certificate = load(pair.certificate)
    certificate.verify_directly_issued_by(load(ours.certificate))
    assert certificate.subject.rfc4514_string() == "CN=system:node:n1,O=more,O=system:nodes"
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["n1", "n1.local"]
    assert list(map(str, names.get_values_for_type(x509.IPAddress))) == ["10.0.0.1", "fd00::1"]
    usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert set(usages) == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    life = certificate.not_valid_after_utc - datetime.now(UTC)
    assert timedelta(days=364) < life <= timedelta(days=365)


def test_keys_are_secret_and_certificates_are_not(ours: Authority) -> None:
    pair = ours.issue("a", user="a")
    keys = ours.service_account_keys()
    for key in (pair.key, keys.private, str(ours.directory / "ca.key")):
        assert stat.S_IMODE(os.stat(key).st_mode) == 0o600
    for public in (pair.certificate, keys.public, ours.certificate):
        assert stat.S_IMODE(os.stat(public).st_mode) == 0o644
    assert stat.S_IMODE(os.stat(ours.directory).st_mode) == 0o700
    assert sorted(path.name for path in ours.directory.iterdir()) == [
        "a.crt",
        "a.key",
        "ca.crt",
        "ca.key",
        "sa.key",
        "sa.pub",
    ]


def test_a_valid_pair_of_the_same_identity_is_kept(ours: Authority) -> None:
    options = {"user": "a", "groups": ["x", "y"], "dns": ["b", "a"], "addresses": ["127.0.0.1"], "server": True}
    first = ours.issue("a", **options)  # type: ignore[arg-type]
    before = serial(first)
    again = Authority.ensure(ours.directory).issue("a", **options | {"dns": ["a", "b"]})  # type: ignore[arg-type]
    assert again == first
    assert serial(again) == before


def test_a_plain_key_is_one_that_every_client_reads_and_is_kept(ours: Authority) -> None:
    pair = ours.issue("a", user="a", plain=True)
    assert Path(pair.key).read_text().startswith("-----BEGIN RSA PRIVATE KEY-----\n")
    load(pair.certificate).verify_directly_issued_by(load(ours.certificate))
    before = serial(pair)
    assert serial(Authority.ensure(ours.directory).issue("a", user="a", plain=True)) == before
    assert serial(ours.issue("a", user="a")) != before


@pytest.mark.parametrize(
    "other",
    [
        {"user": "b"},
        {"groups": ["x"]},
        {"groups": []},
        {"dns": ["a", "b"]},
        {"dns": []},
        {"addresses": ["127.0.0.2"]},
        {"server": False},
        {"client": False},
        {"plain": True},
    ],
)
def test_another_identity_is_issued_anew(ours: Authority, other: dict[str, object]) -> None:
    options: dict[str, object] = {"user": "a", "groups": ["x", "y"], "dns": ["a"], "addresses": ["127.0.0.1"]}
    options |= {"server": True}
    before = serial(ours.issue("a", **options))  # type: ignore[arg-type]
    assert serial(ours.issue("a", **options | other)) != before  # type: ignore[arg-type]


def test_a_pair_near_its_end_is_renewed(ours: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authority, "LEAF_LIFE", timedelta(days=89))
    before = serial(ours.issue("a", user="a"))
    monkeypatch.undo()
    after = ours.issue("a", user="a")
    assert serial(after) != before
    assert serial(ours.issue("a", user="a")) == serial(after)


def test_a_pair_of_another_authority_is_replaced(ours: Authority, tmp_path: Path) -> None:
    other = Authority.ensure(tmp_path / "other", name="pybernetes-ca")
    other.issue("a", user="a", directory=ours.directory)
    load(ours.issue("a", user="a").certificate).verify_directly_issued_by(load(ours.certificate))


@pytest.mark.parametrize("file", ["a.crt", "a.key"])
@pytest.mark.parametrize("content", [None, b"", b"rubbish"])
def test_a_broken_pair_is_replaced(ours: Authority, file: str, content: bytes | None) -> None:
    pair = ours.issue("a", user="a")
    path = ours.directory / file
    path.unlink() if content is None else path.write_bytes(content)
    assert ours.issue("a", user="a") == pair
    ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(pair.certificate, pair.key)


def test_an_authority_that_lost_its_key_is_not_replaced(ours: Authority) -> None:
    (ours.directory / "ca.key").unlink()
    with pytest.raises(ValueError, match=r"ca\.key"):
        Authority.ensure(ours.directory)


def test_a_name_that_does_not_fit_is_refused(ours: Authority) -> None:
    with pytest.raises(ValueError, match="64"):
        ours.issue("a", user="a" * 65)


def test_service_account_keys_sign_tokens_and_stay(ours: Authority) -> None:
    keys = ours.service_account_keys()
    token = jwt.encode({"sub": "system:serviceaccount:a:b"}, Path(keys.private).read_bytes(), algorithm="ES256")
    Path(keys.public).unlink()
    assert Authority.ensure(ours.directory).service_account_keys() == keys
    assert jwt.decode(token, Path(keys.public).read_bytes(), algorithms=["ES256"])["sub"] == "system:serviceaccount:a:b"
