"""Lists, pages, revisions, representations."""

import base64
from typing import Any

import pytest

from pybernetes.api.objects import decode, encode
from pybernetes.apiserver import ApiServer
from pybernetes.wire import Request

from .conftest import Call

MAPS = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
PARTIAL = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"


async def fill(call: Call, count: int) -> list[str]:
    names = [f"c{number:02d}" for number in range(count)]
    for number, name in enumerate(names):
        body = {"metadata": {"name": name, "labels": {"odd": str(number % 2)}}}
        assert (await call("POST", MAPS, body))[0] == 201
    return names


def names_of(listing: dict[str, Any]) -> list[str]:
    return [one["metadata"]["name"] for one in listing["items"]]


async def test_list_is_in_key_order_with_the_revision_of_the_store(call: Call, server: ApiServer) -> None:
    names = await fill(call, 5)
    code, found = await call("GET", MAPS)
    assert (code, found["kind"], names_of(found)) == (200, "ConfigMapList", names)
    assert found["metadata"]["resourceVersion"] == str(server.cache.revision)
    assert "kind" not in found["items"][0]
    _, everywhere = await call("GET", "/api/v1/configmaps")
    assert names_of(everywhere) == names


async def test_namespaces_do_not_mix(call: Call) -> None:
    for namespace in ("a", "a-b", "ab"):
        await call("POST", "/api/v1/namespaces", {"metadata": {"name": namespace}})
        await call("POST", f"/api/v1/namespaces/{namespace}/configmaps", {"metadata": {"name": namespace}})
    _, found = await call("GET", "/api/v1/namespaces/a/configmaps")
    assert names_of(found) == ["a"]
    _, found = await call("GET", "/api/v1/configmaps?fieldSelector=metadata.namespace=a-b")
    assert names_of(found) == ["a-b"]


async def test_selectors(call: Call) -> None:
    await fill(call, 4)
    assert names_of((await call("GET", f"{MAPS}?labelSelector=odd=1"))[1]) == ["c01", "c03"]
    assert names_of((await call("GET", f"{MAPS}?fieldSelector=metadata.name=c02"))[1]) == ["c02"]
    assert names_of((await call("GET", f"{MAPS}?fieldSelector=metadata.name!=c02&labelSelector=odd=0"))[1]) == ["c00"]
    assert names_of((await call("GET", f"{MAPS}?fieldSelector=metadata.name=c02&labelSelector=odd=1"))[1]) == []
    code, status = await call("GET", f"{MAPS}?fieldSelector=data.x=1")
    assert code == 400
    assert "field label not supported: data.x" in status["message"]


async def test_pods_by_node_and_phase(call: Call) -> None:
    for name in ("p", "q"):
        await call("POST", PODS, {"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "i"}]}})
    await call("POST", f"{PODS}/p/binding", {"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n"}})
    assert names_of((await call("GET", "/api/v1/pods?fieldSelector=spec.nodeName=n"))[1]) == ["p"]
    assert names_of((await call("GET", "/api/v1/pods?fieldSelector=spec.nodeName="))[1]) == ["q"]
    assert names_of((await call("GET", "/api/v1/pods?fieldSelector=status.phase=Pending,spec.nodeName!=n"))[1]) == ["q"]


async def test_pages_are_of_one_revision(call: Call) -> None:
    names = await fill(call, 5)
    code, first = await call("GET", f"{MAPS}?limit=2")
    assert (names_of(first), first["metadata"]["remainingItemCount"]) == (names[:2], 3)
    token = first["metadata"]["continue"]
    await call("DELETE", f"{MAPS}/c03")
    await call("POST", MAPS, {"metadata": {"name": "c02a"}})
    _, second = await call("GET", f"{MAPS}?limit=2&continue={token}")
    assert names_of(second) == names[2:4]
    assert second["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    _, third = await call("GET", f"{MAPS}?limit=2&continue={second['metadata']['continue']}")
    assert names_of(third) == names[4:]
    assert "continue" not in third["metadata"]
    assert code == 200


async def test_pages_with_a_selector(call: Call) -> None:
    await fill(call, 6)
    _, first = await call("GET", f"{MAPS}?limit=2&labelSelector=odd=0")
    assert names_of(first) == ["c00", "c02"]
    assert "remainingItemCount" not in first["metadata"]
    _, second = await call("GET", f"{MAPS}?limit=2&labelSelector=odd=0&continue={first['metadata']['continue']}")
    assert names_of(second) == ["c04"]
    assert "continue" not in second["metadata"]


async def test_an_old_token_is_gone_with_a_usable_new_one(call: Call, server: ApiServer) -> None:
    await fill(call, 4)
    _, first = await call("GET", f"{MAPS}?limit=2")
    await call("DELETE", f"{MAPS}/c00")
    await call("DELETE", f"{MAPS}/c01")
    await server._store.compact(server.cache.revision)
    code, status = await call("GET", f"{MAPS}?limit=2&continue={first['metadata']['continue']}")
    assert (code, status["reason"]) == (410, "Expired")
    code, rest = await call("GET", f"{MAPS}?limit=2&continue={status['metadata']['continue']}")
    assert (code, names_of(rest)) == (200, ["c02", "c03"])


@pytest.mark.parametrize("token", ["x", "!!", base64.urlsafe_b64encode(encode({"rv": "1", "start": ""})).decode()])
async def test_bad_tokens(call: Call, token: str) -> None:
    assert (await call("GET", f"{MAPS}?limit=2&continue={token}"))[0] == 400


async def test_a_token_holds_its_own_revision(call: Call) -> None:
    await fill(call, 3)
    _, first = await call("GET", f"{MAPS}?limit=1")
    token = first["metadata"]["continue"]
    code, status = await call("GET", f"{MAPS}?limit=1&continue={token}&resourceVersion=5")
    assert (code, status["reason"]) == (400, "BadRequest")
    assert status["message"] == "specifying resource version is not allowed when using continue"
    assert (await call("GET", f"{MAPS}?limit=1&continue={token}&resourceVersion=0"))[0] == 200


@pytest.mark.parametrize(
    ("text", "why"), [("abc", "invalid syntax"), ("-1", "invalid syntax"), ("9" * 30, "value out of range")]
)
async def test_a_revision_that_is_no_number(call: Call, text: str, why: str) -> None:
    for path in (MAPS, f"{MAPS}/x"):
        code, status = await call("GET", f"{path}?resourceVersion={text}")
        said = f'resourceVersion: Invalid value: "{text}": strconv.ParseUint: parsing "{text}": {why}'
        assert (code, status["message"]) == (400, said)


async def test_pretty(call: Call, server: ApiServer) -> None:
    await fill(call, 1)
    transport = server.trusted("admin", "system:masters")
    for path in (MAPS, f"{MAPS}/c00"):
        plain = await transport.send(Request(path=path))
        shown = await transport.send(Request(path=path, query={"pretty": ["true"]}))
        curl = await transport.send(Request(path=path, headers={"user-agent": "curl/8.1"}))
        assert isinstance(plain.body, bytes)
        assert isinstance(shown.body, bytes)
        assert decode(plain.body) == decode(shown.body)
        assert shown.body.startswith(b'{\n  "')
        assert shown.body == curl.body
        assert b"\n" not in plain.body


async def test_an_unknown_kind_of_row_object(call: Call) -> None:
    code, status = await call("GET", f"{MAPS}?includeObject=Some", accept=TABLE)
    assert (code, status["message"]) == (400, 'unrecognized includeObject value: "Some"')


async def test_revisions(call: Call, server: ApiServer) -> None:
    _, made = await call("POST", MAPS, {"metadata": {"name": "a"}})
    before = made["metadata"]["resourceVersion"]
    await call("POST", MAPS, {"metadata": {"name": "b"}})
    _, found = await call("GET", f"{MAPS}?resourceVersion={before}&resourceVersionMatch=Exact")
    assert (names_of(found), found["metadata"]["resourceVersion"]) == (["a"], before)
    for query in (
        "resourceVersion=0",
        f"resourceVersion={before}",
        f"resourceVersion={before}&resourceVersionMatch=NotOlderThan",
    ):
        assert names_of((await call("GET", f"{MAPS}?{query}"))[1]) == ["a", "b"]


async def test_a_revision_that_never_comes(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pybernetes.apiserver.endpoints.objects._WAIT_SECONDS", 0.05)
    for path in (f"{MAPS}?resourceVersion=999999", f"{MAPS}?resourceVersion=999999&resourceVersionMatch=Exact"):
        code, status = await call("GET", path)
        assert (code, status["reason"]) == (504, "Timeout")
        assert "Too large resource version" in status["message"]


async def test_table(call: Call) -> None:
    await fill(call, 2)
    code, table = await call("GET", MAPS, accept=TABLE)
    assert (code, table["kind"]) == (200, "Table")
    assert [one["name"] for one in table["columnDefinitions"]] == ["Name", "Data", "Age"]
    row = table["rows"][1]
    assert row["cells"][:2] == ["c01", 0]
    assert row["object"]["kind"] == "PartialObjectMetadata"
    assert row["object"]["metadata"]["resourceVersion"]
    _, table = await call("GET", f"{MAPS}/c00?includeObject=Object", accept=TABLE)
    assert table["rows"][0]["object"]["kind"] == "ConfigMap"
    _, table = await call("GET", f"{MAPS}?includeObject=None", accept=TABLE)
    assert table["rows"][0]["object"] is None


async def test_partial_metadata(call: Call) -> None:
    await fill(call, 1)
    _, found = await call("GET", MAPS, accept=PARTIAL)
    assert (found["kind"], found["items"][0]["kind"]) == ("PartialObjectMetadataList", "PartialObjectMetadata")
    _, one = await call("GET", f"{MAPS}/c00", accept=PARTIAL.replace("List", ""))
    assert set(one) == {"kind", "apiVersion", "metadata"}


async def test_long_lists_are_streamed(call: Call) -> None:
    for number in range(1100):
        await call("POST", MAPS, {"metadata": {"name": f"c{number}"}})
    _, found = await call("GET", MAPS)
    assert len(found["items"]) == 1100


async def test_not_acceptable(call: Call) -> None:
    code, status = await call("GET", MAPS, accept="application/cbor")
    assert (code, status["reason"]) == (406, "NotAcceptable")
    wanted = "application/json, application/yaml, application/vnd.kubernetes.protobuf"
    assert status["message"] == f"only the following media types are accepted: {wanted}"


async def test_reviews_have_no_table(call: Call) -> None:
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    body = {"spec": {"resourceAttributes": {"verb": "get", "resource": "pods"}}}
    only = "application/json;as=Table;v=v1;g=meta.k8s.io"
    code, status = await call("POST", path, body, accept=only)
    assert (code, status["reason"]) == (406, "NotAcceptable")
    assert (await call("POST", path, body, accept=f"{only},application/json"))[0] == 201


async def test_certificate_requests_of_a_node(call: Call) -> None:
    path = "/apis/certificates.k8s.io/v1/podcertificaterequests"
    assert (await call("GET", f"{path}?fieldSelector=spec.nodeName=n,spec.podName=p,spec.signerName=s"))[0] == 200
    assert (await call("GET", f"{path}?fieldSelector=spec.podUID=u"))[0] == 400


async def test_rows_that_depend_on_their_list_and_pods_that_ended(call: Call) -> None:
    classes = "/apis/storage.k8s.io/v1/storageclasses"
    marked = {"annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}
    for name in ("a", "b"):
        await call("POST", classes, {"metadata": {"name": name} | marked, "provisioner": "p"})
    _, table = await call("GET", classes, accept=TABLE)
    assert [row["cells"][0] for row in table["rows"]] == ["a (default)", "b"]
    _, table = await call("GET", f"{classes}/a", accept=TABLE)
    assert table["rows"][0]["cells"][0] == "a"
    await call("POST", PODS, {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}})
    await call("PATCH", f"{PODS}/p/status", {"status": {"phase": "Failed"}}, "application/merge-patch+json")
    _, table = await call("GET", f"{PODS}/p", accept=TABLE)
    assert [one["reason"] for one in table["rows"][0]["conditions"]] == ["Failed"]
