"""A running server, and a caller that speaks HTTP to it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from pybernetes.api.objects import decode, encode
from pybernetes.apiserver import ApiServer
from pybernetes.wire import Request
from support.server import api_server

Call = Callable[..., Awaitable[tuple[int, Any]]]


@pytest.fixture
async def server() -> AsyncIterator[ApiServer]:
    async with api_server() as running:
        await call_of(running)("POST", "/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "default"}})
        yield running


def call_of(server: ApiServer, user: str = "admin", *groups: str) -> Call:
    """call(method, path?query, body, content type, **headers) -> (code, decoded body)."""
    transport = server.trusted(user, *(groups or ("system:masters",)))

    async def call(
        method: str, target: str, body: Any = None, content: str = "application/json", **headers: str
    ) -> Any:
        path, _, query = target.partition("?")
        pairs = [one.partition("=") for one in query.split("&") if one]
        data = body if isinstance(body, bytes) else b"" if body is None else encode(body)
        request = Request(
            method=method,
            path=path,
            query={name: [value] for name, _, value in pairs},
            headers={"content-type": content} | {name.replace("_", "-"): value for name, value in headers.items()},
            body=data,
        )
        response = await transport.send(request)
        assert isinstance(response.body, bytes)
        call.headers = response.headers  # type: ignore[attr-defined]
        kind = response.headers.get("content-type", "")
        return response.status, decode(response.body) if "json" in kind and response.body else response.body

    return call


@pytest.fixture
def call(server: ApiServer) -> Call:
    """As an administrator."""
    return call_of(server)
