"""Fair shares: by the queues alone, through the gate, and on a real server."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from pybernetes.api.errors import TooManyRequests
from pybernetes.api.resources import LEASES, NODES, PODS
from pybernetes.apiserver.fairness import Gate, gate, queues
from pybernetes.apiserver.fairness.levels import DEFAULT, LEVELS, Classifier, LevelSpec
from pybernetes.apiserver.fairness.queues import Queues
from pybernetes.apiserver.route import Route
from pybernetes.apiserver.users import User
from pybernetes.wire import Handler, Request, Response
from support.server import api_server

ONE = LevelSpec("one", 10, 0)
KUBE_SYSTEM = ("system:serviceaccounts", "system:serviceaccounts:kube-system")


def order(found: Queues, count: int) -> list[str]:
    flows = []
    for _ in range(count):
        ticket = found.next()
        assert ticket is not None
        flows.append(ticket.flow)
        found.done(found.levels[ticket.level])
    return flows


def test_flows_take_turns_whatever_their_number_of_requests() -> None:
    found = Queues([ONE], seats=10)
    level = found.levels["one"]
    for flow, count in (("noisy", 50), ("quiet", 2)):
        for _ in range(count):
            assert found.offer(level, flow)
    assert order(found, 5) == ["noisy", "quiet", "noisy", "quiet", "noisy"]


def test_one_that_comes_later_has_saved_nothing_up_and_missed_nothing() -> None:
    found = Queues([ONE], seats=10)
    level = found.levels["one"]
    for _ in range(20):
        found.offer(level, "noisy")
    order(found, 10)
    for _ in range(5):
        found.offer(level, "late")
    assert order(found, 6).count("late") == 3


def test_a_dear_request_is_paid_for() -> None:
    found = Queues([ONE], seats=10)
    level = found.levels["one"]
    found.charge(level, "lister", 5)
    for flow in ("lister", "quiet"):
        for _ in range(6):
            found.offer(level, flow)
    assert order(found, 6) == ["quiet"] * 5 + ["lister"]


def test_levels_share_by_their_weight() -> None:
    found = Queues([LevelSpec("a", 30, 0), LevelSpec("b", 10, 0)], seats=10)
    for name in "ab":
        for number in range(40):
            found.offer(found.levels[name], f"{name}{number}")
    served = [flow[0] for flow in order(found, 20)]
    assert 14 <= served.count("a") <= 16


def test_a_level_leaves_others_the_seats_they_do_not_lend() -> None:
    found = Queues([LevelSpec("a", 10, 50), LevelSpec("b", 10, 100)], seats=10)
    a, b = found.levels["a"], found.levels["b"]
    while found.room(b):
        found.start(b)
    assert (b.running, found.room(a)) == (8, True)
    while found.room(a):
        found.start(a)
    assert (a.running, found.running) == (2, 10)


def test_a_level_that_was_dear_while_nobody_waited_is_not_starved() -> None:
    found = Queues([LevelSpec("a", 10, 0), LevelSpec("b", 10, 0)], seats=10)
    found.charge(found.levels["a"], "lister", 100_000)
    for name in "ab":
        for _ in range(30):
            found.offer(found.levels[name], f"quiet-{name}")
    assert "quiet-a" in order(found, 15)


def test_what_leaves_is_not_served_and_queues_have_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queues, "FLOW_LENGTH", 3)
    found = Queues([ONE], seats=10)
    level = found.levels["one"]
    tickets = [found.offer(level, "x") for _ in range(4)]
    assert tickets[3] is None
    assert found.offer(level, "y") is not None
    assert tickets[0] is not None
    found.leave(tickets[0])
    found.leave(tickets[0])
    assert found.waiting == 3
    order(found, 3)
    assert (found.next(), found.waiting, found.running) == (None, 0, 0)
    found.forget()
    assert level.flows == {}


@pytest.mark.parametrize(
    ("name", "groups", "route", "schema"),
    [
        ("root", ("system:masters",), Route("list", "", PODS), "exempt"),
        ("x", (), Route("get", "/readyz/ping"), "probes"),
        ("x", (), Route("get", "/version"), "global-default"),
        ("system:node:n", ("system:nodes",), Route("list", "", PODS), "system-nodes"),
        ("system:node:n", ("system:nodes",), Route("update", "", LEASES), "system-node-high"),
        ("system:node:n", ("system:nodes",), Route("patch", "", NODES), "system-node-high"),
        ("system:kube-scheduler", (), Route("update", "", LEASES), "system-leader-election"),
        ("system:kube-scheduler", (), Route("list", "", LEASES), "kube-scheduler"),
        ("a", KUBE_SYSTEM, Route("get", "", PODS), "kube-system-service-accounts"),
        ("a", ("system:serviceaccounts",), Route("get", "", PODS), "service-accounts"),
        ("a", ("system:serviceaccounts",), Route("get", "", LEASES), "workload-leader-election"),
    ],
)  # fmt: skip
def test_who_has_which_schema(name: str, groups: tuple[str, ...], route: Route, schema: str) -> None:
    assert Classifier().of(User(name, groups), route).name == schema


def asked(user: str, *groups: str, verb: str = "list", subresource: str = "", **context: object) -> Request:
    route = Route(verb, "/api/v1/pods", PODS, subresource=subresource)
    return Request(path=route.path, context={"user": User(user, groups), "route": route, **context})


class Blocked:
    """A handler whose requests end when told to."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.running = 0

    async def __call__(self, request: Request) -> Response:
        self.running += 1
        await self.go.wait()
        return Response(body=b"x")


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_a_quiet_user_is_served_before_the_rest_of_a_noisy_ones_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "TURN_SECONDS", 0.0)
    served: list[str] = []

    async def handler(request: Request) -> Response:
        served.append(request.context["user"].name)
        return Response()

    fair = Gate().filter(handler)
    noisy = [asyncio.create_task(fair(asked("noisy"))) for _ in range(100)]
    quiet = asyncio.create_task(fair(asked("quiet")))
    await asyncio.gather(*noisy, quiet)
    assert served.index("quiet") <= 3
    assert len(served) == 101


async def test_seats_are_bounded_and_too_long_a_wait_is_refused() -> None:
    handler = Blocked()
    found = Gate(seats=20, wait_seconds=0.05)
    fair = found.filter(handler)
    tasks = [asyncio.create_task(fair(asked(f"user{number}"))) for number in range(40)]
    await settle()
    began = handler.running
    assert 0 < began < 20  # the others' reserved seats stay free
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    error = next(iter(done)).exception()
    assert isinstance(error, TooManyRequests)
    assert error.status["details"]["retryAfterSeconds"] == 1
    refused = [task for task in tasks if task.done()]
    handler.go.set()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert (found.queues.running, found.queues.waiting) == (0, 0)
    assert found.counts["global-default"].rejected["time-out"] >= len(refused)
    assert found.counts["global-default"].executing == 0


async def test_some_never_wait() -> None:
    handler = Blocked()
    fair = Gate(seats=1).filter(handler)
    requests = [
        *(asked("root", "system:masters") for _ in range(5)),
        *(asked("part", inside=True) for _ in range(5)),
        *(asked("user", verb="get", subresource="log") for _ in range(5)),
    ]
    tasks = [asyncio.create_task(fair(request)) for request in requests]
    await settle()
    assert handler.running == 15
    handler.go.set()
    await asyncio.gather(*tasks)


async def test_a_cancelled_request_gives_its_place_back() -> None:
    handler = Blocked()
    found = Gate(seats=1)
    fair = found.filter(handler)
    tasks = [asyncio.create_task(fair(asked("user"))) for _ in range(5)]
    await settle()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await settle()
    assert (found.queues.running, found.queues.waiting, found.counts["global-default"].queued) == (0, 0, 0)


async def test_a_streamed_list_holds_its_seat_to_the_end_and_a_watch_does_not() -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"a" * 100_000
        yield b"b"

    async def handler(request: Request) -> Response:
        return Response(body=chunks())

    found = Gate()
    fair: Handler = found.filter(handler)
    response = await fair(asked("user"))
    assert found.queues.running == 1
    assert not isinstance(response.body, bytes)
    assert len(b"".join([chunk async for chunk in response.body])) == 100_001
    assert found.queues.running == 0
    await fair(asked("user", verb="watch"))
    assert found.queues.running == 0


def test_the_levels_are_kubernetes_own() -> None:
    found = Queues(LEVELS, seats=600)
    assert sum(level.nominal for level in found.levels.values()) >= 600
    assert DEFAULT.name in found.levels


async def test_the_metrics_have_kubernetes_names() -> None:
    async with api_server() as server:
        response = await server.handler(Request(path="/version"))
        assert response.status == 401
        text = server.metrics.text().decode()
    labels = 'flow_schema="global-default",priority_level="global-default"'
    assert f"apiserver_flowcontrol_dispatched_requests_total{{{labels}}} 1.0" in text
    assert f'apiserver_flowcontrol_request_wait_duration_seconds_count{{execute="true",{labels}}} 1.0' in text
    assert 'apiserver_flowcontrol_nominal_limit_seats{priority_level="workload-low"}' in text
