"""Webhook servers over TLS on a loopback port, and the clientConfigs that lead to them."""

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from pybernetes.api import resources
from pybernetes.api.objects import Obj
from pybernetes.api.resources import Resource
from pybernetes.pki import Authority
from pybernetes.wire import Handler
from pybernetes.wire.serve import Server, TlsFiles


class FakeReader:
    """Objects by row, namespace and name."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str, str], Obj] = {}

    def read(self, row: Resource, namespace: str, name: str) -> Obj | None:
        return self.objects.get((row.plural, namespace, name))

    def select(self, row: Resource, namespace: str = "") -> list[Obj]:
        return [one for (plural, where, _), one in self.objects.items() if plural == row.plural and where == namespace]

    def service(self, name: str, *, port: int, endpoints: list[tuple[str, int]], ready: bool = True) -> None:
        """A Service in namespace "hooks", and one slice for each of its endpoints."""
        meta: Obj = {"namespace": "hooks", "name": name}
        spec = {"ports": [{"name": "https", "port": port}, {"name": "other", "port": 1}]}
        self.objects[(resources.SERVICES.plural, "hooks", name)] = {"metadata": meta, "spec": spec}
        for index, (address, number) in enumerate(endpoints):
            piece = {
                "metadata": {"namespace": "hooks", "labels": {"kubernetes.io/service-name": name}},
                "ports": [{"name": "https", "port": number}, {"name": "other", "port": 9}],
                "endpoints": [{"addresses": [address], "conditions": {"ready": ready}}],
            }
            self.objects[(resources.ENDPOINT_SLICES.plural, "hooks", f"{name}-{index}")] = piece


class Hooks:
    """Serves handlers with certificates of one authority."""

    def __init__(self, directory: Path) -> None:
        self.authority = Authority.ensure(directory)

    @property
    def bundle(self) -> str:
        return base64.b64encode(Path(self.authority.certificate).read_bytes()).decode()

    def of_service(self, name: str, **fields: Any) -> Obj:
        """A clientConfig of the service in namespace "hooks"."""
        return {"caBundle": self.bundle, "service": {"namespace": "hooks", "name": name} | fields}

    @asynccontextmanager
    async def serving(self, handler: Handler, *, name: str = "hook.hooks.svc") -> AsyncIterator[int]:
        """The port of a running server that shows a certificate for `name` (and 127.0.0.1)."""
        pair = self.authority.issue(name, user=name, dns=[name], addresses=["127.0.0.1"], server=True, client=False)
        tls = TlsFiles(pair.certificate, pair.key)
        async with Server(handler, listen=[("127.0.0.1", 0)], tls=tls) as server:
            yield server.addresses[0][1]


@pytest.fixture
def hooks(tmp_path: Path) -> Hooks:
    return Hooks(tmp_path / "pki")


@pytest.fixture
def reader() -> FakeReader:
    return FakeReader()
