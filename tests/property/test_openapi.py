"""Our own OpenAPI documents against the server that serves them: schemathesis makes requests of them, right and wrong.

Never a 5xx, and every refusal a Status. A part of the operations is asked each time; all of them, and longer, with
PYBERNETES_OPENAPI_EXAMPLES=20 (examples of each). PYBERNETES_OPENAPI_SEED is the seed.
"""

import asyncio
import contextlib
import json
import os
import random
from collections import Counter
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis.generation import GenerationMode

from pybernetes.api import openapi
from pybernetes.api.objects import decode
from pybernetes.api.scheme import Scheme
from pybernetes.apiserver import ApiServer
from pybernetes.apiserver.users import AUTHENTICATED, MASTERS, User
from pybernetes.wire import Request, Response
from pybernetes.wire.send import HttpTransport
from pybernetes.wire.serve import Limits, Server
from support.server import api_server

EXAMPLES = int(os.environ.get("PYBERNETES_OPENAPI_EXAMPLES", "0"))
SEED = int(os.environ.get("PYBERNETES_OPENAPI_SEED", "1"))
PART = 20
"""Without a number of examples, one operation in so many is asked."""
KNOWN = ("default", "kube-system", "x", "y")
"""Names that are put where others were made up, so that something is found."""
GROUPS = [(group.name, version) for group in Scheme.builtin().groups() for version in group.versions]


@contextlib.contextmanager
def serving(runner: asyncio.Runner) -> Iterator[HttpTransport]:
    """A client of a real server on loopback, an administrator."""
    stack = contextlib.AsyncExitStack()

    async def open_() -> HttpTransport:
        api: ApiServer = await stack.enter_async_context(api_server())
        admin = User("schemathesis", (MASTERS, AUTHENTICATED))

        async def handler(request: Request) -> Response:
            request.context["user"] = admin
            return await api.handler(request)

        server = await stack.enter_async_context(Server(handler, uploads=True, limits=Limits(grace_seconds=0.5)))
        transport = HttpTransport(f"http://127.0.0.1:{server.addresses[0][1]}")
        stack.push_async_callback(transport.close)
        return transport

    transport = runner.run(open_())
    try:
        yield transport
    finally:
        runner.run(stack.aclose())


def body_of(case: Any) -> bytes:
    """As it goes out; what cannot be written in its media type goes out as text."""
    if not case.media_type or repr(type(case.body)).endswith("NotSet'>"):
        return b""
    if isinstance(case.body, bytes):
        return case.body
    return json.dumps(case.body, ensure_ascii=False, default=repr).encode("utf-8", "surrogatepass")


def request_of(case: Any, rng: random.Random) -> Request:
    for name in case.path_parameters or {}:
        if rng.random() < 0.5:
            case.path_parameters[name] = rng.choice(KNOWN)
    query: dict[str, list[str]] = {}
    for name, value in (case.query or {}).items():
        values = value if isinstance(value, list) else [value]
        query[name] = [str(one).encode("utf-8", "replace").decode() for one in values]
    headers = {"content-type": case.media_type} if case.media_type else {}
    return Request(
        method=case.method.upper(),
        path=unquote(case.formatted_path),
        query=query,
        headers=headers,
        body=body_of(case),
        stream=True,  # a watch does not end
    )


async def ask(transport: HttpTransport, request: Request) -> tuple[int, bytes]:
    """The status and what came of the body at once."""
    async with asyncio.timeout(60):
        response = await transport.send(request)
    if isinstance(response.body, bytes):
        return response.status, response.body
    found = b""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.05):
            async for chunk in response.body:
                found += chunk
    await response.body.aclose()  # type: ignore[attr-defined]
    return response.status, found


def check(request: Request, code: int, body: bytes) -> None:
    proxied = "/proxy" in request.path
    assert code < 500 or (proxied and code == 503), (request, code, body)
    if code >= 400 and body and not proxied:
        status = decode(body)
        assert (status["kind"], status["status"], status["code"]) == ("Status", "Failure", code), (request, body)


@pytest.mark.timeout(280 + 600 * EXAMPLES)
def test_requests_of_our_own_description() -> None:
    codes: Counter[int] = Counter()
    rng = random.Random(SEED)
    with asyncio.Runner() as runner, serving(runner) as transport:
        for group, version in GROUPS:
            document = openapi.document(Scheme.builtin(), group, version)
            assert document is not None
            operations = [one.ok() for one in schemathesis.openapi.from_dict(decode(document)).get_all_operations()]
            for operation in operations:
                if EXAMPLES or rng.randrange(PART) == 0:
                    examples(operation, rng, lambda request: codes.update([told(runner, transport, request)]))
    assert {200, 400, 404, 422} <= set(codes), codes


def told(runner: asyncio.Runner, transport: HttpTransport, request: Request) -> int:
    code, body = runner.run(ask(transport, request))
    check(request, code, body)
    return code


def examples(operation: Any, rng: random.Random, each: Any) -> None:
    """Requests that fit the description, and such that do not."""
    for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):

        @seed(SEED)
        @settings(
            max_examples=EXAMPLES or 2,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def run(case: Any) -> None:
            each(request_of(case, rng))

        run()
