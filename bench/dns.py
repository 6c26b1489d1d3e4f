"""Cluster DNS: questions a second, latency, memory, and how fast a change shows. Needs dnsperf (Debian package).

    python bench/dns.py [load] [commit] [--seconds 5]      (neither named: both)

load: one server process on the last CPU with a generated cluster, dnsperf on CPU 0. Each figure is one JSON line on
standard output, with `_1k` or `_10k` for the number of services; what ends in neither is the one of 10,000. nsd and
unbound, where they are installed, and a plain dnspython server answer the same names in the same run:
`cpu_ratio_to_...` is our CPU time for a question by theirs.
commit (needs root): `commit_to_answer_*_ms`, see dns_commit.py.
"""

import argparse
import asyncio
import json
import os
import random
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import uvloop

import dns_references
from machine import machine, pss_mb
from pybernetes.aio.process import collect_seldom
from pybernetes.api.objects import Obj, encode
from pybernetes.api.resources import ENDPOINT_SLICES, NAMESPACES, PODS, SERVICES
from pybernetes.client import Client, WatchEvent
from pybernetes.dns import Dns, DnsConfig
from pybernetes.dns.sockets import bind
from pybernetes.wire import Channel, Request, Response

Make = Callable[[Path, str, int], list[str]]
"""The command of a server of a zone file, its origin and a port."""
Z = "cluster.local"
PER_NAMESPACE = 100
PODS_OF_A_NODE = 110
SERVER_CPU = (os.cpu_count() or 1) - 1
_END = {"metadata": {"resourceVersion": "1", "annotations": {"k8s.io/initial-events-end": "true"}}}


def figure(name: str, value: float, unit: str, n: int) -> None:
    print(json.dumps({"bench": "dns", "figure": name, "value": round(value, 4), "unit": unit, "n": n}), flush=True)


# -- the cluster: half of the services have a cluster address, half are headless ---


def namespace(number: int) -> str:
    return f"ns-{number // PER_NAMESPACE}"


def service(number: int, *, headless: bool, revision: int = 1) -> Obj:
    address = "None" if headless else f"10.96.{number >> 8}.{number & 255}"
    port = {"name": "http", "protocol": "TCP", "port": 80, "targetPort": 8080}
    kind = "headless" if headless else "svc"
    meta = {"name": f"{kind}-{number}", "namespace": namespace(number), "resourceVersion": str(revision), "uid": "u"}
    return {"metadata": meta, "spec": {"clusterIP": address, "clusterIPs": [address], "ports": [port]}}


def endpoint_slice(number: int, *, third: int = 0, revision: int = 1) -> Obj:
    name = f"headless-{number}"
    meta = {
        "name": f"{name}-a", "namespace": namespace(number), "resourceVersion": str(revision), "uid": "u",
        "labels": {"kubernetes.io/service-name": name},
    }  # fmt: skip
    endpoints = [
        {
            "addresses": [f"10.{block + third}.{number >> 8}.{number & 255}"],
            "conditions": {"ready": True},
            "targetRef": {"kind": "Pod", "name": f"p{block}-{number}"},
        }
        for block in (64, 80)
    ]
    ports = [{"name": "http", "protocol": "TCP", "port": 8080}]
    return {"metadata": meta, "addressType": "IPv4", "endpoints": endpoints, "ports": ports}


def objects(plural: str, size: int) -> list[Obj]:
    if plural == NAMESPACES.plural:
        return [{"metadata": {"name": f"ns-{n}", "uid": "u", "resourceVersion": "1"}} for n in range(size // 100 + 1)]
    if plural == SERVICES.plural:
        return [service(n, headless=headless) for n in range(size) for headless in (False, True)]
    if plural == ENDPOINT_SLICES.plural:
        return [endpoint_slice(n) for n in range(size)]
    if plural == PODS.plural:
        return [pod(n) for n in range(PODS_OF_A_NODE)]
    return []


def pod(number: int) -> Obj:
    meta = {"name": f"p64-{number}", "namespace": namespace(number), "resourceVersion": "1", "uid": "u"}
    status = {"phase": "Running", "podIP": f"10.64.{number >> 8}.{number & 255}"}
    return {"metadata": meta, "spec": {"dnsPolicy": "ClusterFirst"}, "status": status}


def questions(size: int, count: int) -> list[str]:
    """55 % A, 25 % AAAA without an answer, 15 % names of search lists that do not exist, 5 % SRV."""
    rng = random.Random(7)
    found = []
    for _ in range(count):
        number, draw = rng.randrange(size), rng.random()
        name = f"{rng.choice(['svc', 'headless'])}-{number}.{namespace(number)}.svc.{Z}"
        if draw < 0.55:
            found.append(f"{name} A")
        elif draw < 0.80:
            found.append(f"{name} AAAA")
        elif draw < 0.95:
            found.append(f"host-{number % 100}.example.com.{namespace(number)}.svc.{Z} A")
        else:
            found.append(f"_http._tcp.svc-{number}.{namespace(number)}.svc.{Z} SRV")
    return found


class Generated:
    """A Transport that streams the generated cluster, then what is put on `later`."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.later: dict[str, asyncio.Queue[bytes]] = {}

    async def send(self, request: Request) -> Response:
        plural = request.path.rsplit("/", 1)[-1]
        return Response(body=self._lines(plural))

    async def _lines(self, plural: str) -> AsyncIterator[bytes]:
        queue = self.later[plural] = asyncio.Queue()
        found = objects(plural, self.size)
        for first in range(0, len(found), 100):
            yield b"".join(line("ADDED", obj) for obj in found[first : first + 100])
        del found
        yield line("BOOKMARK", _END)
        while True:
            yield await queue.get()

    async def connect(self, request: Request, *, protocols: Any) -> Channel:
        raise NotImplementedError

    async def close(self) -> None: ...


def line(kind: str, obj: Obj) -> bytes:
    return encode({"type": kind, "object": obj}) + b"\n"


# -- the server process ---


async def serve(size: int, *, port: int = 0) -> None:
    """Say when it is ready, answer until standard input ends; a line "change" measures one change.

    With a port it shares it, and the CPUs, with others.
    """
    if not port:
        os.sched_setaffinity(0, {SERVER_CPU})
    transport = Generated(size)
    dns = Dns(Client(transport), DnsConfig(listen=("127.0.0.1",), port=port, upstreams=(), lameduck_seconds=0.0))
    async with asyncio.TaskGroup() as group:
        began = time.perf_counter()
        task = group.create_task(dns.run())
        await dns.ready.wait()
        synced = time.perf_counter() - began
        await dns.server.started.wait()
        say({"synced": synced, "port": dns.server.port, "pid": os.getpid()})
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        while await reader.readline():
            say({"change_ms": statistics.median([change(dns, n) for n in range(200)])})
        task.cancel()


def change(dns: Dns, number: int) -> float:
    """Milliseconds from a decoded watch event to the answer that reflects it."""
    informer = next(i for i in dns._informers if i.resource == ENDPOINT_SLICES)
    obj = endpoint_slice(number, third=1, revision=2 + number)
    began = time.perf_counter()
    informer._apply(WatchEvent("MODIFIED", obj))
    assert dns.server.responder.respond(packet(f"headless-{number}.{namespace(number)}.svc.{Z}"), udp=True)
    return (time.perf_counter() - began) * 1000


def packet(name: str) -> bytes:
    wire = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return b"\0\1\1\0\0\1\0\0\0\0\0\0" + wire + b"\0\0\1\0\1"


def say(value: Obj) -> None:
    print(json.dumps(value), flush=True)


# -- the measuring process ---


class Child:
    """The server under test."""

    def __init__(self, size: int, *, port: int = 0) -> None:
        argv = [sys.executable, __file__, "--serve", str(size), "--port", str(port)]
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.ready = self.read()

    def read(self) -> dict[str, Any]:
        assert self.process.stdout
        found: dict[str, Any] = json.loads(self.process.stdout.readline())
        return found

    def change_ms(self) -> float:
        assert self.process.stdin
        self.process.stdin.write("change\n")
        self.process.stdin.flush()
        return float(self.read()["change_ms"])

    def close(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait(10)


def dnsperf(port: int, file: Path, *, seconds: float, rate: int = 0) -> dict[str, float]:
    """A run of dnsperf; latencies only when the rate is given (one line a query)."""
    argv = ["taskset", "-c", "0", "dnsperf", "-s", "127.0.0.1", "-p", str(port), "-d", str(file), "-l", str(seconds)]
    argv += ["-c", "16", "-q", "100", *(["-Q", str(rate), "-v"] if rate else [])]
    out = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=seconds + 30).stdout
    found = {"qps": float(re.findall(r"Queries per second:\s+([\d.]+)", out)[0])}
    found["completed"] = float(re.findall(r"Queries completed:\s+(\d+)", out)[0])
    if rate:
        latencies = sorted(float(text) for text in re.findall(r"^> .* ([\d.]+)$", out, re.M))
        found["p99_ms"] = latencies[int(len(latencies) * 0.99)] * 1000
    return found


def cpu_seconds(pid: int) -> float:
    """Of a process and its descendants (nsd answers in a child)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    own = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return own + sum(cpu_seconds(int(child)) for child in children)


# -- the same names for other servers, as a measure of the machine ---


def zone(size: int) -> str:
    """A zone file with the records of the generated cluster."""
    lines = [f"{Z}. 5 IN SOA ns.dns.{Z}. hostmaster.{Z}. 1 7200 1800 86400 5", f"{Z}. 5 IN NS ns.dns.{Z}."]
    lines.append(f"ns.dns.{Z}. 5 IN A 10.96.0.10")
    for number in range(size):
        below = f"{namespace(number)}.svc.{Z}."
        lines.append(f"svc-{number}.{below} 5 IN A {service(number, headless=False)['spec']['clusterIP']}")
        for endpoint in endpoint_slice(number)["endpoints"]:
            lines.append(f"headless-{number}.{below} 5 IN A {endpoint['addresses'][0]}")
        lines.append(f"_http._tcp.svc-{number}.{below} 5 IN SRV 0 100 80 svc-{number}.{below}")
    return "\n".join(lines) + "\n"


def free_port() -> int:
    """Free for UDP and for TCP: nsd ends when it cannot have both."""
    pair = bind("127.0.0.1", 0)
    try:
        return int(pair.udp.getsockname()[1])
    finally:
        pair.close()


def asked(port: int, name: str) -> bool:
    """Whether a server answers at all."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(0.3)
        sock.connect(("127.0.0.1", port))
        try:
            sock.send(packet(name))
            return bool(sock.recv(512))
        except OSError:
            return False


def load(port: int, *pids: int, file: Path, seconds: float) -> tuple[float, float]:
    """Queries a second and CPU microseconds a query: the medians of three runs after a first that is not counted."""
    dnsperf(port, file, seconds=2)
    rates, costs = [], []
    for _ in range(3):
        before = sum(map(cpu_seconds, pids))
        run = dnsperf(port, file, seconds=seconds)
        rates.append(run["qps"])
        costs.append((sum(map(cpu_seconds, pids)) - before) / run["completed"] * 1e6)
    return statistics.median(rates), statistics.median(costs)


def measure(size: int, label: str, *, seconds: float, scratch: Path) -> dict[str, float]:
    """All figures of one size, by name; half of the services are headless, each of two endpoints."""
    half = size // 2
    file = scratch / f"questions-{size}"
    file.write_text("\n".join(questions(half, 40_000)) + "\n")
    found: dict[str, float] = {}

    def note(name: str, value: float, unit: str, n: int = 3) -> None:
        found[name] = value
        figure(name, value, unit, n)

    child = Child(half)
    try:
        port, pid = child.ready["port"], child.ready["pid"]
        rate, cost = load(port, pid, file=file, seconds=seconds)
        note(f"qps_{label}", rate, "1/s")
        note(f"cpu_us_per_query_{label}", cost, "us")
        slow = dnsperf(port, file, seconds=seconds, rate=3000)
        note(f"p99_ms_at_3000_{label}", slow["p99_ms"], "ms", int(slow["completed"]))
        note(f"index_{label}_s", child.ready["synced"], "s", 1)
        note(f"pss_{label}_mb", pss_mb(pid), "MB", 1)
        note(f"one_change_ms_{label}", child.change_ms(), "ms", 200)
    finally:
        child.close()
    for count in (1, 2):
        rate, shared = workers(half, count, file=file, seconds=seconds)
        note(f"qps_{count}_processes_{label}", rate, "1/s")
        note(f"cpu_us_per_query_{count}_processes_{label}", shared, "us")
    zone_file = scratch / f"zone-{size}"
    zone_file.write_text(zone(half))
    for make in (dns_references.nsd, dns_references.unbound, dns_references.dnspython):
        name = make.__name__
        if make is not dns_references.dnspython and not shutil.which(name):
            print(f"{name} is not installed: no cpu_ratio_to_{name}", file=sys.stderr)
            continue
        rate, other = refer(make, zone_file, file, seconds=seconds)
        note(f"{name}_qps_{label}", rate, "1/s")
        note(f"cpu_ratio_to_{name}_{label}", cost / other, "")
    return found


def workers(size: int, count: int, *, file: Path, seconds: float) -> tuple[float, float]:
    """The same of so many processes at one port (SO_REUSEPORT), on any CPU; dnsperf keeps to CPU 0."""
    port = free_port()
    children = [Child(size, port=port) for _ in range(count)]
    try:
        return load(port, *(child.process.pid for child in children), file=file, seconds=seconds)
    finally:
        for child in children:
            child.close()


def refer(make: Make, zone_file: Path, file: Path, *, seconds: float) -> tuple[float, float]:
    """Queries a second and CPU microseconds a query of another server."""
    port = free_port()
    name = f"svc-0.{namespace(0)}.svc.{Z}"
    other = dns_references.Reference(make(zone_file, Z, port), cpu=SERVER_CPU, answers=lambda: asked(port, name))
    try:
        return load(port, other.process.pid, file=file, seconds=seconds)
    finally:
        other.close()


PLAIN = {"p99_ms_at_3000": "ms", "one_change_ms": "ms", "cpu_ratio_to_nsd": "", "cpu_ratio_to_unbound": ""}
"""Figures with one value and its unit: that of 10,000 services."""


PARTS = ("load", "commit")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=" ".join(PARTS))
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--changes", type=int, default=400, help="for commit")
    options = parser.parse_args()
    if options.serve:
        collect_seldom()  # as every process of a cluster does
        uvloop.run(serve(options.serve, port=options.port))
        return
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    parts = options.parts or PARTS
    if "load" in parts and not shutil.which("dnsperf"):
        sys.exit("bench/dns.py needs dnsperf: apt-get install dnsperf")
    if "commit" in parts and os.geteuid():
        sys.exit("bench/dns.py commit needs root")
    import dns_commit  # here, so that the server under test does not weigh what a whole cluster needs

    print(f"machine: {machine()}", file=sys.stderr)
    if "load" in parts:
        measure_load(options.seconds)
    if "commit" in parts:
        for number in (signal.SIGTERM, signal.SIGINT):  # an end by signal takes the cluster away too
            signal.signal(number, lambda *_: sys.exit("stopped"))
        dns_commit.measure(figure, changes=options.changes)


def measure_load(seconds: float) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        for size, label in ((1_000, "1k"), (10_000, "10k")):
            found = measure(size, label, seconds=seconds, scratch=Path(scratch))
        for name, unit in PLAIN.items():
            if f"{name}_10k" in found:
                figure(name, found[f"{name}_10k"], unit, 1)


if __name__ == "__main__":
    main()
