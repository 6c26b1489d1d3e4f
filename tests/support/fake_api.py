"""A small working model of the API behind a Transport, with switches for trouble: for client and controller tests.

It knows revisions, conflicts, merge patches, status subresources, bindings, finalizers, watches with bookmarks and
streamed lists. It knows no schema, no defaults and no admission: those are the API server's, tests/support/server.py.
"""

import asyncio
import random
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from pybernetes.api.errors import AlreadyExists, ApiError, Conflict, Expired, NotFound
from pybernetes.api.objects import Obj, copied, decode, encode, labels_of
from pybernetes.api.resources import RESOURCES, Resource
from pybernetes.wire import Channel, Request, Response

Entry = tuple[str, str, str]  # plural, namespace, name


def merge(target: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge(merged.get(name), value)
    return merged


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class FakeApi:
    """A Transport. `requests` is what was asked; `fail` is called first and may raise."""

    def __init__(self) -> None:
        self.objects: dict[Entry, Obj] = {}
        self.revision = 100
        self.oldest = 0
        self.history: list[tuple[int, str, str, Obj]] = []
        self.requests: list[Request] = []
        self.fail: Callable[[Request], None] = lambda request: None
        self.streams_lists = True
        self.watchers: set[asyncio.Queue[bytes | None]] = set()
        self.changed = asyncio.Condition()
        self.react: list[Callable[[str, str, Obj], None]] = []
        self._rng = random.Random(1)

    # -- what tests use ---------------------------------------------------------------------------------------------

    def of(self, resource: Resource, namespace: str = "") -> list[Obj]:
        return [o for (p, ns, _), o in self.objects.items() if p == resource.plural and namespace in ("", ns)]

    def one(self, resource: Resource, name: str, namespace: str = "") -> Obj:
        return self.objects[resource.plural, namespace, name]

    def put(self, resource: Resource, obj: Obj) -> Obj:
        """Create or overwrite, as some other client would."""
        meta = obj.setdefault("metadata", {})
        obj.setdefault("apiVersion", resource.api_version)
        obj.setdefault("kind", resource.kind)
        entry = (resource.plural, meta.get("namespace", ""), meta["name"])
        if entry in self.objects:
            meta.setdefault("uid", self.objects[entry]["metadata"]["uid"])
        return self._store(entry, obj)

    def edit(self, resource: Resource, name: str, namespace: str = "", **patch: Any) -> Obj:
        entry = (resource.plural, namespace, name)
        return self._store(entry, merge(copied(self.objects[entry]), patch))

    def drop(self, resource: Resource, name: str, namespace: str = "") -> None:
        self._remove((resource.plural, namespace, name))

    def cut(self) -> None:
        """End all watches."""
        for queue in list(self.watchers):
            queue.put_nowait(None)

    def compact(self) -> None:
        """Forget history: watches from older revisions get 410."""
        self.history.clear()
        self.oldest = self.revision

    async def until(self, condition: Callable[[], bool], seconds: float = 60.0) -> None:
        """Wait for a condition on the stored objects."""
        async with asyncio.timeout(seconds):
            while not condition():
                await asyncio.sleep(0.005)

    def asked(self, method: str, part: str = "") -> list[Request]:
        return [r for r in self.requests if r.method == method and part in r.path]

    # -- Transport --------------------------------------------------------------------------------------------------

    async def send(self, request: Request) -> Response:
        self.requests.append(request)
        await asyncio.sleep(0)
        try:
            self.fail(request)
            return self._answer(request)
        except ApiError as error:
            return Response(status=error.code, body=encode(error.status))

    async def connect(self, request: Request, *, protocols: Sequence[str]) -> Channel:
        raise NotImplementedError

    async def close(self) -> None:
        self.cut()

    # -- inside -----------------------------------------------------------------------------------------------------

    def _answer(self, request: Request) -> Response:
        resource, namespace, name, part = self._route(request.path)
        if not name and request.method == "GET":
            if request.param("watch"):
                return self._watch(request, resource, namespace)
            items = [o for o in self.of(resource, namespace) if self._selected(request, o)]
            body = {"metadata": {"resourceVersion": str(self.revision)}, "items": items}
            return Response(body=encode(body))
        if not name and request.method == "DELETE":
            for one in [o for o in self.of(resource, namespace) if self._selected(request, o)]:
                self._delete((resource.plural, namespace, one["metadata"]["name"]), one, {})
            return Response(body=b"{}")
        if request.method == "POST":
            return self._post(resource, namespace, name, part, decode(request.body))
        entry = (resource.plural, namespace, name)
        found = self.objects.get(entry)
        if found is None:
            raise NotFound.of(resource.plural, name, group=resource.group)
        if request.method == "GET":
            return Response(body=encode(found))
        if request.method == "DELETE":
            return Response(body=encode(self._delete(entry, found, decode(request.body) if request.body else {})))
        return Response(body=encode(self._write(entry, found, part, request)))

    def _route(self, path: str) -> tuple[Resource, str, str, str]:
        parts = path.strip("/").split("/")
        group, version, rest = ("", parts[1], parts[2:]) if parts[0] == "api" else (parts[1], parts[2], parts[3:])
        namespace = ""
        if rest[0] == "namespaces" and len(rest) > 2 and rest[2] not in ("finalize", "status"):
            namespace, rest = rest[1], rest[2:]
        resource = next((r for r in RESOURCES if (r.group, r.version, r.plural) == (group, version, rest[0])), None)
        if resource is None:
            raise NotFound("the server could not find the requested resource")
        return resource, namespace, rest[1] if len(rest) > 1 else "", rest[2] if len(rest) > 2 else ""

    def _post(self, resource: Resource, namespace: str, name: str, part: str, body: Obj) -> Response:
        if part == "binding":
            self.edit(resource, name, namespace, spec={"nodeName": body["target"]["name"]})
            return Response(status=201, body=b"{}")
        if part == "eviction":
            self.drop(resource, name, namespace)
            return Response(status=201, body=b"{}")
        meta = body.setdefault("metadata", {})
        if not meta.get("name"):
            meta["name"] = self._generated(resource, namespace, meta.get("generateName", "x-"))
        if resource.namespaced:
            meta["namespace"] = namespace
        entry = (resource.plural, namespace, meta["name"])
        if entry in self.objects:
            raise AlreadyExists.of(resource.plural, meta["name"], group=resource.group)
        for old in ("uid", "resourceVersion"):
            meta.pop(old, None)
        return Response(status=201, body=encode(self._store(entry, body)))

    def _write(self, entry: Entry, found: Obj, part: str, request: Request) -> Obj:
        body = decode(request.body)
        given = (body.get("metadata") or {}).get("resourceVersion") if isinstance(body, dict) else None
        if given and given != found["metadata"]["resourceVersion"]:
            raise Conflict.of(entry[0], entry[2])
        uid = (body.get("metadata") or {}).get("uid") if isinstance(body, dict) else None
        if uid and uid != found["metadata"]["uid"]:
            raise Conflict.of(entry[0], entry[2], why="Precondition failed: UID in precondition")
        new = copied(body) if request.method == "PUT" else merge(copied(found), body)
        if part == "status":
            new = copied(found) | {"status": new.get("status")}
        elif part == "finalize":
            new = copied(found) | {"spec": new.get("spec")}
        elif "status" in found:
            new["status"] = copied(found["status"])
        new["metadata"] |= {"uid": found["metadata"]["uid"]}
        if new == found:
            return found
        return self._store(entry, new)

    def _delete(self, entry: Entry, found: Obj, options: Obj) -> Obj:
        wanted = options.get("preconditions") or {}
        for field, value in wanted.items():
            if found["metadata"].get(field) != value:
                raise Conflict.of(entry[0], entry[2], why=f"the {field} in the precondition does not match")
        finalizers = list(found["metadata"].get("finalizers") or [])
        added = {"Foreground": "foregroundDeletion", "Orphan": "orphan"}.get(options.get("propagationPolicy", ""))
        if added and added not in finalizers:
            finalizers.append(added)
        held = finalizers or (entry[0] == "namespaces" and (found.get("spec") or {}).get("finalizers"))
        running = entry[0] == "pods" and (found.get("spec") or {}).get("nodeName")
        if held or (running and options.get("gracePeriodSeconds") != 0):
            patch: Obj = {"metadata": {"deletionTimestamp": found["metadata"].get("deletionTimestamp") or now()}}
            if finalizers:
                patch["metadata"]["finalizers"] = finalizers
            if entry[0] == "namespaces":
                patch["status"] = {"phase": "Terminating"}
            marked = merge(copied(found), patch)
            return found if marked == found else self._store(entry, marked)
        self._remove(entry)
        return {"kind": "Status", "status": "Success"}

    def _generated(self, resource: Resource, namespace: str, start: str) -> str:
        """A name that is free: the same ones in each run, in no order."""
        while (resource.plural, namespace, name := f"{start}{self._rng.getrandbits(20):05x}") in self.objects:
            pass
        return name

    def _store(self, entry: Entry, obj: Obj) -> Obj:
        obj = copied(obj)
        old = self.objects.get(entry)
        meta = obj["metadata"]
        meta.setdefault("uid", str(uuid.UUID(int=self._rng.getrandbits(128), version=4)))
        meta.setdefault("creationTimestamp", now())
        if old is None:
            meta.setdefault("generation", 1)
        elif obj.get("spec") != old.get("spec"):
            meta["generation"] = int(old["metadata"].get("generation") or 1) + 1
        self.revision += 1
        meta["resourceVersion"] = str(self.revision)
        self.objects[entry] = obj
        finished = meta.get("deletionTimestamp") and not meta.get("finalizers") and entry[0] != "pods"
        if finished and not (entry[0] == "namespaces" and (obj.get("spec") or {}).get("finalizers")):
            self._publish("MODIFIED", entry, obj)
            self._remove(entry)
            return obj
        self._publish("ADDED" if old is None else "MODIFIED", entry, obj)
        return obj

    def _remove(self, entry: Entry) -> None:
        obj = copied(self.objects.pop(entry))
        self.revision += 1
        obj["metadata"]["resourceVersion"] = str(self.revision)
        self._publish("DELETED", entry, obj)

    def _publish(self, kind: str, entry: Entry, obj: Obj) -> None:
        self.history.append((self.revision, kind, entry[0], obj))
        for queue in list(self.watchers):
            queue.put_nowait(b"")
        for react in self.react:
            react(kind, entry[0], obj)

    def _watch(self, request: Request, resource: Resource, namespace: str) -> Response:
        initial = bool(request.param("sendInitialEvents"))
        if initial and not self.streams_lists:
            return Response(status=422, body=encode({"kind": "Status", "reason": "Invalid", "code": 422}))
        after = int(request.param("resourceVersion") or self.revision)
        if after < self.oldest and not initial:
            raise Expired(f"too old resource version: {after} ({self.oldest})")
        return Response(body=self._stream(request, resource, namespace, after, initial))

    async def _stream(
        self, request: Request, resource: Resource, namespace: str, after: int, initial: bool
    ) -> AsyncIterator[bytes]:
        queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.watchers.add(queue)
        try:
            if initial:
                for obj in self.of(resource, namespace):
                    if self._selected(request, obj):
                        yield encode({"type": "ADDED", "object": obj}) + b"\n"
                after = self.revision
                meta = {"resourceVersion": str(after), "annotations": {"k8s.io/initial-events-end": "true"}}
                yield encode({"type": "BOOKMARK", "object": {"metadata": meta}}) + b"\n"
            while True:
                for revision, kind, plural, obj in list(self.history):
                    if revision <= after or plural != resource.plural:
                        continue
                    if namespace in ("", obj["metadata"].get("namespace", "")) and self._selected(request, obj):
                        yield encode({"type": kind, "object": obj}) + b"\n"
                after = self.revision
                if await queue.get() is None:
                    return
        finally:
            self.watchers.discard(queue)

    def _selected(self, request: Request, obj: Obj) -> bool:
        for term in filter(None, request.param("labelSelector").split(",")):
            name, _, value = term.partition("=")
            if labels_of(obj).get(name) != value:
                return False
        for term in filter(None, request.param("fieldSelector").split(",")):
            path, _, value = term.partition("=")
            found: Any = obj
            for step in path.split("."):
                found = (found or {}).get(step)
            if str(found or "") != value:
                return False
        return True
