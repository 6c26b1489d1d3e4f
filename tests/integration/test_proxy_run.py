"""The whole proxy, from the model of the API to the kernel: what is written is what answers, also across a restart."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from pybernetes.api.resources import ENDPOINT_SLICES, SERVICES
from pybernetes.client import Client
from pybernetes.netlink.links import Links
from pybernetes.proxy import Proxy
from support import kernel
from support.fake_api import FakeApi
from support.proxy_cases import FOUR, endpoints, port, service
from support.proxy_net import Net, network

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(bool(kernel.missing()), reason=f"needs {kernel.missing()}")]

AT_NODE = (FOUR.hosts["node-1"], 30080)


@pytest.fixture(scope="module")
def net() -> Iterator[Net]:
    with network() as made:
        yield made


@asynccontextmanager
async def running(net: Net, api: FakeApi, **settings: Any) -> AsyncIterator[Proxy]:
    proxy = Proxy(Client(api), replace(net.config(FOUR, "node-1"), **settings))
    task = asyncio.create_task(proxy.run())
    try:
        await asyncio.wait_for(proxy.synced.wait(), 60)
        yield proxy
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


def put(api: FakeApi, *pods: str) -> str:
    """The revision of the new slice."""
    api.put(SERVICES, service(FOUR, "web", 20, port(80, name="http", node_port=30080)))
    made = api.put(ENDPOINT_SLICES, endpoints(FOUR, "web", pods, ("http", 8080)))
    return str(made["metadata"]["resourceVersion"])


async def answers(net: Net, caller: str = "outside", to: tuple[str, int] = AT_NODE) -> set[str]:
    def call() -> set[str]:
        return {net.call(caller, *to)[0] for _ in range(50)}

    return await asyncio.to_thread(call)


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(60):
        while not await holds():
            await asyncio.sleep(0.01)


async def test_what_is_written_answers(net: Net) -> None:
    api = FakeApi()
    async with running(net, api) as proxy:
        assert await answers(net, "pod-1b", (FOUR.service(20), 80)) == {"refused"}
        for pods in (("pod-1a",), ("pod-1a", "pod-2a"), ("pod-2a",)):
            revision = put(api, *pods)

            async def applied(revision: str = revision) -> bool:
                return proxy.applied.endpoint_slices == revision

            await until(applied)
            assert await answers(net) == set(pods)
            assert await answers(net, "pod-1b", (FOUR.service(20), 80)) == set(pods)
        assert proxy.healthy
    assert await answers(net) == {"pod-2a"}  # stopped: the rules stay
    put(api, "pod-1b")
    async with running(net, api):
        assert await answers(net) == {"pod-1b"}


async def test_node_ports_follow_the_addresses_that_are_in_the_ranges(net: Net) -> None:
    api, later = FakeApi(), ("172.30.0.21", 30080)
    put(api, "pod-1a", "pod-2a")
    settings = {"node_port_addresses": ("172.30.0.16/28",), "check_seconds": 3600}
    async with running(net, api, **settings) as proxy:
        assert await answers(net) == {"refused"}  # its address is not in the range
        with Links(net.paths["node-1"]) as links:
            links.add_address("eth0", later[0] + "/24")
            try:
                async with asyncio.timeout(60):
                    while proxy.node_addresses != (later[0],):
                        await asyncio.sleep(0.01)
                assert await answers(net, to=later) == {"pod-1a", "pod-2a"}
                assert await answers(net, "pod-1b", later) == {"pod-1a", "pod-2a"}
                assert await answers(net) == {"refused"}
            finally:
                links.delete_address("eth0", later[0] + "/24")
        async with asyncio.timeout(60):
            while proxy.node_addresses:
                await asyncio.sleep(0.01)
        assert proxy.healthy
    with Links(net.paths["node-1"]) as links:
        links.add_address("eth0", later[0] + "/24")
        try:
            assert await answers(net, to=later) == {"refused"}  # nothing was left for it in the kernel
        finally:
            links.delete_address("eth0", later[0] + "/24")


async def test_a_namespace_that_is_not_there_is_said(net: Net) -> None:
    config = net.config(FOUR, "node-1")
    proxy = Proxy(Client(FakeApi()), type(config)(node_name="node-1", namespace="/run/netns/pybtest-none"))
    with pytest.raises(FileNotFoundError):
        await proxy.run()
