"""Defaults of every kind, field by field, as Kubernetes 1.37 sets them (defaults.json.gz, made by tools/golden.py)."""

import gzip
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pybernetes.api.objects import Obj
from pybernetes.api.scheme import Scheme

SCHEME = Scheme.builtin()
PAIRS: list[list[Obj]] = json.loads(gzip.decompress((Path(__file__).parent / "defaults.json.gz").read_bytes()))
ELSEWHERE = re.compile(
    r"""
    CustomResourceDefinition\.status | Namespace\.status\.phase     # set when one is made, not by defaults
    | ComponentStatus\.
    | Node\.(spec\.podCIDRs? | status\.allocatable)                # filled from each other, by conversion or strategy
    | StatefulSet\.spec\.volumeClaimTemplates\[\]\.(apiVersion | kind)  # Kubernetes' conversion sets them
    | MutatingAdmissionPolicy\.spec\.reinvocationPolicy
    | \.hostPort$                                                  # the zero of Go, which JSON leaves out
    | \.onPodConditions\[\]\.status$ | \.scaleUp\.policies$         # of values that are refused
    | ResourceClaim\.status\.                                       # written by schedulers, whole
    | ReplicationController\.spec\.template$                       # required
    | Pod\.spec\.resources                                         # KEP-2837: set by the strategy in 1.37
    """,
    re.X,
)
"""Fields that are no matter of defaulting here."""


def differences(wanted: Any, found: Any, path: str) -> Iterator[str]:
    """What is absent is the same as what is empty."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        for name in sorted(wanted.keys() | found.keys()):
            yield from differences(wanted.get(name), found.get(name), f"{path}.{name}")
    elif isinstance(wanted, list) and isinstance(found, list) and len(wanted) == len(found):
        for one, other in zip(wanted, found, strict=True):
            yield from differences(one, other, f"{path}[]")
    elif (wanted or found) and wanted != found and not ELSEWHERE.search(path):
        yield f"{path}: {wanted!r} is wanted, not {found!r}"


@pytest.mark.parametrize(("given", "wanted"), PAIRS, ids=lambda obj: f"{obj['apiVersion']}/{obj['kind']}")
def test_defaults(given: Obj, wanted: Obj) -> None:
    row = SCHEME.find_kind(given["apiVersion"], given["kind"])
    assert row is not None
    SCHEME.conform(given, row)
    SCHEME.strategy(row).default(given)
    assert list(differences(wanted, given, given["kind"])) == []


def test_every_kind_is_there() -> None:
    assert {(one["apiVersion"], one["kind"]) for one, _ in PAIRS} == {
        (row.api_version, row.kind) for row in SCHEME.resources
    }
