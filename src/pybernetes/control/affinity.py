"""Which nodes a pod asks for: nodeSelector and node affinity (component-helpers, corev1/nodeaffinity); pure."""

from collections.abc import Iterable, Mapping
from functools import lru_cache

from pybernetes.api.objects import Obj, labels_of, name_of
from pybernetes.api.selectors import Requirement


def node_matches(spec: Obj, node: Obj) -> bool:
    """nodeSelector and requiredDuringSchedulingIgnoredDuringExecution of a pod spec."""
    labels = labels_of(node)
    for label, value in (spec.get("nodeSelector") or {}).items():
        if labels.get(label) != value:
            return False
    required = required_of(spec)
    return required is None or matches_terms(required.get("nodeSelectorTerms") or (), node)


def required_of(spec: Obj) -> Obj | None:
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    found: Obj | None = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    return found


def preferred_of(spec: Obj) -> list[Obj]:
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    found: list[Obj] = affinity.get("preferredDuringSchedulingIgnoredDuringExecution") or []
    return found


def matches_terms(terms: Iterable[Obj], node: Obj) -> bool:
    """Any term is enough; an empty term matches nothing."""
    return any(matches_term(term, node) for term in terms)


def matches_term(term: Obj, node: Obj) -> bool:
    """All expressions and fields of one NodeSelectorTerm."""
    expressions, fields = term.get("matchExpressions") or (), term.get("matchFields") or ()
    if not expressions and not fields:
        return False
    labels = labels_of(node)
    named = {"metadata.name": name_of(node)}
    return all(_holds(one, labels) for one in expressions) and all(_holds(one, named) for one in fields)


def _holds(expression: Obj, labels: Mapping[str, str]) -> bool:
    values = tuple(expression.get("values") or ())
    return _requirement(str(expression["key"]), str(expression.get("operator")), values).matches(labels)


@lru_cache(maxsize=1024)
def _requirement(key: str, operator: str, values: tuple[str, ...]) -> Requirement:
    return Requirement(key, operator, frozenset(values))
