"""Who may do what, as kubectl 1.37 asks it, shows it and changes it."""

import base64
import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from support.server import TlsApi, tls_api

from .test_kubectl import Kubectl, kubectl

pytestmark = [pytest.mark.kubectl, pytest.mark.asyncio(loop_scope="module")]
__all__ = ["kubectl"]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[TlsApi]:
    async with tls_api(tmp_path_factory.mktemp("identity")) as running:
        yield running


async def test_auth_can_i(kubectl: Kubectl) -> None:
    assert (await kubectl("auth can-i create pods")).strip() == "yes"
    assert (await kubectl.run("auth", "can-i", "get", "pods", "--as=bob")).out.strip() == "no"
    await kubectl("create rolebinding reader --clusterrole=view --user=bob")
    assert (await kubectl("auth can-i get pods --as=bob")).strip() == "yes"
    assert (await kubectl.run("auth", "can-i", "get", "secrets", "--as=bob")).out.strip() == "no"
    listed = await kubectl("auth can-i --list --as=bob")
    assert "selfsubjectreviews.authentication.k8s.io" in listed
    assert "configmaps" in listed
    assert "bob" in await kubectl("auth whoami --as=bob")


async def test_create_token(kubectl: Kubectl) -> None:
    token = (await kubectl("create token default --duration=15m --audience=vault")).strip()
    payload = token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    assert claims["aud"] == ["vault"]
    assert claims["exp"] - claims["iat"] == 900


async def test_escalation_is_refused_with_what_is_missing(kubectl: Kubectl) -> None:
    await kubectl("create role author --verb=create,get --resource=roles.rbac.authorization.k8s.io")
    await kubectl("create rolebinding author --role=author --user=bob")
    said = await kubectl.fails("create role much --verb=get,list --resource=secrets --as=bob")
    assert "is attempting to grant RBAC permissions not currently held:" in said
    assert '{APIGroups:[""], Resources:["secrets"], Verbs:["get" "list"]}' in said


@pytest.mark.parametrize(("word", "condition"), [("approve", "Approved"), ("deny", "Denied")])
async def test_certificate_requests_are_decided(kubectl: Kubectl, word: str, condition: str) -> None:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "bob")])
    key = ec.generate_private_key(ec.SECP256R1())
    signed = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    request = {
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": {"name": f"csr-{word}"},
        "spec": {
            "request": base64.b64encode(signed.public_bytes(Encoding.PEM)).decode(),
            "signerName": "kubernetes.io/kube-apiserver-client",
            "usages": ["client auth"],
            "expirationSeconds": 3600,
        },
    }
    await kubectl("create -f -", stdin=json.dumps(request))
    assert "Pending" in await kubectl(f"get csr csr-{word}")
    await kubectl(f"certificate {word} csr-{word}")
    found = await kubectl.json(f"get csr csr-{word}")
    assert [one["type"] for one in found["status"]["conditions"]] == [condition]
