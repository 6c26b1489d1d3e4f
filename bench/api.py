"""The API server under load: reads, durable writes, long lists, many watchers, memory.

    python bench/api.py [--seconds 5] [--only get_pod_per_s ...]

One `pybernetes apiserver` process pinned to the last CPU, with TLS, a service account's token and RBAC; the clients on
the first. Needs wrk (Debian package). Each figure is one JSON line on standard output; `cpu_us` beside a rate is the
server's CPU time a request, the steadier figure on a shared machine.
- `get_pod_per_s`: GET of one pod of 2 KB, 32 connections. `create_configmap_per_s`: durable creates, 64 connections.
- `list_10k_ms`: 10,000 pods of 2 KB read whole over one connection. `mixed_p99_ms`: single-object calls (half get, the
  rest create, update, patch, delete) that arrive at 200/s at random moments, beside those 10,000 pods.
- `get_pod_protobuf_per_s`, `list_10k_protobuf_ms`: the same for a client that accepts nothing but protobuf.
- `watch_1000x100_p99_ms`: 1,000 watchers of ConfigMaps that change 100 times a second; write sent to change read, by a
  sample of the watchers.
- `crd_usable_ms`: a CustomResourceDefinition of 2,000 fields is sent, to its first object is made: the median of 50;
  `last_ms` is with 49 others there.
- `hold_100k_pods_mb`: proportional set size of a server that has started with 100,000 pods of 2 KB.
"""

import argparse
import asyncio
import contextlib
import json
import os
import random
import re
import shutil
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import uvloop

from machine import machine, pss_mb
from pybernetes.api.errors import ApiError
from pybernetes.api.objects import Key, Obj, decode, encode
from pybernetes.api.resources import (
    CLUSTER_ROLE_BINDINGS,
    CLUSTER_ROLES,
    CUSTOM_RESOURCE_DEFINITIONS,
    PODS,
    SERVICE_ACCOUNTS,
    Resource,
)
from pybernetes.app import connect
from pybernetes.client import Client, kubeconfig
from pybernetes.local.processes import MALLOC
from pybernetes.store.sqlite import SqliteStore

BIN = Path(sys.executable).parent
CPUS = sorted(os.sched_getaffinity(0))
SERVER_CPU, CLIENT_CPU = CPUS[-1], CPUS[0]
POD_BYTES = 2000
PODS_PATH = "/api/v1/namespaces/default/pods"
MAPS_PATH = "/api/v1/namespaces/default/configmaps"
JSON, PROTOBUF = "application/json", "application/vnd.kubernetes.protobuf"


def figure(name: str, value: float, unit: str, *, n: int, **more: float) -> None:
    line = {"bench": "api", "figure": name, "value": round(value, 2), "unit": unit, "n": n}
    print(json.dumps(line | {key: round(one, 2) for key, one in more.items()}), flush=True)


# -- the server ---


class Server:
    """One API server process over a state directory, and how to reach it."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.token = ""
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            self.port = int(sock.getsockname()[1])
        self.kubeconfig = state / "admin.kubeconfig"
        argv = ["apiserver", "--state-directory", str(state), "--listen", f"127.0.0.1:{self.port}"]
        self._log = (state / "log").open("ab")
        self.process = subprocess.Popen(
            ["taskset", "-c", str(SERVER_CPU), str(BIN / "pybernetes"), *argv, "--log-level", "warning"],
            env=os.environ | MALLOC,
            stdout=self._log,
            stderr=self._log,
        )

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def client(self) -> Client:
        return connect.client(self.kubeconfig, user_agent="bench")

    async def ready(self) -> None:
        """The API answers an administrator."""
        async with asyncio.timeout(120):
            while True:
                if self.process.poll() is not None:
                    raise SystemExit(f"the server has ended: {(self.state / 'log').read_text()[-2000:]}")
                with contextlib.suppress(OSError, ApiError, kubeconfig.BadKubeconfig):
                    client = self.client()
                    try:
                        await client.get(SERVICE_ACCOUNTS, Key("kube-system", "default"))
                    except ApiError as error:
                        if error.code == 404:  # no controllers here, so there is none: but the server answers
                            return
                    finally:
                        await client.close()
                await asyncio.sleep(0.05)

    def tls(self) -> ssl.SSLContext:
        authority = kubeconfig.load(self.kubeconfig).ca
        assert authority is not None
        return ssl.create_default_context(cadata=authority.decode())

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(30)
        self._log.close()


@contextmanager
def server(state: Path) -> Iterator[Server]:
    made = Server(state)
    try:
        yield made
    finally:
        made.stop()


async def prepare(made: Server) -> None:
    """An account that may do what the figures need and no more, and its token."""
    await made.ready()
    client = made.client()
    verbs = ["get", "list", "watch", "create", "update", "patch", "delete"]
    rules = [{"apiGroups": [""], "resources": ["pods", "configmaps"], "verbs": verbs}]
    subject = {"kind": "ServiceAccount", "name": "bench", "namespace": "default"}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "bench"}
    try:
        await client.create(SERVICE_ACCOUNTS, named("bench", "v1", "ServiceAccount", namespace="default"))
        rbac = "rbac.authorization.k8s.io/v1"
        await client.create(CLUSTER_ROLES, named("bench", rbac, "ClusterRole") | {"rules": rules})
        binding = named("bench", rbac, "ClusterRoleBinding") | {"subjects": [subject], "roleRef": role}
        await client.create(CLUSTER_ROLE_BINDINGS, binding)
        request = named("bench", "authentication.k8s.io/v1", "TokenRequest", namespace="default")
        spec = {"spec": {"expirationSeconds": 7200}}
        answer = await client.create(SERVICE_ACCOUNTS, request | spec, name="bench", subresource="token")
        made.token = answer["status"]["token"]
    finally:
        await client.close()


def named(name: str, version: str, kind: str, *, namespace: str = "") -> Obj:
    meta = {"name": name} | ({"namespace": namespace} if namespace else {})
    return {"apiVersion": version, "kind": kind, "metadata": meta}


def pod(name: str) -> Obj:
    """Some 2 KB as stored."""
    template = named(name, "v1", "Pod", namespace="default")
    template["metadata"]["labels"] = {"app": "bench"}
    template["metadata"]["annotations"] = {"filler": ""}
    template["spec"] = {"containers": [{"name": "c", "image": "host"}], "serviceAccountName": "bench"}
    return template


async def fill(state: Path, made: Server, count: int) -> None:
    """Put pods into the store of a stopped server: one is made through the API, the others are its copies."""
    client = made.client()
    try:
        template = pod("pod-000000")
        first = await client.create(PODS, template)
        template["metadata"]["annotations"]["filler"] = "x" * max(1, POD_BYTES - len(encode(first)))
        template["metadata"]["name"] = "pod-000001"
        await client.create(PODS, template)
    finally:
        await client.close()
    made.stop()
    store = await SqliteStore.open(f"{state}/state.db")
    running = asyncio.ensure_future(store.run())
    try:
        record, _ = await store.get(PODS.key("default", "pod-000001"))
        assert record is not None
        names = [f"pod-{number:06d}" for number in range(2, count)]
        for low in range(0, len(names), 500):
            copies = ((name, record.value.replace(b"pod-000001", name.encode())) for name in names[low : low + 500])
            await asyncio.gather(*(store.create(PODS.key("default", name), value) for name, value in copies))
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await store.close()


# -- wrk ---

CREATE = """
counter = 0
request = function()
  counter = counter + 1
  local name = string.format("%s-%d-%d", "TAG", id or 0, counter)
  local meta = '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"'
  return wrk.format("POST", nil, nil, meta .. name .. '"},"data":{"k":"v"}}')
end
local threads = 0
setup = function(thread) thread:set("id", threads); threads = threads + 1 end
"""


def wrk(
    made: Server, path: str, *, connections: int, seconds: float, script: str = "", accept: str = JSON
) -> tuple[float, float, int]:
    """(requests a second, CPU microseconds of the server a request, requests)."""
    argv = ["taskset", "-c", str(CLIENT_CPU), "wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s"]
    argv += ["-H", f"Authorization: Bearer {made.token}", "-H", f"Content-Type: {JSON}", "-H", f"Accept: {accept}"]
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
        if script:
            file.write(script)
            file.flush()
            argv += ["-s", file.name]
        before = made.cpu_seconds()
        done = subprocess.run(
            [*argv, made.url + path], capture_output=True, text=True, timeout=seconds + 30, check=True
        )
        used = made.cpu_seconds() - before
    if bad := re.findall(r"Non-2xx or 3xx responses: (\d+)", done.stdout):
        raise SystemExit(f"{bad[0]} requests to {path} failed: {done.stdout}")
    count = int(re.findall(r"(\d+) requests in", done.stdout)[0])
    rate = float(re.findall(r"Requests/sec:\s+([\d.]+)", done.stdout)[0])
    return rate, used / count * 1e6, count


def bench_get(made: Server, seconds: float, *, name: str = "get_pod_per_s", accept: str = JSON) -> None:
    wrk(made, f"{PODS_PATH}/pod-000001", connections=32, seconds=1, accept=accept)
    rate, cpu, count = wrk(made, f"{PODS_PATH}/pod-000001", connections=32, seconds=seconds, accept=accept)
    figure(name, rate, "1/s", n=count, cpu_us=cpu)


def bench_create(made: Server, seconds: float) -> None:
    rates, cpus, total = [], [], 0
    for turn in range(3):
        script = CREATE.replace("TAG", f"made-{turn}")
        rate, cpu, count = wrk(made, MAPS_PATH, connections=64, seconds=seconds, script=script)
        rates.append(rate)
        cpus.append(cpu)
        total += count
    figure("create_configmap_per_s", statistics.median(rates), "1/s", n=total, cpu_us=statistics.median(cpus))


# -- a small client: keep-alive, bodies by length or in chunks ---


class Line:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, token: str) -> None:
        self.reader, self.writer = reader, writer
        self._auth = f"Host: api\r\nAuthorization: Bearer {token}\r\n"

    def send(self, method: str, path: str, body: bytes = b"", *, media: str = JSON, accept: str = JSON) -> None:
        head = f"{method} {path} HTTP/1.1\r\n{self._auth}Accept: {accept}\r\n"
        if body:
            head += f"Content-Type: {media}\r\nContent-Length: {len(body)}\r\n"
        self.writer.write(head.encode() + b"\r\n" + body)

    async def head(self) -> tuple[int, int]:
        """(status, length of the body, -1 for one in chunks)."""
        text = (await self.reader.readuntil(b"\r\n\r\n")).lower()
        length = re.search(rb"content-length: (\d+)", text)
        return int(text[9:12]), int(length[1]) if length else -1

    async def chunk(self) -> bytes:
        size = int((await self.reader.readuntil(b"\r\n"))[:-2], 16)
        return (await self.reader.readexactly(size + 2))[:-2]

    async def call(self, method: str, path: str, body: bytes = b"", *, media: str = JSON, accept: str = JSON) -> bytes:
        """Raises SystemExit when it fails."""
        self.send(method, path, body, media=media, accept=accept)
        status, length = await self.head()
        if length >= 0:
            data = await self.reader.readexactly(length)
        else:
            parts = []
            while part := await self.chunk():
                parts.append(part)
            data = b"".join(parts)
        if status >= 300:
            raise SystemExit(f"{method} {path}: {status} {data[:500]!r}")
        return data


@asynccontextmanager
async def lines(made: Server, count: int) -> AsyncIterator[list[Line]]:
    context = made.tls()
    opened: list[Line] = []
    try:
        for low in range(0, count, 50):
            some = (
                asyncio.open_connection("127.0.0.1", made.port, ssl=context, server_hostname="localhost", limit=1 << 20)
                for _ in range(min(50, count - low))
            )
            opened += [Line(*pair, made.token) for pair in await asyncio.gather(*some)]
        yield opened
    finally:
        for line in opened:
            line.writer.transport.abort()


# -- a long list ---


async def bench_list(made: Server, rounds: int, *, name: str = "list_10k_ms", accept: str = JSON) -> None:
    async with lines(made, 1) as (line,):
        taken = []
        size = 0
        before = made.cpu_seconds()
        for _ in range(rounds):
            began = time.perf_counter()
            size = len(await line.call("GET", PODS_PATH, accept=accept))
            taken.append((time.perf_counter() - began) * 1000)
        cpu = (made.cpu_seconds() - before) / rounds * 1000
    figure(name, statistics.median(taken), "ms", n=rounds, cpu_ms=cpu, mb=size / 1e6)


# -- calls of all kinds ---

MIXED = ("get", "create", "get", "update", "get", "patch", "get", "delete")


async def bench_mixed(made: Server, seconds: float, rate: float) -> None:
    """Open loop: calls arrive at random moments whether or not others have ended."""
    rng = random.Random(1)
    took: list[float] = []
    calls = int(seconds * rate)
    async with lines(made, 32) as pool:
        for number in range(0, calls, 8):
            await pool[0].call("POST", MAPS_PATH, config_map(f"doomed-{number}"))
        await pool[0].call("POST", MAPS_PATH, config_map("shared"))
        free: asyncio.Queue[Line] = asyncio.Queue()
        for line in pool:
            free.put_nowait(line)
        loop = asyncio.get_running_loop()
        at = loop.time()
        async with asyncio.TaskGroup() as group:
            for number in range(calls):
                at += rng.expovariate(rate)
                await asyncio.sleep(max(0.0, at - loop.time()))
                group.create_task(one_call(free, number, f"pod-{rng.randrange(10_000):06d}", took))
    took.sort()
    p50 = took[len(took) // 2]
    figure("mixed_p99_ms", took[int(len(took) * 0.99)], "ms", n=len(took), p50_ms=p50, max_ms=took[-1])


async def one_call(free: asyncio.Queue[Line], number: int, name: str, took: list[float]) -> None:
    """Time from the arrival: waiting for a free connection counts."""
    began = time.perf_counter()
    line = await free.get()
    match MIXED[number % 8]:
        case "create":
            await line.call("POST", MAPS_PATH, config_map(f"mixed-{number}"))
        case "update":
            await line.call("PUT", f"{MAPS_PATH}/shared", config_map("shared", turn=str(number)))
        case "patch":
            patch = encode({"metadata": {"labels": {"turn": str(number)}}})
            await line.call("PATCH", f"{PODS_PATH}/{name}", patch, media="application/merge-patch+json")
        case "delete":
            await line.call("DELETE", f"{MAPS_PATH}/doomed-{number - 7}")
        case _:
            await line.call("GET", f"{PODS_PATH}/{name}")
    took.append((time.perf_counter() - began) * 1000)
    free.put_nowait(line)


def config_map(name: str, **data: str) -> bytes:
    return encode(named(name, "v1", "ConfigMap", namespace="default") | {"data": data or {"k": "v"}})


# -- many watchers ---

SENT = re.compile(rb'"sent":"(\d+)"')
WATCHED = 10


class Watcher(asyncio.Protocol):
    """Reads a watch; of some, each change's age is kept."""

    def __init__(self, head: bytes, ages: list[float] | None) -> None:
        self.head = head
        self.ages = ages
        self.changes = 0
        self.lost = False

    def connection_made(self, transport: Any) -> None:
        transport.write(self.head)

    def data_received(self, data: bytes) -> None:
        if self.ages is None:
            self.changes += data.count(b'"sent":"')
            return
        now = time.perf_counter_ns()
        for sent in SENT.findall(data):  # a stamp split over two reads is left out
            self.changes += 1
            self.ages.append((now - int(sent)) / 1e6)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True


async def bench_watch(made: Server, watchers: int, rate: float, seconds: float) -> None:
    loop = asyncio.get_running_loop()
    context = made.tls()
    ages: list[float] = []
    async with lines(made, 8) as pool:
        for number in range(WATCHED):
            await pool[0].call("POST", MAPS_PATH, config_map(f"watched-{number}"))
        listed = decode(await pool[0].call("GET", f"{MAPS_PATH}?limit=1"))
        path = f"{MAPS_PATH}?watch=1&resourceVersion={listed['metadata']['resourceVersion']}"
        head = f"GET {path} HTTP/1.1\r\nHost: api\r\nAuthorization: Bearer {made.token}\r\n\r\n".encode()
        opened: list[tuple[asyncio.Transport, Watcher]] = []

        async def open_one(number: int) -> None:
            reader = Watcher(head, ages if number % (watchers // 20 or 1) == 0 else None)
            opened.append(
                await loop.create_connection(
                    lambda: reader, "127.0.0.1", made.port, ssl=context, server_hostname="localhost"
                )
            )

        try:
            for low in range(0, watchers, 50):
                await asyncio.gather(*(open_one(number) for number in range(low, min(low + 50, watchers))))
            await asyncio.sleep(1)
            before = made.cpu_seconds()
            sent = await write_changes(pool, rate, seconds)
            async with asyncio.timeout(30):
                while min(reader.changes for _, reader in opened) < sent * 0.98 and not opened[0][1].lost:
                    await asyncio.sleep(0.05)
            cpu = made.cpu_seconds() - before
            lost = sum(reader.lost for _, reader in opened)
        finally:
            for transport, _ in opened:
                transport.abort()
    ages.sort()
    p99, p50 = ages[int(len(ages) * 0.99)], ages[len(ages) // 2]
    per_event = cpu / (sent * watchers) * 1e6
    figure(
        f"watch_{watchers}x{rate:g}_p99_ms", p99, "ms", n=len(ages), p50_ms=p50, cpu_us_per_event=per_event, lost=lost
    )


async def write_changes(pool: list[Line], rate: float, seconds: float) -> int:
    """Changes at an even rate, each with the moment it was sent. Returns how many."""
    loop = asyncio.get_running_loop()
    began, count = loop.time(), int(rate * seconds)

    async def writer(line: Line, first: int) -> None:
        for number in range(first, count, len(pool)):
            await asyncio.sleep(max(0.0, began + number / rate - loop.time()))
            patch = encode({"data": {"sent": str(time.perf_counter_ns())}})
            path = f"{MAPS_PATH}/watched-{number % WATCHED}"
            await line.call("PATCH", path, patch, media="application/merge-patch+json")

    await asyncio.gather(*(writer(line, first) for first, line in enumerate(pool)))
    return count


# -- definitions ---


def definition(number: int) -> Obj:
    """A CustomResourceDefinition of some 150 KB, as a generator makes them of Go structs."""
    text = {"type": "string", "description": "What a generator copies here from the comment of the field."}
    part = {"type": "object", "description": "A part.", "properties": {f"field{one}": text for one in range(40)}}
    parts = {"type": "object", "properties": {f"part{one}": part for one in range(50)}}
    schema = {"type": "object", "properties": {"spec": parts}}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    names = {"plural": f"things{number}", "kind": f"Thing{number}"}
    spec = {"group": "bench.example.com", "scope": "Namespaced", "names": names, "versions": [version]}
    kind = named(f"things{number}.bench.example.com", "apiextensions.k8s.io/v1", "CustomResourceDefinition")
    return kind | {"spec": spec}


async def bench_definitions(made: Server, rounds: int) -> None:
    client = made.client()
    taken = []
    before = made.cpu_seconds()
    try:
        for number in range(rounds):
            began = time.perf_counter()
            await client.create(CUSTOM_RESOURCE_DEFINITIONS, definition(number))
            await first_object(client, number)
            taken.append((time.perf_counter() - began) * 1000)
        cpu = (made.cpu_seconds() - before) / rounds * 1000
        for number in range(rounds):
            await client.delete(CUSTOM_RESOURCE_DEFINITIONS, Key("", f"things{number}.bench.example.com"))
    finally:
        await client.close()
    p99 = sorted(taken)[int(len(taken) * 0.99)]
    figure("crd_usable_ms", statistics.median(taken), "ms", n=rounds, p99_ms=p99, last_ms=taken[-1], cpu_ms=cpu)


async def first_object(client: Client, number: int) -> None:
    plural, kind = f"things{number}", f"Thing{number}"
    row = Resource(group="bench.example.com", plural=plural, kind=kind, custom=True)
    obj = named("one", "bench.example.com/v1", kind, namespace="default") | {"spec": {"part1": {"field1": "x"}}}
    async with asyncio.timeout(30):
        while True:
            try:
                await client.create(row, obj)
                return
            except ApiError as error:
                if error.code != 404:
                    raise
                await asyncio.sleep(0.001)


# -- all of it ---


@contextmanager
def prepared(pods: int) -> Iterator[Server]:
    """A server that has started with so many pods."""
    with tempfile.TemporaryDirectory(prefix="pybench-") as directory:
        state = Path(directory)
        with server(state) as first:
            uvloop.run(prepare(first))
            uvloop.run(fill(state, first, pods))
        with server(state) as made:
            made.token = first.token
            uvloop.run(made.ready())
            yield made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each rate")
    parser.add_argument("--watchers", type=int, default=1000)
    parser.add_argument("--changes", type=float, default=100.0, help="a second, to each watcher")
    parser.add_argument("--pods", type=int, default=100_000, help="of hold_100k_pods_mb")
    parser.add_argument("--only", nargs="*", default=[], help="figures, all without it")
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        sys.exit("bench/api.py needs wrk: apt-get install wrk")
    os.sched_setaffinity(0, {CLIENT_CPU})
    print(f"machine: {machine()}", file=sys.stderr)
    rates: dict[str, Callable[[Server], None]] = {
        "get_pod_per_s": lambda made: bench_get(made, options.seconds),
        "get_pod_protobuf_per_s": lambda made: bench_get(
            made, options.seconds, name="get_pod_protobuf_per_s", accept=PROTOBUF
        ),
        "list_10k_ms": lambda made: uvloop.run(bench_list(made, 15)),
        "list_10k_protobuf_ms": lambda made: uvloop.run(
            bench_list(made, 7, name="list_10k_protobuf_ms", accept=PROTOBUF)
        ),
        "mixed_p99_ms": lambda made: uvloop.run(bench_mixed(made, max(10.0, options.seconds), 200.0)),
        "create_configmap_per_s": lambda made: bench_create(made, options.seconds),
        "crd_usable_ms": lambda made: uvloop.run(bench_definitions(made, 50)),
        "watch_1000x100_p99_ms": lambda made: uvloop.run(
            bench_watch(made, options.watchers, options.changes, max(10.0, options.seconds))
        ),
    }
    chosen = [run for name, run in rates.items() if not options.only or name in options.only]
    if chosen:
        with prepared(10_000) as made:
            for run in chosen:
                run(made)
    if not options.only or "hold_100k_pods_mb" in options.only:
        with prepared(options.pods) as made:
            time.sleep(5)
            figure("hold_100k_pods_mb", pss_mb(made.process.pid), "MB", n=options.pods)


if __name__ == "__main__":
    main()
