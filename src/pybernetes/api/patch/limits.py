"""A bound on nesting: what is too deep to walk is the sender's mistake, never the server's."""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from ..errors import BadRequest

P = ParamSpec("P")
R = TypeVar("R")


def bounded(function: Callable[P, R]) -> Callable[P, R]:
    """The function, with a BadRequest in place of a RecursionError."""

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except RecursionError:
            raise BadRequest("error decoding patch: exceeded max depth") from None

    return run
