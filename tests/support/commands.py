"""A kubelet without a kernel: what clients do to containers happens to commands of this machine."""

import asyncio
import subprocess

from pybernetes.kubelet.portforward import TUNNEL, tunnel
from pybernetes.wire import Channel, Request, Response, Upgrade, offered
from pybernetes.wire.channels import choose
from pybernetes.wire.streams import SPDY_PROTOCOLS, remote_of

FLAGS = {"input": "stdin", "output": "stdout", "error": "stderr"}
LOGGED = b"a line of the log\n"


async def kubelet(request: Request) -> Response:
    """`exec` runs the command on this machine, `attach` meets a `cat`, port-forward connects to it; logs are a line."""
    if request.path.startswith("/containerLogs"):
        return Response(headers={"Content-Type": "text/plain"}, body=LOGGED)
    names = offered(request)
    if request.path.startswith("/portForward"):
        return Response(upgrade=Upgrade(protocol=TUNNEL, run=lambda channel: tunnel(channel, None)))
    protocol = next((name for name in names if name in SPDY_PROTOCOLS), None) or choose(", ".join(names))
    assert protocol is not None
    wanted = [name for flag, name in FLAGS.items() if request.param(flag)]
    argv = ["cat"] if request.path.startswith("/attach") else list(request.query["command"])
    return Response(upgrade=Upgrade(protocol=protocol, run=lambda channel: run(channel, argv, wanted)))


async def run(channel: Channel, argv: list[str], wanted: list[str]) -> None:
    async with remote_of(channel, wanted=wanted) as remote:
        pipe = subprocess.PIPE
        process = await asyncio.create_subprocess_exec(*argv, stdin=pipe, stdout=pipe, stderr=pipe)
        assert process.stdin
        assert process.stdout
        assert process.stderr

        async def feed() -> None:
            assert process.stdin
            if "stdin" in wanted:
                async for chunk in remote.stdin:
                    process.stdin.write(chunk)
                    await process.stdin.drain()
            process.stdin.close()

        async def out(reader: asyncio.StreamReader, write: object) -> None:
            while data := await reader.read(1 << 16):
                await write(data)  # type: ignore[operator]

        await asyncio.gather(feed(), out(process.stdout, remote.stdout), out(process.stderr, remote.stderr))
        await remote.exit(await process.wait())
