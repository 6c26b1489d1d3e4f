"""Calls to webhooks: found by Service or URL, verified against the caBundle, and failing in Kubernetes' words."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from pybernetes.api.errors import Forbidden
from pybernetes.api.objects import Obj, decode, encode
from pybernetes.apiserver.webhooks import Caller, CallFailed
from pybernetes.apiserver.webhooks.caller import _MOST_TRANSPORTS
from pybernetes.wire import Request, Response
from pybernetes.wire.answer import error_response
from support.ports import free_port


class Hook:
    """Answers with the body it was sent, and what else it saw."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.answer: Response | None = None

    async def __call__(self, request: Request) -> Response:
        self.requests.append(request)
        if self.answer is not None:
            return self.answer
        return Response(body=encode({"echo": decode(request.body)}))


@pytest.fixture
def hook() -> Hook:
    return Hook()


@pytest.fixture
async def caller(reader: Any) -> AsyncIterator[Caller]:
    found = Caller(reader)
    yield found
    await found.close()


POST = 'failed to call webhook: Post "https://hook.hooks.svc:443/?timeout=10s": '


async def failure(caller: Caller, client: Obj, *, seconds: float = 10) -> CallFailed:
    with pytest.raises(CallFailed) as caught:
        await caller.call(client, {}, timeout_seconds=seconds)
    return caught.value


async def test_a_service_is_called_at_its_ready_endpoint_by_its_own_name(
    caller: Caller, hooks: Any, reader: Any, hook: Hook
) -> None:
    async with hooks.serving(hook) as port:
        reader.service("hook", port=443, endpoints=[("127.0.0.1", port)])
        client = hooks.of_service("hook", path="/mutate")
        assert await caller.call(client, {"kind": "X"}, timeout_seconds=7) == {"echo": {"kind": "X"}}
    (seen,) = hook.requests
    assert (seen.method, seen.path, seen.query) == ("POST", "/mutate", {"timeout": ["7s"]})
    assert seen.headers["host"] == "hook.hooks.svc:443"
    assert seen.headers["content-type"] == "application/json"


async def test_a_url_is_called_with_its_own_path_and_query(caller: Caller, hooks: Any, hook: Hook) -> None:
    async with hooks.serving(hook) as port:
        client = {"url": f"https://127.0.0.1:{port}/deep/path?a=b", "caBundle": hooks.bundle}
        await caller.call(client, {}, timeout_seconds=29.5)
    assert hook.requests[0].path == "/deep/path"
    assert hook.requests[0].query == {"a": ["b"], "timeout": ["30s"]}


async def test_the_port_of_the_reference_chooses_the_endpoint_port(
    caller: Caller, hooks: Any, reader: Any, hook: Hook
) -> None:
    async with hooks.serving(hook) as port:
        reader.service("hook", port=8443, endpoints=[("127.0.0.1", port)])
        assert await caller.call(hooks.of_service("hook", port=8443), {}, timeout_seconds=5) == {"echo": {}}
        missing = await failure(caller, hooks.of_service("hook"))
    assert missing.message == POST + 'no service port 443 found for service "hook"'


async def test_what_is_not_there_is_named(caller: Caller, hooks: Any, reader: Any) -> None:
    gone = await failure(caller, hooks.of_service("hook"))
    assert gone.message == POST + 'service "hook" not found'
    reader.service("hook", port=443, endpoints=[("127.0.0.1", 1)], ready=False)
    empty = await failure(caller, hooks.of_service("hook"))
    assert empty.message == POST + 'no endpoints available for service "hook"'


async def test_a_certificate_of_another_authority_is_refused(
    caller: Caller, hooks: Any, reader: Any, hook: Hook, tmp_path: Any
) -> None:
    other = type(hooks)(tmp_path / "other")
    async with hooks.serving(hook) as port:
        reader.service("hook", port=443, endpoints=[("127.0.0.1", port)])
        error = await failure(caller, other.of_service("hook"))
    assert error.message == (
        'failed to call webhook: Post "https://hook.hooks.svc:443/?timeout=10s": '
        "tls: failed to verify certificate: x509: certificate signed by unknown authority"
    )
    assert not hook.requests


async def test_a_certificate_for_another_name_is_refused(caller: Caller, hooks: Any, reader: Any, hook: Hook) -> None:
    async with hooks.serving(hook, name="other.hooks.svc") as port:
        reader.service("hook", port=443, endpoints=[("127.0.0.1", port)])
        error = await failure(caller, hooks.of_service("hook"))
    assert "tls: failed to verify certificate: x509: " in error.message
    assert "hook.hooks.svc" in error.message
    assert not hook.requests


async def test_a_slow_webhook_is_given_its_time_and_no_more(caller: Caller, hooks: Any) -> None:
    left = asyncio.Event()

    async def slow(_: Request) -> Response:
        await left.wait()
        return Response(body=b"{}")

    async with hooks.serving(slow) as port:
        client = {"url": f"https://127.0.0.1:{port}/slow", "caBundle": hooks.bundle}
        error = await failure(caller, client, seconds=0.1)
        left.set()
    assert error.message.endswith('/slow?timeout=1s": context deadline exceeded')


async def test_nobody_listening(caller: Caller, hooks: Any) -> None:
    error = await failure(caller, {"url": f"https://127.0.0.1:{free_port()}", "caBundle": hooks.bundle})
    assert error.message.endswith(": dial tcp: connect: connection refused")


async def test_another_endpoint_answers_for_one_that_cannot_be_reached(
    caller: Caller, hooks: Any, reader: Any, hook: Hook
) -> None:
    dead = free_port()
    async with hooks.serving(hook) as port:
        reader.service("hook", port=443, endpoints=[("127.0.0.1", dead), ("127.0.0.1", port)])
        for _ in range(20):
            assert await caller.call(hooks.of_service("hook"), {}, timeout_seconds=30) == {"echo": {}}


async def test_answers_that_are_none(caller: Caller, hooks: Any, hook: Hook) -> None:
    async with hooks.serving(hook) as port:
        client = {"url": f"https://127.0.0.1:{port}/x", "caBundle": hooks.bundle}
        hook.answer = Response(status=404, body=b"404 page not found")
        error = await failure(caller, client)
        assert (error.message, error.code) == (
            "failed to call webhook: the server could not find the requested resource",
            404,
        )
        hook.answer = Response(status=500, body=b"boom")
        error = await failure(caller, client)
        assert error.message == (
            'failed to call webhook: an error on the server ("boom") has prevented the request from succeeding'
        )
        hook.answer = error_response(Forbidden("not you"))
        assert (await failure(caller, client)).message == "failed to call webhook: not you"
        for body in (b"hello", b"[]"):
            hook.answer = Response(body=body)
            assert "couldn't get version/kind; json parse error" in (await failure(caller, client)).message


async def test_transports_are_bounded_and_closed(hooks: Any) -> None:
    opened: list[str] = []
    closed: list[str] = []

    class Fake:
        def __init__(self, server: str) -> None:
            self.server = server
            opened.append(server)

        async def send(self, request: Request) -> Response:
            return Response(body=b"{}")

        async def connect(self, request: Request, *, protocols: Any) -> Any:
            raise NotImplementedError

        async def close(self) -> None:
            closed.append(self.server)

    caller = Caller(hooks, connect=lambda target: Fake(target.server))
    for number in range(_MOST_TRANSPORTS + 3):
        await caller.call({"url": f"https://h{number}"}, {}, timeout_seconds=1)
    assert closed == ["https://h0", "https://h1", "https://h2"]
    await caller.call({"url": "https://h5"}, {}, timeout_seconds=1)
    assert len(opened) == _MOST_TRANSPORTS + 3
    await caller.close()
    assert sorted(closed) == sorted(opened)
