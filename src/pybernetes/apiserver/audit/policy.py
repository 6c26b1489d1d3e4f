"""The policy file: which requests are told of, and how much of each. The first rule that matches decides; pure.

Source: Kubernetes docs, "Auditing", and the API reference of audit.k8s.io/v1 Policy.
"""

from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec
import yaml

from ..route import Route
from ..users import User

Level = Literal["None", "Metadata", "Request", "RequestResponse"]
Stage = Literal["RequestReceived", "ResponseStarted", "ResponseComplete", "Panic"]


class BadPolicy(ValueError):
    """A policy file that cannot be used; the text says why."""


class GroupResources(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Resources of one API group: "pods", "pods/log", "*", "*/status", "pods/*"; none for all."""

    group: str = ""
    resources: tuple[str, ...] = ()
    resource_names: tuple[str, ...] = ()

    def matches(self, route: Route) -> bool:
        row = route.resource
        if row is None or self.group != row.group:
            return False
        if not self.resources:
            return True
        if self.resource_names and route.name not in self.resource_names:
            return False
        wanted = {"*", route.target, f"{row.plural}/*"}
        if route.subresource:
            wanted.add(f"*/{route.subresource}")
        return not wanted.isdisjoint(self.resources)


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """One rule; what is empty matches everything."""

    level: Level
    users: tuple[str, ...] = ()
    user_groups: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ()
    resources: tuple[GroupResources, ...] = ()
    namespaces: tuple[str, ...] = ()
    urls: tuple[str, ...] = msgspec.field(default=(), name="nonResourceURLs")
    omit_stages: tuple[Stage, ...] = ()
    omit_managed_fields: bool | None = None

    def matches(self, user: User | None, route: Route) -> bool:
        if self.users and (user is None or user.name not in self.users):
            return False
        if self.user_groups and (user is None or not set(self.user_groups).intersection(user.groups)):
            return False
        if self.verbs and route.verb not in self.verbs:
            return False
        if self.namespaces or self.resources:
            if route.resource is None or (self.namespaces and route.namespace not in self.namespaces):
                return False
            return not self.resources or any(one.matches(route) for one in self.resources)
        if self.urls:
            return route.resource is None and any(_url(route.path, url) for url in self.urls)
        return True


class Decision(NamedTuple):
    """What the policy says of one request."""

    level: Level
    omit: frozenset[Stage] = frozenset()
    omit_managed_fields: bool = False


_NOTHING = Decision("None")


class Policy(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """A Policy document."""

    api_version: Literal["audit.k8s.io/v1"]
    kind: Literal["Policy"]
    rules: tuple[Rule, ...]
    metadata: dict[str, Any] = {}
    omit_stages: tuple[Stage, ...] = ()
    omit_managed_fields: bool = False

    @classmethod
    def load(cls, path: Path) -> "Policy":
        """Raises BadPolicy, which names the file."""
        try:
            found = msgspec.convert(yaml.safe_load(path.read_text()), cls)
        except (OSError, yaml.YAMLError, msgspec.ValidationError) as error:
            raise BadPolicy(f"audit policy {path}: {error}") from error
        if not found.rules:
            raise BadPolicy(f"audit policy {path}: it has no rules")
        for number, rule in enumerate(found.rules):
            if rule.urls and (rule.resources or rule.namespaces):
                raise BadPolicy(f"audit policy {path}: rules[{number}] applies to resources and to nonResourceURLs")
        return found

    def decide(self, user: User | None, route: Route) -> Decision:
        """`user` is None when the credential was refused."""
        for rule in self.rules:
            if rule.matches(user, route):
                omit = self.omit_managed_fields if rule.omit_managed_fields is None else rule.omit_managed_fields
                return Decision(rule.level, frozenset((*self.omit_stages, *rule.omit_stages)), omit)
        return _NOTHING


def _url(path: str, wanted: str) -> bool:
    return wanted in ("*", path) or (wanted.endswith("*") and path.startswith(wanted.rstrip("*")))
