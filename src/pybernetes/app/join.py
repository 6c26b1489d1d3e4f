"""A machine becomes a node: from a bootstrap token to identities of its own, as kubeadm and the kubelet do it.

1. The API server shows its authority, and is believed when the hash is the one given; only then the token is sent.
2. cluster-info, signed by the token, says where the cluster is (or a bootstrap kubeconfig says it).
3. The kubelet's certificate is asked for with the token; it is approved by the right `nodeclient`.
4. With it, those of the proxy and DNS are; and what every node of the cluster is told.
"""

import asyncio
import contextlib
import logging
import platform
import socket
import ssl
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import msgspec
import yaml

from pybernetes.aio.backoff import Backoff
from pybernetes.api.bootstrap_tokens import CLUSTER_INFO
from pybernetes.api.errors import ApiError, NotFound
from pybernetes.api.objects import Key, condition_is
from pybernetes.api.resources import CONFIG_MAPS, NODES
from pybernetes.client import BadKubeconfig, Client, Kubeconfig, kubeconfig
from pybernetes.kubelet.certificates import Refused, Wanted, facts_or_none, obtain

from . import connect
from .config import AgentConfig, ConfigError, NodeConfig, endpoint
from .node_identity import NODE_CONFIG_FILE, PARTS, kubeconfig_path, wanted_of

log = logging.getLogger(__name__)

NODE_CONFIG = Key("kube-system", "pybernetes-node")
PATIENCE_SECONDS = 300.0
"""So long a server that cannot be reached is tried again (kubeadm's discovery timeout)."""


class CannotJoin(ConfigError):
    """Trying again would not help; the text says what to do."""


async def prepared(config: AgentConfig) -> AgentConfig:
    """The whole configuration of a node, after joining if it must. Raises ConfigError."""
    config = msgspec.structs.replace(
        config,
        node_name=config.node_name or platform.node().lower(),
        identities=config.identities or f"{config.state_directory}/pki",
    )
    if not _has_identity(config):
        if not (config.join or config.bootstrap_kubeconfig):
            raise ConfigError(
                f"{config.identities}: no valid identity of node {config.node_name!r}; to join a cluster, run what "
                "`pybernetes token create --print-join-command` prints there"
            )
        await _patiently(config)
    return settled(config)


def settled(config: AgentConfig) -> AgentConfig:
    """With what the cluster said when the node joined, where nothing else is configured; and the node's address."""
    path = Path(config.identities) / NODE_CONFIG_FILE
    told = NodeConfig.load(path if path.exists() else None, {})
    if not config.node_address:
        server = kubeconfig.load(kubeconfig_path(config, "kubelet")).server
        config = msgspec.structs.replace(config, node_address=address_towards(server))
    return with_told(config, told)


def with_told(config: AgentConfig, told: NodeConfig) -> AgentConfig:
    """What is configured goes over what the cluster told."""
    return msgspec.structs.replace(
        config,
        cluster_pod_range=config.cluster_pod_range or told.cluster_pod_range,
        service_range=config.service_range or told.service_range,
        cluster_domain=config.cluster_domain or told.cluster_domain,
        dns_address=config.dns_address or told.dns_address,
    )


def address_towards(server: str) -> str:
    """This machine's address on the way to a server's URL; nothing is sent. Raises ConfigError."""
    host, port = endpoint(server.partition("://")[2])
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((host, port))
            return str(probe.getsockname()[0])
    except OSError as error:
        raise ConfigError(f"no address towards {server} ({error}); name one by --node-address") from error


def _has_identity(config: AgentConfig) -> bool:
    """Whether every part has a certificate that is valid for it."""
    try:
        for part in PARTS:
            facts = facts_or_none(kubeconfig.load(kubeconfig_path(config, part)).certificate)
            if facts is None or facts.until <= time.time() or facts.user != wanted_of(config.node_name, part).user:
                return False
    except (OSError, BadKubeconfig):
        return False
    return True


async def _patiently(config: AgentConfig) -> None:
    """Join; a server that is not there yet is waited for."""
    backoff = Backoff(first=1.0, limit=10.0)
    deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
    while True:
        try:
            await join(config)
            return
        except CannotJoin:
            raise
        except (Refused, ApiError) as error:
            raise CannotJoin(f"node {config.node_name!r} cannot join: {error}") from error
        except (ConnectionError, TimeoutError, OSError) as error:
            if asyncio.get_running_loop().time() > deadline:
                raise CannotJoin(f"node {config.node_name!r} cannot join: {error}") from error
            log.warning("waiting for the API server error=%r", error)
        await asyncio.sleep(backoff.next())


async def join(config: AgentConfig) -> None:
    """Get what is missing of a node's identities. Raises CannotJoin, Refused, ApiError, OSError, ssl.SSLError."""
    start = await bootstrap_of(config)
    async with _client(start) as bootstrapper:
        await _refuse_a_namesake(bootstrapper, config.node_name)
        own = await _identity(bootstrapper, start, wanted_of(config.node_name, "kubelet"))
    async with _client(own) as kubelet:
        found = {part: await _identity(kubelet, own, wanted_of(config.node_name, part)) for part in PARTS[1:]}
        told = await kubelet.get(CONFIG_MAPS, NODE_CONFIG)
    _keep(config, {**found, "kubelet": own}, str(told["data"]["config.yaml"]))
    log.info("joined node=%s server=%s", config.node_name, own.server)


def _keep(config: AgentConfig, identities: Mapping[str, Kubeconfig], told: str) -> None:
    directory = Path(config.identities)
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    (directory / "ca.crt").write_bytes(identities["kubelet"].ca)
    (directory / NODE_CONFIG_FILE).write_text(told)
    for part, identity in identities.items():
        kubeconfig.write(kubeconfig_path(config, part), identity)


async def bootstrap_of(config: AgentConfig) -> Kubeconfig:
    """How to reach the cluster for the first certificate. Raises CannotJoin, ApiError, OSError, ssl.SSLError."""
    if config.bootstrap_kubeconfig:
        try:
            return kubeconfig.load(config.bootstrap_kubeconfig)
        except (OSError, BadKubeconfig) as error:
            raise CannotJoin(f"bootstrap kubeconfig {config.bootstrap_kubeconfig}: {error}") from error
    if not config.token or not config.ca_cert_hashes:
        raise CannotJoin("to join takes --token and --discovery-token-ca-cert-hash, or --bootstrap-kubeconfig")
    return await discovered(config.join, token=config.token, pins=config.ca_cert_hashes)


async def discovered(server: str, *, token: str, pins: tuple[str, ...]) -> Kubeconfig:
    """What cluster-info says, believed by the hash of the authority and by the token's signature."""
    from pybernetes.pki.discovery import SIGNED, authority_of, is_signed, pins_of
    from pybernetes.wire.tls import presented

    host, port = endpoint(server.removeprefix("https://"))
    try:
        authority = authority_of(await asyncio.to_thread(presented, host, port), pins=pins)
    except ssl.SSLError as error:
        raise CannotJoin(f"{server} does not speak TLS: {error}") from error
    except ValueError as error:
        raise CannotJoin(f"{server}: {error}") from error
    first = Kubeconfig(server=f"https://{server.removeprefix('https://')}", ca=authority, token=token)
    async with _client(first) as client:
        try:
            data = (await client.get(CONFIG_MAPS, CLUSTER_INFO)).get("data") or {}
        except ApiError as error:
            raise CannotJoin(f"{server}: the token is not taken: {error}") from error
    content = str(data.get("kubeconfig", ""))
    if not is_signed(content, str(data.get(f"{SIGNED}{token.partition('.')[0]}", "")), token=token):
        raise CannotJoin(f"{server}: cluster-info is not signed by the token (has it the usage `signing`?)")
    cluster = yaml.safe_load(content)["clusters"][0]["cluster"]
    ca = kubeconfig.data_of(cluster, "certificate-authority")
    if not set(pins_of(ca)) & {pin.lower() for pin in pins}:
        raise CannotJoin(f"{server}: cluster-info names another authority than the hash")
    return Kubeconfig(server=str(cluster["server"]), ca=ca, token=token, user="bootstrap")


async def _refuse_a_namesake(client: Client, name: str) -> None:
    """Raises CannotJoin when a node of this name is alive: two would fight over it."""
    try:
        found = await client.get(NODES, Key("", name))
    except NotFound:
        return
    if condition_is(found, "Ready"):
        raise CannotJoin(f"a node {name!r} is in the cluster and Ready; join by another --node-name, or delete it")


async def _identity(client: Client, like: Kubeconfig, wanted: Wanted) -> Kubeconfig:
    held = await obtain(client, wanted)
    return msgspec.structs.replace(like, certificate=held.certificate, key=held.key, token="", user=wanted.user)


@contextlib.asynccontextmanager
async def _client(config: Kubeconfig) -> AsyncIterator[Client]:
    client = Client(connect.transport(config, timeout_seconds=10.0), user_agent="pybernetes-join")
    try:
        yield client
    finally:
        await client.close()
