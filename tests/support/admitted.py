"""An object on its way into the store, as the registry takes it there: conform, default, prepare, validate."""

from typing import NamedTuple

import yaml

from pybernetes.api.errors import FieldError
from pybernetes.api.objects import Obj, copied
from pybernetes.api.scheme import Scheme

SCHEME = Scheme.builtin()


NOW = 1_767_225_600.0
"""2026-01-01T00:00:00Z: when objects are written."""


class Admitted(NamedTuple):
    obj: Obj
    problems: list[FieldError]
    warnings: list[str]

    @property
    def texts(self) -> list[str]:
        return [str(problem) for problem in self.problems]

    @property
    def fields(self) -> list[str]:
        return [problem.field for problem in self.problems]


def admit(given: Obj | str, old: Obj | None = None, *, part: str = "", now: float = NOW) -> Admitted:
    """`given` is an object or its YAML; it is not changed."""
    obj: Obj = copied(yaml.safe_load(given) if isinstance(given, str) else given)
    row = SCHEME.find_kind(obj["apiVersion"], obj["kind"])
    assert row is not None
    strategy = SCHEME.strategy(row)
    assert SCHEME.conform(obj, row) == []
    strategy.default(obj)
    if old is None:
        obj.setdefault("metadata", {})["uid"] = "uid-1"
    strategy.prepare(obj, old, part=part)
    strategy.stamp(obj, old, now=now, part=part)
    once = copied(obj)
    strategy.default(obj)
    assert obj == once, "defaulting twice changes nothing"
    problems = list(strategy.validate(obj, old, part=part))
    problems = problems or list(strategy.untimely(obj, old, now=now, part=part))
    return Admitted(obj, problems, [] if problems else list(strategy.warnings(obj, old, part=part)))


def accepted(given: Obj | str, old: Obj | None = None, *, part: str = "") -> Obj:
    """The object as it would be stored; nothing may be wrong with it."""
    found = admit(given, old, part=part)
    assert found.texts == []
    return found.obj


def changed(obj: Obj, **spec: object) -> Obj:
    """A copy with other spec fields; None takes one away."""
    new = copied(obj)
    for field, value in spec.items():
        if value is None:
            new["spec"].pop(field, None)
        else:
            new["spec"][field] = value
    return new
