"""docs/support.md says what the tests show, and nothing else."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def support() -> ModuleType:
    spec = importlib.util.spec_from_file_location("support_tool", ROOT / "tools" / "support.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_document_is_up_to_date(support: ModuleType) -> None:
    assert (ROOT / "docs" / "support.md").read_text() == support.made(), "run `make support`"


def test_the_answer_follows_from_tests_and_reason(support: ModuleType) -> None:
    table = {
        "auth|a": {"tests": ["unit/x.py::test_y"]},
        "auth|b": {"tests": ["unit/x.py::test_y"], "why": "half"},
        "auth|c": {"why": "nothing"},
    }
    found = support.lines("auth|a\nauth|b\nauth|c\nnode|d\n", table)
    assert [line.answer for line in found] == ["yes", "partly", "no"]
    assert "1 yes, 1 partly, 1 no" in support.document(found, ())


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({}, "says nothing of 'auth|a'"),
        ({"auth|a": {}}, "neither tests nor a reason"),
        ({"auth|a": {"why": "w"}, "auth|z": {"why": "w"}}, r"not on the list: auth\|z"),
    ],
)
def test_a_table_that_does_not_fit(support: ModuleType, table: dict[str, dict[str, str]], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        support.lines("auth|a\n", table)


def test_tests_that_are_not_there(support: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "x.py").write_text("async def test_y(): ...\n")
    found = [support.Line("auth", "a", ("x.py::test_y", "x.py::test_z", "y.py::test_y"))]
    assert support.missing_tests(found, tmp_path) == ["x.py::test_z", "y.py::test_y"]
