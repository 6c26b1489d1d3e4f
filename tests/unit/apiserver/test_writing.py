"""Create, update, patch, delete, as a client sees them."""

import asyncio
from typing import Any

import pytest

from pybernetes.api.objects import Obj

from .conftest import Call

MAPS = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
SERVICES = "/api/v1/namespaces/default/services"
MERGE, STRATEGIC, JSON_PATCH = (
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/json-patch+json",
)
APPLY = "application/apply-patch+yaml"


def config(name: str = "a", **data: str) -> dict[str, Any]:
    return {"metadata": {"name": name}, "data": data}


def deployment(name: str = "web", replicas: int = 1) -> dict[str, Any]:
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    return {
        "metadata": {"name": name},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template},
    }


def pod(name: str = "p", **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "i"}], **spec}}


async def test_create_and_get(call: Call) -> None:
    code, made = await call("POST", MAPS, config(x="1"))
    assert code == 201
    assert (made["apiVersion"], made["kind"]) == ("v1", "ConfigMap")
    meta = made["metadata"]
    assert meta["namespace"] == "default"
    assert meta["uid"]
    assert meta["creationTimestamp"].endswith("Z")
    assert int(meta["resourceVersion"]) > 1
    assert await call("GET", f"{MAPS}/a") == (200, made)
    code, status = await call("POST", MAPS, config())
    assert (code, status["reason"]) == (409, "AlreadyExists")
    assert status["message"] == 'configmaps "a" already exists'


async def test_missing(call: Call) -> None:
    code, status = await call("GET", f"{MAPS}/b")
    assert code == 404
    assert status["message"] == 'configmaps "b" not found'
    assert status["details"] == {"name": "b", "kind": "configmaps"}
    code, status = await call("POST", "/api/v1/namespaces/nowhere/configmaps", config())
    assert (code, status["message"]) == (404, 'namespaces "nowhere" not found')


async def test_generated_names(call: Call) -> None:
    made = {(await call("POST", MAPS, {"metadata": {"generateName": "x-"}}))[1]["metadata"]["name"] for _ in range(20)}
    assert len(made) == 20
    assert all(name.startswith("x-") and len(name) == 7 for name in made)
    code, status = await call("POST", MAPS, {"metadata": {}})
    assert code == 422
    assert "name or generateName is required" in status["message"]


@pytest.mark.parametrize(
    ("body", "content", "code"),
    [
        (b"{", "application/json", 400),
        (b"[]", "application/json", 400),
        (b"\xff", "application/json", 400),
        (b'{"data": {"a": 1}}', "application/json", 400),
        (b'{"kind": "Pod"}', "application/json", 400),
        (b'{"apiVersion": "v2"}', "application/json", 400),
        (b"a: [", "application/yaml", 400),
        (b"a: &a [*a]", "application/yaml", 400),
        (b"k8s\0garbage", "application/vnd.kubernetes.protobuf", 400),
        (b"", "application/vnd.kubernetes.protobuf", 400),
        (b"<a/>", "application/xml", 415),
        (b'{"metadata": {"name": "a", "namespace": "other"}}', "application/json", 400),
        (b'{"metadata": {"name": "a", "resourceVersion": "3"}}', "application/json", 400),
        (b'{"metadata": {"name": "A_"}}', "application/json", 422),
        (b"[" * 100_000, "application/json", 400),
        (b'{"a":' * 20_000, "application/yaml", 400),
        (b"a: " + b"[" * 20_000 + b"]" * 20_000, "application/yaml", 400),
        (b"- " * 20_000, "application/yaml", 400),
    ],
)
async def test_bad_bodies(call: Call, body: bytes, content: str, code: int) -> None:
    got, status = await call("POST", MAPS, body, content)
    assert got == code, status
    assert status["kind"] == "Status"
    assert status["code"] == code


async def test_yaml_body(call: Call) -> None:
    code, made = await call(
        "POST", MAPS, b"metadata: {name: a}\ndata: {when: '2001-01-01', x: 'y'}\n", "application/yaml"
    )
    assert code == 201
    assert made["data"] == {"when": "2001-01-01", "x": "y"}
    code, text = await call("GET", f"{MAPS}/a", accept="application/yaml")
    assert code == 200
    assert b"kind: ConfigMap" in text


async def test_field_validation(call: Call) -> None:
    body = b'{"metadata": {"name": "a"}, "datax": {}, "data": {"a": "1", "a": "2"}}'
    code, status = await call("POST", f"{MAPS}?fieldValidation=Strict", body)
    assert code == 400
    assert 'unknown field "datax"' in status["message"]
    assert 'duplicate field "data.a"' in status["message"]
    code, _ = await call("POST", f"{MAPS}?fieldValidation=Ignore", body)
    assert code == 201
    assert "warning" not in call.headers  # type: ignore[attr-defined]
    await call("DELETE", f"{MAPS}/a")
    code, _ = await call("POST", MAPS, body)
    assert code == 201
    assert '299 - "unknown field \\"datax\\""' in call.headers["warning"]  # type: ignore[attr-defined]


async def test_update_needs_the_current_revision(call: Call) -> None:
    _, made = await call("POST", MAPS, config(x="1"))
    code, second = await call("PUT", f"{MAPS}/a", made | {"data": {"x": "2"}})
    assert (code, second["data"]) == (200, {"x": "2"})
    code, status = await call("PUT", f"{MAPS}/a", made | {"data": {"x": "3"}})
    assert (code, status["reason"]) == (409, "Conflict")
    code, third = await call("PUT", f"{MAPS}/a", {"data": {"x": "3"}})  # name, namespace and kind are the URL's
    assert (code, third["metadata"]["uid"]) == (200, made["metadata"]["uid"])
    assert (await call("PUT", f"{MAPS}/a", config("b")))[0] == 400
    assert (await call("PUT", f"{MAPS}/a", {"metadata": {"uid": "other"}}))[0] == 409


async def test_a_write_that_changes_nothing_has_no_revision(call: Call) -> None:
    _, made = await call("POST", MAPS, config(x="1"))
    for method, body, content in (
        ("PUT", {"data": {"x": "1"}}, "application/json"),
        ("PATCH", {"data": {"x": "1"}}, MERGE),
        ("PATCH", [], JSON_PATCH),
    ):
        assert await call(method, f"{MAPS}/a", body, content) == (200, made)


async def test_patches(call: Call) -> None:
    await call("POST", DEPLOYMENTS, deployment())
    code, found = await call("PATCH", f"{DEPLOYMENTS}/web", {"spec": {"replicas": 3}}, MERGE)
    assert (code, found["spec"]["replicas"], found["metadata"]["generation"]) == (200, 3, 2)
    added = {"spec": {"template": {"spec": {"containers": [{"name": "d", "image": "j"}]}}}}
    _, found = await call("PATCH", f"{DEPLOYMENTS}/web", added, STRATEGIC)
    assert sorted(one["name"] for one in found["spec"]["template"]["spec"]["containers"]) == ["c", "d"]
    operations = [
        {"op": "test", "path": "/spec/replicas", "value": 3},
        {"op": "replace", "path": "/spec/replicas", "value": 0},
    ]
    _, found = await call("PATCH", f"{DEPLOYMENTS}/web", operations, JSON_PATCH)
    assert found["spec"]["replicas"] == 0
    assert (await call("PATCH", f"{DEPLOYMENTS}/web", operations, JSON_PATCH))[0] == 422
    assert (await call("PATCH", f"{DEPLOYMENTS}/web", {}, "application/json"))[0] == 415
    assert (await call("PATCH", f"{DEPLOYMENTS}/web", b"{", MERGE))[0] == 400
    assert (await call("PATCH", f"{DEPLOYMENTS}/web", {"spec": {"replicas": "x"}}, MERGE))[0] == 400
    stale = {"metadata": {"resourceVersion": "1"}, "spec": {"replicas": 1}}
    assert (await call("PATCH", f"{DEPLOYMENTS}/web", stale, MERGE))[0] == 409


async def test_patches_at_once_all_land(call: Call) -> None:
    await call("POST", MAPS, config())
    found = await asyncio.gather(*(call("PATCH", f"{MAPS}/a", {"data": {f"k{n}": "v"}}, MERGE) for n in range(10)))
    assert {code for code, _ in found} == {200}
    _, last = await call("GET", f"{MAPS}/a")
    assert len(last["data"]) == 10


async def test_server_side_apply(call: Call) -> None:
    body = {"apiVersion": "v1", "kind": "ConfigMap"} | config(x="1", y="1")
    code, made = await call("PATCH", f"{MAPS}/a?fieldManager=one", body, APPLY)
    assert code == 201
    assert made["metadata"]["managedFields"][0]["manager"] == "one"
    assert (await call("PATCH", f"{MAPS}/a?fieldManager=one", body, APPLY)) == (200, made)
    other = {"apiVersion": "v1", "kind": "ConfigMap"} | config(x="2")
    code, status = await call("PATCH", f"{MAPS}/a?fieldManager=two", other, APPLY)
    assert code == 409
    assert status["details"]["causes"][0]["field"] == ".data.x"
    code, found = await call("PATCH", f"{MAPS}/a?fieldManager=two&force=true", other, APPLY)
    assert (code, found["data"]) == (200, {"x": "2", "y": "1"})
    assert (await call("PATCH", f"{MAPS}/a", other, APPLY))[0] in (400, 422)


async def test_dry_run(call: Call) -> None:
    code, made = await call("POST", f"{MAPS}?dryRun=All", config())
    assert code == 201
    assert "resourceVersion" not in made["metadata"]
    assert (await call("GET", f"{MAPS}/a"))[0] == 404
    _, made = await call("POST", MAPS, config())
    code, found = await call("PATCH", f"{MAPS}/a?dryRun=All", {"data": {"x": "1"}}, MERGE)
    assert (code, found["data"]) == (200, {"x": "1"})
    assert (await call("DELETE", f"{MAPS}/a?dryRun=All"))[0] == 200
    assert await call("GET", f"{MAPS}/a") == (200, made)
    assert (await call("POST", f"{MAPS}?dryRun=Some", config("b")))[0] == 422


async def test_a_resource_version_is_refused_when_something_is_made_and_not_by_a_dry_run(call: Call) -> None:
    again = config() | {"metadata": {"name": "a", "resourceVersion": "7"}}
    assert (await call("POST", MAPS, again))[0] == 400
    assert (await call("POST", f"{MAPS}?dryRun=All", again))[0] == 201
    assert (await call("GET", f"{MAPS}/a"))[0] == 404


@pytest.mark.parametrize(
    ("version", "counts"), [("v1", ["currentReplicas", "desiredReplicas"]), ("v2", ["desiredReplicas"])]
)
async def test_a_scaler_tells_its_counts_from_the_first(call: Call, version: str, counts: list[str]) -> None:
    scalers = f"/apis/autoscaling/{version}/namespaces/default/horizontalpodautoscalers"
    reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    spec = {"maxReplicas": 3, "scaleTargetRef": reference}
    _, made = await call("POST", scalers, {"metadata": {"name": "web"}, "spec": spec})
    assert made["status"] == dict.fromkeys(counts, 0)
    body = {"status": {"currentReplicas": None, "desiredReplicas": None}}
    _, found = await call("PATCH", f"{scalers}/web/status", body, MERGE)
    assert found["status"] == dict.fromkeys(counts, 0)


@pytest.mark.parametrize(
    ("method", "query", "said"),
    [
        ("POST", "dryRun=Some", 'CreateOptions.meta.k8s.io "" is invalid: dryRun: Unsupported value: ["Some"]: '),
        (
            "PUT",
            "fieldValidation=No",
            'UpdateOptions.meta.k8s.io "" is invalid: fieldValidation: Unsupported value: "No"',
        ),
        ("PATCH", "force=true", "force: Forbidden: may not be specified for non-apply patch"),
        ("PATCH", f"fieldManager={'m' * 129}", "fieldManager: Too long: may not be more than 128 bytes"),
        ("POST", "fieldManager=a\tb", 'fieldManager: Invalid value: "a\\tb": should only contain printable characters'),
    ],
)
async def test_options_of_writes_are_checked(call: Call, method: str, query: str, said: str) -> None:
    await call("POST", MAPS, config())
    content = MERGE if method == "PATCH" else "application/json"
    target = MAPS if method == "POST" else f"{MAPS}/a"
    code, status = await call(method, f"{target}?{query}", config("b" if method == "POST" else "a"), content)
    assert (code, status["reason"], status["details"]["group"]) == (422, "Invalid", "meta.k8s.io")
    assert said in status["message"]
    assert (await call("GET", f"{MAPS}/b"))[0] == 404


async def test_an_apply_for_a_uid_that_is_not_there_makes_nothing(call: Call) -> None:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "z", "uid": "1-2"}}
    code, status = await call("PATCH", f"{MAPS}/z?fieldManager=m", body, "application/apply-patch+yaml")
    assert (code, status["reason"]) == (409, "Conflict")
    assert "uid mismatch: the provided object specified uid 1-2, and no existing object was found" in status["message"]
    assert (await call("GET", f"{MAPS}/z"))[0] == 404


async def test_names_that_run_out(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pybernetes.api.names.generated", lambda base, rng: f"{base}x")
    body = {"metadata": {"generateName": "g-"}}
    assert (await call("POST", MAPS, body))[0] == 201
    code, status = await call("POST", MAPS, body)
    assert (code, status["reason"], status["details"]["retryAfterSeconds"]) == (409, "AlreadyExists", 1)
    assert status["message"].endswith("the server was not able to generate a unique name for the object")


async def test_status_is_written_through_its_part_only(call: Call) -> None:
    _, made = await call("POST", DEPLOYMENTS, deployment() | {"status": {"replicas": 9}})
    assert not made["status"]
    code, found = await call("PATCH", f"{DEPLOYMENTS}/web", {"status": {"replicas": 9}}, MERGE)
    assert not found["status"]
    body = {"status": {"replicas": 1}, "spec": {"replicas": 7}}
    code, found = await call("PATCH", f"{DEPLOYMENTS}/web/status", body, MERGE)
    assert code == 200
    assert (found["status"]["replicas"], found["spec"]["replicas"], found["metadata"]["generation"]) == (1, 1, 1)
    code, found = await call("PUT", f"{DEPLOYMENTS}/web/status", found | {"status": {"replicas": 2}})
    assert (code, found["status"]["replicas"]) == (200, 2)
    assert (await call("GET", f"{DEPLOYMENTS}/web/status"))[1]["status"]["replicas"] == 2


async def test_scale(call: Call) -> None:
    await call("POST", DEPLOYMENTS, deployment(replicas=2))
    code, scale = await call("GET", f"{DEPLOYMENTS}/web/scale")
    assert (code, scale["kind"], scale["spec"]["replicas"]) == (200, "Scale", 2)
    assert scale["status"]["selector"] == "app=web"
    code, scale = await call("PATCH", f"{DEPLOYMENTS}/web/scale", {"spec": {"replicas": 4}}, MERGE)
    assert (code, scale["spec"]["replicas"]) == (200, 4)
    code, scale = await call("PUT", f"{DEPLOYMENTS}/web/scale", scale | {"spec": {"replicas": 5}})
    assert code == 200
    _, found = await call("GET", f"{DEPLOYMENTS}/web")
    assert (found["spec"]["replicas"], found["metadata"]["generation"]) == (5, 3)
    assert (await call("PATCH", f"{DEPLOYMENTS}/web/scale", {"spec": {"replicas": -1}}, MERGE))[0] == 422


async def test_a_scale_is_shown_as_it_is_asked_for(call: Call) -> None:
    await call("POST", DEPLOYMENTS, deployment(replicas=2))
    path, form = f"{DEPLOYMENTS}/web/scale", "application/json;as={};v=v1;g=meta.k8s.io"
    code, table = await call("GET", path, accept=form.format("Table"))
    assert (code, [one["name"] for one in table["columnDefinitions"]]) == (200, ["Name", "Desired", "Available", "Age"])
    assert table["rows"][0]["cells"][:3] == ["web", 2, 0]
    assert table["rows"][0]["object"]["kind"] == "PartialObjectMetadata"
    _, table = await call("GET", f"{path}?includeObject=Object", accept=form.format("Table"))
    assert table["rows"][0]["object"]["kind"] == "Scale"
    _, partial = await call("GET", path, accept=form.format("PartialObjectMetadata"))
    assert (partial["kind"], partial["metadata"]["name"], "spec" in partial) == ("PartialObjectMetadata", "web", False)
    _, text = await call("GET", path, accept="application/yaml")
    assert b"kind: Scale" in text
    protobuf = "application/vnd.kubernetes.protobuf"
    for accept in (protobuf, f"{protobuf};as=PartialObjectMetadata;v=v1;g=meta.k8s.io"):
        code, packed = await call("GET", path, accept=accept)
        assert (code, packed[:4]) == (200, b"k8s\0")


async def test_a_scale_is_applied(call: Call) -> None:
    """The manager owns the one field that a scale writes, in the words of the workload (KEP-2896)."""
    await call("POST", DEPLOYMENTS, deployment(replicas=2))
    target = f"{DEPLOYMENTS}/web/scale?fieldManager=scaler"
    scale = {"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "web"}, "spec": {"replicas": 3}}
    code, status = await call("PATCH", target, scale, APPLY)
    assert (code, status["details"]["causes"][0]["field"]) == (409, ".spec.replicas")
    code, found = await call("PATCH", f"{target}&force=true", scale, APPLY)
    assert (code, found["kind"], found["spec"]) == (200, "Scale", {"replicas": 3})
    _, found = await call("GET", f"{DEPLOYMENTS}/web")
    assert found["spec"]["replicas"] == 3
    entry = next(one for one in found["metadata"]["managedFields"] if one["manager"] == "scaler")
    assert (entry["operation"], entry["apiVersion"], entry["subresource"]) == ("Apply", "apps/v1", "scale")
    assert entry["fieldsV1"] == {"f:spec": {"f:replicas": {}}}
    before = found["metadata"]["resourceVersion"]
    assert (await call("PATCH", target, scale, APPLY))[0] == 200
    assert (await call("GET", f"{DEPLOYMENTS}/web"))[1]["metadata"]["resourceVersion"] == before
    for wrong, text in (
        ({"metadata": {"name": "other"}}, "does not match the name on the URL"),
        ({"apiVersion": "apps/v1"}, "does not match the expected API version"),
        ({"spec": {"replicas": -1}}, "must be greater than or equal to 0"),
        ({"spec": {"replicas": 3, "more": 1}}, "more"),
    ):
        code, status = await call("PATCH", f"{target}&force=true&fieldValidation=Strict", scale | wrong, APPLY)
        assert (code in (400, 422), text in status["message"]) == (True, True), status
    assert (await call("PATCH", f"{DEPLOYMENTS}/none/scale?fieldManager=s", scale, APPLY))[0] in (400, 404)


async def test_what_is_wrong_is_said_before_that_it_is_there(call: Call) -> None:
    await call("POST", MAPS, config())
    code, status = await call("POST", MAPS, {"metadata": {"name": "a"}, "data": {"a b": ""}})
    assert (code, status["reason"]) == (422, "Invalid")
    assert (await call("POST", f"{MAPS}?dryRun=All", config()))[0] == 409
    assert (await call("POST", MAPS, config()))[0] == 409


@pytest.mark.parametrize(("part", "kind"), [("eviction", "Eviction"), ("binding", "Binding")])
async def test_a_pods_part_names_the_pod(call: Call, part: str, kind: str) -> None:
    await call("POST", PODS, pod())
    body = {"metadata": {"name": "other"}} | ({"target": {"name": "n"}} if part == "binding" else {})
    code, status = await call("POST", f"{PODS}/p/{part}", body)
    assert (code, status["message"]) == (400, f"name in URL does not match name in {kind} object")
    assert not (await call("GET", f"{PODS}/p"))[1]["spec"].get("nodeName")


async def test_delete_with_preconditions_and_finalizers(call: Call) -> None:
    body = config()
    body["metadata"]["finalizers"] = ["example.com/hold"]
    _, made = await call("POST", MAPS, body)
    assert (await call("DELETE", f"{MAPS}/a", {"preconditions": {"uid": "x"}}))[0] == 409
    code, found = await call("DELETE", f"{MAPS}/a")
    assert code == 200
    assert found["metadata"]["deletionTimestamp"]
    code, _ = await call("PATCH", f"{MAPS}/a", {"metadata": {"finalizers": ["example.com/more"]}}, MERGE)
    assert code == 422
    code, _ = await call("PATCH", f"{MAPS}/a", {"metadata": {"finalizers": None}}, MERGE)
    assert code == 200
    assert (await call("GET", f"{MAPS}/a"))[0] == 404
    assert made["metadata"]["uid"]


async def test_delete_answers_with_the_uid(call: Call) -> None:
    _, made = await call("POST", MAPS, config())
    code, status = await call("DELETE", f"{MAPS}/a", {"propagationPolicy": "Background"})
    assert (code, status["status"]) == (200, "Success")
    assert status["details"] == {"name": "a", "kind": "configmaps", "uid": made["metadata"]["uid"]}


async def test_pods_go_when_their_kubelet_says_so(call: Call) -> None:
    await call("POST", PODS, pod())
    code, _ = await call(
        "POST", f"{PODS}/p/binding", {"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n"}}
    )
    assert code == 201
    code, status = await call(
        "POST", f"{PODS}/p/binding", {"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "m"}}
    )
    assert (code, status["message"]) == (
        409,
        'Operation cannot be fulfilled on pods/binding "p": pod p is already assigned to node "n"',
    )
    _, found = await call("GET", f"{PODS}/p")
    assert found["spec"]["nodeName"] == "n"
    assert found["status"]["conditions"][0]["type"] == "PodScheduled"
    code, found = await call("DELETE", f"{PODS}/p")
    assert (code, found["metadata"]["deletionGracePeriodSeconds"]) == (200, 30)
    assert (await call("GET", f"{PODS}/p"))[0] == 200
    code, _ = await call(
        "DELETE", f"{PODS}/p", {"gracePeriodSeconds": 0, "preconditions": {"uid": found["metadata"]["uid"]}}
    )
    assert code == 200
    assert (await call("GET", f"{PODS}/p"))[0] == 404


async def test_eviction(call: Call) -> None:
    await call("POST", PODS, pod())
    code, _ = await call("POST", f"{PODS}/p/eviction", {"metadata": {"name": "p"}})
    assert code == 201
    assert (await call("GET", f"{PODS}/p"))[0] == 404


async def test_delete_collection(call: Call) -> None:
    for name in ("a", "b", "c"):
        body = config(name)
        body["metadata"]["labels"] = {"keep": str(name == "c").lower()}
        await call("POST", MAPS, body)
    code, gone = await call("DELETE", f"{MAPS}?labelSelector=keep!=true")
    assert (code, len(gone["items"])) == (200, 2)
    _, left = await call("GET", MAPS)
    assert [one["metadata"]["name"] for one in left["items"]] == ["c"]


async def test_services_have_addresses(call: Call) -> None:
    code, made = await call("POST", SERVICES, {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}})
    assert code == 201
    address = made["spec"]["clusterIP"]
    taken = {"metadata": {"name": "t"}, "spec": {"clusterIP": address, "ports": [{"port": 80}]}}
    code, status = await call("POST", SERVICES, taken)
    assert code == 422
    assert "provided IP is already allocated" in status["message"]
    assert (await call("GET", f"{SERVICES}/t"))[0] == 404
    assert (await call("PATCH", f"{SERVICES}/s", {"spec": {"type": "NodePort"}}, MERGE))[0] == 200
    _, found = await call("GET", f"{SERVICES}/s")
    port = found["spec"]["ports"][0]["nodePort"]
    assert found["spec"]["clusterIP"] == address
    other = {"metadata": {"name": "t"}, "spec": {"type": "NodePort", "ports": [{"port": 80, "nodePort": port}]}}
    assert (await call("POST", SERVICES, other))[0] == 422
    _, found = await call("PATCH", f"{SERVICES}/s", {"spec": {"type": "ClusterIP"}}, MERGE)
    assert "nodePort" not in found["spec"]["ports"][0]
    assert (await call("POST", SERVICES, other))[0] == 201
    await call("DELETE", f"{SERVICES}/s")
    assert (await call("POST", SERVICES, taken | {"metadata": {"name": "u"}}))[0] == 201


async def test_namespaces_end_when_they_are_empty(call: Call) -> None:
    await call("POST", "/api/v1/namespaces", {"metadata": {"name": "n"}})
    await call("POST", "/api/v1/namespaces/n/configmaps", config())
    code, found = await call("DELETE", "/api/v1/namespaces/n")
    assert (code, found["status"]["phase"]) == (200, "Terminating")
    code, status = await call("POST", "/api/v1/namespaces/n/configmaps", config("b"))
    assert code == 403
    assert status["details"]["causes"][0]["reason"] == "NamespaceTerminating"
    found["spec"]["finalizers"] = []
    assert (await call("PUT", "/api/v1/namespaces/n/finalize", found))[0] == 200
    assert (await call("GET", "/api/v1/namespaces/n"))[0] == 404
    assert (await call("DELETE", "/api/v1/namespaces/default"))[0] == 403


async def test_new_pods_are_admitted(call: Call) -> None:
    code, made = await call("POST", PODS, pod())
    assert code == 201
    spec = made["spec"]
    assert spec["serviceAccountName"] == "default"
    assert spec["containers"][0]["volumeMounts"][0]["mountPath"] == "/var/run/secrets/kubernetes.io/serviceaccount"
    sources = spec["volumes"][0]["projected"]["sources"]
    assert [next(iter(one)) for one in sources] == ["serviceAccountToken", "configMap", "downwardAPI"]
    assert spec["priority"] == 0
    assert {one["key"] for one in spec["tolerations"]} == {
        "node.kubernetes.io/not-ready",
        "node.kubernetes.io/unreachable",
    }
    extra = {"key": "extra", "operator": "Exists", "effect": "NoSchedule"}
    code, changed = await call("PUT", f"{PODS}/p", made | {"spec": spec | {"tolerations": [extra]}})
    assert (code, changed["spec"]["tolerations"]) == (200, [extra, *spec["tolerations"]])
    code, made = await call(
        "POST", PODS, pod("q", automountServiceAccountToken=False, priorityClassName="system-node-critical")
    )
    assert code == 201
    assert "volumes" not in made["spec"]
    assert made["spec"]["priority"] == 2_000_001_000
    code, status = await call("POST", PODS, pod("r", serviceAccountName="nobody"))
    assert code == 403
    assert status["message"] == (
        'pods "r" is forbidden: error looking up service account default/nobody: serviceaccount "nobody" not found'
    )


async def test_two_versions_of_one_object(call: Call) -> None:
    event = {
        "metadata": {"name": "e", "namespace": "default"},
        "involvedObject": {"kind": "Pod", "name": "p", "namespace": "default"},
        "reason": "Why",
        "message": "text",
        "type": "Normal",
    }
    assert (await call("POST", "/api/v1/namespaces/default/events", event))[0] == 201
    path = "/apis/events.k8s.io/v1/namespaces/default/events"
    code, found = await call("GET", f"{path}/e")
    assert (code, found["apiVersion"], found["note"]) == (200, "events.k8s.io/v1", "text")
    code, found = await call("GET", f"{path}?fieldSelector=regarding.name=p")
    assert [one["note"] for one in found["items"]] == ["text"]


async def test_a_token_is_bound_and_good(call: Call) -> None:
    code, _ = await call("POST", "/api/v1/namespaces/default/serviceaccounts/default/token", {"spec": {}})
    assert code == 404  # this server has no key


async def test_a_service_becomes_an_external_name_and_back(call: Call) -> None:
    _, made = await call("POST", SERVICES, {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}})
    for cleared in ({"clusterIP": None, "clusterIPs": None}, {}):
        change = {"spec": {"type": "ExternalName", "externalName": "example.com"} | cleared}
        code, found = await call("PATCH", f"{SERVICES}/s", change, STRATEGIC)
        assert code == 200, found
        assert not {"clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"} & found["spec"].keys()
        taken = {"metadata": {"name": "t"}, "spec": {"clusterIP": made["spec"]["clusterIP"], "ports": [{"port": 80}]}}
        assert (await call("POST", SERVICES, taken))[0] == 201
        assert (await call("DELETE", f"{SERVICES}/t"))[0] == 200
        change = {"spec": {"type": "ClusterIP", "externalName": None, "clusterIP": made["spec"]["clusterIP"]}}
        code, found = await call("PATCH", f"{SERVICES}/s", change, STRATEGIC)
        assert (code, found["spec"]["clusterIP"]) == (200, made["spec"]["clusterIP"])


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("{kind: ConfigMap}", "Incorrect version specified in apply patch. Specified patch version: , expected: v1"),
        (
            "{apiVersion: v2, kind: ConfigMap}",
            "Incorrect version specified in apply patch. Specified patch version: v2, expected: v1",
        ),
        (
            "{apiVersion: v1, kind: ConfigMap, metadata: {managedFields: []}}",
            "metadata.managedFields must be nil",
        ),
    ],
)
async def test_what_cannot_be_applied(call: Call, body: str, message: str) -> None:
    path = "/api/v1/namespaces/default/configmaps/m?fieldManager=x"
    code, answer = await call("PATCH", path, body.encode(), "application/apply-patch+yaml")
    assert (code, answer["message"]) == (400, message)


async def test_what_is_empty_of_an_errors_details_is_left_out(call: Call) -> None:
    code, answer = await call("POST", "/api/v1/namespaces/default/configmaps", {"metadata": {}})
    assert (code, set(answer["details"])) == (422, {"kind", "causes"})
    code, answer = await call("GET", "/api/v1/pods?resourceVersionMatch=Exact")
    assert (code, set(answer["details"])) == (422, {"kind", "group", "causes"})


async def test_optional_lists_and_maps_that_are_empty_are_not_there(call: Call) -> None:
    path = "/api/v1/namespaces/default/configmaps"
    meta: Obj = {"name": "none", "labels": {}, "annotations": {}, "finalizers": [], "ownerReferences": []}
    code, made = await call("POST", path, {"metadata": meta, "data": {}, "binaryData": {}})
    assert (code, {"data", "binaryData"} & set(made)) == (201, set())
    assert not set(made["metadata"]) & (set(meta) - {"name"})
    assert "managedFields" not in made["metadata"]
    code, same = await call("PATCH", f"{path}/none", {"metadata": {"labels": {}}}, MERGE)
    assert (code, same) == (200, made)
    await call("PATCH", f"{path}/none", {"metadata": {"labels": {"a": "b"}}, "data": {"a": "b"}}, MERGE)
    code, bare = await call("PATCH", f"{path}/none", {"metadata": {"labels": {"a": None}}, "data": {"a": None}}, MERGE)
    assert (code, "labels" in bare["metadata"], "data" in bare) == (200, False, False)


async def test_what_is_empty_and_means_something_stays(call: Call) -> None:
    """A struct that is there says so, and some lists Kubernetes writes whatever is in them."""
    path = "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies"
    spec: Obj = {"podSelector": {}, "ingress": [{"from": [{"namespaceSelector": {}}], "ports": []}]}
    code, made = await call("POST", path, {"metadata": {"name": "p"}, "spec": spec})
    assert (code, made["spec"]["podSelector"]) == (201, {})
    assert made["spec"]["ingress"] == [{"from": [{"namespaceSelector": {}}]}]
    code, made = await call("POST", "/apis/rbac.authorization.k8s.io/v1/clusterroles", {"metadata": {"name": "r"}})
    assert (code, made["rules"]) == (201, [])
