"""The verbs on objects and collections, between HTTP and the registry."""

import asyncio
import base64
import binascii
import random
from collections.abc import AsyncIterator, Sequence

from pybernetes.api.errors import ApiError, BadRequest, Expired, Timeout
from pybernetes.api.objects import Obj, decode, encode, metadata, uid_of
from pybernetes.api.proto import WATCH_TYPE
from pybernetes.api.resources import PODS, SERVICE_ACCOUNTS, SERVICES, Resource
from pybernetes.store import Compacted, Record, Revision
from pybernetes.wire import Request, Response

from ..accept import JSON, YAML, not_acceptable
from ..answers import form_of, respond, respond_list, respond_one
from ..body import check_options, read_object, read_options
from ..codec import restored
from ..deletion import DeleteOptions, delete_options
from ..forms import Form, Position
from ..options import ListOptions, Selection, list_options, revision
from ..patching import patch_edit
from ..registry import Registry
from ..route import Route
from ..served import Served
from ..users import user_of
from ..watch import WatchBody, views_of
from ..watchcache import Item
from ..writes import Write, Written

_WAIT_SECONDS = 3.0
"""So long a read waits for a revision that is not there yet."""
_WATCH_SECONDS = (1800.0, 3600.0)
_MOST_TIMEOUT = 86400.0
_WATCH_HEADERS = {"content-type": JSON}
_ANSWERS_OBJECT = (PODS, SERVICES, SERVICE_ACCOUNTS)
_STALE_TOKEN = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new list without "
    "the continue parameter, or use the continue token in this response to retrieve the remainder of the results. "
    "Continuing with the provided token results in an inconsistent list - objects that were created, modified, or "
    "deleted between the time the first chunk was returned and now may show up in the list."
)


class Objects:
    """Handlers by verb."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._cache = registry.cache

    async def serve(self, request: Request, route: Route) -> Response:
        handler = getattr(self, f"_{route.verb}")
        response: Response = await handler(request, route, self._registry.served(_row(route)))
        return response

    async def _get(self, request: Request, route: Route, served: Served) -> Response:
        await self._at_least(revision(request.param("resourceVersion")) if request.query else None)
        record = self._registry.get(served.row, route.namespace, route.name)
        form, media = form_of(request, served)
        return respond_one(form, media, await served.one(record))

    async def _list(self, request: Request, route: Route, served: Served) -> Response:
        options = list_options(request, served.row, namespace=route.namespace, watch=False)
        form, media = form_of(request, served)
        records, position = await self.listed(served, options)
        return respond_list(form, media, records, position)

    async def listed(self, served: Served, options: ListOptions) -> tuple[Sequence[Record], Position]:
        """The records a list asks for, and where it stands."""
        row = served.row
        after, at = "", None
        if options.continues:
            at, after = _unpacked(options.continues, row)
        elif options.match == "Exact":
            at = options.revision
        now = await self._at_least(None if at is not None else options.revision)
        items = await self._items(row, options, after=after, at=at, now=now)
        if options.selection and served.converter is not None:  # selectors look at what is shown
            items = await views_of(items, served.shown)
        records, position = self._page(row, options, items, at if at else now)
        return await served.shown(records), position

    async def _items(
        self, row: Resource, options: ListOptions, *, after: str, at: Revision | None, now: Revision
    ) -> Sequence[Item]:
        selection = options.selection
        shelf = self._registry.shelf(row)
        if at and at > now:
            raise _too_large(at, now)
        if at and at < shelf.changed:
            return await self._past(row, options, after=after, at=at)
        name = selection.name
        if name is not None and not after and (selection.namespace or not row.namespaced):
            found = shelf.get(row.key(selection.namespace, name))
            return [found] if found else []
        return shelf.scan(selection.namespace, after=after)

    async def _past(self, row: Resource, options: ListOptions, *, after: str, at: Revision) -> Sequence[Item]:
        try:
            records, _ = await self._registry.scan(row, options.selection.namespace, after=after, limit=0, at=at)
        except Compacted as error:
            if not options.continues:
                raise Expired(f"The resourceVersion for the provided list is too old: {at}") from error
            expired = Expired(_STALE_TOKEN)
            token = _packed(0, after, row)
            status = expired.status | {"metadata": {"continue": token}}
            raise Expired(_STALE_TOKEN, status=status) from error
        return [Item(record) for record in records]

    def _page(
        self, row: Resource, options: ListOptions, items: Sequence[Item], at: Revision
    ) -> tuple[Sequence[Record], Position]:
        selection, limit = options.selection, options.limit
        if not limit:
            if selection:
                return [item.record for item in items if selection.matches(item)], Position(at)
            return [item.record for item in items], Position(at)
        found, seen = _first(items, selection, limit)
        if seen >= len(items) or (selection and not any(selection.matches(item) for item in items[seen:])):
            return found, Position(at)
        remaining = None if selection else len(items) - seen
        return found, Position(at, _packed(at, found[-1].key, row), remaining)

    async def _at_least(self, wanted: Revision | None) -> Revision:
        """Wait for the state a read needs: all that is acknowledged, or a revision given; 0 is whatever there is."""
        cache = self._cache
        if wanted is None or not cache.loaded.is_set():
            return await cache.fresh()
        if wanted > cache.revision:
            try:
                async with asyncio.timeout(_WAIT_SECONDS):
                    await cache.reached(wanted)
            except TimeoutError:
                raise _too_large(wanted, cache.revision) from None
        return cache.revision

    async def _watch(self, request: Request, route: Route, served: Served) -> Response:
        options = list_options(request, served.row, namespace=route.namespace, name=route.name, watch=True)
        form, media = form_of(request, served)
        if media.type == YAML:
            raise not_acceptable(watch=True)
        headers = _WATCH_HEADERS if media.type == JSON else _WATCH_HEADERS | {"content-type": WATCH_TYPE}
        await self._at_least(options.revision)
        wanted = options.revision
        initial = options.initial if options.initial is not None else not wanted
        if options.initial is False and not wanted:
            wanted = self._cache.revision
        seconds = min(options.timeout_seconds, _MOST_TIMEOUT) or random.uniform(*_WATCH_SECONDS)
        loop = asyncio.get_running_loop()
        try:
            body = WatchBody(
                self._cache,
                self._registry.shelf(served.row),
                selection=options.selection,
                form=form,
                shown=served.shown if served.converter is not None else None,
                after=None if initial else wanted,
                until=loop.time() + seconds,
                bookmarks=options.bookmarks,
                mark_initial=bool(options.initial),
            )
        except Compacted as error:
            # past authorization and parsing a watch fails in its stream, as it does in Kubernetes
            expired = Expired(f"too old resource version: {error.asked} ({error.oldest})")
            return Response(headers=headers, body=_failed(form, expired))
        return Response(headers=headers, body=body)

    async def _create(self, request: Request, route: Route, served: Served) -> Response:
        form, media = form_of(request, served)
        obj = read_object(request, self._registry.scheme, served.row)
        written = await self._registry.create(served.row, obj, namespace=route.namespace, write=write_of(request))
        return respond_one(form, media, written.record, status=201)

    async def _update(self, request: Request, route: Route, served: Served) -> Response:
        form, media = form_of(request, served)
        obj = read_object(request, self._registry.scheme, served.row)
        absent = None
        meta = metadata(obj)
        meta.setdefault("name", route.name)
        if served.strategy.create_on_update and not meta.get("resourceVersion") and not meta.get("uid"):
            absent = lambda: decode(encode(obj))  # noqa: E731
        written = await self._registry.update(
            served.row,
            route.name,
            lambda _: decode(encode(obj)),
            namespace=route.namespace,
            write=write_of(request),
            absent=absent,
        )
        return respond_one(form, media, written.record, status=201 if written.created else 200)

    async def _patch(self, request: Request, route: Route, served: Served) -> Response:
        form, media = form_of(request, served)
        written = await self.patched(request, route, served)
        return respond_one(form, media, written.record, status=201 if written.created else 200)

    async def patched(self, request: Request, route: Route, served: Served, *, part: str = "") -> Written:
        patch = patch_edit(request, self._registry, served, name=route.name, namespace=route.namespace, part=part)
        write = write_of(request, apply=patch.apply)
        return await self._registry.update(
            served.row,
            route.name,
            patch.edit,
            namespace=route.namespace,
            write=write,
            part=part,
            patch=True,
            absent=patch.absent,
            versions=patch.versions,
        )

    async def _delete(self, request: Request, route: Route, served: Served) -> Response:
        options = options_of(request)
        written = await self._registry.delete(
            served.row, route.name, options, namespace=route.namespace, write=write_of(request)
        )
        form, media = form_of(request, served)
        if not written.deleted or served.row in _ANSWERS_OBJECT:
            return respond_one(form, media, await served.one(written.record))
        details: Obj = {"name": route.name, "kind": served.row.plural, "uid": uid_of(restored(written.record))}
        if served.row.group:
            details["group"] = served.row.group
        return respond(success(details), media=media.type, pretty=media.pretty)

    async def _deletecollection(self, request: Request, route: Route, served: Served) -> Response:
        options = options_of(request)
        chosen = list_options(request, served.row, namespace=route.namespace, watch=False)
        form, media = form_of(request, served)
        records, position = await self.listed(served, chosen)
        gone = await self._registry.delete_all(served.row, records, options, write=write_of(request))
        return respond_list(form, media, await served.shown(gone), position)


def success(details: Obj | None = None, *, code: int = 0) -> Obj:
    """A Status that says yes."""
    status: Obj = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
    if details:
        status["details"] = details
    if code:
        status["code"] = code
    return status


async def _failed(form: Form, error: ApiError) -> AsyncIterator[bytes]:
    """A watch that only says why there is none."""
    yield form.framed("ERROR", form.packed(error.status))


def _row(route: Route) -> Resource:
    assert route.resource is not None
    return route.resource


def dry_run(request: Request) -> bool:
    return "All" in request.query.get("dryRun", ())


def write_of(request: Request, *, apply: bool = False) -> Write:
    """How the request means its write. Raises Invalid."""
    check_options(request)
    manager = request.param("fieldManager")
    return Write(
        user=user_of(request),
        manager=manager or request.headers.get("user-agent", "unknown").partition("/")[0],
        dry_run=dry_run(request),
        warnings=request.context.setdefault("warnings", []),
        annotations=request.context.setdefault("annotations", {}),
        apply=apply,
    )


def options_of(request: Request) -> DeleteOptions:
    """DeleteOptions of body and query. Raises BadRequest, Invalid."""
    query: Obj = {}
    if request.query:
        if policy := request.param("propagationPolicy"):
            query["propagationPolicy"] = policy
        if grace := request.param("gracePeriodSeconds"):
            try:
                query["gracePeriodSeconds"] = int(grace)
            except ValueError:
                raise BadRequest(f'strconv.ParseInt: parsing "{grace}": invalid syntax') from None
        if orphan := request.param("orphanDependents"):
            query["orphanDependents"] = orphan in ("true", "1")
        if dry := [one for one in request.query.get("dryRun", ()) if one]:
            query["dryRun"] = dry
    return delete_options(read_options(request), query)


def _first(items: Sequence[Item], selection: Selection, limit: int) -> tuple[list[Record], int]:
    """The first `limit` that match, and how many were looked at."""
    if not selection:
        return [item.record for item in items[:limit]], min(limit, len(items))
    found: list[Record] = []
    for seen, item in enumerate(items, start=1):
        if selection.matches(item):
            found.append(item.record)
            if len(found) == limit:
                return found, seen
    return found, len(items)


def _packed(at: Revision, key: str, row: Resource) -> str:
    """A continue token; revision 0 in it means whatever is current (inconsistent)."""
    token = {"v": "meta.k8s.io/v1", "rv": at or -1, "start": key[len(row.prefix) :]}
    return base64.urlsafe_b64encode(encode(token)).rstrip(b"=").decode()


def _unpacked(text: str, row: Resource) -> tuple[Revision | None, str]:
    try:
        token = decode(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        at, start = token["rv"], token["start"]
        if not isinstance(at, int) or not isinstance(start, str) or ".." in start:
            raise ValueError(text)
    except (ValueError, KeyError, TypeError, binascii.Error) as error:
        raise BadRequest("invalid continue token: continue key is not valid") from error
    return (None if at <= 0 else at), row.prefix + start


def _too_large(wanted: Revision, current: Revision) -> Timeout:
    text = f"Too large resource version: {wanted}, current: {current}"
    causes = [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]
    return Timeout(text, details={"causes": causes, "retryAfterSeconds": 1})
