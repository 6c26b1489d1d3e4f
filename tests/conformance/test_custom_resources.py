"""Custom resources with the real kubectl and with an operator made with kopf."""

import subprocess
import sys

import pytest

pytestmark = [pytest.mark.kernel, pytest.mark.kubectl, pytest.mark.timeout(600)]

CRD = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: databases.shop.example.com}
spec:
  group: shop.example.com
  scope: Namespaced
  names: {plural: databases, kind: Database, shortNames: [db], categories: [all]}
  versions:
  - name: v1
    served: true
    storage: true
    subresources:
      status: {}
      scale: {specReplicasPath: .spec.replicas, statusReplicasPath: .status.replicas}
    additionalPrinterColumns:
    - {name: Engine, type: string, jsonPath: .spec.engine}
    - {name: Phase, type: string, jsonPath: .status.phase}
    schema:
      openAPIV3Schema:
        type: object
        required: [spec]
        properties:
          spec:
            type: object
            description: What is wanted.
            required: [engine]
            properties:
              engine: {type: string, enum: [lite, full], description: Which engine it runs.}
              replicas: {type: integer, default: 1, minimum: 0}
            x-kubernetes-validations:
            - {rule: "self.engine != 'lite' || self.replicas <= 1", message: a lite engine has one replica}
          status:
            type: object
            x-kubernetes-preserve-unknown-fields: true
            properties: {phase: {type: string}, replicas: {type: integer}}
"""
DATABASE = """
apiVersion: shop.example.com/v1
kind: Database
metadata: {name: main}
spec: {engine: full}
"""
OPERATOR = """
import kopf

@kopf.on.create("shop.example.com", "v1", "databases")
@kopf.on.update("shop.example.com", "v1", "databases", field="spec")
def seen(spec, patch, **_):
    patch.status["phase"] = "Ready"
    patch.status["replicas"] = spec["replicas"]

@kopf.on.delete("shop.example.com", "v1", "databases")
def gone(name, logger, **_):
    logger.info("gone name=%s", name)
"""


@pytest.fixture(scope="module")
def databases(cluster):
    """The definition, established."""
    cluster.kubectl("apply", "-f", "-", text=CRD)
    cluster.kubectl("wait", "--for=condition=Established", "crd/databases.shop.example.com", "--timeout=100s")
    try:
        yield
    finally:
        cluster.kubectl("delete", "crd", "databases.shop.example.com", "--ignore-not-found", "--timeout=100s")


def test_kubectl_makes_shows_scales_explains_and_deletes(cluster, namespace, databases):
    assert "database.shop.example.com/main created" in cluster.kubectl(
        "apply", "-n", namespace, "-f", "-", text=DATABASE
    )
    assert "unchanged" in cluster.kubectl("apply", "-n", namespace, "-f", "-", text=DATABASE)
    head, row = cluster.kubectl("get", "db", "-n", namespace).splitlines()
    assert (head.split(), row.split()) == (["NAME", "ENGINE", "PHASE"], ["main", "full"])
    assert "database.shop.example.com/main" in cluster.kubectl("get", "all", "-n", namespace)
    assert cluster.get("db/main", "-n", namespace)["spec"] == {"engine": "full", "replicas": 1}
    assert "scaled" in cluster.kubectl("scale", "db/main", "--replicas=3", "-n", namespace)
    assert cluster.get("db/main", "-n", namespace)["spec"]["replicas"] == 3
    explained = cluster.kubectl("explain", "database.spec.engine")
    assert "Which engine it runs." in explained
    assert explained.split("ENUM:")[1].split()[:2] == ["lite", "full"]
    assert "databases" in cluster.kubectl("api-resources", "--api-group=shop.example.com", "-o", "name")
    described = cluster.kubectl("describe", "db", "main", "-n", namespace)
    assert "Engine:    full" in described
    assert 'database.shop.example.com "main" deleted' in cluster.kubectl("delete", "db", "main", "-n", namespace)


def test_kubectl_is_told_all_that_is_wrong(cluster, namespace, databases):
    told = cluster.refused("apply", "-n", namespace, "-f", "-", text=DATABASE.replace("full", "lite, replicas: 2"))
    assert "a lite engine has one replica" in told
    told = cluster.refused("apply", "-n", namespace, "-f", "-", text=DATABASE.replace("full", "none, replicas: -1"))
    assert 'spec.engine: Unsupported value: "none": supported values: "lite", "full"' in told
    assert "spec.replicas in body should be greater than or equal to 0" in told
    told = cluster.refused("apply", "-n", namespace, "-f", "-", text=DATABASE.replace("full", "full, color: red"))
    assert 'strict decoding error: unknown field "spec.color"' in told


def test_server_side_apply(cluster, namespace, databases):
    argv = ("apply", "--server-side", "-n", namespace, "-f", "-")
    cluster.kubectl(*argv, text=DATABASE)
    told = cluster.refused(*argv, "--field-manager=other", text=DATABASE.replace("full", "lite"))
    assert "conflict with" in told
    assert ".spec.engine" in told
    cluster.kubectl(*argv, "--field-manager=other", "--force-conflicts", text=DATABASE.replace("full", "lite"))
    cluster.kubectl("delete", "db", "main", "-n", namespace)


def test_kopf_runs_an_operator_of_a_custom_kind(cluster, namespace, databases, tmp_path):
    operator = tmp_path / "operator.py"
    operator.write_text(OPERATOR)
    log = tmp_path / "kopf.log"
    command = [sys.executable, "-m", "kopf", "run", "--standalone", "-n", namespace, str(operator)]
    with log.open("wb") as out:
        process = subprocess.Popen(command, env=cluster.environment, stdout=out, stderr=subprocess.STDOUT)
    try:
        cluster.kubectl("apply", "-n", namespace, "-f", "-", text=DATABASE)
        cluster.kubectl("wait", "--for=jsonpath={.status.phase}=Ready", "db/main", "-n", namespace, "--timeout=100s")
        cluster.kubectl("scale", "db/main", "--replicas=2", "-n", namespace)
        cluster.kubectl("wait", "--for=jsonpath={.status.replicas}=2", "db/main", "-n", namespace, "--timeout=100s")
        cluster.kubectl("delete", "db", "main", "-n", namespace, "--timeout=100s")
        assert "gone name=main" in log.read_text()
    except AssertionError as error:
        raise AssertionError(f"{error}\n{log.read_text()[-3000:]}") from error
    finally:
        process.terminate()
        process.wait(timeout=60)


def test_deleting_the_definition_deletes_the_objects(cluster, namespace):
    crd = CRD.replace("databases", "caches").replace("Database", "Cache").replace("[db]", "[cc]")
    cluster.kubectl("apply", "-f", "-", text=crd)
    cluster.kubectl("wait", "--for=condition=Established", "crd/caches.shop.example.com", "--timeout=100s")
    cluster.kubectl("apply", "-n", namespace, "-f", "-", text=DATABASE.replace("Database", "Cache"))
    cluster.kubectl("delete", "crd", "caches.shop.example.com", "--timeout=100s")
    told = cluster.refused("get", "caches", "-n", namespace)
    assert "the server could not find the requested resource" in told  # kubectl knows the kind from its own cache
    assert "caches" not in cluster.kubectl("get", "crd", "-o", "name")
