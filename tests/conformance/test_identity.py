"""Who may do what, as kubectl 1.37 asks it, shows it and changes it."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest
import pytest_asyncio
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from pybernetes.apiserver.users import AUTHENTICATED
from pybernetes.controllers import Controllers, ControllersConfig
from support.server import MANAGER, TlsApi, account_of, client_of, tls_api

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


@pytest_asyncio.fixture(loop_scope="module")
async def controllers(kubectl: Kubectl, api: TlsApi) -> AsyncIterator[None]:
    """All of them, as the server runs them, once the namespace has what `kubectl` makes in it."""
    del kubectl
    authority = (api.authority / "ca.crt").read_text()
    config = ControllersConfig(server=api.url, root_ca=authority, authority=str(api.authority))
    manager = client_of(api.server, MANAGER, AUTHENTICATED)
    running = asyncio.create_task(Controllers(manager, config, accounts=partial(account_of, api.server)).run())
    try:
        yield
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_joining_by_cluster_info_and_a_token(kubectl: Kubectl, controllers: None, tmp_path: Path) -> None:
    """What kubeadm join does: the kubeconfig of cluster-info and a token are enough to be somebody."""
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "bootstrap-token-abcdef", "namespace": "kube-system"},
        "type": "bootstrap.kubernetes.io/token",
        "stringData": {
            "token-id": "abcdef",
            "token-secret": "0123456789abcdef",
            "usage-bootstrap-authentication": "true",
            "usage-bootstrap-signing": "true",
        },
    }
    await kubectl("create -n kube-system -f -", stdin=json.dumps(secret))
    signed = "--for=jsonpath={.data.jws-kubeconfig-abcdef}"
    await kubectl(f"wait configmap/cluster-info -n kube-public {signed} --timeout=100s")
    found = await kubectl.json("get configmap cluster-info -n kube-public")
    info = tmp_path / "cluster-info"
    info.write_text(found["data"]["kubeconfig"])
    as_joining = f"--kubeconfig {info} --token abcdef.0123456789abcdef"
    assert "system:bootstrap:abcdef" in await kubectl(f"auth whoami {as_joining}")
    assert "jws-kubeconfig-abcdef" in await kubectl(f"get cm cluster-info -n kube-public -o yaml {as_joining}")


async def test_the_secret_of_an_account(kubectl: Kubectl, controllers: None, tmp_path: Path) -> None:
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "robot", "annotations": {"kubernetes.io/service-account.name": "robot"}},
        "type": "kubernetes.io/service-account-token",
    }
    await kubectl("create serviceaccount robot")
    await kubectl("create -f -", stdin=json.dumps(secret))
    await kubectl("wait secret/robot --for=jsonpath={.data.token} --timeout=100s")
    data = {key: base64.b64decode(text) for key, text in (await kubectl.json("get secret robot"))["data"].items()}
    (tmp_path / "none").touch()
    (tmp_path / "ca").write_bytes(data["ca.crt"])
    as_robot = f"--kubeconfig {tmp_path}/none --server {kubectl.api.url} --certificate-authority {tmp_path}/ca"
    who = await kubectl(f"auth whoami {as_robot} --token {data['token'].decode()}")
    assert f"system:serviceaccount:{data['namespace'].decode()}:robot" in who
    await kubectl("delete serviceaccount robot")
    await kubectl("wait secret/robot --for=delete --timeout=100s")


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
