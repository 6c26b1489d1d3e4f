"""The servers of the golden table as one process: `python -m support.dns_server NAME=ADDRESS[,ADDRESS]...`.

The last word may be WORLD=ADDRESS, where the upstream of the others answers. It says "ready".
"""

import asyncio
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack

import uvloop

from pybernetes.client import Client
from pybernetes.dns import Dns
from support.dns_cluster import fill
from support.dns_golden import WORLD, config
from support.dns_world import world
from support.fake_api import FakeApi


async def main(words: Sequence[str]) -> None:
    wanted = dict(word.split("=") for word in words)
    upstream = wanted.pop("WORLD", "192.0.2.1")
    async with AsyncExitStack() as stack, asyncio.TaskGroup() as group:
        if upstream != "192.0.2.1":
            await stack.enter_async_context(world(WORLD, host=upstream, port=53))
        for name, text in wanted.items():
            addresses = text.split(",")
            api = fill(FakeApi(), addresses[0])
            dns = Dns(Client(api), config(name, listen=addresses, port=53, world=f"{upstream}:53"))
            group.create_task(dns.run())
            await dns.ready.wait()
            await dns.server.started.wait()
        print("ready", flush=True)


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1:]))
