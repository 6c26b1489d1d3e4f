"""Port-forward in both framings, to a server of this process."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from pybernetes.api.errors import ApiError
from pybernetes.wire import Request
from pybernetes.wire.loopback import LoopbackTransport
from pybernetes.wire.spdy import Ended, Received, Spdy
from support.kubelet import Node, pod
from support.ports import free_port


@asynccontextmanager
async def shouting():
    """A port that answers each line in capitals, until end of file."""
    tasks = set()

    async def serve(reader, writer):
        tasks.add(asyncio.current_task())
        try:
            while line := await reader.readline():
                writer.write(line.upper())
        finally:
            writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listener:
        yield listener.sockets[0].getsockname()[1]
        if tasks:
            await asyncio.wait(tasks, timeout=60)


@asynccontextmanager
async def forwarding(tmp_path, protocol, **query):
    async with Node(tmp_path).running() as node:
        node.put(pod(hostNetwork=True))
        await node.api.until(lambda: node.status().get("phase") == "Running")
        transport = LoopbackTransport(node.kubelet.handler)
        request = Request(path="/portForward/default/p", query={name: [value] for name, value in query.items()})
        channel = await transport.connect(request, protocols=[protocol])
        yield channel
        await channel.close()
        await transport.close()


async def test_channels(tmp_path):
    async with shouting() as port, forwarding(tmp_path, "v4.channel.k8s.io", port=str(port)) as channel:
        number = port.to_bytes(2, "little")
        assert [await channel.receive(), await channel.receive()] == [b"\x00" + number, b"\x01" + number]
        await channel.send(b"\x00hello\n")
        assert await channel.receive() == b"\x00HELLO\n"


async def test_a_port_that_is_no_number(tmp_path):
    with pytest.raises(ApiError, match="is required"):
        async with forwarding(tmp_path, "v4.channel.k8s.io", port="http"):
            pass


class Client:
    """kubectl's end of the tunnel."""

    def __init__(self, channel):
        self.channel, self.spdy = channel, Spdy(client=True)
        self.data, self.ended = {}, set()
        self.opened = 0

    async def flush(self):
        await self.channel.send(self.spdy.take())

    async def open(self, port):
        """An error and a data stream; returns the data stream's number."""
        shared = {"port": str(port), "requestid": str(self.opened)}
        self.opened += 1
        self.spdy.end(self.spdy.open({"streamtype": "error"} | shared))
        data = self.spdy.open({"streamtype": "data"} | shared)
        await self.flush()
        return data

    async def send(self, stream, data):
        self.spdy.send(stream, data)
        await self.flush()

    async def until(self, check):
        async with asyncio.timeout(60):
            while not check():
                for event in self.spdy.receive(await self.channel.receive()):
                    if isinstance(event, Received):
                        self.data[event.stream] = self.data.get(event.stream, b"") + event.data
                    elif isinstance(event, Ended):
                        self.ended.add(event.stream)


async def test_the_tunnel_carries_several_connections(tmp_path):
    async with shouting() as port, forwarding(tmp_path, "SPDY/3.1+portforward.k8s.io") as channel:
        client = Client(channel)
        one, two = await client.open(port), await client.open(port)
        await client.send(two, b"second\n")
        await client.send(one, b"first\n")
        await client.until(lambda: len(client.data) == 2)
        assert client.data == {one: b"FIRST\n", two: b"SECOND\n"}
        client.spdy.send(one, b"last\n")
        client.spdy.end(one)
        await client.flush()
        await client.until(lambda: {one, one - 2} <= client.ended)
        assert client.data[one] == b"FIRST\nLAST\n"


async def test_the_tunnel_says_why_a_port_cannot_be_reached(tmp_path):
    port = free_port()
    async with forwarding(tmp_path, "SPDY/3.1+portforward.k8s.io") as channel:
        client = Client(channel)
        data = await client.open(port)
        await client.until(lambda: data in client.ended)
        assert b"refused" in client.data[data - 2].lower()


async def test_bytes_that_are_not_spdy_end_the_tunnel(tmp_path):
    async with forwarding(tmp_path, "SPDY/3.1+portforward.k8s.io") as channel:
        await channel.send(b"\x80\x02\x00\x01\x00\x00\x00\x00")
        async with asyncio.timeout(60):
            assert await channel.receive() is None
