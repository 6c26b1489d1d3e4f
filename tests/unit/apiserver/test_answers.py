"""Answers in protobuf say what the same answers in JSON say: objects, lists, watches, errors, reviews, discovery."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from pybernetes.api import proto
from pybernetes.api.objects import Obj, decode
from pybernetes.api.proto.message import decode_message
from pybernetes.api.resources import RESOURCES, Resource
from pybernetes.apiserver import ApiServer
from pybernetes.wire import Request

from .conftest import Call, call_of

PROTOBUF = "application/vnd.kubernetes.protobuf"
PARTIAL = f"{PROTOBUF};as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
MAPS = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"
POD = {
    "metadata": {"name": "p"},
    "spec": {"containers": [{"name": "c", "image": "i", "ports": [{"containerPort": 1}]}]},
}
DEPLOYMENT = {
    "metadata": {"name": "d"},
    "spec": {
        "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": POD["spec"]},
    },
}
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"


async def packed(call: Call, method: str, path: str, body: Any = None, *, accept: str = PROTOBUF) -> tuple[int, Obj]:
    """The code, and the object of an answer that must be protobuf."""
    code, said = await call(method, path, body, accept=accept)
    assert call.headers["content-type"] == PROTOBUF, said  # type: ignore[attr-defined]
    return code, proto.decode(said)


async def both(call: Call, path: str, accept: str = PROTOBUF) -> Obj:
    """What is read, once it is found to be the same in protobuf and in JSON."""
    _, wanted = await call("GET", path, accept=accept.replace(PROTOBUF, "application/json"))
    code, said = await call("GET", path, accept=accept)
    assert (code, call.headers["content-type"]) == (200, PROTOBUF)  # type: ignore[attr-defined]
    assert said == proto.encode(wanted)
    return dict(wanted)


async def test_one_object(call: Call) -> None:
    await call("POST", PODS, POD)
    found = await both(call, f"{PODS}/p")
    assert found["spec"]["containers"][0]["ports"] == [{"containerPort": 1, "protocol": "TCP"}]
    assert (await both(call, f"{PODS}/p", PARTIAL))["kind"] == "PartialObjectMetadata"


LISTED = [row for row in RESOURCES if "list" in row.verbs]


@pytest.mark.parametrize("row", LISTED, ids=lambda row: f"{row.api_version}/{row.plural}")
async def test_lists_of_every_kind(call: Call, row: Resource) -> None:
    if row.plural == "pods":
        await call("POST", PODS, POD)
    found = await both(call, f"{row.root}/{row.plural}")
    assert found["kind"] == row.list_kind
    partial = PARTIAL.replace("Metadata;", "MetadataList;")
    assert len((await both(call, f"{row.root}/{row.plural}", partial))["items"]) == len(found["items"])


async def test_a_long_list_is_made_in_pieces(call: Call, server: ApiServer) -> None:
    for number in range(120):
        await call("POST", MAPS, {"metadata": {"name": f"m{number:03}"}, "data": {"n": str(number)}})
    assert len((await both(call, MAPS))["items"]) == 120
    request = Request(path=MAPS, headers={"accept": PROTOBUF}, stream=True)
    response = await server.trusted("a", "system:masters").send(request)
    assert not isinstance(response.body, bytes)
    parts = [part async for part in response.body]
    assert len(parts) > 3
    code, page = await packed(call, "GET", f"{MAPS}?limit=7")
    assert (code, page["metadata"]["remainingItemCount"], len(page["items"])) == (200, 113, 7)
    _, rest = await packed(call, "GET", f"{MAPS}?continue={page['metadata']['continue']}")
    assert [one["metadata"]["name"] for one in rest["items"]][:1] == ["m007"]


async def test_writes(call: Call) -> None:
    code, made = await packed(call, "POST", MAPS, {"metadata": {"name": "a"}, "data": {"k": ""}})
    assert (code, made["data"]) == (201, {"k": ""})
    code, changed = await packed(call, "PUT", f"{MAPS}/a", made | {"data": {"k": "2"}})
    assert (code, changed["data"]) == (200, {"k": "2"})
    code, said = await call("PATCH", f"{MAPS}/a", {"data": {"k": "3"}}, "application/merge-patch+json", accept=PROTOBUF)
    assert (code, proto.decode(said)["data"]) == (200, {"k": "3"})
    code, gone = await packed(call, "DELETE", f"{MAPS}/a")
    assert (code, gone["kind"], gone["status"], gone["details"]["name"]) == (200, "Status", "Success", "a")
    await call("POST", MAPS, {"metadata": {"name": "b"}})
    assert [one["metadata"]["name"] for one in (await packed(call, "DELETE", MAPS))[1]["items"]] == ["b"]


async def test_errors(call: Call, server: ApiServer) -> None:
    code, status = await packed(call, "GET", f"{MAPS}/none")
    assert (code, status["kind"], status["reason"], status["code"]) == (404, "Status", "NotFound", 404)
    assert status["details"] == {"name": "none", "kind": "configmaps"}
    code, status = await packed(call, "POST", PODS, {"metadata": {"name": "A"}, "spec": {"containers": []}})
    assert (code, status["reason"], len(status["details"]["causes"])) == (422, "Invalid", 2)
    code, status = await packed(call_of(server, "nobody", "nobodies"), "GET", MAPS)
    assert (code, status["reason"]) == (403, "Forbidden")
    code, status = await packed(call, "GET", "/apis/none/v1")
    assert (code, status["reason"]) == (404, "NotFound")
    code, said = await call("GET", f"{MAPS}/none", accept="application/yaml")
    assert (code, call.headers["content-type"]) == (404, "application/yaml")  # type: ignore[attr-defined]
    assert b"reason: NotFound" in said


async def test_an_error_is_told_in_json_when_nothing_that_is_accepted_can_tell_it(call: Call) -> None:
    only = "application/json;as=Table;g=meta.k8s.io;v=v1"
    code, status = await call("GET", f"{MAPS}/none", accept=only)
    assert (code, status["reason"]) == (404, "NotFound")


async def test_a_table_has_no_protobuf_form(call: Call) -> None:
    table = "as=Table;g=meta.k8s.io;v=v1"
    code, status = await call("GET", MAPS, accept=f"{PROTOBUF};{table}")
    assert (code, status["reason"]) == (406, "NotAcceptable")
    code, found = await call("GET", MAPS, accept=f"{PROTOBUF};{table},application/json;{table}")
    assert (code, found["kind"]) == (200, "Table")


async def test_json_where_both_are_taken(call: Call) -> None:
    for accept in (f"{PROTOBUF},application/json", f"{PROTOBUF}, */*"):
        assert (await call("GET", MAPS, accept=accept))[1]["kind"] == "ConfigMapList"


async def test_parts(call: Call) -> None:
    await call("POST", DEPLOYMENTS, DEPLOYMENT)
    assert (await both(call, f"{DEPLOYMENTS}/d/scale"))["spec"] == {"replicas": 1}
    code, scale = await packed(call, "PUT", f"{DEPLOYMENTS}/d/scale", {"metadata": {"name": "d"}, "spec": {}})
    assert (code, scale["kind"], scale.get("spec")) == (200, "Scale", None)  # zero replicas
    await call("POST", PODS, POD)
    binding = {"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n"}}
    code, status = await packed(call, "POST", f"{PODS}/p/binding", binding)
    assert (code, status["status"], status["code"]) == (201, "Success", 201)
    await both(call, f"{PODS}/p/status")
    code, status = await packed(call, "POST", f"{PODS}/p/eviction", {"metadata": {"name": "p"}})
    assert (code, status["status"]) == (201, "Success")
    code, status = await packed(call, "POST", "/api/v1/namespaces/default/bindings", binding)
    assert (code, status["reason"]) == (409, "Conflict")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("authentication.k8s.io/v1/selfsubjectreviews", {}),
        ("authentication.k8s.io/v1/tokenreviews", {"spec": {"token": "x"}}),
        (
            "authorization.k8s.io/v1/subjectaccessreviews",
            {"spec": {"user": "u", "extra": {"k": ["v"]}, "resourceAttributes": {"verb": "get", "resource": "pods"}}},
        ),
        ("authorization.k8s.io/v1/selfsubjectrulesreviews", {"spec": {"namespace": "default"}}),
    ],
)
async def test_reviews(call: Call, path: str, body: Obj) -> None:
    _, wanted = await call("POST", f"/apis/{path}", body)
    code, said = await call("POST", f"/apis/{path}", body, accept=PROTOBUF)
    assert (code, said) == (201, proto.encode(wanted))
    assert proto.decode(said)["status"]


@pytest.mark.parametrize(
    "path", ["/api", "/api/v1", "/apis", "/apis/apps", "/apis/apps/v1", "/apis/discovery.k8s.io/v1"]
)
async def test_discovery(call: Call, path: str) -> None:
    assert await both(call, path)
    tag = call.headers["etag"]  # type: ignore[attr-defined]
    assert (await call("GET", path, accept=PROTOBUF, if_none_match=tag))[0] == 304
    assert (await call("GET", path, if_none_match=tag))[0] == 200


@pytest.mark.parametrize("version", ["v2", "v2beta1"])
@pytest.mark.parametrize("path", ["/api", "/apis"])
async def test_aggregated_discovery(call: Call, path: str, version: str) -> None:
    form = f"g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList"
    _, wanted = await call("GET", path, accept=f"application/json;{form}")
    code, said = await call("GET", path, accept=f"{PROTOBUF};{form},{PROTOBUF}")
    assert (code, call.headers["content-type"]) == (200, f"{PROTOBUF};{form}")  # type: ignore[attr-defined]
    assert said == proto.encode(wanted)
    assert (await call("GET", path, accept=f"{PROTOBUF};{form},application/json;{form}"))[1] == wanted


class Frames:
    """The events of a watch in protobuf: type, object and the object's bytes."""

    def __init__(self, body: Any) -> None:
        self._chunks = aiter(body)
        self._ready: list[tuple[str, Obj]] = []

    async def next(self) -> tuple[str, Obj]:
        while not self._ready:
            self._ready = [_event(frame) for frame in proto.frames(await anext(self._chunks))]
        return self._ready.pop(0)


def _event(frame: bytes) -> tuple[str, Obj]:
    size = frame[1]
    kind, rest = frame[2 : 2 + size].decode(), frame[2 + size :]
    body = rest[rest.index(proto.MAGIC) :]
    return kind, proto.decode(body)


@asynccontextmanager
async def watching(
    server: ApiServer, query: str = "", path: str = MAPS, accept: str = PROTOBUF
) -> AsyncIterator[Frames]:
    pairs = [one.partition("=") for one in f"watch=true&{query}".split("&") if one]
    parameters = {name: [value] for name, _, value in pairs}
    request = Request(path=MAPS, query=parameters, headers={"accept": accept}, stream=True)
    response = await server.trusted("admin", "system:masters").send(request)
    assert response.headers["content-type"] == f"{PROTOBUF};stream=watch"
    assert not isinstance(response.body, bytes)
    try:
        yield Frames(response.body)
    finally:
        await response.body.aclose()  # type: ignore[attr-defined]


async def test_a_watch(call: Call, server: ApiServer) -> None:
    await call("POST", MAPS, {"metadata": {"name": "a"}})
    options = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    async with watching(server, options) as watch:
        kind, found = await watch.next()
        assert (kind, found) == ("ADDED", proto.decode(proto.encode((await call("GET", f"{MAPS}/a"))[1])))
        kind, mark = await watch.next()
        assert (kind, mark["kind"]) == ("BOOKMARK", "ConfigMap")
        assert mark["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
        await call("PATCH", f"{MAPS}/a", {"data": {"x": "1"}}, "application/merge-patch+json")
        kind, found = await watch.next()
        assert (kind, found["data"]) == ("MODIFIED", {"x": "1"})
        await call("DELETE", f"{MAPS}/a")
        kind, gone = await watch.next()
        assert (kind, gone["data"]) == ("DELETED", {"x": "1"})
        assert int(gone["metadata"]["resourceVersion"]) > int(found["metadata"]["resourceVersion"])


async def test_watches_of_both_encodings_see_the_same(call: Call, server: ApiServer) -> None:
    """What is encoded once is not given to those who read it otherwise."""
    query = "resourceVersion=0"
    async with (
        watching(server, query) as one,
        watching(server, query) as two,
        watching(server, query, accept=PARTIAL) as three,
    ):
        await call("POST", MAPS, {"metadata": {"name": "a"}, "data": {"x": "1"}})
        first = await one.next()
        assert first == await two.next()
        assert (first[1]["kind"], (await three.next())[1]["kind"]) == ("ConfigMap", "PartialObjectMetadata")


async def test_a_watch_that_comes_too_late_is_told_so_in_its_stream(call: Call, server: ApiServer) -> None:
    await call("POST", MAPS, {"metadata": {"name": "a"}})
    shelf = server.registry.shelf(next(row for row in RESOURCES if row.plural == "configmaps"))
    shelf.oldest = server.cache.revision + 1
    async with watching(server, f"resourceVersion={server.cache.revision}") as watch:
        kind, status = await watch.next()
        assert (kind, status["kind"], status["code"]) == ("ERROR", "Status", 410)


async def test_yaml_is_no_stream(call: Call) -> None:
    code, said = await call("GET", f"{MAPS}?watch=true", accept="application/yaml")
    assert code == 406
    assert b"application/vnd.kubernetes.protobuf;stream=watch" in said


CRD = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "spams.x.io"},
    "spec": {
        "group": "x.io",
        "scope": "Namespaced",
        "names": {"plural": "spams", "kind": "Spam"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {"type": "object", "properties": {"n": {"type": "integer", "default": 0}}},
                },
            }
        ],
    },
}
SPAMS = "/apis/x.io/v1/namespaces/default/spams"


async def test_custom_resources(call: Call) -> None:
    code, made = await packed(call, "POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", CRD)
    assert code == 201
    schema = made["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    assert schema["properties"]["n"] == {"type": "integer", "default": 0}
    async with asyncio.timeout(60):
        while (await call("GET", SPAMS))[0] != 200:
            await asyncio.sleep(0)
    assert (await call("POST", SPAMS, {"metadata": {"name": "a"}}, accept=f"{PROTOBUF},application/json"))[0] == 201
    for path in (SPAMS, f"{SPAMS}/a", f"{SPAMS}?watch=true"):
        code, status = await packed(call, "GET", path)
        assert (code, status["reason"]) == (406, "NotAcceptable")
    code, found = await call("GET", f"{SPAMS}/a", accept=f"{PROTOBUF},application/json")
    assert (code, found["n"]) == (200, 0)
    assert (await both(call, f"{SPAMS}/a", PARTIAL))["metadata"]["name"] == "a"
    code, status = await packed(call, "GET", f"{SPAMS}/none", accept=f"{PARTIAL},{PROTOBUF}")
    assert (code, status["reason"]) == (404, "NotFound")
    assert (await both(call, "/apis/x.io/v1"))["resources"][0]["kind"] == "Spam"


def test_the_event_of_a_frame_is_a_watch_event() -> None:
    """As Go reads it: a bare message, with the object's own bytes within."""
    frame = next(proto.frames(proto.encode_event("ADDED", b"{}")))
    assert decode_message("meta.v1.WatchEvent", frame) == {"type": "ADDED", "object": decode(b"{}")}
