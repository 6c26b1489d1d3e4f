"""Protobuf of every kind that is served: objects with every field filled, encoded by Kubernetes 1.37's own types.

full.json.gz (by tools/golden.py) holds each body, and the JSON that Kubernetes reads from it.
"""

import base64
import gzip
import json
import random
from pathlib import Path
from typing import Any

import pytest

from pybernetes.api import proto
from pybernetes.api.errors import BadRequest
from pybernetes.api.proto.wire import BYTES, fields, varint
from pybernetes.api.resources import RESOURCES
from pybernetes.api.schema import Type, type_of

CASES: list[dict[str, Any]] = json.loads(gzip.decompress((Path(__file__).parent / "full.json.gz").read_bytes()))
DAMAGED = 60
UNKNOWN = bytes([0xC2, 0xF7, 0x03, 1, 120, 0xC8, 0xF7, 0x03, 5])
"""Fields 8056 and 8057: a string and a number."""


def name(case: dict[str, Any]) -> str:
    return f"{case['json']['apiVersion']}/{case['json']['kind']}"


every = pytest.mark.parametrize("case", CASES, ids=name)


def body_of(case: dict[str, Any]) -> bytes:
    return base64.b64decode(case["proto"])


def with_unknown_fields(body: bytes) -> bytes:
    """At the end of the envelope and of the message in it."""
    envelope = b""
    for number, wire_type, value in fields(body[len(proto.MAGIC) :]):
        assert wire_type == BYTES
        assert isinstance(value, bytes)
        data = value + UNKNOWN if number == 2 else value
        envelope += bytes([number << 3 | BYTES]) + length(len(data)) + data
    return proto.MAGIC + envelope + UNKNOWN


def length(value: int) -> bytes:
    low, rest = value & 0x7F, value >> 7
    return bytes([low | 0x80]) + length(rest) if rest else bytes([low])


@every
def test_a_full_object(case: dict[str, Any]) -> None:
    assert proto.decode(body_of(case)) == case["json"]


@every
def test_unknown_fields_are_passed_over(case: dict[str, Any]) -> None:
    assert proto.decode(with_unknown_fields(body_of(case))) == case["json"]


@every
def test_damaged_bodies_are_bad_requests_at_most(case: dict[str, Any]) -> None:
    """Cut short, or with a byte changed: an object of something, or BadRequest; never another error."""
    rng, body = random.Random(name(case)), body_of(case)
    for _ in range(DAMAGED):
        at = rng.randrange(len(body))
        for damaged in (body[:at], body[:at] + rng.randbytes(1) + body[at + 1 :]):
            try:
                found = proto.decode(damaged)
            except BadRequest:
                continue
            assert json.dumps(found)


def test_every_kind_is_there() -> None:
    assert sorted(map(name, CASES)) == sorted(f"{row.api_version}/{row.kind}" for row in RESOURCES)


@pytest.mark.parametrize("case", [case for case in CASES if case["json"]["kind"] == "Pod"], ids=name)
def test_the_full_object_is_full(case: dict[str, Any]) -> None:
    """No field of a pod, three structs deep or twenty, is missing, so the tests above have seen it."""
    (row,) = (row for row in RESOURCES if row.kind == "Pod")
    for part in ("spec", "status"):
        assert missing(type_of(row.definition).fields[part], case["json"][part], part) == []


def missing(type_: Type, value: Any, path: str) -> list[str]:
    if type_.kind == "struct":
        return [
            gap
            for field, inner in type_.fields.items()
            for gap in ([f"{path}.{field}"] if field not in value else missing(inner, value[field], f"{path}.{field}"))
        ]
    if type_.kind in ("list", "map"):
        assert type_.items
        inside = value if type_.kind == "list" else value.values()
        return [gap for one in inside for gap in missing(type_.items, one, f"{path}[]")]
    return []


def test_the_wire_helper_writes_what_the_reader_reads() -> None:
    assert [varint(length(value), 0)[0] for value in (0, 127, 128, 70_000)] == [0, 127, 128, 70_000]
