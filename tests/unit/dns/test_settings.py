"""The ConfigMap pybernetes-dns: applied while questions come, refused as a whole, undone when it goes."""

import dns.message
import dns.rcode
import pytest

from pybernetes.api.resources import CONFIG_MAPS, EVENTS
from pybernetes.dns import Dns, DnsConfig
from pybernetes.dns.settings import merged
from support.dns_cluster import Z
from support.fake_api import FakeApi

from .conftest import Serve
from .test_forward import ask, until, upstream


def config_map(text: str, **more: str) -> dict[str, object]:
    return {"metadata": {"name": "pybernetes-dns", "namespace": "kube-system"}, "data": {"config.yaml": text, **more}}


async def first(server: Dns, name: str, kind: str = "A") -> str:
    reply = await ask(server, name, kind)
    return f"{dns.rcode.to_text(reply.rcode())} {reply.answer[0][0] if reply.answer else ''}".strip()


async def test_applied_live_and_undone(serve: Serve, api: FakeApi) -> None:
    name = f"web.default.svc.{Z}"
    async with serve() as server:
        assert (await ask(server, name)).answer[0].ttl == 5
        counted = server.resolver.table.tallies
        api.put(CONFIG_MAPS, config_map("ttl: 17\nhosts:\n  192.0.2.9: [box.example, alias.example]\n"))
        await until(lambda: server.config.ttl == 17)
        assert (await ask(server, name)).answer[0].ttl == 17
        assert await first(server, "alias.example") == "NOERROR 192.0.2.9"
        assert await first(server, "box.example", "AAAA") == "NOERROR"
        assert await first(server, "9.2.0.192.in-addr.arpa", "PTR") == "NOERROR box.example."
        assert await first(server, "other.example") == "REFUSED"
        assert server.resolver.table.tallies is counted, "counters never go back"
        api.drop(CONFIG_MAPS, "pybernetes-dns", "kube-system")
        await until(lambda: server.config.ttl == 5)
        assert (await ask(server, name)).answer[0].ttl == 5
        assert await first(server, "alias.example") == "REFUSED"


async def test_there_before_the_start(serve: Serve, api: FakeApi) -> None:
    api.put(CONFIG_MAPS, config_map("ttl: 17"))
    async with serve() as server:
        assert (await ask(server, f"web.default.svc.{Z}")).answer[0].ttl == 17


async def test_a_bad_one_is_refused_and_the_old_one_stays(serve: Serve, api: FakeApi) -> None:
    async with serve(node_name="n1") as server:
        api.put(CONFIG_MAPS, config_map("ttl: 17"))
        await until(lambda: server.config.ttl == 17)
        api.put(CONFIG_MAPS, config_map("ttl: 18\nupstreems: [192.0.2.1]\n"))
        await api.until(lambda: bool(api.of(EVENTS)))
        (event,) = api.of(EVENTS)
        assert (event["type"], event["reason"]) == ("Warning", "InvalidConfiguration")
        assert event["involvedObject"]["name"] == "pybernetes-dns"
        assert "upstreems" in event["message"]
        assert (event["source"]["component"], event["source"]["host"]) == ("pybernetes-dns", "n1")
        assert (await ask(server, f"web.default.svc.{Z}")).answer[0].ttl == 17
        api.put(CONFIG_MAPS, config_map("ttl: 19"))
        await until(lambda: server.config.ttl == 19)


async def test_stub_domains_and_upstreams(serve: Serve, api: FakeApi) -> None:
    async with upstream() as world, upstream() as corp, upstream() as deep, serve() as server:
        text = f"""
            upstreams: ["{world.text}"]
            stubDomains: {{corp.example: ["{corp.text}"], deep.corp.example.: ["{deep.text}"]}}
        """
        api.put(CONFIG_MAPS, config_map(text))
        await until(lambda: bool(server.resolver.forwarder.stubs))
        for name in ("www.example", "corp.example", "a.CORP.example", "a.deep.corp.example", "xcorp.example"):
            assert await first(server, name) == "NOERROR 192.0.2.1"
        asked = [[each.question[0].name.to_text().lower() for each in fake.asked] for fake in (world, corp, deep)]
        assert asked == [["www.example.", "xcorp.example."], ["corp.example.", "a.corp.example."],
                         ["a.deep.corp.example."]]  # fmt: skip
        api.put(CONFIG_MAPS, config_map(f'upstreams: ["{world.text}"]'))
        await until(lambda: not server.resolver.forwarder.stubs)
        await first(server, "corp.example")
        assert len(world.asked) == 3, "what the stub's upstream said is forgotten"


@pytest.mark.parametrize("policy", ["random", "round_robin", "sequential"])
async def test_policies(serve: Serve, policy: str) -> None:
    async with upstream() as one, upstream() as two, serve(upstreams=(one.text, two.text), policy=policy) as server:
        for number in range(40):
            await ask(server, f"n{number}.example")
        counts = (len(one.asked), len(two.asked))
        assert sum(counts) == 40
        if policy == "random":
            assert min(counts) > 0
        else:
            assert counts == ((20, 20) if policy == "round_robin" else (40, 0))


@pytest.mark.parametrize(
    "text",
    ["ttl: -1", "ttl: 3601", "ttl: x", "policy: best", "upstreams: [nowhere]", "upstreams: ['192.0.2.1:99999']", "- 1",
     "hosts: {no.address: [a]}", "hosts: {192.0.2.1: [a..b.%s]}" % ("x" * 64), "stubDomains: {corp: []}", "a: [",
     "stubDomains: {'': [192.0.2.1]}", "tlsCa: nobody", "mixedCase: 1", "maxFails: -1", "forwardTrySeconds: 0",
     "listen: [192.0.2.1]", "staleSeconds: 1.5", "hosts: " + "[" * 20_000, "ttl: 2026-99-99"],
)  # fmt: skip
def test_bad_documents(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        merged(DnsConfig(), config_map(text))


def test_unknown_keys_are_refused() -> None:
    with pytest.raises(ValueError, match="Corefile"):
        merged(DnsConfig(), config_map("", Corefile=".:53 {}"))


def test_what_is_not_given_is_as_started() -> None:
    started = DnsConfig(ttl=9, upstreams=("192.0.2.1",))
    assert merged(started, config_map("")) == started
    assert merged(started, {"metadata": {}}) == started
    assert merged(started, config_map("autopath: false\nnamespaces: [a]")).upstreams == ("192.0.2.1",)


async def test_how_upstreams_are_asked_changes_while_it_serves(serve: Serve, api: FakeApi) -> None:
    async with upstream() as fake, serve(upstreams=(fake.text,), cache_entries=0) as server:
        await ask(server, "a-Name-with-many-letters.example.com")
        assert fake.asked[-1].question[0].name.to_text() != "a-Name-with-many-letters.example.com."
        api.put(CONFIG_MAPS, config_map("mixedCase: false\nmaxFails: 9\n"))
        await until(lambda: not server.config.mixed_case)
        await ask(server, "a-Name-with-many-letters.example.com")
        assert fake.asked[-1].question[0].name.to_text() == "a-Name-with-many-letters.example.com."
        assert [one.max_fails for one in server.resolver.forwarder.upstreams] == [9]
