"""Which endpoints of a Service port a node sends to: conditions, hints and weights as kube-proxy honours them. Pure.

Source: kubernetes/pkg/proxy/topology.go; KEP-1669 (endpoints that end), KEP-2433 and KEP-3015 (hints).
"""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from .model import FULL_WEIGHT, Backend


class Endpoint(NamedTuple):
    """An endpoint of a slice, its conditions with their defaults."""

    address: str
    node: str
    ready: bool
    serving: bool
    terminating: bool
    zones: tuple[str, ...] = ()
    """Hints: the zones that should prefer it."""
    nodes: tuple[str, ...] = ()
    """Hints: the nodes that should prefer it."""
    weight: int = FULL_WEIGHT


Candidate = tuple[Endpoint, int]
"""An endpoint and the port it serves on."""


class Place(NamedTuple):
    """Where a proxy stands."""

    node: str
    zone: str = ""


class Chosen(NamedTuple):
    """The endpoints of one Service port, as one node sees them."""

    cluster: tuple[Backend, ...]
    local: tuple[Backend, ...]
    """Those on this node, for the Local policies."""
    resting: tuple[Backend, ...]
    """Serving, but others are preferred: nothing new for them, and what they have they keep."""


def choose(candidates: Sequence[Candidate], at: Place) -> Chosen:
    """Ready endpoints, the nearest if all have hints; with none ready, those that end and still serve (for all nodes,
    and for this node, each by itself).
    """
    ready = [each for each in candidates if each[0].ready]
    near = _nearest(ready, at) if ready else _ending(candidates)
    cluster = _backends(near, at)
    if len(near) == len(candidates):  # all alike, as nearly always
        return Chosen(cluster, tuple([each for each in cluster if each.local]), ())
    here = _at(ready, at.node) or _at(_ending(candidates), at.node)
    local = _backends(here, at)
    taken = {(each.address, each.port) for each in (*cluster, *local)}
    serving = _backends((each for each in candidates if each[0].serving or each[0].ready), at)
    return Chosen(cluster, local, tuple(each for each in serving if (each.address, each.port) not in taken))


def _ending(candidates: Sequence[Candidate]) -> list[Candidate]:
    return [each for each in candidates if each[0].serving and each[0].terminating and not each[0].ready]


def _at(candidates: Sequence[Candidate], node: str) -> list[Candidate]:
    return [each for each in candidates if each[0].node == node]


def _nearest(ready: Sequence[Candidate], at: Place) -> Sequence[Candidate]:
    """Hints count only while every ready endpoint has one, and one of them is for here."""
    return (
        _hinted(ready, lambda endpoint: endpoint.nodes, at.node)
        or _hinted(ready, lambda endpoint: endpoint.zones, at.zone)
        or ready
    )


def _hinted(ready: Sequence[Candidate], hints: Callable[[Endpoint], tuple[str, ...]], name: str) -> list[Candidate]:
    if not all(hints(endpoint) for endpoint, _ in ready):
        return []
    return [each for each in ready if name in hints(each[0])]


def _backends(chosen: Iterable[Candidate], at: Place) -> tuple[Backend, ...]:
    """Each address and port once; of two that contradict each other, local and the larger weight."""
    found: dict[tuple[str, int], Backend] = {}
    node = at.node
    for (address, where, _, _, _, _, _, weight), port in chosen:
        backend = Backend(address, port, where == node, weight)
        other = found.setdefault((address, port), backend)
        if other is not backend:
            local, weight = backend.local or other.local, max(weight, other.weight)
            found[address, port] = Backend(address, port, local, weight)
    return tuple(found.values())
