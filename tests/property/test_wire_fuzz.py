"""Raw bytes at the real API server's socket: requests made at random, most of them wrong in some way.

Never a 500, never a connection that hangs, nothing left behind, and who asks properly is answered all the while.
PYBERNETES_WIRE_CONNECTIONS sets how many (800 unless given), PYBERNETES_WIRE_SEED the seed.
"""

import asyncio
import contextlib
import gc
import os
import random
import re
import zlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import uvloop

# what they hold is counted, so they are there from the start
import pybernetes.wire.send
import pybernetes.wire.websocket  # noqa: F401
from pybernetes.apiserver import ApiServer, ApiServerConfig
from pybernetes.apiserver.users import AUTHENTICATED, MASTERS, User
from pybernetes.pki import Authority
from pybernetes.wire import Request, Response
from pybernetes.wire.serve import Limits, Server
from support.server import api_server

CONNECTIONS = int(os.environ.get("PYBERNETES_WIRE_CONNECTIONS", "800"))
SEED = int(os.environ.get("PYBERNETES_WIRE_SEED", "1"))
AT_ONCE = 40
SECONDS = 60.0
"""A connection that is still open after this long hangs."""
LIMITS = Limits(
    head_seconds=0.5, request_seconds=1.0, write_seconds=0.5, answer_seconds=2.0, idle_seconds=1, grace_seconds=1.0
)
STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")

METHODS = [
    b"GET",
    b"GET",
    b"POST",
    b"PUT",
    b"PATCH",
    b"DELETE",
    b"HEAD",
    b"OPTIONS",
    b"TRACE",
    b"CONNECT",
    b"get",
    b"X",
]
PATHS = [
    *(b"/", b"/api", b"/api/v1", b"/apis", b"/version", b"/healthz", b"/readyz?verbose", b"/metrics", b"/openapi/v3"),
    *(b"/api/v1/pods", b"/api/v1/namespaces/default/configmaps", b"/api/v1/namespaces/default/configmaps/x"),
    *(
        b"/api/v1/pods?watch=true&timeoutSeconds=1",
        b"/api/v1/pods?limit=-1&continue=%00",
        b"/api/v1/pods?labelSelector=%ff",
    ),
    *(b"/api/v1/namespaces/default/pods/x/proxy", b"/api/v1/namespaces/default/services/https:x:y/proxy/../.."),
    *(b"/api/v1/namespaces/default/pods/x/exec?command=a", b"/api/v1/namespaces/default/pods/x/log?follow=true"),
    *(
        b"/api//v1",
        b"//",
        b"/api/v1/%2e%2e/x",
        b"/api/v1/namespaces/a%2Fb",
        b"/%",
        b"/%00",
        b"*",
        b"http://x/api",
        b"http://",
    ),
    *(b"/\xff", b"/api/v1/namespaces/" + b"a" * 5000, b"/a?" + b"b=c&" * 2000, b"/" + b"/" * 3000, b"x", b""),
]
FIELDS = [
    *(b"Host: x", b"Host: x", b"Host: x", b"Host: y", b"Host:", b"Connection: close", b"Connection: keep-alive"),
    *(
        b"Content-Length: 2",
        b"Content-Length: 0",
        b"Content-Length: 5000000",
        b"Content-Length: -1",
        b"Content-Length: a",
    ),
    *(b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip, chunked", b"Transfer-Encoding: identity"),
    *(
        b"Expect: 100-continue",
        b"Expect: x",
        b"Accept: */*;q=x",
        b"Accept: text/csv",
        b"Accept: application/json;as=Table",
    ),
    *(b"Accept-Encoding: gzip", b"Content-Type: application/json", b"Content-Type: application/apply-patch+yaml"),
    *(b"Content-Type: application/vnd.kubernetes.protobuf", b"Authorization: Basic x", b"Authorization: Bearer \xff"),
    *(b"Impersonate-User: system:admin", b"Impersonate-Group: a", b"Connection: Upgrade", b"Upgrade: websocket"),
    *(b"Upgrade: SPDY/3.1", b"Sec-WebSocket-Version: 13", b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="),
    *(
        b"Sec-WebSocket-Protocol: v4.channel.k8s.io",
        b"X: " + b"a" * 3000,
        b" folded",
        b"\tfolded: x",
        b"X",
        b": x",
        b"a b: c",
    ),
    *(b"X-Forwarded-For: \x01", b"Audit-ID: \xff\xfe", b"If-None-Match: *", b"Range: bytes=0-", b"Trailer: x"),
]
BODIES = [
    *(b"", b"{}", b"[]", b"null", b"{" * 1000, b"[" * 50_000, b"\xff\xfe\x00", b'{"a":1e999}', b"k8s\x00\xff\xff\xff"),
    *(
        b"2\r\n{}\r\n0\r\n\r\n",
        b"0\r\n\r\n",
        b"zz\r\n",
        b"-1\r\n",
        b"2\r\n{}\r\n0\r\nX: y\r\n\r\n",
        b"FFFFFFFFFFFFFFFF\r\n{}",
    ),
    *(b"5;a=" + b"b" * 500 + b"\r\nhello\r\n0\r\n\r\n", b"a: &a [*a]", b"&a [*a,*a]", b"x" * 100_000),
    b'{"metadata":{"name":"x"},"data":{"a":"b"}}',
]
ENDS = [b"\r\n", b"\r\n", b"\r\n", b"\r\n", b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r", b"\n\r\n", b"\r\n\r\n"]


class Peer(NamedTuple):
    """What a client of the fuzz does: pieces of bytes, whether it reads, whether it closes its side or resets."""

    pieces: list[bytes]
    reads: bool
    end: str


def request(rng: random.Random) -> bytes:
    target = rng.choice(PATHS)
    version = rng.choice([b"HTTP/1.1"] * 8 + [b"HTTP/1.0", b"HTTP/2.0", b"HTTP/1.2", b"http/1.1", b""])
    end = b"\r\n" if rng.random() < 0.8 else rng.choice(ENDS)
    fields = rng.sample(FIELDS, rng.randrange(0, 7))
    if rng.random() < 0.8:
        fields = [b"Host: x", *(one for one in fields if not one.startswith(b"Host"))]
    head = b" ".join((rng.choice(METHODS), target, version)) + end + b"".join(one + end for one in fields) + end
    return head + rng.choice(BODIES)


def mutated(rng: random.Random, data: bytes) -> bytes:
    """With bytes changed, cut out, doubled or put in."""
    for _ in range(rng.randrange(1, 5)):
        at = rng.randrange(len(data) + 1)
        length = rng.randrange(1, 20)
        match rng.randrange(4):
            case 0:
                data = data[:at] + rng.randbytes(length) + data[at + length :]
            case 1:
                data = data[:at] + data[at + length :]
            case 2:
                data = data[: at + length] + data[at:]
            case _:
                data = data[:at] + rng.choice([b"\r\n", b"\n", b"\0", b" ", b"\r\n\r\n", b"HTTP/1.1"]) + data[at:]
    return data


def peer(rng: random.Random) -> Peer:
    data = b"".join(request(rng) for _ in range(rng.choice([1, 1, 1, 2, 3, 150])))
    if rng.random() < 0.4:
        data = mutated(rng, data)
    if rng.random() < 0.05:
        data = rng.randbytes(rng.randrange(1, 2000))
    pieces = [data]
    if rng.random() < 0.3:
        at = sorted(rng.randrange(len(data) + 1) for _ in range(rng.randrange(1, 5)))
        pieces = [data[start:stop] for start, stop in zip([0, *at], [*at, len(data)], strict=True)]
    return Peer(pieces, rng.random() < 0.9, rng.choice(["wait", "wait", "close", "reset", "half"]))


async def visit(server: Server, one: Peer) -> bytes:
    """Everything that comes back until the server ends it. Raises TimeoutError when it does not."""
    reader, writer = await asyncio.open_connection(*server.addresses[0])
    received = b""
    try:
        async with asyncio.timeout(SECONDS):
            with contextlib.suppress(OSError, RuntimeError):  # uvloop's, for a closed transport
                for piece in one.pieces:
                    writer.write(piece)
                    if len(one.pieces) > 1:
                        await asyncio.sleep(0.01)
                if one.end == "half":
                    writer.write_eof()
                if one.end in ("close", "reset"):
                    await asyncio.sleep(0.01)
                    return received
                if not one.reads:
                    writer.transport.pause_reading()  # type: ignore[attr-defined]
                    await asyncio.sleep(0.2)
                    writer.transport.resume_reading()  # type: ignore[attr-defined]
                while chunk := await reader.read(1 << 16):
                    received += chunk
    except TimeoutError:
        raise TimeoutError(f"still open after {SECONDS} s: {one} {received!r}") from None
    finally:
        if one.end == "reset":
            writer.transport.abort()
        writer.close()
        with contextlib.suppress(OSError):  # reset meanwhile; on uvloop also "not connected"
            await writer.wait_closed()
    return received


async def ask(server: Server) -> None:
    """A proper client: one answer after another on one connection."""
    reader, writer = await asyncio.open_connection(*server.addresses[0])
    try:
        writer.write(b"GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        async with asyncio.timeout(SECONDS):
            answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 200 "), answer
        assert answer.endswith(b"ok")
    finally:
        writer.close()
        await writer.wait_closed()


def files() -> int:
    return len(os.listdir("/proc/self/fd"))


def held() -> Counter[str]:
    """What there is: open files, tasks, and what the server and its HTTP library have alive, by type."""
    gc.collect()  # before all else: what others left to it may hold files too
    types = (type(one) for one in gc.get_objects())
    ours = ("pybernetes.wire", "uvicorn", "wsproto")
    found = Counter(one.__name__ for one in types if str(one.__module__).startswith(ours))
    return found + Counter({"open files": files(), "tasks": len(asyncio.all_tasks())})


def resident() -> int:
    """Bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@contextlib.asynccontextmanager
async def served(api: ApiServer) -> AsyncIterator[Server]:
    """Half of the requests are an administrator's, so that they get past the door: what they are decides, not when."""
    admin = User("fuzz", (MASTERS, AUTHENTICATED))

    async def handler(request: Request) -> Response:
        if zlib.crc32(f"{request.method} {request.path} {sorted(request.headers.items())}".encode()) % 2:
            request.context["user"] = admin
        return await api.handler(request)

    async with Server(handler, limits=LIMITS, uploads=True) as server:
        yield server


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(SECONDS):
        while not condition():
            await asyncio.sleep(0.02)


@pytest.fixture
def config(tmp_path: Path) -> ApiServerConfig:
    keys = Authority.ensure(tmp_path).service_account_keys()
    return ApiServerConfig(service_account_key=keys.private, service_account_public_key=keys.public)


async def _round(server: Server, peers: Sequence[Peer]) -> tuple[set[int], int]:
    """Visits by these peers, 40 at a time; the codes that they saw, and how often a proper client was answered."""
    codes: set[int] = set()
    answered, over = 0, asyncio.Event()
    turns = iter(peers)

    async def visitor() -> None:
        for one in turns:
            received = await visit(server, one)
            for code in STATUS.findall(received):
                assert int(code) < 500 or int(code) == 503, (one.pieces, received)
                codes.add(int(code))

    async def others() -> None:
        nonlocal answered
        while not over.is_set():
            await ask(server)
            answered += 1
            await asyncio.sleep(0.01)

    async with asyncio.TaskGroup() as group:
        group.create_task(others())
        async with asyncio.TaskGroup() as visitors:
            for _ in range(AT_ONCE):
                visitors.create_task(visitor())
        over.set()
    return codes, answered


@pytest.mark.timeout(200 + CONNECTIONS // 5)
@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_any_bytes(config: ApiServerConfig, monkeypatch: pytest.MonkeyPatch, run: Callable[[Any], None]) -> None:
    monkeypatch.setattr("pybernetes.wire.serve._SWEEP", 0.1)
    # a watch that lost its timeoutSeconds to chance would go on for half an hour
    monkeypatch.setattr("pybernetes.apiserver.endpoints.objects._WATCH_SECONDS", (1.0, 1.0))
    run(any_bytes(config))


async def any_bytes(config: ApiServerConfig) -> None:
    rng = random.Random(SEED)
    peers = [peer(rng) for _ in range(CONNECTIONS)]
    async with api_server(config=config) as api, served(api) as server:
        await _round(server, peers[: CONNECTIONS // 4])  # what is made at the first use is there then
        await until(lambda: server.door.open == 0 and not server._state.tasks)
        before, resident_before = held(), resident()
        codes, answered = await _round(server, peers)
        await until(lambda: server.door.open == 0 and not server._state.tasks)
        with contextlib.suppress(TimeoutError):  # what is too much then is told below
            await until(lambda: held() <= before)
        assert held() - before == Counter()
        assert resident() - resident_before < 64 << 20
    assert {200, 400, 401, 404, 405} <= codes
    assert answered > 10
