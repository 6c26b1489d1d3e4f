"""What TLS shows to strangers, and certificates that change while connections are open."""

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pybernetes.pki import Authority, Pair
from pybernetes.wire import Request, Response
from pybernetes.wire.send import HttpTransport
from pybernetes.wire.serve import Server, TlsFiles
from pybernetes.wire.tls import presented


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.ensure(tmp_path / "pki")


def serving(authority: Authority, name: str) -> Pair:
    return authority.issue(name, user=name, dns=["api"], addresses=["127.0.0.1"], server=True, client=False)


def read(path: str) -> bytes:
    return Path(path).read_bytes()


async def test_a_stranger_sees_the_authority_behind_a_server(authority: Authority) -> None:
    from cryptography import x509

    asked: list[str] = []

    async def handler(request: Request) -> Response:
        asked.append(request.path)
        return Response()

    pair = serving(authority, "api")
    async with Server(handler, tls=TlsFiles(pair.certificate, pair.key)) as server:
        own, above = await asyncio.to_thread(presented, *server.addresses[0])
    assert x509.load_der_x509_certificate(own).subject.rfc4514_string() == "CN=api"
    x509.load_der_x509_certificate(own).verify_directly_issued_by(x509.load_der_x509_certificate(above))
    assert asked == []


async def test_who_speaks_no_tls_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(OSError, match="timed out"):
        await asyncio.to_thread(presented, "127.0.0.1", silent.getsockname()[1], seconds=0.2)


async def test_a_client_shows_its_new_certificate_and_its_streams_stay(authority: Authority) -> None:
    from cryptography import x509

    go_on = asyncio.Event()

    async def stream() -> AsyncIterator[bytes]:
        yield b"first"
        await go_on.wait()
        yield b"last"

    async def handler(request: Request) -> Response:
        assert request.peer.certificate is not None
        subject = x509.load_der_x509_certificate(request.peer.certificate).subject.rfc4514_string()
        return Response(body=stream() if request.stream or request.path == "/watch" else subject.encode())

    pair = serving(authority, "api")
    old, new = authority.issue("old", user="old"), authority.issue("new", user="new")
    async with Server(handler, tls=TlsFiles(pair.certificate, pair.key, authority.certificate)) as server:
        transport = HttpTransport(
            f"https://127.0.0.1:{server.addresses[0][1]}",
            ca=read(authority.certificate),
            certificate=read(old.certificate),
            key=read(old.key),
        )
        watch = await transport.send(Request(path="/watch", stream=True))
        assert not isinstance(watch.body, bytes)
        chunks = aiter(watch.body)
        assert await anext(chunks) == b"first"
        assert (await transport.send(Request())).body == b"CN=old"
        transport.show(read(new.certificate), read(new.key))
        assert (await transport.send(Request())).body == b"CN=new"
        go_on.set()
        assert await anext(chunks) == b"last"
        await transport.close()


async def test_a_server_shows_its_new_certificate_and_its_connections_stay(authority: Authority) -> None:
    from cryptography import x509

    async def handler(request: Request) -> Response:
        return Response(body=b"ok")

    old, new = serving(authority, "old"), serving(authority, "new")
    async with Server(handler, tls=TlsFiles(old.certificate, old.key)) as server:
        transport = HttpTransport(f"https://127.0.0.1:{server.addresses[0][1]}", ca=read(authority.certificate))
        assert (await transport.send(Request())).body == b"ok"
        server.reload(TlsFiles(new.certificate, new.key))
        assert (await transport.send(Request())).body == b"ok"
        shown = await asyncio.to_thread(presented, *server.addresses[0])
        await transport.close()
    assert x509.load_der_x509_certificate(shown[0]).subject.rfc4514_string() == "CN=new"
