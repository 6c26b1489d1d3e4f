"""The configured admission webhooks, parsed once, and which of them a write concerns.

What rules say of a (resource, subresource, operation) is computed once and kept until a configuration changes: a write
that no webhook wants costs two look-ups.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from pybernetes.api import selectors
from pybernetes.api.objects import Obj, decode, name_of
from pybernetes.api.resources import Resource
from pybernetes.api.scheme import Scheme
from pybernetes.api.selectors import Selector

from ..watchcache import Shelf

_GROUP = "admissionregistration.k8s.io"
EXEMPT = frozenset(
    f"{policy}.{_GROUP}"
    for policy in (
        *("mutatingwebhookconfigurations", "validatingwebhookconfigurations"),
        *("validatingadmissionpolicies", "validatingadmissionpolicybindings"),
        *("mutatingadmissionpolicies", "mutatingadmissionpolicybindings"),
    )
)
"""What governs admission is never itself sent to a webhook: a bad one could not be taken away again."""


@dataclass(frozen=True, slots=True)
class Rule:
    """admissionregistration/v1 RuleWithOperations."""

    operations: frozenset[str]
    groups: frozenset[str]
    versions: frozenset[str]
    targets: tuple[tuple[str, str], ...]
    """(resource, subresource), each may be "*"."""
    scope: str

    @classmethod
    def of(cls, rule: Obj) -> "Rule":
        split = (one.partition("/") for one in rule.get("resources") or ())
        return cls(
            frozenset(rule.get("operations") or ()),
            frozenset(rule.get("apiGroups") or ()),
            frozenset(rule.get("apiVersions") or ()),
            tuple((plural, part) for plural, _, part in split),
            rule.get("scope") or "*",
        )

    def matches(self, row: Resource, part: str, operation: str) -> bool:
        return (
            _in(operation, self.operations)
            and _in(row.group, self.groups)
            and _in(row.version, self.versions)
            and self.scope in ("*", "Namespaced" if row.namespaced else "Cluster")
            and any(plural in ("*", row.plural) and sub in ("*", part) for plural, sub in self.targets)
        )


def _in(value: str, wanted: frozenset[str]) -> bool:
    return "*" in wanted or value in wanted


@dataclass(frozen=True, slots=True, eq=False)
class Hook:
    """One webhook of a configuration."""

    name: str
    configuration: str
    client: Obj
    rules: tuple[Rule, ...]
    namespaces: Selector
    objects: Selector
    conditions: tuple[tuple[str, str], ...]
    """(name, CEL expression)."""
    equivalent: bool
    fails_open: bool
    side_effects: str
    timeout_seconds: float
    reinvoked: bool
    version: str
    """Of the AdmissionReview it is sent."""

    @classmethod
    def of(cls, hook: Obj, configuration: str) -> "Hook":
        versions = hook.get("admissionReviewVersions") or ["v1"]
        return cls(
            name=hook["name"],
            configuration=configuration,
            client=hook.get("clientConfig") or {},
            rules=tuple(Rule.of(rule) for rule in hook.get("rules") or ()),
            namespaces=selectors.of(hook.get("namespaceSelector") or {}),
            objects=selectors.of(hook.get("objectSelector") or {}),
            conditions=tuple((one["name"], one["expression"]) for one in hook.get("matchConditions") or ()),
            equivalent=hook.get("matchPolicy") != "Exact",
            fails_open=hook.get("failurePolicy") == "Ignore",
            side_effects=hook.get("sideEffects") or "Unknown",
            timeout_seconds=float(hook.get("timeoutSeconds") or 10),
            reinvoked=hook.get("reinvocationPolicy") == "IfNeeded",
            version=next((one for one in versions if one in ("v1", "v1beta1")), "v1"),
        )


class Invocation(NamedTuple):
    """A webhook, and the row in whose version it wants the object."""

    hook: Hook
    row: Resource


class Shelves(Protocol):
    def shelf(self, prefix: str) -> Shelf: ...


class Hooks:
    """The webhooks of one kind of configuration, in the order of their calls: by its name, then as listed."""

    def __init__(self, configurations: Resource, cache: Shelves, scheme: Scheme) -> None:
        self._prefix = configurations.prefix
        self._cache = cache
        self._scheme = scheme
        self._shelf: Shelf | None = None
        self._changed = -1
        self._hooks: tuple[Hook, ...] = ()
        self._found: dict[tuple[str, str, str, str, str], tuple[Invocation, ...]] = {}
        scheme.changed.append(self._found.clear)

    def matching(self, row: Resource, part: str, operation: str) -> Sequence[Invocation]:
        """Those whose rules name it."""
        shelf = self._cache.shelf(self._prefix)
        if shelf is not self._shelf or shelf.changed != self._changed:
            self._read(shelf)
        if not self._hooks:
            return ()
        key = (row.group, row.version, row.plural, part, operation)
        found = self._found.get(key)
        if found is None:
            found = self._found[key] = tuple(self._invocations(row, part, operation))
        return found

    def _read(self, shelf: Shelf) -> None:
        configurations = [decode(item.record.value) for item in shelf.scan()]
        self._hooks = tuple(Hook.of(hook, name_of(one)) for one in configurations for hook in one.get("webhooks") or ())
        self._shelf, self._changed = shelf, shelf.changed
        self._found.clear()

    def _invocations(self, row: Resource, part: str, operation: str) -> list[Invocation]:
        if row.qualified in EXEMPT:
            return []
        others = [one for one in self._scheme.resources if one.prefix == row.prefix and one != row]
        found = []
        for hook in self._hooks:
            if any(rule.matches(row, part, operation) for rule in hook.rules):
                found.append(Invocation(hook, row))
            elif hook.equivalent:
                found += [
                    Invocation(hook, other)
                    for rule in hook.rules
                    for other in others
                    if rule.matches(other, part, operation)
                ][:1]
        return found
