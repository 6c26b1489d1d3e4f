"""Calls on the API over a Transport: objects in and out as dicts, Status answers raised as `api.errors`.

One class for the socket and for the loopback: which of the two is the transport's affair. A call names a resource
by its row of the resource table and an object by its Key.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Literal, NamedTuple, cast

from pybernetes.api.errors import ApiError, InternalError, error_of
from pybernetes.api.objects import Key, Obj, decode, encode, key_of
from pybernetes.api.resources import Resource
from pybernetes.wire import Channel, Request, Response, Transport

PATCH_TYPES = {
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "json": "application/json-patch+json",
    "apply": "application/apply-patch+yaml",
}
PatchType = Literal["merge", "strategic", "json", "apply"]
Propagation = Literal["", "Background", "Foreground", "Orphan"]

INITIAL_EVENTS_END = "k8s.io/initial-events-end"


class WatchEvent(NamedTuple):
    """One line of a watch: ADDED, MODIFIED, DELETED or BOOKMARK; an ERROR line is raised instead."""

    type: str
    object: Obj


class Listing(NamedTuple):
    """A list answer: its items, the revision they were read at, and the token of the next page ("" on the last)."""

    items: list[Obj]
    revision: str
    continues: str = ""


class Client:
    """Resources by table row, objects as dicts. All calls raise ApiError subclasses, ConnectionError, TimeoutError."""

    def __init__(
        self, transport: Transport, *, user_agent: str = "pybernetes", manager: str = "", timeout_seconds: float = 30.0
    ) -> None:
        """`manager` is the field manager of writes (the name in `user_agent` when empty)."""
        self.transport = transport
        self.user_agent = user_agent
        self.manager = manager or user_agent.partition("/")[0]
        self.timeout_seconds = timeout_seconds

    async def close(self) -> None:
        """Close the transport: watches end."""
        await self.transport.close()

    async def get(self, resource: Resource, key: Key, *, subresource: str = "") -> Obj:
        """The object; raises NotFound."""
        path = resource.path(key.namespace, key.name, subresource)
        return await self._call("GET", path)

    async def list(
        self,
        resource: Resource,
        *,
        namespace: str = "",
        labels: str = "",
        fields: str = "",
        limit: int = 0,
        continues: str = "",
        revision: str = "",
    ) -> Listing:
        """One page (all of it without `limit`). Items get the apiVersion and kind that lists leave out."""
        query = _query(
            labelSelector=labels,
            fieldSelector=fields,
            limit=str(limit or ""),
            resourceVersion=revision,
            **{"continue": continues},
        )
        answer = await self._call("GET", resource.path(namespace), query=query)
        items: list[Obj] = answer.get("items") or []
        version = resource.api_version
        for item in items:
            item.setdefault("apiVersion", version)
            item.setdefault("kind", resource.kind)
        meta = answer.get("metadata") or {}
        return Listing(items, str(meta.get("resourceVersion", "")), str(meta.get("continue", "")))

    async def create(self, resource: Resource, obj: Obj, *, name: str = "", subresource: str = "") -> Obj:
        """POST; raises AlreadyExists, Invalid. `name` is the parent object with a `subresource` (binding, token)."""
        namespace = key_of(obj).namespace
        path = resource.path(namespace, name, subresource)
        query = {"fieldManager": [self.manager]}
        return await self._call("POST", path, query=query, body=obj)

    async def update(self, resource: Resource, obj: Obj, *, subresource: str = "") -> Obj:
        """PUT over the revision inside `obj`; raises Conflict, NotFound, Invalid."""
        key = key_of(obj)
        path = resource.path(key.namespace, key.name, subresource)
        return await self._call("PUT", path, query={"fieldManager": [self.manager]}, body=obj)

    async def patch(
        self,
        resource: Resource,
        key: Key,
        patch: object,
        *,
        type: PatchType = "merge",
        subresource: str = "",
        manager: str = "",
        force: bool = False,
    ) -> Obj:
        """PATCH; put metadata.resourceVersion (or uid) in the patch to make it conditional."""
        path = resource.path(key.namespace, key.name, subresource)
        query = {"fieldManager": [manager or self.manager]}
        if force:
            query["force"] = ["true"]
        return await self._call("PATCH", path, query=query, body=patch, content=PATCH_TYPES[type])

    async def delete(
        self,
        resource: Resource,
        key: Key,
        *,
        uid: str = "",
        revision: str = "",
        grace_seconds: int | None = None,
        propagation: Propagation = "",
    ) -> Obj:
        """DELETE, conditional on `uid` and `revision` when given (else Conflict); returns the object or a Status."""
        options: Obj = {"kind": "DeleteOptions", "apiVersion": "v1"}
        conditions = {name: value for name, value in (("uid", uid), ("resourceVersion", revision)) if value}
        if conditions:
            options["preconditions"] = conditions
        if grace_seconds is not None:
            options["gracePeriodSeconds"] = grace_seconds
        if propagation:
            options["propagationPolicy"] = propagation
        path = resource.path(key.namespace, key.name)
        return await self._call("DELETE", path, body=options)

    async def delete_collection(
        self,
        resource: Resource,
        *,
        namespace: str = "",
        labels: str = "",
        fields: str = "",
        propagation: Propagation = "",
    ) -> None:
        """DELETE of all that the selectors match in one namespace."""
        query = _query(labelSelector=labels, fieldSelector=fields, propagationPolicy=propagation)
        await self._call("DELETE", resource.path(namespace), query=query)

    async def raw(
        self, method: str, path: str, *, query: Mapping[str, Sequence[str]] | None = None, body: object = None
    ) -> Any:
        """Any path with JSON in and out: discovery, /version, proxied paths."""
        return await self._call(method, path, query=query, body=body)

    async def connect(
        self, path: str, *, query: Mapping[str, Sequence[str]] | None = None, protocols: Sequence[str]
    ) -> Channel:
        """A WebSocket (exec, attach, port-forward)."""
        headers = {"user-agent": self.user_agent}
        return await self.transport.connect(
            Request(method="GET", path=path, query=query or {}, headers=headers), protocols=protocols
        )

    @asynccontextmanager
    async def watch(
        self,
        resource: Resource,
        *,
        namespace: str = "",
        labels: str = "",
        fields: str = "",
        after: str = "",
        initial: bool = False,
        timeout_seconds: int = 0,
    ) -> AsyncIterator[AsyncIterator[WatchEvent]]:
        """Changes after a revision, with bookmarks; the iterator ends when the server ends the watch.

        `initial` asks for a streamed list first (KEP-3157 WatchList): ADDED events, then a BOOKMARK that
        `is_initial_end`. Raises Gone or Expired, on entry or while read, when the revision is too old.
        """
        query = _query(
            watch="true",
            allowWatchBookmarks="true",
            labelSelector=labels,
            fieldSelector=fields,
            resourceVersion=after,
            timeoutSeconds=str(timeout_seconds or ""),
            sendInitialEvents="true" if initial else "",
            resourceVersionMatch="NotOlderThan" if initial else "",
        )
        path = resource.path(namespace)
        request = self._request("GET", path, query=query, stream=True)
        async with asyncio.timeout(self.timeout_seconds):
            response = await self.transport.send(request)
            if response.status >= 300:
                raise error_of(response.status, await _read(response))
        stream = _events(response)
        try:
            yield stream
        finally:
            await stream.aclose()
            await _close(response)

    def _request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Sequence[str]] | None = None,
        body: object = None,
        content: str = "application/json",
        stream: bool = False,
    ) -> Request:
        headers = {"accept": "application/json", "user-agent": self.user_agent}
        data = b""
        if body is not None:
            headers["content-type"] = content
            data = encode(body)
        return Request(method=method, path=path, query=query or {}, headers=headers, body=data, stream=stream)

    async def _call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Sequence[str]] | None = None,
        body: object = None,
        content: str = "application/json",
    ) -> Obj:
        request = self._request(method, path, query=query, body=body, content=content)
        async with asyncio.timeout(self.timeout_seconds):
            response = await self.transport.send(request)
            data = await _read(response)
        if response.status >= 300:
            raise error_of(response.status, data)
        if not data:
            return {}
        try:
            return cast(Obj, decode(data))
        except ValueError as error:
            raise InternalError(f"{method} {path}: the answer is not JSON: {error}") from error


def is_initial_end(event: WatchEvent) -> bool:
    """Whether this bookmark ends the initial events of a streamed list."""
    if event.type != "BOOKMARK":
        return False
    annotations = (event.object.get("metadata") or {}).get("annotations") or {}
    return annotations.get(INITIAL_EVENTS_END) == "true"


def _query(**params: str) -> dict[str, list[str]]:
    return {name: [value] for name, value in params.items() if value}


async def _read(response: Response) -> bytes:
    if isinstance(response.body, bytes):
        return response.body
    try:
        return b"".join([chunk async for chunk in response.body])
    finally:
        await _close(response)


async def _close(response: Response) -> None:
    close = getattr(response.body, "aclose", None)
    if close is not None:
        await close()


async def _chunks(response: Response) -> AsyncIterator[bytes]:
    if isinstance(response.body, bytes):
        yield response.body
        return
    async for chunk in response.body:
        yield chunk


async def _lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    parts: list[bytes] = []
    async for chunk in chunks:
        first, *rest = chunk.split(b"\n")
        parts.append(first)
        for line in rest:
            if whole := b"".join(parts).strip():
                yield whole
            parts = [line]
    if whole := b"".join(parts).strip():
        yield whole


async def _events(response: Response) -> Any:
    async for line in _lines(_chunks(response)):
        try:
            event = decode(line)
        except ValueError as error:
            raise ConnectionError(f"a watch was cut inside a line: {error}") from error
        kind, obj = str(event.get("type", "")), event.get("object") or {}
        if kind == "ERROR":
            raise _error(obj)
        yield WatchEvent(kind, obj)


def _error(status: Obj) -> ApiError:
    return error_of(int(status.get("code") or 500), encode(status))
