"""One request as an audit.k8s.io/v1 Event: who, what, from where, and the objects, at the level that is wanted."""

import ipaddress
from datetime import UTC, datetime
from typing import Any

import msgspec

from pybernetes.api.errors import ApiError
from pybernetes.api.objects import Obj
from pybernetes.wire import Request
from pybernetes.wire.url import as_came

from ..body import JSON, PROTOBUF, media_type, parse, parse_yaml
from ..route import Route
from ..users import route_of
from .policy import Decision

_AGENT = 1024
_CUT = "...TRUNCATED"
_NAMES = {"name": "name", "namespace": "namespace", "uid": "uid", "resource_version": "resourceVersion"}


def begun(request: Request, decision: Decision, *, user: Obj) -> Obj:
    """The event of a request that has just come; `user` is a UserInfo, {} when nobody is known."""
    route, agent = route_of(request), request.headers.get("user-agent", "")
    path, query = as_came(request)
    event: Obj = {
        "kind": "Event",
        "apiVersion": "audit.k8s.io/v1",
        "level": decision.level,
        "auditID": request.context.get("id", ""),
        "stage": "",
        "requestURI": f"{path}?{query}" if query else path,
        "verb": route.verb,
        "user": user,
        "sourceIPs": _sources(request),
        "userAgent": agent if len(agent) <= _AGENT else agent[:_AGENT] + _CUT,
        "requestReceivedTimestamp": now(),
    }
    if route.resource is not None:
        event["objectRef"] = _reference(route)
    return event


def _reference(route: Route) -> Obj:
    row = route.resource
    assert row is not None
    found = {
        "resource": row.plural,
        "namespace": route.namespace,
        "name": route.name,
        "apiGroup": row.group,
        "apiVersion": row.version,
        "subresource": route.subresource,
    }
    return {key: value for key, value in found.items() if value}


def put_request(event: Obj, request: Request, decision: Decision) -> None:
    """What was sent, once it was allowed: of an object its names, and all of it where bodies are wanted."""
    route = route_of(request)
    if route.resource is None or not request.body:
        return
    media = media_type(request)
    named = route.verb in ("create", "update")
    if decision.level == "Metadata" and not (named and media in (JSON, PROTOBUF)):
        return
    if decision.level == "Metadata" and media == JSON:
        _put_names(event["objectRef"], request.body)
        return
    value = _read(request.body, media)
    meta = value.get("metadata") if named and isinstance(value, dict) else None
    for name in _NAMES.values():
        if isinstance(meta, dict) and isinstance(meta.get(name), str) and meta[name]:
            event["objectRef"].setdefault(name, meta[name])
    if decision.level == "Metadata" or value is None:
        return
    event["requestObject"] = _shown(value, decision)


def put_response(event: Obj, body: bytes, media: str, decision: Decision) -> None:
    value = _read(body, media)
    if value is not None:
        event["responseObject"] = _shown(value, decision)


class _Meta(msgspec.Struct):
    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = msgspec.field(default="", name="resourceVersion")


class _Named(msgspec.Struct):
    metadata: _Meta = msgspec.field(default_factory=_Meta)


def _put_names(reference: Obj, body: bytes) -> None:
    try:
        meta = msgspec.json.decode(body, type=_Named).metadata
    except (msgspec.DecodeError, RecursionError):
        return  # it is refused further in, and the event says so
    for ours, theirs in _NAMES.items():
        if value := getattr(meta, ours):
            reference.setdefault(theirs, value)


def _read(body: bytes, media: str) -> Any:
    """A body as the value that it is; None for what is none, which is refused further in."""
    try:
        if media == PROTOBUF:
            from pybernetes.api import proto

            return proto.decode(body)
        if media.endswith("yaml"):
            return parse_yaml(body)
        return parse(body, JSON) if media.endswith("json") else None
    except ApiError:
        return None


def _shown(value: Any, decision: Decision) -> Any:
    if decision.omit_managed_fields and isinstance(value, dict):
        for one in (value, *(item for item in value.get("items") or () if isinstance(item, dict))):
            if isinstance(one.get("metadata"), dict):
                one["metadata"].pop("managedFields", None)
    return value


def _sources(request: Request) -> list[str]:
    """The addresses that a request came from, as proxies tell, the peer's own last."""
    told = [*request.headers.get("x-forwarded-for", "").split(","), request.headers.get("x-real-ip", "")]
    told.append(request.peer.address.rpartition(":")[0].strip("[]"))
    found: list[str] = []
    for text in (one.strip() for one in told):
        try:
            address = str(ipaddress.ip_address(text))
        except ValueError:
            continue
        if address not in found:
            found.append(address)
    return found


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def attempted(request: Request) -> str:
    """How somebody tried to say who they are, for the event of a credential that was refused."""
    scheme, _, rest = request.headers.get("authorization", "").strip().partition(" ")
    methods: list[str] = [name for name in ("basic", "bearer") if scheme.lower() == name and rest]
    if request.peer.certificate is not None:
        methods.append("x509")
    if methods:
        return f"Authentication failed, attempted: {', '.join(methods)}"
    return "Authentication failed, no credentials provided"
