"""Composition of the control plane: store, API server, controllers and scheduler in one process."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from pybernetes.aio.logs import setup_logging
from pybernetes.aio.process import open_files, run_forever
from pybernetes.aio.supervise import Fatal, stacked, supervise
from pybernetes.apiserver import ApiServer, ApiServerConfig
from pybernetes.apiserver.audit import BadPolicy
from pybernetes.client import Client
from pybernetes.store import Unavailable
from pybernetes.store.memory import MemoryStore
from pybernetes.store.sqlite import SqliteStore
from pybernetes.wire.serve import Limits, Server
from pybernetes.wire.tls import TlsFiles

from .config import ServerConfig, endpoint
from .identities import ServerIdentities, server_identities


def run(config: ServerConfig, *, whole: bool = True) -> None:
    """Serve until SIGTERM: the whole control plane, or the API server alone."""
    setup_logging(config.log_level, format=config.log_format)
    open_files()
    run_forever(serve(config, whole=whole))


async def serve(config: ServerConfig, *, whole: bool = True) -> None:
    """The control plane; cancel it to stop."""
    listen = [endpoint(entry) for entry in config.listen]
    identities = server_identities(config, url=f"https://{config.listen[0]}")
    async with opened(config) as store:
        try:
            api = ApiServer(store, api_config(config, identities))
        except BadPolicy as error:
            raise Fatal(str(error)) from error
        tls = TlsFiles(identities.serving.certificate, identities.serving.key, identities.ca)
        limits = Limits(
            connections=config.max_connections,
            connections_each=config.max_connections_each,
            delay_seconds=config.shutdown_delay_seconds,
        )
        server = Server(
            api.handler,
            listen=listen,
            tls=tls,
            limits=limits,
            stopping=api.drain,
            uploads=True,
            spliced=api.proxied,
            any_target=True,
        )
        api.serving(server)
        try:
            await server.start()
        except OSError as error:
            raise Fatal(str(error)) from error
        rest = [ControlPlane(config, api, identities)] if whole else []
        await stacked([store], [api], [server, *rest])  # requests under way finish before what they need ends


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
        self.authority = str(Path(identities.ca).parent)

    async def run(self) -> None:
        await self.api.ready()
        from . import control_plane  # the API answers before they are read

        manager = Client(self.api.trusted("system:kube-controller-manager"), user_agent="kube-controller-manager")
        scheduler = Client(self.api.trusted("system:kube-scheduler"), user_agent="kube-scheduler")
        await supervise(
            control_plane.controllers(
                manager,
                self.config,
                server=self.api.config.url,
                root_ca=self.root_ca,
                authority=self.authority,
                accounts=self._account,
            ),
            control_plane.scheduler(scheduler),
        )

    def _account(self, name: str) -> Client:
        """A controller's own client: the same road, as its service account in kube-system."""
        return Client(self.api.trusted_account("kube-system", name), user_agent="kube-controller-manager")


def api_config(config: ServerConfig, identities: ServerIdentities) -> ApiServerConfig:
    host, port = endpoint(config.advertise or config.listen[-1])
    low, _, high = config.node_ports.partition("-")
    return ApiServerConfig(
        service_range=config.service_range,
        node_port_range=(int(low), int(high)),
        advertise_address=host,
        advertise_port=port,
        cluster_domain=config.cluster_domain,
        client_ca=identities.ca,
        service_account_key=config.service_account_signing_key_file or identities.service_account_key,
        service_account_public_key=identities.service_account_public_key,
        service_account_key_files=config.service_account_key_files,
        kubelet_client_certificate=identities.kubelet_client.certificate,
        kubelet_client_key=identities.kubelet_client.key,
        kubelet_ca=identities.ca,
        audit_policy_file=config.audit_policy_file,
        audit_log_path=config.audit_log_path,
        audit_log_maxsize=config.audit_log_maxsize,
        audit_log_maxage=config.audit_log_maxage,
        audit_log_maxbackup=config.audit_log_maxbackup,
    )
