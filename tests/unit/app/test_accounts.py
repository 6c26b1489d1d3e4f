"""Accounts of controllers that run in a process of their own: made, used, renewed."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from pybernetes.api.errors import Forbidden
from pybernetes.api.objects import Key, name_of
from pybernetes.api.resources import DEPLOYMENTS, SECRETS, SERVICE_ACCOUNTS
from pybernetes.app import accounts
from pybernetes.client import Client, kubeconfig
from pybernetes.controllers import ACCOUNTS
from pybernetes.pki import Authority
from support.server import TlsApi, client_of, tls_api


def manager_of(api: TlsApi) -> tuple[kubeconfig.Kubeconfig, Client]:
    """The manager by a certificate of its own, as the server writes it."""
    from pybernetes.app.connect import transport

    known = kubeconfig.load(api.kubeconfig)
    pair = Authority.ensure(api.authority).issue("controller-manager", user="system:kube-controller-manager")
    config = kubeconfig.Kubeconfig(
        server=known.server,
        ca=known.ca,
        certificate=Path(pair.certificate).read_bytes(),
        key=Path(pair.key).read_bytes(),
    )
    return config, Client(transport(config), user_agent="test")


async def test_each_account_is_made_and_acts_as_itself_until_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with tls_api(tmp_path) as api:
        config, manager = manager_of(api)
        made = accounts.Accounts(config, manager)
        deployments = made.client("deployment-controller")
        assert made.client("deployment-controller") is deployments
        try:
            await made.prepare()
            found = await client_of(api.server).list(SERVICE_ACCOUNTS, namespace="kube-system")
            assert {name_of(one) for one in found.items} >= ACCOUNTS
            await deployments.list(DEPLOYMENTS)
            with pytest.raises(Forbidden, match="system:serviceaccount:kube-system:deployment-controller"):
                await deployments.list(SECRETS)
            await _renewed(made, monkeypatch)
            await client_of(api.server).delete(SERVICE_ACCOUNTS, Key("kube-system", "deployment-controller"))
            await made.prepare()  # one that was deleted is made anew
            await deployments.list(DEPLOYMENTS)
        finally:
            await made.close()
            await manager.close()


async def _renewed(made: accounts.Accounts, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the tokens are due, all are asked anew."""
    monkeypatch.setattr(accounts, "_RETRY_SECONDS", 0.0)
    before: dict[str, Any] = dict(made._tokens)
    made._due = 0.0
    running = asyncio.create_task(made.run())
    async with asyncio.timeout(60):
        while any(made._tokens[name] == before[name] for name in before):
            await asyncio.sleep(0.02)
    running.cancel()
    await asyncio.wait([running])
