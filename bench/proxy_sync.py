"""One proxy over a generated cluster, in a process that has nothing else in it: full sync, one change, memory.

Run by itself (PATH SERVICES ENDPOINTS) it is that process.
"""

import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from machine import pss_mb
from proxy_objects import Generated, endpoint_slice
from pybernetes.aio.process import collect_seldom
from pybernetes.client import Client
from pybernetes.netlink import namespaces
from pybernetes.proxy import Proxy, ProxyConfig
from pybernetes.proxy.dataplane import NftDataplane
from pybernetes.proxy.loop import kernel_dataplane
from pybernetes.proxy.model import Desired, ServicePort

Figure = Callable[[str, float, str, int], None]
CHANGES = 50


@contextmanager
def namespace(name: str) -> Iterator[str]:
    path = f"/run/netns/pybench-{os.getpid()}-{name}"
    namespaces.create(path)
    try:
        yield path
    finally:
        namespaces.delete(path)


class Timed:
    """A data plane that notes when its last sync was done."""

    def __init__(self, inner: NftDataplane) -> None:
        self.inner = inner
        self.done = asyncio.Event()
        self.at = 0.0

    async def sync(self, desired: Desired, *, changed: frozenset[ServicePort] | None = None) -> None:
        await self.inner.sync(desired, changed=changed)
        self.at = time.perf_counter()
        self.done.set()

    async def open_at(self, node_addresses: Sequence[str]) -> None:
        await self.inner.open_at(node_addresses)

    async def house(self, pods: Sequence[str]) -> None:
        await self.inner.house(pods)

    async def check(self, desired: Desired) -> int:
        return await self.inner.check(desired)

    async def clear(self) -> None:
        await self.inner.clear()

    async def close(self) -> None:
        await self.inner.close()


async def child(path: str, services: int, endpoints: int) -> None:
    """Sync, weigh, change one endpoint again and again; one JSON object."""
    config = ProxyConfig(node_name="node-0", node_addresses=("172.30.0.11",), namespace=path)
    dataplane = Timed(kernel_dataplane(config))
    transport = Generated(services, endpoints)
    proxy = Proxy(Client(transport), config, dataplane=dataplane)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(proxy.run())
        await proxy.services.synced.wait()
        await proxy.slices.synced.wait()
        began, cpu = time.perf_counter(), time.process_time()
        await dataplane.done.wait()
        found = {"sync_s": dataplane.at - began, "sync_cpu_s": time.process_time() - cpu, "pss_mb": pss_mb(os.getpid())}
        found["change_ms"] = statistics.median([await one_change(transport, dataplane, n) for n in range(CHANGES)])
        found["idle_cpu"] = await idle_cpu()
        task.cancel()
    await dataplane.close()
    print(json.dumps(found))


async def one_change(transport: Generated, dataplane: Timed, number: int) -> float:
    await asyncio.sleep(0.08)  # past the pause between two syncs: the first change of a burst is what is measured
    dataplane.done.clear()
    began = time.perf_counter()
    which = number % transport.services
    transport.change(endpoint_slice(which, transport.endpoints, other=1 + number, revision=2 + number))
    await dataplane.done.wait()
    return (dataplane.at - began) * 1000


async def idle_cpu() -> float:
    """CPU seconds a second with nothing to do, over two looks for drift."""
    seconds = 11
    before = time.process_time()
    await asyncio.sleep(seconds)
    return (time.process_time() - before) / seconds


def run_child(services: int, endpoints: int) -> dict[str, float]:
    with namespace("sync") as path:
        argv = [sys.executable, __file__, path, str(services), str(endpoints)]
        done = subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=True, timeout=180)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def measure_sync(figure: Figure) -> None:
    for services, endpoints, label in ((10_000, 10, "10kx10"), (5_000, 50, "5kx50")):
        rounds = [run_child(services, endpoints) for _ in range(3)]
        figure(f"full_sync_{label}_s", statistics.median(each["sync_s"] for each in rounds), "s", 3)
        figure(f"full_sync_{label}_cpu_s", statistics.median(each["sync_cpu_s"] for each in rounds), "s", 3)
        figure(f"proxy_pss_{label}_mb", max(each["pss_mb"] for each in rounds), "MB", 3)
        figure(f"idle_cpu_{label}", max(each["idle_cpu"] for each in rounds), "cores", 3)


def measure_change(figure: Figure) -> None:
    for services in (100, 300, 1_000, 3_000, 10_000):
        found = run_child(services, 10)
        label = f"{services // 1000}k" if services >= 1000 else str(services)
        figure(f"one_change_at_{label}_ms", found["change_ms"], "ms", CHANGES)
        figure(f"full_sync_{label}x10_curve_s", found["sync_s"], "s", 1)


if __name__ == "__main__":
    collect_seldom()  # as every process of a cluster does
    asyncio.run(child(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
