"""Kinds that extend the API itself: CustomResourceDefinition, APIService."""

from collections.abc import Iterator

from .. import names
from ..errors import FieldError
from ..objects import Obj, name_of
from . import checks, meta
from .pod_defaults import fill
from .strategy import Strategy

Problems = Iterator[FieldError]


class CustomResourceDefinitionStrategy(Strategy):
    generation = True
    status = True

    def default(self, obj: Obj) -> None:
        spec = obj.setdefault("spec", {})
        found = spec.setdefault("names", {})
        if kind := found.get("kind"):
            fill(found, {"singular": kind.lower(), "listKind": f"{kind}List"})
        fill(spec.setdefault("conversion", {}), {"strategy": "None"})
        service = ((spec["conversion"].get("webhook") or {}).get("clientConfig") or {}).get("service")
        if service is not None:
            fill(service, {"port": 443})

    def reset_status(self, new: Obj) -> None:
        stored = [v.get("name") for v in (new.get("spec") or {}).get("versions") or () if v.get("storage")]
        empty = {"plural": "", "kind": ""}
        new["status"] = {"conditions": None, "acceptedNames": empty, "storedVersions": stored}

    def check(self, new: Obj, old: Obj | None, *, part: str = "") -> Problems:
        spec: Obj = new.get("spec") or {}
        if part == "status":
            return
        found: Obj = spec.get("names") or {}
        wanted = f"{found.get('plural', '')}.{spec.get('group', '')}"
        if name_of(new) != wanted:
            yield FieldError.invalid("metadata.name", name_of(new), 'must be spec.names.plural+"."+spec.group')
        yield from _group(spec.get("group") or "")
        yield from checks.one_of(spec.get("scope"), "spec.scope", ("Cluster", "Namespaced"))
        for field in ("plural", "singular", "kind", "listKind"):
            value = found.get(field) or ""
            if not value:
                yield FieldError.required(f"spec.names.{field}")
            else:
                yield from checks.named(value.lower(), f"spec.names.{field}", names.label_1035)
        yield from _versions(spec.get("versions") or [])
        if old is not None:
            before: Obj = old.get("spec") or {}
            yield from meta.immutable(spec.get("group"), before.get("group"), "spec.group")
            yield from meta.immutable(
                found.get("plural"), (before.get("names") or {}).get("plural"), "spec.names.plural"
            )
            yield from meta.immutable(spec.get("scope"), before.get("scope"), "spec.scope")


def _group(group: str) -> Problems:
    if not group:
        yield FieldError.required("spec.group")
    else:
        yield from checks.named(group, "spec.group", names.subdomain)
        if "." not in group:
            yield FieldError.invalid("spec.group", group, "should be a domain with at least one dot")


def _versions(versions: list[Obj]) -> Problems:
    if not versions:
        yield FieldError.required("spec.versions")
    if sum(bool(version.get("storage")) for version in versions) != 1:
        detail = "must have exactly one version marked as storage version"
        yield FieldError.invalid("spec.versions", [v.get("name") for v in versions], detail)
    for index, version in enumerate(versions):
        where = f"spec.versions[{index}]"
        yield from checks.named(version.get("name") or "", f"{where}.name", names.label_1035)
        if (version.get("schema") or {}).get("openAPIV3Schema") is None:
            yield FieldError.required(f"{where}.schema.openAPIV3Schema", "schemas are required")
        elif version["schema"]["openAPIV3Schema"].get("type") != "object":
            kind = version["schema"]["openAPIV3Schema"].get("type", "")
            yield FieldError.invalid(f"{where}.schema.openAPIV3Schema.type", kind, "must be object at the root")
    yield from checks.unique((v.get("name") for v in versions), lambda index: f"spec.versions[{index}].name")


class ApiServiceStrategy(Strategy):
    generation = True
    status = True

    def default(self, obj: Obj) -> None:
        if (service := (obj.get("spec") or {}).get("service")) is not None:
            fill(service, {"port": 443})

    def check(self, new: Obj, old: Obj | None, *, part: str = "") -> Problems:
        spec: Obj = new.get("spec") or {}
        wanted = f"{spec.get('version', '')}.{spec.get('group', '')}"
        if name_of(new) != wanted:
            yield FieldError.invalid(
                "metadata.name", name_of(new), 'must be `spec.version+"."+spec.group`' + f': "{wanted}"'
            )
        for field in ("groupPriorityMinimum", "versionPriority"):
            most = 20000 if field[0] == "g" else 1000
            value = spec.get(field, 0)
            if not 0 < value <= most:
                yield FieldError.invalid(f"spec.{field}", value, f"must be positive and less than {most}")
