"""A live DNS server on loopback over a fake API with the golden cluster, on asyncio's loop and on uvloop."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
import uvloop

from pybernetes.client import Client
from pybernetes.dns import Dns, DnsConfig
from support.dns_cluster import REVERSE, fill
from support.fake_api import FakeApi

Serve = Callable[..., AbstractAsyncContextManager[Dns]]


_SOCKETS = ("test_forward.py", "test_server.py", "test_transfer.py", "test_upstreams.py")
"""What these are about looks different on each loop."""


def pytest_asyncio_loop_factories(
    config: object, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    factories: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop}
    return factories | ({"uvloop": uvloop.new_event_loop} if item.path.name in _SOCKETS else {})


@pytest.fixture
def api() -> FakeApi:
    return fill(FakeApi())


@pytest.fixture
def serve(api: FakeApi) -> Serve:
    @asynccontextmanager
    async def serving(*, wait: bool = True, **fields: Any) -> AsyncIterator[Dns]:
        settings: dict[str, Any] = {
            "listen": ("127.0.0.1",),
            "port": 0,
            "upstreams": (),
            "reverse_ranges": REVERSE,
            "lameduck_seconds": 0.0,
            "startup_seconds": 60.0 if wait else 0.0,
            # upstreams of this process answer at once, but on a busy machine; who is silent gets less, see `impatient`
            "forward_try_seconds": 30.0,
            "forward_timeout_seconds": 60.0,
        }
        dns = Dns(Client(api), DnsConfig(**(settings | fields)))
        task = asyncio.create_task(dns.run())
        try:
            async with asyncio.timeout(60):
                await dns.server.started.wait()
                if wait:
                    await dns.ready.wait()
            yield dns
        finally:
            task.cancel()
            await asyncio.wait([task])

    return serving
