"""Certificate requests over the real API: who is approved, what is signed and what is not."""

import asyncio
import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from pybernetes.api.objects import Key, condition
from pybernetes.api.resources import CERTIFICATE_SIGNING_REQUESTS, CLUSTER_ROLE_BINDINGS
from pybernetes.apiserver import ApiServer
from pybernetes.client import Informers
from pybernetes.controllers import ControllersConfig
from pybernetes.controllers.certificates import CLIENT, KUBELET_CLIENT, KUBELET_SERVING, CertificateController
from pybernetes.controllers.shared import Shared
from pybernetes.pki import Authority
from support.control_plane import until
from support.server import api_server, client_of

NODES = "system:nodes"


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[ApiServer]:
    """With the controller as its own user, an authority in `tmp_path`."""
    Authority.ensure(tmp_path)
    async with api_server() as running:
        client = client_of(running, "system:kube-controller-manager", "system:authenticated")
        informers = Informers(client)
        controller = CertificateController(Shared(client, informers, ControllersConfig(authority=str(tmp_path))))
        tasks = [asyncio.create_task(one.run()) for one in (informers, controller)]
        try:
            yield running
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def request_of(user: str, *groups: str, dns: str = "") -> str:
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    builder = x509.CertificateSigningRequestBuilder().subject_name(
        x509.Name([*attributes, x509.NameAttribute(NameOID.COMMON_NAME, user)])
    )
    if dns:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(dns)]), critical=False)
    signed = builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    return base64.b64encode(signed.public_bytes(Encoding.PEM)).decode()


async def ask(server: ApiServer, signer: str, request: str, usage: str, *, user: str = "admin", **spec: Any) -> None:
    body = {
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": {"name": "r"},
        "spec": {"signerName": signer, "request": request, "usages": ["digital signature", usage]} | spec,
    }
    groups = () if user == "admin" else ("system:bootstrappers", "system:authenticated")
    await client_of(server, user, *groups).create(CERTIFICATE_SIGNING_REQUESTS, body)


async def told(server: ApiServer) -> Any:
    return await client_of(server).get(CERTIFICATE_SIGNING_REQUESTS, Key("", "r"))


async def approve(server: ApiServer) -> None:
    client, found = client_of(server), await told(server)
    found["status"] = {"conditions": [{"type": "Approved", "status": "True", "reason": "test"}]}
    await client.update(CERTIFICATE_SIGNING_REQUESTS, found, subresource="approval")


async def certificate(server: ApiServer) -> x509.Certificate:
    async def signed() -> bool:
        return bool(((await told(server)).get("status") or {}).get("certificate"))

    await until(signed)
    return x509.load_pem_x509_certificate(base64.b64decode((await told(server))["status"]["certificate"]))


@pytest.mark.parametrize(
    ("signer", "usage", "request_"),
    [
        (CLIENT, "client auth", request_of("bob", "devs")),
        (KUBELET_SERVING, "server auth", request_of("system:node:n", NODES, dns="n")),
    ],
)
async def test_what_is_approved_is_signed(
    server: ApiServer, tmp_path: Path, signer: str, usage: str, request_: str
) -> None:
    await ask(server, signer, request_, usage, expirationSeconds=3600)
    await approve(server)
    found = await certificate(server)
    authority = x509.load_pem_x509_certificate((tmp_path / "ca.crt").read_bytes())
    found.verify_directly_issued_by(authority)
    assert 3500 < (found.not_valid_after_utc - found.not_valid_before_utc).total_seconds() < 4000
    usages = found.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert len(usages) == 1


@pytest.mark.parametrize(
    ("signer", "usage", "request_"),
    [
        (CLIENT, "server auth", request_of("bob")),
        (KUBELET_SERVING, "server auth", request_of("system:node:n", NODES)),
        (KUBELET_SERVING, "server auth", request_of("n", NODES, dns="n")),
        (KUBELET_CLIENT, "client auth", request_of("system:node:n", NODES, "more")),
        (KUBELET_CLIENT, "client auth", request_of("system:node:n", NODES, dns="n")),
    ],
)
async def test_what_a_signer_does_not_sign(server: ApiServer, signer: str, usage: str, request_: str) -> None:
    await ask(server, signer, request_, usage)
    await approve(server)

    async def failed() -> bool:
        return condition(await told(server), "Failed") is not None

    await until(failed)
    assert "certificate" not in (await told(server))["status"]


async def test_a_bootstrapper_that_may_gets_a_nodes_certificate(server: ApiServer) -> None:
    group = {"kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": "system:bootstrappers"}
    for name in ("system:node-bootstrapper", "system:certificates.k8s.io:certificatesigningrequests:nodeclient"):
        binding = {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": name.replace("system:", "test:")},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
            "subjects": [group],
        }
        await client_of(server).create(CLUSTER_ROLE_BINDINGS, binding)
    request = request_of("system:node:n", NODES)
    await ask(server, KUBELET_CLIENT, request, "client auth", user="system:bootstrap:abcdef")
    found = await certificate(server)
    assert found.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == "system:node:n"
    approved = condition(await told(server), "Approved")
    assert approved is not None
    assert approved["reason"] == "AutoApproved"
