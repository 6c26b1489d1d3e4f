"""What the OpenAPI definitions say of each field, compiled lazily: one Type per place an object can have a value.

The definitions are distilled at build time (tools/build_definitions.py) and read once; one is compiled when it is first
walked, so a server that only serves Services never pays for Pods. Patches read merge keys and list types here.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

DEFINITIONS = Path(__file__).parent / "definitions"
OBJECT_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"

Fields = Mapping[str, "Type"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hints:
    """How patches treat a list or map: merge_key and strategies are strategic merge's, the rest apply's."""

    merge_key: str = ""
    strategies: frozenset[str] = frozenset()
    """Of merge, replace, retainKeys; empty is replace."""
    list_type: str = ""
    """atomic, set or map; "" is atomic."""
    map_keys: tuple[str, ...] = ()
    map_type: str = ""
    """granular or atomic; "" is granular."""


_NO_HINTS = Hints()
KINDS = frozenset(
    {
        *("struct", "map", "list", "string", "integer", "number", "boolean", "any"),
        *("int-or-string", "quantity", "time", "micro-time", "bytes", "object"),
    }
)


class Type:
    """The type of one place. `kind` is one of KINDS; "object" is any JSON object, "any" any value.

    `go` is the Go type that Kubernetes' error texts name ("int32", "[]v1.Container", "v1.PodSpec").
    """

    __slots__ = ("_fields", "_load", "bits", "go", "hints", "items", "kind", "name", "preserve", "required", "struct")

    def __init__(
        self,
        kind: str,
        *,
        name: str = "",
        go: str = "",
        bits: int = 0,
        items: "Type | None" = None,
        hints: Hints = _NO_HINTS,
        required: tuple[str, ...] = (),
        preserve: bool = False,
        fields: Fields | None = None,
        load: Callable[[], Fields] | None = None,
    ) -> None:
        self.kind, self.name, self.go, self.bits = kind, name, go or kind, bits
        self.items, self.hints, self.required, self.preserve = items, hints, required, preserve
        self.struct = name.rpartition(".")[2]
        self._fields, self._load = fields, load

    @property
    def fields(self) -> Fields:
        """The fields of a struct; {} for other kinds. Compiled at the first look."""
        if self._fields is None:
            self._fields = self._load() if self._load else {}
        return self._fields

    def at(self, *path: str) -> "Type | None":
        """The type below: field names, and "*" for the items of a list or the values of a map."""
        found: Type | None = self
        for part in path:
            if found is None:
                return None
            found = found.items if part == "*" or found.kind == "map" else found.fields.get(part)
        return found

    def with_hints(self, hints: Hints) -> "Type":
        """The same type at a place with hints of its own."""
        return Type(
            self.kind,
            name=self.name,
            go=self.go,
            bits=self.bits,
            items=self.items,
            hints=hints,
            required=self.required,
            preserve=self.preserve,
            load=lambda: self.fields,
        )

    def __repr__(self) -> str:
        return f"Type({self.go})"


_SPECIAL = {
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": ("int-or-string", "intstr.IntOrString"),
    "io.k8s.apimachinery.pkg.api.resource.Quantity": ("quantity", "resource.Quantity"),
    "io.k8s.apimachinery.pkg.apis.meta.v1.Time": ("time", "v1.Time"),
    "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime": ("micro-time", "v1.MicroTime"),
    "io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1": ("object", "v1.FieldsV1"),
    "io.k8s.apimachinery.pkg.apis.meta.v1.Patch": ("object", "v1.Patch"),
    "io.k8s.apimachinery.pkg.runtime.RawExtension": ("object", "runtime.RawExtension"),
}


class Definitions:
    """Named definitions, compiled on demand. Raises KeyError for an unknown name."""

    def __init__(self, raw: Mapping[str, msgspec.Raw]) -> None:
        self._raw = raw
        self._types: dict[str, Type] = {}

    @classmethod
    def read(cls, path: Path) -> "Definitions":
        """The file that tools/build_definitions.py writes."""
        try:
            data = path.read_bytes()
        except FileNotFoundError as error:
            text = f"{path} is missing: run `python tools/build_definitions.py` (an installed wheel has it)"
            raise FileNotFoundError(text) from error
        return cls(msgspec.json.decode(data, type=dict[str, msgspec.Raw]))

    def __contains__(self, name: str) -> bool:
        return name in self._raw

    def __iter__(self) -> Iterator[str]:
        return iter(self._raw)

    def __getitem__(self, name: str) -> Type:
        found = self._types.get(name)
        if found is None:
            found = self._types[name] = self._named(name)
        return found

    def _named(self, name: str) -> Type:
        if name in _SPECIAL:
            kind, go = _SPECIAL[name]
            return Type(kind, name=name, go=go)
        node: dict[str, Any] = msgspec.json.decode(self._raw[name])
        package, _, struct = name.rpartition(".")
        go = f"{package.rpartition('.')[2]}.{struct}"
        if "fields" not in node:
            return self._plain(node, go=go, name=name)
        return Type(
            "struct",
            name=name,
            go=go,
            required=tuple(node.get("required", ())),
            hints=_hints(node),
            load=lambda: {field: self._compiled(inner) for field, inner in node["fields"].items()},
        )

    def _compiled(self, node: dict[str, Any]) -> Type:
        hints = _hints(node)
        if (target := node.get("ref")) is not None:
            found = self[target]
            return found if hints is _NO_HINTS else found.with_hints(hints)
        return self._plain(node)

    def _plain(self, node: dict[str, Any], *, go: str = "", name: str = "") -> Type:
        hints = _hints(node)
        match node.get("type", ""), node.get("format", ""):
            case "string", "byte":
                return Type("bytes", go=go or "[]uint8", name=name)
            case "string", "date-time":
                return Type("time", go=go or "v1.Time", name=name)
            case "string", _:
                return Type("string", go=go or "string", name=name)
            case "integer", width:
                bits = 32 if width == "int32" else 64
                return Type("integer", go=go or f"int{bits}", bits=bits, name=name)
            case "number", _:
                return Type("number", go=go or "float64", name=name)
            case "boolean", _:
                return Type("boolean", go=go or "bool", name=name)
            case "array", _:
                items = self._compiled(node["items"])
                return Type("list", go=go or f"[]{items.go}", items=items, hints=hints, name=name)
            case "object", _ if "values" in node:
                values = self._compiled(node["values"])
                return Type("map", go=go or f"map[string]{values.go}", items=values, hints=hints, name=name)
            case "object", _:
                return Type("object", go=go or "map[string]interface {}", hints=hints, name=name)
        return Type("any", go=go or "interface {}", name=name)


@cache
def _shared_hints(
    merge_key: str, strategies: frozenset[str], list_type: str, map_keys: tuple[str, ...], map_type: str
) -> Hints:
    return Hints(merge_key=merge_key, strategies=strategies, list_type=list_type, map_keys=map_keys, map_type=map_type)


_HINTED = frozenset({"mergeKey", "patchStrategy", "listType", "mapKeys", "mapType"})


def _hints(node: Mapping[str, Any]) -> Hints:
    if _HINTED.isdisjoint(node):
        return _NO_HINTS
    return _shared_hints(
        node.get("mergeKey", ""),
        frozenset(filter(None, node.get("patchStrategy", "").split(","))),
        node.get("listType", ""),
        tuple(node.get("mapKeys", ())),
        node.get("mapType", ""),
    )


@cache
def definitions() -> Definitions:
    """The built-in definitions, read once."""
    return Definitions.read(DEFINITIONS / "schema.json")


def type_of(definition: str) -> Type:
    """The type of a built-in definition: type_of("io.k8s.api.core.v1.Pod"). Raises KeyError."""
    return definitions()[definition]


def of_openapi(schema: Mapping[str, Any], *, root: bool = False) -> Type:
    """The type of a CustomResourceDefinition's structural schema; `root` adds apiVersion, kind and metadata."""
    preserve = bool(schema.get("x-kubernetes-preserve-unknown-fields"))
    hints = _openapi_hints(schema)
    if schema.get("x-kubernetes-int-or-string"):
        return Type("int-or-string", go="intstr.IntOrString")
    kind = schema.get("type", "")
    if kind == "array":
        items = of_openapi(schema.get("items") or {})
        return Type("list", go=f"[]{items.go}", items=items, hints=hints)
    if kind == "object" or "properties" in schema:
        return _openapi_object(schema, root=root, preserve=preserve, hints=hints)
    if kind == "integer":
        bits = 32 if schema.get("format") == "int32" else 64
        return Type("integer", go=f"int{bits}", bits=bits)
    if kind in ("string", "number", "boolean"):
        return Type(kind, go={"number": "float64", "boolean": "bool"}.get(kind, kind))
    return Type("any", go="interface {}", preserve=preserve)


def _openapi_object(schema: Mapping[str, Any], *, root: bool, preserve: bool, hints: Hints) -> Type:
    extra = schema.get("additionalProperties")
    embedded = root or bool(schema.get("x-kubernetes-embedded-resource"))
    if isinstance(extra, dict) and not schema.get("properties"):
        values = of_openapi(extra)
        return Type("map", go=f"map[string]{values.go}", items=values, hints=hints)
    if not schema.get("properties") and not embedded:
        return Type("object" if preserve or extra else "struct", fields={}, hints=hints, preserve=preserve)
    fields = {name: of_openapi(inner) for name, inner in (schema.get("properties") or {}).items()}
    if embedded:
        text = Type("string", go="string")
        fields |= {"apiVersion": text, "kind": text, "metadata": type_of(OBJECT_META)}
    required = tuple(schema.get("required") or ())
    return Type("struct", fields=fields, required=required, hints=hints, preserve=preserve)


def _openapi_hints(schema: Mapping[str, Any]) -> Hints:
    names = {
        "mergeKey": "x-kubernetes-patch-merge-key",
        "patchStrategy": "x-kubernetes-patch-strategy",
        "listType": "x-kubernetes-list-type",
        "mapKeys": "x-kubernetes-list-map-keys",
        "mapType": "x-kubernetes-map-type",
    }
    return _hints({ours: schema[theirs] for ours, theirs in names.items() if theirs in schema})
