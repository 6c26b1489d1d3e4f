"""The cluster DNS over the golden cluster as a process: `python -m support.dns_server ADDRESS...` says "ready"."""

import asyncio
import sys

import uvloop

from pybernetes.client import Client
from pybernetes.dns import Dns, DnsConfig
from support.dns_cluster import REVERSE, fill
from support.fake_api import FakeApi


async def main(addresses: list[str]) -> None:
    config = DnsConfig(listen=tuple(addresses), reverse_ranges=REVERSE, upstreams=())
    dns = Dns(Client(fill(FakeApi())), config)
    async with asyncio.TaskGroup() as group:
        group.create_task(dns.run())
        await dns.ready.wait()
        await dns.server.started.wait()
        print("ready", flush=True)


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1:]))
