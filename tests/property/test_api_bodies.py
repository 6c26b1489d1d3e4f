"""Bodies that no client should send, in every form and to every kind of write: refused as what they are, and quickly.

Deep nesting, huge numbers, invalid UTF-8, NUL, wrong media types, broken protobuf, patches of a strange kind, and
good bodies with bytes changed at random (PYBERNETES_BODIES of them, 600 unless given; PYBERNETES_BODIES_SEED).
"""

import os
import random
from collections.abc import AsyncIterator
from time import process_time
from typing import Any

import pytest

from pybernetes.api.objects import decode, encode
from pybernetes.apiserver import ApiServer
from pybernetes.wire import Request
from support.server import api_server

COUNT = int(os.environ.get("PYBERNETES_BODIES", "600"))
SEED = int(os.environ.get("PYBERNETES_BODIES_SEED", "1"))
SECONDS = 10.0
"""Of the processor, however big a body is: a server that is kept busy for longer serves nobody else."""
NS = "/api/v1/namespaces/default"
JSON, YAML, PROTOBUF = "application/json", "application/yaml", "application/vnd.kubernetes.protobuf"
MERGE, STRATEGIC = "application/merge-patch+json", "application/strategic-merge-patch+json"
STEPS, APPLY = "application/json-patch+json", "application/apply-patch+yaml"
DEEP = 10_000


def field(number: int, data: bytes) -> bytes:
    """A length-delimited field of protobuf."""
    size, varint = len(data), b""
    while size >= 0x80:
        varint += bytes([size & 0x7F | 0x80])
        size >>= 7
    return bytes([number << 3 | 2]) + varint + bytes([size]) + data


def unknown(version: str, kind: str, raw: bytes) -> bytes:
    """runtime.Unknown, as clients send objects."""
    return b"k8s\0" + field(1, field(1, version.encode()) + field(2, kind.encode())) + field(2, raw)


def nested(number: int, depth: int) -> bytes:
    data = b""
    for _ in range(depth):
        data = field(number, data)
    return data


NUMBERS = [
    *("1e400", "-1e400", "1e-400", "9" * 5000, "-" + "9" * 400, "0.1e1", "1.0", "-0", "18446744073709551616"),
    *("9223372036854775808", "NaN", "Infinity", "01", "+1", "1_000", "0x10"),
]
TEXTS = [
    "\\u0000",
    "\\ud800",
    "\\udfff\\ud800",
    "a" * 100_000,
    "\\n\\r",
    "\\uffff",
    "../..",
    "%2f",
    "💥",
    " ",
    "\\u202e",
]
QUANTITIES = ["1e999999999", "9" * 10_000 + "Gi", "1e-999999999", "0." + "0" * 10_000 + "1", "1E9E9", "-1", "1ki", "¹"]
JSON_BODIES = [
    *(b"", b" ", b"{", b"}", b"[", b"nul", b"null", b"true", b"1", b'"text"', b"[]", b"[{}]", b"{}", b"\0", b"{}{}"),
    *(
        b"\xef\xbb\xbf{}",
        b"\xff\xfe{}",
        b'{"a":"\xff"}',
        b'{"\xc3\x28":1}',
        b'{"a":1,}',
        b"{'a':1}",
        b'{"a"}',
        b"//x\n{}",
    ),
    *(b"[" * DEEP, b"[" * DEEP + b"]" * DEEP, b'{"a":' * DEEP + b"1" + b"}" * DEEP, b'{"metadata":' * DEEP),
    *(
        b'{"metadata":{"annotations":' + b'{"a":' * DEEP + b"1" + b"}" * (DEEP + 2),
        b'"' + b"\\" * 9999,
        b"{" + b" " * 100_000,
    ),
    *(b'{"data":{"a":%s}}' % one.encode() for one in NUMBERS),
    *(b'{"metadata":{"generation":%s}}' % one.encode() for one in NUMBERS),
    *(b'{"spec":{"replicas":%s}}' % one.encode() for one in NUMBERS),
    *(b'{"metadata":{"name":"%s"}}' % one.encode() for one in TEXTS),
    *(b'{"metadata":{"name":"x","labels":{"%s":"%s"}}}' % (one.encode(), one.encode()) for one in TEXTS),
    *(b'{"spec":{"hard":{"cpu":"%s"}}}' % one.encode() for one in QUANTITIES),
    *(b'{"spec":{"containers":[{"resources":{"limits":{"cpu":"%s"}}}]}}' % one.encode() for one in QUANTITIES),
    b'{"metadata":[],"spec":1,"status":"x","data":[[]]}',
    b'{"metadata":{"name":["x"],"labels":[],"ownerReferences":{},"managedFields":"x","finalizers":[1,null]}}',
    b'{"metadata":{"creationTimestamp":"x","deletionTimestamp":1,"resourceVersion":1,"uid":{}}}',
    b'{"kind":null,"apiVersion":[],"metadata":null}',
    b'{"kind":"' + b"x" * 50_000 + b'"}',
    b'{"metadata":{"name":"x"},' + b",".join(b'"k%d":1' % number for number in range(10_000)) + b"}",
    b"[" + b"{}," * 200_000 + b"{}]",
    b'{"data":{' + b",".join(b'"%d":"v"' % number for number in range(5_000)) + b"}}",
]
YAML_BODIES = [
    *(
        b"a: [",
        b"a: &a [*a]",
        b"&a [*a, *a]",
        b"!!python/object/apply:os.system [x]",
        b"%YAML 9.9\n---\na: 1",
        b"\t- x",
    ),
    *(
        b"a: 1\n---\nb: 2",
        b"...",
        b"--- |\n x",
        b"? [a]\n: b",
        b"<<: [1]",
        b"a: 2020-01-01",
        b"a: .inf",
        b"a: 0o7",
        b"\xff",
    ),
    *(
        b"- " * DEEP + b"x",
        b"[" * DEEP + b"]" * DEEP,
        b"".join(b" " * n + b"a:\n" for n in range(1500)),
        b"a: \x8f",
        b"a: \0",
    ),
    *(b"? " * 3000, b"!" * 10_000, b"&" + b"a" * 10_000 + b" x", b"a: !!binary x", b"a: !!set {x}", b"* x", b"@", b"`"),
    b"\n".join([b"a: &a0 [x]", *(b"b%d: &a%d [*a%d,*a%d]" % (n, n, n - 1, n - 1) for n in range(1, 40))]),
]
PROTOBUF_BODIES = [
    *(b"", b"k8s", b"k8s\0", b"k8s\0\xff", b"k8s\0" + b"\xff" * 1000, b"not it", b"k8s\0" + field(2, b"x")),
    *(unknown("v1", "ConfigMap", bytes(range(256))), unknown("v1", "ConfigMap", b"\x0a\xff\xff\xff\xff\x0f")),
    *(unknown("v1", "ConfigMap", field(1, field(1, b"\xff\xfe"))), unknown("", "", b""), unknown("v1", "Pod", b"")),
    *(unknown("v1", "ConfigMap", nested(1, DEEP)), unknown("v1", "Pod", nested(2, DEEP)), nested(2, DEEP)),
    *(
        unknown("x" * 9000, "y" * 9000, b""),
        unknown("v1", "ConfigMap", field(1, field(1, b"a\0b"))),
        b"k8s\0" + b"\x0b" * 5000,
    ),
    unknown("apiextensions.k8s.io/v1", "CustomResourceDefinition", field(2, nested(4, DEEP))),
    unknown("v1", "ConfigMap", b"\x08" + b"\x80" * 50 + b"\x01"),
    unknown("v1", "ConfigMap", b"\x1b" * 20_000),
]
STEP_BODIES = [
    *(b"[]", b"{}", b"[1]", b"[null]", b'[{"op":"x"}]', b'[{"op":"add"}]', b'[{"op":"add","path":"x","value":1}]'),
    *(b'[{"op":"move","from":"/metadata","path":"/metadata/name"}]', b'[{"op":"copy","from":"","path":"/data/a"}]'),
    *(
        b'[{"op":"remove","path":""}]',
        b'[{"op":"replace","path":"","value":null}]',
        b'[{"op":"test","path":"/x","value":1}]',
    ),
    b'[{"op":"add","path":"' + b"/a" * DEEP + b'","value":1}]',
    b'[{"op":"add","path":"/data/x","value":' + b"[" * 900 + b"]" * 900 + b"}]",
    b'[{"op":"add","path":"/metadata/finalizers/99999999999999999999","value":"x"}]',
    b'[{"op":"add","path":"/data/~2~","value":"x"}]',
    b"[" + b",".join([b'{"op":"copy","from":"/data","path":"/data/x"}'] * 40) + b"]",
    b"[" + b",".join([b'{"op":"test","path":"/data","value":1}'] * 10_001) + b"]",
]
STRATEGIC_BODIES = [
    *(
        b'{"$patch":"x"}',
        b'{"$patch":"delete"}',
        b'{"$patch":"replace"}',
        b'{"data":{"$patch":"replace","$retainKeys":1}}',
    ),
    *(b'{"metadata":{"$setElementOrder/finalizers":{}}}', b'{"metadata":{"$deleteFromPrimitiveList/finalizers":1}}'),
    *(
        b'{"metadata":{"$retainKeys":["a",1]}}',
        b'{"$setElementOrder/x":[null]}',
        b'{"metadata":{"ownerReferences":[1,{}]}}',
    ),
]
WRITES: list[tuple[str, str, list[str]]] = [
    ("POST", f"{NS}/configmaps", [JSON, YAML, PROTOBUF, "text/plain", "application/x;a=b", ""]),
    ("POST", f"{NS}/pods", [JSON, YAML, PROTOBUF]),
    ("POST", f"{NS}/resourcequotas", [JSON, YAML]),
    ("POST", "/apis/apps/v1/namespaces/default/deployments", [JSON, YAML, PROTOBUF]),
    ("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", [JSON, YAML, PROTOBUF]),
    ("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", [JSON, PROTOBUF]),
    ("POST", f"{NS}/serviceaccounts/default/token", [JSON]),
    ("PUT", f"{NS}/configmaps/there", [JSON, YAML, PROTOBUF]),
    ("PUT", "/apis/apps/v1/namespaces/default/deployments/there/scale", [JSON, YAML]),
    ("PATCH", f"{NS}/configmaps/there", [MERGE, STRATEGIC, STEPS, APPLY, JSON, "x"]),
    ("PATCH", "/apis/apps/v1/namespaces/default/deployments/there", [MERGE, STRATEGIC, STEPS, APPLY]),
    ("PATCH", "/apis/apps/v1/namespaces/default/deployments/there/scale", [MERGE, STRATEGIC, STEPS]),
    ("DELETE", f"{NS}/configmaps/none", [JSON, YAML, PROTOBUF]),
    ("DELETE", f"{NS}/secrets", [JSON, YAML, PROTOBUF]),
]
DEPLOYMENT = {
    "metadata": {"name": "there"},
    "spec": {
        "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}},
    },
}
FORMS = {
    PROTOBUF: PROTOBUF_BODIES,
    STEPS: STEP_BODIES,
    STRATEGIC: STRATEGIC_BODIES,
    YAML: YAML_BODIES,
    APPLY: YAML_BODIES,
}


@pytest.fixture
async def server() -> AsyncIterator[ApiServer]:
    async with api_server() as running:
        for path, body in (
            (f"{NS}/serviceaccounts", {"metadata": {"name": "default"}}),
            (f"{NS}/configmaps", {"metadata": {"name": "there"}, "data": {"a": "b"}}),
            ("/apis/apps/v1/namespaces/default/deployments", DEPLOYMENT),
        ):
            assert (await send(running, "POST", path, encode(body), JSON))[0] == 201
        yield running


async def send(server: ApiServer, method: str, path: str, body: bytes, media: str) -> tuple[int, Any]:
    """Raises AssertionError for a 5xx, for a refusal that is no Status, and for one that took too long."""
    query = {"fieldManager": ["x"]} if method == "PATCH" else {}
    headers = {"content-type": media} if media else {}
    request = Request(method=method, path=path, query=query, headers=headers, body=body)
    begun = process_time()
    response = await server.trusted("a", "system:masters").send(request)
    took = process_time() - begun
    assert isinstance(response.body, bytes)
    told = (method, path, media, body[:300], len(body), response.body[:500])
    assert response.status < 500, told
    assert took < SECONDS, (took, told)
    found = decode(response.body)
    if response.status >= 400:
        assert (found["kind"], found["status"], found["code"]) == ("Status", "Failure", response.status), told
        assert len(response.body) < 300_000 or len(body) > 100_000, told
    return response.status, found


async def whole(server: ApiServer) -> None:
    """What is stored can be read, and what was there before is there."""
    for _, path, _ in WRITES:
        listing = path.removesuffix("/token").removesuffix("/scale")
        for name in ("/there", "/none", "/default"):
            listing = listing.removesuffix(name)
        if "reviews" not in listing:
            code, found = await send(server, "GET", listing, b"", "")
            assert (code, isinstance(found["items"], list)) == (200, True)


@pytest.mark.parametrize("write", WRITES, ids=[f"{method} {path.rpartition('/')[2]}" for method, path, _ in WRITES])
async def test_strange_bodies(server: ApiServer, write: tuple[str, str, list[str]]) -> None:
    method, path, medias = write
    for media in medias:
        bodies = FORMS.get(media, []) + ([] if media == PROTOBUF else JSON_BODIES)
        for body in bodies:
            await send(server, method, path, body, media)
    await whole(server)


async def test_nothing_of_a_refused_object_is_stored(server: ApiServer) -> None:
    for body in JSON_BODIES:
        code, _ = await send(server, "POST", f"{NS}/secrets", body, JSON)
        _, found = await send(server, "GET", f"{NS}/secrets", b"", "")
        assert len(found["items"]) == (1 if code == 201 else 0), body[:200]
        for item in found["items"]:
            assert (await send(server, "DELETE", f"{NS}/secrets/{item['metadata']['name']}", b"", ""))[0] == 200


def changed(rng: random.Random, data: bytes) -> bytes:
    for _ in range(rng.randrange(1, 4)):
        at, length = rng.randrange(len(data) + 1), rng.randrange(1, 9)
        data = rng.choice(
            [
                data[:at] + rng.randbytes(length) + data[at + length :],
                data[:at] + data[at + length :],
                data[: at + length] + data[at:],
                data[:at] + rng.choice([b"null", b"[]", b"{}", b'"', b"\0", b"1e999", b"-1", b"\\u0000"]) + data[at:],
            ]
        )
    return data


async def test_good_bodies_with_bytes_changed(server: ApiServer) -> None:
    rng = random.Random(SEED)
    good: list[tuple[str, str, str, bytes]] = [
        ("POST", f"{NS}/configmaps", JSON, b'{"metadata":{"name":"x","labels":{"a":"b"}},"data":{"k":"v"}}'),
        ("POST", f"{NS}/configmaps", YAML, b"metadata:\n  name: x\n  labels: {a: b}\ndata:\n  k: |\n    v\n"),
        (
            "POST",
            f"{NS}/configmaps",
            PROTOBUF,
            unknown("v1", "ConfigMap", field(1, field(1, b"x") + field(3, b"default"))),
        ),
        ("PUT", "/apis/apps/v1/namespaces/default/deployments/there", JSON, encode(DEPLOYMENT)),
        ("PATCH", f"{NS}/configmaps/there", STEPS, b'[{"op":"add","path":"/data/x","value":"y"}]'),
        (
            "PATCH",
            f"{NS}/configmaps/there",
            STRATEGIC,
            b'{"data":{"a":null,"b":"c"},"metadata":{"finalizers":["a/b"]}}',
        ),
        ("PATCH", f"{NS}/configmaps/there", APPLY, b'{"kind":"ConfigMap","apiVersion":"v1","data":{"z":"1"}}'),
        ("DELETE", f"{NS}/configmaps/x", JSON, b'{"kind":"DeleteOptions","preconditions":{"uid":"x"}}'),
    ]
    for _ in range(COUNT):
        method, path, media, body = rng.choice(good)
        await send(server, method, path, changed(rng, body), media)
    await whole(server)
