"""One write as each version sees it in which a manager of the object speaks.

A manager's fields are those of the version it wrote in. What a write changes of them is found in that version, so both
objects are brought there first. An entry of a version that is no more is dropped.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from ..objects import Obj
from ..schema import Type
from .compare import Comparison
from .fields import Path


class View(NamedTuple):
    """An object in some version, with that version's type."""

    obj: Obj
    type_: Type | None


Translate = Callable[[Obj, str], View | None]
"""An object of any version in the API version named; None when there is no such version. May raise what it likes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Writing:
    """What the steps of one write need to know. `translate` None takes all entries as if they were in this version."""

    api_version: str
    time: float
    type_: Type | None
    reset: tuple[Path, ...]
    translate: Translate | None = None

    def view(self, obj: Obj, api_version: str) -> View | None:
        """An object of this write (of whichever version it says) in another one."""
        if self.translate is None or (api_version == self.api_version == obj.get("apiVersion")):
            return View(obj, self.type_)
        return self.translate(obj, api_version)


class Change:
    """What a write changes, in every version that is asked for."""

    def __init__(self, old: Obj, new: Obj, write: Writing) -> None:
        self._pair = (old, new)
        self._write = write
        self.own = Comparison(old, new, write.type_, ignored=write.reset)
        self._found: dict[str, Comparison | None] = {write.api_version: self.own}

    def seen(self, api_version: str) -> Comparison | None:
        """None for a version that is no more."""
        if self._write.translate is None:
            return self.own
        if api_version not in self._found:
            self._found[api_version] = self._compared(api_version)
        return self._found[api_version]

    def _compared(self, api_version: str) -> Comparison | None:
        old, new = (self._write.view(obj, api_version) for obj in self._pair)
        if old is None or new is None:
            return None
        return Comparison(old.obj, new.obj, new.type_, ignored=self._write.reset)
