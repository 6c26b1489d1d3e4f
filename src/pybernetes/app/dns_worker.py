"""A worker process of the cluster DNS: `python -m pybernetes.app.dns_worker`, started and told by dns_workers.py."""

import asyncio
import os
import signal
import sys
from typing import BinaryIO

import msgspec

from pybernetes.aio.logs import setup_logging
from pybernetes.aio.process import run_forever
from pybernetes.aio.supervise import supervise
from pybernetes.client import Client
from pybernetes.dns import Dns

from . import connect
from .dns_workers import Figures, Task, told


def main() -> None:
    """Until SIGTERM or the end of standard input."""
    task = msgspec.json.decode(sys.stdin.buffer.readline(), type=Task)
    setup_logging(task.log_level, format=task.log_format)
    client = connect.client(task.kubeconfig, user_agent="pybernetes-dns")
    run_forever(serve(client, Dns(client, task.config, tells=False), orders=sys.stdin.buffer))


async def serve(client: Client, dns: Dns, *, orders: BinaryIO) -> None:
    """The DNS, and its figures for each line that comes."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), orders)
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(answer(dns, reader))
            await supervise(dns)
    finally:
        transport.close()
        await client.close()


async def answer(dns: Dns, reader: asyncio.StreamReader) -> None:
    """One line of JSON for each line; the end of them is that of the process."""
    while await reader.readline():
        figures = Figures(ready=dns.ready.is_set(), families=told(dns.collector.collect()))
        sys.stdout.buffer.write(msgspec.json.encode(figures) + b"\n")
        sys.stdout.buffer.flush()
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
