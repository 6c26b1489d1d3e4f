"""One expression: compiled once, with its types checked, and evaluated many times."""

import re
from collections.abc import Mapping
from functools import cache, lru_cache
from typing import Any

from .shapes import Shape, pool_of

_EXTENSIONS = ("bindings", "lists", "math", "optional", "sets", "strings", "two-var-comprehensions")
_STATUS = re.compile(r"^[A-Z_]+: | \[[A-Z_]+\]$")
_UNKNOWN_KEY = "Key not found in map : "
_MESSAGE = re.compile(r" not found in struct '[^']*'")
_OBJECT = re.compile(r"\bk\.Object\d+")
_WORDS = {"divide by zero": "division by zero", "modulus by zero": "modulus by zero"}


class Broken(ValueError):
    """The expression cannot be compiled; the text says where and why."""


class Failed(ValueError):
    """The expression cannot be evaluated with these values; the text says why."""


class Program:
    """A compiled expression. `returns` is its CEL type as far as it is known: "bool", "string", "dyn"."""

    __slots__ = ("_program", "returns")

    def __init__(self, program: Any) -> None:
        self._program = program
        self.returns = str(program.return_type().name()).lower()

    def evaluate(self, variables: Mapping[str, Any]) -> Any:
        """Its value, plain. Raises Failed."""
        try:
            found = self._program.eval(data=variables)
        except (RuntimeError, TypeError, ValueError, OverflowError) as error:
            raise Failed(_why(str(error))) from error
        if found.type().name() == "ERROR":
            raise Failed(_why(str(found.value())))
        return found.plain_value()


@lru_cache(maxsize=2048)
def compiled(expression: str, names: tuple[str, ...]) -> Program:
    """The program of an expression in which these variables, of any type, are known. Raises Broken."""
    try:
        return Program(_environment(names).compile(expression))
    except (RuntimeError, ValueError) as error:
        raise Broken(_why(str(error))) from error


class Checker:
    """Checks expressions whose variables have these types; none is ever evaluated."""

    def __init__(self, variables: Mapping[str, Shape]) -> None:
        from cel_expr_python import cel

        from .extensions import extension, mixed_comparisons

        pool, types = pool_of(variables)
        self._environment = cel.NewEnv(
            descriptor_pool=pool, config=_config(), variables=types, extensions=[extension(), mixed_comparisons()]
        )

    def returns(self, expression: str) -> str:
        """The CEL type of what it gives. Raises Broken."""
        try:
            return Program(self._environment.compile(expression)).returns
        except (RuntimeError, ValueError) as error:
            raise Broken(_OBJECT.sub("object", _MESSAGE.sub("", _why(str(error))))) from error


@cache
def _environment(names: tuple[str, ...]) -> Any:
    from cel_expr_python import cel

    from .extensions import extension

    return cel.NewEnv(config=_config(), variables=dict.fromkeys(names, cel.Type.DYN), extensions=[extension()])


@cache
def _config() -> Any:
    from cel_expr_python import cel

    lines = ["name: kubernetes", "extensions:", *(f"- name: {name}" for name in _EXTENSIONS)]
    return cel.NewEnvConfigFromYaml("\n".join(lines))


def _why(text: str) -> str:
    """What the evaluator says, without its own codes and with Kubernetes' words for the commonest troubles."""
    text = _STATUS.sub("", text).strip()
    if text.startswith(_UNKNOWN_KEY):
        return "no such key: " + text.removeprefix(_UNKNOWN_KEY).strip().strip('"')
    return _WORDS.get(text, text)
