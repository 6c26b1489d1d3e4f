"""Helm against a whole cluster: a chart with hooks and a lookup is installed, upgraded, rolled back, tested, removed.

Helm 3 comes with the development requirements; a Helm 4 is used too where HELM4 names one (`make clients` builds it).
"""

import json
import os
import sys
from pathlib import Path

import pytest

BIN = Path(sys.executable).parent
CHART = str(Path(__file__).parent / "chart")
HELMS = [str(BIN / "helm"), *([os.environ["HELM4"]] if "HELM4" in os.environ else [])]

pytestmark = [pytest.mark.kernel, pytest.mark.kubectl, pytest.mark.timeout(600)]


class Helm:
    """One release in one namespace."""

    def __init__(self, cluster, command: str, namespace: str) -> None:
        self.cluster = cluster
        self.command = command
        self.namespace = namespace

    def __call__(self, *argv: str) -> str:
        return self.cluster.run(self.command, *argv, "--namespace", self.namespace).stdout

    def refused(self, *argv: str) -> str:
        done = self.cluster.run(self.command, *argv, "--namespace", self.namespace, check=False)
        assert done.returncode != 0, done.stdout
        return done.stderr

    def releases(self) -> list[tuple[str, str, str]]:
        return [(one["name"], one["revision"], one["status"]) for one in json.loads(self("list", "-o", "json"))]

    def get(self, *argv: str):
        return self.cluster.get(*argv, "-n", self.namespace)


@pytest.fixture(params=HELMS, ids=lambda path: "helm" if path == HELMS[0] else "helm4")
def helm(cluster, request):
    namespace = f"helm-{HELMS.index(request.param)}"
    made = Helm(cluster, request.param, namespace)
    try:
        yield made
    finally:
        cluster.kubectl("delete", "namespace", namespace, "--ignore-not-found", "--timeout=100s")


def test_the_life_of_a_release(helm):
    notes = helm("install", "site", CHART, "--create-namespace", "--wait", "--timeout", "60s")
    assert "STATUS: deployed" in notes
    assert f"Call http://site.{helm.namespace}.svc.cluster.local/" in notes
    assert helm.releases() == [("site", "1", "deployed")]
    deployment = helm.get("deployment", "site")
    assert deployment["status"]["readyReplicas"] == 2
    assert deployment["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "Helm"
    config = helm.get("configmap", "site")["data"]
    assert config["cluster"] == "37"
    assert config["kube-system-uid"] == helm.cluster.get("namespace", "kube-system")["metadata"]["uid"]
    assert helm.get("ingress", "site")["spec"]["rules"][0]["host"] == "site.example.com"
    assert helm.get("jobs")["items"] == []  # the hook ran, and was deleted as its policy says
    assert "Phase:          Succeeded" in helm("test", "site", "--timeout", "60s")

    upgraded = ("--set", "message=two,replicas=1,ingress=false", "--wait", "--timeout", "60s")
    assert "REVISION: 2" in helm("upgrade", "site", CHART, *upgraded)
    assert helm.get("deployment", "site")["spec"]["replicas"] == 1
    assert helm.get("configmap", "site")["data"]["index.html"] == "two"
    assert helm.get("ingresses")["items"] == []
    assert "Phase:          Succeeded" in helm("test", "site", "--timeout", "60s")
    assert json.loads(helm("get", "values", "site", "-o", "json")) == {
        "message": "two", "replicas": 1, "ingress": False,
    }  # fmt: skip

    assert "Rollback was a success" in helm("rollback", "site", "1", "--wait", "--timeout", "60s")
    assert helm.get("configmap", "site")["data"]["index.html"] == "one"
    assert helm.get("deployment", "site")["status"]["readyReplicas"] == 2
    assert helm.get("ingress", "site")["metadata"]["name"] == "site"
    history = json.loads(helm("history", "site", "-o", "json"))
    assert [(one["revision"], one["status"]) for one in history] == [
        (1, "superseded"), (2, "superseded"), (3, "deployed"),
    ]  # fmt: skip
    assert "kind: Deployment" in helm("get", "manifest", "site")
    assert json.loads(helm("status", "site", "-o", "json"))["info"]["status"] == "deployed"

    assert 'release "site" uninstalled' in helm("uninstall", "site", "--wait", "--timeout", "60s")
    assert helm.releases() == []
    for kind in ("deployments", "services", "configmaps", "secrets", "ingresses"):
        names = [one["metadata"]["name"] for one in helm.get(kind)["items"]]
        assert [name for name in names if name != "kube-root-ca.crt"] == []


def test_what_helm_refuses_and_what_the_server_refuses_of_it(helm):
    helm("install", "site", CHART, "--create-namespace", "--set", "replicas=0")
    assert "name that is still in use" in helm.refused("install", "site", CHART)
    error = helm.refused("upgrade", "site", CHART, "--set", "replicas=-1")
    assert "spec.replicas: Invalid value: -1: must be greater than or equal to 0" in error
    assert [(name, status) for name, _, status in helm.releases()] == [("site", "failed")]
    assert "has been upgraded" in helm("upgrade", "--install", "site", CHART, "--set", "replicas=0")
    listed = helm("upgrade", "site", CHART, "--set", "replicas=0,message=three", "--dry-run=server")
    assert 'index.html: "three"' in listed
    assert helm.get("configmap", "site")["data"]["index.html"] == "one"
    helm("uninstall", "site")
