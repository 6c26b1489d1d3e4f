"""The subresources that read and write objects: status, scale, binding, eviction, finalize, token and their like."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from pybernetes.api import jsonpath, resources, selectors, times
from pybernetes.api.errors import (
    BadRequest,
    Conflict,
    FieldError,
    Invalid,
    NotFound,
)
from pybernetes.api.kinds import pod_updates
from pybernetes.api.kinds.strategy import ScalePaths
from pybernetes.api.objects import Obj, condition, copied, is_deleting, metadata, name_of, uid_of
from pybernetes.api.resources import Resource
from pybernetes.wire import Request, Response

from . import evictions
from .accept import media_of
from .admission import Call
from .answers import form_of, respond, respond_one, respond_scale
from .auth.tokens import DEFAULT_SECONDS, LONGEST_SECONDS, SHORTEST_SECONDS, Bound, Tokens
from .body import APPLY_PATCH, media_type, parse, read_object
from .deletion import delete_options
from .endpoints.objects import Objects, success, write_of
from .patching import patch_edit, patched
from .registry import Registry
from .route import Route
from .served import Served

Handler = Callable[[Request, Route, Served], Awaitable[Response]]


class Parts:
    """Handlers by subresource."""

    def __init__(self, registry: Registry, objects: Objects, tokens: Tokens | None) -> None:
        self._registry = registry
        self._objects = objects
        self._tokens = tokens
        self._handlers: dict[str, Handler] = {
            "status": self._like_object,
            "finalize": self._like_object,
            "approval": self._like_object,
            "ephemeralcontainers": self._like_object,
            "resize": self._like_object,
            "scale": self._scale,
            "binding": self._binding,
            "eviction": self._eviction,
            "token": self._token,
        }

    async def serve(self, request: Request, route: Route) -> Response:
        assert route.resource is not None
        await self._registry.cache.fresh()
        served = self._registry.served(route.resource)
        return await self._handlers[route.subresource](request, route, served)

    async def _like_object(self, request: Request, route: Route, served: Served) -> Response:
        """A part whose bodies are the object itself; the strategy keeps the rest as it was."""
        form, media = form_of(request, served)
        part, row, registry = route.subresource, served.row, self._registry
        if route.verb == "get":
            return respond_one(form, media, await served.one(registry.get(row, route.namespace, route.name)))
        if route.verb == "patch":
            written = await self._objects.patched(request, route, served, part=part)
            return respond_one(form, media, written.record)
        obj = read_object(request, registry.scheme, row)
        metadata(obj).setdefault("name", route.name)
        written = await registry.update(
            row, route.name, lambda _: copied(obj), namespace=route.namespace, write=write_of(request), part=part
        )
        return respond_one(form, media, written.record)

    async def _scale(self, request: Request, route: Route, served: Served) -> Response:
        registry, row, paths = self._registry, served.row, served.strategy.scale
        record = registry.get(row, route.namespace, route.name)
        if route.verb == "get":
            return respond_scale(
                request, scale_of(served.codec.obj(await served.one(record)), paths), custom=row.custom
            )
        scale_type = registry.scheme.type(row, "scale")
        body = None if route.verb == "patch" else read_object(request, registry.scheme, row, part="scale")
        if media_type(request) == APPLY_PATCH:
            return await self._scale_applied(request, route, served)
        body = await self._scale_admitted(request, route, served, body)

        def edit(old: Obj) -> Obj:
            if body is not None:
                wanted = body
            else:
                patch = parse(request.body, "application/json")
                wanted = patched(scale_of(old, paths), patch, media_type(request), scale_type)
                registry.scheme.conform(wanted, row, part="scale")
            return _scaled(old, wanted, paths)

        written = await registry.update(
            row,
            route.name,
            edit,
            namespace=route.namespace,
            write=write_of(request),
            part="scale",
            patch=body is None,
        )
        return respond_scale(request, scale_of(served.codec.obj(written.record), paths), custom=row.custom)

    async def _scale_applied(self, request: Request, route: Route, served: Served) -> Response:
        """An apply of a Scale is one of the workload's replicas, which the manager owns from then on."""
        paths = served.strategy.scale
        patch = patch_edit(request, self._registry, served, name=route.name, namespace=route.namespace, part="scale")
        registry, row = self._registry, served.row
        if registry.webhooks.wants(row, "scale", "UPDATE"):
            old = served.codec.obj(await served.one(registry.get(row, route.namespace, route.name)))
            new = await patch.versions.settle(lambda: patch.edit(copied(old)))
            await registry.consult(self._call(request, route, new=scale_of(new, paths), old=scale_of(old, paths)))
        written = await self._objects.patched(request, route, served, part="scale")
        return respond_scale(request, scale_of(served.codec.obj(written.record), paths), custom=row.custom)

    async def _scale_admitted(self, request: Request, route: Route, served: Served, body: Obj | None) -> Obj | None:
        """The scale that the webhooks made of it; unread, when none of them wants it."""
        registry, row = self._registry, served.row
        if not registry.webhooks.wants(row, "scale", "UPDATE"):
            return body
        record = await served.one(registry.get(row, route.namespace, route.name))
        old = scale_of(served.codec.obj(record), served.strategy.scale)
        if body is None:
            patch = parse(request.body, "application/json")
            body = patched(copied(old), patch, media_type(request), registry.scheme.type(row, "scale"))
            registry.scheme.conform(body, row, part="scale")
        await registry.consult(self._call(request, route, new=body, old=old))
        return body

    def _call(self, request: Request, route: Route, *, new: Obj, old: Obj | None = None) -> Call:
        """How the webhooks are shown a part's own body."""
        write = write_of(request)
        assert route.resource is not None
        return Call(
            row=route.resource,
            part=route.subresource,
            new=new,
            old=old,
            user=write.user,
            registry=self._registry,
            dry_run=write.dry_run,
            manager=write.manager,
            parent=(route.namespace, route.name),
            warnings=write.warnings,
            annotations=write.annotations,
        )

    async def _binding(self, request: Request, route: Route, served: Served) -> Response:
        media = media_of(request)
        body = read_object(request, self._registry.scheme, served.row, part="binding")
        _named(body, route)
        await self._registry.consult(self._call(request, route, new=body))
        await self.bind(request, body, name=route.name, namespace=route.namespace)
        return respond(success(code=201), status=201, media=media)

    async def binding(self, request: Request, route: Route) -> Response:
        """POST of a Binding to the namespace's collection: it names the pod."""
        media = media_of(request)
        body = read_object(request, self._registry.scheme, resources.BINDINGS)
        await self.bind(request, body, name=name_of(body), namespace=route.namespace)
        return respond(success(code=201), status=201, media=media)

    async def bind(self, request: Request, binding: Obj, *, name: str, namespace: str) -> None:
        """Put a pod on a node. Raises Conflict when it is on one already."""
        if problems := list(pod_updates.binding(binding)):
            raise Invalid.of("Binding", name, problems)
        now = self._registry.now()
        await self._registry.update(
            resources.PODS,
            name,
            lambda pod: _bound(pod, binding, now),
            namespace=namespace,
            write=write_of(request),
            part="binding",
            patch=True,
        )

    async def _eviction(self, request: Request, route: Route, served: Served) -> Response:
        media = media_of(request)
        body = read_object(request, self._registry.scheme, served.row, part="eviction")
        _named(body, route)
        await self._registry.consult(self._call(request, route, new=body))
        record = self._registry.get(served.row, route.namespace, route.name)
        pod, options = served.codec.obj(record), delete_options(body.get("deleteOptions") or {}, {})
        write, registry = write_of(request), self._registry
        for_real = not (write.dry_run or options.dry_run)
        await evictions.permit(registry, pod, dry_run=not for_real)
        if for_real and not is_deleting(pod):
            now = registry.now()
            edit = partial(evictions.marked, now=now)
            await registry.write_status(served.row, route.name, edit, namespace=route.namespace)
        await registry.delete(served.row, route.name, options, namespace=route.namespace, write=write)
        return respond(success(code=201), status=201, media=media)

    async def _token(self, request: Request, route: Route, served: Served) -> Response:
        media = media_of(request)
        body = read_object(request, self._registry.scheme, served.row, part="token")
        await self._registry.consult(self._call(request, route, new=body))
        account = served.codec.obj(self._registry.get(served.row, route.namespace, route.name))
        if self._tokens is None:
            raise NotFound("this server issues no tokens")
        for field, ours in (("name", route.name), ("namespace", route.namespace)):
            if (said := (body.get("metadata") or {}).get(field)) and said != ours:
                raise BadRequest(f"{field} in URL does not match {field} in TokenRequest object")
        spec = body.get("spec") or {}
        seconds = _seconds(spec, route.name)
        if (uid := (body.get("metadata") or {}).get("uid")) and uid != uid_of(account):
            ours = uid_of(account)
            why = f"the UID in the token request ({uid}) does not match the UID of the service account ({ours})"
            raise Conflict.of("TokenRequest", route.name, group="authentication.k8s.io", why=why)
        bound = self._bound_to(spec.get("boundObjectRef"), account)
        audiences = [one for one in spec.get("audiences") or () if one] or list(self._tokens.audiences)
        token = self._tokens.issue(bound, audiences=audiences, seconds=seconds)
        now = self._registry.now()
        expires = times.stamp(now + seconds)
        named = {"name": route.name, "namespace": route.namespace, "uid": uid_of(account)}
        answer = body | {
            "metadata": named | {"creationTimestamp": times.stamp(now)},
            "spec": spec | {"audiences": audiences, "expirationSeconds": seconds},
            "status": {"token": token, "expirationTimestamp": expires},
        }
        return respond(answer, status=201, media=media)

    def _bound_to(self, reference: Obj | None, account: Obj) -> Bound:
        namespace = metadata(account)["namespace"]
        bound = Bound(namespace, name_of(account), uid_of(account))
        if not reference:
            return bound
        rows: dict[str, Resource] = {
            "Pod": resources.PODS,
            "Secret": resources.SECRETS,
            "Node": resources.NODES,
        }
        row = rows.get(reference.get("kind", ""))
        if row is None or "/" in reference.get("apiVersion", ""):
            raise BadRequest(f"cannot bind token to object of type {_kind_of(reference)}")
        name = reference.get("name", "")
        found = self._registry.read(row, namespace if row.namespaced else "", name)
        if found is None:
            raise NotFound.of(row.plural, name)
        if reference.get("uid") and reference["uid"] != uid_of(found):
            why = (
                f"the UID in the bound object reference ({reference['uid']}) does not match the UID in record. "
                "The object might have been deleted and then recreated"
            )
            raise Conflict.of(row.plural, name, why=why)
        if row is resources.NODES:
            return bound._replace(node=(name, uid_of(found)))
        if row is resources.SECRETS:
            return bound._replace(secret=(name, uid_of(found)))
        if (found["spec"].get("serviceAccountName") or "default") != bound.name:
            why = "to pod running with different serviceaccount name."
            raise BadRequest(f'cannot bind token for serviceaccount "{bound.name}" {why}')
        node = found["spec"].get("nodeName", "")
        node_obj = self._registry.read(resources.NODES, "", node) if node else None
        return bound._replace(pod=(name, uid_of(found)), node=(node, uid_of(node_obj) if node_obj else ""))


def _seconds(spec: Obj, name: str) -> int:
    """How long a token is to live. Raises Invalid."""
    seconds: int = DEFAULT_SECONDS if spec.get("expirationSeconds") is None else spec["expirationSeconds"]
    if SHORTEST_SECONDS <= seconds <= LONGEST_SECONDS:
        return seconds
    limit = "less than 10 minutes" if seconds < SHORTEST_SECONDS else "larger than 2^32 seconds"
    problem = FieldError.invalid("spec.expirationSeconds", seconds, f"may not specify a duration {limit}")
    raise Invalid.of("TokenRequest", name, [problem], group="authentication.k8s.io")


def _named(body: Obj, route: Route) -> None:
    """An Eviction or a Binding for another pod than the URL's is a mistake. Raises BadRequest."""
    if name_of(body) != route.name:
        raise BadRequest(f"name in URL does not match name in {body['kind']} object")


def _kind_of(reference: Obj) -> str:
    """As Go prints a GroupVersionKind."""
    group, _, version = ("/" + reference.get("apiVersion", "")).rpartition("/")
    return f"{group.lstrip('/')}/{version}, Kind={reference.get('kind', '')}"


def scale_of(obj: Obj, paths: ScalePaths) -> Obj:
    """The autoscaling/v1 Scale of a workload."""
    meta = metadata(obj)
    names = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    scale: Obj = {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {name: meta[name] for name in names if name in meta},
        "spec": {},
        "status": {"replicas": _at(obj, paths.status) or 0},
    }
    if replicas := _at(obj, paths.spec):
        scale["spec"]["replicas"] = replicas
    selector = _selector(obj, paths)
    if selector:
        scale["status"]["selector"] = selector
    return scale


def _at(obj: Obj, path: str) -> Any:
    return next(iter(jsonpath.find(obj, path)), None)


def _selector(obj: Obj, paths: ScalePaths) -> str:
    if paths.selector:
        return str(_at(obj, paths.selector) or "")
    selector: Any = (obj.get("spec") or {}).get("selector")
    if not isinstance(selector, dict) or not selector:
        return ""
    whole = "matchLabels" in selector or "matchExpressions" in selector
    return str(selectors.of(selector) if whole else selectors.exact(selector))


def _scaled(old: Obj, scale: Obj, paths: ScalePaths) -> Obj:
    meta = metadata(scale)
    replicas = (scale.get("spec") or {}).get("replicas") or 0
    if replicas < 0:
        problem = FieldError.invalid("spec.replicas", replicas, "must be greater than or equal to 0")
        raise Invalid.of("Scale", name_of(old), [problem], group="autoscaling")
    jsonpath.put(old, paths.spec, replicas)
    for field in ("resourceVersion", "uid"):
        if meta.get(field):
            old["metadata"][field] = meta[field]
    if meta.get("name", name_of(old)) != name_of(old):
        raise BadRequest(f"the name of the object ({meta['name']}) does not match the name on the URL ({name_of(old)})")
    return old


def _bound(pod: Obj, binding: Obj, now: float) -> Obj:
    """A pod on its node."""
    spec, name = pod["spec"], name_of(pod)
    meta, wanted = pod["metadata"], metadata(binding)
    node = binding["target"]["name"]
    if wanted.get("uid") and wanted["uid"] != meta["uid"]:
        why = f"Precondition failed: UID in precondition: {wanted['uid']}, UID in object meta: {meta['uid']}"
        raise Conflict.of("pods", name, why=why)
    if meta.get("deletionTimestamp"):
        raise Conflict.of("pods/binding", name, why=f"pod {name} is being deleted, cannot be assigned to a host")
    if spec.get("nodeName"):
        raise Conflict.of("pods/binding", name, why=f'pod {name} is already assigned to node "{spec["nodeName"]}"')
    spec["nodeName"] = node
    for field in ("annotations", "labels"):
        if wanted.get(field):
            meta[field] = (meta.get(field) or {}) | wanted[field]
    status = pod.setdefault("status", {})
    scheduled = condition(pod, "PodScheduled")
    if scheduled is None or scheduled.get("status") != "True":
        others = [one for one in status.get("conditions") or () if one.get("type") != "PodScheduled"]
        fresh = {
            "type": "PodScheduled",
            "status": "True",
            "lastProbeTime": None,
            "lastTransitionTime": times.stamp(now),
        }
        status["conditions"] = [*others, fresh]
    return pod
