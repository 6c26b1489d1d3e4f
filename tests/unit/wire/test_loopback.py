"""What only the loopback transport has: who the process itself is, and owning its channels."""

import asyncio

from pybernetes.wire import Channel, Peer, Request, Response, Upgrade
from pybernetes.wire.loopback import LoopbackTransport


async def test_context_headers_and_peer_come_from_the_transport() -> None:
    seen: list[Request] = []

    async def handler(request: Request) -> Response:
        seen.append(request)
        request.context["more"] = True
        return Response()

    transport = LoopbackTransport(
        handler, peer=Peer(address="x"), context={"user": "root"}, headers={"authorization": "a", "accept": "b"}
    )
    for _ in range(2):
        await transport.send(Request(headers={"Accept": "mine"}, context={"user": "not me"}))
    assert seen[1].context == {"user": "root", "more": True}
    assert seen[0].context is not seen[1].context
    assert seen[0].headers == {"authorization": "a", "accept": "mine"}
    assert seen[0].peer.address == "x"


async def test_closing_ends_its_channels() -> None:
    ended = asyncio.Event()

    async def run(channel: Channel) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def handler(request: Request) -> Response:
        return Response(upgrade=Upgrade(protocol="", run=run))

    transport = LoopbackTransport(handler)
    channel = await transport.connect(Request(), protocols=[])
    await asyncio.sleep(0)
    await transport.close()
    assert ended.is_set()
    assert await channel.receive() is None
