"""Watches over a WebSocket: each event one text message, the client's token among its subprotocols."""

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import websocket

from pybernetes.api import proto
from pybernetes.api.errors import ApiError
from pybernetes.api.objects import decode
from pybernetes.apiserver import ApiServer, ApiServerConfig
from pybernetes.apiserver.body_socket import watch_socket
from pybernetes.pki import Authority
from pybernetes.wire import Channel, Request, Response
from pybernetes.wire.serve import Limits, Server
from support.server import api_server

from .conftest import Call, call_of

MAPS = "/api/v1/namespaces/default/configmaps"


async def opened(server: ApiServer, path: str = MAPS, **query: str) -> Channel:
    transport = server.trusted("a", "system:masters")
    asked = {"watch": ["true"]} | {name: [value] for name, value in query.items()}
    return await transport.connect(Request(path=path, query=asked), protocols=[])


async def events(channel: Channel, count: int) -> list[tuple[str, str]]:
    found = []
    async with asyncio.timeout(60):
        for _ in range(count):
            message = await channel.receive()
            assert message is not None
            event = decode(message)
            found.append((event["type"], event["object"]["metadata"].get("name", "")))
    return found


async def test_each_event_is_a_message(server: ApiServer, call: Call) -> None:
    for name in ("a", "b"):
        assert (await call("POST", MAPS, {"metadata": {"name": name}}))[0] == 201
    channel = await opened(server)
    initial = await events(channel, 2)
    assert initial == [("ADDED", "a"), ("ADDED", "b")]
    await call("DELETE", f"{MAPS}/a")
    assert await events(channel, 1) == [("DELETED", "a")]
    await channel.close()


async def test_a_watch_list_ends_its_initial_events_with_a_bookmark(server: ApiServer, call: Call) -> None:
    await call("POST", MAPS, {"metadata": {"name": "a"}})
    options = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan", "allowWatchBookmarks": "true"}
    channel = await opened(server, **options)
    assert await events(channel, 2) == [("ADDED", "a"), ("BOOKMARK", "")]
    await channel.close()


async def test_it_ends_in_time_and_is_taken_off_when_the_client_leaves(server: ApiServer) -> None:
    channel = await opened(server, timeoutSeconds="1")
    async with asyncio.timeout(60):
        assert await channel.receive() is None
    channel = await opened(server)
    watchers = lambda: sum(shelf.watchers for shelf in server.cache.shelves)  # noqa: E731
    assert watchers() == 1
    await channel.close()
    async with asyncio.timeout(60):
        while watchers():
            await asyncio.sleep(0.01)


async def test_what_is_wrong_is_told_before_the_upgrade(server: ApiServer) -> None:
    with pytest.raises(ApiError) as caught:
        await opened(server, labelSelector="a b c")
    assert caught.value.status["code"] == 400
    with pytest.raises(ApiError) as caught:
        await opened(server, path="/api/v1/nothings")
    assert caught.value.status["code"] == 404


@pytest.fixture
async def socket(tmp_path: Path) -> AsyncIterator[tuple[Server, str]]:
    """A server's socket, and a token that may read config maps."""
    keys = Authority.ensure(tmp_path).service_account_keys()
    config = ApiServerConfig(service_account_key=keys.private, service_account_public_key=keys.public)
    async with api_server(config=config) as api:
        call = call_of(api)
        await call("POST", "/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "w"}})
        subject = {"kind": "ServiceAccount", "name": "w", "namespace": "default"}
        role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"}
        binding = {"metadata": {"name": "w"}, "roleRef": role, "subjects": [subject]}
        path = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings"
        assert (await call("POST", path, binding))[0] == 201
        account = "/api/v1/namespaces/default/serviceaccounts/w/token"
        token = (await call("POST", account, {"spec": {}}))[1]["status"]["token"]
        await call("POST", MAPS, {"metadata": {"name": "a"}})
        async with Server(api.handler, uploads=True, limits=Limits(grace_seconds=0.5)) as server:
            yield server, token


@contextlib.contextmanager
def client(url: str, *, protocols: list[str], **headers: str) -> Iterator[websocket.WebSocket]:
    found = websocket.create_connection(url, subprotocols=protocols, header=headers, timeout=60)
    try:
        yield found
    finally:
        found.shutdown()


def first(url: str, protocols: list[str], **headers: str) -> tuple[object, int, object]:
    with client(url, protocols=protocols, **headers) as found:
        code, data = found.recv_data()
        return found.getsubprotocol(), code, decode(data)["object"]["metadata"]["name"]


async def test_a_stranger_is_pleased(socket: tuple[Server, str]) -> None:
    server, token = socket
    url = f"ws://127.0.0.1:{server.addresses[0][1]}{MAPS}?watch=true"
    text = websocket.ABNF.OPCODE_TEXT
    told = await asyncio.to_thread(first, url, [], Authorization=f"Bearer {token}")
    assert told == (None, text, "a")
    packed = base64.urlsafe_b64encode(token.encode()).decode().rstrip("=")
    protocols = [f"base64url.bearer.authorization.k8s.io.{packed}", "binary.k8s.io"]
    assert await asyncio.to_thread(first, url, protocols) == ("binary.k8s.io", text, "a")
    for refused in (protocols[:1], ["base64url.bearer.authorization.k8s.io.!!", "x"], []):
        with pytest.raises(websocket.WebSocketBadStatusException) as caught:
            await asyncio.to_thread(first, url, refused)
        assert caught.value.status_code == 401


async def test_who_does_not_read_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pybernetes.wire.serve._SWEEP", 0.05)
    ended = asyncio.Event()

    async def firehose() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x" * 100_000 + b"\n"
        finally:
            ended.set()

    async def handler(request: Request) -> Response:
        return watch_socket(request, Response(body=firehose()))

    async with Server(handler, limits=Limits(write_seconds=0.3, grace_seconds=0.3)) as server, asyncio.timeout(60):
        _, writer = await asyncio.open_connection(*server.addresses[0])
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        upgrade = "upgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-version: 13"
        key = "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ=="
        writer.write(f"GET / HTTP/1.1\r\nhost: x\r\n{upgrade}\r\n{key}\r\n\r\n".encode())
        await ended.wait()
        assert server.cut == 1
        while server.door.open:
            await asyncio.sleep(0.01)
        writer.transport.abort()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def test_in_protobuf_each_event_is_a_binary_message(server: ApiServer, call: Call) -> None:
    for name in ("a", "b"):
        await call("POST", MAPS, {"metadata": {"name": name}})
    transport = server.trusted("a", "system:masters")
    asked = Request(path=MAPS, query={"watch": ["true"]}, headers={"accept": proto.CONTENT_TYPE})
    channel = await transport.connect(asked, protocols=[])
    for name in ("a", "b"):
        async with asyncio.timeout(60):
            message = await channel.receive()
        _, found = await call("GET", f"{MAPS}/{name}")
        assert message == next(proto.frames(proto.encode_event("ADDED", proto.encode(found))))
    await channel.close()
