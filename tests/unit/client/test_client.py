"""Paths, bodies, errors and streams of the client, over the fake API and over canned answers."""

from collections.abc import AsyncIterator

import pytest

from pybernetes.api.errors import Conflict, Expired, InternalError, NotFound
from pybernetes.api.objects import Key, decode, encode
from pybernetes.api.resources import DEPLOYMENTS, NAMESPACES, NODES, PODS
from pybernetes.client import Client
from pybernetes.wire import Request, Response
from support.fake_api import FakeApi

POD = {"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "default", "name": "a"}}


class Canned:
    """A transport with one answer."""

    def __init__(self, response: Response) -> None:
        self.response = response
        self.request = Request()

    async def send(self, request: Request) -> Response:
        self.request = request
        return self.response

    async def connect(self, request: Request, *, protocols: object) -> object:
        raise NotImplementedError

    async def close(self) -> None:
        pass


async def chunks(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


async def names_of(client: Client) -> list[str]:
    """All that a watch of pods says."""
    async with client.watch(PODS, after="5", timeout_seconds=9) as events:
        return [event.object["metadata"]["name"] async for event in events]


async def test_the_life_of_an_object() -> None:
    api = FakeApi()
    client = Client(api, user_agent="test/1")
    made = await client.create(PODS, POD)
    assert (await client.get(PODS, Key("default", "a"))) == made
    written = await client.update(PODS, made | {"spec": {"x": 1}})
    with pytest.raises(Conflict):
        await client.update(PODS, made)
    await client.patch(PODS, Key("default", "a"), {"status": {"phase": "Running"}}, subresource="status")
    listing = await client.list(PODS, namespace="default", fields="metadata.name=a")
    assert [item["spec"] for item in listing.items] == [written["spec"]]
    assert listing.revision == str(api.revision)
    with pytest.raises(Conflict):
        await client.delete(PODS, Key("default", "a"), uid="another")
    await client.delete(PODS, Key("default", "a"), grace_seconds=0)
    with pytest.raises(NotFound):
        await client.get(PODS, Key("default", "a"))


@pytest.mark.parametrize(
    ("method", "path", "query"),
    [
        ("patch", "/apis/apps/v1/namespaces/n/deployments/d/scale", {"fieldManager": ["me"]}),
        ("delete", "/apis/apps/v1/namespaces/n/deployments/d", {}),
        (
            "list",
            "/apis/apps/v1/namespaces/n/deployments",
            {"limit": ["5"], "continue": ["t"], "labelSelector": ["a=b"]},
        ),
    ],
)
async def test_what_goes_out(method: str, path: str, query: dict[str, list[str]]) -> None:
    transport = Canned(Response(body=b"{}"))
    client = Client(transport, user_agent="me/2 (x)")
    if method == "patch":
        await client.patch(DEPLOYMENTS, Key("n", "d"), {"spec": {}}, type="strategic", subresource="scale")
        assert transport.request.headers["content-type"] == "application/strategic-merge-patch+json"
    elif method == "delete":
        await client.delete(DEPLOYMENTS, Key("n", "d"), uid="u", grace_seconds=0, propagation="Foreground")
        assert decode(transport.request.body) == {
            "kind": "DeleteOptions", "apiVersion": "v1", "preconditions": {"uid": "u"}, "gracePeriodSeconds": 0,
            "propagationPolicy": "Foreground",
        }  # fmt: skip
    else:
        await client.list(DEPLOYMENTS, namespace="n", limit=5, continues="t", labels="a=b")
    assert (transport.request.path, transport.request.query) == (path, query)
    assert transport.request.headers["user-agent"] == "me/2 (x)"


async def test_cluster_scope_has_no_namespace() -> None:
    transport = Canned(Response(body=b"{}"))
    await Client(transport).update(NODES, {"metadata": {"name": "n1"}}, subresource="status")
    assert transport.request.path == "/api/v1/nodes/n1/status"
    await Client(transport).update(NAMESPACES, {"metadata": {"name": "x"}}, subresource="finalize")
    assert transport.request.path == "/api/v1/namespaces/x/finalize"


async def test_list_items_get_their_kind() -> None:
    transport = Canned(
        Response(body=chunks(b'{"metadata":{"resourceVersion":"7"},', b'"items":[{"metadata":{"name":"a"}}]}'))
    )
    listing = await Client(transport).list(DEPLOYMENTS)
    assert listing.items[0] | {"metadata": None} == {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": None}


async def test_an_answer_that_is_no_json() -> None:
    with pytest.raises(InternalError):
        await Client(Canned(Response(body=b"<html>"))).get(PODS, Key("n", "a"))


async def test_watch_lines_may_be_cut_anywhere() -> None:
    lines = b"".join(encode({"type": "ADDED", "object": {"metadata": {"name": name}}}) + b"\n" for name in "abc")
    parts = [lines[i : i + 7] for i in range(0, len(lines), 7)]
    transport = Canned(Response(body=chunks(*parts)))
    assert await names_of(Client(transport)) == ["a", "b", "c"]
    assert transport.request.stream
    assert transport.request.query["resourceVersion"] == ["5"]
    assert transport.request.query["timeoutSeconds"] == ["9"]


async def test_a_watch_error_is_raised_as_what_it_is() -> None:
    line = encode({"type": "ERROR", "object": Expired("too old").status}) + b"\n"
    with pytest.raises(Expired):
        await names_of(Client(Canned(Response(body=chunks(line)))))


async def test_a_watch_cut_inside_a_line_is_a_lost_connection() -> None:
    with pytest.raises(ConnectionError):
        await names_of(Client(Canned(Response(body=chunks(b'{"type":"ADD')))))


async def test_a_refused_watch() -> None:
    body = encode(NotFound.of("pods", "").status)
    with pytest.raises(NotFound):
        async with Client(Canned(Response(status=404, body=chunks(body)))).watch(PODS):
            pass
