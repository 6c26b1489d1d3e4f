"""Numbers as Go writes them: 1.0 is 1, or clients with integer fields could not read it back."""

from typing import Any

_MOST = 1e21
"""From here on Go writes an exponent."""


def plain(value: Any) -> Any:
    """The value with every float that is whole as an integer; lists and objects are edited in place."""
    if type(value) is float:
        return int(value) if value.is_integer() and abs(value) < _MOST else value
    if type(value) is dict:
        for name, inner in value.items():
            if type(inner) in _WITH_FLOATS:
                value[name] = plain(inner)
    elif type(value) is list:
        for index, inner in enumerate(value):
            if type(inner) in _WITH_FLOATS:
                value[index] = plain(inner)
    return value


_WITH_FLOATS = (float, dict, list)
