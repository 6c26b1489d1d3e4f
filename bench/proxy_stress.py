"""100,000 connections while endpoints change: how many are lost, with the care that the proxy takes and without.

All endpoints live. Lost is what is refused, answered only after the first packet was sent again, or answered by an
endpoint that was none at the time (tests/support/proxy_stress.py says how that is seen, and what each way is).
- `stress_lost_WAY`, `stress_changes_WAY_per_s`: at 1,000 changes a second, by cluster IP, node port, with affinity, and
  into chains that are new.
- `stress_careless_lost_WAY`: with one piece of care left out.
- `storm_...`: the same at as many changes as the kernel takes from one core.
- `change_plan_us`, `change_encode_us`, `change_commit_us`: where the time of one change goes: the plan, its bytes, the
  kernel's part. `change_sync_us`: the whole way through the data plane and its thread.
"""

import asyncio
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

from pybernetes.netlink.conntrack import Conntrack
from pybernetes.netlink.nft import IP, KernelNftables, Transaction
from pybernetes.netlink.nft.encode import encode
from pybernetes.proxy.dataplane import NftDataplane
from pybernetes.proxy.layout import TABLE, Layout, Ranges
from pybernetes.proxy.model import Backend, Front
from pybernetes.proxy.plan import Book, Planner

sys.path.append(str(Path(__file__).resolve().parent.parent / "tests"))

from support.proxy_stress import CAREFUL, CARELESS, FOUR, KEY, Net, Stress, Way, network

Figure = Callable[[str, float, str, int], None]
CONNECTIONS = 100_000
CHANGES_PER_SECOND = 1_000
ROUNDS = 2_000


def measure_stress(figure: Figure) -> None:
    measure(figure, "stress", changes_per_second=CHANGES_PER_SECOND)


def measure_storm(figure: Figure) -> None:
    measure(figure, "storm", changes_per_second=1e9)
    measure_change_parts(figure)


def measure(figure: Figure, name: str, *, changes_per_second: float) -> None:
    with network() as net:
        for ways, prefix in ((CAREFUL, name), (CARELESS, f"{name}_careless")):
            for way in ways:
                measure_way(figure, net, way, prefix, changes_per_second)


def measure_way(figure: Figure, net: Net, way: Way, prefix: str, changes_per_second: float) -> None:
    stress = Stress(net, way, changes_per_second=changes_per_second)
    try:
        outcome = stress.run(CONNECTIONS)
    finally:
        stress.close()
    figure(f"{prefix}_lost_{way.name}", outcome.lost, "", outcome.connections)
    figure(f"{prefix}_changes_{way.name}_per_s", outcome.changes / outcome.seconds, "1/s", outcome.changes)


def measure_change_parts(figure: Figure) -> None:
    """A Service goes from two endpoints to one and back; medians."""
    with network() as net:
        taken = parts(net)
        taken["sync"] = asyncio.run(syncs(net))
    for name, seconds in taken.items():
        figure(f"change_{name}_us", statistics.median(seconds) * 1e6, "us", len(seconds))


def front(number: int) -> Front:
    backends = tuple(Backend(pod, 8080) for pod in FOUR.pods[: 1 + number % 2])
    return Front(vips=(FOUR.service,), port=80, backends=backends)


def planner() -> Planner:
    ranges = Ranges(services=(FOUR.service_range,), pods=(FOUR.pod_range,))
    return Planner(Layout(IP, ranges), node_addresses=(FOUR.node,))


def parts(net: Net) -> dict[str, list[float]]:
    nft = KernelNftables(net.paths["node"])
    book = Book(planner())
    nft.commit(Transaction(IP, TABLE, book.planner.layout.skeleton()))
    found: dict[str, list[float]] = {"plan": [], "encode": [], "commit": []}
    for number in range(ROUNDS):
        began = time.perf_counter()
        change = book.update({KEY: front(number)})
        planned = time.perf_counter()
        if change.chains:
            nft.commit(Transaction(IP, TABLE, change.chains))
        transaction = Transaction(IP, TABLE, change.elements)
        ready = time.perf_counter()
        list(encode(transaction))
        encoded = time.perf_counter()
        nft.commit(transaction)
        done = time.perf_counter()
        found["plan"].append(planned - began)
        found["encode"].append(encoded - ready)
        found["commit"].append(done - encoded - (encoded - ready))  # it is encoded there once more
    nft.close()
    return found


async def syncs(net: Net) -> list[float]:
    dataplane = NftDataplane(KernelNftables(net.paths["node"]), Conntrack(net.paths["node"]), [planner()])
    found = []
    try:
        await dataplane.sync({KEY: front(0)})
        for number in range(1, ROUNDS):
            began = time.perf_counter()
            await dataplane.sync({KEY: front(number)}, changed=frozenset({KEY}))
            found.append(time.perf_counter() - began)
    finally:
        await dataplane.close()
    return found
