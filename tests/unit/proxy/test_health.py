"""What load balancers ask: health check ports of Services, and /healthz of the node."""

import asyncio
import json
import socket
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from pybernetes.api.objects import Key, Obj
from pybernetes.proxy.health import TO_BE_DELETED, HealthChecks, healthz, is_eligible, service_answer
from pybernetes.proxy.model import HealthCheck
from pybernetes.proxy.tracker import health_check, slim_node, slim_service, slim_slice
from support.ports import free_port
from support.proxy_cases import FOUR, PODS, endpoints, port, service

WEB = Key("default", "web")
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def counted(*slices: Obj, check_port: int = 32000) -> HealthCheck | None:
    made = service(FOUR, "web", 20, port(80, name="http"), healthCheckNodePort=check_port)
    return health_check(slim_service(made), [slim_slice(each) for each in slices], node="node-1")


def test_endpoints_here_that_are_ready_count() -> None:
    assert counted() == HealthCheck(32000, 0)
    assert counted(endpoints(FOUR, "web", PODS, ("http", 8080), ("alt", 8081))) == HealthCheck(32000, 2)
    ending = endpoints(FOUR, "web", PODS, ("http", 8080), ready=False, serving=True, terminating=True)
    assert counted(ending) == HealthCheck(32000, 0)
    resting = endpoints(FOUR, "web", PODS, ("http", 8080))
    resting["metadata"]["annotations"] = {"pybernetes.io/weight": "0"}
    assert counted(resting) == HealthCheck(32000, 0)
    assert counted(check_port=0) is None


@pytest.mark.parametrize(("local", "healthy", "status"), [(2, True, 200), (0, True, 503), (2, False, 503)])
def test_the_answer_of_a_service(local: int, healthy: bool, status: int) -> None:
    found = service_answer(WEB, HealthCheck(32000, local), healthy=healthy)
    assert found.status == status
    assert found.headers["x-load-balancing-endpoint-weight"] == str(local)
    assert isinstance(found.body, bytes)
    assert json.loads(found.body) == {
        "service": {"namespace": "default", "name": "web"},
        "localEndpoints": local,
        "serviceProxyHealthy": healthy,
    }


@pytest.mark.parametrize(("healthy", "eligible", "status"), [(True, True, 200), (False, True, 503), (True, False, 503)])
def test_healthz(healthy: bool, eligible: bool, status: int) -> None:
    found = healthz(healthy=healthy, eligible=eligible, updated=None, now=NOW)
    assert found.status == status
    assert isinstance(found.body, bytes)
    told = json.loads(found.body)
    assert told["nodeEligible"] == eligible
    assert told["currentTime"] == "2026-01-02 03:04:05.000000 +0000 UTC"
    assert told["lastUpdated"] == (told["currentTime"] if status == 200 else "0001-01-01 00:00:00 +0000 UTC")


def test_a_node_that_goes_is_not_eligible() -> None:
    assert is_eligible(None)
    assert is_eligible(slim_node({"metadata": {"name": "n"}, "spec": {"taints": [{"key": "other"}]}}))
    assert not is_eligible(slim_node({"metadata": {"name": "n"}, "spec": {"taints": [{"key": TO_BE_DELETED}]}}))
    assert not is_eligible(slim_node({"metadata": {"name": "n", "deletionTimestamp": "2026-01-01T00:00:00Z"}}))


async def ask(number: int) -> tuple[int, Obj]:
    reader, writer = await asyncio.open_connection("127.0.0.1", number)
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    await writer.wait_closed()
    return int(head.split()[1]), json.loads(body)


async def until(check: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not check():
            await asyncio.sleep(0.01)


def answers(number: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", number)) == 0


@pytest.mark.looptime(False)
async def test_ports_are_opened_followed_and_closed() -> None:
    number = free_port()
    checks = HealthChecks(lambda: ("127.0.0.1",), lambda: True)
    task = asyncio.create_task(checks.run())
    try:
        checks.want({WEB: HealthCheck(number, 0)})
        await until(lambda: answers(number))
        assert (await ask(number))[0] == 503
        checks.want({WEB: HealthCheck(number, 3)})
        status, told = await ask(number)
        assert (status, told["localEndpoints"]) == (200, 3)
        checks.want({})
        await until(lambda: not answers(number))
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
