"""Custom resources as their users meet them, by the names of the conformance suite where it has one."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from pybernetes.api.objects import Obj, decode, encode
from pybernetes.apiserver import ApiServer
from pybernetes.store.memory import MemoryStore
from support.server import api_server

from .conftest import Call, call_of
from .test_watching import watching

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
TREES = "/apis/example.com/v1/namespaces/default/trees"
SCHEMA: Obj = {
    "type": "object",
    "required": ["spec"],
    "properties": {
        "spec": {
            "type": "object",
            "required": ["kind"],
            "properties": {
                "kind": {"type": "string", "enum": ["oak", "elm"]},
                "height": {"type": "integer", "minimum": 1, "default": 3},
                "replicas": {"type": "integer"},
                "any": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                "tags": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
            },
            "x-kubernetes-validations": [
                {"rule": "self.kind != 'elm' || self.height < 10", "message": "elms stay small"},
                {"rule": "self.height >= oldSelf.height", "messageExpression": "'was ' + string(oldSelf.height)"},
            ],
        },
        "status": {
            "type": "object",
            "properties": {
                "replicas": {"type": "integer"},
                "selector": {"type": "string"},
                "ready": {"type": "boolean"},
            },
        },
    },
}


def version(name: str = "v1", *, storage: bool = True, **fields: Any) -> Obj:
    return {
        "name": name,
        "served": True,
        "storage": storage,
        "schema": {"openAPIV3Schema": SCHEMA},
        "subresources": {
            "status": {},
            "scale": {
                "specReplicasPath": ".spec.replicas",
                "statusReplicasPath": ".status.replicas",
                "labelSelectorPath": ".status.selector",
            },
        },
    } | fields


def definition(*versions: Obj, **names: Any) -> Obj:
    found = {"plural": "trees", "kind": "Tree", "shortNames": ["tr"], "categories": ["all"]} | names
    spec = {"group": "example.com", "scope": "Namespaced", "names": found, "versions": list(versions or (version(),))}
    return {"metadata": {"name": f"{found['plural']}.example.com"}, "spec": spec}


def tree(name: str = "a", **spec: Any) -> Obj:
    body = {"kind": "oak"} | spec
    return {"apiVersion": "example.com/v1", "kind": "Tree", "metadata": {"name": name}, "spec": body}


async def established(call: Call, crd: Obj | None = None, *, name: str = "trees.example.com") -> Obj:
    """Create (or only wait for) a definition; its object once it is served."""
    if crd is not None:
        code, answer = await call("POST", CRDS, crd)
        assert code == 201, answer
    async with asyncio.timeout(60):
        while True:
            _, found = await call("GET", f"{CRDS}/{name}")
            conditions = {one["type"]: one["status"] for one in found["status"]["conditions"] or ()}
            if conditions.get("Established") == "True":
                return found
            await asyncio.sleep(0)


@pytest.fixture
async def trees(call: Call) -> Call:
    await established(call, definition())
    return call


async def test_creating_deleting_custom_resource_definition_objects_works(call: Call) -> None:
    found = await established(call, definition())
    assert found["status"]["acceptedNames"]["singular"] == "tree"
    assert found["status"]["acceptedNames"]["listKind"] == "TreeList"
    assert found["status"]["storedVersions"] == ["v1"]
    assert [one["reason"] for one in found["status"]["conditions"]] == ["NoConflicts", "InitialNamesAccepted"]
    assert (await call("POST", TREES, tree()))[0] == 201
    code, answer = await call("DELETE", f"{CRDS}/trees.example.com")
    assert code == 200
    assert answer["metadata"]["finalizers"] == ["customresourcecleanup.apiextensions.k8s.io"]
    async with asyncio.timeout(60):
        while (await call("GET", f"{CRDS}/trees.example.com"))[0] != 404:
            await asyncio.sleep(0.01)
    assert (await call("GET", TREES))[0] == 404
    await established(call, definition())
    assert (await call("GET", TREES))[1]["items"] == []


async def test_objects_are_pruned_defaulted_and_checked(trees: Call) -> None:
    code, made = await trees("POST", f"{TREES}?fieldValidation=Ignore", tree(unknown=1, any={"free": [1]}))
    assert (code, made["spec"]) == (201, {"kind": "oak", "any": {"free": [1]}, "height": 3})
    assert made["metadata"]["generation"] == 1
    code, answer = await trees("POST", f"{TREES}?fieldValidation=Strict", tree("b", unknown=1))
    assert (code, 'unknown field "spec.unknown"' in answer["message"]) == (400, True)
    bad = tree("b", kind="ash", height=0, tags=["x", "x"])
    code, answer = await trees("POST", TREES, bad)
    assert code == 422
    causes = {one["field"]: one["message"] for one in answer["details"]["causes"]}
    assert causes["spec.kind"] == 'Unsupported value: "ash": supported values: "oak", "elm"'
    assert causes["spec.height"] == "Invalid value: 0: spec.height in body should be greater than or equal to 1"
    assert causes["spec.tags[1]"] == 'Duplicate value: "x"'
    code, answer = await trees("POST", TREES, {k: v for k, v in tree("b").items() if k != "spec"})
    assert (code, answer["details"]["causes"][0]["message"]) == (422, "Required value")


async def test_should_fail_create_of_a_custom_resource_that_does_not_satisfy_an_x_kubernetes_validations_rule(
    trees: Call,
) -> None:
    code, answer = await trees("POST", TREES, tree(kind="elm", height=10))
    assert code == 422
    assert answer["message"].startswith(
        'Tree.example.com "a" is invalid: spec: Invalid value: "object": elms stay small'
    )
    assert (await trees("POST", TREES, tree(height=5)))[0] == 201
    merge = "application/merge-patch+json"
    code, answer = await trees("PATCH", f"{TREES}/a", {"spec": {"height": 4}}, merge)
    assert (code, "was 5" in answer["message"]) == (422, True)
    assert (await trees("PATCH", f"{TREES}/a", {"spec": {"height": 6}}, merge))[0] == 200


async def test_status_and_scale_subresources(trees: Call) -> None:
    merge = "application/merge-patch+json"
    made = (await trees("POST", TREES, tree(replicas=2) | {"status": {"ready": True}}))[1]
    assert "status" not in made
    code, found = await trees("PATCH", f"{TREES}/a/status", {"status": {"replicas": 1, "selector": "a=b"}}, merge)
    assert (code, found["status"], found["metadata"]["generation"]) == (200, {"replicas": 1, "selector": "a=b"}, 1)
    _, scale = await trees("GET", f"{TREES}/a/scale")
    assert (scale["spec"], scale["status"]) == ({"replicas": 2}, {"replicas": 1, "selector": "a=b"})
    assert (await trees("PATCH", f"{TREES}/a/scale", {"spec": {"replicas": 7}}, merge))[1]["spec"] == {"replicas": 7}
    found = (await trees("GET", f"{TREES}/a"))[1]
    assert (found["spec"]["replicas"], found["metadata"]["generation"]) == (7, 2)


async def test_strategic_merge_is_not_for_custom_resources(trees: Call) -> None:
    await trees("POST", TREES, tree())
    assert (await trees("PATCH", f"{TREES}/a", {}, "application/strategic-merge-patch+json"))[0] == 415


async def test_server_side_apply_owns_fields_by_the_schema(trees: Call) -> None:
    apply = "application/apply-patch+yaml"
    code, made = await trees("PATCH", f"{TREES}/a?fieldManager=one", tree(tags=["x"]), apply)
    assert code == 201
    owned = made["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"]
    assert owned == {"f:kind": {}, "f:tags": {'v:"x"': {}}}
    code, answer = await trees("PATCH", f"{TREES}/a?fieldManager=two", tree(kind="elm", tags=["y"]), apply)
    assert (code, answer["details"]["causes"][0]["field"]) == (409, ".spec.kind")
    code, both = await trees("PATCH", f"{TREES}/a?fieldManager=two&force=true", tree(kind="elm", tags=["y"]), apply)
    assert (code, sorted(both["spec"]["tags"])) == (200, ["x", "y"])


async def test_printer_columns_and_selectable_fields(call: Call) -> None:
    columns = [
        {"name": "Kind", "type": "string", "jsonPath": ".spec.kind"},
        {"name": "Height", "type": "integer", "jsonPath": ".spec.height", "priority": 1},
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    ]
    fields = [{"jsonPath": ".spec.kind"}]
    await established(call, definition(version(additionalPrinterColumns=columns, selectableFields=fields)))
    await call("POST", TREES, tree("a"))
    await call("POST", TREES, tree("b", kind="elm"))
    _, table = await call("GET", TREES, accept="application/json;as=Table;v=v1;g=meta.k8s.io")
    assert [one["name"] for one in table["columnDefinitions"]] == ["Name", "Kind", "Height", "Age"]
    assert table["rows"][1]["cells"][:3] == ["b", "elm", 3]
    _, found = await call("GET", f"{TREES}?fieldSelector=spec.kind%3Delm".replace("%3D", "="))
    assert [one["metadata"]["name"] for one in found["items"]] == ["b"]
    assert found["kind"] == "TreeList"
    assert found["items"][0]["kind"] == "Tree"


async def test_versions_without_conversion_differ_in_name_only(call: Call) -> None:
    await established(call, definition(version("v1beta1"), version("v1", storage=False)))
    old = tree() | {"apiVersion": "example.com/v1beta1"}
    assert (await call("POST", TREES.replace("v1", "v1beta1"), old))[0] == 201
    assert (await call("GET", f"{TREES}/a"))[1]["apiVersion"] == "example.com/v1"
    assert (await call("GET", TREES))[1]["items"][0]["apiVersion"] == "example.com/v1"
    _, crd = await call("GET", f"{CRDS}/trees.example.com")
    crd["spec"]["versions"] = [version("v1beta1", storage=False), version("v1")]
    code, crd = await call("PUT", f"{CRDS}/trees.example.com", crd)
    assert (code, crd["status"]["storedVersions"]) == (200, ["v1beta1", "v1"])
    assert (await call("GET", f"{TREES}/a"))[1]["apiVersion"] == "example.com/v1"
    assert (await call("GET", TREES.replace("v1", "v1beta1")))[1]["items"][0]["apiVersion"] == "example.com/v1beta1"
    assert (await call("PATCH", f"{TREES}/a", {"spec": {"height": 4}}, "application/merge-patch+json"))[0] == 200
    assert (await call("GET", f"{TREES}/a"))[1]["spec"]["height"] == 4
    crd["spec"]["versions"] = [version("v1")]
    code, answer = await call("PUT", f"{CRDS}/trees.example.com", crd)
    assert (code, answer["details"]["causes"][0]["field"]) == (422, "status.storedVersions[0]")


async def test_a_name_in_use_is_not_accepted_until_it_is_free(call: Call) -> None:
    await established(call, definition())
    code, _ = await call("POST", CRDS, definition(plural="bushes", kind="Bush"))
    assert code == 201
    async with asyncio.timeout(60):
        while not (found := (await call("GET", f"{CRDS}/bushes.example.com"))[1])["status"]["conditions"]:
            await asyncio.sleep(0)
    names, served = found["status"]["conditions"]
    assert (names["status"], names["reason"], names["message"]) == (
        "False",
        "ShortNamesConflict",
        '"tr" is already in use',
    )
    assert (served["status"], served["reason"]) == ("False", "NotAccepted")
    await call("DELETE", f"{CRDS}/trees.example.com")
    await established(call, name="bushes.example.com")


async def test_discovery_and_openapi_have_the_new_kind(trees: Call) -> None:
    _, found = await trees("GET", "/apis/example.com/v1")
    row = found["resources"][0]
    assert (row["name"], row["singularName"], row["shortNames"], row["kind"]) == ("trees", "tree", ["tr"], "Tree")
    _, document = await trees("GET", "/openapi/v3/apis/example.com/v1")
    schema = document["components"]["schemas"]["com.example.v1.Tree"]
    assert schema["properties"]["spec"]["properties"]["kind"]["enum"] == ["oak", "elm"]


async def test_definitions_survive_a_restart() -> None:
    store = MemoryStore()
    async with api_server(store) as one:
        call = call_of(one)
        await established(call, definition())
        assert (await call("POST", TREES, tree()))[0] == 201
    async with api_server(store) as two:
        assert (await call_of(two)("GET", f"{TREES}/a"))[0] == 200


async def test_a_watch_of_a_deleted_kind_ends(server: ApiServer, trees: Call) -> None:
    async with watching(server, path=TREES) as watch:
        await trees("DELETE", f"{CRDS}/trees.example.com")
        assert await watch.next() is None


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"spec": {"group": "com"}}, "spec.group"),
        ({"spec": {"group": "a.k8s.io"}}, "metadata.annotations[api-approved.kubernetes.io]"),
        ({"spec": {"versions": [version(storage=False)]}}, "spec.versions"),
        (
            {"spec": {"versions": [version(schema={"openAPIV3Schema": {"type": "object", "properties": {"a": {}}}})]}},
            "spec.versions[0].schema.openAPIV3Schema.properties[a].type",
        ),
        (
            {"spec": {"versions": [version(additionalPrinterColumns=[{"name": "a", "type": "x", "jsonPath": ".a"}])]}},
            "spec.versions[0].additionalPrinterColumns[0].type",
        ),
        (
            {"spec": {"versions": [version(selectableFields=[{"jsonPath": ".spec.none"}])]}},
            "spec.versions[0].selectableFields[0].jsonPath",
        ),
        ({"spec": {"conversion": {"strategy": "Webhook"}}}, "spec.conversion.webhookClientConfig"),
    ],
)
async def test_what_is_wrong_with_a_definition(call: Call, change: Obj, field: str) -> None:
    crd = definition()
    crd["spec"] |= change["spec"]
    code, answer = await call("POST", CRDS, crd)
    assert code == 422, answer
    assert field in {one["field"] for one in answer["details"]["causes"]}


async def test_must_fail_create_of_a_custom_resource_definition_that_contains_a_syntax_error(call: Call) -> None:
    schema = {
        "type": "object",
        "properties": {"spec": {"type": "object", "x-kubernetes-validations": [{"rule": "self = 42"}]}},
    }
    code, answer = await call("POST", CRDS, definition(version(schema={"openAPIV3Schema": schema})))
    assert (code, "Syntax error" in answer["message"]) == (422, True)


async def test_what_a_conversion_webhook_would_have_to_convert_is_refused_and_not_renamed(call: Call) -> None:
    crd = definition(version(), version("v2", storage=False))
    client = {"url": "https://127.0.0.1:1/convert"}
    webhook = {"clientConfig": client, "conversionReviewVersions": ["v1"]}
    crd["spec"]["conversion"] = {"strategy": "Webhook", "webhook": webhook}
    await established(call, crd)
    assert (await call("POST", TREES, tree()))[0] == 201
    assert (await call("GET", f"{TREES}/a"))[0] == 200
    for method, body in (("GET", None), ("POST", tree("b") | {"apiVersion": "example.com/v2"})):
        code, answer = await call(method, TREES.replace("v1", "v2"), body)
        assert (code, answer["message"].startswith("conversion webhook for example.com/")) == (500, True)
    assert len((await call("GET", TREES))[1]["items"]) == 1


async def test_must_list_and_watch_custom_resources_matching_the_field_selector(server: ApiServer, call: Call) -> None:
    await established(call, definition(version(selectableFields=[{"jsonPath": ".spec.kind"}])))
    async with watching(server, "fieldSelector=spec.kind=elm", TREES) as watch:
        await call("POST", TREES, tree("a"))
        await call("POST", TREES, tree("b", kind="elm"))
        await call("PATCH", f"{TREES}/b", {"spec": {"kind": "oak"}}, "application/merge-patch+json")
        assert await watch.told(2) == [("ADDED", "b"), ("DELETED", "b")]
    code, answer = await call("GET", f"{TREES}?fieldSelector=spec.height=3")
    assert (code, "field label not supported: spec.height" in answer["message"]) == (400, True)


async def test_listing_updating_and_patching_status_of_definitions_works(call: Call) -> None:
    await established(call, definition())
    _, found = await call("GET", CRDS)
    assert [one["metadata"]["name"] for one in found["items"]] == ["trees.example.com"]
    status = f"{CRDS}/trees.example.com/status"
    condition = {"type": "Tested", "status": "True", "reason": "E2E", "message": "set", "lastTransitionTime": None}
    _, crd = await call("GET", status)
    crd["status"]["conditions"].append(condition)
    assert (await call("PUT", status, crd))[0] == 200
    patch = {"status": {"storedVersions": ["v1"]}}
    code, crd = await call("PATCH", status, patch, "application/merge-patch+json")
    assert (code, [one["type"] for one in crd["status"]["conditions"]][-1]) == (200, "Tested")
    assert (await call("GET", TREES))[0] == 200


@pytest.mark.parametrize("media", ["application/json", "application/yaml"])
async def test_fields_that_no_schema_names(call: Call, media: str) -> None:
    """FieldValidation: strict for a schema with properties, anything for one that preserves unknown fields."""
    free = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    await established(call, definition(version(schema={"openAPIV3Schema": free})))
    body = encode(tree(unknown=1))
    code, made = await call("POST", f"{TREES}?fieldValidation=Strict", body, media)
    assert (code, made["spec"]) == (201, {"kind": "oak", "unknown": 1})
    twice = b'{"apiVersion":"example.com/v1","kind":"Tree","metadata":{"name":"b"},"spec":{"a":1,"a":2}}'
    code, answer = await call("POST", f"{TREES}?fieldValidation=Strict", twice, media)
    assert code == 400
    assert ("already set" if "yaml" in media else 'duplicate field "spec.a"') in answer["message"]
    meta = tree("c") | {"metadata": {"name": "c", "unknownMeta": 1}}
    code, answer = await call("POST", f"{TREES}?fieldValidation=Strict", encode(meta), media)
    assert (code, 'unknown field "metadata.unknownMeta"' in answer["message"]) == (400, True)


async def test_a_watch_of_definitions_tells_of_them(server: ApiServer, call: Call) -> None:
    async with watching(server, path=CRDS) as watch:
        await established(call, definition())
        assert (await watch.told(2))[0] == ("ADDED", "trees.example.com")


async def test_a_version_no_longer_served_leaves_discovery_and_openapi(call: Call) -> None:
    await established(call, definition(version(), version("v2", storage=False)))
    assert (await call("GET", "/openapi/v3/apis/example.com/v2"))[0] == 200
    _, crd = await call("GET", f"{CRDS}/trees.example.com")
    crd["spec"]["versions"][1]["served"] = False
    assert (await call("PUT", f"{CRDS}/trees.example.com", crd))[0] == 200
    assert (await call("GET", "/openapi/v3/apis/example.com/v2"))[0] == 404
    assert (await call("GET", "/apis/example.com/v2"))[0] == 404
    accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    _, found = await call("GET", "/apis", accept=accept)
    group = next(one for one in found["items"] if one["metadata"]["name"] == "example.com")
    assert [one["version"] for one in group["versions"]] == ["v1"]
    assert group["versions"][0]["resources"][0]["responseKind"]["kind"] == "Tree"


async def _broken_in(store: MemoryStore, *, versions: list[Obj], stored: Sequence[str] = ("v1",)) -> None:
    """A definition that was good when it was made, and is stored with these versions now."""
    async with api_server(store) as server:
        await established(call_of(server), definition())
    record, _ = await store.get("/registry/apiextensions.k8s.io/customresourcedefinitions/trees.example.com")
    assert record is not None
    broken = decode(record.value)
    broken["spec"]["versions"] = versions
    broken["status"]["storedVersions"] = list(stored)
    await store.update(record.key, encode(broken), expect=record.revision)


async def test_a_stored_definition_that_cannot_be_read_does_not_end_the_server() -> None:
    store = MemoryStore()
    await _broken_in(store, versions=[{"name": "v1", "served": True}])
    async with api_server(store) as two:
        assert (await call_of(two)("GET", TREES))[0] == 404
        assert (await call_of(two)("GET", CRDS))[0] == 200


async def test_a_stored_definition_that_is_no_longer_valid_can_go() -> None:
    """Its clean-up finalizer is taken off with its status, which is all that is looked at then."""
    store = MemoryStore()
    odd = definition()["spec"]["versions"][0] | {"schema": {"openAPIV3Schema": {"type": "odd"}}}
    await _broken_in(store, versions=[odd], stored=["v0"])
    async with api_server(store) as two:
        call = call_of(two)
        assert (await call("DELETE", f"{CRDS}/trees.example.com"))[0] == 200
        async with asyncio.timeout(60):
            while (await call("GET", f"{CRDS}/trees.example.com"))[0] != 404:
                await asyncio.sleep(0)


async def test_the_metadata_of_a_definition_may_be_written_with_its_status(call: Call) -> None:
    await established(call, definition())
    patch = {"metadata": {"labels": {"a": "b"}, "finalizers": ["example.com/hold"]}, "spec": {"group": "other.com"}}
    status = f"{CRDS}/trees.example.com/status"
    code, found = await call("PATCH", status, patch, "application/merge-patch+json")
    assert (code, found["metadata"]["labels"], found["metadata"]["finalizers"]) == (
        200,
        {"a": "b"},
        ["example.com/hold"],
    )
    assert found["spec"]["group"] == "example.com"
    patch = {"status": {"acceptedNames": {"plural": "A_b"}}}
    code, answer = await call("PATCH", status, patch, "application/merge-patch+json")
    assert (code, answer["details"]["causes"][0]["field"]) == (422, "status.acceptedNames.plural")


async def test_groups_of_the_community_are_approved_or_not(call: Call) -> None:
    def crd(said: str | None) -> Obj:
        found = definition()
        found["spec"]["group"], found["metadata"]["name"] = "example.k8s.io", "trees.example.k8s.io"
        found["metadata"]["annotations"] = {} if said is None else {"api-approved.kubernetes.io": said}
        return found

    for bad in (None, "yes"):
        code, answer = await call("POST", CRDS, crd(bad))
        assert (code, "protected groups must have approval annotation" in answer["message"]) == (422, True)
    url = "https://github.com/kubernetes/enhancements/pull/1"
    found = await established(call, crd(url), name="trees.example.k8s.io")
    said = next(one for one in found["status"]["conditions"] if one["type"] == "KubernetesAPIApprovalPolicyConformant")
    assert (said["status"], said["reason"], said["message"]) == ("True", "ApprovedAnnotation", f"approved in {url}")
    found["metadata"]["annotations"]["api-approved.kubernetes.io"] = "unapproved, only a test"
    assert (await call("PUT", f"{CRDS}/trees.example.k8s.io", found))[0] == 200
    async with asyncio.timeout(60):
        while said["status"] == "True":
            _, found = await call("GET", f"{CRDS}/trees.example.k8s.io")
            said = found["status"]["conditions"][-1]
    assert (said["reason"], said["message"]) == ("UnapprovedAnnotation", 'not approved: "unapproved, only a test"')


async def test_a_definition_that_is_held_says_that_its_objects_are_gone(server: ApiServer, call: Call) -> None:
    crd = definition()
    crd["metadata"]["finalizers"] = ["example.com/hold"]
    await established(call, crd)
    await call("POST", TREES, tree())
    async with watching(server, "fieldSelector=metadata.name=trees.example.com", CRDS) as watch:
        await watch.next()
        assert (await call("DELETE", f"{CRDS}/trees.example.com"))[0] == 200
        reasons = []
        async with asyncio.timeout(60):
            while "InstanceDeletionCompleted" not in reasons:
                _, found = await watch.next() or ("", {})
                reasons += [one["reason"] for one in found["status"]["conditions"] if one["type"] == "Terminating"]
    assert reasons[0] == "InstanceDeletionInProgress"
    assert (await call("GET", TREES))[0] in (200, 404)


async def test_a_bad_bundle_is_refused_unless_it_was_there_before(call: Call) -> None:
    def crd(bundle: str) -> Obj:
        found = definition()
        client = {"url": "https://127.0.0.1:1/convert", "caBundle": bundle}
        webhook = {"clientConfig": client, "conversionReviewVersions": ["v1"]}
        found["spec"]["conversion"] = {"strategy": "Webhook", "webhook": webhook}
        return found

    code, answer = await call("POST", CRDS, crd("Cg=="))
    field = "spec.conversion.webhookClientConfig.caBundle"
    assert (code, answer["details"]["causes"][0]["field"]) == (422, field)
    assert "unable to load root certificates" in answer["message"]
    url = crd("")
    url["spec"]["conversion"]["webhook"]["clientConfig"]["url"] = "http://x"
    code, answer = await call("POST", CRDS, url)
    assert (code, "'https' is the only allowed URL scheme" in answer["message"]) == (422, True)


@pytest.mark.parametrize(("field", "value"), [("kind", "Bush"), ("scope", "Cluster")])
async def test_what_an_established_definition_cannot_change(call: Call, field: str, value: str) -> None:
    crd = await established(call, definition())
    place = crd["spec"]["names"] if field == "kind" else crd["spec"]
    place[field] = value
    code, answer = await call("PUT", f"{CRDS}/trees.example.com", crd)
    assert (code, "field is immutable" in answer["message"]) == (422, True)


async def test_finalizers_of_custom_resources_need_no_domain(trees: Call) -> None:
    held = tree() | {"metadata": {"name": "a", "finalizers": ["finalizer.example.com", "plain"]}}
    assert (await trees("POST", TREES, held))[0] == 201
    code, answer = await trees("POST", TREES, held | {"metadata": {"name": "b", "finalizers": ["a b"]}})
    assert (code, answer["details"]["causes"][0]["field"]) == (422, "metadata.finalizers")
    body = {"metadata": {"name": "m", "finalizers": ["plain"]}}
    code, answer = await trees("POST", "/api/v1/namespaces/default/configmaps", body)
    assert (code, "neither a standard finalizer name nor is it fully qualified" in answer["message"]) == (422, True)


async def test_rules_are_asked_unless_the_object_is_too_wrong_for_them(trees: Call) -> None:
    code, answer = await trees("POST", TREES, tree(kind="elm", height=0))
    fields = {one["field"] for one in answer["details"]["causes"]}
    assert (code, fields) == (422, {"spec.height"})
    code, answer = await trees("POST", TREES, tree(kind="ash", height=10))
    causes = {one["field"]: one["message"] for one in answer["details"]["causes"]}
    assert causes["<nil>"].startswith("Invalid value: null: some validation rules were not checked because the object")
