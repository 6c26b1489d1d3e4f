"""Objects made at random from their own schemas, some of it wrong: never a 500, and lists that stay readable."""

import random
from typing import Any

import pytest

from pybernetes.api.objects import encode
from pybernetes.api.resources import NAMESPACES, Resource
from pybernetes.api.schema import Type
from pybernetes.apiserver import ApiServer

from .conftest import Call

ODD = [None, True, -1, 2**63, 1.5, "", "\0", "💥", "80%", [], {}, [None], [{}], {"": ""}, {"name": "x"}, [{"port": 80}]]
TEXTS = [
    "x",
    "a",
    "default",
    "TCP",
    "Always",
    "ClusterIP",
    "NodePort",
    "10.96.1.1",
    "In",
    "Exists",
    "",
    "RollingUpdate",
    "B_",
]
PATCHES = ["merge-patch+json", "strategic-merge-patch+json", "json-patch+json", "apply-patch+yaml"]
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"


def made(rng: random.Random, type_: Type, *, depth: int = 0) -> Any:
    """A value of a type; one in a hundred is of another."""
    if rng.random() < 0.01:
        return rng.choice(ODD)
    match type_.kind:
        case "struct":
            odds = 0.6 if depth < 2 else 0.35 if depth < 7 else 0
            return {n: made(rng, f, depth=depth + 1) for n, f in type_.fields.items() if rng.random() < odds}
        case "map" | "list" if depth > 8 or type_.items is None:
            return {} if type_.kind == "map" else []
        case "map":
            return {
                key: made(rng, type_.items, depth=depth + 1) for key in rng.sample(["a", "x/y", ""], rng.randrange(3))
            }
        case "list":
            return [made(rng, type_.items, depth=depth + 1) for _ in range(rng.randrange(3))]
        case "integer" | "number":
            return rng.choice([0, 1, -1, 80, 30080, 65536, 2**31])
        case "boolean":
            return rng.random() < 0.5
        case "quantity":
            return rng.choice(["1", "100m", "1Gi", "x"])
        case "time" | "micro-time":
            return "2020-01-01T00:00:00Z"
        case "bytes":
            return rng.choice(["YQ==", "x!"])
    return rng.choice(TEXTS)


def request_of(rng: random.Random, server: ApiServer, row: Resource) -> tuple[str, str, Any, str]:
    """Method, target, body, content type."""
    name = rng.choice(["x", "y"])
    obj = made(rng, server.scheme.type(row))
    if isinstance(obj, dict):
        obj |= {"apiVersion": row.api_version, "kind": row.kind, "metadata": {"name": name}}
    method = rng.choice(["POST", "POST", "POST", "PUT", "PATCH", "PATCH", "DELETE", "GET"])
    content = "application/json"
    query = rng.choice(["", "", "", "?dryRun=All", "?fieldValidation=Strict", "?fieldManager=m"])
    part = rng.choice(["", "", "/status", "/scale"])
    if method == "PATCH":
        content = f"application/{rng.choice(PATCHES)}"
        query = "?fieldManager=m"
        if "json-patch" in content:
            paths = ["/metadata/labels", "/spec", "/spec/replicas", "/", "", "/status/x", "/spec/ports/0"]
            obj = [
                {"op": rng.choice(["add", "remove", "replace"]), "path": rng.choice(paths), "value": rng.choice(ODD)}
            ]
    path = row.path("default" if row.namespaced else "", "" if method == "POST" else name)
    return method, path + ("" if method == "POST" else part) + query, obj, content


@pytest.mark.parametrize("seed", range(4))
async def test_never_a_500(server: ApiServer, call: Call, seed: int) -> None:
    rng = random.Random(seed)
    rows = [row for row in server.scheme.resources if row is not NAMESPACES]
    codes = set()
    for _ in range(400):
        method, target, body, content = request_of(rng, server, rng.choice(rows))
        code, answer = await call(method, target, b"" if method == "GET" else encode(body), content)
        assert code not in (500, 501, 502), (method, target, content, body, answer)
        codes.add(code)
    assert {200, 201, 400, 404, 422} <= codes
    for row in rows:
        if "list" in row.verbs:
            for accept in ("application/json", TABLE):
                code, listing = await call("GET", row.path(), accept=accept)
                assert code == 200, listing
