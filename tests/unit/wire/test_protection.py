"""What a server does against peers that want too much, speak wrongly or are too slow."""

import asyncio
import contextlib
import errno
import logging
import resource
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from pybernetes.pki import Authority
from pybernetes.wire import Handler, Pace, Request, Response, Upgrade
from pybernetes.wire.listen import room
from pybernetes.wire.serve import Limits, Server, TlsFiles

OK = b"HTTP/1.1 200 "


class Recorder:
    def __init__(self) -> None:
        self.requests: list[Request] = []

    async def __call__(self, request: Request) -> Response:
        self.requests.append(request)
        return Response(headers={"content-type": "text/plain"}, body=b"ok")


async def opened(server: Server) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection(*server.addresses[0])


async def closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


async def refused(server: Server) -> bool:
    """Whether a new connection is reset, or ended, before anything else."""
    try:
        reader, writer = await opened(server)
    except ConnectionResetError:
        return True
    try:
        return await everything(reader) == b""
    finally:
        await closed(writer)


async def everything(reader: asyncio.StreamReader) -> bytes:
    """What comes until the server closes; a reset is an end too."""
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while chunk := await reader.read(1 << 16):
            received += chunk
    return received


async def reply(data: bytes, *, handler: Handler | None = None, limits: Limits | None = None) -> bytes:
    server = Server(handler or Recorder(), limits=limits or Limits(grace_seconds=0.5))
    async with server, asyncio.timeout(60):
        reader, writer = await opened(server)
        writer.write(data)
        received = await everything(reader)
        await closed(writer)
    assert server.door.open == 0
    return received


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.01)


@pytest.fixture(autouse=True)
def swift(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pybernetes.wire.serve._SWEEP", 0.05)


# --- connections


async def test_connections_are_bounded_for_each_address(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "pybernetes.wire")
    limits = Limits(connections_each=2, grace_seconds=0.1)
    async with Server(Recorder(), limits=limits, listen=[("127.0.0.1", 0)]) as server, asyncio.timeout(60):
        kept = [await opened(server) for _ in range(2)]
        await until(lambda: server.door.open == 2)
        for _ in range(5):
            assert await refused(server)
        assert server.door.refused == {"total": 0, "address": 5}
        loop = asyncio.get_running_loop()
        other = socket.socket()
        other.setblocking(False)
        other.bind(("127.0.0.9", 0))
        await loop.sock_connect(other, server.addresses[0])
        reader, writer = await asyncio.open_connection(sock=other)
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        assert (await reader.readuntil(b"ok")).startswith(OK)
        await closed(writer)
        for _, writer in kept:
            await closed(writer)
        await until(lambda: server.door.open == 0)
        reader, writer = await opened(server)
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        assert await reader.readuntil(b"ok")
        await closed(writer)
    told = [record.getMessage() for record in caplog.records]
    assert told[0].startswith("connections refused count=1 latest=127.0.0.1 ")
    assert len(told) == 1  # the others are counted, and told of later


async def test_connections_are_bounded_in_all_before_any_handshake(tmp_path: Path) -> None:
    authority = Authority.ensure(tmp_path)
    pair = authority.issue("s", user="s", addresses=["127.0.0.1"], server=True)
    tls = TlsFiles(pair.certificate, pair.key)
    limits = Limits(connections=3, handshake_seconds=2.0, grace_seconds=0.1)
    async with Server(Recorder(), limits=limits, tls=tls) as server, asyncio.timeout(60):
        silent = [await opened(server) for _ in range(3)]  # none begins its handshake
        await until(lambda: server.door.open == 3)
        assert await refused(server)
        assert server.door.refused["total"] == 1
        for reader, writer in silent:
            await everything(reader)
            await closed(writer)
        await until(lambda: server.door.open == 0)
        assert server.failed_handshakes == 3


async def test_a_place_is_given_back_by_every_kind_of_connection() -> None:
    async def handler(request: Request) -> Response:
        async def run(channel: object) -> None:
            pass

        return Response(upgrade=Upgrade(protocol="", run=run)) if "upgrade" in request.headers else Response()

    websocket = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: Upgrade\r\nupgrade: websocket\r\n"
    for data in (
        b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
        b"nonsense\r\n\r\n",
        b"",
        websocket + b"sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        websocket + b"\r\n",
    ):
        async with Server(handler, limits=Limits(grace_seconds=0.1)) as server:
            _, writer = await opened(server)
            writer.write(data)
            await until(lambda: server.door.accepted == 1)
            await closed(writer)
            await until(lambda: server.door.open == 0)


async def test_without_files_it_waits_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    real, fails = socket.socket.accept, [errno.EMFILE]
    monkeypatch.setattr("pybernetes.wire.listen._WAIT_SECONDS", 0.05)

    def accept(self: socket.socket) -> object:
        if fails:
            raise OSError(fails.pop(), "no files")
        return real(self)

    monkeypatch.setattr(socket.socket, "accept", accept)
    assert (await reply(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")).startswith(OK)
    assert fails == []


def test_the_bound_leaves_files_for_the_rest() -> None:
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert room(10) == 10
    assert 0 < room(1 << 40) < max(files, 1 << 40)


# --- heads


def head(*lines: bytes) -> bytes:
    return b"\r\n".join((b"GET / HTTP/1.1", b"host: x", b"connection: close", *lines, b"", b""))


@pytest.mark.parametrize("extra", [10, 100_000])
async def test_a_field_that_is_too_long(extra: int) -> None:
    answer = await reply(head(b"x: " + b"a" * (64 * 1024 + extra)))
    assert answer.startswith(b"HTTP/1.1 431 Request Header Fields Too Large\r\n")
    assert b'"kind":"Status"' in answer


async def test_fields_that_are_too_many() -> None:
    assert (await reply(head(*(b"x: a" for _ in range(600))))).startswith(b"HTTP/1.1 431 ")
    assert (await reply(head(*(b"x: a" for _ in range(400))))).startswith(OK)


@pytest.mark.parametrize("length", [40_000, 300_000])
async def test_a_target_that_is_too_long(length: int) -> None:
    answer = await reply(b"GET /" + b"a" * length + b" HTTP/1.1\r\nhost: x\r\n\r\n")
    assert answer.startswith((b"HTTP/1.1 414 ", b"HTTP/1.1 431 "))
    assert (await reply(head().replace(b"GET /", b"GET /" + b"a" * 30_000))).startswith(OK)


async def test_a_request_needs_a_host_but_not_in_http_1_0() -> None:
    answer = await reply(b"GET / HTTP/1.1\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"missing required Host header" in answer
    assert (await reply(b"GET / HTTP/1.0\r\n\r\n")).startswith(OK)


async def test_an_unknown_expectation() -> None:
    assert (await reply(head(b"expect: the-moon"))).startswith(b"HTTP/1.1 417 ")


POST = b"POST / HTTP/1.1\r\nhost: x\r\n"


@pytest.mark.parametrize(
    "data",
    [
        POST + b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nGET /x HTTP/1.1\r\nhost: x\r\n\r\n",
        POST + b"transfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\nGET /x HTTP/1.1\r\nhost: x\r\n\r\n",
        POST + b"content-length: 1\r\ncontent-length: 2\r\n\r\nab",
        POST + b"content-length: 1\r\ncontent-length: 1\r\n\r\na",
        POST + b"content-length: 1, 2\r\n\r\nab",
        POST + b"content-length: +1\r\n\r\na",
        POST + b"content-length: -1\r\n\r\na",
        POST + b"content-length: 0x1\r\n\r\na",
        POST + b"content-length: 99999999999999999999999\r\n\r\na",
        POST + b"content-length : 1\r\n\r\na",
        POST + b"transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        POST + b"transfer-encoding: identity, chunked, identity\r\n\r\n0\r\n\r\n",
        POST + b"transfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
        POST + b"transfer-encoding: chunked\r\n\r\n-1\r\n\r\n",
        POST + b"transfer-encoding: chunked\r\n\r\n0x1\r\na\r\n0\r\n\r\n",
        POST + b"transfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\na",
        POST + b"transfer-encoding: chunked\r\n\r\n1\r\nabc\r\n0\r\n\r\n",
        POST + b"transfer-encoding: chunked\r\n\r\n1\na\n0\n\n",
        POST + b"x: a\r\n folded: b\r\n\r\n",
        POST + b"x: a\r\n\tfolded\r\n\r\n",
        b"POST / HTTP/1.1\nhost: x\ncontent-length: 1\n\na",
        POST + b"x: a\nsmuggled: b\r\n\r\n",
        POST + b"x: a\rb\r\n\r\n",
        POST + b"x\x00: a\r\n\r\n",
        POST + b"x: a\x00b\r\n\r\n",
        POST + b": a\r\n\r\n",
        POST + b"x y: a\r\n\r\n",
        b"GET / HTTP/1.1 \r\nhost: x\r\n\r\n",
        b"GET / HTTP/9.9\r\nhost: x\r\n\r\n",
        b"GET / http/1.1\r\nhost: x\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"G\xc3\x96T / HTTP/1.1\r\nhost: x\r\n\r\n",
        b"CONNECT other:443 HTTP/1.1\r\nhost: x\r\n\r\n",
    ],
)
async def test_what_could_be_read_in_two_ways_is_refused(data: bytes) -> None:
    handler = Recorder()
    answer = await reply(data, handler=handler, limits=Limits(head_seconds=0.3, request_seconds=0.3, grace_seconds=0.3))
    assert answer.startswith(b"HTTP/1.1 400 "), answer
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"connection: close" in answer
    assert "/x" not in [request.path for request in handler.requests]


# --- pipelines, HTTP/1.0


async def test_a_pipeline_is_bounded() -> None:
    gate = asyncio.Event()

    async def handler(request: Request) -> Response:
        await gate.wait()
        return Response(body=b"ok")

    async with Server(handler, limits=Limits(pipelined=10, grace_seconds=0.2)) as server, asyncio.timeout(60):
        reader, writer = await opened(server)
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n" * 5000)
        answer = await everything(reader)
        gate.set()
        await closed(writer)
        await until(lambda: not server._state.tasks)
    assert answer.count(OK) == 0
    assert answer.startswith(b"HTTP/1.1 400 ")


async def lines() -> AsyncIterator[bytes]:
    for _ in range(3):
        yield b"line\n"


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
async def test_streams_are_chunked_for_those_alone_who_know_chunks(version: bytes) -> None:
    async def handler(request: Request) -> Response:
        return Response(body=lines())

    answer = await reply(b"GET / HTTP/" + version + b"\r\nhost: x\r\nconnection: close\r\n\r\n", handler=handler)
    text, _, body = answer.partition(b"\r\n\r\n")
    assert b"connection: close" in text
    if version == b"1.0":
        assert b"chunked" not in text
        assert body == b"line\nline\nline\n"
    else:
        assert body == b"5\r\nline\n\r\n" * 3 + b"0\r\n\r\n"


# --- slow peers


async def slow_head(writer: asyncio.StreamWriter) -> None:
    writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n")
    while True:
        writer.write(b"x: a\r\n")
        await writer.drain()
        await asyncio.sleep(0.03)


async def slow_body(writer: asyncio.StreamWriter) -> None:
    writer.write(POST + b"transfer-encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"1\r\na\r\n")
        await writer.drain()
        await asyncio.sleep(0.03)


@pytest.mark.parametrize("drip", [slow_head, slow_body])
async def test_who_drips_is_cut(drip: Callable[[asyncio.StreamWriter], Awaitable[None]]) -> None:
    limits = Limits(head_seconds=0.3, request_seconds=0.3, grace_seconds=0.1)
    async with Server(Recorder(), limits=limits) as server, asyncio.timeout(60):
        reader, writer = await opened(server)
        dripping = asyncio.ensure_future(drip(writer))
        assert await everything(reader) == b""
        dripping.cancel()
        await asyncio.gather(dripping, return_exceptions=True)
        await closed(writer)
        assert server.cut == 1
        await until(lambda: server.door.open == 0 and not server._state.tasks)


async def firehose() -> AsyncIterator[bytes]:
    while True:
        yield b"x" * 100_000
        await asyncio.sleep(0)


async def drops() -> AsyncIterator[bytes]:
    while True:
        yield b"x"
        await asyncio.sleep(0.02)


async def test_who_does_not_read_an_answer_is_cut_but_not_where_pace_is_free() -> None:
    free = Response(body=firehose(), pace=Pace.FREE)
    for response in (
        Response(body=firehose()),
        Response(body=b"x" * 50_000_000),
        Response(body=firehose(), pace=Pace.LIVE),
        free,
    ):

        async def handler(request: Request, response: Response = response) -> Response:
            return response

        limits = Limits(write_seconds=0.3, grace_seconds=0.1)
        async with Server(handler, limits=limits) as server, asyncio.timeout(60):
            _, writer = await opened(server)
            writer.transport.pause_reading()  # type: ignore[attr-defined]
            writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            if response is free:
                await asyncio.sleep(0.8)
                assert server.cut == 0
            else:
                await until(lambda: server.cut == 1 and not server._state.tasks)
            writer.transport.abort()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


async def test_an_answer_has_an_end_but_a_watch_has_none() -> None:
    for pace in (Pace.WHOLE, Pace.LIVE):

        async def handler(request: Request, pace: Pace = pace) -> Response:
            return Response(body=drops(), pace=pace)

        limits = Limits(answer_seconds=0.3, grace_seconds=0.1)
        async with Server(handler, limits=limits) as server, asyncio.timeout(60):
            reader, writer = await opened(server)
            writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            if pace is Pace.WHOLE:
                await everything(reader)
                assert server.cut == 1
            else:
                for _ in range(40):
                    await reader.readuntil(b"x")
                assert server.cut == 0
            await closed(writer)


async def test_others_are_served_while_many_are_slow() -> None:
    async with Server(Recorder(), limits=Limits(grace_seconds=0.1)) as server, asyncio.timeout(60):
        slow = [await opened(server) for _ in range(200)]
        for number, (_, writer) in enumerate(slow):
            writer.write((b"GET / HTT", POST + b"content-length: 10\r\n\r\nabc", b"")[number % 3])
        reader, writer = await opened(server)
        for _ in range(20):
            writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            assert (await reader.readuntil(b"ok")).startswith(OK)
        await closed(writer)
        for _, one in slow:
            await closed(one)
        await until(lambda: server.door.open == 0 and not server._state.tasks)


# --- uploads


async def test_a_body_is_left_unread_until_it_is_asked_for() -> None:
    async def handler(request: Request) -> Response:
        if "authorization" not in request.headers:
            return Response(status=401)
        assert request.upload is not None
        return Response(body=await request.upload.read())

    async with Server(handler, uploads=True, limits=Limits(grace_seconds=0.2)) as server, asyncio.timeout(60):
        reader, writer = await opened(server)
        writer.write(POST + b"expect: 100-continue\r\ncontent-length: 5\r\n\r\n")
        answer = await everything(reader)
        assert answer.startswith(b"HTTP/1.1 401 ")  # and no "100 Continue"
        await closed(writer)
        reader, writer = await opened(server)
        writer.write(POST + b"expect: 100-continue\r\nauthorization: x\r\ncontent-length: 5\r\n\r\n")
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"abcde")
        assert (await reader.readuntil(b"abcde")).startswith(OK)
        await closed(writer)


async def test_a_body_beyond_the_limit_is_told_in_kubernetes_words() -> None:
    async def handler(request: Request) -> Response:
        assert request.upload is not None
        return Response(body=await request.upload.read())

    async with Server(handler, uploads=True, limits=Limits(grace_seconds=0.2)) as server, asyncio.timeout(60):
        for data in (
            POST + b"content-length: 3145729\r\nexpect: 100-continue\r\n\r\n",
            POST
            + b"connection: close\r\ntransfer-encoding: chunked\r\n\r\n"
            + b"100000\r\n"
            + b"x" * 0x100000
            + b"\r\n",
        ):
            reader, writer = await opened(server)
            writer.write(data)
            if b"chunked" in data:
                for _ in range(4):
                    writer.write(b"100000\r\n" + b"x" * 0x100000 + b"\r\n")
                writer.write(b"0\r\n\r\n")
            answer = await everything(reader)
            assert answer.startswith(b"HTTP/1.1 413 ")
            assert b'"message":"Request entity too large: limit is 3145728"' in answer
            await closed(writer)


async def test_an_upload_is_passed_on_as_it_comes_and_may_be_slow() -> None:
    seen: list[bytes] = []

    async def handler(request: Request) -> Response:
        assert request.upload is not None
        async for chunk in request.upload:
            seen.append(chunk)
        return Response(body=b"all")

    limits = Limits(request_seconds=0.2, body_bytes=10, grace_seconds=0.2)
    async with Server(handler, uploads=True, limits=limits) as server, asyncio.timeout(60):
        reader, writer = await opened(server)
        writer.write(POST + b"transfer-encoding: chunked\r\n\r\n")
        for _ in range(10):
            writer.write(b"5\r\nhello\r\n")
            await asyncio.sleep(0.06)
        writer.write(b"0\r\n\r\n")
        assert (await reader.readuntil(b"all")).startswith(OK)
        await closed(writer)
    assert b"".join(seen) == b"hello" * 10
    assert len(seen) > 1
