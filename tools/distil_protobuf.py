"""Distils src/pybernetes/api/proto/table.json from the Go modules in which Kubernetes' types are.

    python tools/distil_protobuf.py v0.37.1

Needs `go` and the Go module proxy. Field numbers and wire types come from generated.proto; JSON names, embedding, and
whether Go's JSON would leave a zero out come from the struct tags beside it. Only facts are kept: no
sentence of either.

The table: {"kinds": {apiVersion: {kind: message}}, "messages": {message: {name: "number type [flags]"}}}.
A name that starts with ^ is embedded into its parent. Flags: ? JSON leaves a zero out, * a pointer (protobuf leaves it
out when there is none; what is no pointer is always written), [] repeated, {} map of string to type.
A message of one field "*" is a named list: its value is the field's. Fields without a JSON name bear that of the proto.
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

TABLE = Path(__file__).parent.parent / "src/pybernetes/api/proto/table.json"
STABLE = re.compile(r"v\d+$")
DISCOVERY = ("apidiscovery", "v2beta1")
"""No stable version, but what kubectl before 1.30 asks for."""
MESSAGE = re.compile(r"^message (\w+) \{\n(.*?)^\}", re.M | re.S)
FIELD = re.compile(r"^  (optional|repeated|map<string, *)\s*([.\w]+)>? (\w+) = (\d+);", re.M)
STRUCT = re.compile(r"^type (\w+) struct \{\n(.*?)^\}", re.M | re.S)
TAGGED = re.compile(r"^\s*(?:\w+\s+)?(\*?)[\w.\[\]*]*\s*`(.*)`", re.M)
SCALARS = {"string", "bytes", "bool", "int32", "int64", "double", "uint32", "uint64"}
META = "meta.v1"
MODULES = ("api", "apimachinery", "apiextensions-apiserver", "kube-aggregator")
UNIONS = frozenset(f"apiextensions.v1.JSONSchemaPropsOr{other}" for other in ("Array", "Bool", "StringArray"))
"""Messages whose fields have no JSON names: proto/message.py knows which one is the value."""
LEAVES = {
    *("api.resource.Quantity", "apiextensions.v1.JSON", "meta.v1.FieldsV1", "meta.v1.MicroTime", "meta.v1.Time"),
    *("pkg.runtime.RawExtension", "util.intstr.IntOrString"),
}
"""Written by hand in proto/leaves.py: their JSON is no map of their fields."""
ANYWHERE = (
    *("CreateOptions", "DeleteOptions", "GetOptions", "ListOptions", "PatchOptions", "UpdateOptions", "WatchEvent"),
    *("APIGroup", "APIGroupList", "APIResourceList", "APIVersions"),
    *("PartialObjectMetadata", "PartialObjectMetadataList", "Status"),
)
"""Of meta/v1, whatever the group that they are said to be of."""

NAMELESS = "?"
"""Starts the key of a field that has no JSON name."""

Tag = tuple[str, bool, bool]
"""JSON name ("" is embedded), whether it is a pointer, whether a zero is left out."""


def fetch(version: str) -> list[Path]:
    """The folders of the modules in Go's module cache."""
    modules = [f"k8s.io/{module}@{version}" for module in MODULES]
    with tempfile.TemporaryDirectory() as folder:
        run = {"cwd": folder, "check": True, "capture_output": True, "text": True}
        subprocess.run(["go", "mod", "init", "distil"], **run)
        lines = subprocess.run(["go", "mod", "download", "-json", *modules], **run).stdout
    return [Path(found) for found in re.findall(r'"Dir": "(.*)"', lines)]


def short(package: str) -> str:
    """k8s.io.apimachinery.pkg.apis.meta.v1 -> meta.v1"""
    return ".".join(package.split(".")[-2:])


def tags(folder: Path) -> dict[str, dict[int, Tag]]:
    """Of each Go struct, the tags by protobuf number."""
    found: dict[str, dict[int, Tag]] = {}
    for file in folder.glob("*.go"):
        if file.name.endswith("_test.go") or file.name.startswith(("zz_", "generated")):
            continue
        for name, body in STRUCT.findall(file.read_text()):
            numbered = found.setdefault(name, {})
            for pointer, tag in TAGGED.findall(body):
                number = re.search(r'protobuf:"\w+,(\d+)', tag)
                text = re.search(r'json:"([^"]*)"', tag)
                if number and text:
                    label, *options = text[1].split(",")
                    drops = "omitempty" in options or "omitzero" in options
                    numbered[int(number[1])] = (label, bool(pointer), drops)
    return found


def messages(proto: Path) -> dict[str, dict[str, str]]:
    text = re.sub(r"^\s*//.*\n", "", proto.read_text(), flags=re.M)
    package = re.search(r"^package ([\w.]+);", text, re.M)
    assert package, proto
    home, structs = package[1], tags(proto.parent)
    local = {name for name, _ in MESSAGE.findall(text)}
    result = {}
    for name, body in MESSAGE.findall(text):
        fields: dict[str, str] = {}
        for label, type_, plain, number in FIELD.findall(body):
            if type_ not in SCALARS:
                assert "." in type_ or type_ in local, (proto, type_)
                owner, _, inner = type_.lstrip(".").rpartition(".")
                type_ = f"{short(owner or home)}.{inner}"
            key, flags = field(structs.get(name), int(number), label=label, plain=plain)
            fields[key] = " ".join(filter(None, (number, type_, flags)))
        result[f"{short(home)}.{name}"] = fields
    return result


def field(struct: dict[int, Tag] | None, number: int, *, label: str, plain: str) -> tuple[str, str]:
    """The key and the flags of a field."""
    if struct is None:
        return "*", "[]"
    name, pointer, drops = struct.get(number, (f"{NAMELESS}{plain}", False, False))
    flags = {"repeated": "[]", "optional": ""}.get(label, "{}")
    if not name:
        return f"^{number}", flags
    return name, flags or ("*" if pointer else "?" if drops else "")


def kinds(folder: Path, version: str) -> tuple[str, list[str]]:
    """apiVersion, and the structs that embed TypeMeta."""
    group = re.search(r'GroupName\s*=\s*"(.*)"', (folder / "register.go").read_text())
    assert group, folder
    structs = (pair for file in folder.glob("*types.go") for pair in STRUCT.findall(file.read_text()))
    names = [name for name, body in structs if re.search(r"^\s*(\w+\.)?TypeMeta\s", body, re.M)]
    return f"{group[1]}/{version}".lstrip("/"), sorted(names)


def reachable(table: dict[str, dict[str, str]], roots: set[str]) -> dict[str, dict[str, str]]:
    seen: set[str] = set()
    todo = list(roots)
    while todo:
        name = todo.pop()
        if name in seen or name in LEAVES or name not in table:
            continue
        seen.add(name)
        todo += [text.split()[1] for text in table[name].values()]
    return {name: table[name] for name in sorted(seen)}


def main(version: str) -> None:
    every: dict[str, dict[str, str]] = {}
    served: dict[str, dict[str, str]] = {}
    for module in fetch(version):
        for proto in sorted(module.rglob("generated.proto")):
            every |= messages(proto)
            release = proto.parent.name
            if (
                (STABLE.match(release) or proto.parts[-3:-1] == DISCOVERY)
                and "testapigroup" not in proto.parts
                and not module.name.startswith("apimachinery@")
            ):
                name, found = kinds(proto.parent, release)
                served[name] = {kind: f"{proto.parent.parent.name}.{release}.{kind}" for kind in found}
    served[""] = {kind: f"{META}.{kind}" for kind in ANYWHERE}
    roots = {message for group in served.values() for message in group.values()}
    wanted: dict[str, Any] = {"version": version, "kinds": served, "messages": reachable(every, roots)}
    missing = roots - wanted["messages"].keys()
    nameless = {name for name, fields in wanted["messages"].items() if any(key[0] == NAMELESS for key in fields)}
    print(f"{len(wanted['messages'])} messages; no message: {sorted(missing)}; no tag: {sorted(nameless - UNIONS)}")
    for group in served.values():
        for kind in [kind for kind, message in group.items() if message in missing]:
            del group[kind]
    rows = ",\n".join(f"{json.dumps(name)}:{dump(body)}" for name, body in wanted["messages"].items())
    TABLE.write_text(f'{{"version":"{version}","kinds":{dump(served)},"messages":{{\n{rows}}}}}\n')


def dump(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), sort_keys=True)


if __name__ == "__main__":
    main(sys.argv[1])
