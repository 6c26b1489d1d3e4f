"""The filter: an event at each stage of a request that the policy wants to know of."""

import asyncio
from typing import Protocol, get_args

from pybernetes.api.errors import ApiError, Timeout
from pybernetes.api.objects import Obj
from pybernetes.wire import Handler, Request, Response

from ..held import until_end
from ..users import route_of, user_of
from .event import attempted, begun, now, put_request, put_response
from .policy import Decision, Level, Policy, Stage


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

    def unknown(self, request: Request, error: ApiError) -> None:
        """A credential was refused: one event, at the stage that kube-apiserver tells it in."""
        decision = self._policy.decide(None, route_of(request))
        self.levels[decision.level] += 1
        if decision.level == "None":
            return
        event = begun(request, decision, user={})
        event["responseStatus"] = {"metadata": {}, "message": attempted(request), "code": error.code}
        self._stage(event, "ResponseStarted", decision)

    def filter(self, handler: Handler) -> Handler:
        async def audited(request: Request) -> Response:
            decision = self._policy.decide(user_of(request), route_of(request))
            self.levels[decision.level] += 1
            if decision.level == "None":
                return await handler(request)
            return await self._told(request, handler, decision)

        return audited

    async def _told(self, request: Request, handler: Handler, decision: Decision) -> Response:
        event = begun(request, decision, user=user_of(request).info)
        self._stage(event, "RequestReceived", decision)
        request.context.setdefault("annotations", {})
        asker = user_of(request)
        try:
            response = await handler(request)
        except ApiError as error:
            told = {key: value for key, value in error.status.items() if key not in ("kind", "apiVersion")}
            self._complete(event, request, decision, told, asker is not user_of(request))
            raise
        except asyncio.CancelledError:
            # Its time was up (chain.deadline answers for it), or the server's
            told = Timeout("Timeout: request did not complete within the allotted timeout").status
            status = {key: value for key, value in told.items() if key not in ("kind", "apiVersion")}
            self._complete(event, request, decision, status, asker is not user_of(request))
            raise
        except BaseException as error:
            event["responseStatus"] = {"metadata": {}, "status": "Failure", "reason": "InternalError", "code": 500}
            event["responseStatus"]["message"] = f"APIServer panic'd: {type(error).__name__}"
            self._stage(event, "Panic", decision)
            raise
        changed = asker is not user_of(request)
        status = {"metadata": {}, "code": 101 if response.upgrade is not None else response.status}
        if decision.level == "RequestResponse" and isinstance(response.body, bytes):
            media = response.headers.get("content-type", "").partition(";")[0]
            put_response(event, response.body, media, decision)
        if not route_of(request).long_running and response.upgrade is None and isinstance(response.body, bytes):
            self._complete(event, request, decision, status, changed)
            return response
        if route_of(request).long_running:
            self._note(event, request, status, decision, changed=changed)
            self._stage(event, "ResponseStarted", decision)
        return until_end(response, lambda: self._complete(event, request, decision, status, changed))

    def _note(self, event: Obj, request: Request, status: Obj, decision: Decision, *, changed: bool) -> None:
        event["responseStatus"] = status
        if changed:
            event["impersonatedUser"] = user_of(request).info
        notes = request.context["annotations"]
        if notes:
            event["annotations"] = dict(notes)
        if notes.get("authorization.k8s.io/decision") == "allow" and "requestObject" not in event:
            put_request(event, request, decision)

    def _complete(self, event: Obj, request: Request, decision: Decision, status: Obj, changed: bool) -> None:
        self._note(event, request, status, decision, changed=changed)
        self._stage(event, "ResponseComplete", decision)

    def _stage(self, event: Obj, stage: Stage, decision: Decision) -> None:
        if stage not in decision.omit:
            at = event["requestReceivedTimestamp"] if stage == "RequestReceived" else now()
            self.events += 1
            self._log.write(event | {"stage": stage, "stageTimestamp": at})
