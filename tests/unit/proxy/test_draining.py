"""What becomes of TCP connections to endpoints that went, by the Service's annotation."""

import asyncio

import pytest

from pybernetes.api.objects import Obj
from pybernetes.client import Delta, IndexedCache
from pybernetes.netlink.conntrack import TCP, Match
from pybernetes.netlink.nft import IP
from pybernetes.proxy.layout import Layout, Ranges
from pybernetes.proxy.plan import Placement, Planner
from pybernetes.proxy.tracker import BY_SERVICE, Tracker, by_service, slim_service, slim_slice
from support.proxy_cases import FOUR, endpoints, port, service

pytestmark = pytest.mark.looptime


class Watched:
    """A tracker over caches of one Service, and what the planner would have forgotten."""

    def __init__(self, drain: str) -> None:
        self.services = IndexedCache()
        self.slices = IndexedCache(indexes={BY_SERVICE: by_service})
        self.tracker = Tracker(self.services, self.slices, node="node-1")
        self.planner = Planner(Layout(IP, Ranges()))
        self.placed: Placement | None = None
        made = service(FOUR, "web", 20, port(80, name="http"))
        made["metadata"]["annotations"] = {"pybernetes.io/drain": drain}
        self.services.put(slim_service(made))

    def sync(self) -> list[Match]:
        self.tracker.take()
        front = next(iter(self.tracker.desired.values()))
        was, self.placed = self.placed, self.planner.place(front, self.placed)
        return list(self.planner.stale(was, self.placed))

    def pods(self, *names: str) -> list[Match]:
        """What is forgotten when these are the endpoints from now on."""
        found: Obj = slim_slice(endpoints(FOUR, "web", names, ("http", 8080)))
        self.slices.put(found)
        self.tracker.slice_changed(Delta(None, found))
        return self.sync()


GONE = Match(protocol=TCP, destination=FOUR.service(20), port=80, backend=FOUR.hosts["pod-2a"], backend_port=8080)


@pytest.mark.parametrize(
    ("drain", "expected"), [("", []), ("keep", []), ("reset", [GONE]), ("0", [GONE]), ("soon", []), ("-5", [])]
)
async def test_at_once_or_never(drain: str, expected: list[Match]) -> None:
    at = Watched(drain)
    assert at.pods("pod-1a", "pod-2a") == []
    assert at.pods("pod-1a") == expected


async def test_after_seconds() -> None:
    at = Watched("30")
    assert at.pods("pod-1a", "pod-2a") == []
    assert at.pods("pod-1a") == []
    await asyncio.sleep(20)
    assert at.pods("pod-1a") == []
    async with asyncio.timeout(20):
        await at.tracker.touched.wait()
    assert at.sync() == [GONE]


async def test_who_comes_back_in_time_keeps_its_connections() -> None:
    at = Watched("30")
    at.pods("pod-1a", "pod-2a")
    assert at.pods("pod-1a") == []
    await asyncio.sleep(10)
    assert at.pods("pod-1a", "pod-2a") == []
    await asyncio.sleep(40)
    assert at.sync() == []
    assert at.pods("pod-1a") == []
    await asyncio.sleep(31)
    assert at.sync() == [GONE]
