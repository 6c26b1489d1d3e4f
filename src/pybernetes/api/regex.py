"""Regular expressions as schemas and rules of custom resources have them: in Go's syntax, which is RE2's.

Google's own library, and not the standard one: to that `^(?i)a` and `[[:alpha:]]` are errors or something else, `(?=a)`
is none, and a pattern of one user against a value of another can keep it busy for hours, with everybody waiting.
Sources: github.com/google/re2/wiki/Syntax, Go's regexp/syntax.
"""

from functools import cache, lru_cache
from typing import Any


class BadPattern(ValueError):
    """It cannot be compiled; the text says why."""


@lru_cache(maxsize=1024)
def compiled(pattern: str) -> Any:
    """An object with search and finditer, in time that is linear in the text. Raises BadPattern."""
    import re2  # few servers ever see a pattern

    try:
        return re2.compile(pattern, options=_options())
    except re2.error as error:
        why = error.args[0] if error.args else ""
        raise BadPattern(why.decode("utf-8", "replace") if isinstance(why, bytes) else str(why)) from error


@cache
def _options() -> Any:
    import re2

    found = re2.Options()
    found.log_errors = False  # the one who wrote it is told
    return found
