"""The ordered filters around every request. Each is a function of the next handler; the list below is the order."""

import asyncio
import base64
import logging
import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence

from pybernetes.api import times
from pybernetes.api.errors import (
    ApiError,
    BadRequest,
    Forbidden,
    InternalError,
    ServiceUnavailable,
    Timeout,
    Unauthorized,
)
from pybernetes.store import Unavailable
from pybernetes.wire import Handler, Request, Response
from pybernetes.wire.url import shown

from .accept import status_media
from .answers import respond
from .auth.attributes import attributes
from .auth.authorize import Authorizer, forbidden
from .auth.certificates import Authenticator
from .auth.impersonate import asks, impersonated
from .metrics import Metrics
from .route import Find, Route, route
from .users import ANONYMOUS, User, authenticated, route_of, user_of

log = logging.getLogger("pybernetes.apiserver")
access = logging.getLogger("pybernetes.apiserver.access")

Filter = Callable[[Handler], Handler]

REQUEST_SECONDS = 60.0
"""A request that is not a watch or a stream is answered within this time."""


def compose(filters: Iterable[Filter], handler: Handler) -> Handler:
    """The first filter is the outermost."""
    for one in reversed(tuple(filters)):
        handler = one(handler)
    return handler


def recover(handler: Handler) -> Handler:
    """Errors become Status objects, in this one place; what nobody expected is logged and becomes a 500."""

    async def recovered(request: Request) -> Response:
        try:
            return _warned(request, await handler(request))
        except ApiError as error:
            return _warned(request, status_response(error, request))
        except Unavailable as error:
            return status_response(ServiceUnavailable(str(error)), request)
        except Exception:
            log.exception("request failed method=%s path=%s", request.method, shown(request.path))
            return status_response(InternalError("Internal error occurred: see the server's log"), request)

    return recovered


def status_response(error: ApiError, request: Request) -> Response:
    """The Status in a type that the client accepts, in JSON when it accepts none."""
    status = error.status
    media = status_media(request.headers.get("accept", ""))
    response = respond(status, status=int(status.get("code") or error.code), media=media)
    seconds = (status.get("details") or {}).get("retryAfterSeconds")
    if seconds:
        response.headers = {**response.headers, "retry-after": str(seconds)}
    return response


def _warned(request: Request, response: Response) -> Response:
    warnings = request.context.get("warnings")
    if warnings:
        text = ", ".join(f'299 - "{_quoted(one)}"' for one in _bounded(warnings))
        response.headers = {**response.headers, "warning": text}
    return response


_MOST_WARNED, _LONGEST_WARNING = 4096, 256


def _bounded(warnings: Sequence[str]) -> Iterator[str]:
    """No client reads a head without end: past 4096 characters in all each is cut to 256, and the last are left out."""
    longest = _LONGEST_WARNING if sum(map(len, warnings)) > _MOST_WARNED else _MOST_WARNED
    room = _MOST_WARNED
    for one in warnings:
        text = one[:longest]
        if len(text) > room:
            return
        room -= len(text)
        yield text


def _quoted(text: str) -> str:
    safe = text.encode("ascii", "replace").decode()
    return "".join(one if one.isprintable() else " " for one in safe).replace("\\", "\\\\").replace('"', '\\"')


def _uuid() -> str:
    """A random UUID (RFC 9562, version 4) in a third of the time that the library's takes."""
    digits = f"{random.getrandbits(128):032x}"
    variant = "89ab"[int(digits[16], 16) & 3]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"


def request_id(handler: Handler) -> Handler:
    """audit-id, the client's own if it sent one; and nobody on the way keeps an answer that does not allow it."""

    async def identified(request: Request) -> Response:
        found = request.headers.get("audit-id", "")
        if not found or len(found) > 64 or not found.isascii():
            found = _uuid()
        request.context["id"] = found
        response = await handler(request)
        response.headers = {"cache-control": "no-cache, private", **response.headers, "audit-id": found}
        return response

    return identified


def measure(metrics: Metrics) -> Filter:
    """Counts, times and (at debug level) logs every request."""

    def filter_(handler: Handler) -> Handler:
        async def measured(request: Request) -> Response:
            begun = time.perf_counter()
            kind = "readOnly" if request.method in _READS else "mutating"
            metrics.inflight[kind] += 1
            try:
                response = await handler(request)
            finally:
                metrics.inflight[kind] -= 1
            took = time.perf_counter() - begun
            metrics.request(request, response, took)
            metrics.held(request, response)
            if access.isEnabledFor(logging.DEBUG):
                access.debug(
                    "request method=%s path=%s status=%d seconds=%.4f user=%s agent=%s",
                    request.method,
                    shown(request.path),
                    response.status,
                    took,
                    user_of(request).name,
                    request.headers.get("user-agent", ""),
                )
            return response

        return measured

    return filter_


def routed(find: Find) -> Filter:
    """Says what the path asks for (`route_of`)."""

    def filter_(handler: Handler) -> Handler:
        async def known(request: Request) -> Response:
            try:
                found = route(request.method, request.path, find=find, watch=request.flag("watch"))
            except ApiError as error:  # told to those who may ask at all, by `answered`
                found = Route(request.method.lower(), request.path)
                request.context["unroutable"] = error
            request.context["route"] = found
            return await handler(request)

        return known

    return filter_


_READS = ("GET", "HEAD")


def deadline(handler: Handler) -> Handler:
    """Answers within a minute, or in the shorter `timeout` asked for; watches and streams have their own ends."""

    async def limited(request: Request) -> Response:
        found: Route = route_of(request)
        if found.long_running:
            return await handler(request)
        seconds = _asked_seconds(request) if "timeout" in request.query else REQUEST_SECONDS
        try:
            async with asyncio.timeout(seconds):
                return await handler(request)
        except TimeoutError:
            raise Timeout("Timeout: request did not complete within the allotted timeout") from None

    return limited


def _asked_seconds(request: Request) -> float:
    """`?timeout=`, a duration as Go writes them; 0, less than 0 or too much is the server's own. Raises BadRequest."""
    text = request.param("timeout")
    if not text:
        return REQUEST_SECONDS
    try:
        seconds = times.duration(text)
    except ValueError as error:
        raise BadRequest(f"invalid timeout specified in the request URL - {error}") from error
    return seconds if 0 < seconds < REQUEST_SECONDS else REQUEST_SECONDS


Refused = Callable[[Request, ApiError], None]
"""Is told of requests whose credential is refused."""


def authenticate(authenticator: Authenticator, metrics: Metrics, refused: Refused | None = None) -> Filter:
    """Who asks (`user_of`). A user in the context comes from inside the process and is believed."""

    def filter_(handler: Handler) -> Handler:
        async def known(request: Request) -> Response:
            user = request.context.get("user")
            if user is not None:
                request.context["inside"] = True  # never queued: the server does not wait for itself
            else:
                _token_of_protocols(request)
                try:
                    user = await authenticator.user(request) or ANONYMOUS
                except Unauthorized as error:
                    metrics.authentications["failure"] += 1
                    if refused is not None:
                        refused(request, error)
                    raise
                metrics.authentications["success"] += 1
            request.context["user"] = authenticated(user)
            return await handler(request)

        return known

    return filter_


_TOKEN_PROTOCOL = "base64url.bearer.authorization.k8s.io."


def _token_of_protocols(request: Request) -> None:
    """A token that a browser sends as a subprotocol of its WebSocket, where it cannot set a header, becomes one.

    Beside another protocol only, which is what is spoken (apiserver/pkg/authentication/request/websocket).
    """
    text = request.headers.get("sec-websocket-protocol", "")
    if _TOKEN_PROTOCOL not in text or "authorization" in request.headers:
        return
    names = [name.strip() for name in text.split(",")]
    tokens = [name.removeprefix(_TOKEN_PROTOCOL) for name in names if name.startswith(_TOKEN_PROTOCOL)]
    others = [name for name in names if name and not name.startswith(_TOKEN_PROTOCOL)]
    if len(tokens) != 1 or not others:
        return
    try:
        token = base64.b64decode(tokens[0] + "=" * (-len(tokens[0]) % 4), altchars=b"-_", validate=True).decode()
    except ValueError:
        return
    more = {"authorization": f"Bearer {token}", "sec-websocket-protocol": ", ".join(others)}
    request.headers = {**request.headers, **more}


async def take(request: Request) -> None:
    """Read the body, if that has not been done. Raises TooLarge, BadRequest when the client leaves in the middle."""
    upload, request.upload = request.upload, None
    if upload is not None:
        try:
            request.body = await upload.read()
        except ConnectionError as error:
            raise BadRequest("the body of the request broke off") from error


def expected(handler: Handler) -> Handler:
    """Troubles that are no bug of this server's become errors with a name, so that the audit log tells no panic."""

    async def translated(request: Request) -> Response:
        try:
            return await handler(request)
        except RecursionError as error:
            raise BadRequest("the object is nested too deep") from error
        except Unavailable as error:
            raise ServiceUnavailable(str(error)) from error

    return translated


def bodies(handler: Handler) -> Handler:
    """Reads the bodies of those who are somebody: a stranger has none held for him before he is found to be allowed.

    Before fairness: who sends slowly keeps a seat from nobody. What is proxied is never read here.
    """

    async def read(request: Request) -> Response:
        if request.upload is not None and user_of(request) is not ANONYMOUS and not route_of(request).tail:
            await take(request)
        return await handler(request)

    return read


def authorize(authorizer: Authorizer, metrics: Metrics) -> Filter:
    """May they? Impersonation is checked and done here, before the request itself."""

    def filter_(handler: Handler) -> Handler:
        async def allowed(request: Request) -> Response:
            user = user_of(request)
            if asks(request):
                user = request.context["user"] = impersonated(authorizer, user, request)
            found = route_of(request)
            asked = attributes(found, request)
            answer = authorizer.decide(user, asked)
            metrics.authorizations["allowed" if answer.allowed else "no-opinion"] += 1
            notes = request.context.get("annotations")
            if notes is not None:  # there is an audit event
                notes["authorization.k8s.io/decision"] = "allow" if answer.allowed else "forbid"
                notes["authorization.k8s.io/reason"] = answer.reason
            if not answer.allowed:
                raise refusal(user, forbidden(user, asked, answer.reason, found.resource))
            return await handler(request)

        return allowed

    return filter_


def refusal(user: User, forbidden: Forbidden) -> ApiError:
    """401 for who said nothing of themselves, 403 for the others."""
    return Unauthorized("Unauthorized") if user is ANONYMOUS else forbidden
