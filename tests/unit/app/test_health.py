import pytest

from pybernetes.app.health import health_handler
from pybernetes.wire import Request

ASK = {"dns": lambda: True, "proxy": lambda: False}


@pytest.mark.parametrize(
    ("path", "query", "status", "body"),
    [
        ("/healthz", {}, 200, "ok"),
        ("/livez", {}, 200, "ok"),
        ("/livez", {"verbose": [""]}, 200, "[+]ping ok\nlivez check passed\n"),
        ("/readyz", {}, 500, "[+]ping ok\n[+]dns ok\n[-]proxy failed\nreadyz check failed\n"),
        ("/readyz/dns", {}, 200, "ok"),
        ("/readyz/proxy", {}, 500, "[-]proxy failed\nreadyz check failed\n"),
        ("/readyz/nothing", {}, 404, "404 page not found\n"),
        ("/metrics", {}, 404, "404 page not found\n"),
        ("/", {}, 404, "404 page not found\n"),
    ],
)
async def test_answers(path, query, status, body):
    response = await health_handler(ASK)(Request(path=path, query=query))
    assert (response.status, response.body) == (status, body.encode())


async def test_only_reading_is_answered():
    assert (await health_handler(ASK)(Request(method="POST", path="/healthz"))).status == 404


async def test_a_fact_is_shown_as_it_is_now():
    applied = {"services": "7"}
    handler = health_handler(ASK, facts={"applied": lambda: applied})
    applied["services"] = "8"
    response = await handler(Request(path="/applied"))
    assert (response.status, response.body) == (200, b'{"services":"8"}\n')
    assert (await handler(Request(path="/applied/more"))).status == 404
    assert (await handler(Request(method="POST", path="/applied"))).status == 404
