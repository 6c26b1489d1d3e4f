"""Controllers and scheduler as clients of the API: inside the server, or each in a process of its own.

Alone they elect a leader by Lease (kube-system/kube-controller-manager, kube-scheduler), so that several may stand by.
"""

import platform
import uuid
from collections.abc import Awaitable, Callable
from typing import Protocol

from pybernetes.aio.logs import setup_logging
from pybernetes.aio.process import run_forever
from pybernetes.aio.supervise import Fatal, supervise
from pybernetes.api import ranges
from pybernetes.api.objects import Key
from pybernetes.client import BadKubeconfig, Client, kubeconfig
from pybernetes.control.lease import LeaderElection, LostLease
from pybernetes.wire.serve import Server

from . import connect
from .accounts import Accounts
from .config import ComponentConfig, ConfigError, ControllerManagerConfig, NodeConfig, ServerConfig, endpoint
from .health import health_handler

LEASES = "kube-system"


class Service(Protocol):
    async def run(self) -> None: ...


def controllers(
    client: Client,
    config: ServerConfig | ControllerManagerConfig,
    *,
    server: str,
    root_ca: str,
    authority: str = "",
    accounts: Callable[[str], Client] | None = None,
) -> Service:
    """All controllers of the table; each writes as an account of its own when `accounts` gives its client."""
    from pybernetes.controllers import Controllers, ControllersConfig

    settings = ControllersConfig(
        cluster_cidr=config.pod_range,
        server=server,
        root_ca=root_ca,
        authority=authority,
        dns_address=config.dns_address or ",".join(ranges.nth(config.service_range, 10)),
        node_grace_seconds=config.node_grace_seconds,
        node_config=node_config(config).dump(),
    )
    return Controllers(client, settings, accounts=accounts)


def node_config(config: ServerConfig | ControllerManagerConfig) -> NodeConfig:
    return NodeConfig(
        cluster_pod_range=config.pod_range,
        service_range=config.service_range,
        cluster_domain=config.cluster_domain,
        dns_address=config.dns_address,
    )


def scheduler(client: Client) -> Service:
    from pybernetes.scheduler import Scheduler

    return Scheduler(client)


def run_controller_manager(config: ControllerManagerConfig) -> None:
    """Until SIGTERM. Raises ConfigError."""
    name = "kube-controller-manager"
    client = _client(config, name)
    known = kubeconfig.load(config.kubeconfig)
    root_ca = (known.ca or b"").decode()
    accounts = Accounts(known, client)

    async def work() -> None:
        await accounts.prepare()
        manager = controllers(
            client,
            config,
            server=known.server,
            root_ca=root_ca,
            authority=config.cluster_signing_directory,
            accounts=accounts.client,
        )
        try:
            await supervise(manager, accounts)
        finally:
            await accounts.close()

    run_alone(config, name, client, work)


def run_scheduler(config: ComponentConfig) -> None:
    """Until SIGTERM. Raises ConfigError."""
    client = _client(config, "kube-scheduler")
    run_alone(config, "kube-scheduler", client, lambda: scheduler(client).run())


def _client(config: ComponentConfig, name: str) -> Client:
    try:
        return connect.client(config.kubeconfig, user_agent=name)
    except (OSError, BadKubeconfig) as error:
        raise ConfigError(f"kubeconfig {config.kubeconfig}: {error}") from error


def run_alone(config: ComponentConfig, name: str, client: Client, work: Callable[[], Awaitable[None]]) -> None:
    """One component as a process: its health endpoint, its election, its work."""
    setup_logging(config.log_level, format=config.log_format)
    run_forever(_serve(config, name, client, work))


async def _serve(config: ComponentConfig, name: str, client: Client, work: Callable[[], Awaitable[None]]) -> None:
    identity = f"{platform.node()}_{uuid.uuid4()}"
    election = LeaderElection(client, Key(LEASES, name), identity=identity)
    health = Server(health_handler({}), listen=[endpoint(config.health)])
    try:
        await health.start()
    except OSError as error:
        raise Fatal(str(error)) from error
    try:
        await supervise(health, _Elected(election, work) if config.leader_elect else _Working(work))
    finally:
        await client.close()


class _Working:
    def __init__(self, work: Callable[[], Awaitable[None]]) -> None:
        self._work = work

    async def run(self) -> None:
        await self._work()


class _Elected:
    """Work while the Lease is held; without it the process ends, as Kubernetes' components do, and is started anew."""

    def __init__(self, election: LeaderElection, work: Callable[[], Awaitable[None]]) -> None:
        self._election = election
        self._work = work

    async def run(self) -> None:
        try:
            await self._election.run(self._work)
        except LostLease as error:
            raise Fatal(f"leaderelection lost: {error}") from error
