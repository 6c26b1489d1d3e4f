"""Hatch build hook: distils the OpenAPI definitions of the newest Kubernetes in kubernetes-validate into the wheel.

Two forms, both below src/pybernetes/api/definitions/ (git-ignored; their sentences never enter the repository):
`schema.json` is structure only, for every request; `<group>_<version>.json` are the documents' schemas with
descriptions, for clients that ask (`kubectl explain`), and `index.json` names them with their hashes.
Runs by itself too: `python tools/build_definitions.py`.
"""

import hashlib
import json
import re
import sys
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ModuleNotFoundError:  # run by hand where hatchling is absent
    BuildHookInterface = object  # type: ignore[assignment, misc]

TARGET = Path(__file__).resolve().parent.parent / "src/pybernetes/api/definitions"
REF = "#/$defs/"
Schema = dict[str, Any]

_KEPT = {
    "x-kubernetes-patch-merge-key": "mergeKey",
    "x-kubernetes-patch-strategy": "patchStrategy",
    "x-kubernetes-list-type": "listType",
    "x-kubernetes-list-map-keys": "mapKeys",
    "x-kubernetes-map-type": "mapType",
}
_DROPPED = ("io.k8s.apimachinery.pkg.apis.meta.v1.APIGroup", "io.k8s.apimachinery.pkg.apis.meta.v1.APIVersions")
_UNION: dict[str, Schema] = {
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": {
        "format": "int-or-string",
        "oneOf": [{"type": "integer"}, {"type": "string"}],
    },
    "io.k8s.apimachinery.pkg.api.resource.Quantity": {"oneOf": [{"type": "string"}, {"type": "number"}]},
}
_META = re.compile(r"io\.k8s\.apimachinery\.")
_GENERAL = re.compile(r"(?:.*[.-])?(?:v\d+|resource|intstr|runtime|version)\.\w+")


class DefinitionsHook(BuildHookInterface):  # type: ignore[misc, type-arg, unused-ignore]
    """Runs for wheels and editable installs alike."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        write(TARGET)


def write(target: Path) -> None:
    """Write all files; leaves what is already right untouched."""
    release, definitions = newest()
    stable = {name: definitions[name] for name in closed(definitions, (n for n in definitions if is_stable(n)))}
    files = {"schema.json": dumped({name: structure(schema) for name, schema in stable.items()})}
    index = {}
    for (group, version), names in sorted(versions(stable).items()):
        wanted = sorted(closed(stable, names))
        text = dumped({name: described(name, stable[name]) for name in wanted})
        file = f"{group or 'core'}_{version}.json"
        files[file] = text
        path = f"apis/{group}/{version}" if group else f"api/{version}"
        index[path] = {"file": file, "hash": hashlib.sha256(text).hexdigest()[:32].upper()}
    files["index.json"] = dumped({"release": release, "documents": index})
    target.mkdir(parents=True, exist_ok=True)
    for stale in target.iterdir():
        if stale.name not in files:
            stale.unlink()
    for name, data in files.items():
        written = target / name
        if not written.exists() or written.read_bytes() != data:
            written.write_bytes(data)


def newest() -> tuple[str, dict[str, Schema]]:
    """The newest release ("1.37.0") that the installed kubernetes-validate holds, and its definitions."""
    spec = find_spec("kubernetes_validate")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("kubernetes-validate is not installed: pip install kubernetes-validate")
    folder = Path(spec.submodule_search_locations[0]) / "kubernetes-json-schema"
    found = [(tuple(map(int, m[1].split("."))), m[1]) for p in folder.iterdir() if (m := _release(p.name))]
    _, release = max(found)
    definitions: dict[str, Schema] = json.loads((folder / f"v{release}-local/_definitions.json").read_text())["$defs"]
    return release, definitions


def _release(name: str) -> re.Match[str] | None:
    return re.fullmatch(r"v(\d+\.\d+\.\d+)-local", name)


def is_stable(name: str) -> bool:
    """Served by default: no alpha, no beta."""
    return _GENERAL.fullmatch(name) is not None and not name.startswith(_DROPPED)


def references(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        if isinstance(target := schema.get("$ref"), str):
            yield target.removeprefix(REF)
        for value in schema.values():
            yield from references(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from references(value)


def closed(definitions: dict[str, Schema], names: Iterable[str]) -> set[str]:
    """The names and everything they refer to."""
    found: set[str] = set()
    pending = [name for name in names if name in definitions]
    while pending:
        if (name := pending.pop()) not in found:
            found.add(name)
            pending.extend(references(definitions[name]))
    return found


def versions(definitions: dict[str, Schema]) -> dict[tuple[str, str], list[str]]:
    """Group and version -> the kinds that are its own."""
    found: dict[tuple[str, str], list[str]] = {}
    for name, schema in definitions.items():
        for kind in schema.get("x-kubernetes-group-version-kind", ()):
            if not _META.match(name):
                found.setdefault((kind["group"], kind["version"]), []).append(name)
    for names in found.values():
        names += [f"io.k8s.apimachinery.pkg.apis.meta.v1.{kind}" for kind in ("Status", "DeleteOptions", "Patch")]
        names += [f"io.k8s.api.{package}" for package in ("autoscaling.v1.Scale", "policy.v1.Eviction")]
        names += ["io.k8s.api.authentication.v1.TokenRequest", "io.k8s.apimachinery.pkg.apis.meta.v1.WatchEvent"]
    return found


def structure(schema: Schema) -> Schema:
    """A schema without words: type, ref, fields, items, values, and what patches need."""
    out: Schema = {new: schema[old] for old, new in _KEPT.items() if old in schema}
    if isinstance(target := schema.get("$ref"), str):
        return {"ref": target.removeprefix(REF)} | out
    kind = plain_type(schema)
    if kind:
        out["type"] = kind
    if "format" in schema:
        out["format"] = schema["format"]
    if "properties" in schema:
        out["fields"] = {name: structure(value) for name, value in schema["properties"].items()}
    if "items" in schema:
        out["items"] = structure(schema["items"])
    if isinstance(schema.get("additionalProperties"), dict):
        out["values"] = structure(schema["additionalProperties"])
    if schema.get("required"):
        out["required"] = schema["required"]
    if kinds := schema.get("x-kubernetes-group-version-kind"):
        out["kinds"] = [[kind["group"], kind["version"], kind["kind"]] for kind in kinds]
    return out


def plain_type(schema: Schema) -> str:
    """The validator's files say ["string", "null"] where the API says string."""
    kinds = schema.get("type", "")
    return kinds if isinstance(kinds, str) else next((kind for kind in kinds if kind != "null"), "")


def described(name: str, schema: Schema) -> Schema:
    """A schema as an OpenAPI v3 document has it."""
    out: Schema = published(schema)
    return out | _UNION.get(name, {})


def published(schema: Any) -> Any:
    """A schema as OpenAPI 3.0 readers want it, words and all."""
    if isinstance(schema, list):
        return [published(value) for value in schema]
    if not isinstance(schema, dict):
        return schema
    out: Schema = {}
    for key, value in schema.items():
        if key == "$ref" and isinstance(value, str):
            out["$ref"] = value.replace(REF, "#/components/schemas/")
        elif key == "type" and not isinstance(value, dict):
            out["type"] = plain_type(schema)
        elif key == "enum" and schema.get("type") == ["string", "null"] and len(value) == 1:
            continue  # the validator pins apiVersion and kind; the API does not
        else:
            out[key] = published(value)
    if "$ref" in out and len(out) > 1:  # siblings of a reference are ignored by OpenAPI 3.0 readers
        out = {"allOf": [{"$ref": out.pop("$ref")}]} | out
    return out


def dumped(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


if __name__ == "__main__":
    write(TARGET)
    print(f"{TARGET}: {sum(file.stat().st_size for file in TARGET.iterdir()):,} bytes", file=sys.stderr)
