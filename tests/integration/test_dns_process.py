"""`pybernetes dns` as processes: several at one address, and one after the other without a question lost."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dns.exception
import dns.message
import dns.query
import pytest

from support.dns_cluster import Z
from support.local import BIN
from support.ports import free_port

TESTS = Path(__file__).resolve().parent.parent
QUESTION = dns.message.make_query(f"web.default.svc.{Z}", "A")
API = """
import asyncio, sys
from pybernetes.wire.serve import Server
from support.dns_cluster import fill
from support.fake_api import FakeApi
async def main():
    server = Server(fill(FakeApi()).send, listen=[("127.0.0.1", 0)])
    await server.start()
    print(server.addresses[0][1], flush=True)
    await server.run()
asyncio.run(main())
"""
KUBECONFIG = """
apiVersion: v1
kind: Config
current-context: c
contexts: [{{name: c, context: {{cluster: c, user: u}}}}]
clusters: [{{name: c, cluster: {{server: "http://127.0.0.1:{port}"}}}}]
users: [{{name: u, user: {{token: t}}}}]
"""


def until(holds: Callable[[], Any], *, seconds: float = 60, what: str = "") -> Any:
    deadline = time.monotonic() + seconds
    while not (value := holds()):
        assert time.monotonic() < deadline, what or holds
        time.sleep(0.02)
    return value


class Instances:
    """Processes of the cluster DNS at one port, over one fake API server."""

    def __init__(self, directory: Path, api_port: int) -> None:
        self.kubeconfig = directory / "kubeconfig"
        self.kubeconfig.write_text(KUBECONFIG.format(port=api_port))
        self.log = directory / "log"
        self.port, self.page = free_port(), free_port()
        self.running: list[subprocess.Popen[bytes]] = []

    def start(self, *more: str) -> subprocess.Popen[bytes]:
        page = f"127.0.0.1:{self.page}"
        argv = [str(BIN / "pybernetes"), "dns", "--kubeconfig", str(self.kubeconfig), "--port", str(self.port)]
        argv += ["--health", page, "--ready", page, "--metrics", page, *more]
        with self.log.open("ab") as log:
            process = subprocess.Popen(argv, stdout=log, stderr=log, env=dict(os.environ))
        self.running.append(process)
        return process

    def stop(self, process: subprocess.Popen[bytes]) -> int:
        process.send_signal(signal.SIGTERM)
        status = process.wait(60)
        self.running.remove(process)
        return status

    def serving(self) -> int:
        """How many processes have synced since the start."""
        return len(re.findall(r"synced services", self.log.read_text()))

    def get(self, path: str) -> str:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.page}{path}", timeout=30) as reply:
                return str(reply.read().decode())
        except OSError:
            return ""

    def asked(self) -> int:
        """Of all processes together."""
        return int(sum(map(float, re.findall(r"^coredns_dns_requests_total\{.*\} (\S+)$", self.get("/metrics"), re.M))))

    def ask(self, times: int = 1) -> None:
        for _ in range(times):
            assert dns.query.udp(QUESTION, "127.0.0.1", port=self.port, timeout=30).answer


@pytest.fixture(scope="module")
def api() -> Iterator[int]:
    with subprocess.Popen([sys.executable, "-c", API], cwd=TESTS, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            yield int(process.stdout.readline())
        finally:
            process.terminate()


@pytest.fixture
def instances(api: int, tmp_path: Path) -> Iterator[Instances]:
    found = Instances(tmp_path, api)
    try:
        yield found
    finally:
        for process in found.running:
            process.kill()
            process.wait()


def children(pid: int) -> list[int]:
    return [int(text) for text in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_workers_answer_at_one_address_and_are_counted_as_one(instances: Instances) -> None:
    process = instances.start("--workers", "3", "--lameduck-seconds", "0")
    until(lambda: instances.serving() == 3, what="all three are synced")
    workers = children(process.pid)
    assert len(workers) == 2
    instances.ask(60)
    assert instances.asked() == 60
    assert instances.get("/ready") == "OK"
    os.kill(workers[0], signal.SIGKILL)
    until(lambda: instances.serving() == 4, what="another one has taken its place")
    instances.ask(60)
    assert instances.stop(process) == 0
    for pid in workers:
        assert not Path(f"/proc/{pid}").exists()


def test_workers_end_with_the_process_that_started_them(instances: Instances) -> None:
    process = instances.start("--workers", "2", "--lameduck-seconds", "0")
    until(lambda: instances.serving() == 2)
    workers = children(process.pid)
    process.kill()
    process.wait()
    instances.running.remove(process)
    until(lambda: not [pid for pid in workers if Path(f"/proc/{pid}").exists()], what="nobody is left")


class Client(threading.Thread):
    """Asks all the time from new sockets, each question once."""

    def __init__(self, port: int, *, tcp: bool) -> None:
        super().__init__()
        self.port = port
        self.ask = dns.query.tcp if tcp else dns.query.udp
        self.asked = 0
        self.lost: list[str] = []
        self.done = False

    def run(self) -> None:
        while not self.done:
            self.asked += 1
            try:
                reply = self.ask(QUESTION, "127.0.0.1", port=self.port, timeout=30)
            except (OSError, EOFError, dns.exception.DNSException) as error:
                self.lost.append(repr(error))
            else:
                self.lost += [] if reply.answer else [str(reply)]


def test_no_question_is_lost_when_one_process_follows_another(instances: Instances) -> None:
    """The next is started first; then the one before is told to end, and has its lame-duck time."""
    process = instances.start("--lameduck-seconds", "0.2")
    until(lambda: instances.serving() == 1)
    clients = [Client(instances.port, tcp=number % 3 == 0) for number in range(6)]
    for client in clients:
        client.start()
    try:
        for number in range(2, 6):
            following = instances.start("--lameduck-seconds", "0.2")
            until(lambda number=number: instances.serving() == number)
            assert instances.stop(process) == 0
            process = following
            seen = [client.asked for client in clients]
            until(lambda seen=seen: all(one.asked > before + 5 for one, before in zip(clients, seen, strict=True)))
    finally:
        for client in clients:
            client.done = True
        for client in clients:
            client.join(60)
    assert sum(client.asked for client in clients) > 200
    assert [lost for client in clients for lost in client.lost] == []


def test_it_says_that_it_goes_before_it_does(instances: Instances) -> None:
    process = instances.start("--lameduck-seconds", "5")
    until(lambda: instances.get("/ready") == "OK")
    process.send_signal(signal.SIGTERM)
    until(lambda: instances.get("/ready") == "", what="not ready any more")
    assert instances.get("/health") == "OK"
    instances.ask()
    assert process.wait(60) == 0
    instances.running.remove(process)
