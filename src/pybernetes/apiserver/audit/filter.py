"""The filter: an event at each stage of a request that the policy wants to know of."""

import ipaddress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Protocol, get_args
from urllib.parse import quote, urlencode

from pybernetes.api.errors import ApiError
from pybernetes.api.objects import Obj, decode
from pybernetes.wire import Channel, Handler, Request, Response

from ..held import Held
from ..route import Route
from ..users import route_of, user_of
from .policy import Decision, Level, Policy, Stage

_AGENT = 1024
_CUT = "...TRUNCATED"


class Log(Protocol):
    """Where events go."""

    def write(self, event: Obj) -> None: ...


class Auditor:
    """Filters through `filter`; requests that the policy does not want cost one pass over its rules."""

    def __init__(self, policy: Policy, log: Log) -> None:
        self.events = 0
        """Events that were made, one at each stage."""
        self.levels = dict.fromkeys(get_args(Level), 0)
        """Requests by the level that the policy gives them."""
        self._policy = policy
        self._log = log

    def filter(self, handler: Handler) -> Handler:
        async def audited(request: Request) -> Response:
            decision = self._policy.decide(user_of(request), route_of(request))
            self.levels[decision.level] += 1
            if decision.level == "None":
                return await handler(request)
            return await self._told(request, handler, decision)

        return audited

    async def _told(self, request: Request, handler: Handler, decision: Decision) -> Response:
        event = begun(request, decision)
        self._stage(event, "RequestReceived", decision)
        request.context.setdefault("annotations", {})
        asker = user_of(request)
        try:
            response = await handler(request)
        except ApiError as error:
            told = {key: value for key, value in error.status.items() if key not in ("kind", "apiVersion")}
            self._complete(event, request, decision, told, asker is not user_of(request))
            raise
        except BaseException as error:
            event["responseStatus"] = {"metadata": {}, "status": "Failure", "reason": "InternalError", "code": 500}
            event["responseStatus"]["message"] = f"request failed: {type(error).__name__}"
            self._stage(event, "Panic", decision)
            raise
        changed = asker is not user_of(request)
        status: Obj = {"metadata": {}, "code": 101 if response.upgrade is not None else response.status}
        if decision.level == "RequestResponse" and isinstance(response.body, bytes):
            _put(event, "responseObject", response.body, response.headers.get("content-type", ""), decision)
        if not route_of(request).long_running and response.upgrade is None and isinstance(response.body, bytes):
            self._complete(event, request, decision, status, changed)
            return response
        if route_of(request).long_running:
            self._note(event, request, status, changed)
            self._stage(event, "ResponseStarted", decision)
        return self._until_end(response, lambda: self._complete(event, request, decision, status, changed))

    def _until_end(self, response: Response, end: Any) -> Response:
        if response.upgrade is not None:
            upgrade = response.upgrade

            async def run(channel: Channel) -> None:
                try:
                    await upgrade.run(channel)
                finally:
                    end()

            response.upgrade = replace(upgrade, run=run)
        elif isinstance(response.body, bytes):
            end()
        else:
            response.body = Held(response.body, lambda _: None, end)
        return response

    def _note(self, event: Obj, request: Request, status: Obj, changed: bool) -> None:
        event["responseStatus"] = status
        if changed:
            event["impersonatedUser"] = user_of(request).info
        if notes := request.context["annotations"]:
            event["annotations"] = dict(notes)

    def _complete(self, event: Obj, request: Request, decision: Decision, status: Obj, changed: bool) -> None:
        self._note(event, request, status, changed)
        self._stage(event, "ResponseComplete", decision)

    def _stage(self, event: Obj, stage: Stage, decision: Decision) -> None:
        if stage not in decision.omit:
            now = event["requestReceivedTimestamp"] if stage == "RequestReceived" else _now()
            self.events += 1
            self._log.write(event | {"stage": stage, "stageTimestamp": now})


def begun(request: Request, decision: Decision) -> Obj:
    """The event of a request that has just come."""
    route, agent = route_of(request), request.headers.get("user-agent", "")
    query = f"?{urlencode(request.query, doseq=True)}" if request.query else ""
    event: Obj = {
        "kind": "Event",
        "apiVersion": "audit.k8s.io/v1",
        "level": decision.level,
        "auditID": request.context.get("id", ""),
        "stage": "",
        "requestURI": quote(request.path) + query,
        "verb": route.verb,
        "user": user_of(request).info,
        "sourceIPs": _sources(request),
        "userAgent": agent if len(agent) <= _AGENT else agent[:_AGENT] + _CUT,
        "requestReceivedTimestamp": _now(),
    }
    if route.resource is not None:
        event["objectRef"] = _reference(route)
    if decision.level in ("Request", "RequestResponse") and request.body:
        _put(event, "requestObject", request.body, request.headers.get("content-type", ""), decision)
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


def _put(event: Obj, name: str, body: bytes, content_type: str, decision: Decision) -> None:
    """A JSON body as an object; another form is not told."""
    if "json" not in content_type:
        return
    try:
        value = decode(body)
    except (ValueError, RecursionError):
        return  # what is no JSON is refused further in, and the event says so
    if decision.omit_managed_fields and isinstance(value, dict):
        for one in (value, *(item for item in value.get("items") or () if isinstance(item, dict))):
            if isinstance(one.get("metadata"), dict):
                one["metadata"].pop("managedFields", None)
    event[name] = value


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


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
