"""Probes against real sockets of this process, and exec against the fake runtime."""

import asyncio
import contextlib
from contextlib import asynccontextmanager

import pytest

from pybernetes.kubelet.probes import Outcome, Prober, Target, port_number
from pybernetes.kubelet.runtime import ContainerSpec, FakeRuntime
from support.kubelet import container, pod
from support.ports import free_port


@asynccontextmanager
async def listening(serve):
    """A port on which `serve(reader, writer)` answers; all its connections are closed at the end."""
    tasks = set()

    async def one(reader, writer):
        tasks.add(asyncio.current_task())
        try:
            await serve(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    listener = await asyncio.start_server(one, "127.0.0.1", 0)
    async with listener:
        yield listener.sockets[0].getsockname()[1]
        if tasks:
            await asyncio.wait(tasks, timeout=60)


@asynccontextmanager
async def server(answer: bytes = b"HTTP/1.1 200 OK\r\n\r\n", requests=None):
    async def serve(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        if requests is not None:
            requests.append(head.decode())
        writer.write(answer)
        await writer.drain()

    async with listening(serve) as port:
        yield port


def target(port=0):
    return Target("c", container(ports=[{"name": "http", "containerPort": port}]), "127.0.0.1")


async def check(probe, where):
    return await Prober(FakeRuntime()).check(probe, where)


@pytest.mark.parametrize(
    ("line", "ok"), [(b"200 OK", True), (b"302 Found", True), (b"404 No", False), (b"500 E", False)]
)
async def test_http_status_codes(line, ok):
    async with server(b"HTTP/1.1 " + line + b"\r\n\r\n") as port:
        outcome = await check({"httpGet": {"port": "http", "path": "healthz"}}, target(port))
    assert outcome.ok is ok
    if not ok:
        assert outcome.message == f"HTTP probe failed with statuscode: {line[:3].decode()}"


async def test_http_request_headers():
    requests = []
    async with server(requests=requests) as port:
        headers = [{"name": "Host", "value": "example.com"}, {"name": "X-A", "value": "1"}]
        await check({"httpGet": {"port": port, "path": "/x", "httpHeaders": headers}}, target())
    assert requests[0].startswith("GET /x HTTP/1.1\r\n")
    assert "Host: example.com\r\n" in requests[0]
    assert "X-A: 1\r\n" in requests[0]
    assert "User-Agent: kube-probe/" in requests[0]


async def test_nothing_listens():
    port = free_port()
    outcome = await check({"httpGet": {"port": port}}, target())
    assert "connection refused" in outcome.message
    assert "connection refused" in (await check({"tcpSocket": {"port": port}}, target())).message


async def test_tcp():
    async with server() as port:
        assert (await check({"tcpSocket": {"port": port}}, target())).ok


async def test_a_port_name_that_is_not_there():
    assert await check({"tcpSocket": {"port": "nope"}}, target()) == Outcome(False, "couldn't find port 'nope'")
    assert port_number(container(), "80") == 80


async def test_timeout():
    async def silent(reader, writer):
        while await reader.read(1000):
            pass

    async with listening(silent) as port:
        outcome = await check({"httpGet": {"port": port}, "timeoutSeconds": 0.05}, target())
    assert outcome == Outcome(False, f'Get "http://127.0.0.1:{port}/": context deadline exceeded')


async def running(runtime):
    sandbox = await runtime.sandbox(pod(), netns="")
    identifier = await runtime.create(sandbox, ContainerSpec(name="web", argv=("serve",)), image="host")
    await runtime.start(identifier)
    return Target(identifier, container(), "127.0.0.1")


async def test_exec_says_the_output_of_a_failure():
    runtime = FakeRuntime()

    async def program(argv, io):
        await io.stdout(b"not yet")
        return 1

    runtime.programs["ask"] = program
    where = await running(runtime)
    assert await Prober(runtime).check({"exec": {"command": ["ask"]}}, where) == Outcome(False, "not yet")
    assert (await Prober(runtime).check({"exec": {"command": ["fine"]}}, where)).ok


async def test_thresholds():
    runtime, outcomes, reports, failures = FakeRuntime(), [], [], []

    async def program(argv, io):
        if not outcomes:
            await asyncio.Event().wait()
        return 0 if outcomes.pop(0) else 1

    runtime.programs["ask"] = program
    where = await running(runtime)
    outcomes += [True, False, True, False, False, True, True]
    probe = {"exec": {"command": ["ask"]}, "periodSeconds": 0.001, "failureThreshold": 2, "successThreshold": 2}
    run = Prober(runtime).run(
        "Readiness", probe, where, report=lambda ok, message: reports.append(ok), failed=failures.append
    )
    task = asyncio.create_task(run)
    async with asyncio.timeout(60):
        while outcomes or len(reports) < 2:
            await asyncio.sleep(0.001)
    task.cancel()
    assert reports == [False, True]
    assert len(failures) == 3


async def test_a_server_that_comes_up_is_found_before_the_first_period_is_over():
    runtime, tries, reports, failures = FakeRuntime(), [], [], []

    async def program(argv, io):
        tries.append(1)
        return 0 if len(tries) > 2 else 1

    runtime.programs["ask"] = program
    where = await running(runtime)
    probe = {"exec": {"command": ["ask"]}, "periodSeconds": 10}
    run = Prober(runtime).run(
        "Readiness", probe, where, report=lambda ok, message: reports.append(ok), failed=failures.append
    )
    task = asyncio.create_task(run)
    async with asyncio.timeout(60):
        while not reports:
            await asyncio.sleep(0.005)
    task.cancel()
    assert (reports, failures) == ([True], [])
