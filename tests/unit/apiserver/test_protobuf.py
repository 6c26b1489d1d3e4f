"""Bodies in protobuf do what the same bodies in JSON do, for every kind that can be written."""

import base64
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from pybernetes.api.resources import Resource, find_kind

from .conftest import Call

MEDIA = "application/vnd.kubernetes.protobuf"
GOLDEN = Path(__file__).parents[1] / "api/proto/full.json.gz"
CASES: list[dict[str, Any]] = [
    case
    for case in json.loads(gzip.decompress(GOLDEN.read_bytes()))
    if (row := find_kind(case["json"]["apiVersion"], case["json"]["kind"])) and "create" in row.verbs
]
MAPS = "/api/v1/namespaces/default/configmaps"
CHANGES = frozenset({"uid", "creationTimestamp", "resourceVersion", "managedFields"})


def path_of(row: Resource) -> str:
    root = f"/apis/{row.group}/{row.version}" if row.group else f"/api/{row.version}"
    return f"{root}/namespaces/default/{row.plural}" if row.namespaced else f"{root}/{row.plural}"


def lasting(answer: Any) -> Any:
    """Without what differs between two objects."""
    if isinstance(answer, list):
        return [lasting(one) for one in answer]
    if not isinstance(answer, dict):
        return answer
    return {name: lasting(value) for name, value in answer.items() if name not in CHANGES}


def reasons(status: Any) -> list[Any]:
    """The causes of a refusal; of their texts the letters, as they quote values in the order of the body.

    Volumes are left out: of too many sources, the first in the body is the one that is looked at.
    """
    causes = status.get("details", {}).get("causes", [])
    return sorted(
        (cause["field"], cause["reason"], sorted(cause["message"]))
        for cause in causes
        if ".volumes[0]." not in cause["field"]
    )


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['json']['apiVersion']}/{case['json']['kind']}")
async def test_create(call: Call, case: dict[str, Any]) -> None:
    """The objects are full of nonsense, so most are refused: for the same reasons, field by field."""
    obj = case["json"]
    row = find_kind(obj["apiVersion"], obj["kind"])
    assert row
    path = path_of(row) + "?dryRun=All"
    code, said = await call("POST", path, obj)
    found, told = await call("POST", path, base64.b64decode(case["proto"]), MEDIA)
    assert found == code, told
    assert code in (200, 201, 400, 403, 404, 422), said
    assert reasons(told) == reasons(said)
    if code < 400:
        assert lasting(told) == lasting(said)


async def sent(call: Call, method: str, path: str, body: bytes, media: str = MEDIA) -> tuple[int, str]:
    code, said = await call(method, path, body, media)
    return code, said.get("message", "")


def body_of(kind: str) -> bytes:
    return next(base64.b64decode(case["proto"]) for case in CASES if case["json"]["kind"] == kind)


async def test_the_kind_must_be_that_of_the_path(call: Call) -> None:
    code, message = await sent(call, "POST", MAPS, body_of("Secret"))
    assert (code, message) == (400, 'Secret in version "v1" cannot be handled as a ConfigMap')


async def test_objects_are_not_patched_with_protobuf(call: Call) -> None:
    await call("POST", MAPS, {"metadata": {"name": "a"}})
    code, message = await sent(call, "PATCH", f"{MAPS}/a", body_of("ConfigMap"))
    assert code == 415
    assert "application/strategic-merge-patch+json" in message


def text(number: int, value: bytes) -> bytes:
    return bytes([number << 3 | 2, len(value)]) + value


def envelope(api_version: bytes, kind: bytes, message: bytes) -> bytes:
    return b"k8s\x00" + text(1, text(1, api_version) + text(2, kind)) + text(2, message)


async def test_options_of_a_deletion(call: Call) -> None:
    for name in ("a", "b"):
        await call("POST", MAPS, {"metadata": {"name": name}})
    wrong = envelope(b"v1", b"DeleteOptions", text(2, text(1, b"another-uid")))
    code, message = await sent(call, "DELETE", f"{MAPS}/a", wrong)
    assert code == 409
    assert "another-uid" in message
    dry = envelope(b"meta.k8s.io/v1", b"DeleteOptions", text(5, b"All"))
    assert (await sent(call, "DELETE", f"{MAPS}/a", dry))[0] == 200
    assert (await sent(call, "DELETE", MAPS, dry))[0] == 200
    assert len((await call("GET", MAPS))[1]["items"]) == 2
    assert (await sent(call, "DELETE", f"{MAPS}/a", envelope(b"v1", b"DeleteOptions", b"")))[0] == 200
    code, message = await sent(call, "DELETE", f"{MAPS}/b", envelope(b"v1", b"ConfigMap", b""))
    assert (code, message) == (400, "ConfigMap cannot be handled as a DeleteOptions")
    code, _ = await sent(call, "DELETE", f"{MAPS}/b", b"k8s\x00\x0a\xff")
    assert code == 400


async def test_an_update_and_what_is_unknown_in_it(call: Call) -> None:
    """Protobuf has no unknown fields to be strict about: they are passed over, as Go does."""
    await call("POST", MAPS, {"metadata": {"name": "a"}})
    pair = text(1, b"k") + text(2, b"v")
    message = text(1, text(1, b"a")) + text(2, pair) + text(15, b"from a newer client")
    code, found = await call("PUT", f"{MAPS}/a?fieldValidation=Strict", envelope(b"v1", b"ConfigMap", message), MEDIA)
    assert (code, found["data"]) == (200, {"k": "v"})
