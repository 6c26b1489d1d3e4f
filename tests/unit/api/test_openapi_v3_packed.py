"""The protobuf form of OpenAPI v3 documents, read back by the field numbers of gnostic's OpenAPIv3.proto.

What Go's gnostic makes of whole documents is compared with their JSON in tests/conformance/clients/go/protobuf.
"""

import struct
from collections.abc import Iterator
from typing import Any

import pytest

from pybernetes.api import openapi, openapi_v3_packed
from pybernetes.api.objects import Obj, decode
from pybernetes.api.proto.wire import Value, fields
from pybernetes.api.scheme import Scheme

POD = "io.k8s.api.core.v1.Pod"


@pytest.fixture(scope="module")
def document() -> Obj:
    made = openapi.document(Scheme.builtin(), "", "v1")
    assert made is not None
    found: Obj = decode(made)
    return found


@pytest.fixture(scope="module")
def packed(document: Obj) -> bytes:
    return openapi_v3_packed.packed(document)


def every(data: bytes, number: int) -> list[Any]:
    return [value for at, _, value in fields(data) if at == number]


def one(data: bytes, *path: int) -> Any:
    found: Value = data
    for number in path:
        assert isinstance(found, bytes)
        (found,) = every(found, number)
    return found


def named(data: bytes, number: int) -> dict[str, bytes]:
    return {one(entry, 1).decode(): one(entry, 2) for entry in every(data, number)}


def schemas(data: bytes) -> dict[str, bytes]:
    return named(one(data, 5, 1), 1)


def test_what_is_described(document: Obj, packed: bytes) -> None:
    assert one(packed, 1).decode() == document["openapi"]
    assert one(packed, 2, 1) == b"Kubernetes"
    paths = named(one(packed, 4), 1)
    assert paths.keys() == document["paths"].keys()
    operation = one(paths["/api/v1/namespaces/{namespace}/pods"], 6)
    assert one(operation, 5) == b"createCoreV1NamespacedPod"
    assert named(operation, 13)["x-kubernetes-action"] == b'\x12\x07"post"\n'
    body = named(one(operation, 7, 1, 2), 1)["application/json"]
    assert one(body, 1, 2, 1).decode() == f"#/components/schemas/{POD}"
    answers = named(one(operation, 8), 2)
    assert one(answers["200"], 1, 1) == b"OK"
    names = [one(parameter, 1, 1) for parameter in every(operation, 6)]
    assert names == [b"dryRun", b"fieldManager", b"fieldValidation"]


def test_schemas(document: Obj, packed: bytes) -> None:
    assert schemas(packed).keys() == document["components"]["schemas"].keys()
    pod = one(schemas(packed)[POD], 1)
    assert one(pod, 25) == b"object"
    spec = named(one(pod, 31), 1)["spec"]
    assert one(spec, 1, 26, 2, 1) == b"#/components/schemas/io.k8s.api.core.v1.PodSpec"


def _schema(schema: Obj) -> bytes:
    found: bytes = one(schemas(openapi_v3_packed.packed({"components": {"schemas": {"x": schema}}}))["x"], 1)
    return found


def numbers() -> Iterator[tuple[Obj, int, Any]]:
    yield {"nullable": True}, 1, 1
    yield {"maximum": 1.5}, 11, int.from_bytes(struct.pack("<d", 1.5), "little")
    yield {"minimum": -1}, 13, int.from_bytes(struct.pack("<d", -1), "little")
    yield {"maxLength": 300}, 15, 300
    yield {"default": True}, 33, b"\x10\x01"
    yield {"default": False}, 33, b"\x10\x00"
    yield {"default": 1}, 33, b"\x09" + struct.pack("<d", 1)
    yield {"default": "a"}, 33, b"\x1a\x01a"
    yield {"default": ""}, 33, b"\x1a\x00"
    yield {"default": {"a": 1}}, 33, b""
    yield {"additionalProperties": False}, 32, b"\x10\x00"
    yield {"additionalProperties": {"type": "string"}}, 32, b"\x0a\x0b\x0a\x09\xca\x01\x06string"
    yield {"items": {"$ref": "r"}}, 30, b"\x0a\x05\x12\x03\x0a\x01r"
    yield {"not": {"type": "string"}}, 29, b"\xca\x01\x06string"
    yield {"example": [1]}, 7, b"\x12\x04[1]\n"


@pytest.mark.parametrize(("schema", "number", "value"), list(numbers()), ids=str)
def test_words_of_schemas(schema: Obj, number: int, value: Any) -> None:
    assert one(_schema(schema), number) == value


def test_what_is_nothing_and_what_protobuf_cannot_say_is_left_out() -> None:
    assert _schema({"nullable": False, "minLength": 0, "title": "", "spam": 1}) == b""
    assert [one(value, 2) for value in every(_schema({"enum": ["a", 1, None]}), 24)] == [b'"a"\n', b"1\n", b"null\n"]
    assert len(every(_schema({"anyOf": [{"type": "a"}, {"required": ["b", "c"]}]}), 28)) == 2
