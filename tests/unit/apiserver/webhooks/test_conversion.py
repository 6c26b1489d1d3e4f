"""Conversion webhooks over TLS against a whole API server (CustomResourceConversionWebhook and what goes with it)."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from pybernetes.api.objects import Obj, decode, encode
from pybernetes.apiserver import ApiServer
from pybernetes.wire import Request, Response
from support.server import api_server
from unit.apiserver.conftest import Call, call_of  # type: ignore[import-not-found]
from unit.apiserver.test_custom import CRDS, established  # type: ignore[import-not-found]
from unit.apiserver.test_watching import watching  # type: ignore[import-not-found]

V1 = "/apis/stable.example.com/v1/namespaces/default/endpoints"
V2 = "/apis/stable.example.com/v2/namespaces/default/endpoints"
NAME = "endpoints.stable.example.com"
MERGE = "application/merge-patch+json"
APPLY = "application/apply-patch+yaml"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
PARTIAL = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"
TEXT, COUNT = {"type": "string"}, {"type": "integer"}


def version(name: str, *, storage: bool, **fields: Obj) -> Obj:
    spec = {"type": "object", "properties": fields | {"replicas": COUNT}}
    status = {"type": "object", "properties": {"replicas": COUNT, "seen": TEXT}}
    schema = {"type": "object", "properties": {"spec": spec, "status": status}}
    scale = {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}
    return {
        "name": name,
        "served": True,
        "storage": storage,
        "schema": {"openAPIV3Schema": schema},
        "subresources": {"status": {}, "scale": scale},
    }


def v1(*, storage: bool = True) -> Obj:
    columns = [{"name": "HostPort", "type": "string", "jsonPath": ".spec.hostPort"}]
    return version("v1", storage=storage, hostPort=TEXT) | {"additionalPrinterColumns": columns}


def v2(*, storage: bool = False) -> Obj:
    columns = [{"name": "Host", "type": "string", "jsonPath": ".spec.host"}]
    found = version("v2", storage=storage, host=TEXT, port=TEXT)
    return found | {"additionalPrinterColumns": columns, "selectableFields": [{"jsonPath": ".spec.host"}]}


def one(name: str = "a", host_port: str = "localhost:8080", **spec: Any) -> Obj:
    kind = {"apiVersion": "stable.example.com/v1", "kind": "Endpoint", "metadata": {"name": name}}
    return kind | {"spec": {"hostPort": host_port} | spec}


def two(name: str = "a", host: str = "localhost", port: str = "8080", **spec: Any) -> Obj:
    kind = {"apiVersion": "stable.example.com/v2", "kind": "Endpoint", "metadata": {"name": name}}
    return kind | {"spec": {"host": host, "port": port} | spec}


def turned(obj: Obj, desired: str) -> Obj:
    """What the conformance suite's webhook does with one object."""
    spec = dict(obj.get("spec") or {})
    if desired.endswith("/v2") and "hostPort" in spec:
        spec["host"], _, spec["port"] = spec.pop("hostPort").partition(":")
    elif desired.endswith("/v1") and "host" in spec:
        spec["hostPort"] = f"{spec.pop('host')}:{spec.pop('port')}"
    return obj | {"apiVersion": desired} | ({"spec": spec} if "spec" in obj else {})


class World:
    """A server, a conversion webhook beside it, and what that was asked. `spoil` makes its answers bad."""

    def __init__(self, server: ApiServer, call: Call, hooks: Any) -> None:
        self.server, self.call, self.hooks = server, call, hooks
        self.asked: list[Obj] = []
        self.spoil: Callable[[Obj], object] = lambda review: None
        self.open = asyncio.Event()
        """Answers wait for it."""
        self.open.set()
        self.port = 0

    async def handle(self, request: Request) -> Response:
        review = decode(request.body)
        asked = review.pop("request")
        self.asked.append(asked | {"query": dict(request.query), "review": review["apiVersion"]})
        await self.open.wait()
        objects = [turned(obj, asked["desiredAPIVersion"]) for obj in asked["objects"]]
        review["response"] = {"uid": asked["uid"], "result": {"status": "Success"}, "convertedObjects": objects}
        self.spoil(review)
        return Response(body=encode(review))

    def definition(self, *versions: Obj, **webhook: Any) -> Obj:
        client = {"url": f"https://127.0.0.1:{self.port}/convert", "caBundle": self.hooks.bundle}
        found = {"clientConfig": client, "conversionReviewVersions": ["v2", "v1"]} | webhook
        spec = {
            "group": "stable.example.com",
            "scope": "Namespaced",
            "names": {"plural": "endpoints", "kind": "Endpoint"},
            "versions": list(versions or (v1(), v2())),
            "conversion": {"strategy": "Webhook", "webhook": found},
        }
        return {"metadata": {"name": NAME}, "spec": spec}

    async def store(self, stored: str) -> None:
        """Make a version the one that is stored."""
        _, crd = await self.call("GET", f"{CRDS}/{NAME}")
        for each in crd["spec"]["versions"]:
            each["storage"] = each["name"] == stored
        code, answer = await self.call("PUT", f"{CRDS}/{NAME}", crd)
        assert code == 200, answer

    async def stored(self, name: str = "a") -> Obj:
        """The object as the store has it."""
        item = self.server.cache.shelf("/registry/stable.example.com/endpoints/").items[
            f"/registry/stable.example.com/endpoints/default/{name}"
        ]
        found: Obj = decode(item.record.value)
        return found


@pytest.fixture
async def world(hooks: Any) -> AsyncIterator[World]:
    async with api_server() as server:
        found = World(server, call_of(server), hooks)
        async with hooks.serving(found.handle) as port:
            found.port = port
            await established(found.call, found.definition(), name=NAME)
            yield found


async def test_should_be_able_to_convert_from_cr_v1_to_cr_v2(world: World) -> None:
    assert (await world.call("POST", V1, one()))[0] == 201
    assert world.asked == []
    code, found = await world.call("GET", f"{V2}/a")
    assert (code, found["apiVersion"]) == (200, "stable.example.com/v2")
    assert found["spec"] == {"host": "localhost", "port": "8080"}
    (asked,) = world.asked
    assert asked["desiredAPIVersion"] == "stable.example.com/v2"
    assert asked["objects"][0]["spec"] == {"hostPort": "localhost:8080"}
    assert (asked["query"], asked["review"]) == ({"timeout": ["30s"]}, "apiextensions.k8s.io/v1")
    assert (await world.call("GET", f"{V1}/a"))[1]["metadata"] == found["metadata"]
    await world.call("GET", f"{V2}/a")
    assert len(world.asked) == 1  # it is known how this looks


async def test_should_be_able_to_convert_a_non_homogeneous_list_of_crs(world: World) -> None:
    await world.call("POST", V1, one("a"))
    await world.store("v2")
    assert (await world.call("POST", V2, two("b", "example.com", "80")))[0] == 201
    world.asked.clear()
    for path, wanted in (
        (V1, [{"hostPort": "localhost:8080"}, {"hostPort": "example.com:80"}]),
        (V2, [{"host": "localhost", "port": "8080"}, {"host": "example.com", "port": "80"}]),
    ):
        code, found = await world.call("GET", path)
        assert (code, [item["spec"] for item in found["items"]]) == (200, wanted)
        assert {item["apiVersion"] for item in found["items"]} == {found["apiVersion"]}
    assert [len(asked["objects"]) for asked in world.asked] == [1, 1]


async def test_a_list_is_asked_for_in_one_review_and_its_pages_page_by_page(world: World) -> None:
    for name in "abcde":
        await world.call("POST", V1, one(name))
    _, page = await world.call("GET", f"{V2}?limit=2")
    assert [len(asked["objects"]) for asked in world.asked] == [2]
    _, rest = await world.call("GET", f"{V2}?limit=9&continue={page['metadata']['continue']}")
    assert [len(asked["objects"]) for asked in world.asked] == [2, 3]
    assert [item["spec"]["host"] for item in page["items"] + rest["items"]] == ["localhost"] * 5
    await world.call("GET", V2)
    assert len(world.asked) == 2


async def test_a_write_in_another_version_is_stored_in_the_stored_one(world: World) -> None:
    code, made = await world.call("POST", V2, two())
    assert (code, made["apiVersion"], made["spec"]) == (201, "stable.example.com/v2", two()["spec"])
    assert (await world.stored())["spec"] == {"hostPort": "localhost:8080"}
    code, found = await world.call("PATCH", f"{V2}/a", [{"op": "replace", "path": "/spec/host", "value": "h"}],
                                   "application/json-patch+json")  # fmt: skip
    assert (code, found["spec"], found["metadata"]["generation"]) == (200, {"host": "h", "port": "8080"}, 2)
    assert (await world.call("GET", f"{V1}/a"))[1]["spec"] == {"hostPort": "h:8080"}
    found["spec"]["port"] = "9"
    assert (await world.call("PUT", f"{V2}/a", found))[1]["spec"] == {"host": "h", "port": "9"}
    revision = (await world.call("GET", f"{V1}/a"))[1]["metadata"]["resourceVersion"]
    _, found = await world.call("PATCH", f"{V2}/a", {"spec": {"port": "9"}}, MERGE)
    assert found["metadata"]["resourceVersion"] == revision  # nothing changed


async def test_a_dry_run_shows_the_version_and_stores_nothing(world: World) -> None:
    _, made = await world.call("POST", f"{V2}?dryRun=All", two())
    assert (made["apiVersion"], made["spec"]["host"]) == ("stable.example.com/v2", "localhost")
    await world.call("POST", V1, one())
    code, found = await world.call("PATCH", f"{V2}/a?dryRun=All", {"spec": {"host": "dry"}}, MERGE)
    assert (code, found["spec"]["host"]) == (200, "dry")
    assert (await world.call("GET", f"{V2}/a"))[1]["spec"]["host"] == "localhost"


async def test_an_update_without_a_change_migrates_to_the_stored_version(world: World) -> None:
    await world.call("POST", V1, one())
    await world.store("v2")
    _, found = await world.call("GET", f"{V1}/a")
    assert (await world.call("PUT", f"{V1}/a", found))[0] == 200
    assert (await world.stored())["apiVersion"] == "stable.example.com/v2"
    _, again = await world.call("GET", f"{V1}/a")
    assert again["metadata"]["resourceVersion"] != found["metadata"]["resourceVersion"]
    assert (await world.call("PUT", f"{V1}/a", again))[1]["metadata"] == again["metadata"]


async def test_watches_show_their_version_and_ask_once_for_all(world: World) -> None:
    await world.call("POST", V1, one())
    await world.call("GET", f"{V2}/a")
    async with watching(world.server, path=V2) as first, watching(world.server, path=V2) as second:
        assert (await first.next())[1]["spec"] == {"host": "localhost", "port": "8080"}
        await second.next()
        world.asked.clear()
        await world.call("PATCH", f"{V1}/a", {"spec": {"hostPort": "h:1"}}, MERGE)
        for watch in (first, second):
            kind, found = await watch.next()
            assert (kind, found["spec"]) == ("MODIFIED", {"host": "h", "port": "1"})
        assert len(world.asked) == 1
        await world.call("DELETE", f"{V1}/a")
        kind, found = await first.next()
        assert (kind, found["spec"]) == ("DELETED", {"host": "h", "port": "1"})


async def test_a_watch_list_is_converted_and_marked(world: World) -> None:
    await world.call("POST", V1, one())
    query = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    async with watching(world.server, query, V2) as watch:
        assert (await watch.next())[1]["apiVersion"] == "stable.example.com/v2"
        kind, mark = await watch.next()
        assert (kind, mark["apiVersion"]) == ("BOOKMARK", "stable.example.com/v2")


async def test_selectors_look_at_the_version_that_is_asked_for(world: World) -> None:
    await world.call("POST", V1, one("a", "one:1"))
    async with watching(world.server, "fieldSelector=spec.host=two", V2) as watch:
        await world.call("POST", V1, one("b", "two:2"))
        await world.call("PATCH", f"{V1}/b", {"spec": {"hostPort": "one:2"}}, MERGE)
        await world.call("PATCH", f"{V1}/a", {"spec": {"hostPort": "two:1"}}, MERGE)
        assert await watch.told(3) == [("ADDED", "b"), ("DELETED", "b"), ("ADDED", "a")]
    _, found = await world.call("GET", f"{V2}?fieldSelector=spec.host=one")
    assert [item["metadata"]["name"] for item in found["items"]] == ["b"]
    code, answer = await world.call("GET", f"{V1}?fieldSelector=spec.host=one")
    assert (code, answer["message"]) == (400, "field label not supported: spec.host")


async def test_tables_and_metadata_alone(world: World) -> None:
    await world.call("POST", V1, one())
    _, table = await world.call("GET", V2, accept=TABLE)
    assert [column["name"] for column in table["columnDefinitions"]] == ["Name", "Host"]
    assert table["rows"][0]["cells"] == ["a", "localhost"]
    _, table = await world.call("GET", V1, accept=TABLE)
    assert table["rows"][0]["cells"] == ["a", "localhost:8080"]
    _, found = await world.call("GET", V2, accept=PARTIAL)
    assert (found["kind"], found["items"][0]["metadata"]["name"]) == ("PartialObjectMetadataList", "a")


async def test_status_and_scale_of_the_other_version(world: World) -> None:
    await world.call("POST", V1, one(replicas=2))
    code, found = await world.call("PATCH", f"{V2}/a/status", {"status": {"replicas": 1, "seen": "x"}}, MERGE)
    assert (code, found["apiVersion"], found["status"]) == (200, "stable.example.com/v2", {"replicas": 1, "seen": "x"})
    assert (await world.call("GET", f"{V2}/a/status"))[1]["spec"]["host"] == "localhost"
    _, scale = await world.call("GET", f"{V2}/a/scale")
    assert (scale["spec"], scale["status"]) == ({"replicas": 2}, {"replicas": 1})
    assert (await world.call("PATCH", f"{V2}/a/scale", {"spec": {"replicas": 5}}, MERGE))[1]["spec"] == {"replicas": 5}
    assert (await world.stored())["spec"] == {"hostPort": "localhost:8080", "replicas": 5}


async def test_admission_is_shown_the_version_its_rules_name(world: World) -> None:
    seen: list[Obj] = []

    async def judge(request: Request) -> Response:
        review = decode(request.body)
        seen.append(review["request"])
        return Response(body=encode(review | {"response": {"uid": review["request"]["uid"], "allowed": True}}))

    async with world.hooks.serving(judge) as port:
        rule = {"operations": ["*"], "apiGroups": ["stable.example.com"], "apiVersions": ["v1"]}
        hook = {
            "name": "judge.example.com",
            "clientConfig": {"url": f"https://127.0.0.1:{port}/", "caBundle": world.hooks.bundle},
            "rules": [rule | {"resources": ["endpoints"]}],
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
        }
        body = {"metadata": {"name": "judge"}, "webhooks": [hook]}
        path = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
        assert (await world.call("POST", path, body))[0] == 201
        assert (await world.call("POST", V2, two()))[0] == 201
        assert (await world.call("DELETE", f"{V2}/a"))[0] == 200
    made, gone = seen
    assert (made["kind"]["version"], made["requestKind"]["version"]) == ("v1", "v2")
    assert made["object"]["spec"] == {"hostPort": "localhost:8080"}
    assert gone["oldObject"]["spec"] == {"hostPort": "localhost:8080"}


def result(**fields: str) -> Callable[[Obj], object]:
    return lambda review: review["response"].update(result=fields)


def first(**fields: Any) -> Callable[[Obj], object]:
    return lambda review: review["response"]["convertedObjects"][0].update(fields)


def renamed(field: str, value: Any) -> Callable[[Obj], object]:
    return lambda review: review["response"]["convertedObjects"][0]["metadata"].update({field: value})


FAILED = "conversion webhook for stable.example.com/v1, Kind=Endpoint failed: "
BAD = "conversion webhook for stable.example.com/v1, Kind=Endpoint returned invalid "
BAD_OBJECT = BAD + "converted object at index 0: "


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (result(status="Failure", message="no way"), FAILED + "no way"),
        (result(), FAILED + "response.result.status was '', not 'Success'"),
        (lambda review: review.pop("response"), FAILED + "no response provided"),
        (lambda review: review["response"].update(uid="x"), FAILED + "expected response.uid="),
        (
            lambda review: review.update(kind="Other"),
            FAILED + "expected webhook response of apiextensions.k8s.io/v1, Kind=ConversionReview, "
            "got apiextensions.k8s.io/v1, Kind=Other",
        ),
        (
            lambda review: review["response"].update(convertedObjects=[]),
            "conversion webhook for stable.example.com/v1, Kind=Endpoint returned 0 objects, expected 1",
        ),
        (
            first(apiVersion="stable.example.com/v3"),
            BAD_OBJECT + "invalid groupVersion (expected stable.example.com/v2, received stable.example.com/v3)",
        ),
        (first(kind="Other"), BAD_OBJECT + "invalid kind (expected Endpoint, received Other)"),
        (renamed("name", "b"), BAD_OBJECT + "must have the same name: a != b"),
        (renamed("namespace", "b"), BAD_OBJECT + "must have the same namespace: default != b"),
        (renamed("uid", "b"), BAD_OBJECT + "must have the same UID: "),
        (renamed("labels", {"a": 1}), BAD + "metadata in object at index 0: metadata.labels[a] must be a string"),
        (renamed("labels", {"a b": "x"}), BAD + "metadata in object at index 0: metadata.labels: Invalid value: "),
        (first(metadata=None), BAD_OBJECT + "must have the same name: a != "),
    ],
)
async def test_a_bad_answer_is_an_error(world: World, spoil: Callable[[Obj], object], message: str) -> None:
    await world.call("POST", V1, one())
    world.spoil = spoil
    for path in (f"{V2}/a", V2):
        code, answer = await world.call("GET", path)
        assert (code, answer["code"]) == (500, 500)
        assert answer["message"].startswith(message)
        assert "reason" not in answer or not answer["reason"]
    async with watching(world.server, path=V2) as watch:
        kind, status = await watch.next()
        assert (kind, status["code"]) == ("ERROR", 500)
        assert await watch.next() is None
    world.spoil = lambda review: None
    assert (await world.call("GET", f"{V2}/a"))[0] == 200


async def test_labels_and_annotations_may_change_and_nothing_else(world: World) -> None:
    await world.call("POST", V1, one() | {"metadata": {"name": "a", "labels": {"a": "b"}, "finalizers": ["x.io/f"]}})

    def spoil(review: Obj) -> None:
        meta = review["response"]["convertedObjects"][0]["metadata"]
        meta.update(labels={"c": "d"}, annotations={"e": "f"}, finalizers=[], creationTimestamp=None)

    world.spoil = spoil
    meta = (await world.call("GET", f"{V2}/a"))[1]["metadata"]
    assert (meta["labels"], meta["annotations"], meta["finalizers"]) == ({"c": "d"}, {"e": "f"}, ["x.io/f"])
    assert meta["creationTimestamp"]
    _, found = await world.call("GET", f"{V2}?labelSelector=c=d")
    assert len(found["items"]) == 1


async def test_fields_come_in_any_order(world: World) -> None:
    """Go writes maps sorted: apiVersion, host, kind."""
    await world.call("POST", V1, one())
    _, before = await world.call("GET", f"{V1}/a")

    def spoil(review: Obj) -> None:
        response = review["response"]
        response["convertedObjects"] = [dict(reversed(obj.items())) for obj in response["convertedObjects"]]

    world.spoil = spoil
    code, found = await world.call("GET", f"{V2}/a")
    assert (code, found["spec"]) == (200, {"host": "localhost", "port": "8080"})
    assert found["metadata"] == before["metadata"]
    _, listed = await world.call("GET", V2)
    assert [item["spec"] for item in listed["items"]] == [found["spec"]]
    assert (await world.call("PUT", f"{V2}/a", found))[0] == 200


async def test_what_the_schema_of_the_version_does_not_name_is_pruned(world: World) -> None:
    await world.call("POST", V1, one())
    world.spoil = first(spec={"host": "h", "port": "1", "unknown": True})
    assert (await world.call("GET", f"{V2}/a"))[1]["spec"] == {"host": "h", "port": "1"}


async def test_the_older_review_is_spoken_too(world: World) -> None:
    _, crd = await world.call("GET", f"{CRDS}/{NAME}")
    crd["spec"]["conversion"]["webhook"]["conversionReviewVersions"] = ["v1beta1", "v1"]
    assert (await world.call("PUT", f"{CRDS}/{NAME}", crd))[0] == 200
    await world.call("POST", V1, one())
    world.spoil = lambda review: review["response"].update(uid="")  # which v1beta1 did not look at
    assert (await world.call("GET", f"{V2}/a"))[0] == 200
    assert world.asked[0]["review"] == "apiextensions.k8s.io/v1beta1"


async def test_a_dead_webhook_leaves_the_stored_version_alone(world: World) -> None:
    await world.call("POST", V1, one())
    _, crd = await world.call("GET", f"{CRDS}/{NAME}")
    crd["spec"]["conversion"]["webhook"]["clientConfig"] = {"url": "https://127.0.0.1:1/convert"}
    assert (await world.call("PUT", f"{CRDS}/{NAME}", crd))[0] == 200
    for method, path, body in (("GET", f"{V2}/a", None), ("GET", V2, None), ("POST", V2, two("b"))):
        code, answer = await world.call(method, path, body)
        assert code == 500
        assert answer["message"].startswith("conversion webhook for stable.example.com/v")
        assert 'Kind=Endpoint failed: Post "https://127.0.0.1:1/convert?timeout=30s": dial tcp' in answer["message"]
    assert (await world.call("PATCH", f"{V1}/a", {"spec": {"hostPort": "h:1"}}, MERGE))[0] == 200
    assert len((await world.call("GET", V1))[1]["items"]) == 1
    assert (await world.call("DELETE", f"{V2}/a"))[0] == 200
    await world.call("POST", V1, one())
    await world.store("v2")
    assert (await world.call("DELETE", f"{CRDS}/{NAME}"))[0] == 200
    async with asyncio.timeout(60):
        while (await world.call("GET", f"{CRDS}/{NAME}"))[0] != 404:
            await asyncio.sleep(0.01)


async def test_a_slow_webhook_holds_up_nobody_else_and_is_asked_once(world: World) -> None:
    await world.call("POST", V1, one())
    world.open.clear()
    async with watching(world.server, path=V2) as slow, watching(world.server, path=V1) as quick:
        waiting = [asyncio.create_task(world.call("GET", f"{V2}/a")) for _ in range(3)]
        initial = asyncio.create_task(slow.next())
        async with asyncio.timeout(60):
            while not world.asked:
                await asyncio.sleep(0)
        await world.call("PATCH", f"{V1}/a", {"spec": {"hostPort": "h:1"}}, MERGE)
        assert await quick.told(2) == [("ADDED", "a"), ("MODIFIED", "a")]
        waiting[0].cancel()  # who asks may go away: the others ask again
        world.open.set()
        for task in waiting[1:]:
            assert (await task)[1]["spec"]["host"] == "localhost"
        assert (await initial)[1]["spec"]["host"] == "localhost"
        assert (await slow.next())[1]["spec"]["host"] == "h"
    assert len(world.asked) <= 3


async def test_calls_are_counted(world: World) -> None:
    await world.call("POST", V1, one())
    world.spoil = result(status="Failure")
    await world.call("GET", f"{V2}/a")
    world.spoil = lambda review: None
    await world.call("GET", f"{V2}/a")
    text = (await world.call("GET", "/metrics"))[1].decode()
    labels = f'crd_name="{NAME}",from_version="v1",succeeded="%s",to_version="v2"'
    for good in ("true", "false"):
        assert f"apiserver_crd_conversion_webhook_duration_seconds_count{{{labels % good}}} 1.0" in text
    failure = 'failure_type="conversion_webhook_malformed_response_failure",result="failure"'
    assert f"apiserver_conversion_webhook_request_total{{{failure}}} 1.0" in text
    assert 'apiserver_conversion_webhook_request_total{failure_type="",result="success"} 1.0' in text


async def test_a_record_in_a_version_that_is_gone_is_an_error(world: World) -> None:
    await world.call("POST", V1, one())
    await world.store("v2")
    patch = {"status": {"storedVersions": ["v2"]}}
    assert (await world.call("PATCH", f"{CRDS}/{NAME}/status", patch, MERGE))[0] == 200
    _, crd = await world.call("GET", f"{CRDS}/{NAME}")
    crd["spec"]["versions"] = [v2(storage=True)]
    assert (await world.call("PUT", f"{CRDS}/{NAME}", crd))[0] == 200
    code, answer = await world.call("GET", f"{V2}/a")
    text = "request to convert CR from an invalid group/version: stable.example.com/v1"
    assert (code, answer["message"]) == (500, text)


def owners(obj: Obj) -> dict[tuple[str, str], Obj]:
    """The fields of spec by manager and version."""
    entries = obj["metadata"]["managedFields"]
    return {(one["manager"], one["apiVersion"][-2:]): one["fieldsV1"].get("f:spec", {}) for one in entries}


async def applied(world: World, obj: Obj, manager: str, *, force: bool = False) -> tuple[int, Obj]:
    path = V1 if obj["apiVersion"].endswith("/v1") else V2
    query = f"fieldManager={manager}&force={str(force).lower()}"
    found: tuple[int, Obj] = await world.call("PATCH", f"{path}/{obj['metadata']['name']}?{query}", obj, APPLY)
    return found


async def test_managers_of_several_versions_meet_in_the_version_of_each(world: World) -> None:
    assert (await applied(world, one(), "first"))[0] == 201
    code, answer = await applied(world, two(host="other"), "second")
    assert code == 409
    assert answer["details"]["causes"] == [
        {"reason": "FieldManagerConflict", "message": 'conflict with "first"', "field": ".spec.hostPort"}
    ]
    code, both = await applied(world, two(), "second")
    assert (code, both["spec"]) == (200, two()["spec"])
    shared = {("first", "v1"): {"f:hostPort": {}}, ("second", "v2"): {"f:host": {}, "f:port": {}}}
    assert owners(both) == shared
    assert owners((await world.call("GET", f"{V1}/a"))[1]) == shared
    code, mine = await applied(world, two(host="other"), "second", force=True)
    assert (code, mine["spec"]["host"]) == (200, "other")
    assert owners(mine) == {("second", "v2"): {"f:host": {}, "f:port": {}}}
    assert (await world.stored())["spec"] == {"hostPort": "other:8080"}


async def test_an_applier_that_changes_its_version_still_gives_up_what_it_leaves_out(world: World) -> None:
    await applied(world, one(replicas=2), "first")
    code, found = await applied(world, two(), "first")
    assert (code, found["spec"]) == (200, two()["spec"])
    assert owners(found) == {("first", "v2"): {"f:host": {}, "f:port": {}}}
    await applied(world, two(replicas=3), "first")
    await applied(world, one(replicas=3), "second")
    code, found = await applied(world, one(), "first")
    assert (code, found["spec"]) == (200, one(replicas=3)["spec"])  # the second still wants it


async def test_an_update_takes_the_fields_that_it_changes_in_any_version(world: World) -> None:
    await applied(world, one(replicas=2), "first")
    code, found = await world.call("PATCH", f"{V2}/a?fieldManager=editor", {"spec": {"host": "h"}}, MERGE)
    assert code == 200
    assert owners(found) == {("first", "v1"): {"f:replicas": {}}, ("editor", "v2"): {"f:host": {}}}
    code, found = await world.call("PATCH", f"{V1}/a?fieldManager=other", {"spec": {"hostPort": "h:9"}}, MERGE)
    assert owners(found)["editor", "v2"] == {"f:host": {}}
    assert owners(found)["other", "v1"] == {"f:hostPort": {}}


async def test_managers_of_a_version_that_is_no_more_are_forgotten(world: World) -> None:
    await applied(world, one(), "first")
    await world.store("v2")
    _, found = await world.call("GET", f"{V2}/a")
    await world.call("PUT", f"{V2}/a", found)
    patch = {"status": {"storedVersions": ["v2"]}}
    assert (await world.call("PATCH", f"{CRDS}/{NAME}/status", patch, MERGE))[0] == 200
    _, crd = await world.call("GET", f"{CRDS}/{NAME}")
    crd["spec"]["versions"] = [v2(storage=True)]
    assert (await world.call("PUT", f"{CRDS}/{NAME}", crd))[0] == 200
    code, found = await applied(world, two(host="h"), "second")
    assert (code, owners(found)) == (200, {("second", "v2"): {"f:host": {}, "f:port": {}}})
