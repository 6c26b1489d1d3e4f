"""Discovery, OpenAPI, version, metrics, and answers to what is not there."""

import gzip
from pathlib import Path
from typing import Any

import pytest

from pybernetes.api import openapi_v3_packed
from pybernetes.api.objects import decode
from pybernetes.api.resources import RESOURCES
from pybernetes.apiserver import ApiServer, ApiServerConfig
from pybernetes.store.memory import MemoryStore
from pybernetes.store.sqlite import SqliteStore
from pybernetes.wire import Request
from support.server import api_server

from .conftest import Call, call_of

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v={};as=APIGroupDiscoveryList,application/json"


async def test_legacy_discovery_names_every_resource(call: Call) -> None:
    _, core = await call("GET", "/api")
    assert core["versions"] == ["v1"]
    _, groups = await call("GET", "/apis")
    found = {("", "v1", one["name"]) for one in (await call("GET", "/api/v1"))[1]["resources"]}
    for group in groups["groups"]:
        for version in group["versions"]:
            _, listing = await call("GET", f"/apis/{version['groupVersion']}")
            found |= {(group["name"], version["version"], one["name"]) for one in listing["resources"]}
    assert {(row.group, row.version, row.plural) for row in RESOURCES} <= found
    assert ("apps", "v1", "deployments/scale") in found
    scaler = next(one for one in groups["groups"] if one["name"] == "autoscaling")
    assert scaler["preferredVersion"]["version"] == "v2"
    assert (await call("GET", "/apis/apps"))[1]["kind"] == "APIGroup"


async def test_what_was_never_created_has_no_time_of_it(call: Call) -> None:
    """Since 1.34 the field is left out where it was null."""
    accept = "application/json;v=v2;g=apidiscovery.k8s.io;as=APIGroupDiscoveryList"
    _, found = await call("GET", "/apis", accept=accept)
    assert found["items"][0]["metadata"].keys() == {"name"}
    access = {"spec": {"resourceAttributes": {"verb": "get", "resource": "pods"}}}
    _, found = await call("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", access)
    assert found["metadata"] == {}


async def test_discovery_tells_in_which_version_objects_are_stored(call: Call) -> None:
    """The values are those of kube-apiserver 1.37 (api/discovery in its tree)."""
    for path, plural, wanted in (
        ("/api/v1", "pods", "xPOwRZ+Yhw8="),
        ("/apis/apps/v1", "deployments", "8aSe+NMegvE="),
        ("/apis/autoscaling/v1", "horizontalpodautoscalers", "qwQve8ut294="),
        ("/apis/events.k8s.io/v1", "events", "r2yiGXH7wu8="),
    ):
        _, found = await call("GET", path)
        assert next(one for one in found["resources"] if one["name"] == plural)["storageVersionHash"] == wanted


@pytest.mark.parametrize("version", ["v2", "v2beta1"])
async def test_aggregated_discovery(call: Call, version: str) -> None:
    code, core = await call("GET", "/api", accept=AGGREGATED.format(version))
    headers: dict[str, str] = call.headers  # type: ignore[attr-defined]
    assert (code, core["kind"]) == (200, "APIGroupDiscoveryList")
    assert headers["content-type"] == f"application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList"
    pods = next(one for one in core["items"][0]["versions"][0]["resources"] if one["resource"] == "pods")
    assert pods["scope"] == "Namespaced"
    assert {one["subresource"] for one in pods["subresources"]} >= {"log", "exec", "status"}
    assert (await call("GET", "/api", accept=AGGREGATED.format(version), if_none_match=headers["etag"]))[0] == 304
    _, apis = await call("GET", "/apis", accept=AGGREGATED.format(version))
    assert all(item["metadata"]["name"] for item in apis["items"])


async def test_version(call: Call) -> None:
    _, version = await call("GET", "/version")
    assert (version["major"], version["minor"]) == ("1", "37")
    assert version["gitVersion"].startswith("v1.37.")


async def test_openapi(call: Call, server: ApiServer) -> None:
    _, index = await call("GET", "/openapi/v3")
    url = index["paths"]["apis/apps/v1"]["serverRelativeURL"]
    code, document = await call("GET", url)
    assert (code, document["openapi"]) == (200, "3.0.0")
    assert "immutable" in call.headers["cache-control"]  # type: ignore[attr-defined]
    patch = document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"]
    assert any(one["name"] == "fieldValidation" for one in patch["parameters"])
    assert (await call("GET", "/openapi/v3/apis/apps/v9"))[0] == 404
    request = Request(path="/openapi/v3/api/v1", headers={"accept-encoding": "gzip"})
    response = await server.trusted("a", "system:masters").send(request)
    assert response.headers["content-encoding"] == "gzip"
    assert isinstance(response.body, bytes)
    assert decode(gzip.decompress(response.body))["info"]["title"] == "Kubernetes"


GNOSTIC = "application/com.github.proto-openapi.spec.v3.v1.0+protobuf"


@pytest.mark.parametrize("asked", [GNOSTIC, GNOSTIC.replace("v3.v1.0", "v3@v1.0")])
async def test_openapi_in_protobuf(call: Call, asked: str) -> None:
    url = (await call("GET", "/openapi/v3"))[1]["paths"]["apis/apps/v1"]["serverRelativeURL"]
    _, document = await call("GET", url)
    tag = call.headers["etag"]  # type: ignore[attr-defined]
    for accept in (asked, f"{asked},application/json", f"application/json;q=0.5,{asked}"):
        code, body = await call("GET", url, accept=accept)
        assert (code, body) == (200, openapi_v3_packed.packed(document))
        assert (call.headers["content-type"], call.headers["etag"]) == (GNOSTIC, tag)  # type: ignore[attr-defined]
    assert (await call("GET", url, accept=f"application/json,{asked}"))[1] == document
    assert (await call("GET", "/openapi/v3/apis/apps/v9", accept=asked))[0] == 404


async def test_openapi_in_what_it_cannot_be(call: Call) -> None:
    code, status = await call("GET", "/openapi/v3/api/v1", accept="text/html")
    assert (code, status["reason"]) == (406, "NotAcceptable")


async def test_metrics(call: Call) -> None:
    await call("GET", "/api/v1/pods")
    _, text = await call("GET", "/metrics")
    labels = b'component="apiserver",dry_run="",group="",resource="pods",scope="cluster",subresource="",verb="LIST"'
    assert b'apiserver_request_total{code="200",' + labels + b',version="v1"} 1.0' in text
    assert b'apiserver_current_inflight_requests{request_kind="readOnly"} 1.0' in text  # this one
    assert b"apiserver_request_duration_seconds_bucket" in text
    assert b"apiserver_response_sizes_bucket{" in text
    assert b'git_version="v1.37.' in text


@pytest.mark.parametrize(
    ("method", "path", "content", "label"),
    [
        ("POST", "/api/v1/namespaces/default/configmaps?dryRun=All", "application/json", b'dry_run="All"'),
        ("PATCH", "/api/v1/namespaces/default/configmaps/x", "application/apply-patch+yaml", b'verb="APPLY"'),
        ("GET", "/api/v1/namespaces/default/pods/x/exec", "", b'verb="CONNECT"'),
        ("GET", "/livez", "", b'subresource="/livez"'),
        ("BREW", "/made/up", "", b'verb="OTHER"'),
    ],
)
async def test_labels_are_kubernetes_and_cannot_be_made_up(
    call: Call, method: str, path: str, content: str, label: bytes
) -> None:
    await call(method, path, {"metadata": {"name": "x"}}, content)
    _, text = await call("GET", "/metrics")
    assert any(line.startswith(b"apiserver_request_total{") and label in line for line in text.splitlines())
    assert b"/made/up" not in text


async def test_readiness_ends_before_the_server_does(call: Call, server: ApiServer) -> None:
    assert await call("GET", "/readyz") == (200, b"ok")
    server.drain()
    code, text = await call("GET", "/readyz")
    assert (code, b"[-]shutdown failed: reason withheld" in text) == (500, True)
    assert (await call("GET", "/livez"))[0] == 200
    assert (await call("GET", "/api/v1/pods"))[0] == 200


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", "/nothing", 404),
        ("GET", "/api/v1/nothing", 404),
        ("GET", "/apis/nothing/v1/x", 404),
        ("GET", "/apis/nothing", 404),
        ("GET", "/api/v7", 404),
        ("POST", "/version", 405),
        ("PUT", "/api/v1/namespaces/default/pods", 405),
        ("POST", "/api/v1/pods", 405),
        ("GET", "/api/v1/namespaces/default/pods/x/exec", 404),
    ],
)
async def test_every_refusal_is_a_status(call: Call, method: str, path: str, code: int) -> None:
    got, status = await call(method, path)
    assert got == code
    assert status["kind"] == "Status"
    assert status["status"] == "Failure"


async def test_an_unexpected_error_is_a_500_without_a_traceback(
    server: ApiServer, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: Any) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(server.registry, "get", broken)
    code, status = await call("GET", "/api/v1/namespaces/default/pods/x")
    assert code == 500
    assert "secret" not in str(status)


async def test_a_request_has_an_id(call: Call) -> None:
    await call("GET", "/version", audit_id="abc")
    assert call.headers["audit-id"] == "abc"  # type: ignore[attr-defined]
    await call("GET", "/nothing")
    assert len(call.headers["audit-id"]) == 36  # type: ignore[attr-defined]


async def test_what_is_there_from_the_start(call: Call) -> None:
    _, namespaces = await call("GET", "/api/v1/namespaces")
    names = [one["metadata"]["name"] for one in namespaces["items"]]
    assert names == ["default", "kube-node-lease", "kube-public", "kube-system"]
    _, service = await call("GET", "/api/v1/namespaces/default/services/kubernetes")
    assert service["spec"]["clusterIP"] == "10.96.0.1"
    _, classes = await call("GET", "/apis/scheduling.k8s.io/v1/priorityclasses")
    assert len(classes["items"]) == 2
    code, _ = await call("GET", "/apis/rbac.authorization.k8s.io/v1/clusterroles/cluster-admin")
    assert code == 200


async def test_the_server_is_found_at_its_address_also_when_that_changes() -> None:
    store = MemoryStore()
    for address in ("10.0.0.1", "10.0.0.2"):
        config = ApiServerConfig(advertise_address=address, advertise_port=7443)
        async with api_server(store, config) as server:
            admin = call_of(server)
            _, endpoints = await admin("GET", "/api/v1/namespaces/default/endpoints/kubernetes")
            assert endpoints["subsets"][0]["addresses"] == [{"ip": address}]
            _, piece = await admin("GET", "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes")
            assert piece["endpoints"][0]["addresses"] == [address]
            assert piece["ports"][0]["port"] == 7443
            _, service = await admin("GET", "/api/v1/namespaces/default/services/kubernetes")
            assert service["spec"]["ports"][0]["targetPort"] == 7443
    await store.close()


async def test_what_was_acknowledged_is_there_after_a_restart(tmp_path: Path) -> None:
    made = {}
    for turn in range(3):
        store = await SqliteStore.open(str(tmp_path / "state.db"))
        async with api_server(store) as server:
            admin = call_of(server)
            for name, before in made.items():
                assert (await admin("GET", f"/api/v1/namespaces/default/services/{name}"))[1] == before
            body = {"metadata": {"name": f"s{turn}"}, "spec": {"type": "NodePort", "ports": [{"port": 80}]}}
            code, made[f"s{turn}"] = await admin("POST", "/api/v1/namespaces/default/services", body)
            assert code == 201
            port = made["s0"]["spec"]["ports"][0]["nodePort"]
            taken = {"metadata": {"name": "x"}, "spec": {"type": "NodePort", "ports": [{"port": 80, "nodePort": port}]}}
            assert (await admin("POST", "/api/v1/namespaces/default/services", taken))[0] == 422
        await store.close()


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "POST", "PUT"])
async def test_methods_that_a_path_does_not_have(call: Call, method: str) -> None:
    for path in ("/", "/api", "/apis/apps/v1", "/version", "/metrics", "/openapi/v3"):
        assert (await call(method, path))[0] == 405
    assert (await call(method, "/nothing"))[0] == 404
    assert (await call(method, "/livez"))[0] == 200  # as in Kubernetes
    code, status = await call("OPTIONS", "/api/v1/pods")
    assert (code, status["reason"]) == (405, "MethodNotAllowed")
    assert status["message"] == "the server does not allow this method on the requested resource"
    assert (await call("HEAD", "/api/v1/pods"))[0] == 405


@pytest.mark.parametrize("path", ["/api", "/apis", "/apis/apps/v1", "/openapi/v3", "/openapi/v3/api/v1", "/openapi/v2"])
async def test_what_a_client_has_it_is_not_sent_again(call: Call, path: str) -> None:
    assert (await call("GET", path))[0] == 200
    tag = call.headers["etag"]  # type: ignore[attr-defined]
    assert tag.startswith('"')
    for known in (tag, f'"x", {tag}', f"W/{tag}", "*"):
        code, body = await call("GET", path, if_none_match=known)
        assert (code, body) == (304, b"")
        assert call.headers["etag"] == tag  # type: ignore[attr-defined]
    assert (await call("GET", path, if_none_match='"x"'))[0] == 200


async def test_a_document_of_another_time_is_where_todays_is(call: Call) -> None:
    code, _ = await call("GET", "/openapi/v3/apis/apps/v1?hash=ABC")
    assert code == 301
    location = call.headers["location"]  # type: ignore[attr-defined]
    assert location.startswith("/openapi/v3/apis/apps/v1?hash=")
    code, document = await call("GET", location)
    assert (code, document["info"]["title"]) == (200, "Kubernetes")


async def test_nobody_keeps_what_is_not_said_to_be_for_keeping(call: Call) -> None:
    for path in ("/version", "/api/v1/pods", "/api/v1/nothings", "/metrics", "/livez"):
        await call("GET", path)
        headers: dict[str, str] = call.headers  # type: ignore[attr-defined]
        assert headers["cache-control"] == "no-cache, private"
        assert headers["audit-id"]
    await call("GET", "/api")
    assert call.headers["cache-control"] == "public"  # type: ignore[attr-defined]


async def test_every_path_of_the_root_is_there(call: Call) -> None:
    _, root = await call("GET", "/")
    assert {"/api", "/apis/apps/v1", "/livez/ping", "/readyz/bootstrap", "/metrics/slis", "/version"} <= {
        *root["paths"]
    }
    for path in root["paths"]:
        assert (await call("GET", path))[0] == 200, path
    for path in ("/logs", "/logs/", "/debug/pprof", "/configz", "/swagger.json"):
        assert (await call("GET", path))[0] == 404
    assert b"kubernetes_healthcheck{" in (await call("GET", "/metrics/slis"))[1]
    assert (await call("GET", "/readyz/?verbose&exclude=etcd"))[1].endswith(b"readyz check passed\n")
