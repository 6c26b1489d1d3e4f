"""Custom resources: the rows that a CustomResourceDefinition adds, and the behaviour of their objects."""

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any, NamedTuple

from .. import decoding, structural
from ..errors import FieldError, quoted
from ..objects import Obj, condition_is, is_deleting, metadata
from ..resources import WRITABLE, PrinterColumn, Resource, Subresource
from ..schema import OBJECT_META, Type, of_openapi, type_of
from ..structural.rules import has_rules
from ..structural.walk import MISSING
from . import embedded
from .strategy import Problems, ScalePaths, Strategy

_TEXT = Type("string")
_BLOCKING = frozenset(f"FieldValue{kind}" for kind in ("NotSupported", "Required", "TooLong", "TooMany", "TypeInvalid"))
"""What keeps rules from being asked: they could not count on what they are given."""
_UNCHECKED = (
    "some validation rules were not checked because the object was invalid; correct the existing errors to complete "
    "validation"
)


class CustomStrategy(Strategy):
    """The behaviour of one version of a custom kind."""

    generation = True
    owned_finalizers = False
    unconditional_update = False

    def __init__(self, schema: Obj, *, status: bool, scale: ScalePaths | None = None) -> None:
        self.schema = schema
        self.status = status
        self.scale = scale or Strategy.scale

    @cached_property
    def type(self) -> Type:
        """For patches: what lists and maps merge by."""
        return of_openapi(self.schema, root=True)

    @cached_property
    def _has_rules(self) -> bool:
        return has_rules(self.schema)

    @cached_property
    def _has_embedded(self) -> bool:
        return structural.has_embedded(self.schema)

    @cached_property
    def _frame(self) -> Type:
        """What every object has: of the rest the schema speaks."""
        fields = {"apiVersion": _TEXT, "kind": _TEXT, "metadata": type_of(OBJECT_META)}
        return Type("struct", fields=fields, preserve=True)

    def conform(self, obj: Obj, *, version: str, kind: str) -> list[str]:
        """Make a decoded body fit, in place; unknown fields are returned. Raises BadRequest for bad metadata."""
        problems = decoding.conform(obj, self._frame, version=version, kind=kind)
        problems += [f'unknown field "{path}"' for path in structural.prune(obj, self.schema, root=True)]
        structural.drop_nulls(obj, self.schema)
        structural.plain(obj)
        if self._has_embedded:
            problems += structural.fit_metadata(obj, self.schema)
        return problems

    def default(self, obj: Obj) -> None:
        structural.apply_defaults(obj, self.schema)

    def restore(self, obj: Obj) -> None:
        """Make an object from the store what the schema says today, in place: it was written under an older one."""
        self.trim(obj)
        structural.apply_defaults(obj, self.schema)

    def trim(self, obj: Obj) -> None:
        """Take away what the schema does not name."""
        structural.prune(obj, self.schema, root=True)
        structural.drop_nulls(obj, self.schema)
        if self._has_embedded:
            structural.fit_metadata(obj, self.schema, stored=True)

    def reset_status(self, new: Obj) -> None:
        new.pop("status", None)

    def changed(self, new: Obj, old: Obj) -> bool:
        """Without a status subresource the status is a field like others."""
        if self.status:
            return super().changed(new, old)
        apart = ("metadata", "apiVersion", "kind")
        return {k: v for k, v in new.items() if k not in apart} != {k: v for k, v in old.items() if k not in apart}

    def check(self, new: Obj, old: Obj | None, *, part: str = "") -> Problems:
        before: Any = MISSING if old is None else old
        found = list(structural.problems(new, self.schema, old=before, root=True))
        if self._has_embedded:
            found += embedded.problems(new, self.schema)
        yield from found
        if self._has_rules and any(one.type in _BLOCKING for one in found):
            yield FieldError.invalid("<nil>", None, _UNCHECKED)
        elif self._has_rules:
            yield from structural.broken_rules(_named(new), self.schema, old=_named(before), root=True)

    def warnings(self, new: Obj, old: Obj | None, *, part: str = "") -> Iterator[str]:
        """Of finalizers that are new, and whose nobody can tell; of rules that were broken before."""
        if old is not None and self._has_rules:
            kept = structural.broken_rules(_named(new), self.schema, old=_named(old), root=True, before=True)
            yield from map(str, kept)
        if part != "status":
            added = set(metadata(new).get("finalizers") or ()) - set(metadata(old or {}).get("finalizers") or ())
            unowned = (name for name in sorted(added) if "/" not in name and name not in _STANDARD_FINALIZERS)
            yield from map(_finalizer_warning, unowned)


_STANDARD_FINALIZERS = ("orphan", "foregroundDeletion", "kubernetes")


def _finalizer_warning(name: str) -> str:
    better = " including a path (/)" if "." in name else ""
    return (
        f"metadata.finalizers: {quoted(name)}: prefer a domain-qualified finalizer name{better} to avoid accidental "
        "conflicts with other finalizer writers"
    )


def _named(obj: Any) -> Any:
    """Of metadata rules see the name alone."""
    if not isinstance(obj, dict):
        return obj
    kept = {name: value for name, value in metadata(obj).items() if name in ("name", "generateName")}
    return obj | {"metadata": kept}


class Version(NamedTuple):
    """One served version: its row, how its objects behave, its schema for the OpenAPI document."""

    row: Resource
    strategy: CustomStrategy
    schema: Obj
    warning: str = ""
    """What a client of a deprecated version is told."""


def strategies_of(crd: Obj) -> dict[str, CustomStrategy]:
    """Of all versions by their names, served or not: objects may be stored in any of them."""
    return {version["name"]: _strategy(version) for version in crd["spec"]["versions"]}


def _strategy(version: Obj) -> CustomStrategy:
    parts = version.get("subresources") or {}
    return CustomStrategy(_schema(version), status="status" in parts, scale=_scale(parts.get("scale")))


def _schema(version: Obj) -> Obj:
    return (version.get("schema") or {}).get("openAPIV3Schema") or {}


def versions_of(crd: Obj, strategies: Mapping[str, CustomStrategy]) -> Iterator[Version]:
    """The served versions of an established CustomResourceDefinition; nothing for one that is not."""
    if not condition_is(crd, "Established"):
        return
    spec = crd["spec"]
    stored = next(version for version in spec["versions"] if version.get("storage"))
    storage = _row(crd, stored, None)
    for version in spec["versions"]:
        if version.get("served"):
            row = storage if version is stored else _row(crd, version, storage)
            yield Version(row, strategies[version["name"]], _schema(version), _warning(crd, version))


def _row(crd: Obj, version: Obj, storage: Resource | None) -> Resource:
    spec = crd["spec"]
    names = (crd.get("status") or {}).get("acceptedNames") or spec["names"]
    kind, parts = names["kind"], version.get("subresources") or {}
    subresources = []
    if "status" in parts:
        subresources.append(Subresource(name="status", kind=kind))
    if "scale" in parts:
        subresources.append(Subresource(name="scale", kind="Scale", group="autoscaling", version="v1"))
    package = ".".join(reversed(spec["group"].split(".")))
    return Resource(
        group=spec["group"],
        version=version["name"],
        plural=names["plural"],
        kind=kind,
        singular=names.get("singular") or kind.lower(),
        definition=f"{package}.{version['name']}.{kind}",
        namespaced=spec.get("scope") == "Namespaced",
        short=tuple(names.get("shortNames") or ()),
        categories=tuple(names.get("categories") or ()),
        verbs=tuple(verb for verb in WRITABLE if verb != "create") if is_deleting(crd) else WRITABLE,
        parts=tuple(subresources),
        selectable=tuple(one["jsonPath"].removeprefix(".") for one in version.get("selectableFields") or ()),
        stored_as=storage,
        custom=True,
        list_name=names.get("listKind") or "",
        columns=tuple(_columns(version)),
    )


def _columns(version: Obj) -> Iterator[PrinterColumn]:
    for one in version.get("additionalPrinterColumns") or ():
        yield PrinterColumn(
            one["name"],
            one["type"],
            one["jsonPath"],
            one.get("format") or "",
            one.get("priority") or 0,
            one.get("description") or "",
        )


def _scale(paths: Obj | None) -> ScalePaths | None:
    if paths is None:
        return None
    return ScalePaths(paths["specReplicasPath"], paths["statusReplicasPath"], paths.get("labelSelectorPath") or "")


def _warning(crd: Obj, version: Obj) -> str:
    if not version.get("deprecated"):
        return ""
    if version.get("deprecationWarning") is not None:
        return str(version["deprecationWarning"])
    group, kind = crd["spec"]["group"], crd["spec"]["names"]["kind"]
    return f"{group}/{version['name']} {kind} is deprecated"
