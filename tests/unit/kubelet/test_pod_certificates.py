"""PodCertificates in projected volumes, by the names of the conformance suite of sig auth; the signer is the test's."""

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from pybernetes.api import times
from pybernetes.api.objects import Obj, uid_of
from pybernetes.api.resources import NODES, POD_CERTIFICATE_REQUESTS, SERVICE_ACCOUNTS
from pybernetes.pki.requests import stub
from pybernetes.pki.signing import CLIENT_AUTH, PLAIN, SERVER_AUTH, Issuer, certified, subject_of
from support.fake_api import FakeApi
from support.kubelet import NODE, Node, container, pod

SIGNER = "example.com/ours"
ROOT_KEY = ec.generate_private_key(ec.SECP256R1())
ROOT = certified(
    subject_of("root", ()),
    ROOT_KEY.public_key(),
    issuer=Issuer(subject_of("root", ()), ROOT_KEY),
    life=timedelta(days=400),
    authority=True,
)


def signed(request: Obj) -> Obj:
    """What a signer writes: a certificate for the pod, with the name that the user's annotation asks for."""
    spec = request["spec"]
    asked = x509.load_der_x509_csr(base64.b64decode(spec["stubPKCS10Request"]))
    assert asked.is_signature_valid
    path = (spec.get("unverifiedUserAnnotations") or {}).get("example.com/path", "none")
    names = [x509.DNSName(spec["podName"]), x509.UniformResourceIdentifier(f"spiffe://cluster/{path}")]
    made = certified(
        x509.Name([]),
        asked.public_key(),  # type: ignore[arg-type]
        issuer=Issuer(ROOT.subject, ROOT_KEY, ROOT.not_valid_after_utc),
        life=timedelta(seconds=spec["maxExpirationSeconds"]),
        usages=(PLAIN, CLIENT_AUTH, SERVER_AUTH),
        names=names,
    )
    since, until = made.not_valid_before_utc.timestamp(), made.not_valid_after_utc.timestamp()
    return {
        "conditions": [{"type": "Issued", "status": "True", "reason": "Signed", "message": ""}],
        "certificateChain": made.public_bytes(Encoding.PEM).decode(),
        "notBefore": times.stamp(since),
        "notAfter": times.stamp(until),
        "beginRefreshAt": times.stamp(until - 700),
    }


def answering(answer: Any) -> FakeApi:
    """Every request is answered at once."""
    api = FakeApi()

    def react(verb: str, plural: str, obj: Obj) -> None:
        if plural == POD_CERTIFICATE_REQUESTS.plural and "status" not in obj:
            meta = obj["metadata"]
            status = answer(obj)
            asyncio.get_running_loop().call_soon(
                lambda: api.edit(POD_CERTIFICATE_REQUESTS, meta["name"], meta["namespace"], status=status)
            )

    api.react.append(react)
    return api


async def running(tmp_path: Path, answer: Any) -> AsyncIterator[Node]:
    node = Node(tmp_path, answering(answer))
    node.api.put(SERVICE_ACCOUNTS, {"metadata": {"name": "default", "namespace": "default"}})
    async with node.running() as found:
        yield found


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    async for found in running(tmp_path, signed):
        yield found


def mounting(**source: Any) -> Obj:
    wanted = {"signerName": SIGNER, "keyType": "ECDSAP256", "credentialBundlePath": "bundle.pem"} | source
    volume = {"name": "own", "projected": {"sources": [{"podCertificate": wanted}]}}
    return pod("p", container(volumeMounts=[{"name": "own", "mountPath": "/own"}]), volumes=[volume])


async def files(node: Node, **source: Any) -> Path:
    made = node.put(mounting(**source))
    await node.api.until(lambda: node.status().get("phase") == "Running")
    return node.config.state / "pods" / uid_of(made) / "volumes" / "own"


def life(pem: bytes) -> float:
    found = x509.load_pem_x509_certificate(pem)
    return (found.not_valid_after_utc - found.not_valid_before_utc).total_seconds()


async def test_default_expiration_24h(node: Node) -> None:
    directory = await files(node)
    assert 24 * 3600 <= life((directory / "bundle.pem").read_bytes()) <= 24 * 3600 + 400
    (request,) = node.api.of(POD_CERTIFICATE_REQUESTS)
    spec, own = request["spec"], node.api.one(NODES, NODE)
    assert (spec["podName"], spec["nodeName"], spec["nodeUID"]) == ("p", NODE, uid_of(own))
    account = node.api.one(SERVICE_ACCOUNTS, "default", "default")
    assert (spec["serviceAccountName"], spec["serviceAccountUID"]) == ("default", uid_of(account))


async def test_specified_duration_1h(node: Node) -> None:
    directory = await files(node, maxExpirationSeconds=3600)
    assert 3600 <= life((directory / "bundle.pem").read_bytes()) <= 4000


async def test_user_annotations_reach_the_signer(node: Node) -> None:
    directory = await files(node, userAnnotations={"example.com/path": "team/web"})
    found = x509.load_pem_x509_certificate((directory / "bundle.pem").read_bytes())
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == ["spiffe://cluster/team/web"]


async def test_mtls_connection(node: Node, tmp_path: Path) -> None:
    """Two sides that know the root believe each other by what is mounted."""
    directory = await files(node, keyPath="key.pem", certificateChainPath="chain.pem")
    root = ROOT.public_bytes(Encoding.PEM).decode()
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context(cadata=root)
    server.load_verify_locations(cadata=root)
    server.verify_mode = ssl.CERT_REQUIRED
    server.load_cert_chain(directory / "bundle.pem")
    client.load_cert_chain(directory / "chain.pem", directory / "key.pem")
    seen: list[Any] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(writer.get_extra_info("peercert"))
        writer.write(b"hello")
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=server) as listening:
        port = listening.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client, server_hostname="p")
        assert await reader.read() == b"hello"
        writer.close()
        await writer.wait_closed()
    assert ("DNS", "p") in seen[0]["subjectAltName"]


def test_every_kind_of_key(tmp_path: Path) -> None:
    for kind in ("ECDSAP256", "ECDSAP384", "ECDSAP521", "ED25519", "RSA3072", "RSA4096"):
        request, key = stub(kind)
        found = x509.load_der_x509_csr(request)
        assert found.is_signature_valid
        assert load_pem_private_key(key, None).public_key() == found.public_key()
    with pytest.raises(ValueError, match="unknown type"):
        stub("DSA")


@pytest.mark.parametrize("kind", ["Denied", "Failed"])
async def test_a_refusal_holds_the_pod_and_is_asked_once(tmp_path: Path, kind: str) -> None:
    condition = {"type": kind, "status": "True", "reason": "Because", "message": "of it"}
    async for node in running(tmp_path, lambda request: {"conditions": [condition]}):
        node.put(mounting())
        await node.api.until(lambda: len([one for one in node.events() if one[0] == "FailedMount"]) >= 1)  # noqa: B023
        assert any(f"{kind.lower()}: Because: of it" in message for _, message in node.events())
        assert node.status().get("phase") == "Pending"
        assert len(node.api.of(POD_CERTIFICATE_REQUESTS)) == 1


async def test_what_is_not_answered_is_said_and_not_asked_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pybernetes.kubelet.pod_certificates.ANSWER_SECONDS", 0.05)
    node = Node(tmp_path)
    node.api.put(SERVICE_ACCOUNTS, {"metadata": {"name": "default", "namespace": "default"}})
    async with node.running():
        node.put(mounting())
        await node.api.until(lambda: any("is not answered yet" in message for _, message in node.events()))
        (request,) = node.api.of(POD_CERTIFICATE_REQUESTS)
        node.api.edit(POD_CERTIFICATE_REQUESTS, request["metadata"]["name"], "default", status=signed(request))
        await node.api.until(lambda: node.status().get("phase") == "Running")
        assert len(node.api.of(POD_CERTIFICATE_REQUESTS)) == 1
