"""A real API server in this process over a MemoryStore: on the trusted loopback road, or over TLS with a kubeconfig."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from pybernetes.apiserver import ApiServer, ApiServerConfig
from pybernetes.apiserver.kubelets import Connect
from pybernetes.client import Client, Informers
from pybernetes.controllers import ControllersConfig
from pybernetes.controllers.shared import Shared
from pybernetes.store import Store
from pybernetes.store.memory import MemoryStore


@contextlib.asynccontextmanager
async def api_server(
    store: Store | None = None, config: ApiServerConfig | None = None, *, connect: Connect | None = None
) -> AsyncIterator[ApiServer]:
    """A running server, ready. `connect` gives the transports to kubelets and proxied pods."""
    server = ApiServer(store or MemoryStore(), config, connect=connect)
    running = asyncio.create_task(server.run())
    ready = asyncio.create_task(server.ready())
    try:
        await asyncio.wait({running, ready}, return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            await running
        yield server
    finally:
        for task in (ready, running):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


def client_of(server: ApiServer, user: str = "test", *groups: str) -> Client:
    """A client on the trusted road; an administrator unless groups are named."""
    return Client(server.trusted(user, *(groups or ("system:masters",))), user_agent=user)


MANAGER = "system:kube-controller-manager"


def shared_of(server: ApiServer, informers: Informers, config: ControllersConfig, **fields: Any) -> Shared:
    """What controllers share when each writes as its own account: `CONTROLLERS[name].made(shared)`."""
    return Shared(informers.client, informers, config, accounts=partial(account_of, server), **fields)


def account_of(server: ApiServer, name: str) -> Client:
    """A client as an account of kube-system."""
    return Client(server.trusted_account("kube-system", name), user_agent="kube-controller-manager")


class TlsApi(NamedTuple):
    server: ApiServer
    url: str
    kubeconfig: str
    authority: Path


@contextlib.asynccontextmanager
async def tls_api(
    directory: Path, store: Store | None = None, *, connect: Connect | None = None, **more: Any
) -> AsyncIterator[TlsApi]:
    """A server on a loopback port with TLS, its authority and an administrator's kubeconfig in `directory`.

    `more` are further fields of its configuration."""
    from pybernetes.client import Kubeconfig, kubeconfig
    from pybernetes.pki import Authority
    from pybernetes.wire.serve import Server, TlsFiles

    authority = Authority.ensure(directory / "pki")
    serving = authority.issue(
        "apiserver", user="kube-apiserver", dns=["localhost"], addresses=["127.0.0.1"], server=True, client=False
    )
    admin = authority.issue("admin", user="kubernetes-admin", groups=["system:masters"])
    keys = authority.service_account_keys()
    config = ApiServerConfig(
        client_ca=authority.certificate,
        service_account_key=keys.private,
        service_account_public_key=keys.public,
        **more,
    )
    async with api_server(store, config, connect=connect) as server:
        tls = TlsFiles(serving.certificate, serving.key, authority.certificate)
        async with Server(
            server.handler, listen=[("127.0.0.1", 0)], tls=tls, uploads=True, spliced=server.proxied
        ) as socket:
            server.serving(socket)
            host, port = socket.addresses[0]
            url = f"https://{host}:{port}"
            path = directory / "admin.kubeconfig"
            kubeconfig.write(
                path,
                Kubeconfig(
                    server=url,
                    ca=_read(authority.certificate),
                    certificate=_read(admin.certificate),
                    key=_read(admin.key),
                ),
            )
            yield TlsApi(server, url, str(path), directory / "pki")


def _read(path: str) -> bytes:
    return Path(path).read_bytes()
