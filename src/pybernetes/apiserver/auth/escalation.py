"""Nobody grants what they do not hold: which rules of a role its author lacks, in Kubernetes' words.

Source: docs, "Privilege escalation prevention and bootstrapping"; pkg/registry/rbac/validation.
"""

import json
from collections.abc import Iterable, Iterator, Sequence

from pybernetes.api.objects import Obj

from ..users import User
from .rbac import Rule, compiled

EVERYTHING: tuple[Obj, ...] = (
    {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]},
    {"nonResourceURLs": ["*"], "verbs": ["*"]},
)


def lacking(held: Sequence[Rule], wanted: Iterable[Obj]) -> list[Obj]:
    """Those of the wanted rules, taken apart to one verb and resource each, that no held rule covers."""
    return [one for rule in wanted for one in _parts(rule) if not _covered(held, compiled([one])[0])]


def refusal(user: User, missing: Iterable[Obj]) -> str:
    """The text of the error."""
    groups = " ".join(_quoted(group) for group in user.groups)
    lines = sorted({_shown(rule) for rule in _together(missing)})
    who = f"user {_quoted(user.name)} (groups=[{groups}])"
    return f"{who} is attempting to grant RBAC permissions not currently held:\n" + "\n".join(lines)


def _parts(rule: Obj) -> Iterator[Obj]:
    verbs = rule.get("verbs") or ()
    for group in rule.get("apiGroups") or ():
        for resource in rule.get("resources") or ():
            for verb in verbs:
                one = {"apiGroups": [group], "resources": [resource], "verbs": [verb]}
                names = rule.get("resourceNames") or ()
                yield from ({**one, "resourceNames": [name]} for name in names) if names else (one,)
    for url in rule.get("nonResourceURLs") or ():
        for verb in verbs:
            yield {"nonResourceURLs": [url], "verbs": [verb]}


def _covered(held: Sequence[Rule], one: Rule) -> bool:
    return any(_covers(rule, one) for rule in held)


def _covers(rule: Rule, one: Rule) -> bool:
    if "*" not in rule.verbs and not one.verbs <= rule.verbs:
        return False
    if one.paths:
        return any(_path_covers(path, one.paths[0]) for path in rule.paths)
    (resource,) = one.resources
    return (
        ("*" in rule.groups or one.groups <= rule.groups)
        and _resource_covers(rule.resources, resource)
        and (not rule.names or (bool(one.names) and one.names <= rule.names))
    )


def _resource_covers(held: frozenset[str], resource: str) -> bool:
    _, slash, part = resource.partition("/")
    return "*" in held or resource in held or (bool(slash) and f"*/{part}" in held)


def _path_covers(pattern: str, path: str) -> bool:
    return pattern in ("*", path) or (pattern.endswith("*") and path.startswith(pattern.rstrip("*")))


def _together(missing: Iterable[Obj]) -> list[Obj]:
    """Parts of one resource, with their verbs in one rule again."""
    found: dict[tuple[str, ...], Obj] = {}
    others = []
    for rule in missing:
        if "nonResourceURLs" in rule:
            others.append(rule)
            continue
        key = (rule["apiGroups"][0], rule["resources"][0], *rule.get("resourceNames", ()))
        if key in found:
            found[key]["verbs"] = [*found[key]["verbs"], *rule["verbs"]]
        else:
            found[key] = dict(rule)
    return [*others, *found.values()]


_FIELDS = (
    ("APIGroups", "apiGroups"),
    ("Resources", "resources"),
    ("NonResourceURLs", "nonResourceURLs"),
    ("ResourceNames", "resourceNames"),
    ("Verbs", "verbs"),
)


def _shown(rule: Obj) -> str:
    """As Kubernetes writes a rule in one line."""
    parts = (
        f"{title}:[{' '.join(_quoted(value) for value in rule[field])}]" for title, field in _FIELDS if rule.get(field)
    )
    return "{" + ", ".join(parts) + "}"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
