"""Controllers and scheduler over the fake API, with a kubelet that says of each bound pod that it runs."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from pybernetes.api.errors import ApiError
from pybernetes.api.objects import Obj, is_deleting, key_of, uid_of
from pybernetes.api.resources import PODS
from pybernetes.client import Client, Delta, Informers
from pybernetes.controllers import ControllersConfig
from pybernetes.controllers.shared import Shared

from .fake_api import FakeApi, now


class FakeKubelet:
    """Bound pods run and are ready (unless `broken`); deleted ones are gone at once."""

    def __init__(self, client: Client, informers: Informers) -> None:
        self.client = client
        self.broken: Callable[[Obj], bool] = lambda pod: False
        self.pods: asyncio.Queue[Obj] = asyncio.Queue()
        self.addresses = (f"10.244.{n // 250}.{n % 250 + 1}" for n in itertools.count(1))
        informers.of(PODS).subscribe(self._changed)

    def _changed(self, delta: Delta) -> None:
        if delta.now is not None:
            self.pods.put_nowait(delta.now)

    async def run(self) -> None:
        while True:
            pod = await self.pods.get()
            try:
                await self._look(pod)
            except ApiError:
                continue

    async def _look(self, pod: Obj) -> None:
        if is_deleting(pod):
            await self.client.delete(PODS, key_of(pod), uid=uid_of(pod), grace_seconds=0)
        elif pod["spec"].get("nodeName") and not (pod.get("status") or {}).get("podIP") and not self.broken(pod):
            ip = next(self.addresses)
            condition = {"type": "Ready", "status": "True", "lastTransitionTime": now()}
            status = {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}], "conditions": [condition]}
            await self.client.patch(PODS, key_of(pod), {"status": status}, subresource="status")


class Stage:
    """A fake API, what runs on it, and its client for the test."""

    def __init__(self, config: ControllersConfig | None = None) -> None:
        self.api = FakeApi()
        self.client = Client(self.api)
        self.informers = Informers(self.client)
        self.shared = Shared(self.client, self.informers, config or ControllersConfig())
        self.kubelet = FakeKubelet(self.client, self.informers)

    @property
    def events(self) -> list[tuple[str, str]]:
        """Reason and message of each event recorded so far."""
        return [
            (event["reason"], event["message"])
            for (plural, _, _), event in self.api.objects.items()
            if plural == "events"
        ]

    @asynccontextmanager
    async def running(self, *services: object) -> AsyncIterator[FakeApi]:
        """Run services (objects with `run`), the informers, the kubelet and the recorders."""
        every = [self.informers, self.kubelet, *services, *self.shared.recorders.values()]
        tasks = [asyncio.create_task(one.run()) for one in every]  # type: ignore[attr-defined]
        try:
            await self.informers.synced()
            yield self.api
        finally:
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
        for result in results:
            assert isinstance(result, asyncio.CancelledError), result


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 60.0) -> None:
    """Wait for a condition that has to be asked for."""
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(0.02)
