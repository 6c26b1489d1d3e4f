"""A long list goes out in pieces, compressed or not: its whole text is never in memory, however slow its reader."""

import asyncio
import gzip
import tracemalloc

import pytest

from pybernetes.api.objects import decode
from pybernetes.apiserver import ApiServer
from pybernetes.apiserver.users import AUTHENTICATED, MASTERS, User
from pybernetes.wire import Request, Response
from pybernetes.wire.serve import Limits, Server

from .conftest import Call

MAPS = "/api/v1/namespaces/default/configmaps"
COUNT, SIZE = 3000, 10_000


@pytest.mark.parametrize("encoding", ["gzip", "identity"])
async def test_a_long_list_makes_no_peak(server: ApiServer, call: Call, encoding: str) -> None:
    for number in range(COUNT):
        body = {"metadata": {"name": f"m{number}"}, "data": {"x": str(number) * (SIZE // len(str(number)))}}
        assert (await call("POST", MAPS, body))[0] == 201

    async def handler(request: Request) -> Response:
        request.context["user"] = User("a", (MASTERS, AUTHENTICATED))
        return await server.handler(request)

    async with Server(handler, limits=Limits(grace_seconds=0.5)) as socket, asyncio.timeout(60):
        reader, writer = await asyncio.open_connection(*socket.addresses[0])
        writer.write(f"GET {MAPS} HTTP/1.1\r\nhost: x\r\naccept-encoding: {encoding}\r\n\r\n".encode())
        tracemalloc.start()
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            received = []
            while size := int((await reader.readline()).strip(), 16):
                received.append(await reader.readexactly(size + 2))
            kept = sum(map(len, received))
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        writer.close()
        await writer.wait_closed()
    assert (b"content-encoding: gzip" in head) is (encoding == "gzip")
    text = b"".join(piece[:-2] for piece in received)
    found = decode(gzip.decompress(text) if encoding == "gzip" else text)
    assert len(found["items"]) == COUNT
    # A chunk is 500 objects, and is copied a few times on its way; the text of all would be 30 MB once
    assert peak - kept < 5 * 500 * SIZE
