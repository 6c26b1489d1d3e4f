"""By whom client certificates are signed, as programs that serve an API of their own read it."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pybernetes.apiserver import ApiServer, ApiServerConfig
from pybernetes.apiserver.published_trust import joined, published
from support.server import api_server
from support.trust import AUTHORITY, authority

from .conftest import call_of

NOW = datetime.now(UTC)
TRUST = "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication"


def test_the_authorities_of_several_servers_stand_side_by_side() -> None:
    other = authority(days=2)
    both = joined(published(other), published(AUTHORITY), now=NOW)
    assert both["data"] == {"client-ca-file": other + AUTHORITY}
    assert joined(both, published(AUTHORITY), now=NOW) == both


def test_an_authority_that_is_over_goes() -> None:
    old = authority(days=1)
    new = authority(days=3)
    assert joined(published(old), published(new), now=NOW + timedelta(days=2))["data"] == {"client-ca-file": new}


@pytest.mark.parametrize("data", [None, {}, {"client-ca-file": "no PEM"}])
def test_what_is_no_authority_is_replaced(data: dict[str, str] | None) -> None:
    found = published(AUTHORITY) | {"data": data}
    assert joined(found, published(AUTHORITY), now=NOW)["data"] == {"client-ca-file": AUTHORITY}


def test_what_a_proxy_has_there_stays() -> None:
    found = published(AUTHORITY)
    found["data"]["requestheader-allowed-names"] = '["front"]'
    assert joined(found, published(AUTHORITY), now=NOW) == found


async def test_a_server_publishes_its_authority_and_its_reader_reads_it(tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_text(AUTHORITY)
    async with api_server(config=ApiServerConfig(client_ca=str(tmp_path / "ca.crt"))) as server:
        code, found = await call_of(server, "system:kube-scheduler", "system:authenticated")("GET", TRUST)
        assert (code, found["data"]) == (200, {"client-ca-file": AUTHORITY})
        assert (await call_of(server, "somebody", "system:authenticated")("GET", TRUST))[0] == 403


async def test_a_server_without_one_publishes_nothing(server: ApiServer) -> None:
    assert (await call_of(server)("GET", TRUST))[0] == 404
