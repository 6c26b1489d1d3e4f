"""What kubelet tests build on: pods, container states, and a kubelet over the fake runtime, network and API."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from pybernetes.api.objects import Obj
from pybernetes.api.resources import EVENTS, PODS
from pybernetes.client import Client
from pybernetes.kubelet import Kubelet, KubeletConfig
from pybernetes.kubelet.network import FakeNetwork
from pybernetes.kubelet.runtime import ContainerState, FakeRuntime, Phase
from support.fake_api import FakeApi

NODE = "node-1"


def container(name: str = "web", **fields: Any) -> Obj:
    return {"name": name, "image": "host", "command": ["serve"]} | fields


def pod(name: str = "p", *containers: Obj, **spec: Any) -> Obj:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "uid": f"uid-{name}"},
        "spec": {"nodeName": NODE, "restartPolicy": "Always", "containers": list(containers or [container()])} | spec,
    }


def state(name: str = "web", attempt: int = 0, *, exited: int | None = None, at: float = 100.0, **fields: Any) -> Any:
    """A running container, or one that exited with that code at that time."""
    values: dict[str, Any] = {
        "id": f"{name}-{attempt}",
        "sandbox": "uid-p",
        "name": name,
        "attempt": attempt,
        "phase": Phase.RUNNING if exited is None else Phase.EXITED,
        "created_at": 90.0 + attempt,
        "started_at": 91.0 + attempt,
        "image": "host",
    }
    if exited is not None:
        values |= {"finished_at": at, "exit_code": exited, "reason": "Error" if exited else "Completed"}
    return ContainerState(**(values | fields))


class Node:
    """A kubelet that runs, and what a test looks at."""

    def __init__(self, directory: Path, api: FakeApi | None = None, **config: Any) -> None:
        self.api = api or FakeApi()
        self.runtime = FakeRuntime()
        self.network = FakeNetwork()
        self.config = KubeletConfig(
            node_name=NODE,
            node_addresses=("192.0.2.1",),
            pod_ranges=("10.244.0.0/24",),
            cluster_dns=("10.96.0.10",),
            state_directory=str(directory / "state"),
            run_directory=str(directory / "run"),
            **config,
        )
        self.kubelet = self.new_kubelet()

    def new_kubelet(self) -> Kubelet:
        client = Client(self.api, user_agent="kubelet")
        kubelet = Kubelet(client, self.config, runtime=self.runtime, network=self.network)
        kubelet.handler.open = True
        return kubelet

    def put(self, obj: Obj) -> Obj:
        return self.api.put(PODS, obj)

    def status(self, name: str = "p") -> Obj:
        return self.api.one(PODS, name, "default").get("status") or {}

    def container(self, name: str = "p", index: int = 0) -> Obj:
        found: Obj = (self.status(name).get("containerStatuses") or [{}])[index]
        return found

    def conditions(self, name: str = "p") -> dict[str, str]:
        return {entry["type"]: entry["status"] for entry in self.status(name).get("conditions") or ()}

    def reason(self, name: str = "p") -> str:
        return str(((self.container(name).get("state") or {}).get("waiting") or {}).get("reason", ""))

    def exists(self, name: str = "p") -> bool:
        return any(one["metadata"]["name"] == name for one in self.api.of(PODS))

    def events(self) -> list[tuple[str, str]]:
        return [(event["reason"], event["message"]) for event in self.api.of(EVENTS)]

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Node"]:
        task = asyncio.create_task(self.kubelet.run())
        try:
            await self.api.until(lambda: task.done() or not self.kubelet._problem())
            if task.done():
                await task
            yield self
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
