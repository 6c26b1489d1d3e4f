"""Labels of nodes that have newer names, wherever nodes are chosen by them (pkg/api/node)."""

from collections.abc import Iterator, Mapping

from .. import names
from ..objects import Obj

DEPRECATED_LABELS: Mapping[str, str] = {
    "beta.kubernetes.io/arch": 'deprecated since v1.14; use "kubernetes.io/arch" instead',
    "beta.kubernetes.io/os": 'deprecated since v1.14; use "kubernetes.io/os" instead',
    "failure-domain.beta.kubernetes.io/region": 'deprecated since v1.17; use "topology.kubernetes.io/region" instead',
    "failure-domain.beta.kubernetes.io/zone": 'deprecated since v1.17; use "topology.kubernetes.io/zone" instead',
    "beta.kubernetes.io/instance-type": 'deprecated since v1.17; use "node.kubernetes.io/instance-type" instead',
    "app.kubernetes.io/created-by": "deprecated since v1.9",
    "scheduler.alpha.kubernetes.io/preferAvoidPods": "deprecated since v1.22; use Taints and Tolerations instead",
    "node-role.kubernetes.io/master": 'use "node-role.kubernetes.io/control-plane" instead',
}


def term_warnings(term: Obj, path: str, *, values: bool = False) -> Iterator[str]:
    """A node selector's term, or a label selector; `values` that no label can have are told too."""
    for index, one in enumerate(term.get("matchExpressions") or ()):
        where, key = f"{path}.matchExpressions[{index}]", one.get("key") or ""
        if key in DEPRECATED_LABELS:
            yield f"{where}.key: {key} is {DEPRECATED_LABELS[key]}"
        for place, value in enumerate(one.get("values") or () if values else ()):
            for wrong in names.label_value(value):
                yield f"{where}.values[{place}]: {value} is invalid, {wrong}"


def selector_warnings(selector: Obj, path: str) -> Iterator[str]:
    yield from term_warnings(selector, path)
    for label in selector.get("matchLabels") or ():
        if label in DEPRECATED_LABELS:
            yield f"{path}.matchLabels.{label}: {DEPRECATED_LABELS[label]}"
