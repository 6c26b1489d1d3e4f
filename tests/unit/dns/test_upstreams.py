"""Upstreams over TCP and TLS, in the order of the policy, and what becomes of those that fail."""

import asyncio
import random
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import dns.rcode
import pytest

from pybernetes.dns import Dns
from pybernetes.dns.config import Policy
from pybernetes.dns.stream import tls_context
from pybernetes.pki import Authority
from support.dns_world import World, world

from .conftest import Serve
from .test_forward import ask, until

LINES = [f"n{n}.example.com. A 192.0.2.{n}" for n in range(1, 200)]


class Vouched:
    """An authority, and the certificate that it gave to an upstream."""

    def __init__(self, directory: Path) -> None:
        self.authority = Authority.ensure(directory, name="resolvers")
        self.ca = (directory / "ca.crt").read_text()
        pair = self.authority.issue("dns", user="dns", dns=["dns.example"], addresses=["127.0.0.1"], server=True)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(pair.certificate, pair.key)
        self.context.set_alpn_protocols(["dot"])


@pytest.fixture(scope="module")
def vouched(tmp_path_factory: pytest.TempPathFactory) -> Vouched:
    return Vouched(tmp_path_factory.mktemp("resolvers"))


@asynccontextmanager
async def serving(serve: Serve, scheme: str, vouched: Vouched, **fields: Any) -> AsyncIterator[tuple[World, Dns]]:
    """An upstream of a scheme and a server that asks it."""
    async with world(LINES, tls=vouched.context if scheme == "tls" else None) as found:
        text = f"{scheme}://127.0.0.1:{found.port}"
        async with serve(**({"upstreams": (text,), "tls_ca": vouched.ca, "cache_entries": 0} | fields)) as server:
            yield found, server


async def answers(server: Dns, *numbers: int) -> list[str]:
    replies = await asyncio.gather(*(ask(server, f"n{n}.example.com") for n in numbers))
    return [reply.answer[0][0].address if reply.answer else dns.rcode.to_text(reply.rcode()) for reply in replies]


@contextmanager
def impatient(server: Dns, seconds: float = 0.2) -> Iterator[None]:
    """Upstreams that are silent anyway get little time for each try."""
    forwarder = server.resolver.forwarder
    before = forwarder.config
    forwarder.configure(replace(before, forward_try_seconds=seconds))
    try:
        yield
    finally:
        forwarder.configure(before)


@pytest.mark.parametrize("scheme", ["tcp", "tls"])
async def test_one_connection_for_all(serve: Serve, vouched: Vouched, scheme: str) -> None:
    async with serving(serve, scheme, vouched) as (found, server):
        assert await answers(server, *range(1, 41)) == [f"192.0.2.{n}" for n in range(1, 41)]
        assert await answers(server, 41) == ["192.0.2.41"]
        assert (found.connections, len(found.asked)) == (1, 41)
        stream = server.resolver.forwarder.upstreams[0].stream
        assert (stream.opened, stream.asked) == (1, 41)
    await until(lambda: not found.writers)


@pytest.mark.parametrize("scheme", ["tcp", "tls"])
async def test_replies_come_in_any_order(serve: Serve, vouched: Vouched, scheme: str) -> None:
    async with serving(serve, scheme, vouched) as (found, server):
        found.hold = 7
        assert await answers(server, *range(1, 8)) == [f"192.0.2.{n}" for n in range(1, 8)]


@pytest.mark.parametrize("scheme", ["tcp", "tls"])
async def test_a_connection_that_was_closed_costs_no_answer(serve: Serve, vouched: Vouched, scheme: str) -> None:
    async with serving(serve, scheme, vouched) as (found, server):
        assert await answers(server, 1) == ["192.0.2.1"]
        found.hang_up()
        assert await answers(server, 2) == ["192.0.2.2"]
        found.hold = 99
        asked = asyncio.create_task(answers(server, 3))
        await until(lambda: len(found.asked) == 3)
        found.hold = 0
        found.hang_up()
        assert await asked == ["192.0.2.3"], "it was closed with the question under way, and asked again"
        assert server.resolver.forwarder.upstreams[0].fails == 0


async def test_a_connection_that_swallows_questions_is_given_up(serve: Serve, vouched: Vouched) -> None:
    async with serving(serve, "tls", vouched, max_fails=0) as (found, server):
        assert await answers(server, 1) == ["192.0.2.1"]
        found.silent = True
        with impatient(server):
            assert await answers(server, 2) == ["SERVFAIL"]
        found.silent = False
        assert await answers(server, 3) == ["192.0.2.3"]
        assert found.connections >= 2


@pytest.mark.parametrize("name", ["", "#dns.example", "#DNS.Example."])
async def test_the_certificate_is_the_upstreams(serve: Serve, vouched: Vouched, name: str) -> None:
    async with world(LINES, tls=vouched.context) as found:
        upstream = f"tls://127.0.0.1:{found.port}{name}"
        async with serve(upstreams=(upstream,), tls_ca=vouched.ca) as server:
            assert await answers(server, 1) == ["192.0.2.1"]


@pytest.mark.parametrize(
    ("name", "known"), [("#other.example", True), ("", False)], ids=["of another name", "of nobody we know"]
)
async def test_who_cannot_prove_it_is_told_nothing(
    serve: Serve, vouched: Vouched, tmp_path: Path, name: str, known: bool
) -> None:
    Authority.ensure(tmp_path, name="others")
    ca = vouched.ca if known else (tmp_path / "ca.crt").read_text()
    async with world(LINES, tls=vouched.context) as found:
        upstream = f"tls://127.0.0.1:{found.port}{name}"
        async with serve(upstreams=(upstream,), tls_ca=ca) as server:
            assert await answers(server, 1) == ["SERVFAIL"]
            assert server.resolver.forwarder.upstreams[0].fails >= 1
        assert found.asked == []


def test_no_authority() -> None:
    with pytest.raises(ValueError, match="no certificates in PEM"):
        tls_context("-----BEGIN nothing")
    assert tls_context("").verify_mode == ssl.CERT_REQUIRED


@pytest.mark.parametrize("policy", ["random", "round_robin", "sequential"])
async def test_policies(serve: Serve, policy: Policy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pybernetes.dns.forward.random", random.Random(1))
    async with world(LINES) as one, world(LINES) as two, world(LINES) as three:
        all = (one, two, three)
        upstreams = tuple(f"127.0.0.1:{each.port}" for each in all)
        async with serve(upstreams=upstreams, policy=policy, cache_entries=0) as server:
            for n in range(1, 61):
                assert await answers(server, n) == [f"192.0.2.{n}"]
            order = [next(at for at, each in enumerate(all) if f"n{n}.example.com. A" in lowered(each))
                     for n in range(1, 61)]  # fmt: skip
        counts = Counter(order)
        if policy == "sequential":
            assert counts == {0: 60}
        elif policy == "round_robin":
            assert counts == {0: 20, 1: 20, 2: 20}
            assert all_differ(order)
        else:
            assert min(counts[at] for at in range(3)) > 5
            assert not all_differ(order)


def lowered(each: World) -> set[str]:
    return {text.lower().replace(" a", " A") for text in each.asked}


def all_differ(order: list[int]) -> bool:
    """Whether each three in a row are three."""
    return all(len(set(order[at : at + 3])) == 3 for at in range(len(order) - 2))


async def test_who_fails_is_passed_over_until_the_health_check_reaches_it(serve: Serve) -> None:
    async with world(LINES) as good, world(LINES) as bad:
        bad.silent = True
        upstreams = (f"127.0.0.1:{bad.port}", f"127.0.0.1:{good.port}")
        fields = {"policy": "sequential", "health_seconds": 0.02, "cache_entries": 0}
        async with serve(upstreams=upstreams, **fields) as server:
            down = server.resolver.forwarder.upstreams[0]
            with impatient(server, 2.0):  # the good one has to answer in this time
                assert await answers(server, 1) == ["192.0.2.1"]
            await until(lambda: down.down)
            asked = len([text for text in bad.asked if "example" in text.lower()])
            assert await answers(server, *range(2, 12)) == [f"192.0.2.{n}" for n in range(2, 12)]
            assert len([text for text in bad.asked if "example" in text.lower()]) == asked, (
                "clients wait for it no more"
            )
            await until(lambda: down.failed_checks > 0)
            bad.silent = False
            await until(lambda: not down.fails)
            assert ". NS" in bad.asked
            seen = len(good.asked)
            assert await answers(server, 30) == ["192.0.2.30"]
            assert len(good.asked) == seen, "it is the first again"


async def test_when_all_are_down_the_health_check_may_be_what_is_broken(serve: Serve) -> None:
    async with world(LINES) as only:
        only.silent = True
        fields = {"health_seconds": 60.0, "cache_entries": 0}
        async with serve(upstreams=(f"127.0.0.1:{only.port}",), **fields) as server:
            now = 100.0
            forwarder = server.resolver.forwarder
            forwarder.clock = lambda: now
            with impatient(server):
                assert await answers(server, 1) == ["SERVFAIL"]
                assert await answers(server, 2) == ["SERVFAIL"]
            only.silent = False
            assert await answers(server, 3) == ["SERVFAIL"], "failed fast"
            now += 1.1
            assert await answers(server, 4) == ["192.0.2.4"]
            assert await answers(server, 5) == ["192.0.2.5"]
            assert forwarder.all_down >= 2


async def test_max_fails_0_never_gives_up(serve: Serve) -> None:
    async with world(LINES) as only:
        only.silent = True
        fields = {"health_seconds": 60.0, "max_fails": 0, "cache_entries": 0}
        async with serve(upstreams=(f"127.0.0.1:{only.port}",), **fields) as server:
            with impatient(server):
                for n in range(1, 5):
                    assert await answers(server, n) == ["SERVFAIL"]
            only.silent = False
            assert await answers(server, 6) == ["192.0.2.6"]


async def test_the_time_for_all_tries_together_is_bounded(serve: Serve) -> None:
    async with world(LINES) as one, world(LINES) as two:
        one.silent = two.silent = True
        upstreams = (f"127.0.0.1:{one.port}", f"tcp://127.0.0.1:{two.port}")
        async with serve(upstreams=upstreams, forward_timeout_seconds=0.1, forward_try_seconds=3600.0) as server:
            async with asyncio.timeout(60):
                assert await answers(server, 1) == ["SERVFAIL"]
            assert (len(one.asked) > 0) != (len(two.asked) > 0), "the first took all the time"
