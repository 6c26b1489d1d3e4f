"""Logs, exec and proxied requests reach the kubelet or the pod, and its answer comes back."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from pybernetes.api.errors import ApiError, BadRequest
from pybernetes.apiserver import ApiServer
from pybernetes.apiserver.kubelets import chosen_container, kubelet_address
from pybernetes.store.memory import MemoryStore
from pybernetes.wire import Channel, Request, Response, Transport, Upgrade
from pybernetes.wire.loopback import LoopbackTransport
from support.server import api_server

from .conftest import call_of

PODS = "/api/v1/namespaces/default/pods"


class FakeNode:
    """A kubelet, and every pod behind it."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def connect(self, url: str) -> Transport:
        async def handler(request: Request) -> Response:
            return await self.answer(url, request)

        return LoopbackTransport(handler)

    async def answer(self, url: str, request: Request) -> Response:
        query = "&".join(f"{name}={value}" for name, values in request.query.items() for value in values)
        self.asked.append(f"{request.method} {url}{request.path}" + (f"?{query}" if query else ""))
        if request.headers.get("upgrade") == "websocket":
            offered = request.headers["sec-websocket-protocol"].split(", ")
            return Response(upgrade=Upgrade(protocol=offered[0], run=self.echo))
        if "broken" in request.path:
            raise BadRequest("no such thing")
        return Response(headers={"content-type": "text/plain"}, body=self.lines())

    async def lines(self) -> AsyncIterator[bytes]:
        yield b"one\n"
        yield b"two\n"

    async def echo(self, channel: Channel) -> None:
        while (message := await channel.receive()) is not None:
            await channel.send(message.upper())


@asynccontextmanager
async def with_pod(node: FakeNode) -> AsyncIterator[ApiServer]:
    async with api_server(connect=node.connect) as server:
        call = call_of(server)
        await call("POST", "/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "default"}})
        addresses = [{"type": "Hostname", "address": "h"}, {"type": "InternalIP", "address": "10.0.0.9"}]
        ports = {"kubeletEndpoint": {"Port": 10255}}
        status = {"addresses": addresses, "daemonEndpoints": ports}
        await call("POST", "/api/v1/nodes", {"metadata": {"name": "n"}, "status": status})
        container = {"name": "c", "image": "i", "ports": [{"name": "web", "containerPort": 8080}]}
        await call("POST", PODS, {"metadata": {"name": "p"}, "spec": {"containers": [container]}})
        await call("POST", f"{PODS}/p/binding", {"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n"}})
        body = {"status": {"podIP": "10.244.0.5", "podIPs": [{"ip": "10.244.0.5"}]}}
        await call("PATCH", f"{PODS}/p/status", body, "application/merge-patch+json")
        yield server


@pytest.mark.parametrize(
    ("query", "code", "text"),
    [
        ("tailLines=-1", 422, "tailLines: Invalid value: -1: must be greater than or equal to 0"),
        ("limitBytes=0", 422, "limitBytes: Invalid value: 0: must be greater than 0"),
        ("sinceSeconds=0", 422, "sinceSeconds: Invalid value: 0: must be greater than 0"),
        ("sinceSeconds=1&sinceTime=2026-01-01T00:00:00Z", 422, "at most one of `sinceTime` or `sinceSeconds`"),
        ("stream=odd", 422, 'stream: Unsupported value: "odd"'),
        ("stream=Stdout&tailLines=1", 422, "mutually exclusive"),
        ("tailLines=many", 400, 'parsing "many": invalid syntax'),
    ],
)
async def test_options_of_logs_are_checked_before_anybody_is_asked(query: str, code: int, text: str) -> None:
    node = FakeNode()
    async with with_pod(node) as server:
        got, status = await call_of(server)("GET", f"{PODS}/p/log?{query}")
    assert (got, text in status["message"], node.asked) == (code, True, []), status


async def test_logs() -> None:
    node = FakeNode()
    async with with_pod(node) as server:
        assert await call_of(server)("GET", f"{PODS}/p/log?tailLines=3&follow=true") == (200, b"one\ntwo\n")
    assert node.asked == ["GET https://10.0.0.9:10255/containerLogs/default/p/c?follow=true&tailLines=3"]


@pytest.mark.parametrize(
    ("offered", "chosen", "messages"),
    [
        ([], "", [b"one\n", b"two\n"]),
        (["binary.k8s.io"], "binary.k8s.io", [b"one\n", b"two\n"]),
        (["x", "base64.binary.k8s.io"], "base64.binary.k8s.io", [b"b25lCg==", b"dHdvCg=="]),
    ],
)
async def test_logs_over_a_websocket(offered: list[str], chosen: str, messages: list[bytes]) -> None:
    async with with_pod(FakeNode()) as server:
        transport = server.trusted("test", "system:masters")
        channel = await transport.connect(Request(path=f"{PODS}/p/log"), protocols=offered)
        assert channel.protocol == chosen
        assert [await channel.receive(), await channel.receive()] == messages
        assert await channel.receive() is None


async def test_logs_in_a_protocol_nobody_speaks() -> None:
    node = FakeNode()
    async with with_pod(node) as server:
        with pytest.raises(ApiError, match="subprotocols"):
            await server.trusted("test", "system:masters").connect(Request(path=f"{PODS}/p/log"), protocols=["x"])
    assert node.asked == []


async def test_exec() -> None:
    node = FakeNode()
    async with with_pod(node) as server:
        query = {"command": ["ls", "-l"], "stdin": ["true"], "stdout": ["true"], "tty": ["false"]}
        transport = server.trusted("admin", "system:masters")
        protocols = ["v5.channel.k8s.io", "v4.channel.k8s.io"]
        channel = await transport.connect(Request(path=f"{PODS}/p/exec", query=query), protocols=protocols)
        assert channel.protocol == "v5.channel.k8s.io"
        await channel.send(b"hello")
        assert await channel.receive() == b"HELLO"
        await channel.close()
        assert (await call_of(server)("GET", f"{PODS}/p/exec"))[0] == 400
        assert (await call_of(server)("POST", f"{PODS}/p/exec"))[0] == 400
    assert node.asked == ["GET https://10.0.0.9:10255/exec/default/p/c?input=1&output=1&command=ls&command=-l"]


async def test_refusals_come_back() -> None:
    async with with_pod(FakeNode()) as server:
        call = call_of(server)
        assert (await call("GET", f"{PODS}/q/log"))[0] == 404
        code, status = await call("GET", f"{PODS}/p/log?container=x")
        assert (code, status["message"]) == (400, "container x is not valid for pod p")


async def test_a_node_that_is_not_there() -> None:
    def unreachable(url: str) -> Transport:
        async def handler(request: Request) -> Response:
            raise ConnectionRefusedError(url)

        class Nobody(LoopbackTransport):
            async def send(self, request: Request) -> Response:
                raise ConnectionRefusedError(url)

        return Nobody(handler)

    node = FakeNode()
    async with with_pod(node) as server:
        server.kubelets._connect = unreachable
        code, status = await call_of(server)("GET", f"{PODS}/p/log")
    assert code == 500
    assert "error dialing backend" in status["message"]


def test_the_container_that_is_meant() -> None:
    two = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "a"}, {"name": "b"}]}}
    assert chosen_container(two, "b") == "b"
    with pytest.raises(BadRequest, match=r"choose one of: \[a b\]"):
        chosen_container(two, "")


def test_a_node_without_an_address() -> None:
    with pytest.raises(ApiError):
        kubelet_address({"status": {}})


async def test_stores_are_not_shared() -> None:
    """Two servers over two stores know nothing of each other."""
    async with api_server(MemoryStore()) as one, api_server(MemoryStore()) as two:
        await call_of(one)("POST", "/api/v1/namespaces", {"metadata": {"name": "x"}})
        assert (await call_of(two)("GET", "/api/v1/namespaces/x"))[0] == 404
