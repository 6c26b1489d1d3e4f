"""Writes docs/support.md: what of Kubernetes' conformance list works here, from the tests that show it.

`tests/conformance/names-1.37.txt` lists the names (sig|name), `tests/conformance/coverage.toml` the tests of each.
A name with tests is a yes, or partly when the table says what they lack; one without is a no, with the reason.
A test that the table names and nobody wrote is an error. Usage: tools/support.py [--check]
"""

import ast
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from pybernetes.api.resources import RESOURCES, Resource

ROOT = Path(__file__).resolve().parents[1]
TESTS = ROOT / "tests"
DOCUMENT = ROOT / "docs" / "support.md"
SIGS = ("api-machinery", "auth", "cli", "architecture", "network")
RELEASE = "1.37"
_PAGE = "https://github.com/kubernetes/kubernetes/blob/master/test/conformance/testdata/conformance.yaml"


class Line(NamedTuple):
    """One conformance name. `tests` are paths below tests/ with the function: "unit/x.py::test_y"."""

    sig: str
    name: str
    tests: tuple[str, ...] = ()
    why: str = ""

    @property
    def answer(self) -> str:
        if not self.tests:
            return "no"
        return "partly" if self.why else "yes"


def lines(names: str, table: Mapping[str, Mapping[str, object]]) -> list[Line]:
    """The names of these groups in their order. Raises ValueError for a table that does not fit them."""
    found = []
    left = dict(table)
    for text in names.splitlines():
        sig, _, name = text.partition("|")
        if sig not in SIGS:
            continue
        entry = left.pop(text, None)
        if entry is None:
            raise ValueError(f"coverage.toml says nothing of {text!r}")
        tests, why = entry.get("tests", ()), str(entry.get("why", ""))
        if not isinstance(tests, Sequence) or not (tests or why):
            raise ValueError(f"{text!r} has neither tests nor a reason")
        found.append(Line(sig, name, tuple(map(str, tests)), why))
    if left:
        raise ValueError(f"coverage.toml names what is not on the list: {', '.join(sorted(left))}")
    return found


def missing_tests(found: Sequence[Line], root: Path = TESTS) -> list[str]:
    """Tests that are named and do not exist."""
    return sorted({test for line in found for test in line.tests if not _exists(test, root)})


def _exists(test: str, root: Path) -> bool:
    path, _, function = test.partition("::")
    return function in _functions(root / path)


@cache
def _functions(path: Path) -> frozenset[str]:
    if not path.is_file():
        return frozenset()
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(node.name for node in ast.parse(path.read_text()).body if isinstance(node, kinds))


def document(found: Sequence[Line], resources: Sequence[Resource] = RESOURCES) -> str:
    return "\n".join([*_head(found), *_conformance(found), *_resources(resources)]) + "\n"


def _head(found: Sequence[Line]) -> Iterator[str]:
    counts = {answer: sum(line.answer == answer for line in found) for answer in ("yes", "partly", "no")}
    yield "# What works"
    yield ""
    yield "Made by `make support` from `tests/conformance/coverage.toml` and the resource table, not written by hand."
    yield ""
    yield (
        f"Of the {len(found)} names of [Kubernetes {RELEASE}'s conformance list]({_PAGE}) in the groups "
        f"{', '.join(SIGS)}: {counts['yes']} yes, {counts['partly']} partly, {counts['no']} no. "
        "A yes is shown by the named tests, which are our own. What the programs of the suite itself say is in "
        "[upstream](upstream.md)."
    )


def _conformance(found: Sequence[Line]) -> Iterator[str]:
    for sig in SIGS:
        yield from ("", f"## {sig}", "", "| name | works | shown by | why not all of it |", "|---|---|---|---|")
        for line in (line for line in found if line.sig == sig):
            shown = ", ".join(f"`{test}`" for test in line.tests)
            yield f"| {line.name} | {line.answer} | {shown} | {line.why} |"


def _resources(resources: Sequence[Resource]) -> Iterator[str]:
    yield from ("", "## Resources served", "", "| group and version | resources (with subresources) |", "|---|---|")
    groups: dict[str, list[Resource]] = {}
    for row in resources:
        groups.setdefault(row.api_version, []).append(row)
    for version, rows in groups.items():
        shown = ", ".join(_resource(row) for row in sorted(rows, key=lambda row: row.plural))
        yield f"| {version} | {shown} |"


def _resource(row: Resource) -> str:
    return row.plural + (f" ({', '.join(sorted(row.subresources))})" if row.subresources else "")


def made() -> str:
    """The document as it should be. Raises ValueError."""
    names = (TESTS / "conformance" / f"names-{RELEASE}.txt").read_text()
    table = tomllib.loads((TESTS / "conformance" / "coverage.toml").read_text())
    found = lines(names, table)
    if gone := missing_tests(found):
        raise ValueError(f"coverage.toml names tests that are not there: {', '.join(gone)}")
    return document(found)


def main(arguments: Sequence[str]) -> int:
    text = made()
    if "--check" in arguments:
        return 0 if DOCUMENT.read_text() == text else 1
    DOCUMENT.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
