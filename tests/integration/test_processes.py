"""The control plane as processes of their own: they elect leaders, and a stand-by takes over from a killed leader."""

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pybernetes.api.errors import ApiError
from pybernetes.api.objects import Key
from pybernetes.api.resources import DEPLOYMENTS, LEASES, NODES, PODS, REPLICA_SETS
from pybernetes.app import connect
from support.objects import template
from support.ports import free_port

WEB = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web", "namespace": "default"},
    "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "web"}}, "template": template("web")},
}
COMMAND = str(Path(sys.executable).parent / "pybernetes")


class Processes:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.started: list[asyncio.subprocess.Process] = []

    async def start(self, *argv: str) -> asyncio.subprocess.Process:
        log = (self.directory / f"{argv[0]}-{len(self.started)}.log").open("wb")
        with log:
            process = await asyncio.create_subprocess_exec(COMMAND, *argv, stdout=log, stderr=log)
        self.started.append(process)
        return process

    async def part(self, name: str) -> asyncio.subprocess.Process:
        kubeconfig = f"{self.directory}/{name}.kubeconfig"
        return await self.start(name, "--kubeconfig", kubeconfig, "--health", f"127.0.0.1:{free_port()}")

    async def stop(self) -> None:
        for process in reversed(self.started):
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
        for process in self.started:
            async with asyncio.timeout(60):
                await process.wait()


@pytest.fixture
async def processes(tmp_path):
    made = Processes(tmp_path)
    try:
        yield made
    finally:
        await made.stop()


async def until(check, *, seconds: float = 90.0):
    async with asyncio.timeout(seconds):
        while True:
            with contextlib.suppress(ApiError, ConnectionError, OSError):
                if found := await check():
                    return found
            await asyncio.sleep(0.1)


async def test_each_part_runs_alone_and_a_standby_takes_over(processes, tmp_path):
    await processes.start(
        "apiserver", "--state-directory", str(tmp_path), "--listen", f"127.0.0.1:{free_port()}", "--store", "memory"
    )
    admin = tmp_path / "admin.kubeconfig"

    async def written():
        return admin.exists() and (tmp_path / "scheduler.kubeconfig").exists()

    await until(written)
    client = connect.client(admin, user_agent="test")
    try:
        await until(lambda: client.list(NODES))
        first = await processes.part("controller-manager")

        async def holder():
            lease = await client.get(LEASES, Key("kube-system", "kube-controller-manager"))
            return lease["spec"]["holderIdentity"]

        leader = await until(holder)
        second = await processes.part("controller-manager")
        await processes.part("scheduler")
        await client.create(DEPLOYMENTS, WEB)

        async def pods():
            found = await client.list(PODS, namespace="default")
            return len(found.items) == 2 and found.items

        made = await until(pods)
        assert {owner["kind"] for pod in made for owner in pod["metadata"]["ownerReferences"]} == {"ReplicaSet"}

        async def unschedulable():
            found = await client.list(PODS, namespace="default")
            return all(
                (pod["status"].get("conditions") or [{}])[0].get("reason") == "Unschedulable" for pod in found.items
            )

        await until(unschedulable)
        first.send_signal(signal.SIGTERM)
        assert await first.wait() == 0

        async def another():
            now = await holder()
            return now and now != leader

        await until(another)  # at once: a leader that ends gives its Lease back
        await client.patch(DEPLOYMENTS, Key("default", "web"), {"spec": {"replicas": 0}})

        async def none():
            sets = await client.list(REPLICA_SETS, namespace="default")
            return not (await client.list(PODS, namespace="default")).items and sets.items

        await until(none)
        assert second.returncode is None
    finally:
        await client.close()


def test_a_missing_kubeconfig_is_one_message(tmp_path):
    done = subprocess.run(
        [COMMAND, "scheduler", "--kubeconfig", str(tmp_path / "none")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=os.environ,
    )
    assert done.returncode == 1
    assert re.search(r"kubeconfig .*/none: .*No such file", done.stdout + done.stderr)
    assert "Traceback" not in done.stderr
