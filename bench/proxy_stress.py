"""100,000 connections while endpoints change up to 1,000 times a second: how many are lost. All endpoints live.

- `stress_lost_WAY`: by a cluster IP, a node port, with affinity; `stress_changes_WAY_per_s`: how many changes that was.
- `stress_lost_careless`: by a cluster IP without the rule that serves whoever finds a slot empty.
"""

import asyncio
import itertools
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import NamedTuple

from proxy_objects import address
from proxy_traffic import COUNTED, NODE, PODS, Counting, Figure, Net, network
from pybernetes.netlink import namespaces
from pybernetes.netlink.conntrack import Conntrack
from pybernetes.netlink.expressions import Rule
from pybernetes.netlink.nft import IP, KernelNftables
from pybernetes.proxy.dataplane import NftDataplane
from pybernetes.proxy.layout import Class, Layout, Ranges
from pybernetes.proxy.model import Backend, Desired, Front, ServicePort
from pybernetes.proxy.plan import Planner

CONNECTIONS = 100_000
CALLERS = 2
NODE_PORT = 30080
PAUSE_SECONDS = 0.001
SETS = (PODS[:3], PODS[:1], PODS[2:5], PODS, PODS[4:6])
KEY = ServicePort("default", "called", "", "TCP")

CALLER = """
import socket, sys
lost = 0
for _ in range(int(sys.argv[3])):
    with socket.socket() as sock:
        sock.settimeout(5)
        try:
            sock.connect((sys.argv[1], int(sys.argv[2])))
            sock.recv(1)
        except OSError:
            lost += 1
print(lost)
"""


class Way(NamedTuple):
    name: str
    where: str
    port: int
    affinity_seconds: int = 0
    careless: bool = False


WAYS = (
    Way("cluster_ip", address(0), 80),
    Way("node_port", NODE, NODE_PORT),
    Way("affinity", address(0), 80, affinity_seconds=60),
    Way("careless", address(0), 80, careless=True),
)


class Careless(Layout):
    """Whoever finds the slot empty that chance gave is lost."""

    def _balance_rules(self, wanted: Class) -> Iterator[Rule]:
        rules = list(super()._balance_rules(wanted))
        yield from rules[:-1] if wanted.size > 1 else rules


def truth(pods: tuple[str, ...], affinity_seconds: int) -> Desired:
    backends = tuple(Backend(each, COUNTED) for each in pods)
    front = Front(
        vips=(address(0),), port=80, node_port=NODE_PORT, backends=backends, affinity_seconds=affinity_seconds
    )
    return {KEY: front}


def measure_stress(figure: Figure) -> None:
    for way in WAYS:
        with network() as net:
            lost, rate = asyncio.run(stress(net, way))
        figure(f"stress_lost_{way.name}", lost, "", CONNECTIONS)
        figure(f"stress_changes_{way.name}_per_s", rate, "1/s", CONNECTIONS)


async def stress(net: Net, way: Way) -> tuple[int, float]:
    """(connections lost, changes a second)."""
    dataplane = made(net, way)
    counting = Counting(net)
    try:
        await dataplane.sync(truth(PODS, way.affinity_seconds))
        callers = [call(net, way) for _ in range(CALLERS)]
        began = time.perf_counter()
        changes = await change(dataplane, way, callers)
        rate = changes / (time.perf_counter() - began)
        return sum(int(each.communicate()[0]) for each in callers), rate
    finally:
        counting.close()
        await dataplane.close()


def made(net: Net, way: Way) -> NftDataplane:
    ranges = Ranges(services=("10.96.0.0/16",), pods=("10.244.0.0/16",))
    layout = (Careless if way.careless else Layout)(IP, ranges)
    path = net.paths["node"]
    return NftDataplane(KernelNftables(path), Conntrack(path), [Planner(layout, node_addresses=(NODE,))])


def call(net: Net, way: Way) -> "subprocess.Popen[str]":
    argv = [sys.executable, "-c", CALLER, way.where, str(way.port), str(CONNECTIONS // CALLERS)]

    def start() -> "subprocess.Popen[str]":
        return subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)

    process = namespaces.run_in(net.paths["client"], start)
    net.stack.callback(process.kill)
    return process


async def change(dataplane: NftDataplane, way: Way, callers: "list[subprocess.Popen[str]]") -> int:
    deadline = time.perf_counter() + 240
    for number, pods in enumerate(itertools.cycle(SETS)):
        if all(each.poll() is not None for each in callers):
            return number
        if time.perf_counter() > deadline:
            raise SystemExit("the callers did not end in 240 s")
        pause = asyncio.create_task(asyncio.sleep(PAUSE_SECONDS))
        await dataplane.sync(truth(pods, way.affinity_seconds), changed=frozenset({KEY}))
        await pause
    raise AssertionError("an endless cycle ended")
