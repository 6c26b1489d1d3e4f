"""What load balancers ask a node: the health check ports of Services with externalTrafficPolicy Local, and /healthz.

Formats and numbers are kube-proxy's (kubernetes/pkg/proxy/healthcheck): 200 while the node should get traffic,
else 503.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

from pybernetes.api.objects import Key, Obj, encode
from pybernetes.wire import Handler, Request, Response
from pybernetes.wire.serve import Limits, Server

from .model import HealthCheck

log = logging.getLogger(__name__)

HEADERS = {"content-type": "application/json", "x-content-type-options": "nosniff"}
LOCAL_ENDPOINTS = "x-load-balancing-endpoint-weight"
"""Says to load balancers that weigh nodes how many endpoints are here."""
TO_BE_DELETED = "ToBeDeletedByClusterAutoscaler"
"""The taint of a node that the autoscaler is about to remove."""

_RETRY_SECONDS = 5.0


def is_eligible(node: Obj | None) -> bool:
    """Whether a (slim) Node, None for one not seen, should get traffic for endpoints elsewhere."""
    return node is None or ("deletionTimestamp" not in node["metadata"] and TO_BE_DELETED not in node["taints"])


def healthz(*, healthy: bool, eligible: bool, updated: datetime | None, now: datetime) -> Response:
    """The answer of /healthz for load balancers with policy Cluster; `updated` is the last sync."""
    good = healthy and eligible
    told = now if good else updated
    body = f'{{"lastUpdated": "{_go_time(told)}","currentTime": "{_go_time(now)}", "nodeEligible": {_go(eligible)}}}'
    return Response(status=200 if good else 503, headers=HEADERS, body=body.encode())


def service_answer(key: Key, check: HealthCheck, *, healthy: bool) -> Response:
    """The answer at the health check port of one Service."""
    name = encode(key.namespace).decode(), encode(key.name).decode()
    body = (
        f'{{\n\t"service": {{\n\t\t"namespace": {name[0]},\n\t\t"name": {name[1]}\n\t}},\n'
        f'\t"localEndpoints": {check.local},\n\t"serviceProxyHealthy": {_go(healthy)}\n}}'
    )
    headers = HEADERS | {LOCAL_ENDPOINTS: str(check.local)}
    return Response(status=200 if check.local and healthy else 503, headers=headers, body=body.encode())


def _go(value: bool) -> str:
    return "true" if value else "false"


def _go_time(at: datetime | None) -> str:
    """As Go prints a time; its zero for None."""
    if at is None:
        return "0001-01-01 00:00:00 +0000 UTC"
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f +0000 UTC")


class HealthChecks:
    """One small HTTP server for each Service with a health check port, on the node's addresses, while `run` runs.

    A port that somebody else has is tried again every few seconds.
    """

    def __init__(self, addresses: Callable[[], Sequence[str]], healthy: Callable[[], bool]) -> None:
        self.addresses = addresses
        self.healthy = healthy
        self.wanted: Mapping[Key, HealthCheck] = {}
        self._changed = asyncio.Event()
        self._open: dict[Key, tuple[int, tuple[str, ...], Server]] = {}

    def want(self, checks: Mapping[Key, HealthCheck]) -> None:
        """What should be answered from now on; counts count at once, ports as soon as they are open."""
        if checks != self.wanted:
            self.wanted = dict(checks)
            self._changed.set()

    def moved(self) -> None:
        """The addresses have changed: ports are closed at the old ones and opened at the new."""
        self._changed.set()

    async def run(self) -> None:
        """Keep the wanted ports open until cancelled."""
        try:
            while True:
                self._changed.clear()
                complete = await self._reconcile()
                try:
                    async with asyncio.timeout(None if complete else _RETRY_SECONDS):
                        await self._changed.wait()
                except TimeoutError:
                    continue
        finally:
            for key in list(self._open):
                await self._close(key)

    async def _reconcile(self) -> bool:
        """Whether all that is wanted is open."""
        addresses = tuple(self.addresses()) if self.wanted else ()
        for key, (port, at, _) in list(self._open.items()):
            check = self.wanted.get(key)
            if check is None or check.port != port or at != addresses:
                await self._close(key)
        complete = True
        for key, check in self.wanted.items():
            if key not in self._open:
                complete = await self._start(key, check.port, addresses) and complete
        return complete

    async def _start(self, key: Key, port: int, addresses: tuple[str, ...]) -> bool:
        listen = [(address, port) for address in addresses]
        server = Server(self._handler(key), listen=listen, limits=Limits(grace_seconds=0.2))
        try:
            await server.start()
        except OSError as error:
            log.warning("health check port not open service=%s port=%d error=%s", key, port, error)
            return False
        self._open[key] = (port, addresses, server)
        return True

    async def _close(self, key: Key) -> None:
        _, _, server = self._open.pop(key)
        await server.stop()

    def _handler(self, key: Key) -> Handler:
        async def handle(request: Request) -> Response:
            check = self.wanted.get(key, HealthCheck(0, 0))
            return service_answer(key, check, healthy=self.healthy())

        return handle
