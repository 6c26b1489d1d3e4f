"""Label and field selectors: parsed once, then a plain function of an object's labels or fields.

Sources: k8s.io/apimachinery/pkg/labels (grammar of the query parameter), meta/v1 LabelSelector, pkg/fields.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from . import names
from .objects import Obj, labels_of, metadata

_SET = re.compile(r"\s*(?P<key>[^\s,!=()<>]+)\s+(?P<op>in|notin)\s*\((?P<values>[^()]*)\)\s*")
_COMPARE = re.compile(r"\s*(?P<key>[^\s,!=()<>]+)\s*(?P<op>==|=|!=|<|>)\s*(?P<values>[^\s,!=()<>]*)\s*")
_EXISTS = re.compile(r"\s*(?P<op>!?)\s*(?P<key>[^\s,!=()<>]+)\s*")
_OPERATORS = {"=": "In", "==": "In", "!=": "NotIn", "in": "In", "notin": "NotIn", "<": "Lt", ">": "Gt"}
_EXPRESSIONS = frozenset({"In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"})


@dataclass(frozen=True, slots=True)
class Requirement:
    """One term; operators are In, NotIn, Exists, DoesNotExist, Gt, Lt. NotIn also matches an absent key."""

    key: str
    operator: str
    values: frozenset[str] = frozenset()

    def matches(self, labels: Mapping[str, str]) -> bool:
        value = labels.get(self.key)
        match self.operator:
            case "In":
                return value is not None and value in self.values
            case "NotIn":
                return value is None or value not in self.values
            case "Exists":
                return value is not None
            case "DoesNotExist":
                return value is None
            case "Gt" | "Lt":
                return self._compares(value)
        return False

    def _compares(self, value: str | None) -> bool:
        try:
            have, want = int(value or ""), int(next(iter(self.values)))
        except ValueError:
            return False
        return have > want if self.operator == "Gt" else have < want

    def __str__(self) -> str:
        values = ",".join(sorted(self.values))
        match self.operator:
            case "In":
                return f"{self.key}={values}" if len(self.values) == 1 else f"{self.key} in ({values})"
            case "NotIn":
                return f"{self.key}!={values}" if len(self.values) == 1 else f"{self.key} notin ({values})"
            case "Exists":
                return self.key
            case "DoesNotExist":
                return f"!{self.key}"
        return f"{self.key}{'>' if self.operator == 'Gt' else '<'}{values}"


@dataclass(frozen=True, slots=True)
class Selector:
    """All terms must hold; no terms match everything, `nothing` matches nothing."""

    terms: tuple[Requirement, ...] = ()
    nothing: bool = False

    def matches(self, labels: Mapping[str, str]) -> bool:
        return not self.nothing and all(term.matches(labels) for term in self.terms)

    def matches_object(self, obj: Obj) -> bool:
        return self.matches(labels_of(obj))

    def __bool__(self) -> bool:
        """Whether it restricts anything at all."""
        return self.nothing or bool(self.terms)

    def __str__(self) -> str:
        """The query parameter; parse(str(s)) matches the same."""
        return ",".join(str(term) for term in self.terms)


EVERYTHING = Selector()
NOTHING = Selector(nothing=True)


def parse(text: str) -> Selector:
    """A labelSelector query parameter: "a=b,c!=d,e in (f,g),!h,i". Raises ValueError."""
    terms: list[Requirement] = []
    position = 0
    while position < len(text):
        term, position = _term(text, position)
        terms.append(term)
        if position < len(text):
            if text[position] != ",":
                raise ValueError(_misfit(text[position:], terms[-1]))
            position += 1
            if not text[position:].strip():
                raise ValueError("found '', expected: identifier after ','")
    return Selector(tuple(terms))


_WORD = re.compile(r"[^\s,!=()<>]+|==|!=|[,!=()<>]")
_BINARY = "in, notin, =, ==, !=, gt, lt"


def _misfit(rest: str, term: Requirement) -> str:
    """What is wrong with what follows a term, as the parser of apimachinery says it."""
    first, *others = *_WORD.findall(rest), ""
    if term.operator != "Exists":
        return f"found '{first}', expected: ',' or 'end of string'"
    if first not in ("in", "notin"):
        return f"unable to parse requirement: found '{first}', expected: {_BINARY}"
    if others[0] != "(":
        return f"unable to parse requirement: found '{others[0]}' expected: '('"
    end = next((word for word in others[2:] if word != ","), "")
    return f"unable to parse requirement: found '{end}', expected: ',' or ')'"


def _term(text: str, position: int) -> tuple[Requirement, int]:
    if match := _SET.match(text, position):
        values = frozenset(value.strip() for value in match["values"].split(","))
        return _requirement(match["key"], _OPERATORS[match["op"]], values), match.end()
    if match := _COMPARE.match(text, position):
        return _requirement(match["key"], _OPERATORS[match["op"]], frozenset({match["values"]})), match.end()
    if match := _EXISTS.match(text, position):
        return _requirement(match["key"], "DoesNotExist" if match["op"] else "Exists", frozenset()), match.end()
    raise ValueError(f"unable to parse requirement: found '{text[position:].strip()}', expected: identifier")


def _requirement(key: str, operator: str, values: frozenset[str]) -> Requirement:
    for problem in names.qualified(key):
        raise ValueError(f'unable to parse requirement: <nil>: Invalid value: "{key}": {problem}')
    if operator in ("Gt", "Lt"):
        if not re.fullmatch(r"[-+]?\d+", next(iter(values))):
            raise ValueError("values[0][]: for 'Gt', 'Lt' operators, the value must be an integer")
        return Requirement(key, operator, values)
    for value in sorted(values):
        for problem in names.label_value(value):
            raise ValueError(f'unable to parse requirement: values[0][{key}]: Invalid value: "{value}": {problem}')
    return Requirement(key, operator, values)


def exact(labels: Mapping[str, str] | None) -> Selector:
    """A map selector (Service.spec.selector, nodeSelector): every pair must be there. None and {} match everything."""
    return Selector(tuple(Requirement(key, "In", frozenset({value})) for key, value in sorted((labels or {}).items())))


def of(selector: Mapping[str, Any] | None) -> Selector:
    """A meta/v1 LabelSelector object: None matches nothing, {} everything. Raises ValueError on a bad operator."""
    if selector is None:
        return NOTHING
    terms = list(exact(selector.get("matchLabels")).terms)
    for expression in selector.get("matchExpressions") or ():
        operator = expression.get("operator", "")
        if operator not in _EXPRESSIONS:
            raise ValueError(f'"{operator}" is not a valid label selector operator')
        terms.append(Requirement(expression.get("key", ""), operator, frozenset(expression.get("values") or ())))
    return Selector(tuple(terms))


@dataclass(frozen=True, slots=True)
class FieldTerm:
    path: str
    value: str
    equal: bool = True

    def __str__(self) -> str:
        escaped = re.sub(r"([\\,=])", r"\\\1", self.value)
        return f"{self.path}{'=' if self.equal else '!='}{escaped}"


@dataclass(frozen=True, slots=True)
class FieldSelector:
    """All terms must hold. Absent fields read as ""."""

    terms: tuple[FieldTerm, ...] = ()

    def matches(self, read: Callable[[str], str]) -> bool:
        return all((read(term.path) == term.value) is term.equal for term in self.terms)

    def matches_object(self, obj: Obj) -> bool:
        return all((field_of(obj, term.path) == term.value) is term.equal for term in self.terms)

    def unsupported(self, supported: Iterable[str]) -> str:
        """The first path that is not metadata.name, metadata.namespace or one of `supported`; "" when all are."""
        known = {"metadata.name", "metadata.namespace", *supported}
        return next((term.path for term in self.terms if term.path not in known), "")

    def exact(self, path: str) -> str | None:
        """The value that `path` must have, when the selector fixes it (metadata.name: one object)."""
        return next((term.value for term in self.terms if term.equal and term.path == path), None)

    def __bool__(self) -> bool:
        return bool(self.terms)

    def __str__(self) -> str:
        return ",".join(str(term) for term in self.terms)


def parse_fields(text: str) -> FieldSelector:
    r"""A fieldSelector query parameter: "a.b=c,d!=", with \, \= and \\ escaped in values. Raises ValueError."""
    return FieldSelector(tuple(_field_term(part) for part in re.findall(r"(?:[^\\,]|\\.)+", text)))


def _field_term(text: str) -> FieldTerm:
    for operator in ("!=", "==", "="):
        path, found, value = text.partition(operator)
        if found and "=" not in path:
            if re.fullmatch(r"(?:[^\\=]|\\.)*", value) is None:
                break
            return FieldTerm(path, re.sub(r"\\(.)", r"\1", value), operator != "!=")
    raise ValueError(f"invalid selector: '{text}'; can't understand '{text}'")


_ABSENT = {"spec.unschedulable": "false", "spec.hostNetwork": "false", "status.successful": "0", "status.replicas": "0"}
"""What an absent field reads as where it is not ""."""


def field_of(obj: Obj, path: str) -> str:
    """The text a field selector compares; an Event's `source` is its component."""
    if path == "metadata.name":
        return str(metadata(obj).get("name", ""))
    value: Any = obj
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    if isinstance(value, dict):
        value = value.get("component")
    if value is None:
        return _ABSENT.get(path, "")
    return str(value).lower() if isinstance(value, bool) else str(value)
