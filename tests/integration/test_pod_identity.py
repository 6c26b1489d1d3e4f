"""Pods that call the API: who they are by their mounted token, and whom they trust by a mounted bundle."""

import json

import pytest

from support.local import BIN, Local

pytestmark = [pytest.mark.kernel, pytest.mark.kubectl, pytest.mark.timeout(180)]

CALL = """
import json, ssl, sys, urllib.request
token = open(sys.argv[1]).read()
context = ssl.create_default_context(cafile=sys.argv[2])
review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
request = urllib.request.Request(
    "https://kubernetes.default.svc/apis/authentication.k8s.io/v1/selfsubjectreviews",
    data=json.dumps(review).encode(),
    headers={"authorization": "Bearer " + token, "content-type": "application/json"},
)
print(json.dumps(json.load(urllib.request.urlopen(request, timeout=5, context=context))["status"]["userInfo"]))
"""
MOUNTED = "/var/run/secrets/kubernetes.io/serviceaccount"
POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "caller"},
    "spec": {
        "serviceAccountName": "robot",
        "terminationGracePeriodSeconds": 1,
        "containers": [
            {
                "name": "main",
                "image": "host",
                "command": ["sleep", "3600"],
                "volumeMounts": [{"name": "own", "mountPath": "/own"}],
            }
        ],
        "volumes": [
            {
                "name": "own",
                "projected": {
                    "sources": [
                        {"serviceAccountToken": {"path": "token", "expirationSeconds": 600}},
                        {"serviceAccountToken": {"path": "vault", "audience": "vault"}},
                        {
                            "clusterTrustBundle": {
                                "path": "ca.pem",
                                "signerName": "kubernetes.io/kube-apiserver-serving",
                                "labelSelector": {},
                            }
                        },
                    ]
                },
            }
        ],
    },
}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    made = Local("test-identity", tmp_path_factory.mktemp("identity"))
    try:
        made.pybernetes("up", "--nodes", "1")
        made.kubectl("create", "serviceaccount", "robot")
        made.kubectl("apply", "-f", "-", text=json.dumps(POD))
        made.kubectl("wait", "--for=condition=Ready", "pod/caller", "--timeout=60s")
        yield made
    finally:
        made.pybernetes("down", check=False)


def call(cluster, token, ca):
    argv = ("exec", "caller", "--", "python3", "-c", CALL, token, ca)
    return cluster.run(str(BIN / "kubectl"), *argv, check=False)


@pytest.mark.parametrize(
    ("token", "ca"),
    [(f"{MOUNTED}/token", f"{MOUNTED}/ca.crt"), ("/own/token", "/own/ca.pem"), (f"{MOUNTED}/token", "/own/ca.pem")],
)
def test_a_pod_is_its_account_and_trusts_the_api_server(cluster, token, ca):
    done = call(cluster, token, ca)
    assert done.returncode == 0, done.stderr
    info = json.loads(done.stdout)
    assert info["username"] == "system:serviceaccount:default:robot"
    own = cluster.get("pod", "caller")
    extra = {name.rpartition("/")[2]: values for name, values in info["extra"].items()}
    assert extra["pod-name"] == ["caller"]
    assert extra["pod-uid"] == [own["metadata"]["uid"]]
    assert extra["node-name"] == ["node-1"]
    assert extra["credential-id"][0].startswith("JTI=")


def test_a_token_for_another_audience_is_not_taken_by_the_api(cluster):
    done = call(cluster, "/own/vault", "/own/ca.pem")
    assert done.returncode != 0
    assert "401" in done.stderr
