"""Webhooks for custom resources, by the names of the conformance suite (AdmissionWebhook)."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from pybernetes.api.objects import Obj
from unit.apiserver.test_custom import CRDS, TREES, definition, established, tree, version  # type: ignore[import-not-found]

from .test_admission import World, deny, patch, running

TREE_RULE = {"apiGroups": ["example.com"], "apiVersions": ["*"], "resources": ["trees"]}
MERGE = "application/merge-patch+json"


@pytest.fixture
async def world(hooks: Any) -> AsyncIterator[World]:
    async with running(hooks) as found:
        yield found


async def test_should_be_able_to_deny_custom_resource_creation_update_and_deletion(world: World) -> None:
    await established(world.call, definition())
    assert (await world.call("POST", TREES, tree("kept")))[0] == 201

    def judge(request: Obj) -> Obj:
        seen = request["object"] or request["oldObject"]
        return deny("not this one") if request["operation"] == "DELETE" or seen["spec"]["kind"] == "elm" else {}

    await world.add("/judge", judge, rule=TREE_RULE)
    code, answer = await world.call("POST", TREES, tree("b", kind="elm"))
    assert (code, answer["message"]) == (400, 'admission webhook "judge.example.com" denied the request: not this one')
    assert (await world.call("PATCH", f"{TREES}/kept", {"spec": {"kind": "elm"}}, MERGE))[0] == 400
    assert (await world.call("DELETE", f"{TREES}/kept"))[0] == 400
    assert (await world.call("PATCH", f"{TREES}/kept", {"spec": {"height": 9}}, MERGE))[0] == 200
    assert world.asked[-1]["kind"] == {"group": "example.com", "version": "v1", "kind": "Tree"}


async def test_should_mutate_custom_resource_with_pruning(world: World) -> None:
    await established(world.call, definition())
    operations = (
        {"op": "add", "path": "/spec/tags", "value": ["by-webhook"]},
        {"op": "add", "path": "/spec/unknown", "value": 1},
    )
    await world.add("/mutate", lambda _: patch(*operations), mutating=True, rule=TREE_RULE)
    code, made = await world.call("POST", TREES, tree())
    assert (code, made["spec"]) == (201, {"kind": "oak", "height": 3, "tags": ["by-webhook"]})
    assert world.asked[0]["object"]["spec"]["height"] == 3


async def test_should_mutate_custom_resource_with_different_stored_version(world: World) -> None:
    await established(world.call, definition(version("v1"), version("v2", storage=False)))
    mark = {"op": "add", "path": "/spec/tags", "value": ["by-webhook"]}
    rule = TREE_RULE | {"operations": ["CREATE", "UPDATE"]}
    await world.add("/mutate", lambda _: patch(mark), mutating=True, rule=rule)
    assert (await world.call("POST", TREES, tree()))[0] == 201
    _, crd = await world.call("GET", f"{CRDS}/trees.example.com")
    for one in crd["spec"]["versions"]:
        one["storage"] = one["name"] == "v2"
    assert (await world.call("PUT", f"{CRDS}/trees.example.com", crd))[0] == 200
    code, found = await world.call("PATCH", f"{TREES}/a", {"spec": {"height": 5}}, MERGE)
    assert (code, found["apiVersion"], found["spec"]["tags"]) == (200, "example.com/v1", ["by-webhook"])
    _, found = await world.call("GET", TREES.replace("v1", "v2") + "/a")
    assert (found["apiVersion"], found["spec"]["height"]) == ("example.com/v2", 5)


async def test_should_deny_crd_creation(world: World) -> None:
    rule = {
        "operations": ["CREATE"],
        "apiGroups": ["apiextensions.k8s.io"],
        "apiVersions": ["*"],
        "resources": ["customresourcedefinitions"],
    }
    await world.add("/crds", lambda _: deny("no new kinds"), rule=rule)
    code, answer = await world.call("POST", CRDS, definition())
    assert (code, "no new kinds" in answer["message"]) == (400, True)
    assert (await world.call("GET", f"{CRDS}/trees.example.com"))[0] == 404
