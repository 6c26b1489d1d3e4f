"""From `pybernetes up` to the first answer, what an idle cluster weighs, and how fast an endpoint reaches all nodes.

    python bench/start.py [--rounds 3] [--changes 100]

Needs root. Each figure is one JSON line on standard output. A first `up` and `down`, not counted, warm the install.
- `api_ready_s`, `nodes_ready_s`: from the start of `up --nodes 3` to 200 of /readyz, and to three Ready nodes.
- `first_answer_s`: from `kubectl apply -f examples/web-server/` (three replicas) to the first HTTP answer that a caller
  on a node gets by the service's name: asked of the cluster DNS, called at the cluster address.
- `server_pss_mb`, `agent_pss_mb`: proportional set size of the idle processes, children included; the largest agent.
- `endpoint_to_all_nodes_p99_ms`: from the moment the write of an EndpointSlice is sent to the moment all nodes both
  balance to the new port and answer with the new name.
"""

import argparse
import asyncio
import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from machine import machine, pss_mb
from pybernetes.api.objects import Key, Obj, condition_is
from pybernetes.api.resources import ENDPOINT_SLICES, NODES, SERVICES
from pybernetes.app import connect
from pybernetes.client import Client, kubeconfig
from pybernetes.local import Layout
from pybernetes.local import find as find_layout
from pybernetes.netlink import namespaces
from pybernetes.wire import Request

BIN = Path(sys.executable).parent
EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "web-server"
NAME = "bench"
SERVICE = "web-server-service.kube-system.svc.cluster.local"
POLL_SECONDS = 0.005
SETTLE_SECONDS = 5.0
"""What a start still has to do behind its back is done by then."""


def figure(name: str, values: list[float], unit: str, *, value: float | None = None) -> None:
    """A line: the median of the values unless `value` says otherwise."""
    shown = statistics.median(values) if value is None else value
    line = {"bench": "start", "figure": name, "value": round(shown, 3), "unit": unit, "n": len(values)}
    print(json.dumps(line), flush=True)


class Cluster:
    """The cluster of one round, with directories of its own."""

    def __init__(self, root: str) -> None:
        self.root = root
        roots = {f"PYBERNETES_{kind.upper()}_ROOT": f"{root}/{kind}" for kind in ("state", "run", "log")}
        self.kubeconfig = Path(root) / "state" / NAME / "kubeconfig"
        self.environment = os.environ | roots | {"KUBECONFIG": str(self.kubeconfig), "HOME": root}
        self.environment.pop("PYTHONDONTWRITEBYTECODE", None)  # a warm install has its bytecode

    def start(self) -> subprocess.Popen[str]:
        argv = [str(BIN / "pybernetes"), "up", "--nodes", "3", "--name", NAME]
        return subprocess.Popen(argv, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def run(self, *argv: str) -> str:
        done = subprocess.run(
            [str(BIN / argv[0]), *argv[1:]],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if done.returncode:
            raise SystemExit(f"{' '.join(argv)} ended with {done.returncode}: {done.stdout}{done.stderr}{self.logs()}")
        return done.stdout

    def down(self) -> None:
        self.run("pybernetes", "down", "--name", NAME)

    @property
    def layout(self) -> Layout:
        found = find_layout(NAME, state_root=f"{self.root}/state")
        assert found is not None
        return found

    def client(self) -> Client:
        return connect.client(self.kubeconfig, user_agent="bench")

    def processes(self) -> dict[str, int]:
        records = Path(f"{self.root}/run/{NAME}/processes").glob("*.json")
        return {path.stem: int(json.loads(path.read_bytes())["pid"]) for path in records}

    def logs(self) -> str:
        texts = [f"\n--- {p}\n{p.read_text(errors='replace')[-2000:]}" for p in Path(self.root).glob("log/*/*.log")]
        return "".join(texts)


@contextmanager
def cluster() -> Iterator[Cluster]:
    with tempfile.TemporaryDirectory(prefix="pybench-") as root:
        os.chmod(root, 0o755)
        made = Cluster(root)
        try:
            yield made
        finally:
            made.down()


# -- the start ---


async def time_start(made: Cluster) -> tuple[float, float]:
    """Seconds to a ready API and to three Ready nodes."""
    began = time.perf_counter()
    process = await asyncio.to_thread(made.start)
    try:
        async with asyncio.timeout(90):
            while not await api_ready(made.kubeconfig):
                await asyncio.sleep(POLL_SECONDS)
            api = time.perf_counter() - began
            client = made.client()
            try:
                while await ready_nodes(client) < 3:
                    await asyncio.sleep(POLL_SECONDS)
            finally:
                await client.close()
            nodes = time.perf_counter() - began
    except TimeoutError:
        process.kill()
        raise SystemExit(f"the cluster was not ready in 90 s: {made.logs()}") from None
    output, _ = await asyncio.to_thread(process.communicate)
    if process.returncode:
        raise SystemExit(f"up ended with {process.returncode}: {output}")
    return api, nodes


async def api_ready(path: Path) -> bool:
    try:
        transport = connect.transport(kubeconfig.load(path))
    except (OSError, kubeconfig.BadKubeconfig):
        return False  # not written yet
    try:
        response = await transport.send(Request(path="/readyz"))
    except (ConnectionError, TimeoutError):
        return False
    else:
        return response.status == 200
    finally:
        await transport.close()


async def ready_nodes(client: Client) -> int:
    found = await client.list(NODES)
    return sum(condition_is(node, "Ready") for node in found.items)


# -- the first answer ---


def time_first_answer(made: Cluster) -> float:
    layout = made.layout
    node = next(iter(layout.nodes()))
    began = time.perf_counter()
    answered: list[float] = []

    def caller() -> None:
        deadline = began + 60
        while time.perf_counter() < deadline:
            with contextlib.suppress(OSError):
                address = resolve(layout.dns_addresses[0], SERVICE)
                if address and b"success" in http_get(address, "/api/v1/healthz"):
                    answered.append(time.perf_counter() - began)
                    return
            time.sleep(POLL_SECONDS)

    thread = threading.Thread(target=lambda: namespaces.run_in(node.namespace, caller))
    thread.start()
    made.run("kubectl", "apply", "-f", str(EXAMPLE))
    thread.join()
    if not answered:
        pods = made.run("kubectl", "get", "pods,svc,endpointslices", "-A", "-o", "wide")
        raise SystemExit(f"no answer by name in 60 s\n{pods}{made.logs()}")
    return answered[0]


def resolve(server: str, name: str) -> str:
    """The first A record of a name; "" when there is none."""
    wire = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(0.5)
        sock.connect((server, 53))
        sock.send(b"\0\7\1\0\0\1\0\0\0\0\0\0" + wire + b"\0\0\1\0\1")
        data = sock.recv(4096)
    if data[3] & 15 or not int.from_bytes(data[6:8]):
        return ""
    return socket.inet_ntoa(data[len(wire) + 29 :][:4])


def http_get(address: str, path: str) -> bytes:
    with socket.create_connection((address, 80), timeout=0.5) as sock:
        sock.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        parts = []
        while part := sock.recv(65536):
            parts.append(part)
    return b"".join(parts)


# -- one endpoint to all nodes ---


class Backends:
    """Two listeners on the host's address on the switch; each says its letter to whoever connects."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.ports: list[int] = []
        self._socks: list[socket.socket] = []
        for letter in (b"a", b"b"):
            sock = socket.create_server((address, 0), backlog=256)
            self._socks.append(sock)
            self.ports.append(sock.getsockname()[1])
            threading.Thread(target=self._serve, args=(sock, letter), daemon=True).start()

    def _serve(self, sock: socket.socket, letter: bytes) -> None:
        while True:
            try:
                peer, _ = sock.accept()
            except OSError:
                return
            with peer, contextlib.suppress(OSError):
                peer.sendall(letter)

    def close(self) -> None:
        for sock in self._socks:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()


def bench_slice(service: str, endpoint: Obj, *, port: int = 0) -> Obj:
    """The slice of a Service with one ready endpoint; 0 for a headless Service without ports."""
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": f"{service}-1", "namespace": "default", "labels": {"kubernetes.io/service-name": service},
        },
        "addressType": "IPv4",
        "endpoints": [endpoint | {"conditions": {"ready": True}}],
        "ports": [{"name": "", "port": port, "protocol": "TCP"}] if port else [],
    }  # fmt: skip


def answering(backends: Backends, turn: int) -> Obj:
    """The slice that leads to one of the two."""
    return bench_slice("bench", {"addresses": [backends.address], "hostname": "ab"[turn]}, port=backends.ports[turn])


def bench_service() -> Obj:
    meta = {"name": "bench", "namespace": "default"}
    return {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": {"ports": [{"port": 80}]}}


class Watcher:
    """On one node: when does the wanted letter come from the address, and the wanted name from DNS?"""

    def __init__(self, namespace: str, dns: str, address: str) -> None:
        self.dns, self.address = dns, address
        self.wanted = ""
        self.seen = threading.Event()
        self.at = 0.0
        self.stopped = False
        self.thread = threading.Thread(target=lambda: namespaces.run_in(namespace, self._watch))
        self.thread.start()

    def expect(self, letter: str) -> None:
        self.seen.clear()
        self.wanted = letter

    def _watch(self) -> None:
        while not self.stopped:
            if self.wanted and self._holds(self.wanted):
                self.at = time.perf_counter()
                self.wanted = ""
                self.seen.set()
            time.sleep(0.002)

    def _holds(self, letter: str) -> bool:
        try:
            if not resolve(self.dns, f"{letter}.bench.default.svc.cluster.local"):
                return False
            with socket.create_connection((self.address, 80), timeout=1) as sock:
                return sock.recv(1) == letter.encode()
        except OSError:
            return False


async def time_endpoints(made: Cluster, changes: int) -> list[float]:
    """Milliseconds of each change."""
    layout = made.layout
    backends = Backends(layout.gateways[0])
    client = made.client()
    watchers: list[Watcher] = []
    try:
        service = await client.create(SERVICES, bench_service())
        await client.create(ENDPOINT_SLICES, answering(backends, 0))
        address = service["spec"]["clusterIP"]
        watchers = [Watcher(node.namespace, layout.dns_addresses[0], address) for node in layout.nodes()]
        await asyncio.to_thread(wait_all, watchers, "a")
        return [await one_change(client, watchers, backends, (turn + 1) % 2) for turn in range(changes)]
    finally:
        for watcher in watchers:
            watcher.stopped = True
        backends.close()
        await client.delete(SERVICES, Key("default", "bench"))
        await client.close()


async def one_change(client: Client, watchers: list[Watcher], backends: Backends, turn: int) -> float:
    await asyncio.sleep(0.05)
    for watcher in watchers:
        watcher.expect("ab"[turn])
    patch = {name: answering(backends, turn)[name] for name in ("endpoints", "ports")}
    began = time.perf_counter()
    await client.patch(ENDPOINT_SLICES, Key("default", "bench-1"), patch)
    await asyncio.to_thread(wait_all, watchers, "")
    return max(watcher.at - began for watcher in watchers) * 1000


def wait_all(watchers: list[Watcher], letter: str) -> None:
    for watcher in watchers:
        if letter:
            watcher.expect(letter)
    for watcher in watchers:
        if not watcher.seen.wait(30):
            raise SystemExit("an endpoint did not reach all nodes in 30 s")


# -- all of it ---


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--changes", type=int, default=100)
    parser.add_argument("--settle", type=float, default=SETTLE_SECONDS, help="idle seconds before memory is read")
    options = parser.parse_args()
    if os.geteuid():
        sys.exit("bench/start.py needs root")
    print(f"machine: {machine()}", file=sys.stderr)
    taken: dict[str, list[float]] = {}

    def note(name: str, *values: float) -> None:
        taken.setdefault(name, []).extend(values)

    with cluster() as made:  # the warm-up
        asyncio.run(time_start(made))
    for _ in range(options.rounds):
        one_round(options, note)
    for name in ("api_ready_s", "nodes_ready_s", "first_answer_s"):
        figure(name, taken[name], "s")
    figure("server_pss_mb", taken["server_pss_mb"], "MB")
    figure("agent_pss_mb", taken["agent_pss_mb"], "MB")
    latencies = sorted(taken["endpoint_ms"])
    figure("endpoint_to_all_nodes_p99_ms", latencies, "ms", value=latencies[int(len(latencies) * 0.99)])
    figure("endpoint_to_all_nodes_p50_ms", latencies, "ms")


def one_round(options: argparse.Namespace, note: Callable[..., Any]) -> None:
    with cluster() as made:
        api, nodes = asyncio.run(time_start(made))
        note("api_ready_s", api)
        note("nodes_ready_s", nodes)
        time.sleep(options.settle)
        parts = made.processes()
        note("server_pss_mb", pss_mb(parts["server"]))
        note("agent_pss_mb", max(pss_mb(pid) for name, pid in parts.items() if name != "server"))
        note("first_answer_s", time_first_answer(made))
        note("endpoint_ms", *asyncio.run(time_endpoints(made, options.changes)))


if __name__ == "__main__":
    main()
