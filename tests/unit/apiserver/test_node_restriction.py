"""What a kubelet may write, check by check of Kubernetes' NodeRestriction plugin; and read, by the node's graph."""

import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from pybernetes.apiserver import ApiServer, ApiServerConfig
from pybernetes.pki import Authority
from pybernetes.pki.requests import ask, stub
from support.server import api_server

from .conftest import Call, call_of

NS = "/api/v1/namespaces/default"
MERGE = "application/merge-patch+json"
SLICES = "/apis/resource.k8s.io/v1/resourceslices"
CSRS = "/apis/certificates.k8s.io/v1/certificatesigningrequests"


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[ApiServer]:
    """With two nodes, and keys for tokens."""
    keys = Authority.ensure(tmp_path).service_account_keys()
    config = ApiServerConfig(service_account_key=keys.private, service_account_public_key=keys.public)
    async with api_server(config=config) as running:
        call = call_of(running)
        await call("POST", f"{NS}/serviceaccounts", {"metadata": {"name": "default"}})
        for name in ("n1", "n2"):
            assert (await call("POST", "/api/v1/nodes", {"metadata": {"name": name}}))[0] == 201
        yield running


@pytest.fixture
def node(server: ApiServer) -> Call:
    """The kubelet of n1, with all rights: what is refused here is refused by admission."""
    return call_of(server, "system:node:n1", "system:nodes", "system:masters")


@pytest.fixture
def kubelet(server: ApiServer) -> Call:
    """The kubelet of n1 with its own rights."""
    return call_of(server, "system:node:n1", "system:nodes", "system:authenticated")


def pod(name: str = "p", on: str = "n1", **spec: Any) -> dict[str, Any]:
    container = {"name": "c", "image": "i"}
    return {"metadata": {"name": name}, "spec": {"nodeName": on, "containers": [container]} | spec}


async def made(call: Call, path: str, body: Any) -> Any:
    code, found = await call("POST", path, body)
    assert code == 201, found
    return found


async def refused(call: Call, method: str, path: str, body: Any, why: str, content: str = "application/json") -> None:
    code, status = await call(method, path, body, content)
    assert (code, why in str(status.get("message"))) == (403, True), status


async def test_who_is_no_certain_node_writes_nothing(server: ApiServer) -> None:
    nobody = call_of(server, "system:node:", "system:nodes", "system:masters")
    await refused(nobody, "POST", f"{NS}/configmaps", {"metadata": {"name": "x"}}, "could not determine node from user")


async def test_a_node_has_no_say_about_its_configuration_source(node: Call, call: Call) -> None:
    source = {"configMap": {"namespace": "a", "name": "b", "kubeletConfigKey": "c"}}
    await call("DELETE", "/api/v1/nodes/n1")
    body = {"metadata": {"name": "n1"}, "spec": {"configSource": source}}
    await refused(node, "POST", "/api/v1/nodes", body, "with a non-nil configSource")
    await made(node, "/api/v1/nodes", {"metadata": {"name": "n1"}})
    why = "not allowed to update configSource"
    await refused(node, "PATCH", "/api/v1/nodes/n1", {"spec": {"configSource": source}}, why, MERGE)


async def test_a_node_owns_itself(node: Call) -> None:
    owner = {"apiVersion": "v1", "kind": "Pod", "name": "gone", "uid": "gone"}
    why = "not allowed to modify ownerReferences"  # CVE-2025-5187: the garbage collector would delete it for the node
    await refused(node, "PATCH", "/api/v1/nodes/n1", {"metadata": {"ownerReferences": [owner]}}, why, MERGE)


MIRROR = {"kubernetes.io/config.mirror": "x"}
CLAIM = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
CERTIFICATE = {"signerName": "a.b/c", "keyType": "ED25519", "credentialBundlePath": "x"}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"serviceAccountName": "default"}, "serviceaccounts"),
        ({"resourceClaims": [{"name": "a", "resourceClaimName": "c"}]}, "resourceclaims"),  # CVE-2025-4563
        ({"volumes": [{"name": "v", "csi": {"driver": "a.b"}}]}, "csidrivers"),
        (
            {"volumes": [{"name": "v", "ephemeral": {"volumeClaimTemplate": {"spec": CLAIM}}}]},
            "persistentvolumeclaims (via ephemeral volumes)",
        ),
        (
            {"volumes": [{"name": "v", "projected": {"sources": [{"podCertificate": CERTIFICATE}]}}]},
            "podcertificates",
        ),
        ({"imagePullSecrets": [{"name": "s"}]}, "secrets"),
        ({"volumes": [{"name": "v", "secret": {"secretName": "s"}}]}, "secrets"),
        ({"volumes": [{"name": "v", "configMap": {"name": "s"}}]}, "configmaps"),
        ({"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "s"}}]}, "persistentvolumeclaims"),
        (
            {
                "volumes": [
                    {"name": "v", "projected": {"sources": [{"clusterTrustBundle": {"name": "b", "path": "p"}}]}}
                ]
            },
            "clustertrustbundles",
        ),
    ],
)
async def test_a_mirror_pod_names_nothing(node: Call, call: Call, change: Any, why: str) -> None:
    _, own = await call("GET", "/api/v1/nodes/n1")
    owner = {"apiVersion": "v1", "kind": "Node", "name": "n1", "uid": own["metadata"]["uid"], "controller": True}
    plain = pod("plain")
    plain["metadata"] |= {"annotations": MIRROR, "ownerReferences": [owner]}
    await made(node, f"{NS}/pods", plain)
    wrong = pod("wrong", **change)
    wrong["metadata"] |= {"annotations": MIRROR, "ownerReferences": [owner]}
    await refused(node, "POST", f"{NS}/pods", wrong, f"can not create pods that reference {why}")


async def test_other_parts_of_pods_are_not_its_own(node: Call, call: Call) -> None:
    await made(call, f"{NS}/pods", pod(resourceClaims=[{"name": "a", "resourceClaimTemplateName": "t"}]))
    extra = {"spec": {"ephemeralContainers": [{"name": "e", "image": "i"}]}}
    why = "unexpected pod subresource \"ephemeralcontainers\", only 'status' and 'eviction' are allowed"
    await refused(node, "PATCH", f"{NS}/pods/p/ephemeralcontainers", extra, why, MERGE)
    claims = {"status": {"resourceClaimStatuses": [{"name": "a", "resourceClaimName": "b"}]}}
    await refused(node, "PATCH", f"{NS}/pods/p/status", claims, "cannot update resource claim statues", MERGE)
    missing = {"metadata": {"name": "none"}}
    assert (await node("POST", f"{NS}/pods/none/eviction", missing))[0] == 404


async def test_of_a_claim_it_writes_what_it_measures(node: Call, call: Call) -> None:
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    await made(call, f"{NS}/persistentvolumeclaims", {"metadata": {"name": "c"}, "spec": claim})
    path = f"{NS}/persistentvolumeclaims/c"
    await refused(node, "PATCH", path, {"metadata": {"labels": {"a": "b"}}}, "may only update PVC status", MERGE)
    grown = {"status": {"capacity": {"storage": "1Gi"}, "conditions": [{"type": "Resizing", "status": "True"}]}}
    assert (await node("PATCH", f"{path}/status", grown, MERGE))[0] == 200
    why = "is not allowed to update fields other than status.quantity and status.conditions"
    await refused(node, "PATCH", f"{path}/status", {"status": {"phase": "Lost"}}, why, MERGE)


def token(pod: Any, *audiences: str) -> Any:
    reference = {"apiVersion": "v1", "kind": "Pod", "name": pod["metadata"]["name"], "uid": pod["metadata"]["uid"]}
    return {"spec": {"audiences": list(audiences), "boundObjectRef": reference}}


async def test_tokens_are_for_audiences_that_the_pod_names(kubelet: Call, call: Call) -> None:
    vault = {"serviceAccountToken": {"path": "t", "audience": "vault"}}
    own = {"serviceAccountToken": {"path": "u"}}
    volume = {"name": "v", "projected": {"sources": [vault, own]}}
    named = await made(call, f"{NS}/pods", pod(volumes=[volume]))
    bare = await made(call, f"{NS}/pods", pod("bare", automountServiceAccountToken=False))
    path = f"{NS}/serviceaccounts/default/token"
    await made(kubelet, path, token(named, "vault"))
    await made(kubelet, path, token(named))
    await refused(kubelet, "POST", path, token(named, "other"), 'audience "other" not found in pod spec volume')
    await refused(kubelet, "POST", path, token(named, "vault", "x"), "node may only request 0 or 1 audiences")
    await refused(kubelet, "POST", path, token(bare), 'audience "" not found in pod spec volume')
    driver = {"metadata": {"name": "csi.test"}, "spec": {"tokenRequests": [{"audience": "storage"}]}}
    await made(call, "/apis/storage.k8s.io/v1/csidrivers", driver)
    inline = await made(call, f"{NS}/pods", pod("csi", volumes=[{"name": "v", "csi": {"driver": "csi.test"}}]))
    await made(kubelet, path, token(inline, "storage"))


async def test_an_audience_may_be_granted_as_a_right(kubelet: Call, call: Call) -> None:
    named = await made(call, f"{NS}/pods", pod())
    path = f"{NS}/serviceaccounts/default/token"
    await refused(kubelet, "POST", path, token(named, "registry"), "not found in pod spec volume")
    right = {"apiGroups": [""], "resources": ["registry"], "verbs": ["request-serviceaccounts-token-audience"]}
    rbac = "/apis/rbac.authorization.k8s.io/v1"
    await made(call, f"{rbac}/clusterroles", {"metadata": {"name": "audience"}, "rules": [right]})
    binding = {
        "metadata": {"name": "audience"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "audience"},
        "subjects": [{"kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": "system:nodes"}],
    }
    await made(call, f"{rbac}/clusterrolebindings", binding)
    await made(kubelet, path, token(named, "registry"))


async def test_slices_are_its_own(node: Call, kubelet: Call, call: Call) -> None:
    def slice_(name: str, on: str) -> Any:
        pool = {"name": on, "generation": 1, "resourceSliceCount": 1}
        return {"metadata": {"name": name}, "spec": {"driver": "d.test", "nodeName": on, "pool": pool, "devices": []}}

    await made(kubelet, SLICES, slice_("mine", "n1"))
    await refused(kubelet, "POST", SLICES, slice_("theirs", "n2"), "with the same NodeName as the requesting node")
    await made(call, SLICES, slice_("theirs", "n2"))
    await refused(node, "DELETE", f"{SLICES}/theirs", None, "can only delete ResourceSlice with the same NodeName")
    await refused(kubelet, "GET", f"{SLICES}/theirs", None, "no relationship found")
    assert (await kubelet("GET", f"{SLICES}?fieldSelector=spec.nodeName=n1"))[0] == 200
    assert (await kubelet("GET", SLICES))[0] == 403
    assert (await kubelet("DELETE", f"{SLICES}/mine"))[0] == 200


@pytest.mark.parametrize(
    ("signer", "user", "code"),
    [
        ("kubernetes.io/kube-apiserver-client-kubelet", "system:node:n1", 201),
        ("kubernetes.io/kube-apiserver-client-kubelet", "system:node:n2", 403),
        ("kubernetes.io/kubelet-serving", "system:node:n2", 403),
        ("pybernetes.io/node-component-client", "system:kube-proxy", 201),
    ],
)
async def test_it_asks_to_become_itself(kubelet: Call, signer: str, user: str, code: int) -> None:
    request = base64.b64encode(ask(user, groups=["system:nodes"]).request).decode()
    spec = {"request": request, "signerName": signer, "usages": ["digital signature", "client auth"]}
    found, status = await kubelet("POST", CSRS, {"metadata": {"name": "r"}, "spec": spec})
    assert found == code, status
    if code == 403:
        assert "can only create a node CSR with CN=system:node:n1" in status["message"]


async def test_csi_nodes_and_leases_are_its_own(node: Call) -> None:
    nodes = "/apis/storage.k8s.io/v1/csinodes"
    await made(node, nodes, {"metadata": {"name": "n1"}, "spec": {"drivers": []}})
    why = "can only access CSINode with the same name as the requesting node"
    await refused(node, "POST", nodes, {"metadata": {"name": "n2"}, "spec": {"drivers": []}}, why)
    leases = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
    why = "can only access node lease with the same name as the requesting node"
    await refused(node, "POST", leases, {"metadata": {"name": "n2"}}, why)


async def test_the_graph_reaches_accounts_and_a_volumes_secrets_for_nodes(kubelet: Call, call: Call) -> None:
    for name in ("stage", "publish"):
        await made(call, f"{NS}/secrets", {"metadata": {"name": name}})
    csi = {
        "driver": "csi.test",
        "volumeHandle": "h",
        "nodeStageSecretRef": {"namespace": "default", "name": "stage"},
        "controllerPublishSecretRef": {"namespace": "default", "name": "publish"},
    }
    spec = {
        "capacity": {"storage": "1Gi"},
        "accessModes": ["ReadWriteOnce"],
        "csi": csi,
        "claimRef": {"namespace": "default", "name": "data"},
    }
    await made(call, "/api/v1/persistentvolumes", {"metadata": {"name": "v"}, "spec": spec})
    assert (await kubelet("GET", f"{NS}/secrets/stage"))[0] == 403
    assert (await kubelet("GET", f"{NS}/serviceaccounts/default"))[0] == 403
    await made(call, f"{NS}/pods", pod(volumes=[{"name": "d", "persistentVolumeClaim": {"claimName": "data"}}]))
    assert (await kubelet("GET", f"{NS}/secrets/stage"))[0] == 200
    assert (await kubelet("GET", f"{NS}/secrets/publish"))[0] == 403, "that one is the controller's"
    assert (await kubelet("GET", f"{NS}/serviceaccounts/default"))[0] == 200
    assert (await kubelet("PATCH", f"{NS}/serviceaccounts/default", {}, MERGE))[0] == 403


REQUESTS = "/apis/certificates.k8s.io/v1/namespaces/default/podcertificaterequests"


async def certificate_request(call: Call, pod: Any, **changes: Any) -> Any:
    _, account = await call("GET", f"{NS}/serviceaccounts/default")
    _, own = await call("GET", "/api/v1/nodes/n1")
    spec = {
        "signerName": "example.com/ours",
        "podName": pod["metadata"]["name"],
        "podUID": pod["metadata"]["uid"],
        "serviceAccountName": "default",
        "serviceAccountUID": account["metadata"]["uid"],
        "nodeName": "n1",
        "nodeUID": own["metadata"]["uid"],
        "stubPKCS10Request": base64.b64encode(stub("ED25519").request).decode(),
    }
    return {"metadata": {"generateName": "r-"}, "spec": spec | changes}


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"nodeName": "n2"}, "for a pod that is not on the requesting node"),
        ({"podUID": "other"}, "PodUID"),
        ({"serviceAccountName": "other"}, "ServiceAccountName"),
        ({"serviceAccountUID": "other"}, "ServiceAccountUID"),
        ({"nodeUID": "other"}, "NodeUID"),
    ],
)
async def test_it_asks_for_certificates_of_its_own_pods(kubelet: Call, call: Call, changes: Any, why: str) -> None:
    own = await made(call, f"{NS}/pods", pod())
    wrong = await certificate_request(call, own, **changes)
    await refused(kubelet, "POST", REQUESTS, wrong, why)
    found = await made(kubelet, REQUESTS, await certificate_request(call, own))
    path = f"{REQUESTS}/{found['metadata']['name']}"
    assert (await kubelet("GET", path))[0] == 200
    assert (await kubelet("GET", f"{REQUESTS}?fieldSelector=spec.nodeName=n1"))[0] == 200
    assert (await kubelet("GET", REQUESTS))[0] == 403
    assert (await kubelet("DELETE", path))[0] == 403
    denied = {"status": {"conditions": [{"type": "Denied", "status": "True", "reason": "x", "message": ""}]}}
    assert (await kubelet("PATCH", f"{path}/status", denied, MERGE))[0] == 403
    theirs = await made(call, f"{NS}/pods", pod("theirs", on="n2"))
    await refused(kubelet, "POST", REQUESTS, await certificate_request(call, theirs), "not on the requesting node")


@pytest.mark.parametrize(("seconds", "code"), [(3600, 201), (91 * 86400, 201), (3599, 422), (91 * 86400 + 1, 422)])
async def test_a_pods_certificate_lives_from_an_hour_to_91_days(call: Call, seconds: int, code: int) -> None:
    source = {"signerName": "example.com/ours", "keyType": "ED25519", "credentialBundlePath": "b"}
    projected = {"sources": [{"podCertificate": source | {"maxExpirationSeconds": seconds}}]}
    found, status = await call("POST", f"{NS}/pods", pod(volumes=[{"name": "v", "projected": projected}]))
    assert found == code, status
    if code == 422:
        assert "maxExpirationSeconds" in status["message"]
