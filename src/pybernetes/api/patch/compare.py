"""What changed between two objects, as sets of fields. Source: structured-merge-diff, typed/compare.go."""

from typing import Any

from ..objects import encode
from ..schema import Type
from .equal import same
from .fields import Fields, Path, below, beneath, is_keyed, is_map, items_by_element

_ABSENT: Any = object()


class Comparison:
    """Fields only the new object has, only the old one has, and leaves that differ; none beneath `ignored`."""

    def __init__(self, old: Any, new: Any, type_: Type | None, *, ignored: tuple[Path, ...] = ()) -> None:
        self._added: set[Path] = set()
        self._removed: set[Path] = set()
        self._modified: set[Path] = set()
        self._compare((old, new), type_, ())
        found = (frozenset(fields) for fields in (self._added, self._removed, self._modified))
        self.added, self.removed, self.modified = (fields - beneath(fields, ignored) for fields in found)

    @property
    def taken(self) -> Fields:
        """What the writer of the new object set."""
        return self.added | self.modified

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.modified)

    def _compare(self, pair: tuple[Any, Any], type_: Type | None, path: Path) -> None:
        """A spec or status that stays as it is, which is the rule, is told by its bytes: cheaper than a walk."""
        old, new = pair
        if old is new or (len(path) == 1 and old is not _ABSENT and new is not _ABSENT and encode(old) == encode(new)):
            return
        if path:
            if old is _ABSENT:
                self._added.add(path)
            elif new is _ABSENT:
                self._removed.add(path)
        if not self._descend(pair, type_, path) and old is not _ABSENT and new is not _ABSENT and not same(old, new):
            self._modified.add(path)

    def _descend(self, pair: tuple[Any, Any], type_: Type | None, path: Path) -> bool:
        """Compare what is below; False when this is a leaf on either side."""
        present = [value for value in pair if value is not _ABSENT and value is not None]
        if not any(present):
            return False
        if all(is_map(type_, value) for value in present):
            sides = [_entries(value) for value in pair]
        elif type_ is not None and is_keyed(type_) and all(isinstance(value, list) for value in present):
            sides = [_items(type_, value) for value in pair]
        else:
            return False
        for element in sides[0].keys() | sides[1].keys():
            below_pair = (sides[0].get(element, _ABSENT), sides[1].get(element, _ABSENT))
            self._compare(below_pair, below(type_, element), (*path, element))
        return True


def _entries(value: Any) -> dict[str, Any]:
    return {f"f:{key}": one for key, one in value.items()} if isinstance(value, dict) else {}


def _items(type_: Type, value: Any) -> dict[str, Any]:
    return dict(items_by_element(type_, value, strict=False)) if isinstance(value, list) else {}
