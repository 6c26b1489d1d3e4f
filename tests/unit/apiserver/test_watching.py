"""Watches: what they send, in what order, and when they end."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from pybernetes.api.errors import ApiError, Expired
from pybernetes.api.objects import Key, decode
from pybernetes.api.resources import CONFIG_MAPS, PODS, SERVICE_ACCOUNTS
from pybernetes.apiserver import ApiServer, watchcache
from pybernetes.apiserver.forms import JsonForm
from pybernetes.apiserver.watch import encoded
from pybernetes.client import Client
from pybernetes.store.memory import MemoryStore
from pybernetes.wire import Request
from support.server import api_server, client_of

MAPS = "/api/v1/namespaces/default/configmaps"


def config(name: str, **labels: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "default", "labels": labels}}


class Watch:
    """The lines of a watch, one at a time."""

    def __init__(self, body: Any) -> None:
        self._body = body
        self._lines: list[bytes] = []

    async def next(self) -> tuple[str, dict[str, Any]] | None:
        """(type, object); None at the end."""
        while not self._lines:
            try:
                async with asyncio.timeout(60):
                    chunk = await anext(self._iterator)
            except StopAsyncIteration:
                return None
            self._lines = chunk.splitlines()
        event = decode(self._lines.pop(0))
        return event["type"], event["object"]

    @property
    def _iterator(self) -> Any:
        return self._body.__aiter__()

    async def told(self, count: int) -> list[tuple[str, str]]:
        found = [await self.next() for _ in range(count)]
        return [(kind, obj["metadata"].get("name", "")) for kind, obj in filter(None, found)]


@asynccontextmanager
async def watching(server: ApiServer, query: str = "", path: str = MAPS, accept: str = "") -> AsyncIterator[Watch]:
    pairs = [one.partition("=") for one in f"watch=true&{query}".split("&") if one]
    parameters = {name: [value] for name, _, value in pairs}
    headers = {"accept": accept} if accept else {}
    request = Request(path=path, query=parameters, headers=headers, stream=True)
    response = await server.trusted("admin", "system:masters").send(request)
    assert not isinstance(response.body, bytes), response.body
    try:
        yield Watch(response.body)
    finally:
        await response.body.aclose()  # type: ignore[attr-defined]


@pytest.fixture
async def client(server: ApiServer) -> Client:
    return client_of(server)


async def test_changes_in_order(server: ApiServer, client: Client) -> None:
    first = await client.create(CONFIG_MAPS, config("a"))
    async with watching(server, f"resourceVersion={first['metadata']['resourceVersion']}") as watch:
        await client.create(CONFIG_MAPS, config("b"))
        await client.patch(CONFIG_MAPS, Key("default", "a"), {"data": {"x": "1"}})
        await client.delete(CONFIG_MAPS, Key("default", "b"))
        assert await watch.told(3) == [("ADDED", "b"), ("MODIFIED", "a"), ("DELETED", "b")]


async def test_without_a_revision_what_is_there_comes_first(server: ApiServer, client: Client) -> None:
    await client.create(CONFIG_MAPS, config("a"))
    for query in ("", "resourceVersion=0"):
        async with watching(server, query) as watch:
            assert await watch.told(1) == [("ADDED", "a")]


async def test_streamed_list(server: ApiServer, client: Client) -> None:
    await client.create(CONFIG_MAPS, config("a"))
    query = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    async with watching(server, query) as watch:
        assert await watch.told(1) == [("ADDED", "a")]
        kind, mark = await watch.next() or ("", {})
        assert kind == "BOOKMARK"
        assert mark["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
        assert mark["metadata"]["resourceVersion"] == str(server.cache.revision)
        await client.create(CONFIG_MAPS, config("b"))
        assert await watch.told(1) == [("ADDED", "b")]


async def test_a_deleted_object_has_the_revision_of_its_deletion(server: ApiServer, client: Client) -> None:
    made = await client.create(CONFIG_MAPS, config("a"))
    async with watching(server, f"resourceVersion={made['metadata']['resourceVersion']}") as watch:
        await client.delete(CONFIG_MAPS, Key("default", "a"))
        kind, obj = await watch.next() or ("", {})
    assert kind == "DELETED"
    assert int(obj["metadata"]["resourceVersion"]) > int(made["metadata"]["resourceVersion"])


async def test_selector_transitions(server: ApiServer, client: Client) -> None:
    async with watching(server, "labelSelector=on=1&resourceVersion=0") as watch:
        key = Key("default", "a")
        await client.create(CONFIG_MAPS, config("a"))
        await client.patch(CONFIG_MAPS, key, {"metadata": {"labels": {"on": "1"}}})
        await client.patch(CONFIG_MAPS, key, {"data": {"x": "1"}})
        await client.patch(CONFIG_MAPS, key, {"metadata": {"labels": {"on": "0"}}})
        await client.patch(CONFIG_MAPS, key, {"metadata": {"labels": {"on": "1"}}})
        await client.delete(CONFIG_MAPS, key)
        kinds = [kind for kind, _ in await watch.told(5)]
    assert kinds == ["ADDED", "MODIFIED", "DELETED", "ADDED", "DELETED"]


async def test_pods_of_a_node(server: ApiServer, client: Client) -> None:
    path = "/api/v1/pods"
    async with watching(server, "fieldSelector=spec.nodeName=n&resourceVersion=0", path) as watch:
        pod = {"metadata": {"name": "p", "namespace": "default"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
        await client.create(PODS, pod)
        binding = {"metadata": {"name": "p", "namespace": "default"}, "target": {"kind": "Node", "name": "n"}}
        await client.create(PODS, binding, name="p", subresource="binding")
        assert await watch.told(1) == [("ADDED", "p")]


async def test_one_object(server: ApiServer, client: Client) -> None:
    async with watching(server, "resourceVersion=0", f"{MAPS}/a") as watch:
        await client.create(CONFIG_MAPS, config("b"))
        await client.create(CONFIG_MAPS, config("a"))
        assert await watch.told(1) == [("ADDED", "a")]


async def test_table_events(server: ApiServer, client: Client) -> None:
    accept = "application/json;as=Table;v=v1;g=meta.k8s.io"
    async with watching(server, "resourceVersion=0", accept=accept) as watch:
        await client.create(CONFIG_MAPS, config("a"))
        kind, table = await watch.next() or ("", {})
    assert (kind, table["kind"], table["rows"][0]["cells"][0]) == ("ADDED", "Table", "a")


async def test_it_ends_in_time_with_a_bookmark(server: ApiServer, client: Client) -> None:
    async with watching(server, "resourceVersion=0&timeoutSeconds=1&allowWatchBookmarks=true") as watch:
        kind, mark = await watch.next() or ("", {})
        assert kind == "BOOKMARK"
        assert mark["metadata"]["resourceVersion"] == str(server.cache.revision)
        assert await watch.next() is None
    assert server.registry.shelf(CONFIG_MAPS).watchers == 0


async def test_bookmarks(server: ApiServer, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pybernetes.apiserver.watch.BOOKMARK_SECONDS", 0.05)
    async with watching(server, "resourceVersion=0&allowWatchBookmarks=true") as watch:
        await client.create(SERVICE_ACCOUNTS, config("x"))  # another resource moves the revision on
        seen = 0
        while seen < server.cache.revision:
            kind, mark = await watch.next() or ("", {})
            assert kind == "BOOKMARK"
            seen = int(mark["metadata"]["resourceVersion"])


async def test_too_old(server: ApiServer, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchcache, "RING", 3)
    await client.create(CONFIG_MAPS, config("a"))
    for number in range(5):
        await client.patch(CONFIG_MAPS, Key("default", "a"), {"data": {"x": str(number)}})
    with pytest.raises(Expired, match="too old resource version"):
        async with client.watch(CONFIG_MAPS, namespace="default", after="2") as changes:
            await anext(changes)
    async with watching(server, "resourceVersion=2") as watch:
        kind, status = await watch.next() or ("", {})
        assert (kind, status["kind"], status["code"], status["reason"]) == ("ERROR", "Status", 410, "Expired")
        assert await watch.next() is None


async def test_too_new(server: ApiServer, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pybernetes.apiserver.endpoints.objects._WAIT_SECONDS", 0.05)
    with pytest.raises(ApiError, match="Too large resource version"):
        async with client.watch(CONFIG_MAPS, namespace="default", after="99999"):
            pass


async def test_a_slow_watcher_is_cut_off_and_nobody_else(
    server: ApiServer, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watchcache, "QUEUE", 5)
    async with watching(server, "resourceVersion=0") as slow:
        monkeypatch.setattr(watchcache, "QUEUE", 1000)
        async with watching(server, "resourceVersion=0") as quick:
            for number in range(8):
                await client.create(CONFIG_MAPS, config(f"c{number}"))
            assert await slow.next() is None
            assert len(await quick.told(8)) == 8


async def test_a_closed_watch_leaves_nothing(server: ApiServer, client: Client) -> None:
    async with watching(server, "resourceVersion=0"):
        assert server.registry.shelf(CONFIG_MAPS).watchers == 1
    assert server.registry.shelf(CONFIG_MAPS).watchers == 0


async def test_each_change_is_encoded_once(server: ApiServer, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[bytes] = []
    framed = staticmethod(lambda kind, body: made.append(body) or encoded(kind, body))
    monkeypatch.setattr(JsonForm, "framed", framed)
    async with watching(server, "resourceVersion=0") as one, watching(server, "resourceVersion=0") as two:
        await client.create(CONFIG_MAPS, config("a"))
        assert await one.told(1) == await two.told(1)
    assert len(made) == 1


async def test_a_watch_resumes_across_a_restart() -> None:
    store = MemoryStore()
    async with api_server(store) as first:
        client = client_of(first)
        made = await client.create(CONFIG_MAPS, config("a"))
        await client.create(CONFIG_MAPS, config("b"))
    async with api_server(store) as second:
        await client_of(second).create(CONFIG_MAPS, config("c"))
        async with watching(second, f"resourceVersion={made['metadata']['resourceVersion']}") as watch:
            assert await watch.told(2) == [("ADDED", "b"), ("ADDED", "c")]
    await store.close()


async def test_what_the_store_forgot_is_too_old_after_a_restart() -> None:
    store = MemoryStore()
    async with api_server(store) as first:
        client = client_of(first)
        made = await client.create(CONFIG_MAPS, config("a"))
        await client.create(CONFIG_MAPS, config("b"))
    await store.compact(store.revision)
    async with api_server(store) as second:
        with pytest.raises(Expired):
            async with client_of(second).watch(CONFIG_MAPS, after=made["metadata"]["resourceVersion"]) as changes:
                await anext(changes)
    await store.close()


async def test_a_lost_watch_of_the_store_is_mended() -> None:
    store = MemoryStore(watch_limit=200)
    async with api_server(store) as server:
        client = client_of(server)
        await client.create(CONFIG_MAPS, config("gone"))
        record = server.registry.get(CONFIG_MAPS, "default", "gone")
        loads = server.cache.loads
        async with watching(server, "resourceVersion=0") as watch:
            assert await watch.told(1) == [("ADDED", "gone")]
            await store.delete(record.key, expect=record.revision)
            for number in range(400):  # no await lets the cache read: its inbox overflows
                await store.create(f"{CONFIG_MAPS.prefix}default/c{number}", record.value)
            assert await watch.next() is None
        found = await client.list(CONFIG_MAPS, namespace="default")
        assert len(found.items) == 400
        assert server.cache.loads == loads + 1
        assert server.registry.shelf(CONFIG_MAPS).watchers == 0
        async with watching(server, f"resourceVersion={found.revision}") as watch:
            await client.create(CONFIG_MAPS, config("new"))
            assert await watch.told(1) == [("ADDED", "new")]
    await store.close()
