"""The look for drift in a table of 10,000 Services of 10 endpoints, while one of them keeps changing.

How long it takes, how late the event loop comes meanwhile, and how long the changes take.
"""

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace

from proxy_sync import namespace
from pybernetes.netlink.nft import IP, AddTable, DeleteElements, DeleteTable, KernelNftables, Transaction
from pybernetes.proxy import ProxyConfig
from pybernetes.proxy.dataplane import NftDataplane
from pybernetes.proxy.layout import TABLE
from pybernetes.proxy.loop import kernel_dataplane
from pybernetes.proxy.model import Backend, Desired, Front, ServicePort

Figure = Callable[[str, float, str, int], None]
LOOKS = 6
TAKEN_OUT = 5


def measure_drift(figure: Figure) -> None:
    """Half of the looks find elements that somebody has taken out."""
    looks, late, changes = asyncio.run(_measure())
    figure("drift_look_10kx10_s", statistics.median(looks), "s", len(looks))
    figure("drift_loop_late_p99_ms", _p99(late) * 1000, "ms", len(late))
    figure("drift_loop_late_max_ms", max(late) * 1000, "ms", len(late))
    figure("drift_change_p50_ms", statistics.median(changes) * 1000, "ms", len(changes))
    figure("drift_change_p99_ms", _p99(changes) * 1000, "ms", len(changes))


def _p99(values: list[float]) -> float:
    return sorted(values)[len(values) * 99 // 100]


async def _measure() -> tuple[list[float], list[float], list[float]]:
    with namespace("drift") as path:
        dataplane = kernel_dataplane(ProxyConfig(node_name="n", node_addresses=("172.30.0.11",), namespace=path))
        other = KernelNftables(path)
        looks: list[float] = []
        late: list[float] = []
        changes: list[float] = []
        try:
            truth = _truth()
            await dataplane.sync(truth)
            for number in range(LOOKS):
                taken_out = TAKEN_OUT * (number % 2)
                keys = list(other.elements(IP, TABLE, "endpoints"))[:: 100_000 // TAKEN_OUT][:taken_out]
                other.commit(Transaction(IP, TABLE, [DeleteElements("endpoints", keys)] if keys else []))
                other.commit(Transaction(IP, "other", [AddTable(), DeleteTable()]))
                async with _beside(_tick(late), _change(dataplane, truth, changes)):
                    began = time.perf_counter()
                    found = await dataplane.check(truth)
                    looks.append(time.perf_counter() - began)
                assert found == bool(keys), found
        finally:
            other.close()
            await dataplane.close()
    return looks, late, changes


def _truth() -> Desired:
    found: Desired = {}
    for number in range(10_000):
        pods = range(number * 10, number * 10 + 10)
        backends = tuple(Backend(f"10.244.{pod // 250 % 250}.{pod % 250 + 1}", 8080) for pod in pods)
        front = Front(vips=(f"10.96.{number // 250}.{number % 250 + 1}",), port=80, backends=backends)
        found[ServicePort("default", f"s{number}", "", "TCP")] = front
    return found


@asynccontextmanager
async def _beside(*jobs: Coroutine[None, None, None]) -> AsyncIterator[None]:
    tasks = [asyncio.ensure_future(job) for job in jobs]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _tick(late: list[float]) -> None:
    while True:
        began = time.perf_counter()
        await asyncio.sleep(0.001)
        late.append(time.perf_counter() - began - 0.001)


async def _change(dataplane: NftDataplane, truth: Desired, seconds: list[float]) -> None:
    key = ServicePort("default", "s77", "", "TCP")
    while True:
        last = Backend(f"10.245.9.{len(seconds) % 250 + 1}", 8080)
        truth[key] = replace(truth[key], backends=(*truth[key].backends[:-1], last))
        began = time.perf_counter()
        await dataplane.sync(truth, changed=frozenset([key]))
        seconds.append(time.perf_counter() - began)
        await asyncio.sleep(0.01)
