import json

import pytest

from pybernetes.api import openapi
from pybernetes.api.kinds import PLAIN
from pybernetes.api.resources import RESOURCES, Resource
from pybernetes.api.schema import of_openapi
from pybernetes.api.scheme import Entry, Scheme

VERSIONS = sorted({(row.group, row.version) for row in RESOURCES})
SCHEMA = {"type": "object", "properties": {"spec": {"type": "object", "description": "What it is."}}}
WIDGETS = Resource(
    group="example.com",
    plural="widgets",
    kind="Widget",
    singular="widget",
    definition="com.example.v1.Widget",
    custom=True,
)


def loaded(scheme, group, version):
    text = openapi.document(scheme, group, version)
    assert text is not None
    return json.loads(text)


def references(value):
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for inner in value.values():
            yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


@pytest.mark.parametrize(("group", "version"), VERSIONS)
def test_every_document_holds_what_it_refers_to(group, version):
    document = loaded(Scheme.builtin(), group, version)
    known = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert set(references(document)) <= known


def test_the_index_names_every_group_and_version():
    scheme = Scheme.builtin()
    paths = openapi.index(scheme)["paths"]
    assert len(paths) == len(VERSIONS)
    assert paths["apis/apps/v1"]["serverRelativeURL"].startswith("/openapi/v3/apis/apps/v1?hash=")
    assert paths["api/v1"]["serverRelativeURL"].endswith(openapi.hash_of(scheme, "", "v1"))


def test_what_kubectl_looks_for_before_it_applies():
    document = loaded(Scheme.builtin(), "apps", "v1")
    patch = document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"]
    assert patch["x-kubernetes-group-version-kind"] == {"group": "apps", "version": "v1", "kind": "Deployment"}
    assert patch["x-kubernetes-action"] == "patch"
    assert "fieldValidation" in {parameter["name"] for parameter in patch["parameters"]}
    assert "application/apply-patch+yaml" in patch["requestBody"]["content"]


def test_what_kubectl_explains():
    service = loaded(Scheme.builtin(), "", "v1")["components"]["schemas"]["io.k8s.api.core.v1.ServiceSpec"]
    assert service["properties"]["clusterIP"]["description"]
    assert service["properties"]["ports"]["x-kubernetes-patch-merge-key"] == "port"


def test_collections_and_subresources_have_operations():
    paths = loaded(Scheme.builtin(), "", "v1")["paths"]
    pods = "/api/v1/namespaces/{namespace}/pods"
    assert set(paths[pods]) == {"get", "post", "delete", "parameters"}
    assert set(paths["/api/v1/pods"]) == {"get", "parameters"}
    assert set(paths[f"{pods}/{{name}}"]) == {"get", "put", "patch", "delete", "parameters"}
    assert set(paths[f"{pods}/{{name}}/exec"]) == {"get", "post", "parameters"}
    assert paths[f"{pods}/{{name}}/eviction"]["post"]["x-kubernetes-group-version-kind"]["kind"] == "Eviction"
    assert "/api/v1/nodes/{name}" in paths


def test_documents_of_what_is_not_served():
    assert openapi.document(Scheme.builtin(), "example.com", "v1") is None


def test_a_custom_resource_has_a_document_of_its_own():
    scheme = Scheme.builtin()
    scheme.add(Entry(WIDGETS, PLAIN, type=of_openapi(SCHEMA, root=True), openapi=SCHEMA))
    document = loaded(scheme, "example.com", "v1")
    widget = document["components"]["schemas"]["com.example.v1.Widget"]
    assert widget["x-kubernetes-group-version-kind"] == [{"group": "example.com", "version": "v1", "kind": "Widget"}]
    assert widget["properties"]["spec"]["description"] == "What it is."
    known = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert set(references(document)) <= known
    before = openapi.hash_of(scheme, "example.com", "v1")
    scheme.add(Entry(WIDGETS, PLAIN, openapi={"type": "object"}))
    assert openapi.hash_of(scheme, "example.com", "v1") != before


def test_the_release_is_the_newest():
    assert openapi.release().startswith("1.37")


def test_every_operation_has_an_id_of_its_own_as_kubernetes_names_it():
    found, scheme = {}, Scheme.builtin()
    for group, version in VERSIONS:
        for path, item in loaded(scheme, group, version)["paths"].items():
            for method, operation in item.items():
                if method != "parameters":
                    assert operation["operationId"] not in found, (path, method)
                    found[operation["operationId"]] = (path, method, operation["tags"][0])
    pods, roles = "/api/v1/namespaces/{namespace}/pods", "/apis/rbac.authorization.k8s.io/v1/clusterroles"
    for name, place in {
        "listCoreV1PodForAllNamespaces": ("/api/v1/pods", "get", "core_v1"),
        "listCoreV1NamespacedPod": (pods, "get", "core_v1"),
        "readCoreV1NamespacedPod": (pods + "/{name}", "get", "core_v1"),
        "replaceCoreV1NamespacedPodStatus": (pods + "/{name}/status", "put", "core_v1"),
        "deleteCoreV1CollectionNamespacedPod": (pods, "delete", "core_v1"),
        "connectCoreV1PostNamespacedPodExec": (pods + "/{name}/exec", "post", "core_v1"),
        "deleteRbacAuthorizationV1CollectionClusterRole": (roles, "delete", "rbacAuthorization_v1"),
    }.items():
        assert found[name] == place


def test_what_connects_has_the_query_of_its_options_and_no_body():
    paths = loaded(Scheme.builtin(), "", "v1")["paths"]
    pod = "/api/v1/namespaces/{namespace}/pods/{name}"
    execs = paths[f"{pod}/exec"]["post"]
    assert [one["name"] for one in execs["parameters"]] == ["command", "container", "stderr", "stdin", "stdout", "tty"]
    assert "requestBody" not in execs
    assert {"follow", "tailLines", "sinceSeconds"} <= {one["name"] for one in paths[f"{pod}/log"]["get"]["parameters"]}
