"""Other people's clients against the server: websocket-client, which the Python SDK uses."""

import asyncio
from base64 import b64encode
from typing import Any

import pytest
import websocket

from pybernetes.api.errors import Forbidden
from pybernetes.api.objects import decode
from pybernetes.wire import Channel, Request, Response, Upgrade
from pybernetes.wire.channels import Remote, choose
from pybernetes.wire.serve import Server


async def shout(channel: Channel) -> None:
    """An exec whose command answers each line in capitals, and ends with 3 on an empty one."""
    async with Remote(channel) as remote:
        async for line in remote.stdin:
            if line == b"\n":
                await remote.stderr(b"bye")
                await remote.exit(3)
                return
            await remote.stdout(line.upper())


async def exec_handler(request: Request) -> Response:
    if request.path == "/secret":
        raise Forbidden("not for you")
    protocol = choose(request.headers.get("sec-websocket-protocol", ""))
    assert protocol is not None
    return Response(upgrade=Upgrade(protocol=protocol, run=shout))


def converse(url: str, protocol: str, base64: bool) -> list[Any]:
    """What a user types, and all that comes back until the server closes."""
    client = websocket.create_connection(url, subprotocols=[protocol] if protocol else None, timeout=60)
    try:
        received = [client.recv()]
        for line in (b"one\n", b"two" * 50_000 + b"\n", b"\n"):
            if base64:
                client.send("0" + b64encode(line).decode())
            else:
                client.send(b"\0" + line, opcode=websocket.ABNF.OPCODE_BINARY)
        while message := client.recv():
            received.append(message)
        return received
    finally:
        client.shutdown()


@pytest.mark.parametrize("protocol", ["v5.channel.k8s.io", "v4.channel.k8s.io", "channel.k8s.io", ""])
async def test_exec(protocol: str) -> None:
    async with Server(exec_handler) as server:
        url = f"ws://127.0.0.1:{server.addresses[0][1]}/exec"
        received = await asyncio.to_thread(converse, url, protocol, False)
    assert received[:4] == [b"\x01", b"\x01ONE\n", b"\x01" + b"TWO" * 50_000 + b"\n", b"\x02bye"]
    status = received[4]
    assert status[:1] == b"\x03"
    if protocol.startswith("v"):
        assert decode(status[1:])["details"]["causes"] == [{"reason": "ExitCode", "message": "3"}]
    else:
        assert status[1:] == b"command terminated with non-zero exit code: exit status 3"


async def test_exec_in_base64() -> None:
    async with Server(exec_handler) as server:
        url = f"ws://127.0.0.1:{server.addresses[0][1]}/exec"
        received = await asyncio.to_thread(converse, url, "base64.channel.k8s.io", True)
    assert received[:2] == ["1", "1T05FCg=="]
    assert all(isinstance(message, str) for message in received)


async def test_a_refusal_has_its_status_and_body() -> None:
    def refused(url: str) -> websocket.WebSocketBadStatusException:
        client = websocket.WebSocket()
        with pytest.raises(websocket.WebSocketBadStatusException) as caught:
            client.connect(url, timeout=60)
        client.shutdown()
        return caught.value

    async with Server(exec_handler) as server:
        error = await asyncio.to_thread(refused, f"ws://127.0.0.1:{server.addresses[0][1]}/secret")
    assert error.status_code == 403
    assert decode(error.resp_body)["message"] == "not for you"
