"""Composition of the control plane: store, API server, controllers and scheduler in one process."""

import contextlib
from collections.abc import AsyncIterator
from ipaddress import ip_network
from pathlib import Path

from pybernetes.aio.logs import setup_logging
from pybernetes.aio.process import run_forever
from pybernetes.aio.supervise import Fatal, supervise
from pybernetes.apiserver import ApiServer, ApiServerConfig
from pybernetes.client import Client
from pybernetes.store import Unavailable
from pybernetes.store.memory import MemoryStore
from pybernetes.store.sqlite import SqliteStore
from pybernetes.wire.serve import Server
from pybernetes.wire.tls import TlsFiles

from .config import ServerConfig
from .identities import ServerIdentities, server_identities


def run(config: ServerConfig) -> None:
    """Serve until SIGTERM."""
    setup_logging(config.log_level, format=config.log_format)
    run_forever(serve(config))


async def serve(config: ServerConfig) -> None:
    """The whole control plane; cancel it to stop."""
    listen = [_endpoint(entry) for entry in config.listen]
    identities = server_identities(config, url=f"https://{config.listen[0]}")
    async with opened(config) as store:
        api = ApiServer(store, api_config(config, identities))
        tls = TlsFiles(identities.serving.certificate, identities.serving.key, identities.ca)
        server = Server(api.handler, listen=listen, tls=tls)
        try:
            await server.start()
        except OSError as error:
            raise Fatal(str(error)) from error
        await supervise(store, api, server, ControlPlane(config, api, identities))


@contextlib.asynccontextmanager
async def opened(config: ServerConfig) -> AsyncIterator[MemoryStore]:
    """The store of the configuration, closed at the end."""
    store: MemoryStore
    if config.store == "sqlite":
        try:
            store = await SqliteStore.open(f"{config.state_directory}/state.db")
        except Unavailable as error:
            raise Fatal(str(error)) from error
    else:
        store = MemoryStore()
    try:
        yield store
    finally:
        await store.close()


class ControlPlane:
    """Controllers and scheduler, clients of the API server over the loopback transport; started once it is ready."""

    def __init__(self, config: ServerConfig, api: ApiServer, identities: ServerIdentities) -> None:
        self.config = config
        self.api = api
        self.root_ca = Path(identities.ca).read_text()

    async def run(self) -> None:
        await self.api.ready()
        from pybernetes.controllers import Controllers, ControllersConfig  # the API answers before they are read
        from pybernetes.scheduler import Scheduler

        manager = Client(self.api.trusted("system:kube-controller-manager"), user_agent="kube-controller-manager")
        scheduler = Client(self.api.trusted("system:kube-scheduler"), user_agent="kube-scheduler")
        config = ControllersConfig(
            cluster_cidr=self.config.pod_range,
            root_ca=self.root_ca,
            dns_address=dns_address(self.config),
            node_grace_seconds=self.config.node_grace_seconds,
        )
        await supervise(Controllers(manager, config), Scheduler(scheduler))


def api_config(config: ServerConfig, identities: ServerIdentities) -> ApiServerConfig:
    host, port = _endpoint(config.advertise or config.listen[-1])
    low, _, high = config.node_ports.partition("-")
    return ApiServerConfig(
        service_range=config.service_range,
        node_port_range=(int(low), int(high)),
        advertise_address=host,
        advertise_port=port,
        cluster_domain=config.cluster_domain,
        client_ca=identities.ca,
        service_account_key=identities.service_account_key,
        service_account_public_key=identities.service_account_public_key,
        kubelet_client_certificate=identities.kubelet_client.certificate,
        kubelet_client_key=identities.kubelet_client.key,
        kubelet_ca=identities.ca,
    )


def dns_address(config: ServerConfig) -> str:
    """The cluster DNS address: as configured, else the tenth of the service range."""
    return config.dns_address or str(ip_network(config.service_range)[10])


def _endpoint(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)
