"""Certificate requests over the real API: who is approved, what is signed and what is not."""

import asyncio
import base64
from collections.abc import AsyncIterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from pybernetes.api import resources
from pybernetes.api.objects import Key, condition
from pybernetes.api.resources import CERTIFICATE_SIGNING_REQUESTS, CLUSTER_ROLE_BINDINGS
from pybernetes.apiserver import ApiServer
from pybernetes.client import Informers
from pybernetes.controllers import CONTROLLERS, ControllersConfig
from pybernetes.controllers.signers import CLIENT, KUBELET_CLIENT, KUBELET_SERVING, NODE_COMPONENT, approvals, parsed
from pybernetes.pki import Authority
from support.control_plane import until
from support.server import MANAGER, api_server, client_of, shared_of

NODES = "system:nodes"
GROUPS = {"system:node:": NODES}


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[ApiServer]:
    """With the controller as its own user, an authority in `tmp_path`."""
    Authority.ensure(tmp_path)
    async with api_server() as running:
        informers = Informers(client_of(running, MANAGER, "system:authenticated"))
        shared = shared_of(running, informers, ControllersConfig(authority=str(tmp_path)))
        controller = CONTROLLERS["certificate"].made(shared)
        assert controller is not None
        tasks = [asyncio.create_task(one.run()) for one in (informers, controller)]
        try:
            yield running
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def request_of(user: str, *groups: str, dns: str = "", address: str = "") -> str:
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    builder = x509.CertificateSigningRequestBuilder().subject_name(
        x509.Name([*attributes, x509.NameAttribute(NameOID.COMMON_NAME, user)])
    )
    names: list[x509.GeneralName] = [x509.DNSName(dns)] if dns else []
    names += [x509.IPAddress(ip_address(address))] if address else []
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    signed = builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    return base64.b64encode(signed.public_bytes(Encoding.PEM)).decode()


def claiming(name: str) -> str:
    """A node asks to serve under a name or address that its status has, and that it must not have."""
    is_name = name.replace(".", "").isalpha()
    return request_of("system:node:n", NODES, **{"dns" if is_name else "address": name})


async def ask(server: ApiServer, signer: str, request: str, usage: str, *, user: str = "admin", **spec: Any) -> None:
    body = {
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": {"name": "r"},
        "spec": {"signerName": signer, "request": request, "usages": ["digital signature", usage]} | spec,
    }
    groups = () if user == "admin" else (GROUPS.get(user[:12], "system:bootstrappers"), "system:authenticated")
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


def node(name: str, *addresses: str) -> Any:
    return {"metadata": {"name": name}, "status": {"addresses": [{"address": one} for one in addresses]}}


EVIL = ("127.0.0.1", "10.96.0.1", "kubernetes.default.svc", "kubernetes", "other.example.com", "fe80::1")
KNOWN = (
    node("n", "n", "10.0.0.1", "fd00::1", "10.0.0.9", *EVIL),
    node("m", "m", "10.0.0.2", "10.0.0.9"),
    node("kubernetes.default.svc", "kubernetes.default.svc"),
)
TAKEN = {"10.96.0.1"}


@pytest.mark.parametrize(
    ("signer", "asker", "groups", "request_", "parts"),
    [
        (
            KUBELET_CLIENT,
            "system:node:n",
            [NODES],
            request_of("system:node:n", NODES),
            ["selfnodeclient", "nodeclient"],
        ),
        (KUBELET_CLIENT, "system:bootstrap:x", [], request_of("system:node:n", NODES), ["nodeclient"]),
        (KUBELET_CLIENT, "system:node:n", [NODES], request_of("system:node:n"), []),
        (KUBELET_SERVING, "system:node:n", [NODES], request_of("system:node:n", NODES, dns="N"), ["selfnodeserver"]),
        (
            KUBELET_SERVING,
            "system:node:n",
            [NODES],
            request_of("system:node:n", NODES, address="fd00:0::1"),
            ["selfnodeserver"],
        ),
        (KUBELET_SERVING, "system:node:n", [NODES], request_of("system:node:n", NODES, address="10.0.0.2"), []),
        (KUBELET_SERVING, "system:node:n", [NODES], request_of("system:node:n", NODES, address="10.0.0.9"), []),
        (KUBELET_SERVING, "system:node:n", [NODES], request_of("system:node:n", NODES, dns="kubernetes"), []),
        (KUBELET_SERVING, "system:node:m", [NODES], request_of("system:node:n", NODES, dns="n"), []),
        *((KUBELET_SERVING, "system:node:n", [NODES], evil, []) for evil in map(claiming, EVIL)),
        (
            KUBELET_SERVING,
            "system:node:kubernetes.default.svc",
            [NODES],
            request_of("system:node:kubernetes.default.svc", NODES, dns="kubernetes.default.svc"),
            [],
        ),
        (KUBELET_SERVING, "system:node:x", [NODES], request_of("system:node:x", NODES, dns="x"), []),
        (NODE_COMPONENT, "system:node:n", [NODES], request_of("system:kube-proxy"), ["nodecomponentclient"]),
        (NODE_COMPONENT, "system:node:n", [], request_of("system:kube-proxy"), []),
        (NODE_COMPONENT, "bob", [NODES], request_of("system:kube-proxy"), []),
        (NODE_COMPONENT, "system:node:n", [NODES], request_of("system:kube-proxy", "system:masters"), []),
        (NODE_COMPONENT, "system:node:n", [NODES], request_of("system:kube-scheduler"), []),
        (NODE_COMPONENT, "system:node:n", [NODES], request_of("system:kube-dns", dns="n"), []),
        (CLIENT, "system:node:n", [NODES], request_of("system:kube-proxy"), []),
    ],
)
def test_the_rights_that_approve(signer: str, asker: str, groups: list[str], request_: str, parts: list[str]) -> None:
    usage = "server auth" if signer == KUBELET_SERVING else "client auth"
    spec = {"signerName": signer, "username": asker, "groups": groups, "usages": ["digital signature", usage]}
    csr = {"spec": spec | {"request": request_}}
    assert [one.part for one in approvals(csr, parsed(csr), nodes=KNOWN, taken=TAKEN)] == parts


async def test_a_node_gets_its_serving_certificate_once_its_addresses_are_known(server: ApiServer) -> None:
    admin = client_of(server)
    request = request_of("system:node:n", NODES, address="10.0.0.1")
    await ask(server, KUBELET_SERVING, request, "server auth", user="system:node:n")
    await admin.create(resources.NODES, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}})
    assert condition(await told(server), "Approved") is None
    status = {"addresses": [{"type": "InternalIP", "address": "10.0.0.1"}]}
    await admin.patch(resources.NODES, Key("", "n"), {"status": status}, subresource="status")
    found = await certificate(server)
    assert str(found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value[0].value) == "10.0.0.1"


async def test_a_node_does_not_serve_under_the_address_of_a_service(server: ApiServer) -> None:
    admin = client_of(server)
    service = await admin.get(resources.SERVICES, Key("default", "kubernetes"))
    address = service["spec"]["clusterIP"]
    await admin.create(resources.NODES, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}})
    status = {"addresses": [{"type": "InternalIP", "address": one} for one in (address, "10.0.0.1")]}
    await admin.patch(resources.NODES, Key("", "n"), {"status": status}, subresource="status")
    evil = request_of("system:node:n", NODES, address=address)
    await ask(server, KUBELET_SERVING, evil, "server auth", user="system:node:n")
    good = request_of("system:node:n", NODES, address="10.0.0.1")
    spec = {"signerName": KUBELET_SERVING, "usages": ["digital signature", "server auth"], "request": good}
    own = client_of(server, "system:node:n", NODES, "system:authenticated")
    meta = {"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest", "metadata": {"name": "good"}}
    await own.create(CERTIFICATE_SIGNING_REQUESTS, meta | {"spec": spec})

    async def approved() -> bool:
        found = await admin.get(CERTIFICATE_SIGNING_REQUESTS, Key("", "good"))
        return condition(found, "Approved") is not None

    await until(approved)  # one worker: the first was looked at before
    assert condition(await told(server), "Approved") is None


async def test_a_node_becomes_what_its_parts_are_unless_that_is_switched_off(server: ApiServer) -> None:
    await ask(server, NODE_COMPONENT, request_of("system:kube-proxy"), "client auth", user="system:node:n")
    assert (await certificate(server)).subject.rfc4514_string() == "CN=system:kube-proxy"
    admin = client_of(server)
    await admin.delete(CERTIFICATE_SIGNING_REQUESTS, Key("", "r"))
    off = {"subjects": [], "metadata": {"annotations": {"rbac.authorization.kubernetes.io/autoupdate": "false"}}}
    await admin.patch(CLUSTER_ROLE_BINDINGS, Key("", "pybernetes:node-autoapprove-components"), off)
    await ask(server, NODE_COMPONENT, request_of("system:kube-dns"), "client auth", user="system:node:n")
    await approve(server)  # by hand: the controller signs what people approve
    assert (await certificate(server)).subject.rfc4514_string() == "CN=system:kube-dns"
    reasons = [one["reason"] for one in (await told(server))["status"]["conditions"]]
    assert reasons == ["test"]
