"""Roles and bindings."""

from collections.abc import Iterator

from .. import names
from ..errors import FieldError
from ..objects import Obj
from . import checks, meta
from .strategy import Strategy

Problems = Iterator[FieldError]

GROUP = "rbac.authorization.k8s.io"


class RoleStrategy(Strategy):
    """Role (namespaced) and ClusterRole."""

    name_rule = staticmethod(meta.path_name)
    create_on_update = True

    def __init__(self, *, namespaced: bool) -> None:
        self.namespaced = namespaced

    def default(self, obj: Obj) -> None:
        if obj.get("rules") is None:
            obj["rules"] = []

    def check(self, new: Obj, old: Obj | None, *, part: str = "") -> Problems:
        for index, rule in enumerate(new.get("rules") or ()):
            yield from self._rule(rule, f"rules[{index}]")
        aggregated = new.get("aggregationRule")
        if aggregated is not None and not aggregated.get("clusterRoleSelectors"):
            detail = "at least one clusterRoleSelector required if aggregationRule is non-nil"
            yield FieldError.required("aggregationRule", detail)
        for index, selector in enumerate((aggregated or {}).get("clusterRoleSelectors") or ()):
            yield from checks.selector(selector, f"aggregationRule.clusterRoleSelectors[{index}]")

    def _rule(self, rule: Obj, path: str) -> Problems:
        if not rule.get("verbs"):
            yield FieldError.required(f"{path}.verbs", "verbs must contain at least one value")
        if urls := rule.get("nonResourceURLs"):
            if self.namespaced:
                detail = "namespaced rules cannot apply to non-resource URLs"
                yield FieldError.invalid(f"{path}.nonResourceURLs", urls, detail)
            if any(rule.get(field) for field in ("apiGroups", "resources", "resourceNames")):
                detail = "rules cannot apply to both regular resources and non-resource URLs"
                yield FieldError.invalid(f"{path}.nonResourceURLs", urls, detail)
            return
        if not rule.get("apiGroups"):
            yield FieldError.required(f"{path}.apiGroups", "resource rules must supply at least one api group")
        if not rule.get("resources"):
            yield FieldError.required(f"{path}.resources", "resource rules must supply at least one resource")


class BindingStrategy(Strategy):
    """RoleBinding (namespaced) and ClusterRoleBinding. What is bound never changes."""

    name_rule = staticmethod(meta.path_name)
    create_on_update = True

    def __init__(self, *, namespaced: bool) -> None:
        self.namespaced = namespaced

    def default(self, obj: Obj) -> None:
        if (role := obj.get("roleRef")) is not None and not role.get("apiGroup"):
            role["apiGroup"] = GROUP
        for subject in obj.get("subjects") or ():
            if subject.get("kind") in ("User", "Group") and not subject.get("apiGroup"):
                subject["apiGroup"] = GROUP

    def check(self, new: Obj, old: Obj | None, *, part: str = "") -> Problems:
        role: Obj = new.get("roleRef") or {}
        if role.get("apiGroup") != GROUP:
            yield FieldError.not_supported("roleRef.apiGroup", role.get("apiGroup", ""), (GROUP,))
        kinds = ("Role", "ClusterRole") if self.namespaced else ("ClusterRole",)
        if role.get("kind") not in kinds:
            yield FieldError.not_supported("roleRef.kind", role.get("kind", ""), kinds)
        if not role.get("name"):
            yield FieldError.required("roleRef.name")
        else:
            yield from checks.named(role["name"], "roleRef.name", names.path_segment)
        for index, subject in enumerate(new.get("subjects") or ()):
            yield from self._subject(subject, f"subjects[{index}]")
        if old is not None and role != (old.get("roleRef") or {}):
            yield FieldError.invalid("roleRef", role, "cannot change roleRef")

    def _subject(self, subject: Obj, path: str) -> Problems:
        yield from checks.required(subject, "name", path)
        kind, group = subject.get("kind") or "", subject.get("apiGroup") or ""
        match kind:
            case "ServiceAccount":
                if name := subject.get("name"):
                    yield from checks.named(name, f"{path}.name", names.subdomain)
                if group:
                    yield FieldError.not_supported(f"{path}.apiGroup", group, ("",))
                if not self.namespaced:
                    yield from checks.required(subject, "namespace", path)
            case "User" | "Group":
                if group != GROUP:
                    yield FieldError.not_supported(f"{path}.apiGroup", group, (GROUP,))
            case _:
                yield FieldError.not_supported(f"{path}.kind", kind, ("ServiceAccount", "User", "Group"))
