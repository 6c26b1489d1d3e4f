"""Columns of custom resources: JSON paths into the object, shown as their type says (additionalPrinterColumns)."""

from functools import lru_cache
from typing import Any

from .. import jsonpath, times
from ..objects import Obj, encode, name_of
from ..resources import PrinterColumn
from .cells import UNKNOWN, seconds
from .column import Column, Printer, columns

_NAME = columns("Name")


@lru_cache(maxsize=1024)
def printer(wanted: tuple[PrinterColumn, ...]) -> Printer:
    """The name, then a cell for each column."""
    definitions = tuple(
        Column(
            name=one.name,
            type=one.type,
            format=one.format,
            priority=one.priority,
            description=one.description or f"Custom resource definition column (in JSONPath format): {one.path}",
        )
        for one in wanted
    )

    def cells(obj: Obj, now: float) -> list[Any]:
        return [name_of(obj), *(_cell(one, obj, now) for one in wanted)]

    return Printer(_NAME + definitions, cells)


def _cell(column: PrinterColumn, obj: Obj, now: float) -> Any:
    """The first value at the path (the others are not shown); None where there is none: clients print <none>."""
    found = jsonpath.find(obj, column.path)
    if not found:
        return None
    value = found[0]
    match column.type:
        case "integer" if isinstance(value, int | float) and not isinstance(value, bool):
            return int(value)
        case "number" if isinstance(value, int | float) and not isinstance(value, bool):
            return value
        case "boolean" if isinstance(value, bool):
            return value
        case "date" if isinstance(value, str):
            return _since(value, now)
        case "string":
            return _text(value)
    return None


def _since(text: str, now: float) -> str:
    try:
        return times.human(now - seconds(text)) if text else UNKNOWN
    except ValueError:
        return "<invalid>"


def _text(value: Any) -> str:
    if value is None:
        return "<no value>"
    return value if isinstance(value, str) else encode(value).decode()
