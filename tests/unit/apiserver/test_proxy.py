"""The proxy subresource: the fake backend is a real HTTP server on loopback, or a program that speaks bytes."""

import asyncio
import contextlib
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import pytest
import websocket

from pybernetes.api.errors import BadRequest
from pybernetes.api.objects import decode
from pybernetes.apiserver import ApiServer
from pybernetes.apiserver.proxy import Asked, proxyable
from pybernetes.apiserver.users import AUTHENTICATED, MASTERS, User
from pybernetes.wire import Channel, Request, Response, Transport, Upgrade
from pybernetes.wire.send import HttpTransport
from pybernetes.wire.serve import Limits, Server
from support.server import api_server

from .conftest import call_of

NAMESPACE = "/api/v1/namespaces/default"
METHODS = ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"]
Serve = Callable[[Request], Awaitable[Response]]


class House(NamedTuple):
    """A cluster whose every pod and kubelet is one backend; `reached` are the URLs that were meant."""

    api: ApiServer
    socket: Server
    reached: list[str]
    seen: list[Request]

    @property
    def address(self) -> tuple[str, int]:
        return self.socket.addresses[0]

    async def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> Response:
        """Through the real socket, as an administrator."""
        host, port = self.address
        transport = HttpTransport(f"http://{host}:{port}")
        path, _, query = path.partition("?")
        pairs = [one.partition("=") for one in query.split("&") if one]
        try:
            return await transport.send(
                Request(
                    method=method,
                    path=path,
                    query={name: [value] for name, _, value in pairs},
                    headers={name.replace("_", "-"): value for name, value in headers.items()},
                    body=body,
                )
            )
        finally:
            await transport.close()

    async def raw(self, data: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection(*self.address)
        writer.write(data)
        return reader, writer


def head(method: str, path: str, *fields: str) -> bytes:
    return "\r\n".join((f"{method} {NAMESPACE}/{path} HTTP/1.1", "host: x", *fields, "", "")).encode()


async def echo(request: Request) -> Response:
    """What agnhost's porter tells with --json-response."""
    body = request.body.decode("latin-1").replace('"', "'")
    text = f'{{"Method":"{request.method}","Body":"foo","Path":"{request.path}","Sent":"{body}"}}'
    return Response(headers={"content-type": "application/json"}, body=text.encode())


@asynccontextmanager
async def house(serve: Serve | None = None, *, port: int = 0, limits: Limits | None = None) -> AsyncIterator[House]:
    """With `port` the backend is whatever listens there."""
    seen: list[Request] = []
    reached: list[str] = []
    short = Limits(grace_seconds=0.5)

    async def backend(request: Request) -> Response:
        seen.append(request)
        return await (serve or echo)(request)

    async with Server(backend, limits=short, any_target=True) as behind, contextlib.AsyncExitStack() as stack:

        def connect(url: str) -> Transport:
            reached.append(url)
            made = HttpTransport(f"http://127.0.0.1:{port or behind.addresses[0][1]}")
            stack.push_async_callback(made.close)
            return made

        async with api_server(connect=connect) as api:
            await _populate(api)

            async def handler(request: Request) -> Response:
                request.context["user"] = User("a", (MASTERS, AUTHENTICATED))
                return await api.handler(request)

            options = {"uploads": True, "spliced": api.proxied, "any_target": True}
            async with Server(handler, limits=limits or short, **options) as socket:  # type: ignore[arg-type]
                yield House(api, socket, reached, seen)


async def _populate(api: ApiServer) -> None:
    call = call_of(api)
    made = []
    made.append(await call("POST", f"{NAMESPACE}/serviceaccounts", {"metadata": {"name": "default"}}))
    status: dict[str, Any] = {"addresses": [{"type": "InternalIP", "address": "10.0.0.9"}]}
    made.append(await call("POST", "/api/v1/nodes", {"metadata": {"name": "n"}, "status": status}))
    container = {"name": "c", "image": "i", "ports": [{"name": "web", "containerPort": 8080}]}
    for name, address in (("p", "10.244.0.5"), ("evil", "127.0.0.1"), ("young", "")):
        made.append(
            await call("POST", f"{NAMESPACE}/pods", {"metadata": {"name": name}, "spec": {"containers": [container]}})
        )
        if address:
            body = {"status": {"podIP": address, "podIPs": [{"ip": address}]}}
            merge = "application/merge-patch+json"
            made.append(await call("PATCH", f"{NAMESPACE}/pods/{name}/status", body, merge))
    ports = [{"name": "w", "port": 80, "targetPort": 8080}, {"name": "t", "port": 443, "targetPort": 8443}]
    for name, spec in (("s", {"ports": ports}), ("one", {"ports": [{"port": 80}]}), ("none", {"ports": ports})):
        made.append(await call("POST", f"{NAMESPACE}/services", {"metadata": {"name": name}, "spec": spec}))
    for name, numbers in (("s", [("w", 8080), ("t", 8443)]), ("one", [("", 8080)])):
        made.append(await call("POST", SLICES, slice_of(name, numbers, pod="p")))
    assert all(code in (200, 201) for code, _ in made), made


SLICES = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"


def slice_of(service: str, ports: list[tuple[str, int]], *, pod: str, address: str = "10.244.0.5") -> dict[str, Any]:
    return {
        "metadata": {"name": f"{service}-{pod}", "labels": {"kubernetes.io/service-name": service}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [address], "targetRef": {"kind": "Pod", "namespace": "default", "name": pod}}],
        "ports": [{"name": name, "port": port} for name, port in ports],
    }


# --- by the names of the conformance suite


@pytest.mark.parametrize("kind", ["pods/p:8080", "services/one"])
async def test_a_set_of_valid_responses_are_returned_for_both_pod_and_service_proxy_with_path(kind: str) -> None:
    async with house() as found:
        for method in METHODS:
            answer = await found.ask(method, f"{NAMESPACE}/{kind}/proxy/some/path/with/{method}")
            assert answer.status == 200
            if method != "HEAD":
                told = decode(answer.body)  # type: ignore[arg-type]
                assert (told["Method"], told["Body"]) == (method, "foo")
                assert told["Path"] == f"/some/path/with/{method}"


@pytest.mark.parametrize("kind", ["pods/p:8080", "services/one"])
async def test_a_set_of_valid_responses_are_returned_for_both_pod_and_service_proxy(kind: str) -> None:
    async with house() as found:
        for method in METHODS:
            path = f"{NAMESPACE}/{kind}/proxy"
            answer = await found.ask(method, f"{path}?method={method}")
            if method in ("GET", "HEAD"):
                assert (answer.status, answer.headers["location"]) == (301, f"{path}/?method={method}")
            else:
                assert answer.status == 200
                assert decode(answer.body)["Method"] == method  # type: ignore[arg-type]
                assert found.seen[-1].path == "/"


async def test_should_proxy_through_a_service_and_a_pod() -> None:
    async def serve(request: Request) -> Response:
        return Response(headers={"content-type": "text/html"}, body=b'<a href="/rewriteme">test</a>')

    urls = {
        "services/s:w": "http://10.244.0.5:8080",
        "services/http:s:w": "http://10.244.0.5:8080",
        "services/s:80": "http://10.244.0.5:8080",
        "services/https:s:t": "https://10.244.0.5:8443",
        "services/https:s:443": "https://10.244.0.5:8443",
        "services/one": "http://10.244.0.5:8080",
        "pods/p": "http://10.244.0.5:8080",
        "pods/p:web": "http://10.244.0.5:8080",
        "pods/p:80": "http://10.244.0.5",
        "pods/http:p:1080": "http://10.244.0.5:1080",
        "pods/https:p:443": "https://10.244.0.5",
        "pods/https:p:460": "https://10.244.0.5:460",
    }
    async with house(serve) as found:
        for name, url in urls.items():
            base = f"{NAMESPACE}/{name}/proxy"
            answer = await found.ask("GET", f"{base}/")
            assert answer.body == f'<a href="{base}/rewriteme">test</a>'.encode()
            assert found.reached[-1] == url


async def test_nodes() -> None:
    async with house() as found:
        for name, url in (("n", "https://10.0.0.9:10250"), ("n:10250", "https://10.0.0.9:10250")):
            assert (await found.ask("GET", f"/api/v1/nodes/{name}/proxy/healthz")).status == 200
            assert found.reached[0] == url
        assert (await found.ask("GET", "/api/v1/nodes/n:9100/proxy/metrics")).status == 200
        assert found.reached[-1] == "http://10.0.0.9:9100"


# --- what is refused


@pytest.mark.parametrize(
    ("path", "code", "message"),
    [
        (f"{NAMESPACE}/pods/nobody/proxy/", 404, 'pods "nobody" not found'),
        (f"{NAMESPACE}/pods/evil:80/proxy/", 400, "address not allowed"),
        (f"{NAMESPACE}/pods/young/proxy/", 400, "address not allowed"),
        (f"{NAMESPACE}/pods/p:other/proxy/", 400, 'pod p has no port "other"'),
        (f"{NAMESPACE}/pods/ftp:p:80/proxy/", 400, 'invalid pod request "ftp:p:80"'),
        (f"{NAMESPACE}/services/a:b:c:d/proxy/", 400, 'invalid service request "a:b:c:d"'),
        (f"{NAMESPACE}/services/nobody/proxy/", 404, 'services "nobody" not found'),
        (f"{NAMESPACE}/services/s:81/proxy/", 503, 'no service port 81 found for service "s"'),
        (f"{NAMESPACE}/services/s:x/proxy/", 503, 'no endpoints available for service "s:x"'),
        (f"{NAMESPACE}/services/none:w/proxy/", 503, 'no endpoints available for service "none:w"'),
        ("/api/v1/nodes/nobody/proxy/", 404, 'nodes "nobody" not found'),
        ("/api/v1/nodes/n:0/proxy/", 400, 'invalid port "0"'),
    ],
)
async def test_refusals(path: str, code: int, message: str) -> None:
    async with house() as found:
        answer = await found.ask("GET", path)
        status = decode(answer.body)  # type: ignore[arg-type]
        assert (answer.status, status["message"]) == (code, message)
        assert found.seen == []


async def test_an_endpoint_must_be_its_pods() -> None:
    """Who may write endpoints may not reach any address through them."""
    async with house() as found:
        call = call_of(found.api)
        for name, change in {"address": {"address": "10.0.0.66"}, "pod": {"pod": "nobody"}}.items():
            body = slice_of("none", [("w", 80)], **({"pod": "p"} | change))
            body["metadata"]["name"] = name
            assert (await call("POST", SLICES, body))[0] == 201
        assert (await found.ask("GET", f"{NAMESPACE}/services/none:w/proxy/")).status == 503


async def test_a_backend_that_is_not_there() -> None:
    with contextlib.closing(__import__("socket").socket()) as nobody:
        nobody.bind(("127.0.0.1", 0))
        async with house(port=nobody.getsockname()[1]) as found:
            answer = await found.ask("GET", f"{NAMESPACE}/pods/p/proxy/")
            status = decode(answer.body)  # type: ignore[arg-type]
            assert (status["code"], status["reason"]) == (503, "ServiceUnavailable")
            assert status["message"].startswith("error trying to reach service: ")
            upgrade = b"connection: upgrade\r\nupgrade: x\r\n\r\n"
            reader, writer = await found.raw(
                b"GET %s/pods/p/proxy/ HTTP/1.1\r\nhost: x\r\n" % NAMESPACE.encode() + upgrade
            )
            assert (await reader.readline()).startswith(b"HTTP/1.1 503 ")
            writer.close()
            await writer.wait_closed()


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("a", ("http", "a", "")),
        ("a:b", ("http", "a", "b")),
        (":a:b", ("http", "a", "b")),
        ("https:a:", ("https", "a", "")),
    ],
)
def test_names(text: str, asked: tuple[str, str, str]) -> None:
    assert Asked.of(text, "pod") == asked
    with pytest.raises(BadRequest):
        Asked.of(f"{text}:x:y", "pod")


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        ("10.0.0.1", True),
        ("2001:db8::1", True),
        ("127.0.0.1", False),
        ("::1", False),
        ("::ffff:127.0.0.1", False),
        ("169.254.169.254", False),
        ("fe80::1", False),
        ("224.0.0.1", False),
        ("0.0.0.0", False),
        ("", False),
        ("localhost", False),
    ],
)
def test_addresses(address: str, allowed: bool) -> None:
    assert proxyable(address) is allowed


# --- headers


async def test_credentials_stay_here_and_the_way_is_told() -> None:
    async with house() as found:
        await found.ask(
            "GET",
            f"{NAMESPACE}/pods/p/proxy/a/?x=1",
            authorization="Bearer secret",
            impersonate_user="b",
            impersonate_group="system:masters",
            proxy_authorization="Basic x",
            x_forwarded_for="192.0.2.1",
            connection="x-hop",
            x_hop="dropped",
            te="trailers",
            cookie="c=d",
            accept_encoding="gzip",
            host="api.example",
        )
        headers = found.seen[0].headers
        assert found.seen[0].query == {"x": ["1"]}
    for name in ("authorization", "impersonate-user", "impersonate-group", "proxy-authorization", "te"):
        assert name not in headers
    told = {name: headers[name] for name in headers if name.startswith("x-forwarded-")}
    assert told == {
        "x-forwarded-for": "192.0.2.1, 127.0.0.1",
        "x-forwarded-uri": f"{NAMESPACE}/pods/p/proxy/a/",
        "x-forwarded-proto": "https",
        "x-forwarded-host": "api.example",
    }
    assert (headers["host"], headers["cookie"], headers["accept-encoding"]) == ("api.example", "c=d", "gzip")


async def test_answers_come_back_as_they_are() -> None:
    async def serve(request: Request) -> Response:
        if request.path == "/moved":
            return Response(status=302, headers={"location": "/login?x=1", "set-cookie": "a=1\nb=2; Path=/"})
        if request.path == "/cached":
            return Response(status=304, headers={"etag": "x"})
        if request.path == "/packed":
            body = gzip.compress(b'<a href="/x">')
            return Response(headers={"content-type": "text/html; charset=utf-8", "content-encoding": "gzip"}, body=body)
        return Response(status=418, headers={"x-own": "y", "warning": "199 - z"}, body=b"z" * 200_000)

    base = f"{NAMESPACE}/pods/p/proxy"
    async with house(serve) as found:
        moved = await found.ask("GET", f"{base}/moved")
        assert (moved.status, moved.headers["location"]) == (302, f"{base}/login?x=1")
        assert moved.headers["set-cookie"] == "a=1\nb=2; Path=/"
        assert (await found.ask("GET", f"{base}/cached")).status == 304
        packed = await found.ask("GET", f"{base}/packed", accept_encoding="gzip")
        assert isinstance(packed.body, bytes)
        assert gzip.decompress(packed.body) == f'<a href="{base}/x">'.encode()
        teapot = await found.ask("GET", f"{base}/x")
        assert (teapot.status, teapot.headers["x-own"], teapot.body) == (418, "y", b"z" * 200_000)
        assert teapot.headers["content-length"] == "200000"
        head = await found.ask("HEAD", f"{base}/x")
        assert (head.status, head.headers["content-length"], head.body) == (418, "200000", b"")


# --- streams


async def test_bodies_stream_both_ways() -> None:
    """Each part of the request is answered while the request goes on, far past the limit on objects."""
    arrived: asyncio.Queue[bytes] = asyncio.Queue()

    async def backend(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await arrived.put(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\n")
        size = 0
        while size < 8 << 20:
            length = int((await reader.readline()).strip() or b"0", 16)
            data = await reader.readexactly(length + 2)
            size += length
            await arrived.put(data[:-2])
            writer.write(b"2\r\nok\r\n")
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        writer.close()

    listener = await asyncio.start_server(backend, "127.0.0.1", 0)
    async with listener, asyncio.timeout(60), house(port=listener.sockets[0].getsockname()[1]) as found:
        path = f"{NAMESPACE}/pods/p/proxy/upload"
        reader, writer = await found.raw(
            f"POST {path} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n".encode()
        )
        writer.write(b"5\r\nfirst\r\n")
        assert (await arrived.get()).startswith(b"POST /upload HTTP/1.1\r\n")
        assert await arrived.get() == b"first"
        assert (await reader.readuntil(b"ok\r\n")).startswith(b"HTTP/1.1 200 ")
        writer.write((b"10000\r\n" + b"x" * 0x10000 + b"\r\n") * 128 + b"0\r\n\r\n")
        answers = await reader.readuntil(b"0\r\n\r\n")
        assert answers.count(b"ok") > 1
        writer.close()
        await writer.wait_closed()


async def test_a_known_length_is_passed_on() -> None:
    async with house() as found:
        await found.ask("PUT", f"{NAMESPACE}/pods/p/proxy/x", b"abc")
        assert found.seen[0].headers["content-length"] == "3"
        assert "transfer-encoding" not in found.seen[0].headers
        await found.ask("GET", f"{NAMESPACE}/pods/p/proxy/x")
        assert "content-length" not in found.seen[1].headers


async def test_an_answer_that_breaks_off_breaks_off_here_too() -> None:
    async def backend(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n")
        await writer.drain()
        writer.close()

    listener = await asyncio.start_server(backend, "127.0.0.1", 0)
    async with listener, asyncio.timeout(60), house(port=listener.sockets[0].getsockname()[1]) as found:
        reader, writer = await found.raw(f"GET {NAMESPACE}/pods/p/proxy/ HTTP/1.1\r\nhost: x\r\n\r\n".encode())
        received = b""
        with contextlib.suppress(ConnectionResetError):
            while chunk := await reader.read(1000):
                received += chunk
        assert b"abc" in received
        assert not received.endswith(b"0\r\n\r\n")
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


# --- upgrades


async def test_a_websocket_through_the_proxy() -> None:
    async def shout(channel: Channel) -> None:
        while (message := await channel.receive()) is not None:
            await channel.send(message.upper(), text=message.startswith(b"t"))

    async def serve(request: Request) -> Response:
        assert request.headers["upgrade"] == "websocket"
        return Response(upgrade=Upgrade(protocol="chat", run=shout))

    def talk(url: str) -> tuple[Any, ...]:
        client = websocket.create_connection(url, subprotocols=["other", "chat"], timeout=60)
        try:
            client.send("text")
            first = client.recv_data()
            client.send(b"binary" * 10_000, opcode=websocket.ABNF.OPCODE_BINARY)
            second = client.recv_data()
            return client.getsubprotocol(), first, second
        finally:
            client.shutdown()

    async with house(serve) as found:
        url = f"ws://127.0.0.1:{found.address[1]}{NAMESPACE}/pods/p/proxy/chat"
        protocol, first, second = await asyncio.to_thread(talk, url)
        assert (protocol, first, second) == ("chat", (1, b"TEXT"), (2, b"BINARY" * 10_000))
        assert found.seen[0].path == "/chat"
        async with asyncio.timeout(60):
            while found.socket.door.open:
                await asyncio.sleep(0.01)


async def test_any_other_upgrade_is_bytes_both_ways() -> None:
    async def backend(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = await reader.readuntil(b"\r\n\r\n")
        assert b"upgrade: lines" in asked.lower()
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: lines\r\nX-A: b\r\n\r\nhello\n"
        )
        while line := await reader.readline():
            writer.write(line.upper())
        writer.close()

    listener = await asyncio.start_server(backend, "127.0.0.1", 0)
    async with listener, asyncio.timeout(60), house(port=listener.sockets[0].getsockname()[1]) as found:
        upgrade = ("connection: Upgrade", "upgrade: lines", "content-length: 0")
        reader, writer = await found.raw(head("POST", "services/one/proxy/x", *upgrade))
        answer = await reader.readuntil(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 101 ")
        assert b"upgrade: lines" in answer
        assert b"x-a: b" in answer
        assert await reader.readline() == b"hello\n"
        for word in (b"one\n", b"two" * 15_000 + b"\n"):
            writer.write(word)
            assert await reader.readuntil(b"\n") == word.upper()
        writer.close()
        await writer.wait_closed()
        while found.socket.door.open:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("answer", "code", "body"),
    [
        (b"HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\nx-a: b\r\n\r\nno", 403, b"no"),
        (b"HTTP/1.1 500 Broken\r\n\r\nuntil the end", 500, b"until the end"),
        (b"HTTP/1.1 404 No\r\ntransfer-encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n", 404, b"no"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", 502, b"invalid upgrade response: status code 200"),
        (b"nonsense\r\n\r\n", 503, b"error trying to reach service"),
        (b"", 503, b"error trying to reach service"),
    ],
)
async def test_a_backend_that_does_not_upgrade(answer: bytes, code: int, body: bytes) -> None:
    async def backend(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.close()

    listener = await asyncio.start_server(backend, "127.0.0.1", 0)
    async with listener, asyncio.timeout(60), house(port=listener.sockets[0].getsockname()[1]) as found:
        upgrade = (
            "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: eA==\r\n\r\n"
        )
        reader, writer = await found.raw(f"GET {NAMESPACE}/pods/p/proxy/ HTTP/1.1\r\nhost: x\r\n{upgrade}".encode())
        received = await reader.read()
        assert received.startswith(b"HTTP/1.1 %d " % code)
        assert body in received
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize(
    ("asked", "passed"),
    [
        ("/a%2Fb", "/a/b"),  # Kubernetes' server knows decoded paths only
        ("/a%252Fb", "/a%252Fb"),
        ("/a%20b%3Fc", "/a%20b%3Fc"),
        ("/a%5Cb%0A%00", "/a%5Cb%0A%00"),
        ("/%ff%C3%BC", "/%FF%C3%BC"),
        ("/a//b/", "/a/b/"),
        ("//a", "/a"),
        ("/a/./b/../c", "/a/c"),
        ("/a/%2e%2e/%2E%2E/%2e%2e/b", "/b"),
        ("/..%2f..%2f..%2fapi%2fv1%2fsecrets", "/api/v1/secrets"),
        ("/a/..", "/"),
        ("/a/../", "/"),
        ("/", "/"),
        ("/a?b=%2F&a;b&%zz&b=1&a=%ff", "/a?b=%2F&a;b&%zz&b=1&a=%ff"),
        ("/a?", "/a"),
    ],
)
async def test_what_is_escaped_in_a_proxied_path(asked: str, passed: str) -> None:
    async with house() as found:
        for place in ("pods/p/proxy", "services/s:w/proxy"):
            reader, writer = await found.raw(head("GET", place + asked, "connection: close"))
            answer = await reader.read()
            writer.close()
            assert answer.startswith(b"HTTP/1.1 200 "), answer
            sent = found.seen[-1]
            path, _, query = passed.partition("?")
            assert sent.raw == (path.encode(), query.encode())
            assert sent.headers["x-forwarded-uri"] == f"{NAMESPACE}/{place}{path}"


async def test_the_query_stays_as_it_is_where_a_slash_is_added() -> None:
    async with house() as found:
        reader, writer = await found.raw(head("GET", "pods/p/proxy?b=1&a=%2F&b", "connection: close"))
        answer = await reader.read()
        writer.close()
    assert answer.startswith(b"HTTP/1.1 301 ")
    assert f"location: {NAMESPACE}/pods/p/proxy/?b=1&a=%2F&b\r\n".encode() in answer


@pytest.mark.parametrize(
    ("path", "code", "said"),
    [
        ("pods/%2E%2E", 400, """Name parameter invalid: "..": may not be '..'"""),
        ("pods/a%25b", 400, """Name parameter invalid: "a%b": may not contain '%'"""),
        ("pods/a%2Fb", 404, "the server could not find the requested resource"),
        ("pods%2Fp", 200, "Pod"),
        ("pods/%ff", 404, 'pods "\ufffd" not found'),
        ("pods/a%0Ab", 404, 'pods "a\nb" not found'),
        ("pods/%zz", 400, "the path has a broken escape"),
        ("../../v1/pods", 404, "the server could not find the requested resource"),
    ],
)
async def test_what_is_escaped_in_a_name(path: str, code: int, said: str) -> None:
    async with house() as found:
        reader, writer = await found.raw(head("GET", path, "connection: close"))
        answer, _, body = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
    shown = decode(body)
    assert (int(answer.split()[1]), shown.get("message", shown["kind"])) == (code, said)
