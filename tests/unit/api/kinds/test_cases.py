"""Every kind's table of cases (cases/*.yaml): what is refused and why, what is accepted, what may change, what is set.

A file holds groups: {base: an object, refused: [...], accepted: [...], changes: [...]}. A case is the base `with` other
values at dotted paths (null takes one away). `causes` are whole texts ("spec.x: Invalid value: ...") or a reason and a
field ("Invalid spec.x"). `gives` is what must stand at a dotted path afterwards, `warns` the texts of all warnings. A
change starts from the base with `from` in it, stored, and is written to `part` a minute later.
"""

from pathlib import Path
from typing import Any

import pytest
import yaml

from pybernetes.api.errors import FieldError
from pybernetes.api.objects import Obj, copied
from support.admitted import NOW, accepted, admit

CASES = Path(__file__).parent / "cases"


def every(section: str) -> list[Any]:
    found = []
    for path in sorted(CASES.glob("*.yaml")):
        for group, table in yaml.safe_load(path.read_text()).items():
            for index, case in enumerate(table.get(section) or ()):
                found.append(pytest.param(table["base"], case, id=f"{path.stem}-{group}-{index}"))
    return found


def put(obj: Obj, values: Obj | None) -> Obj:
    new = copied(obj)
    for path, value in (values or {}).items():
        *way, last = path.split(".")
        place: Any = new
        for step in way:
            place = place[int(step)] if isinstance(place, list) else place.setdefault(step, {})
        if isinstance(place, list):
            index = int(last)
            place[index : index + 1] = [] if value is None else [value]
        elif value is None:
            place.pop(last, None)
        else:
            place[last] = value
    return new


def at(obj: Obj, path: str) -> Any:
    found: Any = obj
    for step in path.split("."):
        if found is None:
            return None
        found = found[int(step)] if isinstance(found, list) else found.get(step)
    return found


def said(problems: list[FieldError], causes: list[str]) -> list[str]:
    """The problems in the form that each cause is written in."""
    short = [f"{problem.type.removeprefix('FieldValue')} {problem.field}".rstrip() for problem in problems]
    whole = [str(problem) for problem in problems]
    forms = [one if ": " in cause else other for one, other, cause in zip(whole, short, causes, strict=False)]
    return forms + whole[len(causes) :]


@pytest.mark.parametrize(("base", "case"), every("refused"))
def test_what_is_wrong(base, case):
    found = admit(put(base, case.get("with")))
    assert said(found.problems, case["causes"]) == case["causes"]


@pytest.mark.parametrize(("base", "case"), every("accepted"))
def test_what_is_right_and_what_is_set(base, case):
    found = admit(put(base, case.get("with")))
    assert found.texts == []
    assert found.warnings == case.get("warns", [])
    gives = case.get("gives") or {}
    assert {path: at(found.obj, path) for path in gives} == gives


@pytest.mark.parametrize(("base", "case"), every("changes"))
def test_what_may_change(base, case):
    old = accepted(put(base, case.get("from")))
    if "status" in case:
        old["status"] = case["status"]
    part = case.get("part", "")
    found = admit(put(old, case.get("with")), old, part=part, now=NOW + 60)
    causes = case.get("causes") or []
    assert said(found.problems, causes) == causes
    assert found.warnings == case.get("warns", [])
    gives = case.get("gives") or {}
    assert {path: at(found.obj, path) for path in gives} == gives
