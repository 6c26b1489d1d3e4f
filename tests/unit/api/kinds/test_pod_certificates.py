"""What a signer may write into a PodCertificateRequest: a certificate of the pod's key, and the times that it has."""

import base64
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from pybernetes.api import times
from pybernetes.api.objects import Obj
from support.admitted import NOW, Admitted, accepted, admit

HOUR, DAY = 3600, 24 * 3600
KEY = ec.generate_private_key(ec.SECP256R1())
STUB = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(KEY, hashes.SHA256())
REQUEST = accepted(
    {
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "PodCertificateRequest",
        "metadata": {"name": "r", "namespace": "n"},
        "spec": {
            "signerName": "example.com/s",
            "podName": "p",
            "podUID": "u",
            "serviceAccountName": "s",
            "serviceAccountUID": "u",
            "nodeName": "n",
            "nodeUID": "u",
            "stubPKCS10Request": base64.b64encode(STUB.public_bytes(Encoding.DER)).decode(),
        },
    }
)


def chain(*, life: float = DAY, begins: float = NOW, key: ec.EllipticCurvePrivateKey = KEY, names: tuple = ()) -> str:
    since = datetime.fromtimestamp(begins, UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(x509.Name([]))
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(since)
        .not_valid_after(since + timedelta(seconds=life))
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(KEY, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


def issued(text: str, *, since: float = NOW, until: float = NOW + DAY, refresh: float = NOW + HOUR) -> Obj:
    condition = {"type": "Issued", "status": "True", "reason": "Signed", "lastTransitionTime": times.stamp(NOW)}
    said = {"notBefore": since, "notAfter": until, "beginRefreshAt": refresh}
    stamps = {field: times.stamp(value) for field, value in said.items()}
    return REQUEST | {"status": {"conditions": [condition], "certificateChain": text} | stamps}


def written(new: Obj, *, now: float = NOW) -> Admitted:
    return admit(new, REQUEST, part="status", now=now)


@pytest.mark.parametrize("now", [NOW - 299, NOW, NOW + 299])
def test_a_certificate_of_the_key_with_its_own_times_is_taken(now):
    assert written(issued(chain()), now=now).texts == []
    assert written(issued(chain(names=(x509.DNSName("a.b"), x509.RFC822Name("a@b.c")))), now=now).texts == []


@pytest.mark.parametrize(
    ("new", "field", "detail"),
    [
        (issued(chain(), since=NOW + 1), "notBefore", "must be set to the NotBefore time encoded in the leaf"),
        (issued(chain(), until=NOW + HOUR), "notAfter", "must be set to the NotAfter time encoded in the leaf"),
        (issued(chain(), refresh=NOW + 599), "beginRefreshAt", "at least 10 minutes after status.notBefore"),
        (issued(chain(), refresh=NOW + DAY - 599), "beginRefreshAt", "at least 10 minutes before status.notAfter"),
        (
            issued(chain(life=HOUR - 1), until=NOW + HOUR - 1),
            "certificateChain",
            "Invalid value: 3599000000000: leaf certificate lifetime must be >= 1 hour",
        ),
        (
            issued(chain(life=DAY + 1), until=NOW + DAY + 1),
            "certificateChain",
            "leaf certificate lifetime must be <= spec.maxExpirationSeconds (86400)",
        ),
        (issued(chain(key=ec.generate_private_key(ec.SECP256R1()))), "certificateChain", "not issued to the requested"),
        (issued(chain(names=(x509.DNSName("a..b"),))), "certificateChain", "should not contain '..'"),
        (issued(chain(names=(x509.DNSName("a."),))), "certificateChain", "should not start or end with '.'"),
        (issued(chain(names=(x509.DNSName(""),))), "certificateChain", "should not contain empty DNSName"),
        (issued(chain(names=(x509.RFC822Name("nobody"),))), "certificateChain", "invalid EmailAddress"),
        (
            issued(chain() + "-----BEGIN CERTIFICATE-----\nYQ==\n-----END CERTIFICATE-----\n"),
            "certificateChain",
            "intermediate certificate does not parse",
        ),
    ],
)
def test_what_a_signer_may_not_write(new, field, detail):
    (problem,) = written(new).problems
    assert problem.field == f"status.{field}"
    assert detail in str(problem)


@pytest.mark.parametrize("now", [NOW - 300, NOW + 300])
def test_a_certificate_begins_when_it_is_issued(now):
    (problem,) = written(issued(chain()), now=now).problems
    assert str(problem) == (
        'status.notBefore: Invalid value: "2026-01-01T00:00:00Z": '
        "must be set to within 5 minutes of kube-apiserver's current time"
    )


def test_what_is_issued_may_be_written_again_later():
    old = written(issued(chain())).obj
    assert admit(old, old, part="status", now=NOW + DAY).texts == []


def test_all_times_must_be_given():
    new = issued(chain())
    for field in ("notBefore", "notAfter", "beginRefreshAt"):
        del new["status"][field]
    assert written(new).fields == ["status.notBefore", "status.notAfter", "status.beginRefreshAt"]
