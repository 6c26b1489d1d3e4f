"""The cluster DNS of one node: informers keep the snapshot, the server answers from it."""

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress

from pybernetes.api.objects import Obj, revision_of
from pybernetes.api.resources import CONFIG_MAPS, ENDPOINT_SLICES, NAMESPACES, PODS, SERVICES
from pybernetes.client import Client, Delta, Informer
from pybernetes.control import Recorder

from . import settings
from .chain import Resolver
from .config import DnsConfig
from .forward import Forwarder
from .metrics import Collector, Stats
from .question import Rules
from .rows import carrying, pod_row, service_row, slice_row, triggered_at
from .search import Search
from .server import Server
from .settings import Hosts, check, merged
from .snapshot import Snapshot, Token
from .table import Table

log = logging.getLogger(__name__)


class Dns:
    """`run` until cancelled. Questions about the cluster get SERVFAIL until it is synced, others an answer at once."""

    def __init__(self, client: Client, config: DnsConfig, *, tells: bool = True) -> None:
        """`tells`: refuses a ConfigMap with an Event. Raises ValueError for a configuration that cannot be used."""
        self.tells = tells
        self.client = client
        self.config = config
        self.snapshot = Snapshot()
        check(config)
        self.started_with = config
        """What holds where the ConfigMap says nothing."""
        rules = Rules.of(config)
        forwarder = Forwarder(config, clock=time.monotonic)
        self.resolver = Resolver(Table(self.snapshot, rules), forwarder, hosts=Hosts.of(config.hosts))
        self.search = Search(self.snapshot, domain=rules.domain, host=lambda: forwarder.searches)
        self.resolver.search = self.search if config.autopath else None
        self.events = Recorder(client, "pybernetes-dns", host=config.node_name)
        self.stats = Stats()
        self.server = Server(self.resolver, config, self.stats)
        self.collector = Collector(
            self.stats, self.resolver, server=f"dns://:{config.port}", applied=lambda: self.applied
        )
        """For a prometheus_client registry."""
        self.ready = asyncio.Event()
        """Set once the whole cluster is known."""
        self.applied = 0
        """The revision of the newest Service, EndpointSlice or Namespace change that answers reflect."""
        self._informers = self._watched()

    @property
    def synced(self) -> bool:
        """Whether the whole cluster is known."""
        return self.ready.is_set()

    async def run(self) -> None:
        """Raises an ExceptionGroup with an OSError when an address cannot be bound."""
        async with asyncio.TaskGroup() as group:
            for informer in self._informers:
                group.create_task(informer.run(), name=f"dns-{informer!r}")
            group.create_task(self.resolver.forwarder.run(), name="dns-forwarder")
            group.create_task(self._become_ready(), name="dns-ready")
            group.create_task(self.events.run(), name="dns-events")
            await self._serve()

    async def _serve(self) -> None:
        """The server, which outlives a cancellation by the lame-duck time: clients still ask the old address."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self.config.startup_seconds):
                await self.ready.wait()  # whoever shares the address answers better meanwhile
        server = asyncio.ensure_future(self.server.run())
        try:
            await asyncio.shield(server)
        finally:
            self.ready.clear()  # whoever asks is to go elsewhere from now on
            if not server.done():
                await asyncio.sleep(self.config.lameduck_seconds)
                server.cancel()
                with suppress(asyncio.CancelledError):
                    await server

    async def _become_ready(self) -> None:
        for informer in self._informers:
            await informer.synced.wait()
        self.resolver.ready = True
        self.ready.set()
        snapshot = self.snapshot
        log.info("synced services=%d slices=%d", len(snapshot.services), sum(map(len, snapshot.slices.values())))

    def configure(self, config: DnsConfig) -> None:
        """Another configuration from now on. What binds sockets and watches is as it was at the start."""
        self.config = config
        resolver, rules = self.resolver, Rules.of(config)
        if rules != resolver.table.rules:
            resolver.table = Table(self.snapshot, rules, tallies=resolver.table.tallies)
            resolver.table.changed(self.snapshot.serial)
        resolver.hosts = Hosts.of(config.hosts)
        resolver.search = self.search if config.autopath else None
        resolver.forwarder.configure(config)
        self.server.configure(config)

    def _configured(self, delta: Delta) -> None:
        """The ConfigMap as it is now; one that cannot be used changes nothing, and is told so by an Event."""
        try:
            config = self.started_with if delta.now is None else merged(self.started_with, delta.now)
        except ValueError as error:
            log.warning("configuration refused configmap=%s error=%s", delta.key, error)
            if not self.tells:
                return
            about = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": delta.obj["metadata"]}
            self.events.event(about, "InvalidConfiguration", f"Not used: {error}", type="Warning")
            return
        if config != self.config:
            log.info("configuration applied configmap=%s", delta.key)
            self.configure(config)

    def _watched(self) -> list[Informer]:
        snapshot, names = self.snapshot, self.config.endpoint_pod_names
        services = Informer(self.client, SERVICES, slim=lambda obj: carrying(obj, service_row(obj)))
        slices = Informer(
            self.client,
            ENDPOINT_SLICES,
            slim=lambda obj: carrying(obj, slice_row(obj, pod_names=names)) | {"triggered": triggered_at(obj)},
        )
        namespaces = Informer(self.client, NAMESPACES, slim=lambda obj: carrying(obj, ()))
        services.subscribe(self._handler(lambda o: snapshot.put_service(o["row"]), snapshot.drop_service))
        slices.subscribe(self._handler(lambda o: snapshot.put_slice(o["row"]), snapshot.drop_slice))
        slices.subscribe(self._programmed)
        found = [services, slices, namespaces]
        namespaces.subscribe(
            self._handler(
                lambda o: snapshot.put_namespace(o["metadata"]["name"]), lambda key: snapshot.drop_namespace(key.name)
            )
        )
        fields = f"metadata.name={settings.KEY.name}"
        settings_map = Informer(self.client, CONFIG_MAPS, namespace=settings.KEY.namespace, fields=fields)
        settings_map.subscribe(self._configured)
        found.append(settings_map)
        verified = self.config.pods == "verified"
        if verified or self.config.autopath:  # (the ConfigMap can turn it off, and on again)
            node = "" if verified or not self.config.node_name else f"spec.nodeName={self.config.node_name}"
            pods = Informer(self.client, PODS, fields=node, slim=lambda obj: carrying(obj, pod_row(obj)))
            pods.subscribe(self._pod_changed)
            found.append(pods)
        return found

    def _programmed(self, delta: Delta) -> None:
        """How long a change of a headless Service's slice took to get here, as CoreDNS reckons it."""
        if delta.now is None or not delta.now["triggered"] or not self.ready.is_set():
            return
        service = self.snapshot.services.get(delta.now["row"].service)
        if service is not None and service.headless:
            self.collector.programming.observe(max(0.0, time.time() - delta.now["triggered"]))

    def _pod_changed(self, delta: Delta) -> None:
        """No kept answer is made of pods, and `applied` says nothing about them."""
        if delta.now is None:
            self.snapshot.drop_pod(delta.key)
        else:
            self.snapshot.put_pod(delta.now["row"])

    def _handler(self, put: Callable[[Obj], set[Token]], drop: Callable[..., set[Token]]) -> Callable[[Delta], None]:
        def handle(delta: Delta) -> None:
            touched = drop(delta.key) if delta.now is None else put(delta.now)
            if touched:
                self.snapshot.serial = int(time.time())
                self.resolver.table.forget(touched)
                self.resolver.table.changed(self.snapshot.serial)
            self.applied = max(self.applied, int(revision_of(delta.obj) or 0))

        return handle
