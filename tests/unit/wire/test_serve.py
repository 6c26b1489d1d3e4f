"""What the server does that the transport contract does not show: raw bytes, TLS, limits, shutdown."""

import asyncio
import contextlib
import gzip
import random
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cryptography import x509

from pybernetes.pki import Authority
from pybernetes.wire import Channel, Handler, Pace, Request, Response, Upgrade, connection
from pybernetes.wire.send import HttpTransport
from pybernetes.wire.serve import Limits, Server, TlsFiles
from support.ports import free_port


class Recorder:
    def __init__(self, body: bytes = b"ok") -> None:
        self.body = body
        self.requests: list[Request] = []

    async def __call__(self, request: Request) -> Response:
        self.requests.append(request)
        return Response(headers={"content-type": "text/plain"}, body=self.body)


async def talk(server: Server, data: bytes, *, until: bytes = b"", tls: ssl.SSLContext | None = None) -> bytes:
    """Send raw bytes; everything that comes back until the server closes, or until `until` has come."""
    host, port = server.addresses[0]
    reader, writer = await asyncio.open_connection(host, port, ssl=tls)
    received = b""
    try:
        async with asyncio.timeout(60):
            writer.write(data)
            while chunk := await reader.read(1 << 16):
                received += chunk
                if until and until in received:
                    break
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            await writer.wait_closed()
    return received


async def reply(
    data: bytes, *, handler: Handler | None = None, limits: Limits | None = None, until: bytes = b""
) -> bytes:
    async with Server(handler or Recorder(), limits=limits or Limits(grace_seconds=1)) as server:
        return await talk(server, data, until=until)


def get(target: str, *headers: str) -> bytes:
    lines = [f"GET {target} HTTP/1.1", "host: x", "connection: close", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


# --- targets and heads


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        ("/", "/", {}),
        ("/a%20b", "/a b", {}),
        ("/a%2520b", "/a%20b", {}),  # decoded once
        ("/%C3%BC", "/ü", {}),
        ("/a+b?c+d=e+f&g=%2B", "/a+b", {"c d": ["e f"], "g": ["+"]}),
        ("/a?x=1&x=2&y", "/a", {"x": ["1", "2"], "y": [""]}),
        ("/api//v1/", "/api//v1/", {}),
        ("//host/a", "//host/a", {}),
        ("http://other/a?b=c", "/a", {"b": ["c"]}),
        ("/a;b=c", "/a;b=c", {}),
        ("/.well-known/..x", "/.well-known/..x", {}),
    ],
)
async def test_targets(target: str, path: str, query: dict[str, list[str]]) -> None:
    handler = Recorder()
    answer = await reply(get(target), handler=handler)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert (handler.requests[0].path, handler.requests[0].query) == (path, query)


@pytest.mark.parametrize(
    "target",
    [
        "/a%2Fb",
        "/a%2fb",
        "/a%5cb",
        "/%2e%2e/x",
        "/a/%2e",
        "/a/..",
        "/./a",
        "/a%00",
        "/a%0d%0ab",
        "/%zz",
        "/a%2",
        "/%ff",
        "*",
    ],
)
async def test_nasty_targets_are_refused(target: str) -> None:
    handler = Recorder()
    answer = await reply(get(target), handler=handler)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b'"kind":"Status"' in answer
    assert handler.requests == []


async def test_a_query_that_is_no_utf8_or_too_long_is_refused() -> None:
    assert (await reply(get("/?a=%ff"))).startswith(b"HTTP/1.1 400 ")
    assert (await reply(get("/?" + "a=1&" * 1200))).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(
    "data",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\nbad header\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
        b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"GET /\xc3\xbc HTTP/1.1\r\nhost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"x" * 100,
    ],
)
async def test_malformed_requests_are_answered_and_closed(data: bytes) -> None:
    answer = await reply(data)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"connection: close" in answer
    assert b'"kind":"Status"' in answer


async def test_repeated_headers_are_joined_but_some_may_not_be_repeated() -> None:
    handler = Recorder()
    await reply(get("/", "Impersonate-Group: a", "impersonate-group: b", "Cookie: a=1", "Cookie: b=2"), handler=handler)
    assert handler.requests[0].headers["impersonate-group"] == "a, b"
    assert handler.requests[0].headers["cookie"] == "a=1; b=2"
    for name in ("authorization", "content-type", "host"):
        answer = await reply(get("/", f"{name}: a", f"{name}: b"))
        assert answer.startswith(b"HTTP/1.1 400 ")


async def test_a_head_that_never_ends_is_refused() -> None:
    async def drip(writer: asyncio.StreamWriter) -> None:
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\nx: ")
        while True:
            writer.write(b"x" * 1000)
            await writer.drain()
            await asyncio.sleep(0)

    async with Server(Recorder(), limits=Limits(head_bytes=20_000)) as server, asyncio.timeout(60):
        reader, writer = await asyncio.open_connection(*server.addresses[0])
        task = asyncio.create_task(drip(writer))
        answer = await reader.read(1000)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        writer.close()
    assert answer.startswith(b"HTTP/1.1 431 ")


async def test_a_request_that_takes_too_long_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pybernetes.wire.serve._SWEEP", 0.05)
    limits = Limits(head_seconds=0.1, request_seconds=0.1, grace_seconds=0.1)
    for begin in (b"", b"GET / HT", b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nabc"):
        async with Server(Recorder(), limits=limits) as server:
            with contextlib.suppress(ConnectionResetError):
                assert await talk(server, begin) == b""


async def test_a_slow_handler_or_an_idle_connection_is_not_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pybernetes.wire.serve._SWEEP", 0.02)

    async def handler(request: Request) -> Response:
        await asyncio.sleep(0.3)
        return Response(body=b"slow")

    async with Server(handler, limits=Limits(head_seconds=0.1, request_seconds=0.1)) as server:
        reader, writer = await asyncio.open_connection(*server.addresses[0])
        for _ in range(2):
            writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            assert await reader.readuntil(b"slow")
            await asyncio.sleep(0.2)
        writer.close()
        await writer.wait_closed()


# --- bodies


async def test_a_large_body_with_expect_is_refused_before_it_is_sent() -> None:
    head = b"POST / HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 4000000\r\n\r\n"
    answer = await reply(head)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"connection: close" in answer


async def test_expect_continue_is_answered() -> None:
    head = b"POST / HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n"
    async with Server(Recorder()) as server:
        reader, writer = await asyncio.open_connection(*server.addresses[0])
        writer.write(head)
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"{}")
        assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200 ")
        writer.close()
        await writer.wait_closed()


async def test_a_chunked_body_over_the_limit_is_refused_and_the_connection_goes_on() -> None:
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    data = b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n" + chunk * 4 + b"0\r\n\r\n" + get("/next")
    handler = Recorder()
    answer = await reply(data, handler=handler, limits=Limits(body_bytes=100_000))
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"HTTP/1.1 200 " in answer
    assert [request.path for request in handler.requests] == ["/next"]


async def test_pipelined_requests_are_answered_in_order() -> None:
    async def handler(request: Request) -> Response:
        await asyncio.sleep(0.05 if request.path == "/1" else 0)
        return Response(body=request.path.encode())

    data = b"GET /1 HTTP/1.1\r\nhost: x\r\n\r\nGET /2 HTTP/1.1\r\nhost: x\r\n\r\n" + get("/3")
    answer = await reply(data, handler=handler)
    assert [part[-2:] for part in answer.split(b"HTTP/1.1 200 ")[1:]] == [b"/1", b"/2", b"/3"]


async def test_bodies_are_compressed_when_big_and_accepted() -> None:
    body = b"0123456789" * 20_000
    async with Server(Recorder(body)) as server:
        packed = await talk(server, get("/", "accept-encoding: gzip, deflate"))
        plain = await talk(server, get("/"))
    head, _, data = packed.partition(b"\r\n\r\n")
    assert b"content-encoding: gzip" in head
    assert b"vary: Accept-Encoding" in head
    assert gzip.decompress(data) == body
    assert plain.endswith(b"\r\n\r\n" + body)


async def test_small_bodies_are_not_compressed() -> None:
    answer = await reply(get("/", "accept-encoding: gzip"), handler=Recorder(b"small"))
    assert answer.endswith(b"small")


@pytest.mark.parametrize(
    ("accept", "packed"),
    [("gzip", True), ("deflate, GZIP;q=0.5", True), ("gzip;q=0", False), ("xgzip", False), ("br", False), ("", False)],
)
async def test_who_takes_gzip(accept: str, packed: bool) -> None:
    body = b"0123456789" * 20_000
    answer = await reply(get("/", f"accept-encoding: {accept}"), handler=Recorder(body))
    assert (b"content-encoding: gzip" in answer) is packed


async def test_a_streamed_list_is_compressed_as_it_goes_and_a_watch_is_not() -> None:
    made = 0

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal made
        for _ in range(200):
            made += 1
            yield random.randbytes(100_000)

    async def handler(request: Request) -> Response:
        return Response(body=chunks(), pace=Pace.LIVE if request.path == "/watch" else Pace.WHOLE)

    async with Server(handler, limits=Limits(grace_seconds=0.5)) as server, asyncio.timeout(60):
        reader, writer = await asyncio.open_connection(*server.addresses[0])
        writer.write(get("/", "accept-encoding: gzip"))
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"content-encoding: gzip" in head
        assert b"transfer-encoding: chunked" in head
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        before = -1
        while before != made:
            before = made
            await asyncio.sleep(0.2)
        assert made < 200  # it waits for its reader
        writer.transport.resume_reading()  # type: ignore[attr-defined]
        packed = b""
        while size := int((await reader.readline()).strip(), 16):
            packed += await reader.readexactly(size)
            await reader.readline()
        assert len(gzip.decompress(packed)) == 20_000_000
        writer.close()
        assert b"content-encoding" not in await talk(server, get("/watch", "accept-encoding: gzip"))


async def test_a_head_goes_out_with_its_body_in_one_write(monkeypatch: pytest.MonkeyPatch) -> None:
    writes = []
    whole = connection.Joined.write
    sent = lambda self, data: (writes.append((self.hold, bytes(data))), whole(self, data))[1]  # noqa: E731
    monkeypatch.setattr(connection.Joined, "write", sent)
    assert (await reply(get("/"))).endswith(b"\r\n\r\nok")
    assert [held for held, _ in writes] == [True, False]  # the head waited, the body took it along
    answer = await reply(get("/").replace(b"GET", b"HEAD"))
    assert answer.endswith(b"\r\n\r\n")  # nothing follows, so nothing waits
    assert b"content-length: 2\r\n" in answer


@pytest.mark.parametrize("status", [204, 304])
async def test_an_answer_without_a_body_has_no_length(status: int) -> None:
    async def handler(request: Request) -> Response:
        return Response(status=status)

    answer = await reply(get("/"), handler=handler)
    assert b"content-length" not in answer
    assert answer.endswith(b"\r\n\r\n")


async def test_a_line_break_in_a_header_is_not_sent() -> None:
    async def handler(request: Request) -> Response:
        return Response(headers={"x": "a\r\nset-cookie: b"}, body=b"")

    answer = await reply(get("/"), handler=handler)
    assert b"\r\nx: a  set-cookie: b\r\n" in answer


async def test_an_upgrade_that_is_not_offered_is_answered_plainly() -> None:
    head = b"POST /exec HTTP/1.1\r\nhost: x\r\nconnection: Upgrade\r\nupgrade: SPDY/3.1\r\ncontent-length: 0\r\n\r\n"
    handler = Recorder(b"no SPDY here")
    answer = await reply(head, handler=handler)
    assert answer.endswith(b"no SPDY here")
    assert handler.requests[0].headers["upgrade"] == "SPDY/3.1"


# --- streams, shutdown


class Watching:
    """A handler whose stream says when it began and when it was closed."""

    def __init__(self) -> None:
        self.began = asyncio.Event()
        self.closed = asyncio.Event()

    async def __call__(self, request: Request) -> Response:
        return Response(body=self.events())

    async def events(self) -> AsyncIterator[bytes]:
        try:
            yield b"{}\n"
            self.began.set()
            await asyncio.Event().wait()
        finally:
            self.closed.set()


async def test_a_stream_ends_when_its_peer_leaves() -> None:
    handler = Watching()
    async with Server(handler) as server, asyncio.timeout(60):
        reader, writer = await asyncio.open_connection(*server.addresses[0])
        writer.write(b"GET /watch HTTP/1.1\r\nhost: x\r\n\r\n")
        await reader.readuntil(b"{}\n")
        await handler.began.wait()
        assert not handler.closed.is_set()
        writer.close()
        await handler.closed.wait()
        await writer.wait_closed()


async def test_a_head_request_closes_the_stream_unread() -> None:
    closed = False

    class Body:
        def __aiter__(self) -> AsyncIterator[bytes]:
            return self

        async def __anext__(self) -> bytes:
            raise AssertionError

        async def aclose(self) -> None:
            nonlocal closed
            closed = True

    async def handler(request: Request) -> Response:
        return Response(body=Body())

    answer = await reply(b"HEAD / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", handler=handler)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert closed


async def test_shutdown_ends_watches_with_a_last_chunk() -> None:
    handler = Watching()
    server = Server(handler, limits=Limits(grace_seconds=3600))
    await server.start()
    task = asyncio.create_task(talk(server, b"GET /watch HTTP/1.1\r\nhost: x\r\n\r\n"))
    await handler.began.wait()
    async with asyncio.timeout(60):
        await server.stop()
    assert (await task).endswith(b"{}\n\r\n0\r\n\r\n")
    assert handler.closed.is_set()


async def test_shutdown_lets_requests_finish() -> None:
    begun = asyncio.Event()

    async def handler(request: Request) -> Response:
        begun.set()
        await asyncio.sleep(0.3)
        return Response(body=b"finished")

    server = Server(handler, limits=Limits(grace_seconds=60))
    await server.start()
    task = asyncio.create_task(talk(server, b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"))
    await begun.wait()
    await server.stop()
    assert (await task).endswith(b"finished")


async def test_shutdown_cuts_what_takes_too_long() -> None:
    begun = asyncio.Event()
    cancelled = False

    async def handler(request: Request) -> Response:
        nonlocal cancelled
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled = True
            raise
        return Response()

    server = Server(handler, limits=Limits(grace_seconds=0.1))
    await server.start()
    task = asyncio.create_task(talk(server, b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"))
    await begun.wait()
    await server.stop()
    await asyncio.gather(task, return_exceptions=True)
    assert cancelled


async def test_a_stream_to_a_peer_that_reads_nothing_is_bounded_and_cut_at_shutdown() -> None:
    produced = 0
    closed = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        nonlocal produced
        try:
            while True:
                yield b"x" * 100_000
                produced += 1
        finally:
            closed.set()

    async def handler(request: Request) -> Response:
        return Response(body=body())

    server = Server(handler, limits=Limits(grace_seconds=0.2))
    await server.start()
    _, writer = await asyncio.open_connection(*server.addresses[0], limit=1000)
    writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    before = -1
    while before != produced:
        before = produced
        await asyncio.sleep(0.1)
    assert produced < 1000
    await server.stop()
    await closed.wait()
    writer.transport.abort()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


async def test_shutdown_ends_channels() -> None:
    ended = asyncio.Event()

    async def run(channel: Channel) -> None:
        while await channel.receive() is not None:
            pass
        ended.set()

    async def handler(request: Request) -> Response:
        return Response(upgrade=Upgrade(protocol="", run=run))

    async with asyncio.timeout(60), Server(handler, limits=Limits(grace_seconds=5)) as server:
        host, port = server.addresses[0]
        transport = HttpTransport(f"http://{host}:{port}")
        channel = await transport.connect(Request(), protocols=[])
        stopping = asyncio.create_task(server.stop())
        assert await channel.receive() is None
        await ended.wait()
        await stopping
        await channel.close()
        await transport.close()


async def test_run_serves_until_cancelled() -> None:
    server = Server(Recorder(), listen=[("127.0.0.1", free_port())])
    task = asyncio.create_task(server.run())
    while not server.addresses:
        await asyncio.sleep(0)
    assert (await talk(server, get("/"))).endswith(b"ok")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(OSError):
        await asyncio.open_connection(*server.addresses[0])


async def test_it_listens_on_several_addresses() -> None:
    async with Server(Recorder(), listen=[("127.0.0.1", 0), ("::1", 0), ("127.0.0.2", 0)]) as server:
        assert [host for host, _ in server.addresses] == ["127.0.0.1", "::1", "127.0.0.2"]
        for host, port in server.addresses:
            reader, writer = await asyncio.open_connection(host, port)
            writer.write(get("/"))
            assert (await reader.read()).endswith(b"ok")
            writer.close()
            await writer.wait_closed()


async def test_a_port_in_use_is_named_and_nothing_is_left_open() -> None:
    async with Server(Recorder()) as first:
        taken = first.addresses[0]
        second = Server(Recorder(), listen=[("127.0.0.1", 0), taken])
        with pytest.raises(OSError, match=f"127.0.0.1:{taken[1]}"):
            await second.start()
        assert second.addresses == ()


# --- TLS


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.ensure(tmp_path / "pki")


@pytest.fixture
def tls(authority: Authority) -> TlsFiles:
    pair = authority.issue("server", user="server", dns=["api"], addresses=["127.0.0.1"], server=True)
    return TlsFiles(pair.certificate, pair.key, authority.certificate)


def read(path: str) -> bytes:
    return Path(path).read_bytes()


async def ask(server: Server, request: Request | None = None, **options: object) -> Response:
    transport = HttpTransport(f"https://127.0.0.1:{server.addresses[0][1]}", **options)  # type: ignore[arg-type]
    try:
        return await transport.send(request or Request())
    finally:
        await transport.close()


async def test_the_peers_certificate_reaches_the_handler(authority: Authority, tls: TlsFiles) -> None:
    handler = Recorder()
    pair = authority.issue("admin", user="kubernetes-admin", groups=["system:masters", "others"])
    async with Server(handler, tls=tls) as server:
        ca = read(authority.certificate)
        await ask(server, ca=ca, certificate=read(pair.certificate), key=read(pair.key))
        await ask(server, ca=ca)
    with_one, without = handler.requests
    assert with_one.peer.certificate is not None
    subject = x509.load_der_x509_certificate(with_one.peer.certificate).subject
    assert subject.rfc4514_string() == "CN=kubernetes-admin,O=others,O=system:masters"
    assert without.peer.certificate is None


async def test_the_peers_certificate_reaches_a_websocket_handler(authority: Authority, tls: TlsFiles) -> None:
    seen: list[bytes | None] = []

    async def run(channel: Channel) -> None:
        pass

    async def handler(request: Request) -> Response:
        seen.append(request.peer.certificate)
        return Response(upgrade=Upgrade(protocol="", run=run))

    pair = authority.issue("admin", user="kubernetes-admin")
    async with Server(handler, tls=tls) as server:
        transport = HttpTransport(
            f"https://127.0.0.1:{server.addresses[0][1]}",
            ca=read(authority.certificate),
            certificate=read(pair.certificate),
            key=read(pair.key),
        )
        channel = await transport.connect(Request(), protocols=[])
        assert await channel.receive() is None
        await channel.close()
        await transport.close()
    assert seen[0] is not None


async def test_a_certificate_of_another_authority_gets_no_answer(
    authority: Authority, tls: TlsFiles, tmp_path: Path
) -> None:
    other = Authority.ensure(tmp_path / "other", name="other").issue("admin", user="kubernetes-admin")
    handler = Recorder()
    async with Server(handler, tls=tls) as server:
        with pytest.raises(ConnectionError):
            await ask(server, ca=read(authority.certificate), certificate=read(other.certificate), key=read(other.key))
    assert handler.requests == []


async def test_a_serving_certificate_does_not_authenticate_a_client(authority: Authority, tls: TlsFiles) -> None:
    pair = authority.issue("only-server", user="kubernetes-admin", server=True, client=False)
    handler = Recorder()
    async with Server(handler, tls=tls) as server:
        with pytest.raises(ConnectionError):
            await ask(server, ca=read(authority.certificate), certificate=read(pair.certificate), key=read(pair.key))
    assert handler.requests == []


async def test_plain_http_to_a_tls_port_gets_no_answer_of_a_handler(tls: TlsFiles) -> None:
    handler = Recorder()
    async with Server(handler, tls=tls) as server:
        with contextlib.suppress(ConnectionResetError):
            assert b"ok" not in await talk(server, get("/"))
    assert handler.requests == []


async def test_files_that_do_not_belong_together_are_refused(authority: Authority, tls: TlsFiles) -> None:
    other = authority.issue("other", user="other")
    for files in (tls._replace(key=other.key), tls._replace(certificate="/none")):
        with pytest.raises(OSError):  # ssl.SSLError is one
            await Server(Recorder(), tls=files).start()


async def test_trailers_are_not_taken_for_headers() -> None:
    handler = Recorder()
    head = b"POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n"
    answer = await reply(head + b"1\r\na\r\n0\r\nimpersonate-user: admin\r\n\r\n", handler=handler)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert "impersonate-user" not in handler.requests[0].headers


async def test_a_shutdown_is_announced_and_serves_on_for_a_while() -> None:
    told = asyncio.Event()
    limits = Limits(delay_seconds=2.0, grace_seconds=1)
    server = Server(Recorder(), limits=limits, stopping=told.set, listen=[("127.0.0.1", free_port())])
    await server.start()
    stopping = asyncio.create_task(server.stop())
    await told.wait()
    assert (await talk(server, get("/"))).endswith(b"ok")
    await stopping
    with pytest.raises(OSError):
        await asyncio.open_connection(*server.addresses[0])
