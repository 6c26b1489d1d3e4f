"""Conditions of meta/v1 (apimachinery's ValidateConditions); older kinds have conditions of their own, held to less."""

import re

from .. import names
from ..errors import FieldError
from ..objects import Obj
from . import checks
from .rules import Problems, Table, among, at_least, both, each, follow, given, matching, may, need, no_longer_than

_REASON = re.compile(r"[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?")
_REASON_TEXT = (
    "a condition reason must start with alphabetic character, optionally followed by a string of alphanumeric "
    "characters or '_,:', and must end with an alphanumeric character or '_' (e.g. 'my_name',  or 'MY_NAME',  or "
    "'MyName',  or 'ReasonA,ReasonB',  or 'ReasonA:ReasonB', regex used for validation is "
    "'[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?')"
)
_MOST_REASON, _MOST_MESSAGE = 1024, 32 * 1024


def _reason(value: str, path: str) -> Problems:
    if not _REASON.fullmatch(value):
        yield FieldError.invalid(path, value, _REASON_TEXT)


_CONDITION: Table = {
    "observedGeneration": given(at_least(0, "must be greater than or equal to zero")),
    "lastTransitionTime": need(None, "must be set"),
    "reason": need(both(_reason, no_longer_than(_MOST_REASON)), "must be set"),
    "message": may(no_longer_than(_MOST_MESSAGE)),
}


def _condition(found: Obj, path: str) -> Problems:
    yield from matching(names.qualified)(found.get("type") or "", f"{path}.type")
    yield from among("False", "True", "Unknown")(found.get("status") or "", f"{path}.status")
    yield from follow(found, _CONDITION, path)


def conditions(found: list[Obj], path: str) -> Problems:
    yield from checks.unique((one.get("type") for one in found), lambda index: f"{path}[{index}].type")
    yield from each(_condition)(found, path)
