"""The contract of Transport and Channel: loopback, HTTP, and HTTP over TLS with a client certificate, on both loops."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from pybernetes.api.errors import ApiError, Forbidden, NotFound
from pybernetes.pki import Authority
from pybernetes.wire import Channel, Handler, Request, Response, Transport, Upgrade
from pybernetes.wire.loopback import LoopbackTransport, channel_pair
from pybernetes.wire.send import HttpTransport
from pybernetes.wire.serve import Limits, Server, TlsFiles

Open = Callable[[Handler], AbstractAsyncContextManager[Transport]]

LIMITS = Limits(grace_seconds=1.0)


@asynccontextmanager
async def loopback(handler: Handler) -> AsyncIterator[Transport]:
    transport = LoopbackTransport(handler)
    yield transport
    await transport.close()


@asynccontextmanager
async def http(handler: Handler) -> AsyncIterator[Transport]:
    async with Server(handler, limits=LIMITS) as server:
        host, port = server.addresses[0]
        transport = HttpTransport(f"http://{host}:{port}")
        yield transport
        await transport.close()


@asynccontextmanager
async def https(handler: Handler, directory: Path) -> AsyncIterator[Transport]:
    authority = Authority.ensure(directory)
    serving = authority.issue("server", user="server", dns=["localhost"], addresses=["127.0.0.1"], server=True)
    admin = authority.issue("admin", user="admin", groups=["system:masters"])
    authority_pem, certificate, key = map(_read, (authority.certificate, *admin))
    tls = TlsFiles(serving.certificate, serving.key, authority.certificate)
    async with Server(handler, tls=tls, limits=LIMITS) as server:
        transport = HttpTransport(
            f"https://127.0.0.1:{server.addresses[0][1]}",
            server_name="localhost",
            ca=authority_pem,
            certificate=certificate,
            key=key,
        )
        yield transport
        await transport.close()


def _read(path: str) -> bytes:
    return Path(path).read_bytes()


@pytest.fixture(params=["loopback", "http", "https"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    if request.param == "https":
        return lambda handler: https(handler, tmp_path)
    return {"loopback": loopback, "http": http}[request.param]


class Recorder:
    """A handler that keeps what it was asked, and answers what it was told to."""

    def __init__(self, response: Response | None = None) -> None:
        self.response = response or Response(body=b"{}")
        self.requests: list[Request] = []

    async def __call__(self, request: Request) -> Response:
        self.requests.append(request)
        return self.response


async def test_a_request_arrives_as_it_was_sent(opened: Open) -> None:
    handler = Recorder(Response(status=201, headers={"Content-Type": "text/plain", "X-One": "1"}, body=b"done"))
    async with opened(handler) as transport:
        response = await transport.send(
            Request(
                method="PATCH",
                path="/api/v1/namespaces/default/pods/wéb 0+%~",
                query={"fieldManager": ["a b&c"], "x": ["1", "2"], "blank": [""]},
                headers={"Content-Type": "application/merge-patch+json", "X-Thing": "é", "authorization": "Bearer x"},
                body=b'{"a":1}\n',
            )
        )
    assert (response.status, response.body) == (201, b"done")
    assert response.headers["content-type"] == "text/plain"
    assert response.headers["x-one"] == "1"
    request = handler.requests[0]
    assert (request.method, request.path) == ("PATCH", "/api/v1/namespaces/default/pods/wéb 0+%~")
    assert {k: list(v) for k, v in request.query.items()} == {"fieldManager": ["a b&c"], "x": ["1", "2"], "blank": [""]}
    assert request.body == b'{"a":1}\n'
    assert request.headers["content-type"] == "application/merge-patch+json"
    assert request.headers["authorization"] == "Bearer x"
    assert request.peer.address.startswith("127.0.0.1:")
    assert request.context == {}


async def test_a_context_is_not_sent(opened: Open) -> None:
    handler = Recorder()
    async with opened(handler) as transport:
        await transport.send(Request(context={"user": "root"}))
    assert handler.requests[0].context == {}


async def test_what_belongs_to_one_connection_is_not_passed_on(opened: Open) -> None:
    """A proxy may hand on the headers it got, both ways."""
    headers = {"Connection": "Upgrade", "upgrade": "websocket", "sec-websocket-key": "x", "te": "trailers", "x": "y"}
    length = {"content-length": "999", "transfer-encoding": "chunked"}
    handler = Recorder(Response(headers={**headers, **length, "content-encoding": "gzip"}, body=b"as it is"))
    async with opened(handler) as transport, asyncio.timeout(60):
        response = await transport.send(Request(method="POST", headers={**headers, **length}, body=b"{}"))
    request = handler.requests[0]
    for arrived in (request.headers, response.headers):
        assert not {"upgrade", "sec-websocket-key", "te", "transfer-encoding", "connection"} & set(arrived)
        assert arrived.get("content-length") != "999"
        assert arrived["x"] == "y"
    assert (request.body, response.body) == (b"{}", b"as it is")
    assert response.headers["content-encoding"] == "gzip"


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS"])
async def test_methods_and_empty_bodies(opened: Open, method: str) -> None:
    handler = Recorder(Response(body=b"body"))
    async with opened(handler) as transport:
        response = await transport.send(Request(method=method))
    assert handler.requests[0].method == method
    assert handler.requests[0].body == b""
    assert response.body == (b"" if method == "HEAD" else b"body")


async def test_a_delete_may_have_a_body(opened: Open) -> None:
    handler = Recorder()
    async with opened(handler) as transport:
        await transport.send(Request(method="DELETE", body=b"{}"))
    assert handler.requests[0].body == b"{}"


@pytest.mark.parametrize("path", ["/a/../b", "/a/./b", "/..", "/a\x00b", "/a\nb", "/a\\b"])
async def test_a_path_with_nasties_is_refused(opened: Open, path: str) -> None:
    handler = Recorder()
    async with opened(handler) as transport:
        response = await transport.send(Request(path=path))
    assert response.status == 400
    assert b'"reason":"BadRequest"' in response.body
    assert handler.requests == []


async def test_large_bodies_go_through_and_larger_are_refused(opened: Open) -> None:
    handler = Recorder(Response(body=b"y" * 5_000_000))
    async with opened(handler) as transport:
        response = await transport.send(Request(method="POST", body=b"x" * (3 << 20)))
        assert len(response.body) == 5_000_000
        refused = await transport.send(Request(method="POST", body=b"x" * ((3 << 20) + 1)))
        assert refused.status == 413
        assert b'"reason":"RequestEntityTooLarge"' in refused.body
        assert (await transport.send(Request())).status == 200
    assert [len(request.body) for request in handler.requests] == [3 << 20, 0]


async def test_an_error_that_a_handler_lets_through_becomes_a_status(
    opened: Open, caplog: pytest.LogCaptureFixture
) -> None:
    async def handler(request: Request) -> Response:
        if request.path == "/missing":
            raise NotFound.of("pods", "x")
        raise ZeroDivisionError("secret")

    async with opened(handler) as transport:
        missing = await transport.send(Request(path="/missing"))
        broken = await transport.send(Request(path="/broken"))
    assert missing.status == 404
    assert b'pods \\"x\\" not found' in missing.body
    assert broken.status == 500
    assert b"secret" not in broken.body
    assert "ZeroDivisionError" in caplog.text


async def test_requests_run_at_the_same_time(opened: Open) -> None:
    running = 0
    all_here = asyncio.Event()

    async def handler(request: Request) -> Response:
        nonlocal running
        running += 1
        if running == 20:
            all_here.set()
        await all_here.wait()
        return Response()

    async with opened(handler) as transport, asyncio.timeout(60):
        await asyncio.gather(*(transport.send(Request()) for _ in range(20)))


async def test_a_streamed_answer_comes_in_pieces(opened: Open) -> None:
    go = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield b"one"
        yield b""
        await go.wait()
        yield b"two"

    async def handler(request: Request) -> Response:
        return Response(headers={"content-type": "application/json"}, body=body())

    async with opened(handler) as transport, asyncio.timeout(60):
        response = await transport.send(Request(stream=True))
        assert not isinstance(response.body, bytes)
        chunks = aiter(response.body)
        assert await anext(chunks) == b"one"
        go.set()
        assert await anext(chunks) == b"two"
        with pytest.raises(StopAsyncIteration):
            await anext(chunks)


async def test_a_streamed_answer_is_joined_for_who_did_not_ask_for_a_stream(opened: Open) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"one"
        yield b"two"

    async def handler(request: Request) -> Response:
        return Response(body=body())

    async with opened(handler) as transport:
        assert (await transport.send(Request())).body == b"onetwo"


async def test_an_error_answer_is_whole_even_when_a_stream_was_asked_for(opened: Open) -> None:
    async def handler(request: Request) -> Response:
        raise Forbidden("no")

    async with opened(handler) as transport:
        response = await transport.send(Request(stream=True))
    assert response.status == 403
    assert isinstance(response.body, bytes)


async def test_bytes_can_be_read_as_a_stream(opened: Open) -> None:
    async with opened(Recorder(Response(body=b"all"))) as transport:
        response = await transport.send(Request(stream=True))
        assert not isinstance(response.body, bytes)
        assert b"".join([chunk async for chunk in response.body]) == b"all"


async def test_a_body_is_closed_when_its_reader_leaves(opened: Open) -> None:
    closed = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        try:
            yield b"one"
            await asyncio.Event().wait()
        finally:
            closed.set()

    async def handler(request: Request) -> Response:
        return Response(body=body())

    async with opened(handler) as transport, asyncio.timeout(60):
        response = await transport.send(Request(stream=True))
        chunks = aiter(response.body)
        assert await anext(chunks) == b"one"
        await response.body.aclose()
        await closed.wait()


async def test_a_body_that_breaks_is_a_connection_error(opened: Open, caplog: pytest.LogCaptureFixture) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"one"
        raise ZeroDivisionError

    async def handler(request: Request) -> Response:
        return Response(body=body())

    async with opened(handler) as transport, asyncio.timeout(60):
        response = await transport.send(Request(stream=True))
        with pytest.raises(ConnectionError):
            async for _ in response.body:
                pass


async def test_a_closed_transport_refuses(opened: Open) -> None:
    async with opened(Recorder()) as transport:
        await transport.send(Request())
        await transport.close()
        with pytest.raises(ConnectionError):
            await transport.send(Request())


# --- channels


def upgrading(run: Callable[[Channel], object], protocol: str = "v5.channel.k8s.io") -> Handler:
    async def handler(request: Request) -> Response:
        assert request.headers["upgrade"].lower() == "websocket"
        return Response(status=101, upgrade=Upgrade(protocol=protocol, run=run))  # type: ignore[arg-type]

    return handler


async def echo(channel: Channel) -> None:
    while (message := await channel.receive()) is not None:
        await channel.send(message)


async def test_a_channel_carries_messages_both_ways(opened: Open) -> None:
    async with opened(upgrading(echo)) as transport, asyncio.timeout(60):
        channel = await transport.connect(Request(path="/exec"), protocols=["v5.channel.k8s.io", "v4.channel.k8s.io"])
        assert channel.protocol == "v5.channel.k8s.io"
        for message in (b"one", b"", b"\x00\xff" * 100_000):
            await channel.send(message)
            assert await channel.receive() == message
        await channel.send("text é".encode(), text=True)
        assert await channel.receive() == "text é".encode()
        await channel.close()
        with pytest.raises(ConnectionError):
            await channel.send(b"late")


async def test_the_offered_protocols_reach_the_handler(opened: Open) -> None:
    offered: list[str] = []

    async def handler(request: Request) -> Response:
        offered.extend(request.headers["sec-websocket-protocol"].replace(" ", "").split(","))
        return Response(upgrade=Upgrade(protocol="b", run=echo))

    async with opened(handler) as transport:
        channel = await transport.connect(Request(), protocols=["a", "b"])
        await channel.close()
    assert offered == ["a", "b"]


async def test_no_protocol_is_fine(opened: Open) -> None:
    async with opened(upgrading(echo, "")) as transport, asyncio.timeout(60):
        channel = await transport.connect(Request(), protocols=[])
        assert channel.protocol == ""
        await channel.send(b"x")
        assert await channel.receive() == b"x"
        await channel.close()


async def test_the_server_ends_a_channel(opened: Open) -> None:
    async def run(channel: Channel) -> None:
        await channel.send(b"last")

    async with opened(upgrading(run)) as transport, asyncio.timeout(60):
        channel = await transport.connect(Request(), protocols=["v5.channel.k8s.io"])
        assert await channel.receive() == b"last"
        assert await channel.receive() is None
        assert await channel.receive() is None
        await channel.close()


async def test_the_server_hears_of_a_client_that_leaves(opened: Open) -> None:
    left = asyncio.Event()

    async def run(channel: Channel) -> None:
        assert await channel.receive() is None
        left.set()

    async with opened(upgrading(run)) as transport, asyncio.timeout(60):
        channel = await transport.connect(Request(), protocols=["v5.channel.k8s.io"])
        await channel.close()
        await left.wait()


async def test_a_channel_that_breaks_is_closed(opened: Open, caplog: pytest.LogCaptureFixture) -> None:
    async def run(channel: Channel) -> None:
        raise ZeroDivisionError

    async with opened(upgrading(run)) as transport, asyncio.timeout(60):
        channel = await transport.connect(Request(), protocols=["v5.channel.k8s.io"])
        assert await channel.receive() is None
        await channel.close()
    assert "ZeroDivisionError" in caplog.text


async def test_a_refused_handshake_raises_the_error(opened: Open) -> None:
    async def handler(request: Request) -> Response:
        raise Forbidden("no exec for you")

    async with opened(handler) as transport, asyncio.timeout(60):
        with pytest.raises(Forbidden, match="no exec for you"):
            await transport.connect(Request(), protocols=["v5.channel.k8s.io"])


async def test_an_answer_that_is_no_upgrade_raises(opened: Open) -> None:
    async with opened(Recorder()) as transport, asyncio.timeout(60):
        with pytest.raises(ApiError):
            await transport.connect(Request(), protocols=[])


async def test_an_upgrade_nobody_asked_for_is_a_bad_request(opened: Open) -> None:
    async def handler(request: Request) -> Response:
        return Response(upgrade=Upgrade(protocol="", run=echo))

    async with opened(handler) as transport:
        assert (await transport.send(Request())).status == 400


async def test_a_slow_reader_slows_the_writer_down(opened: Open) -> None:
    sent = 0

    async def run(channel: Channel) -> None:
        nonlocal sent
        for _ in range(400):
            await channel.send(b"x" * 200_000)
            sent += 1

    async with opened(upgrading(run)) as transport, asyncio.timeout(60):
        channel = await transport.connect(Request(), protocols=["v5.channel.k8s.io"])
        before = -1
        while before != sent:
            before = sent
            await asyncio.sleep(0.1)
        assert sent < 400
        received = 0
        while await channel.receive() is not None:
            received += 1
        assert received == 400
        await channel.close()


async def test_a_pair_of_channels_is_symmetric() -> None:
    one, two = channel_pair("p")
    await one.send(b"a")
    await two.send(b"b")
    assert (await two.receive(), await one.receive()) == (b"a", b"b")
    await one.send(b"last")
    await one.close()
    assert await two.receive() == b"last"
    assert await two.receive() is None
    with pytest.raises(ConnectionError):
        await two.send(b"x")


async def test_closing_a_pair_wakes_a_blocked_sender() -> None:
    one, two = channel_pair()

    async def flood() -> None:
        while True:
            await one.send(b"x")

    task = asyncio.create_task(flood())
    await asyncio.sleep(0)
    await two.close()
    with pytest.raises(ConnectionError):
        await task
