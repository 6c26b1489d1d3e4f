"""EventRateLimit: its buckets by themselves, and the answer of a whole server."""

from collections.abc import AsyncIterator

import pytest

from pybernetes.api.objects import Obj
from pybernetes.apiserver import ApiServer, ApiServerConfig
from pybernetes.apiserver.admission.events import Buckets, Rate
from support.server import api_server

from .conftest import call_of


def event(name: str, namespace: str = "default") -> Obj:
    about = {"kind": "Pod", "namespace": namespace, "name": "p"}
    return {"metadata": {"name": name, "namespace": namespace}, "involvedObject": about, "reason": "Tested"}


def test_a_bucket_fills_at_its_rate_up_to_its_burst() -> None:
    buckets = Buckets(Rate(2.0, 3))
    assert [buckets.take("a", now=10.0) for _ in range(4)] == [0, 0, 0, 0.5]
    assert buckets.take("b", now=10.0) == 0
    assert [buckets.take("a", now=10.5) for _ in range(2)] == [0, 0.5]
    assert [buckets.take("a", now=1000.0) for _ in range(4)] == [0, 0, 0, 0.5]


def test_the_number_of_buckets_is_bounded_and_the_one_in_use_stays() -> None:
    buckets = Buckets(Rate(0.001, 1))
    assert buckets.take("busy", now=0.0) == 0
    for number in range(10_000):
        buckets.take(f"user-{number}", now=0.0)
        assert buckets.take("busy", now=0.0) > 0
    assert buckets.take("user-9999", now=0.0) > 0
    assert buckets.take("user-0", now=0.0) == 0


@pytest.fixture
async def server() -> AsyncIterator[ApiServer]:
    config = ApiServerConfig(events_of_namespace=Rate(0.1, 4), events_of_user=Rate(0.1, 2))
    async with api_server(config=config) as running:
        yield running


async def test_a_user_and_a_namespace_have_each_their_limit(server: ApiServer) -> None:
    one, two, three = (call_of(server, name) for name in ("one", "two", "three"))
    path = "/api/v1/namespaces/default/events"
    assert [(await one("POST", path, event(f"a{number}")))[0] for number in range(3)] == [201, 201, 429]
    assert (await one("POST", f"{path}?dryRun=All", event("dry")))[0] == 201
    code, status = await one("PATCH", f"{path}/a0", {"count": 2}, "application/merge-patch+json")
    assert (code, status["reason"], status["code"]) == (429, "TooManyRequests", 429)
    assert status["message"] == "Too many requests: limit reached on type User for key one"
    assert int(one.headers["retry-after"]) == status["details"]["retryAfterSeconds"] >= 1  # type: ignore[attr-defined]
    code, status = await two("POST", path, event("b"))
    assert (code, status["message"]) == (429, "Too many requests: limit reached on type Namespace for key default")
    code, _ = await three("POST", "/api/v1/namespaces/kube-system/events", event("c", "kube-system"))
    assert code == 201
    assert (await one("DELETE", f"{path}/a0"))[0] == 200
    assert (await one("POST", "/api/v1/namespaces/default/configmaps", {"metadata": {"name": "c"}}))[0] == 201


async def test_both_groups_of_events_are_one(server: ApiServer) -> None:
    call = call_of(server, "one")
    new = {
        "metadata": {"name": "n", "namespace": "default"},
        "eventTime": "2026-01-01T00:00:00.000000Z",
        "reportingController": "example.com/tests",
        "reportingInstance": "t",
        "action": "Testing",
        "reason": "Tested",
        "type": "Normal",
        "regarding": {"kind": "Pod", "namespace": "default", "name": "p"},
    }
    codes = [(await call("POST", "/api/v1/namespaces/default/events", event("a")))[0]]
    for name in ("b", "c"):
        new["metadata"] = {"name": name, "namespace": "default"}
        codes.append((await call("POST", "/apis/events.k8s.io/v1/namespaces/default/events", new))[0])
    assert codes == [201, 201, 429]
