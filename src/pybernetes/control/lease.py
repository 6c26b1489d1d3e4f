"""Leader election on a Lease (coordination.k8s.io/v1), as client-go does it: who holds the Lease does the work.

Clocks of different machines are never compared: a candidate measures how long *it* has seen the Lease unchanged. A
leader that could not renew in time stops its work before another may begin, since the renew deadline is shorter than
the lease's duration.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from time import time

from pybernetes.api import times
from pybernetes.api.errors import AlreadyExists, ApiError, Conflict, NotFound
from pybernetes.api.objects import Key, Obj, copied
from pybernetes.api.resources import LEASES
from pybernetes.client import Client

log = logging.getLogger(__name__)


class LostLease(Exception):
    """Leadership ended: the work was stopped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseConfig:
    """Kubernetes' defaults."""

    duration_seconds: float = 15.0
    renew_deadline_seconds: float = 10.0
    retry_seconds: float = 2.0


class LeaderElection:
    """One candidate for one Lease. `identity` must be unique among the candidates."""

    def __init__(self, client: Client, key: Key, *, identity: str, config: LeaseConfig | None = None) -> None:
        self.client = client
        self.key = key
        self.identity = identity
        self.config = config or LeaseConfig()
        self.leader = False
        self._seen: Obj | None = None
        self._seen_at = 0.0

    async def run(self, work: Callable[[], Awaitable[None]]) -> None:
        """Wait for the Lease, work while it is held, release it at the end. Raises LostLease when it is lost."""
        await self._acquire()
        self.leader = True
        log.info("leader lease=%s identity=%s", self.key, self.identity)
        try:
            await self._lead(work)
        finally:
            self.leader = False
            await self._release()

    async def _lead(self, work: Callable[[], Awaitable[None]]) -> None:
        renewing = asyncio.ensure_future(self._renew())
        working = asyncio.ensure_future(work())
        try:
            await asyncio.wait({renewing, working}, return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                return working.result()
            renewing.result()
        finally:
            for task in (working, renewing):
                task.cancel()
            await asyncio.gather(working, renewing, return_exceptions=True)

    async def _acquire(self) -> None:
        while not await self._try():
            await asyncio.sleep(self.config.retry_seconds * random.uniform(1.0, 1.2))

    async def _renew(self) -> None:
        loop = asyncio.get_running_loop()
        renewed = loop.time()
        while True:
            await asyncio.sleep(self.config.retry_seconds)
            left = renewed + self.config.renew_deadline_seconds - loop.time()
            try:
                async with asyncio.timeout(max(left, 0.0)):
                    if await self._try():
                        renewed = loop.time()
                        continue
            except TimeoutError:
                pass
            if self._held_by_other() or loop.time() - renewed >= self.config.renew_deadline_seconds:
                raise LostLease(f"{self.key}: not renewed in {self.config.renew_deadline_seconds:g} s")

    def _held_by_other(self) -> bool:
        holder = ((self._seen or {}).get("spec") or {}).get("holderIdentity")
        return bool(holder) and holder != self.identity

    async def _try(self) -> bool:
        """Take or renew the Lease; False when another holds it or the server cannot be asked."""
        try:
            return await self._take()
        except (NotFound, AlreadyExists, Conflict):
            return False  # another was quicker
        except (ApiError, ConnectionError, TimeoutError) as error:
            log.warning("lease not reached lease=%s error=%r", self.key, error)
            return False

    async def _take(self) -> bool:
        loop = asyncio.get_running_loop()
        try:
            found = await self.client.get(LEASES, self.key)
        except NotFound:
            self._saw(await self.client.create(LEASES, self._fresh()))
            return True
        if self._seen is None or found.get("spec") != self._seen.get("spec"):
            self._saw(found)
        spec = found.get("spec") or {}
        holder = spec.get("holderIdentity") or ""
        valid = loop.time() < self._seen_at + float(spec.get("leaseDurationSeconds") or 0)
        if holder and holder != self.identity and valid:
            return False
        self._saw(await self.client.update(LEASES, self._renewed(found)))
        return True

    def _saw(self, lease: Obj) -> None:
        self._seen, self._seen_at = lease, asyncio.get_running_loop().time()

    def _fresh(self) -> Obj:
        now = times.micro_stamp(time())
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"namespace": self.key.namespace, "name": self.key.name},
            "spec": {
                "holderIdentity": self.identity,
                "leaseDurationSeconds": max(1, round(self.config.duration_seconds)),
                "acquireTime": now,
                "renewTime": now,
                "leaseTransitions": 0,
            },
        }

    def _renewed(self, found: Obj) -> Obj:
        lease = copied(found)
        old = lease.get("spec") or {}
        fresh = self._fresh()["spec"]
        changed = old.get("holderIdentity") != self.identity
        fresh["acquireTime"] = fresh["renewTime"] if changed else old.get("acquireTime")
        fresh["leaseTransitions"] = int(old.get("leaseTransitions") or 0) + (1 if changed else 0)
        lease["spec"] = fresh
        return lease

    async def _release(self) -> None:
        """Let the next candidate take over at once."""
        if self._seen is None or self._held_by_other():
            return
        lease = copied(self._seen)
        lease["spec"] |= {"holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": times.micro_stamp(time())}
        try:
            async with asyncio.timeout(2.0):
                await self.client.update(LEASES, lease)
        except (ApiError, ConnectionError, TimeoutError) as error:
            log.info("lease not released lease=%s error=%r", self.key, error)
