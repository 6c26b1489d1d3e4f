"""What the client's transport does over a real connection, besides the transport contract."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pybernetes.pki import Authority
from pybernetes.wire import Request, Response
from pybernetes.wire.send import HttpTransport
from pybernetes.wire.serve import Limits, Server, TlsFiles


async def headers_echo(request: Request) -> Response:
    return Response(headers={f"x-{name}": value for name, value in request.headers.items()})


def url(server: Server, scheme: str = "http") -> str:
    host, port = server.addresses[0]
    return f"{scheme}://{host}:{port}"


async def test_what_cannot_be_reached_is_a_connection_error() -> None:
    async with Server(headers_echo) as server:
        base = url(server)
    transport = HttpTransport(base)
    for request in (Request(), Request(stream=True)):
        with pytest.raises(ConnectionError):
            await transport.send(request)
    with pytest.raises(ConnectionError):
        await transport.connect(Request(), protocols=[])
    unresolved = HttpTransport("http://nobody.invalid:1")
    with pytest.raises(ConnectionError):
        await unresolved.send(Request())
    await unresolved.close()
    await transport.close()


async def test_a_server_that_does_not_answer_is_a_timeout() -> None:
    async def handler(request: Request) -> Response:
        await asyncio.Event().wait()
        return Response()

    async with Server(handler, limits=Limits(grace_seconds=0)) as server:
        transport = HttpTransport(url(server), timeout_seconds=0.2)
        for request in (Request(), Request(stream=True)):
            with pytest.raises(TimeoutError):
                await transport.send(request)
        with pytest.raises(TimeoutError):
            await transport.connect(Request(), protocols=[])
        await transport.close()


async def test_a_stream_may_take_longer_than_the_timeout() -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"a"
        await asyncio.sleep(1.3)
        yield b"b"

    async def handler(request: Request) -> Response:
        return Response(body=body())

    async with Server(handler) as server:
        transport = HttpTransport(url(server), timeout_seconds=1.0)
        response = await transport.send(Request(stream=True))
        assert not isinstance(response.body, bytes)
        assert [chunk async for chunk in response.body] == [b"a", b"b"]
        await transport.close()


async def test_a_server_that_closes_before_answering_is_a_connection_error() -> None:
    async def close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(close, "127.0.0.1", 0)
    async with server:
        transport = HttpTransport(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        with pytest.raises(ConnectionError):
            await transport.send(Request(method="POST", body=b"{}"))
        await transport.close()


async def test_what_is_not_http_is_a_connection_error() -> None:
    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-x\r\n\r\n")
        await reader.read(1000)
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(babble, "127.0.0.1", 0)
    async with server:
        transport = HttpTransport(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        with pytest.raises(ConnectionError):
            await transport.send(Request())
        await transport.close()


async def test_the_token_is_asked_for_each_time() -> None:
    tokens = iter(["one", "two", ""])
    async with Server(headers_echo) as server:
        transport = HttpTransport(url(server), token=lambda: next(tokens))
        seen = [(await transport.send(Request())).headers.get("x-authorization") for _ in range(3)]
        explicit = await transport.send(Request(headers={"authorization": "Bearer mine"}))
        await transport.close()
    assert seen == ["Bearer one", "Bearer two", None]
    assert explicit.headers["x-authorization"] == "Bearer mine"


async def test_headers_of_its_own_are_few() -> None:
    async with Server(headers_echo) as server:
        transport = HttpTransport(url(server))
        answer = await transport.send(Request(method="POST", body=b"{}"))
        await transport.close()
    sent = {name.removeprefix("x-") for name in answer.headers if name.startswith("x-")}
    assert sent == {"host", "accept", "user-agent", "content-length"}
    assert answer.headers["x-user-agent"].startswith("pybernetes/")


async def test_connections_are_used_again() -> None:
    peers: list[str] = []

    async def handler(request: Request) -> Response:
        peers.append(request.peer.address)
        return Response(body=b"{}")

    async with Server(handler) as server:
        transport = HttpTransport(url(server))
        for _ in range(3):
            await transport.send(Request())
        await transport.close()
    assert len(set(peers)) == 1


async def test_a_redirect_is_not_followed() -> None:
    async def handler(request: Request) -> Response:
        return Response(status=307, headers={"location": "/elsewhere"})

    async with Server(handler) as server:
        transport = HttpTransport(url(server))
        assert (await transport.send(Request())).status == 307
        await transport.close()


async def test_a_base_url_may_have_a_path() -> None:
    async def handler(request: Request) -> Response:
        return Response(body=request.path.encode())

    async with Server(handler) as server:
        transport = HttpTransport(url(server) + "/prefix/")
        assert (await transport.send(Request(path="/api"))).body == b"/prefix/api"
        await transport.close()


class TestTls:
    @pytest.fixture
    def authority(self, tmp_path: Path) -> Authority:
        return Authority.ensure(tmp_path / "pki")

    @pytest.fixture
    def tls(self, authority: Authority) -> TlsFiles:
        pair = authority.issue("server", user="server", dns=["api.test"], server=True)
        return TlsFiles(pair.certificate, pair.key)

    async def get(self, server: Server, **options: object) -> int:
        transport = HttpTransport(url(server, "https"), **options)  # type: ignore[arg-type]
        try:
            return (await transport.send(Request())).status
        finally:
            await transport.close()

    async def test_only_the_given_authority_is_trusted(
        self, authority: Authority, tls: TlsFiles, tmp_path: Path
    ) -> None:
        ours = await asyncio.to_thread(Path(authority.certificate).read_bytes)
        other = await asyncio.to_thread(Path(Authority.ensure(tmp_path / "other").certificate).read_bytes)
        async with Server(headers_echo, tls=tls) as server:
            assert await self.get(server, ca=ours, server_name="api.test") == 200
            assert await self.get(server, ca=other + ours, server_name="api.test") == 200
            for ca in (other, b""):
                with pytest.raises(ConnectionError):
                    await self.get(server, ca=ca, server_name="api.test")

    async def test_the_name_must_fit(self, authority: Authority, tls: TlsFiles) -> None:
        ours = await asyncio.to_thread(Path(authority.certificate).read_bytes)
        async with Server(headers_echo, tls=tls) as server:
            for name in ("", "other.test"):
                with pytest.raises(ConnectionError):
                    await self.get(server, ca=ours, server_name=name)

    async def test_insecure_asks_for_nothing(self, tls: TlsFiles) -> None:
        async with Server(headers_echo, tls=tls) as server:
            assert await self.get(server, insecure=True) == 200
