"""A kubectl as a visitor of a control plane in this process: what it types, what it is shown, and what goes with it.

The API server, controllers and scheduler are real; pods are said to run by a fake kubelet, and what is done to their
containers happens to commands of this machine, so no kernel features are needed.
"""

import asyncio
import base64
import contextlib
import os
import shlex
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from pybernetes.aio.supervise import supervise
from pybernetes.api.objects import Key
from pybernetes.api.resources import NAMESPACES, NODES, SERVICE_ACCOUNTS
from pybernetes.client import Informers
from pybernetes.controllers import Controllers, ControllersConfig
from pybernetes.scheduler import Scheduler
from pybernetes.wire.loopback import LoopbackTransport

from .commands import kubelet
from .control_plane import FakeKubelet, until
from .objects import node
from .server import TlsApi, client_of, tls_api

YEARS = 1e8
"""Seconds: nodes without a kubelet of their own are not found dead."""


class Output(NamedTuple):
    code: int
    out: str
    err: str


class Visitor:
    """A kubectl in a namespace of its own; `$NAME`s of lines, manifests and environments are replaced."""

    def __init__(self, program: str, api: TlsApi, directory: Path, namespace: str) -> None:
        self.names = {"$NS": namespace, "$DIR": str(directory), "$PKI": str(api.authority), "$CSR": request_of("ann")}
        self.argv = (program, "--kubeconfig", api.kubeconfig, "--cache-dir", str(directory / "cache"), "-n", namespace)

    def filled(self, text: str) -> str:
        for name, value in self.names.items():
            text = text.replace(name, value)
        return text

    @contextlib.asynccontextmanager
    async def started(self, line: str) -> AsyncIterator[asyncio.subprocess.Process]:
        """A command that does not end by itself."""
        words = shlex.split(self.filled(line))
        process = await asyncio.create_subprocess_exec(*self.argv, *words, stdout=asyncio.subprocess.PIPE)
        try:
            async with asyncio.timeout(200):
                yield process
        finally:
            if process.returncode is None:
                process.terminate()
            await process.communicate()

    async def run(self, line: str, stdin: bytes = b"", *, environment: Mapping[str, str] | None = None) -> Output:
        pipe = asyncio.subprocess.PIPE
        words = shlex.split(self.filled(line))
        process = await asyncio.create_subprocess_exec(
            *self.argv, *words, stdin=pipe, stdout=pipe, stderr=pipe, env=os.environ | (environment or {})
        )
        async with asyncio.timeout(200):
            out, err = await process.communicate(stdin)
        return Output(process.returncode or 0, out.decode(), err.decode())

    async def __call__(self, line: str, stdin: bytes = b"") -> str:
        """What it prints, when all is well."""
        found = await self.run(line, stdin)
        assert found.code == 0, f"kubectl {line}\n{found.err}"
        return found.out

    async def step(self, step: dict[str, Any]) -> None:
        """Type one line of the table, and look at all that it says."""
        environment = {name: self.filled(value) for name, value in step.get("env", {}).items()}
        found = await self.run(step["run"], self.filled(step.get("stdin", "")).encode(), environment=environment)
        told = f"kubectl {step['run']}\nexit {found.code}\n{found.out}{found.err}"
        assert found.code == step.get("code", 0), told
        for text in step.get("shows", []):
            assert self.filled(text) in found.out + found.err, told
        for text in step.get("hides", []):
            assert self.filled(text) not in found.out + found.err, told


def request_of(user: str) -> str:
    """A certificate request as a CertificateSigningRequest carries it: PEM in base64."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, user)])
    made = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    return base64.b64encode(made.public_bytes(serialization.Encoding.PEM)).decode()


@contextlib.asynccontextmanager
async def toured(directory: Path) -> AsyncIterator[TlsApi]:
    """A control plane, and a node "n1" whose pods are said to run."""
    async with tls_api(directory, connect=lambda url: LoopbackTransport(kubelet)) as running:
        client = client_of(running.server)
        informers = Informers(client)
        config = ControllersConfig(
            authority=str(running.authority), node_grace_seconds=YEARS, node_startup_grace_seconds=YEARS
        )
        plane = (
            Controllers(client, config, informers=informers),
            Scheduler(client, informers=informers),
            FakeKubelet(client, informers),
        )
        task = asyncio.create_task(supervise(*plane, informers))
        addresses = [{"type": "InternalIP", "address": "10.0.0.9"}]
        machine = {"metadata": {"name": "n1"}, "status": node("n1")["status"] | {"addresses": addresses}}
        await client.create(NODES, machine)
        try:
            yield running
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


@contextlib.asynccontextmanager
async def room(api: TlsApi, name: str) -> AsyncIterator[str]:
    """A namespace in which pods can be made; it goes afterwards, so that the node has room for the next."""
    namespace = "".join(letter if letter.isalnum() else "-" for letter in name.lower()).strip("-")
    client = client_of(api.server)
    await client.create(NAMESPACES, {"metadata": {"name": namespace}})

    async def furnished() -> bool:
        accounts = await client.list(SERVICE_ACCOUNTS, namespace=namespace)
        return any(account["metadata"]["name"] == "default" for account in accounts.items)

    await until(furnished)
    try:
        yield namespace
    finally:
        await client.delete(NAMESPACES, Key("", namespace))
