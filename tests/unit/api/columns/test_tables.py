"""Tables as Kubernetes 1.37 itself makes them (tables.json.gz, by tools/golden.py): columns, cells, conditions."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from pybernetes.api import columns
from pybernetes.api.objects import Obj
from pybernetes.api.resources import RESOURCES, Resource, find_kind

GOLDEN = json.loads(gzip.decompress((Path(__file__).parent / "tables.json.gz").read_bytes()))
CASES: list[dict[str, Obj]] = GOLDEN["cases"]
FIELDS = ("name", "type", "format", "priority")
WITHOUT_A_COLUMN = {"IPAddress": 1}
"""Cells at the end of a row that Kubernetes computes though it names no column for them."""


def row_of(obj: Obj) -> Resource:
    found = find_kind(obj["apiVersion"], obj["kind"])
    assert found is not None
    return found


def expected_cells(case: dict[str, Obj]) -> list[Any]:
    cells: list[Any] = case["table"]["rows"][0]["cells"]
    return cells[: len(cells) - WITHOUT_A_COLUMN.get(case["object"]["kind"], 0)]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['object']['apiVersion']}/{case['object']['kind']}")
def test_rows(case: dict[str, Obj]) -> None:
    obj, table = case["object"], case["table"]
    row = row_of(obj)
    assert [[one[field] for field in FIELDS] for one in table["columnDefinitions"]] == [
        [column.definition[field] for field in FIELDS] for column in columns.columns_of(row)
    ]
    made = columns.row(row, obj, now=GOLDEN["now"])
    assert made["cells"] == expected_cells(case)
    assert [type(cell) for cell in made["cells"]] == [type(cell) for cell in expected_cells(case)]
    assert made.get("conditions") == table["rows"][0].get("conditions")


def test_every_kind_with_a_printer_is_there() -> None:
    """All but those whose printer is in another module (aggregation), and those that are never listed (scale)."""
    shown = {(row_of(case["object"]).group, case["object"]["kind"]) for case in CASES}
    served = {(row.group, row.kind) for row in RESOURCES}
    assert (columns.PRINTERS.keys() & served) - shown == {("apiregistration.k8s.io", "APIService")}
    assert shown <= columns.PRINTERS.keys()
