"""A generated cluster for bench/proxy.py: Services and their slices, streamed as by the API; changes on demand."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

from pybernetes.api.objects import Obj, encode
from pybernetes.api.resources import ENDPOINT_SLICES, SERVICES
from pybernetes.wire import Channel, Request, Response

_END = {"metadata": {"resourceVersion": "1", "annotations": {"k8s.io/initial-events-end": "true"}}}


def address(number: int) -> str:
    """The cluster IP of a Service: 10.96.0.0/16 from .1.0 on."""
    return f"10.96.{1 + (number >> 8)}.{number & 255}"


def service(number: int) -> Obj:
    port = {"name": "http", "protocol": "TCP", "port": 80, "targetPort": 8080}
    meta = {"name": f"svc-{number}", "namespace": "default", "resourceVersion": "1", "uid": f"s{number}"}
    return {"metadata": meta, "spec": {"clusterIPs": [address(number)], "ports": [port]}}


def pod(number: int, slot: int) -> str:
    place = (number * 10 + slot) % 60_000
    return f"10.244.{place >> 8}.{place & 255}"


def endpoint_slice(number: int, size: int, *, other: int = 0, revision: int = 1) -> Obj:
    """`other` puts another pod in the first endpoint's place."""
    meta = {
        "name": f"svc-{number}-a", "namespace": "default", "resourceVersion": str(revision), "uid": f"e{number}",
        "labels": {"kubernetes.io/service-name": f"svc-{number}"},
    }  # fmt: skip
    pods = [pod(number, slot) for slot in range(size)]
    pods[0] = f"10.245.0.{other}" if other else pods[0]
    endpoints = [
        {"addresses": [each], "nodeName": f"node-{slot % 3}", "conditions": {"ready": True}}
        for slot, each in enumerate(pods)
    ]
    ports = [{"name": "http", "protocol": "TCP", "port": 8080}]
    return {"metadata": meta, "addressType": "IPv4", "endpoints": endpoints, "ports": ports}


class Generated:
    """A Transport that streams the generated cluster, then the slices that `change` puts there."""

    def __init__(self, services: int, endpoints: int) -> None:
        self.services = services
        self.endpoints = endpoints
        self._later: dict[str, asyncio.Queue[bytes]] = {}

    async def send(self, request: Request) -> Response:
        return Response(body=self._lines(request.path.rsplit("/", 1)[-1]))

    async def _lines(self, plural: str) -> AsyncIterator[bytes]:
        queue = self._later[plural] = asyncio.Queue()
        kinds: dict[str, Callable[[int], Obj]] = {
            SERVICES.plural: service,
            ENDPOINT_SLICES.plural: lambda number: endpoint_slice(number, self.endpoints),
        }
        made = kinds.get(plural)
        if made is not None:
            for start in range(0, self.services, 100):
                numbers = range(start, min(start + 100, self.services))
                yield b"".join([line("ADDED", made(number)) for number in numbers])
        yield line("BOOKMARK", _END)
        while True:
            yield await queue.get()

    def change(self, obj: Obj) -> None:
        self._later[ENDPOINT_SLICES.plural].put_nowait(line("MODIFIED", obj))

    async def connect(self, request: Request, *, protocols: Any) -> Channel:
        raise NotImplementedError

    async def close(self) -> None: ...


def line(kind: str, obj: Obj) -> bytes:
    return encode({"type": kind, "object": obj}) + b"\n"
