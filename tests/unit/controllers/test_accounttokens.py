"""Secrets that hold a service account's token: filled, good for the API, and gone with the account."""

import asyncio
import base64
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pybernetes.api.errors import NotFound
from pybernetes.api.objects import Key, Obj, uid_of
from pybernetes.api.resources import SECRETS, SERVICE_ACCOUNTS, TOKEN_REVIEWS
from pybernetes.apiserver import ApiServer, ApiServerConfig
from pybernetes.client import Client, Informers
from pybernetes.controllers import ControllersConfig
from pybernetes.controllers.accounttokens import ACCOUNT_NAME, ACCOUNT_UID, TYPE, AccountTokenController
from pybernetes.controllers.shared import Shared
from pybernetes.pki import Authority
from support.control_plane import until
from support.server import api_server, client_of

SECRET = Key("default", "robot-token")
ROBOT = Key("default", "robot")


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Client]:
    """Of a server that issues tokens, with the controller on it as its own user."""
    keys = Authority.ensure(tmp_path).service_account_keys()
    config = ApiServerConfig(service_account_key=keys.private, service_account_public_key=keys.public)
    async with api_server(config=config) as server:
        services = controller_on(server)
        tasks = [asyncio.create_task(one.run()) for one in services]
        try:
            yield client_of(server)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def controller_on(server: ApiServer) -> tuple[Informers, AccountTokenController]:
    manager = client_of(server, "system:kube-controller-manager", "system:authenticated")
    informers = Informers(manager)
    return informers, AccountTokenController(Shared(manager, informers, ControllersConfig(root_ca="PEM")))


def account() -> Obj:
    meta = {"namespace": ROBOT.namespace, "name": ROBOT.name}
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta}


def secret(**annotations: str) -> Obj:
    meta = {
        "namespace": SECRET.namespace,
        "name": SECRET.name,
        "annotations": {ACCOUNT_NAME: ROBOT.name} | annotations,
    }
    return {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "type": TYPE}


async def filled(client: Client) -> dict[str, str]:
    async def has_token() -> bool:
        return "token" in ((await client.get(SECRETS, SECRET)).get("data") or {})

    await until(has_token)
    data = (await client.get(SECRETS, SECRET))["data"]
    return {key: base64.b64decode(value).decode() for key, value in data.items()}


async def gone(client: Client) -> None:
    async def absent() -> bool:
        try:
            await client.get(SECRETS, SECRET)
        except NotFound:
            return True
        return False

    await until(absent)


async def is_good(client: Client, token: str) -> bool:
    review = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenReview",
        "metadata": {},
        "spec": {"token": token},
    }
    status = (await client.create(TOKEN_REVIEWS, review))["status"]
    assert not status["authenticated"] or status["user"]["username"] == "system:serviceaccount:default:robot"
    return bool(status["authenticated"])


async def test_the_secret_is_filled_and_its_token_good(client: Client) -> None:
    made = await client.create(SERVICE_ACCOUNTS, account())
    await client.create(SECRETS, secret())
    data = await filled(client)
    assert (data["namespace"], data["ca.crt"]) == ("default", "PEM")
    found = await client.get(SECRETS, SECRET)
    assert found["metadata"]["annotations"][ACCOUNT_UID] == uid_of(made)
    assert await is_good(client, data["token"])
    await client.delete(SECRETS, SECRET)
    assert not await is_good(client, data["token"])


async def test_what_is_taken_out_comes_back(client: Client) -> None:
    await client.create(SERVICE_ACCOUNTS, account())
    await client.create(SECRETS, secret())
    data = await filled(client)
    await client.patch(SECRETS, SECRET, {"data": {"token": None, "ca.crt": "eA==", "extra": "eA=="}})
    again = await filled(client)
    assert set(again) == {*data, "extra"}
    assert again["ca.crt"] == "PEM"
    assert await is_good(client, again["token"])
    assert not await is_good(client, data["token"])


async def test_the_secret_goes_with_its_account(client: Client) -> None:
    await client.create(SERVICE_ACCOUNTS, account())
    await client.create(SECRETS, secret())
    token = (await filled(client))["token"]
    await client.delete(SERVICE_ACCOUNTS, ROBOT)
    await gone(client)
    assert not await is_good(client, token)


@pytest.mark.parametrize("there", [True, False])
async def test_a_secret_of_no_account_or_of_another_one_goes(client: Client, there: bool) -> None:
    if there:
        await client.create(SERVICE_ACCOUNTS, account())
    await client.create(SECRETS, secret(**{ACCOUNT_UID: "00000000-0000-0000-0000-000000000000"}))
    await gone(client)
