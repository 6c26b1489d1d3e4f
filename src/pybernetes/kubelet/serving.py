"""The kubelet's HTTPS port: with the certificate there is, else with the first that is signed for this node."""

import asyncio
from collections.abc import Callable

from pybernetes.client import Client
from pybernetes.wire import Handler
from pybernetes.wire.serve import Server, TlsFiles

from .certificates import Held, Rotation, ServingFiles, serving_wanted
from .config import KubeletConfig
from .node import NodeKeeper


class Serving:
    """`run` until cancelled. A renewed certificate is shown to new connections; logs and execs that run go on."""

    def __init__(
        self, handler: Handler, client: Client, config: KubeletConfig, *, node: NodeKeeper, clock: Callable[[], float]
    ) -> None:
        self.handler = handler
        self.config = config
        self.files = ServingFiles(config.certificate, config.key, config.renewed_certificate)
        self.node = node
        self.rotation = Rotation(
            client,
            wanted=lambda: serving_wanted(node.node),
            held=self.files.held,
            put=self._put,
            clock=clock,
        )
        self._first = asyncio.Event()
        self._server: Server | None = None

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            if self.files.renewed:
                group.create_task(self._renew(), name="serving-certificate")
            while (pair := self.files.newest()) is None:
                await self._first.wait()
            everywhere = sorted({"::" if ":" in address else "0.0.0.0" for address in self.config.node_addresses})
            listen = [(each, self.config.port) for each in everywhere]
            self._server = Server(self.handler, listen=listen, tls=TlsFiles(*pair, self.config.client_ca))
            await self._server.run()

    async def _renew(self) -> None:
        await self.node.registered.wait()  # with the addresses that the certificate is for
        self.node.written = self.rotation.nudge
        await self.rotation.run()

    def _put(self, held: Held) -> None:
        self.files.put(held)
        self._first.set()
        if self._server is not None:
            self._server.reload(TlsFiles(self.files.renewed, self.files.renewed, self.config.client_ca))
