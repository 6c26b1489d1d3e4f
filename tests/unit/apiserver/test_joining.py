"""Bootstrap tokens, and certificate signing requests: who may ask, approve and sign."""

import base64
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from pybernetes.apiserver import ApiServer
from pybernetes.pki import Authority

from .conftest import Call, call_of
from .test_authorization import grant
from .test_identity import asked

TOKEN = {"token-id": "abcdef", "token-secret": "0123456789abcdef", "usage-bootstrap-authentication": "true"}
WHO = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
REQUESTS = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
SIGNER = "kubernetes.io/kube-apiserver-client"


async def put_token(call: Call, **data: str) -> None:
    secret = {
        "metadata": {"name": "bootstrap-token-abcdef"},
        "type": "bootstrap.kubernetes.io/token",
        "stringData": TOKEN | {key.replace("_", "-"): value for key, value in data.items()},
    }
    code, made = await call("POST", "/api/v1/namespaces/kube-system/secrets", secret)
    assert code == 201, made


async def test_a_bootstrap_token_is_a_user(server: ApiServer) -> None:
    await put_token(
        call_of(server), auth_extra_groups="system:bootstrappers:workers", expiration="2999-01-01T00:00:00Z"
    )
    bearer = "Bearer abcdef.0123456789abcdef"
    code, review = await asked(server, WHO, method="POST", body={}, authorization=bearer)
    assert code == 201, review
    assert review["status"]["userInfo"] == {
        "username": "system:bootstrap:abcdef",
        "groups": ["system:bootstrappers", "system:bootstrappers:workers", "system:authenticated"],
    }
    for wrong in ("abcdef.0123456789abcdeg", "abcdeg.0123456789abcdef"):
        assert (await asked(server, WHO, method="POST", body={}, authorization=f"Bearer {wrong}"))[0] == 401


@pytest.mark.parametrize(
    "data",
    [
        {"expiration": "2001-01-01T00:00:00Z"},
        {"expiration": "soon"},
        {"usage_bootstrap_authentication": "false"},
        {"auth_extra_groups": "system:masters"},
        {"token_id": "abcdeg"},
    ],
)
async def test_tokens_that_are_nobodys(server: ApiServer, data: dict[str, str]) -> None:
    await put_token(call_of(server), **data)
    header = "Bearer abcdef.0123456789abcdef"
    assert (await asked(server, WHO, method="POST", body={}, authorization=header))[0] == 401


async def test_a_bootstrap_token_is_reviewed_as_any_other(server: ApiServer) -> None:
    call, path = call_of(server), "/apis/authentication.k8s.io/v1/tokenreviews"
    await put_token(call)
    _, review = await call("POST", path, {"spec": {"token": "abcdef.0123456789abcdef"}})
    assert review["status"]["authenticated"] is True
    assert review["status"]["user"]["username"] == "system:bootstrap:abcdef"
    for spec in ({"token": "abcdef.0123456789abcdeg"}, {"token": "abcdef.0123456789abcdef", "audiences": ["vault"]}):
        _, review = await call("POST", path, {"spec": spec})
        assert review["status"]["authenticated"] is False


async def test_cluster_info_is_for_those_with_a_token(server: ApiServer) -> None:
    call = call_of(server)
    await put_token(call)
    maps = "/api/v1/namespaces/kube-public/configmaps"
    await call("POST", maps, {"metadata": {"name": "cluster-info"}, "data": {"kubeconfig": "x"}})
    header = "Bearer abcdef.0123456789abcdef"
    assert (await asked(server, f"{maps}/cluster-info", authorization=header))[0] == 200
    assert (await asked(server, f"{maps}/kube-root-ca.crt", authorization=header))[0] == 403
    assert (await asked(server, f"{maps}/cluster-info"))[0] == 401  # the anonymous reach health only
    binding = {
        "metadata": {"name": "open"},
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "Role",
            "name": "kubeadm:bootstrap-signer-clusterinfo",
        },
        "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "system:anonymous"}],
    }
    code, made = await call("POST", "/apis/rbac.authorization.k8s.io/v1/namespaces/kube-public/rolebindings", binding)
    assert code == 201, made
    assert (await asked(server, f"{maps}/cluster-info"))[0] == 200  # until somebody says otherwise


def request_of(*groups: str) -> str:
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    subject = x509.Name([*attributes, x509.NameAttribute(NameOID.COMMON_NAME, "bob")])
    key = ec.generate_private_key(ec.SECP256R1())
    signed = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    return base64.b64encode(signed.public_bytes(Encoding.PEM)).decode()


async def made_request(call: Call, *groups: str) -> tuple[int, Any]:
    spec = {"request": request_of(*groups), "signerName": SIGNER, "usages": ["client auth"], "username": "eve"}
    code, found = await call("POST", REQUESTS, {"metadata": {"name": "bob"}, "spec": spec})
    return code, found


async def test_nobody_asks_to_be_master(server: ApiServer) -> None:
    code, status = await made_request(call_of(server), "system:masters")
    assert (code, "system:masters group is not allowed" in status["message"]) == (403, True)
    code, made = await made_request(call_of(server, "root", "system:masters"), "devs")
    assert (code, made["spec"]["username"]) == (201, "root")
    assert "system:masters" in made["spec"]["groups"]


@pytest.mark.parametrize(("part", "verb"), [("approval", "approve"), ("status", "sign")])
async def test_approving_and_signing_take_the_signer(server: ApiServer, part: str, verb: str) -> None:
    admin = call_of(server)
    _, found = await made_request(admin)
    write = {"apiGroups": ["certificates.k8s.io"], "resources": ["*"], "verbs": ["update"]}
    names = [SIGNER] if verb == "approve" else ["kubernetes.io/*"]
    signer = {"apiGroups": ["certificates.k8s.io"], "resources": ["signers"], "verbs": [verb], "resourceNames": names}
    await grant(admin, "writer", write)
    await grant(admin, "officer", write, signer)
    condition = {"type": "Approved" if part == "approval" else "Failed", "status": "True", "reason": "x"}
    body = found | {"status": {"conditions": [condition]}}
    code, refused = await call_of(server, "writer", "system:authenticated")("PUT", f"{REQUESTS}/bob/{part}", body)
    assert code == 403
    assert f'user not permitted to {verb} requests with signerName "{SIGNER}"' in refused["message"]
    assert (await call_of(server, "officer", "system:authenticated")("PUT", f"{REQUESTS}/bob/{part}", body))[0] == 200


async def test_a_signers_bundle_is_written_by_who_may_attest_for_it(server: ApiServer, tmp_path: Path) -> None:
    admin, writer = call_of(server), call_of(server, "writer", "system:authenticated")
    path = "/apis/certificates.k8s.io/v1/clustertrustbundles"
    pem = Path(Authority.ensure(tmp_path).certificate).read_text()  # noqa: ASYNC240
    write = {"apiGroups": ["certificates.k8s.io"], "resources": ["clustertrustbundles"], "verbs": ["*"]}
    await grant(admin, "writer", write)
    plain = {"metadata": {"name": "plain"}, "spec": {"trustBundle": pem}}
    assert (await writer("POST", path, plain))[0] == 201
    spec = {"trustBundle": pem, "signerName": "example.com/ours"}
    body = {"metadata": {"name": "example.com:ours:a"}, "spec": spec}
    code, status = await writer("POST", path, body)
    assert (code, 'not permitted to attest for signerName "example.com/ours"' in status["message"]) == (403, True)
    signers = {"apiGroups": ["certificates.k8s.io"], "resources": ["signers"], "verbs": ["attest"]}
    await grant(admin, "attester", write, signers | {"resourceNames": ["example.com/*"]})
    attester = call_of(server, "attester", "system:authenticated")
    code, made = await attester("POST", path, body)
    assert code == 201, made
    label = {"metadata": {"labels": {"a": "b"}}}
    merge = "application/merge-patch+json"
    assert (await writer("PATCH", f"{path}/example.com:ours:a", label, merge))[0] == 200
    changed = {"spec": {"trustBundle": pem + "\n"}}
    assert (await writer("PATCH", f"{path}/example.com:ours:a", changed, merge))[0] == 403
