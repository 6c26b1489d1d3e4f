"""Admission and the policy controllers, as a user of kubectl meets them; the webhook is a pod behind a Service."""

import base64
import json
from pathlib import Path

import pytest

from pybernetes.pki import Authority

pytestmark = [pytest.mark.kernel, pytest.mark.kubectl, pytest.mark.timeout(600)]

# Answers AdmissionReviews: /mutate adds a key to ConfigMaps, /validate refuses those that say so.
WEBHOOK = r"""
import base64, http.server, json, ssl
class Hook(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        review = json.loads(self.rfile.read(int(self.headers["content-length"])))
        data = review["request"]["object"].get("data") or {}
        response = {"uid": review["request"]["uid"], "allowed": True}
        if self.path.startswith("/mutate"):
            patch = [{"op": "add", "path": "/data", "value": data | {"webhook": "was here"}}]
            response |= {"patchType": "JSONPatch", "patch": base64.b64encode(json.dumps(patch).encode()).decode()}
        elif "bad" in data:
            response |= {"allowed": False, "status": {"message": "the configmap contains unwanted key and value"}}
        body = json.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response})
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())
    def log_message(self, *_):
        pass
server = http.server.ThreadingHTTPServer(("", 8443), Hook)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("/certs/tls.crt", "/certs/tls.key")
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"""


def applied(cluster, namespace, *objects):
    items = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
    return cluster.kubectl("apply", "-n", namespace, "-f", "-", text=json.dumps(items))


def encoded(path):
    return base64.b64encode(Path(path).read_bytes()).decode()


def got(cluster, namespace, what):
    return cluster.get(what, "-n", namespace)


def pod(name, **container):
    spec = {"terminationGracePeriodSeconds": 1}
    spec["containers"] = [{"name": "main", "image": "host", "command": ["sleep", "3600"]} | container]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}}, "spec": spec}


def webhook_pod():
    found = pod("webhook", command=["python3", "-c", WEBHOOK])
    found["spec"]["containers"][0] |= {
        "volumeMounts": [{"name": "certs", "mountPath": "/certs"}],
        "readinessProbe": {"tcpSocket": {"port": 8443}, "periodSeconds": 1},
    }
    found["spec"]["volumes"] = [{"name": "certs", "secret": {"secretName": "certs"}}]
    return found


@pytest.fixture
def hooked(cluster, namespace, tmp_path):
    """A webhook pod behind a Service, and configurations that send this namespace's ConfigMaps to it."""
    authority = Authority.ensure(tmp_path / "pki")
    name = f"webhook.{namespace}.svc"
    pair = authority.issue("hook", user=name, dns=[name], server=True, client=False)
    files = {"tls.crt": pair.certificate, "tls.key": pair.key}
    data = {key: encoded(path) for key, path in files.items()}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "certs"}, "data": data}
    spec = {"selector": {"app": "webhook"}, "ports": [{"port": 443, "targetPort": 8443}]}
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "webhook"}, "spec": spec}
    applied(cluster, namespace, secret, service, webhook_pod())
    cluster.kubectl("wait", "--for=condition=Ready", "pod/webhook", "-n", namespace, "--timeout=100s")
    bundle = encoded(authority.certificate)
    kinds = {"mutate": "MutatingWebhookConfiguration", "validate": "ValidatingWebhookConfiguration"}
    cluster.kubectl("wait", "--for=jsonpath={.endpoints[0].conditions.ready}=true", "endpointslice", "-n", namespace,
                    "-l", "kubernetes.io/service-name=webhook", "--timeout=100s")  # fmt: skip
    for path, kind in kinds.items():
        hook = {
            "name": f"{path}.example.com",
            "clientConfig": {"service": {"namespace": namespace, "name": "webhook", "path": f"/{path}"}}
            | {"caBundle": bundle},
            "rules": [
                {"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}
            ],
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
        }
        body = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": {"name": f"test-{path}"}}
        applied(cluster, namespace, body | {"webhooks": [hook]})
    try:
        yield
    finally:
        for path, kind in kinds.items():
            cluster.kubectl("delete", kind.lower(), f"test-{path}")
        cluster.kubectl("delete", "pod", "webhook", "-n", namespace, "--now")


def test_webhooks_behind_a_service_mutate_and_deny(cluster, namespace, hooked):
    cluster.kubectl("create", "configmap", "good", "-n", namespace, "--from-literal=a=b")
    assert got(cluster, namespace, "configmap/good")["data"] == {"a": "b", "webhook": "was here"}
    said = cluster.refused("create", "configmap", "evil", "-n", namespace, "--from-literal=bad=x")
    text = 'admission webhook "validate.example.com" denied the request: the configmap contains unwanted key and value'
    assert text in said


def test_a_quota_and_a_limit_range_hold(cluster, namespace):
    spec = {"limits": [{"type": "Container", "defaultRequest": {"cpu": "10m"}, "default": {"cpu": "20m"}}]}
    limits = {"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "usual"}, "spec": spec}
    hard = {"pods": "1", "requests.cpu": "1"}
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "few"}, "spec": {"hard": hard}}
    cluster.kubectl("wait", "--for=delete", "pod", "--all", "-n", namespace, "--timeout=100s")
    applied(cluster, namespace, limits, quota)
    try:
        cluster.kubectl("wait", "--for=jsonpath={.status.used.pods}=0", "resourcequota/few", "-n", namespace)
        applied(cluster, namespace, pod("one"))
        assert got(cluster, namespace, "pod/one")["spec"]["containers"][0]["resources"]["requests"] == {"cpu": "10m"}
        assert got(cluster, namespace, "resourcequota/few")["status"]["used"] == {"pods": "1", "requests.cpu": "10m"}
        said = cluster.refused("create", "-n", namespace, "-f", "-", text=json.dumps(pod("two")))
        assert "exceeded quota: few, requested: pods=1, used: pods=1, limited: pods=1" in said
        cluster.kubectl("delete", "pod", "one", "-n", namespace, "--now")
        waited = (
            "wait",
            "--for=jsonpath={.status.used.pods}=0",
            "resourcequota/few",
            "-n",
            namespace,
            "--timeout=100s",
        )
        cluster.kubectl(*waited)
    finally:
        cluster.kubectl("delete", "resourcequota/few", "limitrange/usual", "-n", namespace)


def test_a_cron_job_runs_jobs_and_keeps_few(cluster, namespace):
    cluster.kubectl("create", "cronjob", "tick", "-n", namespace, "--image=host", "--schedule=@every 1s", "--", "true")
    try:
        succeeded = "--for=jsonpath={.status.lastSuccessfulTime}"
        cluster.kubectl("wait", succeeded, "cronjob/tick", "-n", namespace, "--timeout=100s")
        jobs = got(cluster, namespace, "jobs")["items"]
        assert all(job["metadata"]["ownerReferences"][0]["kind"] == "CronJob" for job in jobs)
    finally:
        cluster.kubectl("delete", "cronjob/tick", "-n", namespace)


def test_an_eviction_waits_for_its_budget(cluster, namespace):
    applied(cluster, namespace, pod("kept"))
    cluster.kubectl("wait", "--for=condition=Ready", "pod/kept", "-n", namespace, "--timeout=100s")
    cluster.kubectl("create", "poddisruptionbudget", "all", "-n", namespace, "--selector=app=kept", "--min-available=1")
    counted = "--for=jsonpath={.status.currentHealthy}=1"
    cluster.kubectl("wait", counted, "poddisruptionbudget/all", "-n", namespace, "--timeout=100s")
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "kept", "namespace": namespace}}
    path = f"/api/v1/namespaces/{namespace}/pods/kept/eviction"
    said = cluster.refused("create", "--raw", path, "-f", "-", text=json.dumps(body))
    assert "Cannot evict pod as it would violate the pod's disruption budget." in said
    patch = json.dumps({"spec": {"minAvailable": 0}})
    cluster.kubectl("patch", "poddisruptionbudget/all", "-n", namespace, "--type=merge", "-p", patch)
    freed = "--for=jsonpath={.status.disruptionsAllowed}=1"
    cluster.kubectl("wait", freed, "poddisruptionbudget/all", "-n", namespace, "--timeout=100s")
    cluster.kubectl("create", "--raw", path, "-f", "-", text=json.dumps(body))
    cluster.kubectl("wait", "--for=delete", "pod/kept", "-n", namespace, "--timeout=100s")
