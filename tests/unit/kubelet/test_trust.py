"""ClusterTrustBundles in projected volumes, by the names of the conformance suite of sig auth."""

import itertools
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from pybernetes.api.objects import Obj, uid_of
from pybernetes.api.resources import CLUSTER_TRUST_BUNDLES
from pybernetes.kubelet.environment import ConfigError
from pybernetes.kubelet.volumes.trust import anchors
from pybernetes.pki import Authority
from support.kubelet import Node, container, pod

SIGNER = "example.com/ours"


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Three authorities (PEM)."""
    made = [Authority.ensure(tmp_path_factory.mktemp("root"), name=f"root-{number}") for number in range(3)]
    return [Path(one.certificate).read_text() for one in made]


def bundle(name: str, *pems: str, signer: str = "", **labels: str) -> Obj:
    spec = {"trustBundle": "".join(pems)} | ({"signerName": signer} if signer else {})
    return {"metadata": {"name": name, "labels": labels}, "spec": spec}


def names(pem: bytes) -> set[str]:
    found = x509.load_pem_x509_certificates(pem) if pem else []
    return {one.subject.rfc4514_string().removeprefix("CN=") for one in found}


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    async with Node(tmp_path).running() as running:
        yield running


def mounting(*sources: Obj) -> Obj:
    projections = [{"clusterTrustBundle": {"path": f"{number}.pem"} | one} for number, one in enumerate(sources)]
    mount = {"name": "trust", "mountPath": "/trust"}
    volume = {"name": "trust", "projected": {"defaultMode": 0o444, "sources": projections}}
    return pod("p", container(volumeMounts=[mount]), volumes=[volume])


async def shown(node: Node, *sources: Obj) -> list[set[str]]:
    """The authorities in each file of a pod that mounts these sources, once it runs."""
    made = node.put(mounting(*sources))
    await node.api.until(lambda: node.status().get("phase") == "Running")
    directory = node.config.state / "pods" / uid_of(made) / "volumes" / "trust"
    return [names((directory / f"{number}.pem").read_bytes()) for number in range(len(sources))]


async def test_mount_a_single_bundle_by_name(node: Node, roots: list[str]) -> None:
    node.api.put(CLUSTER_TRUST_BUNDLES, bundle("one", roots[0], roots[1], roots[0]))
    assert await shown(node, {"name": "one"}) == [{"root-0", "root-1"}]


async def test_multiple_bundle_volumes(node: Node, roots: list[str]) -> None:
    node.api.put(CLUSTER_TRUST_BUNDLES, bundle("one", roots[0]))
    node.api.put(CLUSTER_TRUST_BUNDLES, bundle("two", roots[1]))
    found = await shown(node, {"name": "one"}, {"name": "two"}, {"name": "none", "optional": True})
    assert found == [{"root-0"}, {"root-1"}, set()]


async def test_what_is_mounted_follows_its_bundle(node: Node, roots: list[str]) -> None:
    node.api.put(CLUSTER_TRUST_BUNDLES, bundle("one", roots[0]))
    assert await shown(node, {"name": "one"}) == [{"root-0"}]
    (file,) = node.config.state.glob("pods/*/volumes/trust/0.pem")
    node.api.edit(CLUSTER_TRUST_BUNDLES, "one", spec={"trustBundle": roots[2]})
    await node.api.until(lambda: names(file.read_bytes()) == {"root-2"})


@pytest.mark.parametrize("source", [{"name": "late"}, {"signerName": SIGNER, "labelSelector": {}}])
async def test_prevent_start_while_a_bundle_that_is_not_optional_is_missing(
    node: Node, roots: list[str], source: Obj
) -> None:
    node.put(mounting(source))
    await node.api.until(lambda: any(reason == "FailedMount" for reason, _ in node.events()))
    assert node.status().get("phase") == "Pending"
    (message,) = {message for reason, message in node.events() if reason == "FailedMount"}
    assert "not found" in message or "matched zero ClusterTrustBundles" in message
    node.api.put(CLUSTER_TRUST_BUNDLES, bundle("late", roots[0], signer=SIGNER))
    await node.api.until(lambda: node.status().get("phase") == "Running")


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ({"labelSelector": {}}, {"root-0", "root-1"}),
        ({"labelSelector": {"matchLabels": {"live": "yes"}}}, {"root-0"}),
        ({"labelSelector": {"matchExpressions": [{"key": "live", "operator": "DoesNotExist"}]}}, {"root-1"}),
        ({"labelSelector": {"matchLabels": {"live": "no"}}, "optional": True}, set()),
        ({"optional": True}, set()),
        ({"labelSelector": {}, "signerName": "example.com/nobody", "optional": True}, set()),
    ],
)
def test_those_of_a_signer_by_labels(roots: list[str], source: Obj, found: set[str]) -> None:
    bundles = [
        bundle("a", roots[0], signer=SIGNER, live="yes"),
        bundle("b", roots[1], signer=SIGNER),
        bundle("c", roots[2], signer="example.com/other", live="yes"),
        bundle("d", roots[2]),
    ]
    assert names(anchors({"signerName": SIGNER} | source, bundles)) == found
    if not found:
        with pytest.raises(ConfigError, match="matched zero ClusterTrustBundles"):
            anchors({"signerName": SIGNER} | source | {"optional": False}, bundles)


def test_a_big_number_of_bundles(roots: list[str]) -> None:
    numbers = itertools.count()
    key = ec.generate_private_key(ec.SECP256R1())

    def root() -> str:
        from datetime import timedelta

        from pybernetes.pki.signing import Issuer, certified, subject_of

        name = subject_of(f"big-{next(numbers)}", ())
        made = certified(name, key.public_key(), issuer=Issuer(name, key), life=timedelta(days=1), authority=True)
        return made.public_bytes(Encoding.PEM).decode()

    bundles = [bundle(f"b{number}", root(), roots[0], signer=SIGNER) for number in range(150)]
    found = anchors({"signerName": SIGNER, "labelSelector": {}}, bundles)
    assert len(x509.load_pem_x509_certificates(found)) == 151
    assert found == anchors({"signerName": SIGNER, "labelSelector": {}}, reversed(bundles))


def test_headers_and_words_between_blocks_are_left_out(roots: list[str]) -> None:
    odd = "hello\n" + roots[0].replace("CERTIFICATE-----\n", "CERTIFICATE-----\nNote: x\n", 1) + "\nbye\n"
    assert anchors({"name": "x"}, [bundle("x", odd)]).decode() == roots[0]


async def test_another_projection_is_refused_not_left_out(node: Node) -> None:
    made: dict[str, Any] = mounting()
    made["spec"]["volumes"][0]["projected"]["sources"] = [{"newer": {"path": "x"}}]
    node.put(made)
    await node.api.until(lambda: any(reason == "FailedMount" for reason, _ in node.events()))
    assert any("projections of type newer are not supported" in message for _, message in node.events())
