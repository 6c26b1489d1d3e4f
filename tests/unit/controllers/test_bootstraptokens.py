"""Bootstrap tokens sign cluster-info while they are good, and go when they are over."""

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import yaml

from pybernetes.api import times
from pybernetes.api.errors import NotFound
from pybernetes.api.objects import Key, Obj
from pybernetes.api.resources import CONFIG_MAPS, SECRETS
from pybernetes.apiserver import ApiServer
from pybernetes.client import Client, Informers
from pybernetes.controllers import CONTROLLERS, ControllersConfig
from pybernetes.controllers.bootstraptokens import CLUSTER_INFO, plan
from pybernetes.pki.discovery import signature
from support.control_plane import until
from support.server import MANAGER, api_server, client_of, shared_of

NOW = times.parse("2030-01-01T00:00:00Z")
URL = "https://192.0.2.1:6443"
SECRET = "0123456789abcdef"


def token(name: str = "abcdef", **data: str) -> Obj:
    fields = {"token-id": name, "token-secret": SECRET, "usage-bootstrap-signing": "true"}
    fields |= {key.replace("_", "-"): value for key, value in data.items()}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"namespace": "kube-system", "name": f"bootstrap-token-{name}"},
        "type": "bootstrap.kubernetes.io/token",
        "data": {key: base64.b64encode(value.encode()).decode() for key, value in fields.items()},
    }


class Scene:
    """A server, a client, and the two controllers, whose clock the test sets."""

    def __init__(self, server: ApiServer) -> None:
        self.client: Client = client_of(server)
        self.seconds = NOW
        self.informers = Informers(client_of(server, MANAGER, "system:authenticated"))
        config = ControllersConfig(server=URL, root_ca="PEM")
        shared = shared_of(server, self.informers, config, now=lambda: self.seconds)
        made = [CONTROLLERS[name].made(shared) for name in ("bootstrap-signer", "token-cleaner")]
        self.services = [self.informers, *(one for one in made if one is not None)]

    async def signers(self) -> set[str]:
        try:
            found = await self.client.get(CONFIG_MAPS, CLUSTER_INFO)
        except NotFound:
            return {"nothing"}
        return {key.removeprefix("jws-kubeconfig-") for key in found["data"] if key.startswith("jws-")}

    async def signed_by(self, *names: str) -> None:
        async def so() -> bool:
            return await self.signers() == set(names)

        await until(so)


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    async with api_server() as server:
        made = Scene(server)
        tasks = [asyncio.create_task(one.run()) for one in made.services]
        try:
            yield made
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def test_the_signature_is_to_the_byte_that_of_go_jose() -> None:
    content = "Hello from the other side. I must have called a thousand times."
    assert signature(content, token_id="joshua", secret="my voice is my passcode") == (
        "eyJhbGciOiJIUzI1NiIsImtpZCI6Impvc2h1YSJ9..VShe2taLd-YTrmWuRkcL_8QTNDHYxQIEBsAYYiIj1_8"
    )


def test_the_signature_holds_for_who_knows_the_token() -> None:
    header, empty, mark = signature("x: ü", token_id="abcdef", secret=SECRET).split(".")
    assert json.loads(base64.urlsafe_b64decode(header + "=" * (-len(header) % 4))) == {"alg": "HS256", "kid": "abcdef"}
    payload = base64.urlsafe_b64encode("x: ü".encode()).rstrip(b"=").decode()
    own = hmac.new(SECRET.encode(), f"{header}.{payload}".encode(), hashlib.sha256).digest()
    assert (empty, mark) == ("", base64.urlsafe_b64encode(own).rstrip(b"=").decode())


@pytest.mark.parametrize(
    ("change", "signs"),
    [
        ({}, True),
        ({"expiration": "2030-01-01T00:00:01Z"}, True),
        ({"expiration": "2030-01-01T00:00:00Z"}, False),
        ({"expiration": "soon"}, False),
        ({"usage_bootstrap_signing": "false"}, False),
        ({"token_secret": ""}, False),
        ({"token_id": "other1"}, False),
    ],
)
def test_who_signs(change: dict[str, str], signs: bool) -> None:
    data = {"kubeconfig": "x", "jws-kubeconfig-gone00": "old"}
    changes = plan(data, [token(**change)], NOW)
    assert changes["jws-kubeconfig-gone00"] is None
    assert ("jws-kubeconfig-abcdef" in changes) is signs


def test_what_is_signed_already_is_let_be() -> None:
    data: dict[str, Any] = {"kubeconfig": "x"}
    data |= plan(data, [token()], NOW)
    assert plan(data, [token()], NOW) == {}
    assert plan({"other": "x"}, [token()], NOW) == {}
    assert set(plan(data | {"kubeconfig": "y"}, [token()], NOW)) == {"jws-kubeconfig-abcdef"}


async def test_cluster_info_says_where_the_cluster_is(scene: Scene) -> None:
    await scene.signed_by()
    found = await scene.client.get(CONFIG_MAPS, CLUSTER_INFO)
    config = yaml.safe_load(found["data"]["kubeconfig"])
    assert config["clusters"] == [
        {"name": "", "cluster": {"server": URL, "certificate-authority-data": base64.b64encode(b"PEM").decode()}}
    ]
    assert not config["users"]


async def test_signatures_come_and_go_with_their_tokens(scene: Scene) -> None:
    await scene.client.create(SECRETS, token("aaaaaa"))
    await scene.client.create(SECRETS, token("bbbbbb"))
    await scene.signed_by("aaaaaa", "bbbbbb")
    await scene.client.delete(SECRETS, Key("kube-system", "bootstrap-token-aaaaaa"))
    await scene.signed_by("bbbbbb")
    await scene.client.patch(CONFIG_MAPS, CLUSTER_INFO, {"data": {"kubeconfig": "mine"}})
    wanted = signature("mine", token_id="bbbbbb", secret=SECRET)

    async def anew() -> bool:
        data = (await scene.client.get(CONFIG_MAPS, CLUSTER_INFO))["data"]
        return data == {"kubeconfig": "mine", "jws-kubeconfig-bbbbbb": wanted}

    await until(anew)


async def test_tokens_that_are_over_are_deleted(scene: Scene) -> None:
    await scene.client.create(SECRETS, token("aaaaaa", expiration=times.stamp(NOW - 1)))
    await scene.client.create(SECRETS, token("bbbbbb", expiration=times.stamp(NOW + 1)))
    await scene.client.create(SECRETS, token("cccccc"))
    await scene.client.create(SECRETS, token("dddddd", expiration="soon"))

    async def names() -> list[str]:
        found = await scene.client.list(SECRETS, namespace="kube-system")
        return sorted(one["metadata"]["name"].removeprefix("bootstrap-token-") for one in found.items)

    async def two() -> bool:
        return await names() == ["bbbbbb", "cccccc"]

    async def one() -> bool:
        return await names() == ["cccccc"]

    await until(two)
    await scene.signed_by("bbbbbb", "cccccc")
    scene.seconds = NOW + 2
    await until(one)
    await scene.signed_by("cccccc")
