"""A machine joins over a real API with TLS: what it is given, what it refuses to believe."""

import asyncio
import json
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from cryptography import x509

from pybernetes.api.bootstrap_tokens import PREFIX
from pybernetes.api.errors import NotFound
from pybernetes.api.objects import Key
from pybernetes.api.resources import CERTIFICATE_SIGNING_REQUESTS, CONFIG_MAPS, NODES, SECRETS, SERVICES
from pybernetes.app import connect, tokens
from pybernetes.app.config import AgentConfig, ConfigError, NodeConfig
from pybernetes.app.join import CannotJoin, discovered, join, prepared
from pybernetes.app.main import main
from pybernetes.app.node_identity import PARTS, kubeconfig_path, renewal
from pybernetes.client import Client, Informers, kubeconfig
from pybernetes.controllers import CONTROLLERS, ControllersConfig
from pybernetes.kubelet.certificates import facts_or_none
from pybernetes.pki import Authority
from pybernetes.pki.discovery import pins_of
from support.control_plane import until
from support.server import MANAGER, TlsApi, client_of, shared_of, tls_api

TOKEN = "abcdef.0123456789abcdef"
TOLD = NodeConfig(service_range="10.9.0.0/16", cluster_domain="example.test")


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[TlsApi]:
    """With the controllers that a joining node needs."""
    async with tls_api(tmp_path / "server") as running:
        informers = Informers(client_of(running.server, MANAGER, "system:authenticated"))
        config = ControllersConfig(
            authority=str(running.authority),
            server=running.url,
            root_ca=(running.authority / "ca.crt").read_text(),
            node_config=TOLD.dump(),
        )
        shared = shared_of(running.server, informers, config)
        parts = [CONTROLLERS[name].made(shared) for name in ("certificate", "bootstrap-signer", "node-config")]
        tasks = [asyncio.create_task(one.run()) for one in (informers, *parts) if one is not None]
        try:
            await put_token(running)
            yield running
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def put_token(api: TlsApi, **data: str) -> None:
    admin = client_of(api.server)
    secret = tokens.token_secret(TOKEN, seconds=0, description="", now=0.0)
    secret["stringData"] |= {key.replace("_", "-"): value for key, value in data.items()}
    await admin.create(SECRETS, secret)

    async def signed() -> bool:
        try:
            found = await admin.get(CONFIG_MAPS, Key("kube-public", "cluster-info"))
            await admin.get(CONFIG_MAPS, Key("kube-system", "pybernetes-node"))
        except NotFound:
            return False
        return "jws-kubeconfig-abcdef" in found["data"]

    if data.get("usage_bootstrap_signing") != "false":
        await until(signed)


def pin(api: TlsApi) -> str:
    return pins_of((api.authority / "ca.crt").read_bytes())[0]


def config(api: TlsApi, tmp_path: Path, **fields: Any) -> AgentConfig:
    given: dict[str, Any] = {
        "node_name": "joiner",
        "join": api.url.removeprefix("https://"),
        "token": TOKEN,
        "ca_cert_hashes": (pin(api),),
        "state_directory": str(tmp_path / "node"),
    }
    return AgentConfig(**given | fields)


async def test_a_machine_becomes_a_node(api: TlsApi, tmp_path: Path) -> None:
    whole = await prepared(config(api, tmp_path))
    assert whole.identities == str(tmp_path / "node/pki")
    assert (whole.node_address, whole.service_range, whole.cluster_domain) == (
        "127.0.0.1",
        "10.9.0.0/16",
        "example.test",
    )
    users = {part: facts_or_none(kubeconfig.load(kubeconfig_path(whole, part)).certificate) for part in PARTS}
    assert {part: facts and facts.user for part, facts in users.items()} == {
        "kubelet": "system:node:joiner",
        "proxy": "system:kube-proxy",
        "dns": "system:kube-dns",
    }
    for part in PARTS:
        assert stat.S_IMODE(kubeconfig_path(whole, part).stat().st_mode) == 0o600
    proxy = connect.client(kubeconfig_path(whole, "proxy"), user_agent="test")
    try:
        assert (await proxy.list(SERVICES)).items
    finally:
        await proxy.close()


async def test_who_has_joined_needs_no_token_again(api: TlsApi, tmp_path: Path) -> None:
    first = await prepared(config(api, tmp_path))
    again = await prepared(config(api, tmp_path, join="", token="", ca_cert_hashes=()))
    assert again.node_address == first.node_address
    requests = await client_of(api.server).list(CERTIFICATE_SIGNING_REQUESTS)
    assert len(requests.items) == 3


async def test_a_bootstrap_kubeconfig_does_as_well(api: TlsApi, tmp_path: Path) -> None:
    path = tmp_path / "bootstrap.kubeconfig"
    ca = (api.authority / "ca.crt").read_bytes()
    kubeconfig.write(path, kubeconfig.Kubeconfig(server=api.url, ca=ca, token=TOKEN))
    plain = config(api, tmp_path, join="", token="", ca_cert_hashes=(), bootstrap_kubeconfig=str(path))
    assert (await prepared(plain)).node_address == "127.0.0.1"


async def test_another_authority_is_not_believed_and_does_not_get_the_token(api: TlsApi, tmp_path: Path) -> None:
    asked: list[str] = []
    Authority.ensure(tmp_path / "other")
    wrong = pins_of((tmp_path / "other/ca.crt").read_bytes())
    handler = api.server._authenticator.bearer

    def spy(token: str, **named: Any) -> Any:
        asked.append(token)
        return handler(token, **named)

    api.server._authenticator.bearer = spy  # type: ignore[method-assign]
    with pytest.raises(CannotJoin, match="does not show an authority of the given hash"):
        await discovered(api.url, token=TOKEN, pins=tuple(wrong))
    assert asked == []


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"token": "abcdef.0123456789abcdee"}, "the token is not taken"),
        ({"token": ""}, "--token and --discovery-token-ca-cert-hash"),
        ({"ca_cert_hashes": ()}, "--token and --discovery-token-ca-cert-hash"),
        ({"join": "", "bootstrap_kubeconfig": "/nowhere"}, "/nowhere"),
    ],
)
async def test_what_cannot_join_says_why(api: TlsApi, tmp_path: Path, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(CannotJoin, match=message):
        await prepared(config(api, tmp_path, **fields))


async def test_without_identity_or_token_the_way_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="print-join-command"):
        await prepared(AgentConfig(state_directory=str(tmp_path)))


async def test_cluster_info_must_be_signed_by_the_token(api: TlsApi, tmp_path: Path) -> None:
    admin = client_of(api.server)
    patch = {"stringData": {"usage-bootstrap-signing": "false"}}
    await admin.patch(SECRETS, Key("kube-system", f"{PREFIX}abcdef"), patch)

    async def unsigned() -> bool:
        found = await admin.get(CONFIG_MAPS, Key("kube-public", "cluster-info"))
        return "jws-kubeconfig-abcdef" not in found["data"]

    await until(unsigned)
    with pytest.raises(CannotJoin, match="not signed by the token"):
        await prepared(config(api, tmp_path))


async def test_a_living_namesake_is_left_alone(api: TlsApi, tmp_path: Path) -> None:
    admin = client_of(api.server)
    ready = {"type": "Ready", "status": "True"}
    await admin.create(NODES, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "joiner"}})
    await admin.patch(NODES, Key("", "joiner"), {"status": {"conditions": [ready]}}, subresource="status")
    with pytest.raises(CannotJoin, match="'joiner' is in the cluster and Ready"):
        await join(await _named(api, tmp_path))


async def _named(api: TlsApi, tmp_path: Path) -> AgentConfig:
    return config(api, tmp_path, identities=str(tmp_path / "pki"))


async def test_a_renewed_certificate_is_kept_and_shown_and_watches_stay(api: TlsApi, tmp_path: Path) -> None:
    whole = await prepared(config(api, tmp_path))
    path = kubeconfig_path(whole, "kubelet")
    before = kubeconfig.load(path).certificate
    transport = connect.transport(kubeconfig.load(path))
    client = Client(transport, user_agent="test")
    rotation = renewal(whole, "kubelet", client=client, transport=transport)
    assert rotation.seconds_left() > 0
    rotation.clock = lambda: x509.load_pem_x509_certificate(before).not_valid_after_utc.timestamp()
    assert rotation.seconds_left() == 0.0
    try:
        async with client.watch(NODES, fields="metadata.name=joiner") as events:
            running = asyncio.create_task(rotation.run())

            async def renewed() -> bool:
                return kubeconfig.load(path).certificate != before

            await until(renewed)
            rotation.clock = lambda: 0.0
            running.cancel()
            await asyncio.wait([running])
            mine = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "joiner"}}
            await client.create(NODES, mine)  # a new connection, with the new certificate
            async for event in events:
                if event.type == "ADDED":
                    break
    finally:
        await client.close()
    found = facts_or_none(kubeconfig.load(path).certificate)
    assert found is not None
    assert found.user == "system:node:joiner"


def test_the_join_command_is_printed_and_tokens_are_listed_and_deleted(tmp_path: Path) -> None:
    """The commands run their own loop, so the server has one in a thread."""
    done = _commands(tmp_path)
    assert done["created"].startswith("pybernetes agent --join 127.0.0.1:")
    words = done["created"].split()
    assert words[words.index("--discovery-token-ca-cert-hash") + 1] == done["pin"]
    assert tokens.TOKEN.fullmatch(words[words.index("--token") + 1])
    assert "23h59m" in done["list"]
    assert "authentication,signing" in done["list"]
    assert "deleted" in done["deleted"]
    assert "there is no token" in done["again"]


def _commands(tmp_path: Path) -> dict[str, str]:
    found: dict[str, str] = {}

    async def serve() -> None:
        async with tls_api(tmp_path) as api:
            info = {"clusters": [{"cluster": {"server": api.url, "certificate-authority-data": _ca(api)}}]}
            body = {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"namespace": "kube-public", "name": "cluster-info"},
                "data": {"kubeconfig": json.dumps(info)},
            }
            await client_of(api.server).create(CONFIG_MAPS, body)
            found["pin"] = pin(api)

            def run(*argv: str) -> str:
                return str(CliRunner().invoke(main, ["token", *argv, "--kubeconfig", api.kubeconfig]).output)

            found["created"] = await asyncio.to_thread(run, "create", "--print-join-command")
            value = found["created"].split("--token ")[1].split()[0]
            found["list"] = await asyncio.to_thread(run, "list")
            found["deleted"] = await asyncio.to_thread(run, "delete", value)
            found["again"] = await asyncio.to_thread(run, "delete", value)

    asyncio.run(serve())
    return found


def _ca(api: TlsApi) -> str:
    import base64

    return base64.b64encode((api.authority / "ca.crt").read_bytes()).decode()


@pytest.mark.parametrize(("text", "seconds"), [("24h", 86400), ("90m", 5400), ("1h30m", 5400), ("0", 0), ("10s", 10)])
def test_times(text: str, seconds: int) -> None:
    assert tokens.seconds_of(text) == seconds


@pytest.mark.parametrize("argv", [("create", "--ttl", "soon"), ("create", "--ttl", ""), ("create", "ABC.def")])
def test_what_is_no_token_and_no_time_is_a_message(argv: tuple[str, ...]) -> None:
    assert CliRunner().invoke(main, ["token", *argv]).exit_code == 2
