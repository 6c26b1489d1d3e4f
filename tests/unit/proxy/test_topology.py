"""Which endpoints a node sends to: conditions, hints and weights."""

import pytest

from pybernetes.proxy.model import Backend
from pybernetes.proxy.topology import Candidate, Endpoint, Place, choose

HERE = Place("node-1", "zone-1")


def candidate(
    number: int,
    node: str = "node-2",
    *,
    ready: bool = True,
    ending: bool = False,
    zones: str = "",
    nodes: str = "",
    weight: int = 100,
) -> Candidate:
    """An endpoint 10.244.0.<number>; hints are names separated by blanks."""
    serving = ready or ending
    split = (tuple(zones.split()), tuple(nodes.split()))
    return Endpoint(f"10.244.0.{number}", node, ready, serving, ending, *split, weight), 8080


def numbers(backends: tuple[Backend, ...]) -> list[int]:
    return sorted(int(each.address.rpartition(".")[2]) for each in backends)


@pytest.mark.parametrize(
    ("zones", "nodes", "expected"),
    [
        (("zone-1", "zone-2"), ("", ""), [1]),
        (("zone-2", "zone-2"), ("", ""), [1, 2]),
        (("zone-1", ""), ("", ""), [1, 2]),
        (("zone-2", "zone-1"), ("node-1", "node-2"), [1]),
        (("zone-2", "zone-1"), ("node-1", ""), [2]),
        (("zone-2", "zone-1"), ("node-3", "node-2"), [2]),
        (("zone-1 zone-2", "zone-2"), ("", ""), [1]),
    ],
    ids=["zone", "none for this zone", "one has none", "node first", "not all for nodes", "none for this node", "two"],
)
def test_hints(zones: tuple[str, str], nodes: tuple[str, str], expected: list[int]) -> None:
    found = [candidate(number, zones=zones[number - 1], nodes=nodes[number - 1]) for number in (1, 2)]
    chosen = choose(found, HERE)
    assert numbers(chosen.cluster) == expected
    assert numbers(chosen.resting) == sorted({1, 2} - set(expected))


def test_hints_of_endpoints_that_are_not_ready_do_not_count() -> None:
    found = [candidate(1, zones="zone-1"), candidate(2, zones="zone-2"), candidate(3, ready=False)]
    assert numbers(choose(found, HERE).cluster) == [1]


def test_a_node_without_a_zone_takes_all() -> None:
    found = [candidate(1, zones="zone-1"), candidate(2, zones="zone-2")]
    assert numbers(choose(found, Place("node-1")).cluster) == [1, 2]


def test_hints_do_not_bind_local_policies() -> None:
    found = [candidate(1, "node-1", zones="zone-2"), candidate(2, zones="zone-1")]
    chosen = choose(found, HERE)
    assert (numbers(chosen.cluster), numbers(chosen.local), chosen.resting) == ([2], [1], ())


def test_those_that_end_serve_when_nobody_is_ready_here_and_everywhere_by_itself() -> None:
    ending, ready = candidate(1, "node-1", ready=False, ending=True), candidate(2)
    chosen = choose([ending, ready], HERE)
    assert (numbers(chosen.cluster), numbers(chosen.local)) == ([2], [1])
    assert numbers(choose([ending], HERE).cluster) == [1]


def test_those_that_end_keep_what_they_have() -> None:
    chosen = choose([candidate(1, ready=False, ending=True), candidate(2), candidate(3, ready=False)], HERE)
    assert (numbers(chosen.cluster), numbers(chosen.resting)) == ([2], [1])


def test_of_contradicting_weights_the_larger() -> None:
    chosen = choose([candidate(1, weight=10), candidate(1, "node-1", weight=30)], HERE)
    assert chosen.cluster == (Backend("10.244.0.1", 8080, True, 30),)
