"""Weights as slots: exact where numbers allow, bounded where they do not."""

from collections import Counter

import pytest

from pybernetes.netlink.conntrack import Match
from pybernetes.netlink.nft import IP
from pybernetes.proxy.layout import Layout, Ranges
from pybernetes.proxy.model import Backend, Front
from pybernetes.proxy.plan import MOST_SLOTS, Planner, assign, shares
from pybernetes.proxy.tracker import slim_slice
from support.proxy_cases import FOUR, endpoints


def backends(*weights: int) -> list[Backend]:
    return [Backend(f"10.244.0.{number}", 80, weight=weight) for number, weight in enumerate(weights)]


@pytest.mark.parametrize(
    ("weights", "slots"),
    [
        ((100, 100), [1, 1]),
        ((50, 50), [1, 1]),
        ((90, 10), [9, 1]),
        ((100, 0), [1]),
        ((0, 0), []),
        ((7, 0, 3), [7, 3]),
        ((), []),
    ],
)
def test_slots_are_in_proportion(weights: tuple[int, ...], slots: list[int]) -> None:
    assert list(shares(backends(*weights)).values()) == slots


def test_many_odd_weights_are_bounded_and_nearly_exact() -> None:
    weights = [1 + number % 100 for number in range(200)]
    found = list(shares(backends(*weights)).values())
    assert sum(found) <= MOST_SLOTS + len([each for each in weights if each < 5])
    total = sum(weights)
    assert all(abs(slots - weight * MOST_SLOTS / total) <= 1 for slots, weight in zip(found, weights, strict=True))


def test_a_change_of_weights_moves_no_more_than_it_must() -> None:
    before = assign((), backends(60, 40))
    after = assign(before, backends(40, 60))
    assert Counter(each.address for each in after) == {"10.244.0.0": 2, "10.244.0.1": 3}
    assert len([slot for slot, each in enumerate(before) if after[slot] != each]) == 1


def test_weight_0_keeps_its_connections_and_deletion_does_not() -> None:
    planner = Planner(Layout(IP, Ranges()))

    def place(*members: Backend) -> Front:
        return Front(vips=("10.96.0.20",), port=53, protocol="UDP", backends=members)

    one, other = backends(100, 100)
    was = planner.place(place(one, other))
    resting = planner.place(place(one, other._replace(weight=0)), was)
    assert resting is not None
    assert [each.address for each in resting.cluster] == [one.address]
    assert list(planner.stale(was, resting)) == []
    gone = planner.place(place(one), resting)
    assert list(planner.stale(resting, gone)) == [
        Match(protocol=17, destination="10.96.0.20", port=53, backend=other.address, backend_port=80)
    ]


@pytest.mark.parametrize(
    ("annotations", "expected"),
    [
        ({}, [100, 100]),
        ({"pybernetes.io/weight": "30"}, [30, 30]),
        ({"pybernetes.io/weights": '{"10.244.1.2": 5}'}, [5, 100]),
        ({"pybernetes.io/weight": "30", "pybernetes.io/weights": '{"10.244.1.2": 0}'}, [0, 30]),
        ({"pybernetes.io/weight": "101", "pybernetes.io/weights": '{"10.244.1.2": -1}'}, [100, 100]),
        ({"pybernetes.io/weight": "many", "pybernetes.io/weights": "[1"}, [100, 100]),
        ({"pybernetes.io/weights": '[1, "x"]'}, [100, 100]),
        ({"pybernetes.io/weights": '{"10.244.1.2": true, "nonsense": 3}'}, [100, 100]),
    ],
)
def test_weights_of_a_slice(annotations: dict[str, str], expected: list[int]) -> None:
    made = endpoints(FOUR, "web", ("pod-1a", "pod-1b"), ("http", 8080))
    made["metadata"]["annotations"] = annotations
    assert [each.weight for each in slim_slice(made)["endpoints"]] == expected
