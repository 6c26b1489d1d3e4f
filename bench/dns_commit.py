"""How fresh names are: an EndpointSlice is written to the API of a cluster of three nodes, until the DNS of each node
answers with the new address.

Counted from sending the write, so a little more than from its commit; until the answer was received. The callers ask
every 2 ms, from inside the nodes' namespaces, and take part in the load of the same machine.
"""

import asyncio
import contextlib
import socket
import statistics
import time
from collections.abc import Callable, Iterator, Sequence

import start
from pybernetes.api.objects import Key, Obj
from pybernetes.api.resources import ENDPOINT_SLICES, SERVICES
from pybernetes.client import Client
from pybernetes.netlink import namespaces

SERVICE = "fresh.default.svc.cluster.local"
POLL_SECONDS = 0.002
PAUSE_SECONDS = 0.02


def measure(note: Callable[[str, float, str, int], None], *, changes: int) -> None:
    with start.cluster() as made:
        asyncio.run(start.time_start(made))
        latencies = sorted(asyncio.run(time_answers(made, changes)))
    note("commit_to_answer_p50_ms", statistics.median(latencies), "ms", changes)
    note("commit_to_answer_p99_ms", latencies[int(changes * 0.99)], "ms", changes)


async def time_answers(made: start.Cluster, changes: int) -> list[float]:
    """Milliseconds of each change."""
    client = made.client()
    layout = made.layout
    meta = {"name": "fresh", "namespace": "default"}
    service = {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": {"clusterIP": "None"}}
    with contextlib.ExitStack() as stack:
        asked = [stack.enter_context(caller(node.namespace, layout.dns_addresses[0])) for node in layout.nodes()]
        try:
            await client.create(SERVICES, service)
            await client.create(ENDPOINT_SLICES, slice_with("10.244.77.1"))
            await asyncio.to_thread(until_answered, asked, "10.244.77.1")
            await asyncio.sleep(start.SETTLE_SECONDS)
            return [await one(client, asked, number + 1) for number in range(changes)]
        finally:
            await client.close()


def slice_with(address: str) -> Obj:
    return start.bench_slice("fresh", {"addresses": [address]})


async def one(client: Client, asked: Sequence[socket.socket], number: int) -> float:
    await asyncio.sleep(PAUSE_SECONDS)
    address = f"10.244.77.{1 + number % 250}"
    waiting = asyncio.create_task(asyncio.to_thread(until_answered, asked, address))
    began = time.perf_counter()
    await client.patch(ENDPOINT_SLICES, Key("default", "fresh-1"), {"endpoints": slice_with(address)["endpoints"]})
    return (await waiting - began) * 1000


def until_answered(asked: Sequence[socket.socket], address: str) -> float:
    """When the last of the nodes had the address."""
    deadline = time.perf_counter() + 30
    wanted = socket.inet_aton(address)
    for sock in asked:
        while answer(sock)[-4:] != wanted:
            if time.perf_counter() > deadline:
                raise SystemExit(f"a node's DNS did not answer with {address} in 30 s")
            time.sleep(POLL_SECONDS)
    return time.perf_counter()


def answer(sock: socket.socket) -> bytes:
    """The reply to one question for the service's address; nothing when there is none."""
    wire = b"".join(bytes([len(label)]) + label.encode() for label in SERVICE.split("."))
    try:
        sock.send(b"\0\7\1\0\0\1\0\0\0\0\0\0" + wire + b"\0\0\1\0\1")
        data = sock.recv(512)
    except OSError:
        return b""
    return data if data[3] & 15 == 0 and data[6:8] == b"\0\1" else b""


@contextlib.contextmanager
def caller(namespace: str, server: str) -> Iterator[socket.socket]:
    def connected() -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.settimeout(0.5)
        sock.connect((server, 53))
        return sock

    with contextlib.closing(namespaces.run_in(namespace, connected)) as sock:
        yield sock
