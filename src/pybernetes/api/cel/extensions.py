"""Kubernetes' functions as the evaluator takes them."""

import operator
from collections.abc import Callable
from itertools import permutations
from typing import Any

from .authorization import AUTHORIZATION_FUNCTIONS
from .formats import FORMAT_FUNCTIONS
from .functions import FUNCTIONS


def extension() -> Any:
    """All functions of Kubernetes."""
    from cel_expr_python import cel

    types = {
        "string": cel.Type.STRING,
        "int": cel.Type.INT,
        "bool": cel.Type.BOOL,
        "double": cel.Type.DOUBLE,
        "dyn": cel.Type.DYN,
        "list": cel.Type.List(cel.Type.DYN),
        "texts": cel.Type.List(cel.Type.STRING),
        "map": cel.Type.Map(cel.Type.DYN, cel.Type.DYN),
    }
    overloads: dict[str, list[Any]] = {}
    for one in (*FUNCTIONS, *FORMAT_FUNCTIONS, *AUTHORIZATION_FUNCTIONS):
        overload = cel.Overload(
            "_".join(("kubernetes", one.name, *one.parameters)).replace(".", "_"),
            return_type=types[one.returns],
            parameters=[types[parameter] for parameter in one.parameters],
            is_member=one.member,
            impl=one.call,
        )
        overloads.setdefault(one.name, []).append(overload)
    return cel.CelExtension("kubernetes", [cel.FunctionDecl(name, found) for name, found in overloads.items()])


def mixed_comparisons() -> Any:
    """Numbers of two types can be ordered, which the checker has to be told; the evaluator does so by itself."""
    from cel_expr_python import cel

    numbers = {"int": cel.Type.INT, "uint": cel.Type.UINT, "double": cel.Type.DOUBLE}
    order: dict[str, Callable[[Any, Any], bool]] = {
        "_<_": operator.lt,
        "_<=_": operator.le,
        "_>_": operator.gt,
        "_>=_": operator.ge,
    }
    found = []
    for name, call in order.items():
        overloads = [
            cel.Overload(
                f"mixed_{call.__name__}_{one}_{other}",
                return_type=cel.Type.BOOL,
                parameters=[numbers[one], numbers[other]],
                is_member=False,
                impl=call,
            )
            for one, other in permutations(numbers, 2)
        ]
        found.append(cel.FunctionDecl(name, overloads))
    return cel.CelExtension("mixed", found)
