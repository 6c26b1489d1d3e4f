"""Port-forward: connections to localhost inside a pod's network, carried over a WebSocket.

Two framings: `v4.channel.k8s.io` (client libraries: two channels for each port asked for), and SPDY in a tunnel
(kubectl: an error and a data stream for each connection, paired by their header `requestid`).
"""

import asyncio
import contextlib
import os
import socket
import struct

from pybernetes.netlink import namespaces
from pybernetes.wire import Channel
from pybernetes.wire.streams import Session, Stream

CHANNELS, TUNNEL = "v4.channel.k8s.io", "SPDY/3.1+portforward.k8s.io"
_CHUNK = 1 << 16


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


async def tunnel(channel: Channel, netns: str | None) -> None:
    """SPDY streams over one channel, until the peer leaves."""
    errors: dict[str, Stream] = {}
    async with Session(channel) as session, asyncio.TaskGroup() as group:
        tasks: set[asyncio.Task[None]] = set()
        while (stream := await session.accept()) is not None:
            request = stream.headers.get("requestid", "")
            if stream.headers.get("streamtype") == "error":
                errors[request] = stream
                continue
            task = group.create_task(_connection(stream, errors.pop(request, None), netns))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        for task in tasks:
            task.cancel()


async def _connection(stream: Stream, error_stream: Stream | None, netns: str | None) -> None:
    """One connection of the user, from its data stream to the port and back."""
    text = ""
    try:
        port = int(stream.headers.get("port", ""))
        reader, writer = await connect_inside(netns, port)
    except (OSError, ValueError) as error:
        text = _failure(stream.headers.get("port"), error)
    else:
        await _copy(stream, reader, writer)
    stream.ignore()
    with contextlib.suppress(ConnectionError):
        if error_stream is not None:
            if text:
                await error_stream.send(text.encode())
            await error_stream.end()
        await stream.end()


async def _copy(stream: Stream, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    feeding = asyncio.create_task(_feed(stream, writer))
    try:
        while data := await reader.read(_CHUNK):
            await stream.send(data)
    except ConnectionError:
        pass  # either end has gone: the streams are ended by the caller
    finally:
        feeding.cancel()
        await asyncio.gather(feeding, return_exceptions=True)
        writer.close()


async def _feed(stream: Stream, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while (data := await stream.receive()) is not None:
            writer.write(data)
            await writer.drain()
        writer.write_eof()
