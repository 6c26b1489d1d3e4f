"""RBAC: may this user do that? Rules are compiled when roles or bindings change, and answers remembered until then.

An aggregated ClusterRole is the union of those its aggregationRule selects, worked out here: nobody waits for the
controller that writes it into the object.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from pybernetes.api import resources, selectors
from pybernetes.api.objects import Obj, decode, labels_of, name_of, namespace_of
from pybernetes.api.resources import Resource

from ..users import MASTERS, User
from ..watchcache import WatchCache
from .attributes import Attributes

_ROWS = (
    resources.CLUSTER_ROLES,
    resources.CLUSTER_ROLE_BINDINGS,
    resources.ROLES,
    resources.ROLE_BINDINGS,
)
_REMEMBERED = 20_000


class Rule(NamedTuple):
    """A PolicyRule, ready for comparing."""

    verbs: frozenset[str]
    groups: frozenset[str] = frozenset()
    resources: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()
    paths: tuple[str, ...] = ()
    source: Obj | None = None

    def allows(self, asked: Attributes) -> bool:
        if asked.verb not in self.verbs and "*" not in self.verbs:
            return False
        if asked.path:
            return any(_path_matches(path, asked.path) for path in self.paths)
        return (
            (asked.group in self.groups or "*" in self.groups)
            and self._covers(asked.resource)
            and (not self.names or asked.name in self.names)
        )

    def _covers(self, resource: str) -> bool:
        if resource in self.resources or "*" in self.resources:
            return True
        _, slash, part = resource.partition("/")
        return bool(slash) and f"*/{part}" in self.resources


def _path_matches(pattern: str, path: str) -> bool:
    return pattern in ("*", path) or (pattern.endswith("*") and path.startswith(pattern[:-1]))


def compiled(rules: Iterable[Obj] | None) -> tuple[Rule, ...]:
    return tuple(
        Rule(
            frozenset(rule.get("verbs") or ()),
            frozenset(rule.get("apiGroups") or ()),
            frozenset(rule.get("resources") or ()),
            frozenset(rule.get("resourceNames") or ()),
            tuple(rule.get("nonResourceURLs") or ()),
            rule,
        )
        for rule in rules or ()
    )


class Answer(NamedTuple):
    """Whether it is allowed, and why or why not, in Kubernetes' words ("" when there is nothing to say)."""

    allowed: bool
    reason: str = ""


class _Grant(NamedTuple):
    """Rules a subject has in a namespace ("" for everywhere); `why` names the binding, `missing` a role that is not."""

    namespace: str
    rules: tuple[Rule, ...]
    why: str
    missing: str = ""


class Rbac:
    """Reads the four RBAC kinds from the watch cache."""

    def __init__(self, cache: WatchCache) -> None:
        self._cache = cache
        self._seen: tuple[int, ...] = ()
        self._grants: dict[tuple[str, str], list[_Grant]] = {}
        self._answers: dict[tuple[User, Attributes], Answer] = {}

    def answer(self, user: User, asked: Attributes) -> Answer:
        self._refresh()
        if asked.fields or asked.labels:
            asked = asked._replace(fields=(), labels=())
        key = (user, asked)
        try:
            return self._answers[key]
        except KeyError:
            pass
        if len(self._answers) >= _REMEMBERED:
            self._answers.clear()
        answer = self._answers[key] = self._decide(user, asked)
        return answer

    def _decide(self, user: User, asked: Attributes) -> Answer:
        missing = []
        for grant in self.grants(user, asked.namespace):
            if any(rule.allows(asked) for rule in grant.rules):
                return Answer(True, f"RBAC: allowed by {grant.why}")
            if grant.missing:
                missing.append(grant.missing)
        if not missing:
            return Answer(False)
        text = missing[0] if len(missing) == 1 else f"[{', '.join(missing)}]"
        return Answer(False, f"RBAC: {text}")

    def grants(self, user: User, namespace: str) -> Iterator[_Grant]:
        """Everywhere first, then those of one namespace."""
        self._refresh()
        subjects = [("User", user.name), *(("Group", group) for group in user.groups)]
        found = [grant for subject in subjects for grant in self._grants.get(subject, ())]
        yield from (grant for grant in found if not grant.namespace)
        if namespace:
            yield from (grant for grant in found if grant.namespace == namespace)

    def rules(self, user: User, namespace: str) -> list[Rule]:
        """All that the user may do there, and on non-resource paths."""
        if MASTERS in user.groups:
            everything = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}
            return list(compiled([everything, {"verbs": ["*"], "nonResourceURLs": ["*"]}]))
        return [rule for grant in self.grants(user, namespace) for rule in grant.rules]

    def role_rules(self, reference: Obj, namespace: str) -> tuple[Rule, ...] | None:
        """Those of a roleRef; None when there is no such role."""
        row = resources.ROLES if reference.get("kind") == "Role" else resources.CLUSTER_ROLES
        where = namespace if row is resources.ROLES else ""
        item = self._cache.shelf(row.prefix).get(row.key(where, reference.get("name", "")))
        if item is None:
            return None
        role = decode(item.record.value)
        return compiled(effective(role, self._read(row) if role.get("aggregationRule") else ()))

    def _refresh(self) -> None:
        seen = (self._cache.loads, *(self._cache.shelf(row.prefix).changed for row in _ROWS))
        if seen == self._seen:
            return
        self._seen = seen
        self._answers = {}
        self._grants = {}
        cluster_roles = {name_of(role): role for role in self._read(resources.CLUSTER_ROLES)}
        roles = {(namespace_of(role), name_of(role)): role for role in self._read(resources.ROLES)}
        ready: dict[str, tuple[Rule, ...]] = {}
        for binding in (*self._read(resources.CLUSTER_ROLE_BINDINGS), *self._read(resources.ROLE_BINDINGS)):
            namespace = namespace_of(binding)
            reference = binding.get("roleRef") or {}
            name = reference.get("name", "")
            if reference.get("kind") == "Role":
                found = roles.get((namespace, name))
                rules = compiled((found or {}).get("rules"))
            else:
                found = cluster_roles.get(name)
                if name not in ready:
                    ready[name] = compiled(effective(found or {}, cluster_roles.values()))
                rules = ready[name]
            missing = "" if found is not None else _not_found(reference)
            for subject in binding.get("subjects") or ():
                grant = _Grant(namespace, rules, _why(binding, reference, subject), missing)
                self._grants.setdefault(_subject(subject, namespace), []).append(grant)

    def _read(self, row: Resource) -> list[Obj]:
        return [decode(item.record.value) for item in self._cache.shelf(row.prefix).scan()]


def effective(role: Obj, all_roles: Iterable[Obj]) -> list[Obj]:
    """A ClusterRole's rules; those of an aggregated one are what it selects, each once, in the order of names.

    What it selects may be aggregated too (admin selects edit, which selects view): nothing waits for a controller.
    """
    return _united(role, sorted(all_roles, key=name_of), frozenset())


def _united(role: Obj, every: Sequence[Obj], above: frozenset[str]) -> list[Obj]:
    wanted = (role.get("aggregationRule") or {}).get("clusterRoleSelectors")
    if not wanted:
        return list(role.get("rules") or ())
    chosen = [selectors.of(selector) for selector in wanted]
    above |= {name_of(role)}
    rules: list[Obj] = []
    for other in every:
        if name_of(other) not in above and any(selector.matches(labels_of(other)) for selector in chosen):
            rules += (rule for rule in _united(other, every, above) if rule not in rules)
    return rules


def _not_found(reference: Obj) -> str:
    kind = str(reference.get("kind", "")).lower()
    return f'{kind}.rbac.authorization.k8s.io "{reference.get("name", "")}" not found'


def _subject(subject: Obj, namespace: str) -> tuple[str, str]:
    name = subject.get("name", "")
    if subject.get("kind") == "ServiceAccount":
        return "User", f"system:serviceaccount:{subject.get('namespace') or namespace}:{name}"
    return subject.get("kind", ""), name


def _why(binding: Obj, reference: Obj, subject: Obj) -> str:
    namespace = namespace_of(binding)
    name = f"{name_of(binding)}/{namespace}" if namespace else name_of(binding)
    who = subject.get("name", "")
    if subject.get("kind") == "ServiceAccount":
        who = f"{who}/{subject.get('namespace') or namespace}"
    return (
        f'{binding["kind"]} "{name}" of {reference.get("kind")} "{reference.get("name")}" '
        f'to {subject.get("kind")} "{who}"'
    )
