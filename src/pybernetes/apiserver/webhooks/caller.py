"""Posts a review to a webhook and returns its answer, over TLS that is verified against the clientConfig's caBundle.

Connections are kept: one transport for each place, the least used dropped past a bound. A connection that was found
dead is opened anew once, at another endpoint where there is one, as Go's client does with an idle one.
"""

import asyncio
import errno
import math
import random
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from pybernetes.api.errors import error_of
from pybernetes.api.objects import Obj, decode, encode
from pybernetes.wire import Request, Response, Transport

from .target import Reader, Target, Unresolved, shown, targets

_MOST_TRANSPORTS = 64
"""Places with kept connections; past that the one longest unused is closed."""

Connect = Callable[[Target], Transport]
"""A transport to a target's server that verifies its certificate."""


class CallFailed(Exception):
    """A webhook that gave no usable answer. The text is what follows `failed calling webhook "x": ` in admission."""

    def __init__(self, cause: str, *, code: int = 503) -> None:
        super().__init__(f"failed to call webhook: {cause}")
        self.cause = cause
        self.code = code

    @property
    def message(self) -> str:
        return str(self)


def http(target: Target) -> Transport:
    """The road of a running server. Its HTTP client is imported by the first call."""
    from pybernetes.wire.send import HttpTransport

    return HttpTransport(target.server, ca=target.ca, server_name=target.server_name)


@dataclass(slots=True)
class _Kept:
    """A transport, and how many calls are under way on it."""

    transport: Transport
    calls: int = 0


class Caller:
    """`reader` finds the endpoints of Services."""

    def __init__(self, reader: Reader, *, connect: Connect = http, rng: random.Random | None = None) -> None:
        self._reader = reader
        self._connect = connect
        self._rng = rng or random.Random()
        self._kept: dict[tuple[str, str, bytes], _Kept] = {}

    async def call(self, client: Obj, review: Obj, *, timeout_seconds: float) -> Obj:
        """The answer to a review (an AdmissionReview, a ConversionReview) as a JSON object.

        `client` is a WebhookClientConfig. Raises CallFailed.
        """
        body = encode(review)
        seconds = f"{math.ceil(timeout_seconds)}s"
        post = ""
        try:
            post = f'Post "{shown(client)}?timeout={seconds}": '
            places = targets(client, self._reader)
        except (Unresolved, ValueError) as error:
            raise CallFailed(f"{post}{error}") from error
        self._rng.shuffle(places)
        try:
            async with asyncio.timeout(timeout_seconds):
                answer = await self._post(places, body, seconds)
        except TimeoutError as error:
            raise CallFailed(f"{post}context deadline exceeded") from error
        except ConnectionError as error:
            raise CallFailed(f"{post}{reason(error)}") from error
        return _read(answer)

    async def _post(self, places: list[Target], body: bytes, seconds: str) -> Response:
        try:
            return await self._once(places[0], body, seconds)
        except ConnectionError:
            return await self._once(places[-1], body, seconds)

    async def _once(self, place: Target, body: bytes, seconds: str) -> Response:
        request = Request(
            method="POST",
            path=place.path,
            query={**place.query, "timeout": [seconds]},
            headers={"content-type": "application/json", "accept": "application/json, */*", "host": place.host},
            body=body,
        )
        kept = self._to(place)
        kept.calls += 1
        try:
            return await kept.transport.send(request)
        finally:
            kept.calls -= 1
            await self._trim()

    def _to(self, place: Target) -> _Kept:
        """Raises ConnectionError for a caBundle that cannot be read."""
        key = (place.server, place.server_name, place.ca)
        found = self._kept.pop(key, None)
        if found is None:
            try:
                found = _Kept(self._connect(place))
            except ssl.SSLError as error:
                raise ConnectionError(f"unable to load root certificates: {error}") from error
        self._kept[key] = found  # the last used is last
        return found

    async def _trim(self) -> None:
        for key in list(self._kept)[:-_MOST_TRANSPORTS]:
            if not self._kept[key].calls:
                await self._kept.pop(key).transport.close()

    async def close(self) -> None:
        gone, self._kept = self._kept, {}
        for kept in gone.values():
            await kept.transport.close()


def _read(answer: Response) -> Obj:
    """Raises CallFailed for what is not a JSON object sent with success."""
    assert isinstance(answer.body, bytes)
    if not 200 <= answer.status <= 206:
        text = _server_error(answer.status, answer.body)
        raise CallFailed(text, code=answer.status)
    try:
        found: Any = decode(answer.body)
    except ValueError as error:
        raise CallFailed(f"couldn't get version/kind; json parse error: {error}") from error
    if not isinstance(found, dict):
        kind = type(found).__name__
        raise CallFailed(f"couldn't get version/kind; json parse error: not an object: {kind}")
    return found


_HTTP_TEXTS = {
    401: "the server has asked for the client to provide credentials",
    403: "forbidden: unknown",
    404: "the server could not find the requested resource",
    405: "the server does not allow this method on the requested resource",
    413: "the body of the request was too large",
    415: "the body of the request was in an unknown format",
    422: "the server rejected our request due to an error in our request",
    429: "the server has received too many requests and has asked us to try again later",
    503: "the server is currently unable to handle the request",
    504: "the server was unable to return a response in the time allotted, but may still be processing the request",
}


def _server_error(status: int, body: bytes) -> str:
    """What a failed answer says, worded as client-go words one without a Status."""
    error = error_of(status, body)
    if error.status.get("message") and b'"Status"' in body:
        return error.message
    if status in _HTTP_TEXTS:
        return _HTTP_TEXTS[status]
    if status >= 500:
        return f'an error on the server ("{error.message}") has prevented the request from succeeding'
    return f"the server responded with the status code {status} but did not return more information"


_DIALS = {
    errno.ECONNREFUSED: "connection refused",
    errno.EHOSTUNREACH: "no route to host",
    errno.ENETUNREACH: "network is unreachable",
    errno.ETIMEDOUT: "connection timed out",
    errno.ECONNRESET: "connection reset by peer",
}
_UNKNOWN_AUTHORITY = frozenset({18, 19, 20, 21})
"""OpenSSL's verify codes for a chain that ends in no trusted certificate."""
_WRONG_NAME, _EXPIRED, _NOT_YET = 62, 10, 9


def reason(error: BaseException) -> str:
    """Why a connection failed, in Go's words where it has some."""
    for one in _chain(error):
        if isinstance(one, ssl.SSLCertVerificationError) and hasattr(one, "verify_code"):  # aiohttp's wrapper has none
            return "tls: failed to verify certificate: x509: " + _certificate(one)
        if isinstance(one, OSError) and one.errno in _DIALS:
            return f"dial tcp: connect: {_DIALS[one.errno]}"
    return str(error)


def _certificate(error: ssl.SSLCertVerificationError) -> str:
    if error.verify_code in _UNKNOWN_AUTHORITY:
        return "certificate signed by unknown authority"
    if error.verify_code in (_EXPIRED, _NOT_YET):
        return "certificate has expired or is not yet valid"
    return error.verify_message.rstrip(".")


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        inner = getattr(error, "certificate_error", None) or getattr(error, "os_error", None)
        error = inner if isinstance(inner, BaseException) and inner is not error else error.__cause__
