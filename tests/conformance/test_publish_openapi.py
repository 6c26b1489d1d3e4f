"""What kubectl makes of the published schemas of custom kinds, by the names of CustomResourcePublishOpenAPI."""

import json
import re

import pytest

pytestmark = [pytest.mark.kernel, pytest.mark.kubectl, pytest.mark.timeout(600)]

GROUP = "publish.example.com"
BAR = {
    "type": "object",
    "required": ["name"],
    "properties": {
        "name": {"type": "string", "description": "Name of Bar."},
        "feeling": {"type": "string", "enum": ["Great", "Down"]},
        "bazs": {"type": "array", "description": "List of Bazs.", "items": {"type": "string"}},
    },
}
BARS = {"type": "array", "description": "List of Bars and their specs.", "items": BAR}
FOO = {
    "type": "object",
    "description": "Foo CRD for Testing",
    "properties": {"spec": {"type": "object", "description": "Specification of Foo", "properties": {"bars": BARS}}},
}
PRESERVE = {"x-kubernetes-preserve-unknown-fields": True}
DUMMY = {"type": "object", "properties": {"dummy": {"type": "object"}}}
NESTED = {
    "type": "object",
    "description": "preserve-unknown-properties in nested field",
    "properties": {"spec": DUMMY | PRESERVE},
}


@pytest.fixture
def publish(cluster):
    """publish(kind, schema, *versions) makes a definition that is established; all go afterwards."""
    made = []

    def make(kind, schema, *versions):
        plural = f"{kind.lower()}s"
        found = [
            {"name": one, "served": True, "storage": one == versions[0], "schema": {"openAPIV3Schema": schema}}
            for one in versions
        ]
        spec = {"group": GROUP, "scope": "Namespaced", "names": {"plural": plural, "kind": kind}, "versions": found}
        crd = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "spec": spec}
        made.append(f"{plural}.{GROUP}")
        cluster.kubectl("create", "-f", "-", text=json.dumps(crd | {"metadata": {"name": made[-1]}}))
        cluster.kubectl("wait", "--for=condition=Established", f"crd/{made[-1]}", "--timeout=100s")

    try:
        yield make
    finally:
        if made:
            cluster.kubectl("delete", "crd", *made, "--timeout=100s")


def body(kind, **fields):
    return json.dumps({"apiVersion": f"{GROUP}/v1", "kind": kind, "metadata": {"name": "test"}} | fields)


def accepted(cluster, namespace, kind, **fields):
    for command in ("create", "apply"):
        cluster.kubectl(command, "-n", namespace, "-f", "-", text=body(kind, **fields))
        cluster.kubectl("delete", f"{kind.lower()}s", "test", "-n", namespace)


def refused(cluster, namespace, kind, **fields):
    return [
        cluster.refused(command, "-n", namespace, "-f", "-", text=body(kind, **fields))
        for command in ("create", "apply")
    ]


def explained(cluster, path, *argv):
    return cluster.kubectl("explain", path, *argv)


def test_works_for_crd_with_validation_schema(cluster, namespace, publish):
    publish("Foo", FOO, "v1")
    accepted(cluster, namespace, "Foo", spec={"bars": [{"name": "test-bar"}]})
    for told in refused(cluster, namespace, "Foo", spec={"bars": [{"name": "x", "feeling": "NonExistentValue"}]}):
        assert 'Unsupported value: "NonExistentValue"' in told
    for told in refused(cluster, namespace, "Foo", spec={"foo": True}):
        assert 'unknown field "spec.foo"' in told
    for told in refused(cluster, namespace, "Foo", spec={"bars": [{"bazs": ["10"]}]}):
        assert "spec.bars[0].name: Required value" in told
    text = explained(cluster, "foos")
    wanted = r"DESCRIPTION:.*Foo CRD for Testing.*FIELDS:.*apiVersion.*<string>.*APIVersion defines.*spec.*<Object>"
    assert re.search(wanted + ".*Specification of Foo", text, re.DOTALL)
    text = explained(cluster, "foos.metadata")
    wanted = r"DESCRIPTION:.*Standard object's metadata.*FIELDS:.*creationTimestamp.*<string>.*CreationTimestamp is a"
    assert re.search(wanted, text, re.DOTALL)
    text = explained(cluster, "foos.spec.bars")
    wanted = r"List of Bars and their specs.*FIELDS:.*bazs.*<\[\]string>.*List of Bazs.*name.*<string>.*Name of Bar"
    assert re.search(wanted, text, re.DOTALL)
    assert 'field "bars2" does not exist' in cluster.refused("explain", "foos.spec.bars2")
    assert "feeling" in explained(cluster, "foos", "--recursive")


def test_works_for_crd_without_validation_schema(cluster, namespace, publish):
    publish("Empty", {"type": "object"} | PRESERVE, "v1")
    accepted(cluster, namespace, "Empty", a={"b": [{"c": "d"}]})
    assert re.search(r"DESCRIPTION:\s+<empty>", explained(cluster, "emptys"))


def test_works_for_crd_preserving_unknown_fields_at_the_schema_root(cluster, namespace, publish):
    publish("Root", FOO | PRESERVE, "v1")
    accepted(cluster, namespace, "Root", a={"b": [{"c": "d"}]})
    assert re.search(r"KIND:\s+Root", explained(cluster, "roots"))


def test_works_for_crd_preserving_unknown_fields_in_an_embedded_object(cluster, namespace, publish):
    publish("Nested", NESTED, "v1")
    accepted(cluster, namespace, "Nested", spec={"a": None, "b": [{"c": "d"}]})
    assert "preserve-unknown-properties in nested field" in explained(cluster, "nesteds")


def test_versions_and_kinds_are_explained_each_by_its_own_schema(cluster, namespace, publish):
    publish("Foo", FOO, "v1", "v2")
    publish("Other", NESTED, "v1")
    for version in ("v1", "v2"):
        assert "Foo CRD for Testing" in explained(cluster, "foos", f"--api-version={GROUP}/{version}")
    assert "preserve-unknown-properties" in explained(cluster, "others")
    patch = '[{"op": "replace", "path": "/spec/versions/1/name", "value": "v3"}]'
    cluster.kubectl("patch", "crd", f"foos.{GROUP}", "--type=json", "-p", patch)
    assert "Foo CRD for Testing" in explained(cluster, "foos", f"--api-version={GROUP}/v3")
    cluster.refused("explain", "foos", f"--api-version={GROUP}/v2")
    patch = '[{"op": "replace", "path": "/spec/versions/1/served", "value": false}]'
    cluster.kubectl("patch", "crd", f"foos.{GROUP}", "--type=json", "-p", patch)
    cluster.refused("explain", "foos", f"--api-version={GROUP}/v3")
    assert "Foo CRD for Testing" in explained(cluster, "foos", f"--api-version={GROUP}/v1")
