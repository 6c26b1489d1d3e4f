"""Rules about other pods: topology spread constraints, pod affinity and anti-affinity; pure.

Counts over the whole cluster are made once for a pod and then looked up for each node.
Sources: kube-scheduler plugins podtopologyspread and interpodaffinity.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from pybernetes.api import selectors
from pybernetes.api.objects import Obj, labels_of, namespace_of
from pybernetes.control.affinity import node_matches
from pybernetes.control.taints import NO_EXECUTE, NO_SCHEDULE, taints_of, tolerations_of, untolerated

from .snapshot import NodeInfo, Placed, Snapshot

HOSTNAME = "kubernetes.io/hostname"

Namespaces = Callable[[str], Mapping[str, str]]
"""The labels of a namespace."""


class Term(NamedTuple):
    """An affinity term, ready to be matched against pods."""

    selector: selectors.Selector
    namespaces: frozenset[str]
    namespace_selector: selectors.Selector
    topology_key: str
    weight: int = 1

    def matches(self, placed: Placed, namespaces: Namespaces) -> bool:
        return self._here(placed.namespace, namespaces) and self.selector.matches(placed.labels)

    def matches_pod(self, pod: Obj, namespaces: Namespaces) -> bool:
        return self._here(namespace_of(pod), namespaces) and self.selector.matches(labels_of(pod))

    def _here(self, namespace: str, namespaces: Namespaces) -> bool:
        return namespace in self.namespaces or (
            not self.namespace_selector.nothing and self.namespace_selector.matches(namespaces(namespace))
        )


def term_of(term: Obj, pod: Obj, *, weight: int = 1) -> Term:
    """A PodAffinityTerm of `pod`: its own namespace unless it names others; matchLabelKeys taken from its labels."""
    selector = selectors.of(term.get("labelSelector"))
    extra = [
        selectors.Requirement(key, operator, frozenset({labels_of(pod)[key]}))
        for field, operator in (("matchLabelKeys", "In"), ("mismatchLabelKeys", "NotIn"))
        for key in term.get(field) or ()
        if key in labels_of(pod)
    ]
    named = frozenset(term.get("namespaces") or ())
    if not named and term.get("namespaceSelector") is None:
        named = frozenset({namespace_of(pod)})
    return Term(
        selectors.Selector((*selector.terms, *extra), selector.nothing),
        named,
        selectors.of(term.get("namespaceSelector")),
        str(term.get("topologyKey")),
        weight,
    )


def terms_of(pod: Obj, kind: str, *, required: bool) -> list[Term]:
    """`kind` is podAffinity or podAntiAffinity."""
    affinity = ((pod.get("spec") or {}).get("affinity") or {}).get(kind) or {}
    if required:
        return [term_of(one, pod) for one in affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or ()]
    preferred = affinity.get("preferredDuringSchedulingIgnoredDuringExecution") or ()
    return [term_of(one["podAffinityTerm"], pod, weight=int(one["weight"])) for one in preferred]


@dataclass(frozen=True, slots=True)
class Spread:
    """One topologySpreadConstraint with the pods it counts, by the value of its topology key."""

    topology_key: str
    max_skew: int
    required: bool
    counts: Mapping[str, int]
    fewest: int
    self_matches: bool

    def skew(self, value: str) -> int:
        """The skew if the pod came to a node with this value."""
        return self.counts.get(value, 0) + (1 if self.self_matches else 0) - self.fewest


def spreads_of(pod: Obj, snapshot: Snapshot) -> list[Spread]:
    constraints = (pod.get("spec") or {}).get("topologySpreadConstraints") or ()
    return [_spread(pod, constraint, snapshot) for constraint in constraints]


def _spread(pod: Obj, constraint: Obj, snapshot: Snapshot) -> Spread:
    key = str(constraint["topologyKey"])
    selector = term_of({"labelSelector": constraint.get("labelSelector"), "topologyKey": key,
                        "matchLabelKeys": constraint.get("matchLabelKeys")}, pod).selector  # fmt: skip
    counts: Counter[str] = Counter()
    for info in snapshot:
        value = info.labels.get(key)
        if value is None or not _counts_here(pod, constraint, info):
            continue
        counts[value] += sum(
            1 for p in info.pods.values()
            if not p.leaving and p.namespace == namespace_of(pod) and selector.matches(p.labels)
        )  # fmt: skip
    domains = int(constraint.get("minDomains") or 1)
    fewest = min(counts.values(), default=0) if len(counts) >= domains else 0
    return Spread(
        key,
        int(constraint.get("maxSkew") or 1),
        constraint.get("whenUnsatisfiable", "DoNotSchedule") == "DoNotSchedule",
        counts,
        fewest,
        selector.matches(labels_of(pod)),
    )


def _counts_here(pod: Obj, constraint: Obj, info: NodeInfo) -> bool:
    """nodeAffinityPolicy (Honor unless said otherwise) and nodeTaintsPolicy (Ignore unless said otherwise)."""
    spec = pod.get("spec") or {}
    assert info.node is not None
    if constraint.get("nodeAffinityPolicy", "Honor") == "Honor" and not node_matches(spec, info.node):
        return False
    if constraint.get("nodeTaintsPolicy", "Ignore") != "Honor":
        return True
    return not untolerated(tolerations_of(spec), taints_of(info.node), (NO_SCHEDULE, NO_EXECUTE))


@dataclass(frozen=True, slots=True)
class Neighbours:
    """What affinity says about each topology domain, given as (key, value)."""

    wanted: tuple[tuple[Term, frozenset[str]], ...]
    """Each required affinity term, and the values of its key where a matching pod runs."""
    first_of_kind: bool
    """No pod matches any term yet, but the pod itself does: it may be the first."""
    shunned: frozenset[tuple[str, str]]
    """Domains with a pod that the pod's own anti-affinity rules out."""
    guarded: frozenset[tuple[str, str]]
    """Domains where the anti-affinity of a pod there rules this one out."""
    liking: Mapping[tuple[str, str], int]
    """Preferred terms: the sum of weights for each domain."""

    @property
    def restrict(self) -> bool:
        """Whether any node can be out because of other pods."""
        return bool(self.wanted or self.shunned or self.guarded)


def neighbours_of(pod: Obj, snapshot: Snapshot, namespaces: Namespaces) -> Neighbours:
    affine = terms_of(pod, "podAffinity", required=True)
    wanted = tuple((term, _values(term, snapshot, namespaces)) for term in affine)
    anti = terms_of(pod, "podAntiAffinity", required=True)
    shunned = {(term.topology_key, value) for term in anti for value in _values(term, snapshot, namespaces)}
    first = bool(affine) and not any(values for _, values in wanted)
    return Neighbours(
        wanted,
        first and all(term.matches_pod(pod, namespaces) for term in affine),
        frozenset(shunned),
        frozenset(_guarded(pod, snapshot, namespaces)),
        _liking(pod, snapshot, namespaces),
    )


def _values(term: Term, snapshot: Snapshot, namespaces: Namespaces) -> frozenset[str]:
    return frozenset(
        value
        for info in snapshot
        if (value := info.labels.get(term.topology_key)) is not None
        and any(term.matches(placed, namespaces) for placed in info.pods.values())
    )


def _guarded(pod: Obj, snapshot: Snapshot, namespaces: Namespaces) -> Iterable[tuple[str, str]]:
    for info, placed in snapshot.guarded:
        for entry in placed.anti_affinity:
            term = term_of(entry, placed.pod)
            value = info.labels.get(term.topology_key)
            if value is not None and term.matches_pod(pod, namespaces):
                yield term.topology_key, value


def _liking(pod: Obj, snapshot: Snapshot, namespaces: Namespaces) -> Mapping[tuple[str, str], int]:
    signed: Sequence[tuple[Term, int]] = [
        *((term, term.weight) for term in terms_of(pod, "podAffinity", required=False)),
        *((term, -term.weight) for term in terms_of(pod, "podAntiAffinity", required=False)),
    ]
    liking: Counter[tuple[str, str]] = Counter()
    if not signed:
        return liking
    for info in snapshot:
        for term, weight in signed:
            value = info.labels.get(term.topology_key)
            if value is not None:
                matching = sum(1 for placed in info.pods.values() if term.matches(placed, namespaces))
                liking[term.topology_key, value] += weight * matching
    return liking
