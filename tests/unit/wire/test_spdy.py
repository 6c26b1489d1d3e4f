"""SPDY/3.1 frames: two ends that talk to each other, and bytes that no end should send."""

import struct

import pytest

from pybernetes.wire.spdy import BadSpdy, Ended, Leaving, Opened, Received, Replied, Spdy, Widened


def pair() -> tuple[Spdy, Spdy]:
    return Spdy(client=True), Spdy()


def opened(client: Spdy, server: Spdy) -> int:
    stream = client.open({"StreamType": "stdin"})
    assert list(server.receive(client.take())) == [Opened(stream, {"streamtype": "stdin"})]
    server.reply(stream)
    assert list(client.receive(server.take())) == [Replied(stream, {})]
    return stream


def test_frames_come_in_any_pieces() -> None:
    client, server = pair()
    stream = client.open({"A": "b"})
    client.send(stream, b"xyz")
    client.end(stream)
    events = [event for byte in client.take() for event in server.receive(bytes([byte]))]
    data = b"".join(event.data for event in events if isinstance(event, Received))
    assert (events[0], data, events[-1]) == (Opened(1, {"a": "b"}), b"xyz", Ended(1))


def test_each_side_ends_for_itself() -> None:
    client, server = pair()
    stream = opened(client, server)
    client.end(stream)
    assert list(server.receive(client.take())) == [Ended(stream)]
    server.send(stream, b"still here")
    server.end(stream)
    assert list(client.receive(server.take())) == [Received(stream, b"still here"), Ended(stream)]
    assert client.room(stream) is None
    assert server.room(stream) is None


def test_a_reset_ends_both_ways_and_late_data_is_dropped() -> None:
    client, server = pair()
    stream = opened(client, server)
    server.reset(stream)
    client.send(stream, b"late")
    late = client.take()
    assert list(client.receive(server.take())) == [Ended(stream, reset=True)]
    assert client.room(stream) is None
    assert list(server.receive(late)) == []
    assert server.take() == b""


def test_data_on_a_stream_that_never_was_is_refused() -> None:
    server = Spdy()
    assert list(server.receive(struct.pack(">II", 7, 3) + b"abc")) == []
    assert server.take() == b"\x80\x03\x00\x03\x00\x00\x00\x08" + struct.pack(">II", 7, 2)


def test_a_ping_is_answered_and_its_answer_is_not() -> None:
    client, server = pair()
    client.ping(1)
    ping = client.take()
    assert list(server.receive(ping)) == []
    assert server.take() == ping
    assert list(client.receive(ping)) == []
    assert client.take() == b""


def test_what_is_read_opens_the_window() -> None:
    client, server = pair()
    stream = opened(client, server)
    server.read(stream, 40_000)
    assert list(client.receive(server.take())) == [Widened(0), Widened(stream)]
    assert client.room(stream) == 65_536 + 40_000
    client.send(stream, bytes(65_536 + 40_000))
    assert client.room(stream) == 0
    list(server.receive(client.take()))
    server.read(stream, 105_536)
    list(client.receive(server.take()))
    assert client.room(stream) == 105_536


def test_a_peer_without_windows_is_not_waited_for() -> None:
    client, server = pair()
    stream = opened(client, server)
    server.send(stream, bytes(1 << 20))
    assert server.room(stream)


def test_after_goaway_streams_are_refused_and_open_ones_go_on() -> None:
    client, server = pair()
    stream = opened(client, server)
    server.leave()
    assert list(client.receive(server.take())) == [Leaving()]
    late = client.open({})
    client.send(stream, b"more")
    assert list(server.receive(client.take())) == [Received(stream, b"more")]
    assert list(client.receive(server.take())) == [Ended(late, reset=True)]


def test_no_more_streams_than_the_limit() -> None:
    client, server = pair()
    for _ in range(2001):
        client.open({})
    assert len(list(server.receive(client.take()))) == 2000
    assert server.take().endswith(struct.pack(">II", 4001, 3))


@pytest.mark.parametrize(
    "data",
    [
        b"\x80\x02\x00\x01\x00\x00\x00\x00",
        b"\x80\x03\x00\x01\x00\x00\x00\x02ab",
        b"\x80\x03\x00\x06\x00\x00\x00\x00",
        b"\x80\x03\x00\x01\x00\x00\x00\x0e" + b"\0" * 10 + b"junk",
        b"\x80\x03\x00\x04\x00\xff\xff\xff",
    ],
    ids=["version", "short stream", "short ping", "no headers", "too long"],
)
def test_bad_frames(data: bytes) -> None:
    with pytest.raises(BadSpdy):
        list(Spdy().receive(data))


def test_a_number_used_twice_is_an_error() -> None:
    client, server = pair()
    opened(client, server)
    again = Spdy(client=True)
    again.open({})
    with pytest.raises(BadSpdy):
        list(server.receive(again.take()))
