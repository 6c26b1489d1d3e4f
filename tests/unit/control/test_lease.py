"""Leader election: one leads, another takes over, a leader that cannot renew stops in time."""

import asyncio

import pytest

from pybernetes.api.objects import Key
from pybernetes.api.resources import LEASES
from pybernetes.client import Client
from pybernetes.control import LeaderElection, LostLease
from pybernetes.wire import Request
from support.fake_api import FakeApi

pytestmark = pytest.mark.looptime
KEY = Key("kube-system", "controllers")


def candidate(api: FakeApi, name: str) -> LeaderElection:
    return LeaderElection(Client(api), KEY, identity=name)


async def forever() -> None:
    await asyncio.get_running_loop().create_future()


async def test_one_leads_and_a_release_hands_over_at_once() -> None:
    api = FakeApi()
    one, two = candidate(api, "one"), candidate(api, "two")
    first = asyncio.create_task(one.run(forever))
    await asyncio.sleep(1)
    second = asyncio.create_task(two.run(forever))
    await asyncio.sleep(60)
    assert (one.leader, two.leader) == (True, False)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    await asyncio.sleep(4)
    assert (one.leader, two.leader) == (False, True)
    lease = api.one(LEASES, "controllers", "kube-system")
    assert lease["spec"]["holderIdentity"] == "two"
    assert lease["spec"]["leaseTransitions"] == 1
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)


async def test_a_dead_leader_is_followed_after_its_lease() -> None:
    api = FakeApi()
    dead = candidate(api, "dead")
    assert await dead._try()
    began = asyncio.get_running_loop().time()
    heir = candidate(api, "heir")
    task = asyncio.create_task(heir.run(forever))
    while not heir.leader:
        await asyncio.sleep(0.5)
    assert 15 <= asyncio.get_running_loop().time() - began < 20
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_leader_cut_off_stops_its_work_before_the_lease_ends() -> None:
    api = FakeApi()
    leader = candidate(api, "one")
    stopped = []

    async def work() -> None:
        try:
            await forever()
        finally:
            stopped.append(asyncio.get_running_loop().time())

    task = asyncio.create_task(leader.run(work))
    await asyncio.sleep(5)
    cut = asyncio.get_running_loop().time()

    def fail(request: Request) -> None:
        raise ConnectionError("cut off")

    api.fail = fail
    with pytest.raises(LostLease):
        await task
    assert stopped[0] - cut < 15
    assert not leader.leader


async def test_work_that_ends_ends_the_lead_and_its_error_is_raised() -> None:
    async def work() -> None:
        raise ValueError("done for")

    api = FakeApi()
    with pytest.raises(ValueError, match="done for"):
        await candidate(api, "one").run(work)
    assert api.one(LEASES, "controllers", "kube-system")["spec"]["holderIdentity"] == ""
