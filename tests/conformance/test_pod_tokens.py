"""Tokens of service accounts inside pods: who the pod is by them, who opts out, for whom they are, and kept fresh."""

import json

import pytest

from support.local import BIN

from .test_pod_semantics import House, pod

pytestmark = [pytest.mark.kernel, pytest.mark.kubectl, pytest.mark.timeout(600)]

MOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
KUBECTL = str(BIN / "kubectl")
VAULT = {
    "name": "vault",
    "projected": {
        "defaultMode": 0o640,
        "sources": [
            {"serviceAccountToken": {"path": "vault-token", "audience": "vault", "expirationSeconds": 7200}},
            {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}]}},
            {"configMap": {"name": "kube-root-ca.crt"}},
        ],
    },
}
"""A projected volume as service meshes and secret stores ask for it."""


@pytest.fixture(scope="module")
def house(cluster, namespace):
    found = House(cluster, namespace)
    found.kubectl("create", "serviceaccount", "robot")
    found.kubectl("create", "rolebinding", "robot", "--clusterrole=view", f"--serviceaccount={namespace}:robot")
    found.apply(
        pod("robot", spec={"serviceAccountName": "robot"}),
        pod("vaulted", VAULT, spec={"serviceAccountName": "robot"},
            volumeMounts=[{"name": "vault", "mountPath": "/var/run/vault", "readOnly": True}]),
    )  # fmt: skip
    found.ready("robot", "vaulted")
    return found


def reviewed(house, token, *audiences):
    """The status of a TokenReview."""
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
              "spec": {"token": token, "audiences": list(audiences)}}  # fmt: skip
    return json.loads(house.kubectl("create", "-o", "json", "-f", "-", text=json.dumps(review)))["status"]


def test_should_mount_an_api_token_into_pods(house):
    """The three files, and that a client that knows nothing else reaches the API by them."""
    assert house.run("robot", "ls", MOUNT).split() == ["ca.crt", "namespace", "token"]
    assert house.run("robot", "cat", f"{MOUNT}/namespace") == house.namespace
    assert house.run("robot", "cat", f"{MOUNT}/ca.crt").startswith("-----BEGIN CERTIFICATE-----")
    status = reviewed(house, house.run("robot", "cat", f"{MOUNT}/token"))
    assert status["authenticated"] is True
    assert status["user"]["username"] == f"system:serviceaccount:{house.namespace}:robot"
    assert f"system:serviceaccounts:{house.namespace}" in status["user"]["groups"]
    uid = house.pod("robot")["metadata"]["uid"]
    assert status["user"]["extra"]["authentication.kubernetes.io/pod-uid"] == [uid]


def test_a_client_in_a_pod_is_its_account(house):
    """kubectl without a kubeconfig: the Service, the token and the authority that every pod is given."""
    command = ("env", "-u", "KUBECONFIG", "HOME=/nowhere", KUBECTL)
    said = house.run("robot", *command, "auth", "whoami", "-o", "jsonpath={.status.userInfo.username}")
    assert said == f"system:serviceaccount:{house.namespace}:robot"
    assert "pod/robot" in house.run("robot", *command, "get", "pods", "-o", "name")
    done = house.ended("exec", "robot", "--", *command, "get", "secrets")
    assert done.returncode == 1
    assert f'User "system:serviceaccount:{house.namespace}:robot" cannot list resource "secrets"' in done.stderr


def test_should_mount_projected_service_account_token(house):
    """For its audience alone, for as long as was asked, beside the other sources, with the mode of the volume."""
    assert house.run("vaulted", "ls", "/var/run/vault").split() == ["ca.crt", "namespace", "vault-token"]
    assert house.run("vaulted", "stat", "-L", "-c", "%a", "/var/run/vault/vault-token").strip() == "640"
    token = house.run("vaulted", "cat", "/var/run/vault/vault-token")
    assert reviewed(house, token).get("authenticated") is not True
    status = reviewed(house, token, "vault", "other")
    assert (status["authenticated"], status["audiences"]) == (True, ["vault"])
    assert token != house.run("vaulted", "cat", f"{MOUNT}/token")


@pytest.mark.parametrize(
    ("account", "of_pod", "mounted"), [(False, None, False), (None, False, False), (False, True, True)]
)
def test_should_allow_opting_out_of_api_token_automount(house, account, of_pod, mounted):
    """What the pod says counts, then what the account says."""
    name = f"mounts-{account}-{of_pod}".lower()
    asks = {} if account is None else {"automountServiceAccountToken": account}
    spec = {} if of_pod is None else {"automountServiceAccountToken": of_pod}
    house.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}} | asks)
    made = pod(name, spec={"serviceAccountName": name} | spec)
    house.apply(made)
    house.ready(name)
    try:
        found = house.ended("exec", name, "--", "cat", f"{MOUNT}/token")
        assert (found.returncode == 0) is mounted
        shown = house.pod(name)["spec"]["containers"][0].get("volumeMounts") or []
        assert any(one["mountPath"] == MOUNT for one in shown) is mounted
    finally:
        house.kubectl("delete", "pod", name, "--grace-period=1", "--wait=false")
