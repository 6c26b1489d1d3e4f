"""exec over SPDY streams, on a channel in memory and on a socket."""

import asyncio
from collections.abc import Sequence

import pytest

from pybernetes.api.objects import decode
from pybernetes.wire import Channel, Request, Response, Upgrade, offered
from pybernetes.wire.loopback import channel_pair
from pybernetes.wire.serve import Server
from pybernetes.wire.spdy import Ended, Received, Spdy
from pybernetes.wire.streams import remote_of

V4, V1 = "SPDY/3.1+v4.channel.k8s.io", "SPDY/3.1+channel.k8s.io"
WANTED = ("stdin", "stdout", "resize")


class Client:
    """kubectl's end."""

    def __init__(self, channel: Channel) -> None:
        self.channel, self.spdy = channel, Spdy(client=True)
        self.streams: dict[str, int] = {}
        self.data: dict[int, bytes] = {}
        self.ended: set[int] = set()

    async def open(self, names: Sequence[str]) -> None:
        for name in names:
            self.streams[name] = self.spdy.open({"streamType": name})
        await self.flush()

    async def flush(self) -> None:
        await self.channel.send(self.spdy.take())

    async def all(self) -> dict[str, bytes]:
        """Everything until the server leaves."""
        async with asyncio.timeout(60):
            while (message := await self.channel.receive()) is not None:
                for event in self.spdy.receive(message):
                    if isinstance(event, Received):
                        self.data[event.stream] = self.data.get(event.stream, b"") + event.data
                        self.spdy.read(event.stream, len(event.data))
                    elif isinstance(event, Ended):
                        self.ended.add(event.stream)
        return {name: self.data.get(number, b"") for name, number in self.streams.items()}


async def shout(channel: Channel, code: int = 0) -> None:
    """A command that answers its stdin in capitals."""
    async with remote_of(channel, wanted=WANTED) as remote:
        async for chunk in remote.stdin:
            await remote.stdout(chunk.upper())
        if code == 7:
            assert await remote.resize.get() == (80, 24)
        await remote.exit(code)


async def test_streams_sizes_and_the_exit_code() -> None:
    ours, theirs = channel_pair(V4)
    task = asyncio.create_task(shout(theirs, 7))
    client = Client(ours)
    await client.open(["error", *WANTED])
    client.spdy.send(client.streams["resize"], b'{"Width":80,"Hei')
    client.spdy.send(client.streams["resize"], b'ght":24}\n')
    client.spdy.send(client.streams["stdin"], b"hello")
    client.spdy.end(client.streams["stdin"])
    await client.flush()
    got = await client.all()
    await task
    assert got["stdout"] == b"HELLO"
    assert decode(got["error"])["details"]["causes"] == [{"reason": "ExitCode", "message": "7"}]
    assert {client.streams["stdout"], client.streams["error"]} <= client.ended


@pytest.mark.parametrize(
    ("code", "text"), [(0, b""), (3, b"command terminated with non-zero exit code: exit status 3")]
)
async def test_old_protocols_tell_errors_as_text(code: int, text: bytes) -> None:
    ours, theirs = channel_pair(V1)
    task = asyncio.create_task(shout(theirs, code))
    client = Client(ours)
    await client.open(["error", "stdin", "stdout"])
    client.spdy.end(client.streams["stdin"])
    await client.flush()
    assert (await client.all())["error"] == text
    await task


async def test_a_client_that_leaves_ends_the_command() -> None:
    ours, theirs = channel_pair(V4)
    ended = asyncio.Event()

    async def forever() -> None:
        async with remote_of(theirs, wanted=WANTED):
            try:
                await asyncio.sleep(3600)
            finally:
                ended.set()

    task = asyncio.create_task(forever())
    client = Client(ours)
    await client.open(["error", *WANTED])
    assert await ours.receive()
    await ours.close()
    async with asyncio.timeout(60):
        await ended.wait()
        with pytest.raises(ConnectionError):
            await task


async def test_megabytes_both_ways_over_a_socket() -> None:
    """The server keeps little of it: what is not read stays on the wire, and stdin is read as fast as stdout is."""

    async def handler(request: Request) -> Response:
        assert request.method == "POST"
        return Response(upgrade=Upgrade(protocol=offered(request)[0], run=shout))

    async with Server(handler) as server:
        host, port = server.addresses[0]
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(
            b"POST /exec HTTP/1.1\r\nhost: x\r\nconnection: Upgrade\r\nupgrade: SPDY/3.1\r\ncontent-length: 0\r\n"
            b"x-stream-protocol-version: v4.channel.k8s.io\r\nx-stream-protocol-version: v3.channel.k8s.io\r\n\r\n"
        )
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 ")
        assert b"x-stream-protocol-version: v4.channel.k8s.io\r\n" in head
        client = Client(_Socket(reader, writer))
        await client.open(["error", *WANTED])

        async def push() -> None:
            for _ in range(128):
                client.spdy.send(client.streams["stdin"], b"x" * 65_536)
                await client.flush()
            client.spdy.end(client.streams["stdin"])
            await client.flush()

        pushing = asyncio.create_task(push())
        got = await _until_ended(client, client.streams["error"])
        await pushing
        writer.close()
        await writer.wait_closed()
        assert len(got) == 128 * 65_536
        assert set(got) == {ord("X")}


async def _until_ended(client: Client, stream: int) -> bytes:
    async with asyncio.timeout(60):
        while stream not in client.ended:
            message = await client.channel.receive()
            assert message is not None
            for event in client.spdy.receive(message):
                if isinstance(event, Received):
                    client.data[event.stream] = client.data.get(event.stream, b"") + event.data
                elif isinstance(event, Ended):
                    client.ended.add(event.stream)
    return client.data[client.streams["stdout"]]


class _Socket:
    """A Channel of bytes over asyncio's streams."""

    protocol = ""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def receive(self) -> bytes | None:
        return await self.reader.read(65_536) or None

    async def send(self, data: bytes, *, text: bool = False) -> None:
        del text
        self.writer.write(data)
        await self.writer.drain()

    async def close(self, code: int = 1000, reason: str = "") -> None:
        del code, reason
        self.writer.close()
