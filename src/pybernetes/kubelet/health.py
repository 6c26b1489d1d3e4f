"""The probes of one pod's running containers: which run, and what they last said."""

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import NamedTuple

from pybernetes.api.objects import Obj

from .probes import Prober, Target
from .runtime.protocol import ContainerState, Phase

log = logging.getLogger(__name__)

PROBES = (("Startup", "startupProbe"), ("Readiness", "readinessProbe"), ("Liveness", "livenessProbe"))


class Running(NamedTuple):
    """A container that runs, with its part of the pod's spec."""

    state: ContainerState
    spec: Obj


class Health:
    """Started, ready and unhealthy containers by runtime id; `changed` is called when one of the three changes."""

    def __init__(
        self,
        prober: Prober,
        group: asyncio.TaskGroup,
        *,
        changed: Callable[[], None],
        failed: Callable[[str, str, str], None],
    ) -> None:
        """`failed(container name, probe kind, message)` is called for each failure that counts."""
        self.started: set[str] = set()
        self.ready: set[str] = set()
        self.unhealthy: dict[str, str] = {}
        self._prober = prober
        self._group = group
        self._changed = changed
        self._failed = failed
        self._tasks: dict[tuple[str, str], asyncio.Task[None]] = {}

    def take_over(self, statuses: Iterable[Obj], scheme: str) -> None:
        """Believe what the API says of containers that outlived the agent, until a probe says otherwise."""
        for entry in statuses:
            container = str(entry.get("containerID") or "").removeprefix(f"{scheme}://")
            if container and entry.get("started"):
                self.started.add(container)
            if container and entry.get("ready"):
                self.ready.add(container)

    def sync(self, running: Iterable[Running], *, address: str, stopping: frozenset[str]) -> None:
        """Have the probes of exactly these containers running."""
        wanted: set[tuple[str, str]] = set()
        for state, spec in running:
            if state.phase is not Phase.RUNNING:
                continue
            if not spec.get("startupProbe"):
                self.started.add(state.id)
            if not spec.get("readinessProbe"):
                self.ready.add(state.id)
            for kind, field in PROBES:
                if (probe := spec.get(field)) and self._due(kind, state.id, state.id in stopping):
                    wanted.add((state.id, kind))
                    if (state.id, kind) not in self._tasks:
                        self._start(kind, probe, Target(state.id, spec, address))
        for key in [key for key in self._tasks if key not in wanted]:
            self._tasks.pop(key).cancel()
        alive = {state.id for state, _ in running}
        self.started &= alive
        self.ready &= alive
        self.unhealthy = {container: why for container, why in self.unhealthy.items() if container in alive}

    def _due(self, kind: str, container: str, stopping: bool) -> bool:
        if kind == "Startup":
            return container not in self.started and not stopping
        if kind == "Liveness":
            return container in self.started and container not in self.unhealthy and not stopping
        return container in self.started

    def _start(self, kind: str, probe: Obj, target: Target) -> None:
        def report(ok: bool, message: str) -> None:
            self._note(kind, target, ok)

        def failed(message: str) -> None:
            self._failed(target.spec["name"], kind, message)

        async def run() -> None:
            try:
                await self._prober.run(kind, probe, target, report=report, failed=failed)
            except Exception as error:
                log.exception("probe failed container=%s", target.spec["name"])
                self._failed(target.spec["name"], kind, f"cannot be run: {error}")

        name = f"{kind}-{target.spec['name']}"
        self._tasks[target.container, kind] = self._group.create_task(run(), name=name)

    def _note(self, kind: str, target: Target, ok: bool) -> None:
        container, name = target.container, target.spec["name"]
        before = (container in self.started, container in self.ready, container in self.unhealthy)
        if kind == "Readiness":
            (self.ready.add if ok else self.ready.discard)(container)
        elif kind == "Startup" and ok:
            self.started.add(container)
        elif not ok:
            self.unhealthy[container] = f"Container {name} failed {kind.lower()} probe, will be restarted"
        if before != (container in self.started, container in self.ready, container in self.unhealthy):
            self._changed()

    def stop(self) -> None:
        for task in self._tasks.values():
            task.cancel()
        self._tasks.clear()
