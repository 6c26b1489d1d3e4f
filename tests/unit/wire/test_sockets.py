import asyncio
import socket

import pytest

from pybernetes.wire.sockets import address_of, bind, open_socket

TCP = socket.IPPROTO_TCP


async def test_accepted_connections_find_vanished_peers_and_do_not_delay() -> None:
    accepted: asyncio.Queue[asyncio.StreamWriter] = asyncio.Queue()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await accepted.put(writer)

    (listener,) = bind([("127.0.0.1", 0)])
    server = await asyncio.start_server(accept, sock=listener)
    async with server:
        _, client = await asyncio.open_connection(*listener.getsockname())
        writer = await accepted.get()
        sock: socket.socket = writer.get_extra_info("socket")
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert sock.getsockopt(TCP, socket.TCP_KEEPIDLE) == 30
        assert sock.getsockopt(TCP, socket.TCP_NODELAY) == 1
        for one in (writer, client):
            one.close()
            await one.wait_closed()


def test_a_client_socket_finds_vanished_servers() -> None:
    with open_socket((socket.AF_INET, socket.SOCK_STREAM, TCP, "", ("127.0.0.1", 1))) as sock:
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1


@pytest.mark.parametrize(
    ("name", "text"),
    [(("127.0.0.1", 80), "127.0.0.1:80"), (("::1", 80, 0, 0), "[::1]:80"), ("/run/socket", ""), (None, "")],
)
def test_address_of(name: object, text: str) -> None:
    assert address_of(name) == text
