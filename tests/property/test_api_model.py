"""The API against a model of it: random writes by several hands, and what reads and a watch then say.

PYBERNETES_MODEL_OPERATIONS sets how many (2,000 unless given; 100,000 for a long run), PYBERNETES_MODEL_SEED the seed.
"""

import asyncio
import contextlib
import os
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from pybernetes.api.objects import decode, encode
from pybernetes.apiserver import ApiServer
from pybernetes.wire import Request
from support.server import api_server

OPERATIONS = int(os.environ.get("PYBERNETES_MODEL_OPERATIONS", "2000"))
SEED = int(os.environ.get("PYBERNETES_MODEL_SEED", "1"))
NAMESPACES = ("default", "kube-system")
NAMES = ("a", "b", "c", "d")
KEYS = ("x", "y", "z")
FINALIZER = "example.com/hold"
ODD: tuple[bytes, ...] = (b"", b"{", b"[]", b"null", b'{"data":1}', b'{"data":{"x":1}}', b"\xff\xfe", b"[" * 5000)
CONTENTS = {
    "json": "application/json",
    "merge": "application/merge-patch+json",
    "patch": "application/json-patch+json",
    "apply": "application/apply-patch+yaml",
    "strategic": "application/strategic-merge-patch+json",
    "protobuf": "application/vnd.kubernetes.protobuf",
    "yaml": "application/yaml",
}

Key = tuple[str, str]


@dataclass
class Known:
    """What the model holds of one object."""

    uid: str
    revision: str
    data: dict[str, str] = field(default_factory=dict)
    held: bool = False
    ending: bool = False


class Model:
    """Does an operation on the server and says what must have come of it."""

    def __init__(self, server: ApiServer, rng: random.Random) -> None:
        self.rng = rng
        self.objects: dict[Key, Known] = {}
        self.last = 0
        self._transport = server.trusted("admin", "system:masters")

    async def call(
        self, method: str, path: str, body: Any = None, *, content: str = "json", **query: str
    ) -> tuple[int, Any]:
        data = body if isinstance(body, bytes) else b"" if body is None else encode(body)
        request = Request(
            method=method,
            path=path,
            query={name: [value] for name, value in query.items()},
            headers={"content-type": CONTENTS[content]},
            body=data,
        )
        response = await self._transport.send(request)
        assert isinstance(response.body, bytes)
        assert response.status < 500, (method, path, body, response.body)
        return response.status, decode(response.body)

    def revisions(self) -> dict[Key, str]:
        return {key: known.revision for key, known in self.objects.items()}

    def path(self, key: Key) -> str:
        return f"/api/v1/namespaces/{key[0]}/configmaps/{key[1]}"

    def choose(self) -> Key:
        return self.rng.choice(NAMESPACES), self.rng.choice(NAMES)

    def data(self) -> dict[str, str]:
        return {name: str(self.rng.randrange(3)) for name in self.rng.sample(KEYS, self.rng.randrange(len(KEYS) + 1))}

    def took(self, key: Key, obj: Any, data: dict[str, str]) -> None:
        """The answer to a write that must have left this data."""
        known = self.objects.get(key)
        meta = obj["metadata"]
        assert obj.get("data", {}) == data
        if known is not None:
            assert meta["uid"] == known.uid
            if (
                known.data == data
                and bool(meta.get("finalizers")) == known.held
                and meta["resourceVersion"] == known.revision
            ):
                return
        assert int(meta["resourceVersion"]) > self.last, "revisions only grow"
        self.last = int(meta["resourceVersion"])
        held = bool(meta.get("finalizers"))
        ending = "deletionTimestamp" in meta
        self.objects[key] = Known(meta["uid"], meta["resourceVersion"], data, held, ending)

    async def create(self) -> None:
        key, data = self.choose(), self.data()
        meta: dict[str, Any] = {"name": key[1]} | ({"finalizers": [FINALIZER]} if self.rng.random() < 0.2 else {})
        code, found = await self.call("POST", self.path(key).rpartition("/")[0], {"metadata": meta, "data": data})
        if key in self.objects:
            assert (code, found["reason"]) == (409, "AlreadyExists")
        else:
            assert code == 201
            self.took(key, found, data)

    async def replace(self) -> None:
        key, data = self.choose(), self.data()
        known = self.objects.get(key)
        stale = self.rng.random() < 0.3
        revision = "1" if stale else known.revision if known else ""
        meta = {"name": key[1], "resourceVersion": revision} | (
            {"finalizers": [FINALIZER]} if known and known.held else {}
        )
        code, found = await self.call("PUT", self.path(key), {"metadata": meta, "data": data})
        if known is None:
            assert code == 404
        elif stale:
            assert (code, found["reason"]) == (409, "Conflict")
        else:
            assert code == 200
            self.took(key, found, data)

    async def merge(self) -> None:
        key, known = (key := self.choose()), self.objects.get(key)
        change = {name: self.rng.choice([None, "5"]) for name in self.rng.sample(KEYS, 2)}
        content = self.rng.choice(["merge", "strategic"])
        dry = self.rng.random() < 0.2
        query = {"dryRun": "All"} if dry else {}
        code, found = await self.call("PATCH", self.path(key), {"data": change}, content=content, **query)
        if known is None:
            assert code == 404
            return
        data = {name: value for name, value in (known.data | change).items() if value is not None}
        assert (code, found.get("data", {})) == (200, data)
        if not dry:
            self.took(key, found, data)

    async def test_and_set(self) -> None:
        key, known = (key := self.choose()), self.objects.get(key)
        name, wanted = self.rng.choice(KEYS), str(self.rng.randrange(3))
        steps = [
            {"op": "test", "path": f"/data/{name}", "value": wanted},
            {"op": "replace", "path": f"/data/{name}", "value": "7"},
        ]
        code, found = await self.call("PATCH", self.path(key), steps, content="patch")
        if known is None:
            assert code == 404
        elif known.data.get(name) != wanted:
            assert (code, found["reason"]) == (422, "Invalid")
        else:
            assert code == 200
            self.took(key, found, known.data | {name: "7"})

    async def apply(self) -> None:
        key, known, data = (key := self.choose()), self.objects.get(key), self.data()
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": key[1]}, "data": data}
        query = {"fieldManager": self.rng.choice(["m1", "m2"]), "force": "true"}
        code, found = await self.call("PATCH", self.path(key), body, content="apply", **query)
        assert code == (200 if known else 201)
        got = found.get("data", {})
        assert data.items() <= got.items()
        assert set(got) <= set(data) | set(known.data if known else {})
        self.took(key, found, got)

    async def delete(self) -> None:
        key, known = (key := self.choose()), self.objects.get(key)
        wrong = self.rng.random() < 0.2
        body = {"preconditions": {"uid": "another"}} if wrong else None
        code, found = await self.call("DELETE", self.path(key), body)
        if known is None:
            assert code == 404
        elif wrong:
            assert (code, found["reason"]) == (409, "Conflict")
        elif known.held:
            assert code == 200
            if not known.ending:
                self.took(key, found, known.data)
            assert self.objects[key].ending
        else:
            assert (code, found["details"]["uid"]) == (200, known.uid)
            del self.objects[key]

    async def release(self) -> None:
        key, known = (key := self.choose()), self.objects.get(key)
        body = {"metadata": {"finalizers": None}}
        code, found = await self.call("PATCH", self.path(key), body, content="merge")
        assert code == (200 if known else 404)
        if known and known.ending:
            del self.objects[key]
        elif known:
            self.took(key, found, known.data)

    async def nonsense(self) -> None:
        key = self.choose()
        method = self.rng.choice(["POST", "PUT", "PATCH"])
        path = self.path(key).rpartition("/")[0] if method == "POST" else self.path(key)
        body = self.rng.choice(ODD) if self.rng.random() < 0.5 else self.rng.randbytes(self.rng.randrange(40))
        query = {"fieldManager": "m", "dryRun": "All"}
        code, _ = await self.call(method, path, body, content=self.rng.choice(list(CONTENTS)), **query)
        assert code in (200, 201) or 400 <= code < 500

    async def read(self) -> None:
        key = self.choose()
        code, found = await self.call("GET", self.path(key))
        known = self.objects.get(key)
        assert code == (200 if known else 404)
        if known:
            assert (found.get("data", {}), found["metadata"]["resourceVersion"]) == (known.data, known.revision)

    async def listed(self) -> None:
        namespace = self.rng.choice(NAMESPACES)
        path, found, token = f"/api/v1/namespaces/{namespace}/configmaps", {}, ""
        while True:
            query = {"limit": "2"} | ({"continue": token} if token else {})
            _, page = await self.call("GET", path, **query)
            found |= {one["metadata"]["name"]: one["metadata"]["resourceVersion"] for one in page["items"]}
            token = page["metadata"].get("continue", "")
            if not token:
                break
        assert found == {name: known.revision for (space, name), known in self.objects.items() if space == namespace}

    def operations(self) -> list[Callable[[], Awaitable[None]]]:
        often = [self.create, self.replace, self.merge, self.test_and_set, self.apply, self.delete, self.read]
        return [*often, *often, self.release, self.nonsense, self.listed]


class Replay:
    """Everything that a watch of all ConfigMaps told, played."""

    def __init__(self) -> None:
        self.objects: dict[Key, str] = {}
        self.revision = 0

    async def run(self, server: ApiServer, ready: asyncio.Event) -> None:
        request = Request(path="/api/v1/configmaps", query={"watch": ["true"], "resourceVersion": ["0"]}, stream=True)
        response = await server.trusted("admin", "system:masters").send(request)
        assert not isinstance(response.body, bytes)
        ready.set()
        async for chunk in response.body:
            for line in chunk.splitlines():
                self.play(decode(line))

    def play(self, event: Any) -> None:
        meta = event["object"]["metadata"]
        key = (meta["namespace"], meta["name"])
        assert event["type"] in ("ADDED", "MODIFIED", "DELETED")
        assert (event["type"] == "ADDED") is (key not in self.objects)
        if event["type"] == "DELETED":
            del self.objects[key]
        else:
            self.objects[key] = meta["resourceVersion"]
        assert int(meta["resourceVersion"]) > self.revision
        self.revision = int(meta["resourceVersion"])


@pytest.mark.timeout(200 + OPERATIONS // 50)
async def test_the_api_is_what_the_model_says() -> None:
    rng = random.Random(SEED)
    async with api_server() as server:
        model, replay, ready = Model(server, rng), Replay(), asyncio.Event()
        watching = asyncio.create_task(replay.run(server, ready))
        await ready.wait()
        operations = model.operations()
        for _ in range(OPERATIONS):
            await rng.choice(operations)()
        with contextlib.suppress(TimeoutError):  # what differs then is told below
            async with asyncio.timeout(60):
                while not watching.done() and replay.objects != model.revisions():
                    await asyncio.sleep(0.02)
        if watching.done():
            await watching
        watching.cancel()
        assert replay.objects == model.revisions()
        assert server.cache.loads == 1
