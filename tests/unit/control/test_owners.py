"""Claims: adopt orphans that match, release what no longer does, leave the rest alone."""

from pybernetes.api import selectors
from pybernetes.api.objects import Obj, name_of
from pybernetes.api.resources import PODS, REPLICA_SETS
from pybernetes.client import Client
from pybernetes.control import Claimer, claims
from support.fake_api import FakeApi
from support.objects import pod, reference, workload

RS = workload("ReplicaSet")
MATCHES = selectors.of(RS["spec"]["selector"]).matches_object
OTHER = workload("ReplicaSet", "other")


def candidates() -> list[Obj]:
    web = {"app": "web"}
    gone = pod("gone", labels=web)
    gone["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    return [
        pod("mine", labels=web, owner=RS),
        pod("strayed", labels={"app": "x"}, owner=RS),
        pod("orphan", labels=web),
        pod("stranger", labels={"app": "x"}),
        pod("theirs", labels=web, owner=OTHER),
        gone,
    ]


def names(pods: list[Obj]) -> list[str]:
    return [name_of(one) for one in pods]


def test_sorting() -> None:
    found = claims(RS, candidates(), MATCHES)
    assert (names(found.owned), names(found.adopt), names(found.release)) == (["mine"], ["orphan"], ["strayed"])


def test_an_owner_being_deleted_takes_and_gives_nothing() -> None:
    leaving = RS | {"metadata": RS["metadata"] | {"deletionTimestamp": "2026-01-01T00:00:00Z"}}
    found = claims(leaving, candidates(), MATCHES)
    assert (names(found.owned), found.adopt, found.release) == (["mine"], [], [])


async def test_claims_are_carried_out() -> None:
    api = FakeApi()
    owner = api.put(REPLICA_SETS, RS)
    pods = [api.put(PODS, one) for one in candidates()]
    claimer = Claimer(Client(api), PODS, owners=REPLICA_SETS)
    owned = await claimer.claim(owner, pods, MATCHES)
    assert names(owned) == ["mine", "orphan"]
    assert api.one(PODS, "orphan", "default")["metadata"]["ownerReferences"] == [reference(RS)]
    assert "ownerReferences" not in api.one(PODS, "strayed", "default")["metadata"]
    assert api.one(PODS, "theirs", "default")["metadata"]["ownerReferences"] == [reference(OTHER)]


async def test_no_adoption_for_an_owner_made_anew() -> None:
    api = FakeApi()
    api.put(REPLICA_SETS, workload("ReplicaSet"))
    pods = [api.put(PODS, one) for one in candidates()]
    owned = await Claimer(Client(api), PODS, owners=REPLICA_SETS).claim(RS, pods, MATCHES)
    assert names(owned) == ["mine"]
    assert "ownerReferences" not in api.one(PODS, "orphan", "default")["metadata"]
