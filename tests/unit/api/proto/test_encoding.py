"""Protobuf as it is written here against what Kubernetes 1.37's own types write, byte for byte and both ways.

full.json.gz has every kind with every field; some.json.gz has objects made at random, lists, the kinds that are only
answered, and values at the edges: empty and absent, zero and null, negative, before 1970. Both are by tools/golden.py.
"""

import base64
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from pybernetes.api import proto
from pybernetes.api.proto.message import table
from pybernetes.api.proto.wire import number, signed, varint
from pybernetes.api.resources import RESOURCES

HERE = Path(__file__).parent
CASES: list[dict[str, Any]] = [
    case for name in ("full", "some") for case in json.loads(gzip.decompress((HERE / f"{name}.json.gz").read_bytes()))
]


def name(case: dict[str, Any]) -> str:
    return f"{case['json']['apiVersion']}/{case['json']['kind']}"


every = pytest.mark.parametrize("case", CASES, ids=name)


@every
def test_what_kubernetes_reads_from_its_bytes_is_written_as_these_bytes(case: dict[str, Any]) -> None:
    assert proto.encode(case["json"]) == base64.b64decode(case["proto"])


@every
def test_what_was_sent_with_its_nulls_and_empty_maps_is_written_as_these_bytes(case: dict[str, Any]) -> None:
    assert proto.encode(case.get("sent", case["json"])) == base64.b64decode(case["proto"])


@every
def test_what_is_read_here_is_written_as_it_was(case: dict[str, Any]) -> None:
    body = base64.b64decode(case["proto"])
    assert proto.encode(proto.decode(body)) == body


LISTS = [case["json"] for case in CASES if "items" in case["json"]]


@pytest.mark.parametrize("whole", LISTS, ids=lambda whole: str(whole["kind"]))
def test_a_list_in_parts_is_the_list(whole: dict[str, Any]) -> None:
    head = {field: value for field, value in whole.items() if field != "items"}
    write = proto.item_writer(whole["apiVersion"], whole["kind"])
    assert b"".join(proto.encode_list(head, [write(item) for item in whole["items"] or ()])) == proto.encode(whole)


def test_lists_are_among_the_cases() -> None:
    assert {"PodList", "ConfigMapList", "PartialObjectMetadataList", "APIGroupDiscoveryList"} <= {
        whole["kind"] for whole in LISTS
    }


def test_what_no_message_has_is_left_out() -> None:
    plain = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"k": "v"}}
    assert proto.encode(plain | {"spam": {"a": 1}, "data": None}) == proto.encode(plain | {"data": {}})


def test_what_has_no_protobuf_form() -> None:
    for api_version, kind in (("x.io/v1", "Spam"), ("meta.k8s.io/v1", "Table"), ("v1", "Deployment")):
        with pytest.raises(LookupError, match=f"{kind} of {api_version} has no protobuf form"):
            proto.encode({"apiVersion": api_version, "kind": kind})


@pytest.mark.parametrize("value", [0, 1, 127, 128, 300, 1 << 31, (1 << 63) - 1, -1, -(1 << 31), -(1 << 63)])
def test_numbers(value: int) -> None:
    written = number(value)
    assert (signed(varint(written, 0)[0]), varint(written, 0)[1]) == (value, len(written))


def test_events_of_a_watch() -> None:
    """A bare WatchEvent {type 1, object 2 {raw 1}} behind four bytes of length."""
    body = proto.encode({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}})
    frame = proto.encode_event("ADDED", body)
    event = b"\x0a\x05ADDED\x12" + number(len(body) + 2) + b"\x0a" + number(len(body)) + body
    assert frame == len(event).to_bytes(4, "big") + event
    assert list(proto.frames(frame + proto.encode_event("DELETED", b""))) == [event, b"\x0a\x07DELETED\x12\x02\x0a\x00"]


def test_every_kind_that_is_served_can_be_written_with_nothing_in_it() -> None:
    for row in RESOURCES:
        for kind in (row.kind, *([row.list_kind] if "list" in row.verbs else [])):
            empty = {"apiVersion": row.api_version, "kind": kind}
            written = proto.encode(empty)
            assert proto.encode(proto.decode(written)) == written
            assert kind in table().kinds[row.api_version]
