"""Pods that call the API: who they are by their mounted token, and whom they trust by a mounted bundle."""

import base64
import json
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from pybernetes.api import times
from support.local import BIN, Local

pytestmark = [pytest.mark.kernel, pytest.mark.kubectl, pytest.mark.timeout(600)]

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
print(json.dumps(json.load(urllib.request.urlopen(request, timeout=30, context=context))["status"]["userInfo"]))
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
        made.kubectl("wait", "--for=condition=Ready", "pod/caller", "--timeout=100s")
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


CERTIFIED = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "certified"},
    "spec": {
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
                        {
                            "podCertificate": {
                                "signerName": "example.com/ours",
                                "keyType": "ECDSAP256",
                                "credentialBundlePath": "bundle.pem",
                            }
                        }
                    ]
                },
            }
        ],
    },
}


def signed(request):
    """The status that a signer writes: a certificate in the pod's name, by an authority of the moment."""
    asked = x509.load_der_x509_csr(base64.b64decode(request["spec"]["stubPKCS10Request"]))
    now = datetime.now(UTC).replace(microsecond=0)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(x509.Name([]))
        .public_key(asked.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + timedelta(seconds=request["spec"]["maxExpirationSeconds"]))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(request["spec"]["podName"])]), critical=True)
    )
    made = builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    since, until = made.not_valid_before_utc.timestamp(), made.not_valid_after_utc.timestamp()
    return {
        "conditions": [
            {
                "type": "Issued",
                "status": "True",
                "reason": "Signed",
                "message": "",
                "lastTransitionTime": times.stamp(since),
            }
        ],
        "certificateChain": made.public_bytes(Encoding.PEM).decode(),
        "notBefore": times.stamp(since),
        "notAfter": times.stamp(until),
        "beginRefreshAt": times.stamp(until - 3600),
    }


def test_a_pod_is_certified_by_who_signs_for_it(cluster):
    cluster.kubectl("apply", "-f", "-", text=json.dumps(CERTIFIED))
    (request,) = cluster.until(lambda: cluster.get("podcertificaterequests")["items"], what="a request is made")
    assert request["spec"]["nodeName"] == "node-1"
    patch = json.dumps({"status": signed(request)})
    name = request["metadata"]["name"]
    cluster.kubectl("patch", "podcertificaterequest", name, "--subresource=status", "--type=merge", "-p", patch)
    cluster.kubectl("wait", "--for=condition=Ready", "pod/certified", "--timeout=100s")
    bundle = cluster.kubectl("exec", "certified", "--", "cat", "/own/bundle.pem")
    key = load_pem_private_key(bundle.encode(), None)
    found = x509.load_pem_x509_certificate(bundle.encode())
    assert key.public_key() == found.public_key()
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["certified"]


def test_no_pod_sees_the_keys_of_the_cluster_or_its_node(cluster):
    keys = [
        path for path in cluster.root.rglob("*") if path.suffix in (".key", ".kubeconfig") or path.name == "kubeconfig"
    ]
    assert len(keys) > 5
    script = "import os, sys; print([path for path in sys.argv[1:] if os.path.exists(path)])"
    shown = cluster.kubectl("exec", "caller", "--", "python3", "-c", script, *map(str, keys))
    assert shown.strip() == "[]"
