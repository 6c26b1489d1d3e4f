"""Custom resources as they are read: by today's schema, whatever was the schema when they were written."""

import asyncio
from typing import Any

from pybernetes.api.objects import Obj, decode, encode
from pybernetes.apiserver import ApiServer

from .conftest import Call
from .test_custom import CRDS, TREES, definition, established, version
from .test_watching import watching

NAME = "trees.example.com"
MERGE = "application/merge-patch+json"
APPLY = "application/apply-patch+yaml"


def schema(**fields: Obj) -> Obj:
    spec = {"type": "object", "properties": fields}
    return {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}}


def tree(name: str = "a", **spec: Any) -> Obj:
    return {"apiVersion": "example.com/v1", "kind": "Tree", "metadata": {"name": name}, "spec": spec}


TEXT: Obj = {"type": "string"}
FREE: Obj = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


async def redefined(call: Call, **fields: Obj) -> None:
    """The one version gets another schema."""
    _, crd = await call("GET", f"{CRDS}/{NAME}")
    crd["spec"]["versions"][0]["schema"] = schema(**fields)
    code, answer = await call("PUT", f"{CRDS}/{NAME}", crd)
    assert code == 200, answer


async def test_custom_resource_defaulting_for_requests_and_from_storage_works(server: ApiServer, call: Call) -> None:
    await established(call, definition(version(schema=schema(a=TEXT))))
    _, made = await call("POST", TREES, tree(a="x"))
    async with watching(server, path=TREES) as watch:
        assert await watch.told(1) == [("ADDED", "a")]
        await redefined(call, a=TEXT, b=TEXT | {"default": "B"})
        assert await watch.next() is None  # what it has told is otherwise now
    _, found = await call("GET", f"{TREES}/a")
    assert (found["spec"], found["metadata"]) == ({"a": "x", "b": "B"}, made["metadata"])
    assert (await call("GET", TREES))[1]["items"][0]["spec"] == {"a": "x", "b": "B"}
    async with watching(server, path=TREES) as watch:
        event = await watch.next()
        assert event is not None
        assert event[1]["spec"] == {"a": "x", "b": "B"}
    _, new = await call("POST", TREES, tree("b"))
    assert new["spec"] == {"b": "B"}
    await redefined(call, a=TEXT, b=TEXT | {"default": "B2"})
    assert (await call("GET", f"{TREES}/a"))[1]["spec"]["b"] == "B2"  # never written
    assert (await call("GET", f"{TREES}/b"))[1]["spec"]["b"] == "B"  # written with the request


async def test_a_patch_starts_from_the_defaults_and_stores_them(call: Call) -> None:
    await established(call, definition(version(schema=schema(a=TEXT))))
    await call("POST", TREES, tree(a="x"))
    await redefined(call, a=TEXT, b=TEXT | {"default": "B"})
    code, found = await call("PATCH", f"{TREES}/a", [{"op": "test", "path": "/spec/b", "value": "B"},
                                                    {"op": "replace", "path": "/spec/a", "value": "y"}],
                             "application/json-patch+json")  # fmt: skip
    assert (code, found["spec"]) == (200, {"a": "y", "b": "B"})
    await redefined(call, a=TEXT, b=TEXT)
    assert (await call("GET", f"{TREES}/a"))[1]["spec"] == {"a": "y", "b": "B"}


async def test_selectors_see_defaults(server: ApiServer, call: Call) -> None:
    await established(call, definition(version(schema=schema(a=TEXT))))
    await call("POST", TREES, tree(a="x"))
    _, crd = await call("GET", f"{CRDS}/{NAME}")
    crd["spec"]["versions"][0] |= {
        "schema": schema(a=TEXT, b=TEXT | {"default": "B"}),
        "selectableFields": [{"jsonPath": ".spec.b"}],
    }
    assert (await call("PUT", f"{CRDS}/{NAME}", crd))[0] == 200
    assert len((await call("GET", f"{TREES}?fieldSelector=spec.b=B"))[1]["items"]) == 1
    async with watching(server, "fieldSelector=spec.b=B", TREES) as watch:
        await call("PATCH", f"{TREES}/a", {"spec": {"b": "C"}}, MERGE)
        assert await watch.told(2) == [("ADDED", "a"), ("DELETED", "a")]


async def test_nulls_go_where_they_may_not_stand(call: Call) -> None:
    fields = {
        "plain": TEXT,
        "may": TEXT | {"nullable": True},
        "filled": TEXT | {"default": "F"},
        "both": TEXT | {"default": "D", "nullable": True},
        "map": {"type": "object", "additionalProperties": TEXT},
    }
    await established(call, definition(version(schema=schema(**fields))))
    nulls = dict.fromkeys(("plain", "may", "filled", "both")) | {"map": {"a": None, "b": "x"}}
    code, made = await call("POST", TREES, tree(**nulls))
    assert (code, made["spec"]) == (201, {"may": None, "filled": "F", "both": None, "map": {"b": "x"}})


async def test_fields_that_the_schema_names_no_longer_are_not_shown(call: Call) -> None:
    await established(call, definition(version(schema=schema(a=TEXT, b=TEXT | {"nullable": True}))))
    await call("POST", TREES, tree(a="x", b=None))
    await redefined(call, b=TEXT)
    assert (await call("GET", f"{TREES}/a"))[1]["spec"] == {}
    await redefined(call, a=TEXT, b=TEXT | {"nullable": True})
    assert (await call("GET", f"{TREES}/a"))[1]["spec"] == {"a": "x", "b": None}  # nobody wrote it meanwhile


async def test_metadata_of_embedded_objects(call: Call) -> None:
    await established(call, definition(version(schema=schema(template=FREE))))
    bad = {"kind": "Pod", "metadata": {"name": "x", "labels": [1]}, "free": 1}
    await call("POST", TREES, tree("bad", template=bad))
    embedded = FREE | {"x-kubernetes-embedded-resource": True}
    await redefined(call, template=embedded)
    assert (await call("GET", f"{TREES}/bad"))[1]["spec"]["template"] == {"kind": "Pod", "free": 1}
    inner = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x", "creationTimestamp": None, "unknownSub": 1}}
    code, answer = await call("POST", f"{TREES}?fieldValidation=Strict", tree(template=inner))
    assert code == 400
    assert 'unknown field "spec.template.metadata.unknownSub"' in answer["message"]
    code, made = await call("POST", TREES, tree(template=inner))
    assert (code, made["spec"]["template"]["metadata"]) == (201, {"name": "x"})
    assert "spec.template.metadata.unknownSub" in call.headers["warning"]  # type: ignore[attr-defined]
    code, answer = await call("POST", TREES, tree("c", template=bad))
    assert (code, "spec.template.metadata" in answer["message"]) == (400, True)
    code, answer = await call("POST", TREES, tree("d", template={"kind": "a b", "metadata": {"labels": {"a b": "x"}}}))
    found = {one["field"]: one["message"] for one in answer["details"]["causes"]}
    assert (code, found["spec.template.apiVersion"]) == (422, "Required value")
    assert "may have mixed case, but should otherwise match: " in found["spec.template.kind"]
    assert found["spec.template.metadata.labels"].startswith('Invalid value: "a b": ')


async def test_versions_without_conversion_are_pruned_each_by_its_schema(call: Call) -> None:
    new = version("v2", storage=False, schema=schema(b=TEXT | {"default": "B"}))
    await established(call, definition(version(schema=schema(a=TEXT, b=TEXT)), new))
    await call("POST", TREES, tree(a="x", b="y"))
    _, found = await call("GET", f"{TREES.replace('v1', 'v2')}/a")
    assert (found["apiVersion"], found["spec"]) == ("example.com/v2", {"b": "y"})


async def test_a_status_write_of_a_definition_changes_nothing_of_its_rows(server: ApiServer, call: Call) -> None:
    await established(call, definition())
    changes: list[int] = []
    server.scheme.changed.append(lambda: changes.append(1))
    status = f"{CRDS}/{NAME}/status"
    _, crd = await call("GET", status)
    crd["status"]["conditions"].append({"type": "Tested", "status": "True", "reason": "E2E", "message": "set"})
    async with watching(server, path=TREES) as watch:
        assert (await call("PUT", status, crd))[0] == 200
        assert (await call("PATCH", f"{CRDS}/{NAME}", {"metadata": {"labels": {"a": "b"}}}, MERGE))[0] == 200
        assert changes == []
        await call("POST", TREES, tree(kind="oak"))
        assert await watch.told(1) == [("ADDED", "a")]
    await redefined(call, a=TEXT)
    assert changes == [1]


async def test_a_definition_that_goes_takes_with_it_what_no_version_serves(server: ApiServer, call: Call) -> None:
    await established(call, definition(version(), version("v2", storage=False)))
    await call("POST", TREES, tree(kind="oak"))
    _, crd = await call("GET", f"{CRDS}/{NAME}")
    for one in crd["spec"]["versions"]:
        one["served"] = False
    assert (await call("PUT", f"{CRDS}/{NAME}", crd))[0] == 200
    assert (await call("GET", TREES))[0] == 404
    await call("DELETE", f"{CRDS}/{NAME}")
    async with asyncio.timeout(60):
        while (await call("GET", f"{CRDS}/{NAME}"))[0] != 404:
            await asyncio.sleep(0.01)
    assert not server.cache.shelf("/registry/example.com/trees/").items


async def test_a_finalizer_holds_an_object_and_its_definition(call: Call) -> None:
    await established(call, definition())
    await call("POST", TREES, tree(kind="oak") | {"metadata": {"name": "a", "finalizers": ["example.com/hold"]}})
    await call("DELETE", f"{CRDS}/{NAME}")
    async with asyncio.timeout(60):
        while "deletionTimestamp" not in (await call("GET", f"{TREES}/a"))[1]["metadata"]:
            await asyncio.sleep(0.01)
    code, _ = await call("PATCH", f"{TREES}/a", {"metadata": {"finalizers": None}}, MERGE)
    assert code == 200
    async with asyncio.timeout(60):
        while (await call("GET", f"{CRDS}/{NAME}"))[0] != 404:
            await asyncio.sleep(0.01)


async def test_what_was_kept_is_bounded(server: ApiServer, call: Call, monkeypatch: Any) -> None:
    from pybernetes.apiserver import conversion

    monkeypatch.setattr(conversion, "_MOST_BYTES", 3000)
    await established(call, definition(version(schema=schema(a=TEXT))))
    for number in range(20):
        await call("POST", TREES, tree(f"t{number:02}", a="x" * 300))
    await redefined(call, a=TEXT, b=TEXT | {"default": "B"})
    for _ in range(2):
        _, found = await call("GET", TREES)
        assert [item["spec"]["b"] for item in found["items"]] == ["B"] * 20
    converter = server.registry.converters["/registry/example.com/trees/"]
    assert converter._bytes == sum(kept.size for kept in converter._kept.values()) <= 3000
    assert decode(encode(found))["kind"] == "TreeList"


async def test_managers_of_the_two_versions_of_a_scaler(call: Call) -> None:
    def scaler(version: str, **spec: Any) -> Obj:
        kind = {"apiVersion": f"autoscaling/{version}", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "s"}}
        target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}
        return kind | {"spec": {"scaleTargetRef": target, "maxReplicas": 3} | spec}

    async def applied(obj: Obj, manager: str) -> tuple[int, Obj]:
        path = f"/apis/{obj['apiVersion']}/namespaces/default/horizontalpodautoscalers/s"
        found: tuple[int, Obj] = await call("PATCH", f"{path}?fieldManager={manager}", obj, APPLY)
        return found

    assert (await applied(scaler("v1", targetCPUUtilizationPercentage=50), "first"))[0] == 201
    target = {"type": "Utilization", "averageUtilization": 60}
    metrics = [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]
    code, answer = await applied(scaler("v2", metrics=metrics), "second")
    assert code == 409
    assert [one["field"] for one in answer["details"]["causes"]] == [".spec.targetCPUUtilizationPercentage"]


async def test_an_apply_with_fields_that_no_schema_declares(call: Call) -> None:
    """FieldValidation, as the suite asks: in the root, in an embedded object, and doubled."""
    port = {"type": "object", "required": ["name"], "properties": {"name": TEXT, "containerPort": {"type": "integer"}}}
    fields = {
        "template": FREE | {"x-kubernetes-embedded-resource": True},
        "cronSpec": TEXT,
        "ports": {
            "type": "array",
            "items": port,
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["name"],
        },
    }
    spec = {"type": "object", "properties": fields} | {"x-kubernetes-preserve-unknown-fields": True}
    root = {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}}
    await established(call, definition(version(schema=root)))

    async def applied(name: str, text: str, validation: str = "Strict") -> tuple[int, Obj]:
        head = f"apiVersion: example.com/v1\nkind: Tree\nmetadata:\n  name: {name}\n"
        path = f"{TREES}/{name}?fieldManager=m&fieldValidation={validation}"
        found: tuple[int, Obj] = await call("PATCH", path, (head + text).encode(), APPLY)
        return found

    ports = "  cronSpec: '* * * * */5'\n  ports:\n  - {name: x, containerPort: 80}\n"
    assert (await applied("good", f"spec:\n  extra: 1\n{ports}"))[0] == 201
    code, answer = await applied("a", f"  unknownMeta: x\nspec:\n{ports}")
    assert (code, ".metadata.unknownMeta: field not declared in schema" in answer["message"]) == (400, True)
    inner = "  template:\n    apiVersion: foo/v1\n    kind: Sub\n    metadata: {name: sub, unknownSubMeta: x}\n"
    code, answer = await applied("a", f"spec:\n{inner}{ports}")
    text = ".spec.template.metadata.unknownSubMeta: field not declared in schema"
    assert (code, text in answer["message"]) == (400, True)
    assert answer["message"].startswith("failed to create typed patch object (default/a; example.com/v1, Kind=Tree): ")
    code, answer = await applied("a", f"rootless: 1\nspec:\n{ports}", "Ignore")
    assert (code, ".rootless: field not declared in schema" in answer["message"]) == (400, True)
    twice = f"spec:\n  foo: a\n  foo: b\n{ports}"
    code, answer = await applied("a", twice)
    assert (code, 'line 7: key "foo" already set in map' in answer["message"]) == (400, True)
    assert (await applied("a", twice, "Warn"))[0] == 201
    assert "already set in map" in call.headers["warning"]  # type: ignore[attr-defined]


async def test_any_json_is_kept_whole(call: Call) -> None:
    anything = {"x-kubernetes-preserve-unknown-fields": True}
    listed = {"type": "array", "items": anything}
    await established(call, definition(version(schema=schema(any=anything, list=listed))))
    value = [1, "a", {"b": [{"c": None}]}]
    _, made = await call("POST", f"{TREES}?fieldValidation=Strict", tree(any=value, list=value))
    assert made["spec"] == {"any": value, "list": value}
    assert (await call("GET", f"{TREES}/a"))[1]["spec"]["any"] == value


async def test_numbers_are_as_go_reads_and_writes_them(call: Call) -> None:
    number = {"type": "number"}
    either = {"x-kubernetes-int-or-string": True}
    fields = {"whole": {"type": "integer", "format": "int64"}, "float": number, "either": either, "free": FREE}
    await established(call, definition(version(schema=schema(**fields))))
    head = b'{"apiVersion":"example.com/v1","kind":"Tree","metadata":{"name":"a"},"spec":'
    body = head + b'{"whole":2.0,"float":1.5,"free":{"x":[3.0,1e30]}}}'
    code, made = await call("POST", TREES, body)
    assert (code, encode(made["spec"])) == (201, b'{"whole":2,"float":1.5,"free":{"x":[3,1e30]}}')
    for text, type_ in ((b'{"whole":1.5}', "integer"), (b'{"whole":99999999999999999999}', "integer"),
                        (b'{"either":99999999999999999999}', "integer,string")):  # fmt: skip
        code, answer = await call("PATCH", f"{TREES}/a", b'{"spec":' + text + b"}", MERGE)
        assert code == 422
        assert f'in body must be of type {type_}: "number"' in answer["message"]


async def test_an_update_says_what_it_was_made_from(call: Call) -> None:
    await established(call, definition(version(schema=schema(a=TEXT))))
    await call("POST", TREES, tree(a="x"))
    code, answer = await call("PUT", f"{TREES}/a", tree(a="y"))
    assert (code, answer["details"]["causes"][0]["field"]) == (422, "metadata.resourceVersion")
    assert "must be specified for an update" in answer["message"]
    code, answer = await call("PUT", f"{CRDS}/{NAME}", definition())
    assert (code, "must be specified for an update" in answer["message"]) == (422, True)
