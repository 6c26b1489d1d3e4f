"""Writes the golden files of tests/unit/api: objects of every kind, and what Kubernetes itself makes of them.

    python tools/golden.py

Needs `go` and the Go module proxy: tools/oracle/ is built from Kubernetes' own packages (some minutes, 2 GB of cache).
columns/tables.json.gz has objects made at random, with defaults, and their Tables; kinds/defaults.json.gz has such
objects without and with defaults; proto/full.json.gz has objects in which every field is filled, as JSON and as
protobuf, proto/some.json.gz such made at random and what golden_others.py has. tests/unit/apiserver/
default_roles.json.gz has what each of Kubernetes' default roles lets do, and whom they are bound to. All are facts
about Kubernetes, no text of it.
"""

import base64
import gzip
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

from golden_others import ANSWERS, EDGES
from pybernetes.api import times
from pybernetes.api.resources import RESOURCES, Resource
from pybernetes.api.schema import Type, type_of

HERE = Path(__file__).parent
TESTS = HERE.parent / "tests/unit/api"
EACH = 8
"""Random objects of a kind."""
HALF_HOUR, DAY = 1830, 86400
AGES = (
    5 * 3600 + HALF_HOUR,
    DAY + HALF_HOUR,
    3 * DAY + HALF_HOUR,
    40 * DAY + HALF_HOUR,
    900 * DAY + HALF_HOUR,
    3000 * DAY + HALF_HOUR,
)
"""Seconds, each far from where its text changes."""
DEPTH = 12

WORDS = {
    "phase": ("Pending", "Running", "Succeeded", "Failed", "Unknown", "Bound", "Active", "Terminating"),
    "type": (
        *("Ready", "Initialized", "PodScheduled", "Complete", "Failed", "Suspended", "FailureTarget"),
        *("SuccessCriteriaMet", "Dangling", "Approved", "Denied", "Issued", "Healthy", "InternalIP", "ExternalIP"),
        *("ClusterIP", "NodePort", "LoadBalancer", "ExternalName", "Normal", "Warning", "Limited", "Succeeded"),
    ),
    "status": ("True", "False", "Unknown"),
    "reason": ("", "Completed", "Error", "PodInitializing", "CrashLoopBackOff", "NodeLost", "SchedulingGated"),
    "kind": ("User", "Group", "ServiceAccount", "Deployment"),
    "name": ("a", "b", "c", "web"),
    "conditionType": ("Ready", "Initialized", "x/y"),
    "restartPolicy": ("Always", "OnFailure", "Never"),
    "accessModes": ("ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod"),
    "protocol": ("TCP", "UDP", "SCTP"),
    "key": ("a", "b/c", "z"),
    "apiVersion": ("v1", "apps/v1", "x.io/v1beta1"),
    "ip": ("10.0.0.1", "10.0.0.2", "fd00::1"),
    "image": ("host", "host:1", "r.example:5000/host:latest", "r.example/host@sha256:" + 64 * "0"),
    "reference": ("host", "host:1"),
}
KEYS = {
    "annotations": {
        "storageclass.kubernetes.io/is-default-class": ("true", "false"),
        "volume.beta.kubernetes.io/storage-class": ("s1", ""),
        "ingressclass.kubernetes.io/is-default-class": ("true", "false"),
    },
    "labels": {
        "node-role.kubernetes.io/control-plane": ("", "x"),
        "node-role.kubernetes.io/worker": ("",),
        "kubernetes.io/role": ("master", ""),
        "app": ("web", "db"),
    },
}
KEYS |= dict.fromkeys(("matchLabels", "nodeSelector", "selector"), KEYS["labels"])
LIKELY = frozenset(
    {
        *("spec", "status", "metadata", "containers", "containerStatuses", "initContainers", "template", "state"),
        *("initContainerStatuses", "conditions", "name", "type"),
    }
)
ALWAYS = frozenset({"timeAdded", "targetCPUUtilizationPercentage"})
"""Fields whose default is the time, or comes with the conversion between versions."""
ONE_OF = frozenset({"ContainerState"})
"""Structs of which one field is given."""
SECRET_INPUT = "stringData"


class Maker:
    """Objects of a kind: with every field once (`full`), or with some at random."""

    def __init__(self, rng: random.Random, now: float, *, full: bool) -> None:
        self.rng, self.now, self.full = rng, now, full
        self.within: list[str] = []
        self.leaves: dict[str, Callable[[str], Any]] = {
            "string": self._word,
            "integer": lambda name: self._one(1, 2) if full else self._one(0, 1, 2, 3, 10, 300, DAY),
            "number": lambda name: 1.5,
            "boolean": lambda name: full or self._one(True, False),
            "time": lambda name: self._stamp(),
            "micro-time": lambda name: self._stamp()[:-1] + ".123456Z",
            "quantity": lambda name: self._one("1", "500m", "1Gi", "2500m", "10k"),
            "int-or-string": lambda name: self._one(1, "50%", "http"),
            "bytes": lambda name: base64.b64encode(rng.randbytes(3)).decode(),
            "any": lambda name: {"k": self._one(1, "v", [1], True)},
            "object": lambda name: {"k": self._one(1, "v", [1], True)},
        }

    def object(self, row: Resource) -> dict[str, Any]:
        made: dict[str, Any] = self._struct(type_of(row.definition), 0)
        metadata = made.get("metadata", {}) | {"name": "x", "creationTimestamp": self._stamp()}
        for name in ("namespace", "resourceVersion"):
            metadata.pop(name, None)
        if row.namespaced:
            metadata["namespace"] = "default"
        if not self.full and self.rng.random() < 0.7:
            metadata.pop("deletionTimestamp", None)
        return made | {"apiVersion": row.api_version, "kind": row.kind, "metadata": metadata}

    def _one(self, *choices: Any) -> Any:
        return self.rng.choice(choices)

    def _stamp(self) -> str:
        return times.stamp(self.now - self._one(*AGES))

    def _word(self, name: str) -> str:
        if self.full:
            return f"s{self.rng.randrange(99)}"
        return str(self._one(*WORDS[name]) if name in WORDS else self._one("x", "hello", "a.b"))

    def _value(self, type_: Type, name: str, depth: int) -> Any:
        if type_.kind == "struct":
            return self._struct(type_, depth)
        if type_.kind == "list":
            assert type_.items
            many = 1 if self.full else self.rng.randrange(2 if depth > 4 else 6)
            return [self._value(type_.items, name, depth + 1) for _ in range(many)]
        if type_.kind == "map":
            assert type_.items
            known = KEYS.get(name) if type_.items.kind == "string" else None
            if known:
                keys = self.rng.sample(sorted(known), 1 if self.full else self.rng.randrange(len(known)))
                return {key: self._one(*known[key]) for key in keys}
            keys = self.rng.sample(("cpu", "limits.cpu", "pods", "storage"), 1 if self.full else self.rng.randrange(5))
            return {key: self._value(type_.items, key, depth + 1) for key in keys}
        return self.leaves[type_.kind](name)

    def _struct(self, type_: Type, depth: int) -> dict[str, Any]:
        """Structs that contain themselves end at the third."""
        if self.within.count(type_.struct) == 2:
            return {}
        self.within.append(type_.struct)
        try:
            return self._fields(type_, depth)
        finally:
            self.within.pop()

    def _fields(self, type_: Type, depth: int) -> dict[str, Any]:
        if type_.struct == "LabelSelectorRequirement":
            operator = "In" if self.full else self._one("In", "NotIn", "Exists")
            values = {"values": ["x", "y"][: self._one(1, 2)]} if operator != "Exists" else {}
            return {"key": self._one("a", "b/c"), "operator": operator} | values
        if type_.struct == "MetricSpec" and not self.full:
            return self._metric(type_, depth)
        made: dict[str, Any] = {}
        for name, inner in type_.fields.items():
            chance = 1.0 if self.full else 0.93 if name in LIKELY else 0.5 if depth < 4 else 0.35
            given = self.rng.random() < chance or name in type_.required or name in ALWAYS
            if depth <= DEPTH and given:
                made[name] = self._value(inner, name, depth + 1)
        made.pop(SECRET_INPUT, None)
        if not self.full:
            made.pop("managedFields", None)
        if type_.struct in ONE_OF and made and not self.full:
            name = self._one(*sorted(made))
            return {name: made[name]}
        return made

    def _metric(self, type_: Type, depth: int) -> dict[str, Any]:
        """A metric has the field that its type names, with a target."""
        name = self._one("external", "object", "pods", "resource", "containerResource")
        made: dict[str, Any] = self._value(type_.fields[name], name, depth + 1)
        every = [{"averageValue": "5"}] if name == "pods" else [{"averageValue": "5"}, {"value": "7"}]
        if name in ("resource", "containerResource"):
            every = [{"averageValue": "5"}, {"averageUtilization": 60}]
        made["target"] = {"type": "Value"} | self._one(*every)
        return {"type": name[0].upper() + name[1:], name: made}


def asked(objs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the oracle says of each."""
    with tempfile.TemporaryDirectory() as folder:
        program = f"{folder}/oracle"
        subprocess.run(["go", "build", "-o", program, "."], cwd=HERE / "oracle", check=True)
        lines = "".join(json.dumps(obj, separators=(",", ":"), ensure_ascii=False) + "\n" for obj in objs)
        done = subprocess.run([program], input=lines, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def write(path: Path, value: Any) -> None:
    """Always the same bytes for the same value."""
    text = json.dumps(value, separators=(",", ":"), sort_keys=True).encode()
    path.write_bytes(gzip.compress(text, mtime=0))
    print(path, len(text), path.stat().st_size)


ROLES = "plugin/pkg/auth/authorizer/rbac/bootstrappolicy/testdata"
"""Where Kubernetes keeps what it makes of its default roles, with the features that are on by default."""
BOUND = ("cluster-role-bindings", "controller-role-bindings", "namespace-role-bindings")


def default_roles() -> dict[str, dict[str, list[str]]]:
    """By NAMESPACE/NAME: of a role "VERB GROUP RESOURCE NAME" or "VERB PATH"; of a binding "KIND NAMESPACE NAME"."""
    where = ["go", "list", "-m", "-f", "{{.Dir}}", "k8s.io/kubernetes"]
    home = subprocess.run(where, cwd=HERE / "oracle", capture_output=True, text=True, check=True).stdout.strip()
    found: dict[str, dict[str, list[str]]] = {"roles": {}, "bindings": {}}
    for kind in ("cluster-roles", "controller-roles", "namespace-roles", *BOUND):
        for obj in yaml.safe_load(Path(home, ROLES, f"{kind}.yaml").read_text())["items"]:
            name = f"{obj['metadata'].get('namespace', '')}/{obj['metadata']['name']}"
            if kind in BOUND:
                subjects = obj.get("subjects") or ()
                found["bindings"][name] = sorted(
                    f"{one['kind']} {one.get('namespace', '')} {one['name']}" for one in subjects
                )
            else:
                found["roles"][name] = sorted({line for rule in obj.get("rules") or () for line in granted(rule)})
    return found


def granted(rule: dict[str, list[str]]) -> Iterator[str]:
    for verb in rule["verbs"]:
        yield from (f"{verb} {path}" for path in rule.get("nonResourceURLs", ()))
        for group in rule.get("apiGroups", ()):
            for resource in rule.get("resources", ()):
                yield from (f"{verb} {group} {resource} {name}" for name in rule.get("resourceNames") or ("",))


def main(seed: int) -> None:
    now = time.time()
    rng = random.Random(seed)
    any_ = Maker(rng, now, full=False)
    every = Maker(rng, now, full=True)
    wanted = [any_.object(row) for row in RESOURCES for _ in range(EACH)]
    filled = [every.object(row) for row in RESOURCES]
    others = ANSWERS + EDGES
    said = asked(wanted + filled + others)
    of_tables, of_bodies = said[: len(wanted)], said[len(wanted) : len(wanted) + len(filled)]
    for obj, one in zip(wanted + filled + others, said, strict=True):
        if "problem" in one and "no table handler" not in one["problem"] and "no kind" not in one["problem"]:
            print(obj["apiVersion"], obj["kind"], one["problem"])
    cases = [{"object": one["defaulted"], "table": one["table"]} for one in of_tables if "table" in one]
    write(TESTS / "columns/tables.json.gz", {"now": now, "cases": cases})
    defaults = [[one["back"], one["defaulted"]] for one in of_tables[::2] if "defaulted" in one]
    write(TESTS / "kinds/defaults.json.gz", defaults)
    write(TESTS / "proto/full.json.gz", [{"json": one["back"], "proto": one["proto"]} for one in of_bodies])
    of_others = said[-len(others) :]
    pairs = zip(wanted[:: EACH // 2] + others, of_tables[:: EACH // 2] + of_others, strict=True)
    bodies = [{"sent": obj, "json": one["back"], "proto": one["proto"]} for obj, one in pairs]
    write(TESTS / "proto/some.json.gz", bodies)
    write(TESTS.parent / "apiserver/default_roles.json.gz", default_roles())


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
