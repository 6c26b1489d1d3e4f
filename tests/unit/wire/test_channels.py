import asyncio
import base64

import pytest

from pybernetes.api.objects import decode
from pybernetes.wire import channels
from pybernetes.wire.channels import BadFrame, Frame, Remote
from pybernetes.wire.loopback import channel_pair

V5 = "v5.channel.k8s.io"
V4 = "v4.channel.k8s.io"


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        ("", ""),
        ("v5.channel.k8s.io", V5),
        ("v6.channel.k8s.io, v4.channel.k8s.io", V4),
        ("v4.channel.k8s.io,v5.channel.k8s.io", V4),
        ("base64.channel.k8s.io", "base64.channel.k8s.io"),
        ("SPDY/3.1", None),
    ],
)
def test_choose(offered: str, chosen: str | None) -> None:
    assert channels.choose(offered) == chosen


@pytest.mark.parametrize(
    ("protocol", "frame", "message"),
    [
        (V5, Frame(1, b"out"), b"\x01out"),
        (V5, Frame(0, closes=True), b"\xff\x00"),
        (V4, Frame(0, b""), b"\x00"),
        ("", Frame(4, b"{}"), b"\x04{}"),
        ("v4.base64.channel.k8s.io", Frame(2, b"\xff\x00"), b"2" + base64.b64encode(b"\xff\x00")),
        ("base64.channel.k8s.io", Frame(0, b""), b"0"),
    ],
)
def test_frames_are_written_and_read(protocol: str, frame: Frame, message: bytes) -> None:
    assert channels.write_frame(protocol, frame) == message
    assert channels.read_frame(protocol, message) == frame


def test_only_v5_knows_close() -> None:
    assert channels.read_frame(V4, b"\xff\x00") == Frame(255, b"\x00")


@pytest.mark.parametrize(
    ("protocol", "message"),
    [
        (V5, b""),
        (V5, b"\xff"),
        (V5, b"\xff\x00\x00"),
        ("base64.channel.k8s.io", b"x"),
        ("base64.channel.k8s.io", b"0!"),
    ],
)
def test_bad_frames(protocol: str, message: bytes) -> None:
    with pytest.raises(BadFrame):
        channels.read_frame(protocol, message)


async def test_a_command_with_all_its_streams() -> None:
    ours, theirs = channel_pair(V5)

    async def serve() -> None:
        async with Remote(theirs) as remote:
            taken = [chunk async for chunk in remote.stdin]
            assert await remote.resize.get() == (80, 24)
            await remote.stdout(b"".join(taken).upper())
            await remote.stderr(b"oops")
            await remote.exit(3)

    task = asyncio.create_task(serve())
    assert await ours.receive() == b"\x01"
    await ours.send(b'\x04{"Width":80,"Height":24}')
    await ours.send(b"\x04nonsense")
    await ours.send(b"\x00ab")
    await ours.send(b"\x00c")
    await ours.send(b"\xff\x00")
    assert await ours.receive() == b"\x01ABC"
    assert await ours.receive() == b"\x02oops"
    last = await ours.receive()
    assert last is not None
    assert last[:1] == b"\x03"
    assert decode(last[1:])["reason"] == "NonZeroExitCode"
    assert channels.exit_code(last[1:]) == 3
    assert await ours.receive() is None
    await task


@pytest.mark.parametrize(("protocol", "last"), [(V4, b'\x03{"metadata":{},"status":"Success"}'), ("", None)])
async def test_success_is_told_since_v4_only(protocol: str, last: bytes | None) -> None:
    ours, theirs = channel_pair(protocol)
    async with Remote(theirs) as remote:
        await remote.exit(0)
    assert await ours.receive() == b"\x01"
    assert await ours.receive() == last


async def test_before_v4_an_error_is_text() -> None:
    ours, theirs = channel_pair("channel.k8s.io")
    async with Remote(theirs) as remote:
        await remote.fail("no such container")
    await ours.receive()
    assert await ours.receive() == b"\x03no such container"


async def test_the_command_is_cancelled_when_the_peer_leaves() -> None:
    ours, theirs = channel_pair(V5)
    ended = False

    async def serve() -> None:
        nonlocal ended
        async with Remote(theirs):
            try:
                await asyncio.Event().wait()
            finally:
                ended = True

    task = asyncio.create_task(serve())
    await ours.receive()
    await ours.close()
    with pytest.raises(ConnectionResetError):
        await task
    assert ended


async def test_cancelling_the_server_is_not_taken_for_a_peer_that_left() -> None:
    ours, theirs = channel_pair(V5)

    async def serve() -> None:
        async with Remote(theirs):
            await asyncio.Event().wait()

    task = asyncio.create_task(serve())
    await ours.receive()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_message_that_is_none_ends_the_channel() -> None:
    ours, theirs = channel_pair(V5)

    async def serve() -> None:
        async with Remote(theirs):
            await asyncio.Event().wait()

    task = asyncio.create_task(serve())
    await ours.receive()
    await ours.send(b"")
    assert await ours.receive() is None
    with pytest.raises(ConnectionResetError):
        await task


async def test_only_the_latest_sizes_are_kept() -> None:
    ours, theirs = channel_pair(V5)
    async with Remote(theirs) as remote:
        for width in range(30):
            await ours.send(b'\x04{"Width":%d,"Height":1}' % width)
        while remote.resize.qsize() < 16 or remote.resize._queue[-1] != (29, 1):  # type: ignore[attr-defined]
            await asyncio.sleep(0)
        assert remote.resize.get_nowait() == (14, 1)
        await remote.exit(0)


@pytest.mark.parametrize("status", [b"", b"{}", b"[]", b'{"status":"Failure","details":{"causes":[]}}'])
def test_no_exit_code(status: bytes) -> None:
    assert channels.exit_code(status) is None


async def test_relay_carries_both_ways_and_ends_with_either() -> None:
    client, front = channel_pair(V5)
    back, server = channel_pair(V5)
    task = asyncio.create_task(channels.relay(front, back))
    await client.send(b"to server")
    assert await server.receive() == b"to server"
    await server.send(b"to client")
    assert await client.receive() == b"to client"
    await server.send(b"last")
    await server.close()
    assert await client.receive() == b"last"
    assert await client.receive() is None
    await task
