"""Through to the kubelet: logs, exec, attach, port-forward; proxies (proxy.py) use the same road to nodes."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from pybernetes.api import ranges, resources
from pybernetes.api.errors import BadRequest, FieldError, InternalError, Invalid, NotFound, ServiceUnavailable, error_of
from pybernetes.api.objects import Obj, name_of
from pybernetes.wire import Channel, RawTransport, Request, Response, Transport, Upgrade, offered, wants_upgrade

from .body_socket import chosen_protocol, log_socket
from .proxy import Place, Proxy, Reach, join
from .registry import Registry
from .route import Route

KUBELET_PORT = 10250
_FLAGS = {"stdin": "input", "stdout": "output", "stderr": "error", "tty": "tty"}
_LOG_FLAGS = ("follow", "previous", "sinceSeconds", "sinceTime", "timestamps", "tailLines", "limitBytes", "stream")
_LOG_STREAMS = ("All", "Stderr", "Stdout")
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")
Connect = Callable[[str], RawTransport]
"""A transport to the base URL of a kubelet."""


class Kubelets:
    """Keeps one transport for each address."""

    def __init__(self, registry: Registry, connect: Connect, reach: Reach) -> None:
        """`connect` goes to kubelets, with this server's certificate; `reach` to pods."""
        self._registry = registry
        self._connect = connect
        self._transports: dict[str, RawTransport] = {}
        self._proxy = Proxy(registry, kubelet=self._place, reach=reach)

    async def close(self) -> None:
        transports, self._transports = list(self._transports.values()), {}
        for transport in transports:
            await transport.close()

    def _transport(self, url: str) -> RawTransport:
        found = self._transports.get(url)
        if found is None:
            found = self._transports[url] = self._connect(url)
        return found

    def _of_node(self, name: str) -> Transport:
        return self._place(name).transport

    def _place(self, name: str) -> Place:
        node = self._registry.read(resources.NODES, "", name)
        if node is None:
            raise NotFound.of("nodes", name)
        host, port = kubelet_address(node)
        authority = ranges.host_port(host, port)
        return Place(self._transport(f"https://{authority}"), authority)

    async def serve(self, request: Request, route: Route) -> Response:
        """log, exec, attach, portforward and proxy. Raises BadRequest, NotFound, ServiceUnavailable."""
        await self._registry.cache.fresh()
        if route.subresource == "proxy":
            return await self._proxy.serve(request, route)
        pod = self._registry.read(resources.PODS, route.namespace, route.name)
        if pod is None:
            raise NotFound.of("pods", route.name)
        if route.subresource == "log":
            return await self._log(request, route, pod)
        return await self._stream(request, route, pod)

    async def _log(self, request: Request, route: Route, pod: Obj) -> Response:
        if problems := list(log_problems(request)):
            raise Invalid.of("PodLogOptions", route.name, problems)
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


def log_problems(request: Request) -> Iterator[FieldError]:
    """What is wrong with the options of a log (ValidatePodLogOptions). Raises BadRequest for what is no number."""
    lines, size, seconds = (_whole(request, name) for name in ("tailLines", "limitBytes", "sinceSeconds"))
    if lines is not None and lines < 0:
        yield FieldError.invalid("tailLines", lines, "must be greater than or equal to 0")
    if size is not None and size < 1:
        yield FieldError.invalid("limitBytes", size, "must be greater than 0")
    if seconds is not None and request.param("sinceTime"):
        yield FieldError.forbidden("", "at most one of `sinceTime` or `sinceSeconds` may be specified")
    elif seconds is not None and seconds < 1:
        yield FieldError.invalid("sinceSeconds", seconds, "must be greater than 0")
    if stream := request.param("stream"):
        if stream not in _LOG_STREAMS:
            yield FieldError.not_supported("stream", stream, _LOG_STREAMS)
        if stream != "All" and lines is not None:
            yield FieldError.forbidden("", "`tailLines` and specific `stream` are mutually exclusive for now")


def _whole(request: Request, name: str) -> int | None:
    text = request.param(name)
    if not text:
        return None
    if not _INTEGER.fullmatch(text):
        raise BadRequest(f'strconv.ParseInt: parsing "{text}": invalid syntax')
    return int(text)


def kubelet_address(node: Obj) -> tuple[str, int]:
    """Where a node's kubelet answers."""
    status: Mapping[str, Any] = node.get("status") or {}
    addresses = {one.get("type"): one.get("address") for one in reversed(status.get("addresses") or [])}
    for kind in ("InternalIP", "Hostname", "ExternalIP"):
        if addresses.get(kind):
            port = ((status.get("daemonEndpoints") or {}).get("kubeletEndpoint") or {}).get("Port") or KUBELET_PORT
            return str(addresses[kind]), int(port)
    raise ServiceUnavailable(f"no preferred addresses found; known addresses: {status.get('addresses') or []}")


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
