"""Port-forward: connections to localhost inside a pod's network, carried over a WebSocket.

Two framings: `v4.channel.k8s.io` (client libraries: two channels for each port asked for), and SPDY in a tunnel
(kubectl: an error and a data stream for each connection, paired by their header `requestid`).
"""

import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import Mapping

from pybernetes.netlink import namespaces
from pybernetes.wire import Channel

from .spdy import BadSpdy, Ended, Opened, Received, Send, Spdy

CHANNELS, TUNNEL = "v4.channel.k8s.io", "SPDY/3.1+portforward.k8s.io"
_CHUNK = 1 << 16
_BACKLOG = 64
"""Unread messages of one connection; past that the whole tunnel waits."""


async def connect_inside(netns: str | None, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection to localhost:port of a network namespace. Raises OSError."""

    def make() -> socket.socket:
        return socket.socket(socket.AF_INET, socket.SOCK_STREAM)

    one = await asyncio.to_thread(namespaces.run_in, netns, make)
    one.setblocking(False)
    try:
        await asyncio.get_running_loop().sock_connect(one, ("127.0.0.1", port))
    except BaseException:
        one.close()
        raise
    return await asyncio.open_connection(sock=one)


async def forward_channels(channel: Channel, ports: list[int], netns: str | None) -> None:
    """Data of port i on channel 2i, its error on 2i+1; the first message of each tells the port number."""
    writers: dict[int, asyncio.StreamWriter] = {}
    try:
        async with asyncio.TaskGroup() as group:
            carriers = []
            for index, port in enumerate(ports):
                for number in (2 * index, 2 * index + 1):
                    await channel.send(bytes([number]) + struct.pack("<H", port))
                try:
                    reader, writers[2 * index] = await connect_inside(netns, port)
                except OSError as error:
                    await channel.send(bytes([2 * index + 1]) + _failure(port, error).encode())
                    continue
                carriers.append(group.create_task(_carry(reader, channel, 2 * index)))
            while (message := await channel.receive()) is not None:
                if message and (writer := writers.get(message[0])) is not None:
                    with contextlib.suppress(ConnectionError):
                        writer.write(message[1:])
                        await writer.drain()
            for carrier in carriers:
                carrier.cancel()
    finally:
        for writer in writers.values():
            writer.close()


def _failure(port: object, error: OSError | ValueError) -> str:
    number = error.errno if isinstance(error, OSError) else None
    why = os.strerror(number).lower() if number else str(error)
    return f"error forwarding port {port} to pod: connect to 127.0.0.1:{port}: {why}"


async def _carry(reader: asyncio.StreamReader, channel: Channel, number: int) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(_CHUNK):
            await channel.send(bytes([number]) + data)


class Tunnel:
    """SPDY streams over one channel; `run` until the peer leaves."""

    def __init__(self, channel: Channel, netns: str | None) -> None:
        self.channel = channel
        self.netns = netns
        self.spdy = Spdy()
        self._errors: dict[str, int] = {}
        """Error stream by requestid."""
        self._inputs: dict[int, asyncio.Queue[bytes]] = {}

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            tasks: set[asyncio.Task[None]] = set()
            try:
                while (message := await self.channel.receive()) is not None:
                    for event in self.spdy.receive(message):
                        await self._handle(event, group, tasks)
            except (BadSpdy, ConnectionError):
                await self.channel.close(1002, "not SPDY/3.1")
            for task in tasks:
                task.cancel()

    async def _handle(
        self, event: Opened | Received | Ended | Send, group: asyncio.TaskGroup, tasks: set[asyncio.Task[None]]
    ) -> None:
        match event:
            case Send(data):
                await self.channel.send(data)
            case Opened(stream, headers) if headers.get("streamtype") == "error":
                self._errors[headers.get("requestid", "")] = stream
            case Opened(stream, headers):
                self._inputs[stream] = asyncio.Queue(_BACKLOG)
                task = group.create_task(self._connection(stream, headers))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
            case Received(stream, data) if stream in self._inputs:
                await self._inputs[stream].put(data)
            case Ended(stream) if stream in self._inputs:
                await self._inputs[stream].put(b"")

    async def _connection(self, stream: int, headers: Mapping[str, str]) -> None:
        """One connection of the user, from its data stream to the port and back."""
        error_stream = self._errors.pop(headers.get("requestid", ""), 0)
        text = ""
        try:
            port = int(headers.get("port", ""))
            reader, writer = await connect_inside(self.netns, port)
        except (OSError, ValueError) as error:
            text = _failure(headers.get("port"), error)
        else:
            await self._copy(stream, reader, writer)
        with contextlib.suppress(ConnectionError):
            if error_stream:
                await self.channel.send(self.spdy.data(error_stream, text.encode(), end=True))
            await self.channel.send(self.spdy.data(stream, b"", end=True))
        del self._inputs[stream]

    async def _copy(self, stream: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        feeding = asyncio.create_task(self._feed(self._inputs[stream], writer))
        try:
            while data := await reader.read(_CHUNK):
                await self.channel.send(self.spdy.data(stream, data))
        except ConnectionError:
            pass  # either end has gone: the streams are ended below
        finally:
            feeding.cancel()
            writer.close()

    async def _feed(self, queue: asyncio.Queue[bytes], writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await queue.get():
                writer.write(data)
                await writer.drain()
            writer.write_eof()
        while await queue.get():  # nobody reads it any more, but the others' messages come by the same road
            pass
