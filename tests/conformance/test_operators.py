"""Operators in other languages, by the frameworks that most are written with: each keeps a ConfigMap for its resource.

`make clients` builds them in .clients/ (Java with Maven, and Rust, are needed); `make test` does not. That in Java runs
with the administrator's kubeconfig, that in Rust with a service account's, which may no more than it needs.
"""

import contextlib
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

BUILT = Path(__file__).resolve().parents[2] / ".clients"
COMMANDS = {
    "java": ["java", "-cp", f"{BUILT}/java-operator/target/classes:{BUILT}/java-operator/target/dependency/*", "Main"],
    "rust": [f"{BUILT}/rust-operator/debug/operator"],
}
TEXT = {"type": "string"}
SCHEMA = {
    "type": "object",
    "properties": {
        "spec": {"type": "object", "properties": {"whom": TEXT}},
        "status": {"type": "object", "properties": {"said": TEXT}},
    },
}
VERSION = {
    "name": "v1",
    "served": True,
    "storage": True,
    "subresources": {"status": {}},
    "schema": {"openAPIV3Schema": SCHEMA},
}
DEFINITION = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "greetings.java.example.com"},
    "spec": {
        "group": "java.example.com",
        "scope": "Namespaced",
        "names": {"kind": "Greeting", "plural": "greetings", "singular": "greeting"},
        "versions": [VERSION],
    },
}
RULES = [
    {"apiGroups": ["apiextensions.k8s.io"], "resources": ["customresourcedefinitions"], "verbs": ["create"]},
    {
        "apiGroups": ["apiextensions.k8s.io"],
        "resources": ["customresourcedefinitions"],
        "verbs": ["get", "patch", "list", "watch"],
        "resourceNames": ["greetings.rust.example.com"],
    },
    {"apiGroups": ["rust.example.com"], "resources": ["greetings"], "verbs": ["list", "watch", "patch"]},
    {"apiGroups": ["rust.example.com"], "resources": ["greetings/status"], "verbs": ["patch"]},
    {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list", "watch", "create", "patch"]},
    {"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create", "patch"]},
]

pytestmark = [pytest.mark.kernel, pytest.mark.clients, pytest.mark.timeout(240)]


class Operator(NamedTuple):
    kind: str
    """Of its resource, as kubectl is asked for it."""
    output: Callable[[], list[str]]


@pytest.fixture(params=COMMANDS)
def operator(cluster, namespace, tmp_path, request):
    """An operator at work in the namespace; it ends with the test."""
    language = request.param
    kubeconfig = cluster.environment["KUBECONFIG"]
    if language == "java":
        cluster.kubectl("apply", "-f", "-", text=json.dumps(DEFINITION))
    else:
        kubeconfig = account(cluster, namespace, tmp_path)
    out = tmp_path / "out.log"
    environment = os.environ | {"KUBECONFIG": kubeconfig}
    with out.open("wb") as file:
        process = subprocess.Popen([*COMMANDS[language], namespace], env=environment, stdout=file, stderr=file)
    try:
        found = Operator(f"greetings.{language}.example.com", lambda: out.read_text().splitlines())
        cluster.until(lambda: {"started", "established"} & set(found.output()), what="the operator at work")
        yield found
    except AssertionError:
        print(out.read_text())
        raise
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
        process.kill()
        process.wait()
        cluster.kubectl("delete", "crd", f"greetings.{language}.example.com", "--ignore-not-found", "--timeout=60s")
        cluster.kubectl("delete", "clusterrole,clusterrolebinding", "test-greeter", "--ignore-not-found")


def account(cluster, namespace: str, directory: Path) -> str:
    """A kubeconfig of a service account with RULES."""
    meta: dict[str, Any] = {"name": "test-greeter"}
    group = "rbac.authorization.k8s.io"
    role = {"apiVersion": f"{group}/v1", "kind": "ClusterRole", "metadata": meta, "rules": RULES}
    subject = {"kind": "ServiceAccount", "name": "greeter", "namespace": namespace}
    reference = {"apiGroup": group, "kind": "ClusterRole", "name": "test-greeter"}
    binding = role | {"kind": "ClusterRoleBinding", "roleRef": reference, "subjects": [subject]}
    del binding["rules"]
    cluster.kubectl("create", "serviceaccount", "greeter", "-n", namespace)
    cluster.kubectl("apply", "-f", "-", text=yaml.safe_dump_all([role, binding]))
    config = yaml.safe_load(Path(cluster.environment["KUBECONFIG"]).read_text())
    token = cluster.kubectl("create", "token", "greeter", "-n", namespace).strip()
    config["users"] = [{"name": config["users"][0]["name"], "user": {"token": token}}]
    path = directory / "greeter.kubeconfig"
    path.touch(mode=0o600)
    path.write_text(yaml.safe_dump(config))
    return str(path)


def test_an_operator_keeps_what_it_made(cluster, namespace, operator):
    group = operator.kind.partition(".")[2]
    manifest = {"apiVersion": f"{group}/v1", "kind": "Greeting", "metadata": {"name": group}, "spec": {"whom": "you"}}

    def said() -> str:
        return cluster.kubectl(
            "get", "configmap", group, "-n", namespace, "--ignore-not-found", "-o", "jsonpath={.data.said}"
        )

    def status(name: str) -> Any:
        return (cluster.get(operator.kind, group, "-n", namespace).get("status") or {}).get(name)

    cluster.kubectl("apply", "-n", namespace, "-f", "-", text=json.dumps(manifest))
    cluster.until(lambda: said() == "Hello you" and status("said") == "Hello you", what="a greeting")
    cluster.kubectl("delete", "configmap", group, "-n", namespace)
    cluster.until(lambda: said() == "Hello you", what="the greeting said again")
    cluster.kubectl(
        "patch", operator.kind, group, "-n", namespace, "--type=merge", "-p", json.dumps({"spec": {"whom": "me"}})
    )
    cluster.until(lambda: said() == "Hello me" and status("said") == "Hello me", what="another greeting")
    cluster.kubectl("delete", operator.kind, group, "-n", namespace, "--timeout=30s")
    cluster.until(lambda: said() == "", what="the greeting collected with its owner")
    output = operator.output()
    assert f"forgotten {group}" in output
    assert [line for line in output if "failed" in line.lower() or "ERROR" in line] == []
