"""The OpenAPI v2 document and its protobuf form, read back by a small reader of the wire format."""

from collections.abc import Iterator

import pytest

from pybernetes.api import openapi_v2
from pybernetes.api.objects import Obj
from pybernetes.api.scheme import Scheme

POD = "io.k8s.api.core.v1.Pod"


@pytest.fixture(scope="module")
def document() -> Obj:
    return openapi_v2.document(Scheme.builtin())


def fields(data: bytes) -> Iterator[tuple[int, bytes | int]]:
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(data):
        key = varint()
        if key & 7 == 0:
            yield key >> 3, varint()
            continue
        assert key & 7 == 2
        size = varint()
        yield key >> 3, data[at : at + size]
        at += size


def one(data: bytes, *path: int) -> bytes:
    for number in path:
        found = next(value for key, value in fields(data) if key == number)
        assert isinstance(found, bytes)
        data = found
    return data


def named(data: bytes, number: int) -> dict[str, bytes]:
    return {
        one(value, 1).decode(): one(value, 2)
        for key, value in fields(data)
        if key == number and isinstance(value, bytes)
    }


def test_every_reference_leads_somewhere(document: Obj) -> None:
    def references(value: object) -> Iterator[str]:
        if isinstance(value, dict):
            if isinstance(found := value.get("$ref"), str):
                yield found
            for inner in value.values():
                yield from references(inner)
        elif isinstance(value, list):
            for inner in value:
                yield from references(inner)

    names = set(references(document))
    assert {name.removeprefix("#/definitions/") for name in names} <= set(document["definitions"])


def test_what_apply_and_explain_look_for(document: Obj) -> None:
    patch = document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"]
    assert patch["x-kubernetes-group-version-kind"] == {"group": "apps", "version": "v1", "kind": "Deployment"}
    assert "fieldValidation" in [parameter["name"] for parameter in patch["parameters"]]
    pod = document["definitions"][POD]
    assert pod["properties"]["spec"]["$ref"] == "#/definitions/io.k8s.api.core.v1.PodSpec"
    assert pod["properties"]["spec"]["description"]
    containers = document["definitions"]["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"]
    assert containers["x-kubernetes-patch-merge-key"] == "name"


def test_protobuf_says_the_same(document: Obj) -> None:
    data = openapi_v2.packed(document)
    assert one(data, 1) == b"2.0"
    paths, definitions = named(one(data, 8), 2), named(one(data, 9), 1)
    assert list(paths) == list(document["paths"])
    assert list(definitions) == list(document["definitions"])
    properties = named(one(definitions[POD], 25), 1)
    assert one(properties["spec"], 1) == b"#/definitions/io.k8s.api.core.v1.PodSpec"
    extensions = named(definitions[POD], 31)
    assert one(extensions["x-kubernetes-group-version-kind"], 2).startswith(b'[{"group":')
