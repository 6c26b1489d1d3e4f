"""Health in Kubernetes' text formats, and the deadline of a request."""

import asyncio

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from pybernetes.api.errors import BadRequest, NotFound, Timeout
from pybernetes.apiserver import chain
from pybernetes.apiserver.endpoints.health import Health
from pybernetes.apiserver.route import Route
from pybernetes.wire import Request, Response


def health(trouble: str = "") -> Health:
    return Health(alive={"ping": lambda: "", "etcd": lambda: trouble}, ready={"shutdown": lambda: ""})


def ask(path: str, trouble: str = "", **query: list[str]) -> tuple[int, str]:
    response = health(trouble).serve(Request(path=path, query=query))
    assert isinstance(response.body, bytes)
    return response.status, response.body.decode()


def test_all_is_well() -> None:
    assert ask("/livez") == (200, "ok")
    assert ask("/livez", verbose=[""]) == (200, "[+]ping ok\n[+]etcd ok\nlivez check passed\n")
    assert ask("/readyz", verbose=[""])[1] == "[+]ping ok\n[+]etcd ok\n[+]shutdown ok\nreadyz check passed\n"
    assert ask("/readyz/etcd", verbose=[""]) == (200, "ok")


def test_trouble_is_always_told_in_full_but_not_its_reason() -> None:
    code, text = ask("/healthz", "disk full")
    assert (code, text) == (500, "[+]ping ok\n[-]etcd failed: reason withheld\nhealthz check failed\n")
    assert ask("/healthz/etcd", "disk full") == (500, "internal server error: disk full\n")
    assert ask("/healthz/ping", "disk full") == (200, "ok")


def test_checks_are_excluded() -> None:
    text = '[+]ping ok\n[+]etcd excluded: ok\nwarn: some health checks cannot be excluded: no matches for "x"\n'
    assert ask("/healthz", "bad", exclude=["etcd", "x"], verbose=[""]) == (200, text + "healthz check passed\n")
    assert ask("/healthz", "bad", exclude=["etcd"]) == (200, "ok")


def test_results_are_counted_as_indicators() -> None:
    found = health("disk full")
    for path in ("/livez", "/livez/ping", "/readyz"):
        found.serve(Request(path=path))
    registry = CollectorRegistry()
    registry.register(found)
    text = generate_latest(registry).decode()
    assert 'kubernetes_healthcheck{name="etcd",type="livez"} 0.0' in text
    assert 'kubernetes_healthcheck{name="shutdown",type="readyz"} 1.0' in text
    assert 'kubernetes_healthchecks_total{name="ping",status="success",type="livez"} 2.0' in text
    assert 'kubernetes_healthchecks_total{name="etcd",status="error",type="readyz"} 1.0' in text


def test_an_unknown_check() -> None:
    with pytest.raises(NotFound):
        ask("/healthz/nothing")


async def timed(text: str) -> Response:
    async def handler(request: Request) -> Response:
        await asyncio.Event().wait()
        return Response()

    request = Request(query={"timeout": [text]}, context={"route": Route("get", "/")})
    return await chain.deadline(handler)(request)


@pytest.mark.parametrize("text", ["10ms", "0.01s", "1ms500us", "+1ms", ".001s"])
async def test_a_request_has_the_time_it_asks_for(text: str) -> None:
    with pytest.raises(Timeout, match="Timeout: request did not complete within the allotted timeout"):
        await timed(text)


@pytest.mark.parametrize("text", ["x", "1", "1s x", "s", "-", "1d"])
async def test_a_timeout_that_is_none(text: str) -> None:
    with pytest.raises(BadRequest, match="invalid timeout specified in the request URL"):
        await timed(text)


@pytest.mark.parametrize("text", ["0s", "0", "1h", "-1s", ""])
async def test_the_server_has_the_last_word(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chain, "REQUEST_SECONDS", 0.01)
    with pytest.raises(Timeout):
        await timed(text)
