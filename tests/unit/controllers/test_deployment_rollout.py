"""The arithmetic of rollouts, and a rollout played to its end with nothing but arithmetic."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pybernetes.api.objects import Obj, name_of
from pybernetes.controllers.deployment import new_set
from pybernetes.controllers.deployment_rollout import (
    MAX,
    REVISION,
    bounds,
    find_new,
    new_size,
    scale,
    scale_down_old,
    set_annotations,
    size_of,
    to_clean,
    wanted,
)
from support.objects import workload


def deployment(replicas: int = 10, surge: object = "25%", unavailable: object = "25%", **spec: object) -> Obj:
    rolling = {"maxSurge": surge, "maxUnavailable": unavailable}
    strategy = {"type": "RollingUpdate", "rollingUpdate": rolling}
    return workload("Deployment", replicas=replicas, strategy=strategy, **spec)


def rs(name: str, replicas: int, *, available: int | None = None, born: int = 0, most: int = 0) -> Obj:
    found = workload("ReplicaSet", name, replicas=replicas)
    found["metadata"]["creationTimestamp"] = f"2026-01-01T00:00:{born:02}Z"
    found["metadata"]["annotations"] = {MAX: str(most)} if most else {}
    ready = replicas if available is None else available
    found["status"] = {"replicas": replicas, "availableReplicas": ready, "observedGeneration": 1}
    return found


@pytest.mark.parametrize(
    ("replicas", "surge", "unavailable", "expected"),
    [
        (10, "25%", "25%", (3, 2)),
        (3, "25%", "25%", (1, 0)),
        (1, 0, 0, (0, 1)),
        (2, "10%", "10%", (1, 0)),
        (4, 0, "10%", (0, 1)),
        (0, "25%", "25%", (0, 0)),
        (3, 0, 5, (0, 3)),
    ],
)
def test_bounds(replicas: int, surge: object, unavailable: object, expected: tuple[int, int]) -> None:
    assert bounds(deployment(replicas, surge, unavailable)) == expected


def test_new_set_grows_by_the_surge() -> None:
    old, new = rs("old", 10), rs("new", 0)
    assert new_size(deployment(), [old, new], new) == 3
    assert new_size(deployment(), [old, rs("new", 3)], rs("new", 3)) == 3


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (rs("old", 10), rs("new", 3, available=0), 8),  # the surge is in flight, so two may go
        (rs("old", 8), rs("new", 5, available=0), None),
        (rs("old", 8), rs("new", 5, available=2), 6),
        (rs("old", 10, available=4), rs("new", 3, available=0), 8),  # sick ones go first, not more than allowed
        (rs("old", 10, available=0), rs("new", 0), 8),
    ],
)
def test_old_sets_shrink_as_availability_allows(old: Obj, new: Obj, expected: int | None) -> None:
    resizes = scale_down_old(deployment(), [old], new)
    assert [size for _, size in resizes] == ([] if expected is None else [expected])


def test_scaling_in_the_midst_of_a_rollout_is_in_proportion() -> None:
    sets = [rs("one", 5, born=1, most=13), rs("two", 5, born=2, most=13), rs("three", 3, born=3, most=13)]
    sizes = {name_of(r): size for r, size in scale(deployment(20), sets[2], sets[:2])}
    assert sum(sizes.values()) == 25
    assert sizes == {"one": 10, "two": 10, "three": 5} or sizes == {"one": 9, "two": 10, "three": 6}


def test_scaling_one_set_is_just_that() -> None:
    new = rs("new", 10)
    assert [(name_of(r), size) for r, size in scale(deployment(4), new, [rs("old", 0)])] == [("new", 4)]
    assert scale(deployment(10), new, []) == [(new, 10)]


def test_annotations_follow_the_deployment_and_history_is_kept() -> None:
    owner = deployment()
    owner["metadata"]["annotations"] = {
        "a": "1",
        REVISION: "9",
        "kubectl.kubernetes.io/last-applied-configuration": "{}",
    }
    fresh = rs("new", 0)
    made = set_annotations(owner, fresh, 1, exists=False)
    assert made == {
        "a": "1", REVISION: "1", "deployment.kubernetes.io/desired-replicas": "10",
        "deployment.kubernetes.io/max-replicas": "13",
    }  # fmt: skip
    fresh["metadata"]["annotations"] = made
    again = set_annotations(owner, fresh, 3, exists=True)
    assert (again[REVISION], again["deployment.kubernetes.io/revision-history"]) == ("3", "1")


def test_only_old_empty_sets_beyond_the_limit_are_cleaned() -> None:
    sets = [rs(f"r{n}", 1 if n == 2 else 0) for n in range(5)]
    for number, one in enumerate(sets):
        one["metadata"]["annotations"] = {REVISION: str(number + 1)}
    gone = to_clean(deployment(revisionHistoryLimit=1), sets)
    assert [name_of(one) for one in gone] == ["r0", "r1", "r3"]


def test_the_set_of_a_template_is_found_again_and_its_name_is_stable() -> None:
    owner = deployment()
    made = new_set(owner, 1, [])
    made["metadata"] |= {"creationTimestamp": "2026-01-01T00:00:00Z", "uid": "u"}
    assert find_new(owner, [made]) is made
    assert new_set(owner, 2, [made])["metadata"]["name"] == made["metadata"]["name"]
    digest = made["metadata"]["labels"]["pod-template-hash"]
    assert made["spec"]["selector"]["matchLabels"] == {"app": "web", "pod-template-hash": digest}
    changed = deployment()
    changed["spec"]["template"]["spec"]["containers"][0]["image"] = "other"
    assert find_new(changed, [made]) is None
    assert new_set(changed, 2, [])["metadata"]["name"] != made["metadata"]["name"]


LIMITS = st.one_of(st.integers(0, 5), st.integers(0, 100).map(lambda n: f"{n}%"))


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 20), LIMITS, LIMITS, st.integers())
def test_a_rollout_ends_and_keeps_its_bounds(replicas: int, surge: object, unavailable: object, seed: int) -> None:
    rng = random.Random(seed)
    owner = deployment(replicas, surge, unavailable)
    most, least = replicas + bounds(owner).surge, replicas - bounds(owner).unavailable
    old, new = rs("old", replicas, born=1), rs("new", 0, born=2)
    for _ in range(500):
        grown = new_size(owner, [old, new], new)
        if grown != size_of(new):
            new["spec"]["replicas"] = grown
        else:
            for one, size in scale_down_old(owner, [old], new):
                one["spec"]["replicas"] = size
        for one in (old, new):  # pods come up one by one, in any order; surplus ones go at once
            have = one["status"]["availableReplicas"]
            up = min(size_of(one), have + rng.choice([0, 1]))
            one["status"] |= {"replicas": size_of(one), "availableReplicas": up}
        assert size_of(old) + size_of(new) <= most
        assert old["status"]["availableReplicas"] + new["status"]["availableReplicas"] >= least
        if size_of(old) == 0 and new["status"]["availableReplicas"] == wanted(owner):
            return
    pytest.fail("the rollout did not end")
