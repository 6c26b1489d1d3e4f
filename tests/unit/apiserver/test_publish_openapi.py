"""Custom kinds in /openapi/v2 and /openapi/v3, by the names of the conformance suite (CustomResourcePublishOpenAPI)."""

from typing import Any

import pytest

from pybernetes.api.objects import Obj, encode
from pybernetes.api.openapi_v2 import packed

from .conftest import Call
from .test_custom import CRDS, established

TEXT = {"type": "string"}


def named(**more: Obj) -> Obj:
    return {"type": "array", "description": "List.", "items": {"type": "object", "properties": {"name": TEXT} | more}}


def spec_and_status(about: str, spec: Obj) -> Obj:
    bars = {"type": "object", "description": "Status.", "properties": {"bars": named(available={"type": "boolean"})}}
    properties = {"spec": {"type": "object", "description": "What is wanted."} | spec, "status": bars}
    return {"type": "object", "description": about, "properties": properties}


FOO = spec_and_status(
    "Foo CRD for testing", {"properties": {"bars": named(feeling=TEXT | {"enum": ["Great", "Down"]})}}
)
WALDO = spec_and_status("Waldo CRD for testing", {"properties": {"dummy": {"type": "object"}}})
PRESERVE = {"x-kubernetes-preserve-unknown-fields": True}


def definition(kind: str, group: str, schema: Obj, *versions: str, **names: str) -> Obj:
    found = [
        {"name": one, "served": True, "storage": one == versions[0], "schema": {"openAPIV3Schema": schema}}
        for one in versions
    ]
    plural = f"{kind.lower()}s"
    spec = {"group": f"{group}.example.com", "scope": "Namespaced", "names": {"plural": plural, "kind": kind} | names}
    return {"metadata": {"name": f"{plural}.{group}.example.com"}, "spec": spec | {"versions": found}}


async def made(call: Call, crd: Obj) -> str:
    name = str(crd["metadata"]["name"])
    await established(call, crd, name=name)
    return name


async def v2(call: Call, group: str, version: str, kind: str) -> Obj | None:
    """A definition in /openapi/v2."""
    code, document = await call("GET", "/openapi/v2")
    assert code == 200
    found: Obj | None = document["definitions"].get(f"com.example.{group}.{version}.{kind}")
    return found


async def v3(call: Call, group: str, version: str) -> Any:
    """The schemas of a document in /openapi/v3; None for one that is not there, in its index neither."""
    path = f"apis/{group}.example.com/{version}"
    code, document = await call("GET", f"/openapi/v3/{path}")
    assert (code == 200) == (path in (await call("GET", "/openapi/v3"))[1]["paths"])
    return document["components"]["schemas"] if code == 200 else None


def bare(schema: Any) -> Obj:
    """Without what every kind has."""
    found = {name: value for name, value in schema.items() if name != "x-kubernetes-group-version-kind"}
    own = ("apiVersion", "kind", "metadata")
    if "properties" in found:
        found["properties"] = {name: value for name, value in found["properties"].items() if name not in own}
    return found


async def test_works_for_crd_with_validation_schema(call: Call) -> None:
    await made(call, definition("Foo", "foo", FOO, "v1"))
    for found in (await v2(call, "foo", "v1", "Foo"), (await v3(call, "foo", "v1"))["com.example.foo.v1.Foo"]):
        assert found is not None
        assert bare(found) == FOO
        assert found["properties"]["apiVersion"]["description"].startswith("APIVersion defines")
        assert found["properties"]["metadata"]["description"].startswith("Standard object's metadata")
        gvk = {"group": "foo.example.com", "version": "v1", "kind": "Foo"}
        assert found["x-kubernetes-group-version-kind"] == [gvk]


async def test_works_for_crd_without_validation_schema(call: Call) -> None:
    await made(call, definition("Empty", "empty", {"type": "object"} | PRESERVE, "v1"))
    found = await v2(call, "empty", "v1", "Empty")
    assert found is not None
    assert "properties" not in found
    assert bare(found) == {"type": "object"}
    found = (await v3(call, "empty", "v1"))["com.example.empty.v1.Empty"]
    assert bare(found) == {"type": "object", "properties": {}} | PRESERVE


async def test_works_for_crd_preserving_unknown_fields_at_the_schema_root(call: Call) -> None:
    await made(call, definition("Root", "root", WALDO | PRESERVE, "v1"))
    assert bare(await v2(call, "root", "v1", "Root")) == {"type": "object"}
    assert bare((await v3(call, "root", "v1"))["com.example.root.v1.Root"]) == WALDO | PRESERVE


async def test_works_for_crd_preserving_unknown_fields_in_an_embedded_object(call: Call) -> None:
    inner = PRESERVE | {"properties": {"dummy": {"type": "object"}}}
    schema = spec_and_status("nested", inner)
    await made(call, definition("Nested", "nested", schema, "v1"))
    found = await v2(call, "nested", "v1", "Nested")
    assert found is not None
    assert found["properties"]["spec"] == {"description": "What is wanted."} | PRESERVE
    assert bare((await v3(call, "nested", "v1"))["com.example.nested.v1.Nested"]) == schema


async def test_works_for_multiple_crds_of_different_groups(call: Call) -> None:
    await made(call, definition("Foo", "foo", FOO, "v1"))
    await made(call, definition("Waldo", "waldo", WALDO, "v1beta1"))
    assert bare(await v2(call, "foo", "v1", "Foo")) == FOO
    assert bare(await v2(call, "waldo", "v1beta1", "Waldo")) == WALDO


async def test_works_for_multiple_crds_of_same_group_but_different_versions(call: Call) -> None:
    name = await made(call, definition("Foo", "multi", FOO, "v2", "v3"))
    for version in ("v2", "v3"):
        assert bare(await v2(call, "multi", version, "Foo")) == FOO
        assert bare((await v3(call, "multi", version))[f"com.example.multi.{version}.Foo"]) == FOO
    await call("DELETE", f"{CRDS}/{name}")
    await made(call, definition("Foo", "common", FOO, "v4"))
    await made(call, definition("Waldo", "common", WALDO, "v5"))
    assert bare(await v2(call, "common", "v4", "Foo")) == FOO
    assert bare(await v2(call, "common", "v5", "Waldo")) == WALDO
    assert list(await v3(call, "common", "v5")).count("com.example.common.v4.Foo") == 0


async def test_works_for_multiple_crds_of_same_group_and_version_but_different_kinds(call: Call) -> None:
    await made(call, definition("Foo", "common", FOO, "v6"))
    await made(call, definition("Waldo", "common", WALDO, "v6"))
    schemas = await v3(call, "common", "v6")
    for kind, schema in (("Foo", FOO), ("Waldo", WALDO)):
        assert bare(await v2(call, "common", "v6", kind)) == schema
        assert bare(schemas[f"com.example.common.v6.{kind}"]) == schema


async def test_updates_the_published_spec_when_one_version_gets_renamed(call: Call) -> None:
    name = await made(call, definition("Foo", "multi", FOO, "v2", "v3"))
    assert await v2(call, "multi", "v3", "Foo") is not None
    patch = [
        {"op": "test", "path": "/spec/versions/1/name", "value": "v3"},
        {"op": "replace", "path": "/spec/versions/1/name", "value": "v4"},
    ]
    assert (await call("PATCH", f"{CRDS}/{name}", patch, "application/json-patch+json"))[0] == 200
    assert bare(await v2(call, "multi", "v4", "Foo")) == FOO
    assert await v2(call, "multi", "v3", "Foo") is None
    assert await v3(call, "multi", "v3") is None
    assert bare(await v2(call, "multi", "v2", "Foo")) == FOO


async def test_removes_definition_from_spec_when_one_version_gets_changed_to_not_be_served(call: Call) -> None:
    name = await made(call, definition("Foo", "single", FOO, "v5", "v6alpha1"))
    assert await v2(call, "single", "v6alpha1", "Foo") is not None
    _, crd = await call("GET", f"{CRDS}/{name}")
    crd["spec"]["versions"][1]["served"] = False
    assert (await call("PUT", f"{CRDS}/{name}", crd))[0] == 200
    assert await v2(call, "single", "v6alpha1", "Foo") is None
    assert await v3(call, "single", "v6alpha1") is None
    assert bare(await v2(call, "single", "v5", "Foo")) == FOO


@pytest.mark.parametrize("word", ["allOf", "anyOf", "oneOf"])
async def test_what_v2_has_no_words_for(call: Call, word: str) -> None:
    either = {"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}, TEXT]}
    fields: Obj = {
        "port": either,
        "maybe": TEXT | {"nullable": True},
        "list": {"type": "array", "items": TEXT, "nullable": True},
        "map": {"type": "object", "additionalProperties": either},
        "not": {"type": "integer", "not": {"minimum": 3}},
    }
    spec = {"properties": fields, "required": ["maybe", "port"], word: [{"required": ["port"]}]}
    await made(call, definition("Hard", "hard", spec_and_status("hard", spec), "v1"))
    found = await v2(call, "hard", "v1", "Hard")
    assert found is not None
    assert found["properties"]["spec"] == {
        "type": "object",
        "description": "What is wanted.",
        "required": ["port"],
        "properties": {
            "port": {"x-kubernetes-int-or-string": True},
            "maybe": {},
            "list": {},
            "map": {"type": "object", "additionalProperties": {"x-kubernetes-int-or-string": True}},
            "not": {"type": "integer"},
        },
    }
    _, document = await call("GET", "/openapi/v2")
    assert b"com.example.hard.v1.Hard" in packed(document)


async def test_embedded_objects_have_what_every_object_has(call: Call) -> None:
    embedded = {"type": "object", "x-kubernetes-embedded-resource": True, "properties": {"spec": {"type": "object"}}}
    spec = {"properties": {"template": embedded, "free": {"type": "object", **PRESERVE, **embedded}}}
    await made(call, definition("Outer", "outer", spec_and_status("outer", spec), "v1"))
    found = (await v3(call, "outer", "v1"))["com.example.outer.v1.Outer"]["properties"]["spec"]["properties"]
    for name in ("template", "free"):
        assert set(found[name]["properties"]) == {"spec", "apiVersion", "kind", "metadata"}
        assert found[name]["required"] == ["kind", "apiVersion"]
    two = await v2(call, "outer", "v1", "Outer")
    assert two is not None
    found = two["properties"]["spec"]["properties"]
    assert found["template"]["properties"]["metadata"]["$ref"].startswith("#/definitions/")
    assert "properties" not in found["free"]


async def test_every_reference_of_a_custom_kind_leads_somewhere_and_lists_have_their_own_name(call: Call) -> None:
    crd = definition("Foo", "foo", FOO, "v1", listKind="FooCollection")
    scale = {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}
    crd["spec"]["versions"][0]["subresources"] = {"status": {}, "scale": scale}
    await made(call, crd)
    _, document = await call("GET", "/openapi/v3/apis/foo.example.com/v1")
    schemas = document["components"]["schemas"]
    text = encode(document).decode()
    references = {part.partition('"')[0] for part in text.split('"#/components/schemas/')[1:]}
    assert references <= set(schemas)
    assert "io.k8s.api.autoscaling.v1.Scale" in references
    assert schemas["com.example.foo.v1.FooCollection"]["required"] == ["items"]
    _, found = await call("GET", "/apis/foo.example.com/v1/foos")
    assert found["kind"] == "FooCollection"


async def test_the_hash_of_a_document_changes_with_what_is_in_it(call: Call) -> None:
    name = await made(call, definition("Foo", "foo", FOO, "v1"))

    async def told() -> str:
        url = (await call("GET", "/openapi/v3"))[1]["paths"]["apis/foo.example.com/v1"]["serverRelativeURL"]
        return str(url)

    seen = {await told()}
    for change in ({"subresources": {"status": {}}}, {"schema": {"openAPIV3Schema": WALDO}}):
        _, crd = await call("GET", f"{CRDS}/{name}")
        crd["spec"]["versions"][0] |= change
        assert (await call("PUT", f"{CRDS}/{name}", crd))[0] == 200
        seen.add(await told())
    assert len(seen) == 3
