"""Through to the kubelet: logs, exec, attach, port-forward; and to pods, services and nodes by proxy."""

import asyncio
import contextlib
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from pybernetes.api import resources
from pybernetes.api.errors import BadRequest, InternalError, NotFound, ServiceUnavailable, error_of
from pybernetes.api.objects import Obj, labels_of, name_of
from pybernetes.wire import Channel, Request, Response, Transport, Upgrade, offered, wants_upgrade

from .body_socket import chosen_protocol, log_socket
from .registry import Registry
from .route import Route

KUBELET_PORT = 10250
_FLAGS = {"stdin": "input", "stdout": "output", "stderr": "error", "tty": "tty"}
_LOG_FLAGS = ("follow", "previous", "sinceSeconds", "sinceTime", "timestamps", "tailLines", "limitBytes", "stream")
_HOP = frozenset(
    {
        *("connection", "keep-alive", "proxy-authenticate", "te", "trailer", "transfer-encoding", "upgrade", "host"),
        *("content-length", "authorization", "accept-encoding"),
    }
)

Connect = Callable[[str], Transport]
"""A transport to a base URL; https goes to kubelets, with the server's own certificate."""


class Kubelets:
    """Keeps one transport for each address."""

    def __init__(self, registry: Registry, connect: Connect) -> None:
        self._registry = registry
        self._connect = connect
        self._transports: dict[str, Transport] = {}
        self._rng = random.Random()

    async def close(self) -> None:
        transports, self._transports = list(self._transports.values()), {}
        for transport in transports:
            await transport.close()

    def _transport(self, url: str) -> Transport:
        found = self._transports.get(url)
        if found is None:
            found = self._transports[url] = self._connect(url)
        return found

    def _of_node(self, name: str) -> Transport:
        node = self._registry.read(resources.NODES, "", name)
        if node is None:
            raise NotFound.of("nodes", name)
        host, port = kubelet_address(node)
        return self._transport(f"https://{_bracketed(host)}:{port}")

    async def serve(self, request: Request, route: Route) -> Response:
        """log, exec, attach, portforward and proxy. Raises BadRequest, NotFound, ServiceUnavailable."""
        await self._registry.cache.fresh()
        if route.subresource == "proxy":
            return await self._proxy(request, route)
        pod = self._registry.read(resources.PODS, route.namespace, route.name)
        if pod is None:
            raise NotFound.of("pods", route.name)
        if route.subresource == "log":
            return await self._log(request, route, pod)
        return await self._stream(request, route, pod)

    async def _log(self, request: Request, route: Route, pod: Obj) -> Response:
        container = chosen_container(pod, request.param("container"))
        query = {name: request.query[name] for name in _LOG_FLAGS if request.query.get(name)}
        socket = request.headers.get("upgrade", "").lower() == "websocket"
        protocol = chosen_protocol(request) if socket else ""
        if not pod["spec"].get("nodeName"):
            return log_socket(protocol, b"") if socket else Response(headers={"content-type": "text/plain"}, body=b"")
        path = f"/containerLogs/{route.namespace}/{route.name}/{container}"
        answer = await self._ask(self._node(pod), Request(path=path, query=query, stream=True))
        if socket:
            return log_socket(protocol, answer.body)
        return Response(headers={"content-type": "text/plain"}, body=answer.body)

    async def _stream(self, request: Request, route: Route, pod: Obj) -> Response:
        if not wants_upgrade(request):
            raise BadRequest("Upgrade request required")
        query: dict[str, Sequence[str]] = {ours: ["1"] for theirs, ours in _FLAGS.items() if request.flag(theirs)}
        for name in ("command", "ports", "port"):
            if request.query.get(name):
                query[name] = request.query[name]
        path = f"/{route.subresource}/{route.namespace}/{route.name}"
        if route.subresource == "portforward":
            path = f"/portForward/{route.namespace}/{route.name}"
        else:
            path += "/" + chosen_container(pod, request.param("container"))
        node = pod["spec"].get("nodeName")
        if not node:
            raise BadRequest(f"pod {route.name} does not have a host assigned")
        return await self._upgrade(request, self._of_node(node), path, query)

    async def _upgrade(
        self, request: Request, transport: Transport, path: str, query: Mapping[str, Sequence[str]]
    ) -> Response:
        try:
            inner = await transport.connect(Request(path=path, query=query), protocols=offered(request))
        except (ConnectionError, TimeoutError) as error:
            raise InternalError(f"error dialing backend: {error}") from error

        async def run(outer: Channel) -> None:
            await join(outer, inner)

        return Response(upgrade=Upgrade(protocol=inner.protocol, run=run))

    def _node(self, pod: Obj) -> Transport:
        return self._of_node(pod["spec"]["nodeName"])

    async def _ask(self, transport: Transport, request: Request) -> Response:
        try:
            answer = await transport.send(request)
        except (ConnectionError, TimeoutError) as error:
            raise InternalError(f"error dialing backend: {error}") from error
        if answer.status >= 400:
            body = answer.body if isinstance(answer.body, bytes) else b"".join([part async for part in answer.body])
            raise error_of(answer.status, body)
        return answer

    async def _proxy(self, request: Request, route: Route) -> Response:
        """An HTTP request passed on as it is, to a pod, a service's endpoint or a kubelet."""
        transport = self._behind(route)
        headers = {name: value for name, value in request.headers.items() if name not in _HOP}
        passed = Request(
            method=request.method,
            path=route.tail or "/",
            query=request.query,
            headers=headers,
            body=request.body,
            stream=True,
        )
        try:
            answer = await transport.send(passed)
        except (ConnectionError, TimeoutError) as error:
            raise ServiceUnavailable(f"error trying to reach service: {error}") from error
        kept = {name: value for name, value in answer.headers.items() if name not in _HOP}
        if location := kept.get("location"):
            kept["location"] = behind_proxy(location, request.path.removesuffix(route.tail).rstrip("/"))
        return Response(status=answer.status, headers=kept, body=answer.body)

    def _behind(self, route: Route) -> Transport:
        assert route.resource is not None
        scheme, name, port = _split(route.name)
        if route.resource is resources.NODES:
            return self._of_node(name)
        if route.resource is resources.PODS:
            pod = self._registry.read(resources.PODS, route.namespace, name)
            if pod is None:
                raise NotFound.of("pods", name)
            address = (pod.get("status") or {}).get("podIP")
            if not address:
                raise BadRequest("address not allowed")
            number = int(port) if port.isdigit() else _first_port(pod, port)
            return self._transport(f"{scheme}://{_bracketed(address)}:{number}")
        address, number = self._endpoint(route.namespace, name, port)
        return self._transport(f"{scheme}://{_bracketed(address)}:{number}")

    def _endpoint(self, namespace: str, name: str, port: str) -> tuple[str, int]:
        """A ready endpoint of a service's port, named or numbered."""
        service = self._registry.read(resources.SERVICES, namespace, name)
        if service is None:
            raise NotFound.of("services", name)
        ports = (service.get("spec") or {}).get("ports") or []
        wanted = next((one for one in ports if port in ("", one.get("name"), str(one.get("port")))), None)
        if wanted is None:
            raise ServiceUnavailable(f'no service port "{port}" found for service "{name}"')
        found = []
        for piece in self._registry.select(resources.ENDPOINT_SLICES, namespace):
            if labels_of(piece).get("kubernetes.io/service-name") == name:
                found += _ready(piece, wanted.get("name") or "")
        if not found:
            raise ServiceUnavailable(f'no endpoints available for service "{name}"')
        return self._rng.choice(found)


def behind_proxy(location: str, base: str) -> str:
    """Where a redirect leads for who came by the proxy at `base`; to another host, or relative, it stays as it is."""
    parts = urlsplit(location)
    if parts.netloc or not parts.path.startswith("/") or parts.path.startswith(f"{base}/"):
        return location
    return urlunsplit(parts._replace(path=base + parts.path))


def _ready(piece: Obj, port_name: str) -> list[tuple[str, int]]:
    numbers = [
        one["port"] for one in piece.get("ports") or () if (one.get("name") or "") == port_name and one.get("port")
    ]
    ready = [one for one in piece.get("endpoints") or () if (one.get("conditions") or {}).get("ready", True)]
    return [(one["addresses"][0], number) for one in ready for number in numbers]


def _split(name: str) -> tuple[str, str, str]:
    """scheme, name and port of "[https:]name[:port]"."""
    parts = name.split(":")
    if len(parts) == 3:
        return parts[0] or "http", parts[1], parts[2]
    return "http", parts[0], parts[1] if len(parts) == 2 else ""


def _first_port(pod: Obj, name: str) -> int:
    for container in (pod.get("spec") or {}).get("containers") or ():
        for port in container.get("ports") or ():
            if name in ("", port.get("name")) and port.get("protocol", "TCP") == "TCP":
                return int(port["containerPort"])
    if name:
        raise BadRequest(f'pod {name_of(pod)} has no port "{name}"')
    return 80


def kubelet_address(node: Obj) -> tuple[str, int]:
    """Where a node's kubelet answers."""
    status: Mapping[str, Any] = node.get("status") or {}
    addresses = {one.get("type"): one.get("address") for one in reversed(status.get("addresses") or [])}
    for kind in ("InternalIP", "Hostname", "ExternalIP"):
        if addresses.get(kind):
            port = ((status.get("daemonEndpoints") or {}).get("kubeletEndpoint") or {}).get("Port") or KUBELET_PORT
            return str(addresses[kind]), int(port)
    raise ServiceUnavailable(f"no preferred addresses found; known addresses: {status.get('addresses') or []}")


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def chosen_container(pod: Obj, asked: str) -> str:
    """The container a request means. Raises BadRequest when it says none of several, or one that is not there."""
    spec = pod.get("spec") or {}
    names = [one["name"] for one in spec.get("containers") or ()]
    inits = [one["name"] for one in spec.get("initContainers") or ()]
    others = [one["name"] for one in spec.get("ephemeralContainers") or ()]
    if not asked:
        if len(names) == 1:
            return str(names[0])
        text = f"a container name must be specified for pod {name_of(pod)}, choose one of: [{' '.join(names)}]"
        if inits:
            text += f" or one of the init containers: [{' '.join(inits)}]"
        raise BadRequest(text)
    if asked not in (*names, *inits, *others):
        raise BadRequest(f"container {asked} is not valid for pod {name_of(pod)}")
    return asked


async def join(one: Channel, other: Channel) -> None:
    """Pass messages both ways until either end closes."""

    async def copy(source: Channel, target: Channel) -> None:
        with contextlib.suppress(ConnectionError):
            while (message := await source.receive()) is not None:
                await target.send(message)

    tasks = [asyncio.create_task(copy(one, other)), asyncio.create_task(copy(other, one))]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await one.close()
        await other.close()
