"""The proxy of one node: informers in, kernel rules out, as soon as something changes and never more often than useful.

    informers -> tracker (what is wanted, what changed) -> plan (operations) -> data plane (one transaction)

It runs in the node's network namespace, beside other parts of the agent in one event loop.
"""

import asyncio
import logging
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from typing import NamedTuple

from pybernetes.aio.backoff import Backoff
from pybernetes.api import ranges
from pybernetes.api.objects import Key
from pybernetes.api.resources import ENDPOINT_SLICES, NODES, SERVICES
from pybernetes.client import Client, Delta, Informer
from pybernetes.control import EventSink, Recorder
from pybernetes.netlink.conntrack import Conntrack
from pybernetes.netlink.nft import IP, IP6, KernelNftables
from pybernetes.wire import Response

from . import metrics
from .addresses import (
    LOOPBACK,
    PRIMARY,
    KernelAddresses,
    OwnAddresses,
    primary_addresses,
    route_localnet,
    selected,
)
from .config import ProxyConfig
from .dataplane import NftDataplane
from .health import HealthChecks, healthz, is_eligible
from .layout import Layout, Ranges
from .model import Dataplane, ServicePort
from .plan import Planner
from .tracker import BY_SERVICE, Tracker, by_service, slim_node, slim_service, slim_slice

log = logging.getLogger(__name__)


class Applied(NamedTuple):
    """The resourceVersions up to which the kernel is programmed, "" before the first sync."""

    services: str = ""
    endpoint_slices: str = ""


class Proxy:
    """`run` until cancelled; the rules stay when it ends, so that a restart is not noticed (`cleanup` removes them).

    `healthy` is False while the kernel could not be brought up to date; `applied` says how far it is.
    """

    def __init__(
        self,
        client: Client,
        config: ProxyConfig,
        *,
        dataplane: Dataplane | None = None,
        events: EventSink | None = None,
        addresses: OwnAddresses | None = None,
    ) -> None:
        self.config = config
        self.node_addresses: tuple[str, ...] = ()
        """Where node ports and health checks are open."""
        self.services = Informer(client, SERVICES, slim=slim_service)
        self.slices = Informer(client, ENDPOINT_SLICES, slim=slim_slice, indexes={BY_SERVICE: by_service})
        self.node = Informer(client, NODES, fields=f"metadata.name={config.node_name}", slim=slim_node)
        self.tracker = Tracker(self.services.cache, self.slices.cache, node=config.node_name)
        self.checks = HealthChecks(lambda: self.node_addresses, lambda: self.healthy)
        self.applied = Applied()
        self.healthy = False
        self.updated: datetime | None = None
        self.synced = asyncio.Event()
        """Set after the first sync."""
        self._dataplane = dataplane
        self._addresses = addresses or KernelAddresses(config.namespace)
        self._recorder = Recorder(client, "kube-proxy", host=config.node_name) if events is None else None
        self._events = events or self._recorder
        self._subscribed = False
        self._whole = True
        self._moved = False
        self._checked = 0.0

    async def run(self) -> None:
        """Keep the kernel true until cancelled. Raises OSError when this kernel or user cannot do it at all."""
        dataplane = self._dataplane or kernel_dataplane(self.config)
        self._subscribe()
        self._whole = True
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self.services.run(), name="proxy services")
                group.create_task(self.slices.run(), name="proxy slices")
                group.create_task(self.node.run(), name="proxy node")
                group.create_task(self.checks.run(), name="proxy health checks")
                group.create_task(self._follow(dataplane), name="proxy sync")
                if self._open_at() != (PRIMARY,):
                    group.create_task(self._watch(), name="proxy addresses")
                if self._recorder is not None:
                    group.create_task(self._recorder.run(), name="proxy events")
        finally:
            self.healthy = False
            self._addresses.close()
            if dataplane is not self._dataplane:
                await dataplane.close()

    def healthz(self) -> Response:
        """kube-proxy's /healthz: whether load balancers should send this node traffic for endpoints anywhere."""
        node = self.node.cache.get(Key("", self.config.node_name))
        return healthz(healthy=self.healthy, eligible=is_eligible(node), updated=self.updated, now=datetime.now(UTC))

    def _subscribe(self) -> None:
        if self._subscribed:
            return
        self._subscribed = True
        self.services.subscribe(self._service_changed)
        self.slices.subscribe(self._slice_changed)
        self.node.subscribe(self._node_changed)

    def _service_changed(self, delta: Delta) -> None:
        metrics.SERVICE_CHANGES.inc()
        metrics.LAST_QUEUED.set_to_current_time()
        self.tracker.service_changed(delta)

    def _slice_changed(self, delta: Delta) -> None:
        metrics.ENDPOINT_CHANGES.inc()
        metrics.LAST_QUEUED.set_to_current_time()
        self.tracker.slice_changed(delta)

    def _node_changed(self, delta: Delta) -> None:
        self.tracker.node_changed(delta)
        self._move()

    def _move(self) -> None:
        self._moved = True
        self.tracker.touched.set()

    async def _watch(self) -> None:
        """What the kernel tells of addresses; what it does not tell each look for drift finds."""
        while True:
            try:
                await self._addresses.changed()
                self._move()
            except OSError as error:
                log.warning("addresses not followed error=%s", error)
                self._addresses.close()
                await asyncio.sleep(self.config.check_seconds)

    async def _follow(self, dataplane: Dataplane) -> None:
        """Sync at the first change, then at most every min_sync_seconds; look for drift in quiet times."""
        await self.services.synced.wait()
        await self.slices.synced.wait()
        await self.node.synced.wait()
        backoff = Backoff(first=self.config.min_sync_seconds, limit=10.0)
        while True:
            try:
                if self._whole or self._moved:
                    await self._address(dataplane)
                await self._sync(dataplane)
                await asyncio.sleep(self.config.min_sync_seconds)
                await self._quiet(dataplane)
                backoff.reset()
            except OSError as error:
                self.healthy = False
                self._whole = True
                metrics.FAILURES.inc()
                log.error("sync failed error=%s", error)
                await asyncio.sleep(backoff.next())

    async def _quiet(self, dataplane: Dataplane) -> None:
        """Wait for a change; check the kernel when it is time, be it quiet or not. Addresses that moved while they were
        read are a change that nobody tells of again.
        """
        while not self._moved:
            remaining = self._checked + self.config.check_seconds - time.monotonic()
            if remaining <= 0:
                await self._check(dataplane)
                continue
            try:
                async with asyncio.timeout(remaining):
                    await self.tracker.touched.wait()
                return
            except TimeoutError:
                continue

    async def _address(self, dataplane: Dataplane) -> None:
        """Node ports and health checks follow the node's addresses, and policy Local its pods'."""
        self._moved = False
        found = await self._open_addresses()
        await dataplane.open_at(found)
        node = self.node.cache.get(Key("", self.config.node_name))
        await dataplane.house(ranges.split(self.config.node_cidr) or (node["podCIDRs"] if node is not None else ()))
        if found == self.node_addresses and self.synced.is_set():
            return
        self.node_addresses = found
        self.checks.moved()
        log.log(logging.INFO if found else logging.WARNING, "node ports open addresses=%s", ",".join(found) or "none")

    def _open_at(self) -> tuple[str, ...]:
        return self.config.node_port_addresses or ((PRIMARY,) if self.config.node_addresses else ())

    async def _open_addresses(self) -> tuple[str, ...]:
        config, wanted = self.config, self._open_at()
        if wanted == (PRIMARY,):
            node = self.node.cache.get(Key("", config.node_name))
            return config.node_addresses or primary_addresses(node)
        own = await asyncio.to_thread(self._addresses.read)
        return selected(wanted, own=[each for each in own if each not in config.local_addresses])

    async def _check(self, dataplane: Dataplane) -> None:
        await self._address(dataplane)
        drift = await dataplane.check(self.tracker.desired)
        self._checked = time.monotonic()
        if not drift:
            return
        metrics.DRIFT.inc(drift)
        log.warning("rules had been changed by others repaired=%d", drift)
        if self._events is not None:
            node = self.config.node_name  # kubectl describe node looks for the uid that is its name
            about = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": node, "uid": node}}
            words = f"Rules of the service proxy had been changed by others: {drift} operations put them right"
            self._events.event(about, "ProxyRulesDrifted", words, type="Warning")

    async def _sync(self, dataplane: Dataplane) -> None:
        started = time.monotonic()
        wanted = Applied(self.services.revision, self.slices.revision)
        changed = self.tracker.take()
        triggers = self.tracker.take_triggers()
        if changed or self._whole:
            await dataplane.sync(self.tracker.desired, changed=None if self._whole else changed)
        first, self._whole = self._whole, False
        self._report(wanted, time.monotonic() - started, () if first else triggers)
        if first or changed:
            log.log(
                logging.INFO if first else logging.DEBUG,
                "synced changed=%s ports=%d seconds=%.4f",
                "all" if first else _words(changed),
                len(self.tracker.desired),
                time.monotonic() - started,
            )

    def _report(self, applied: Applied, seconds: float, triggers: Sequence[float]) -> None:
        self.applied = applied
        self.healthy = True
        self.updated = datetime.now(UTC)
        self.checks.want(self.tracker.health)
        self._checked = self._checked or time.monotonic()
        self.synced.set()
        metrics.SYNC.observe(seconds)
        metrics.LAST_SYNC.set_to_current_time()
        metrics.SERVICE_PORTS.set(len(self.tracker.desired))
        now = time.time()
        for trigger in triggers:
            metrics.PROGRAMMING.observe(max(0.0, now - trigger))
        for resource, revision in applied._asdict().items():
            if revision.isdecimal():
                metrics.APPLIED.labels(resource).set(int(revision))


def _words(changed: frozenset[ServicePort]) -> str:
    return ",".join(str(each) for each in sorted(changed)[:3]) + ("..." if len(changed) > 3 else "")


def kernel_dataplane(config: ProxyConfig, *, every: Sequence[Planner] | None = None) -> NftDataplane:
    """The nftables data plane of the configured namespace, with these planners instead of the configured ones.

    Raises OSError without the right or the kernel for it.
    """
    nft = KernelNftables(config.namespace)
    routing = partial(route_localnet, config.namespace)
    wanted = planners(config) if every is None else every
    return NftDataplane(nft, Conntrack(config.namespace), wanted, route_localnet=routing)


def planners(config: ProxyConfig) -> list[Planner]:
    """One for each family that the service range has."""
    return [
        Planner(Layout(family, _ranges(config, version)), node_addresses=config.node_addresses)
        for family, version in ((IP, 4), (IP6, 6))
        if ranges.of_version(config.service_range, version)
    ]


def _ranges(config: ProxyConfig, version: int) -> Ranges:
    return Ranges(
        services=ranges.of_version(config.service_range, version),
        pods=ranges.of_version(config.cluster_cidr, version),
        here=ranges.of_version(config.node_cidr, version),
        ours=tuple(each for each in config.local_addresses if ranges.version(each) == version),
        loopback=(LOOPBACK,) if config.localhost_node_ports and version == 4 else (),
    )


async def cleanup(config: ProxyConfig) -> None:
    """Take away every rule of the proxy in the namespace, whatever families and ranges it was made for."""
    dataplane = kernel_dataplane(config, every=[Planner(Layout(family, Ranges())) for family in (IP, IP6)])
    try:
        await dataplane.clear()
    finally:
        await dataplane.close()
