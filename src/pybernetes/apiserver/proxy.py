"""The proxy subresource: requests passed on to a pod, to an endpoint of a Service or to a kubelet, as they come.

Bodies stream both ways, upgrades become a connection of bytes, links in answers are made to lead back through here.
Source: apimachinery/pkg/util/proxy, and ResourceLocation of pods, services and nodes.
"""

import asyncio
import contextlib
import ipaddress
import posixpath
import random
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple
from urllib.parse import unquote, unquote_to_bytes

from pybernetes.api import resources
from pybernetes.api.errors import ApiError, BadRequest, NotFound, ServiceUnavailable
from pybernetes.api.objects import Obj, labels_of, name_of, namespace_of
from pybernetes.wire import Channel, RawTransport, Request, Response, Upgrade
from pybernetes.wire.answer import goes_on
from pybernetes.wire.url import as_came, shown

from .links import Behind, RewrittenHtml, packing
from .registry import Registry
from .route import Route

Reach = Callable[[str], RawTransport]
"""A transport to a base URL, which nobody has to close."""

_SCHEMES = ("", "http", "https")
_PORTS = {"http": 80, "https": 443}
_OURS = ("impersonate-", "proxy-")
"""Headers that begin so are for this server."""


class Place(NamedTuple):
    """Where a request goes; `authority` is host and port."""

    transport: RawTransport
    authority: str


class Asked(NamedTuple):
    """The name in a request: "[https:]name[:port]"."""

    scheme: str
    name: str
    port: str

    @classmethod
    def of(cls, text: str, kind: str) -> "Asked":
        """Raises BadRequest."""
        parts = text.split(":")
        if len(parts) == 3:
            scheme, name, port = parts
        elif len(parts) == 2:
            scheme, name, port = "", *parts
        else:
            scheme, name, port = "", text, ""
        if not name or scheme not in _SCHEMES or len(parts) > 3:
            raise BadRequest(f'invalid {kind} request "{text}"')
        return cls(scheme or "http", name, port)


class Proxy:
    """`kubelet` tells a node's transport and its authority (raises NotFound, ServiceUnavailable)."""

    def __init__(self, registry: Registry, *, kubelet: Callable[[str], Place], reach: Reach) -> None:
        self._registry = registry
        self._kubelet = kubelet
        self._reach = reach
        self._rng = random.Random()

    async def serve(self, request: Request, route: Route) -> Response:
        """Raises BadRequest, NotFound, ServiceUnavailable."""
        place = self._place(route)
        behind = Behind(request.path.removesuffix(route.tail), place.authority, request.headers.get("host", ""))
        path, query = _passed(request, behind.prefix), as_came(request)[1]
        target = (path or "/") + (f"?{query}" if query else "")
        headers = _sent(request, behind, path or "/")
        if _upgrades(request):
            return await self._spliced(request, place, target, headers)
        if not path and request.method in ("GET", "HEAD"):
            return _slashed(request)
        passed = Request(
            method=request.method,
            path=unquote(path or "/"),
            query=request.query,
            target=target,
            headers=headers,
            body=request.body,
            upload=request.upload,
            stream=True,
            patient=True,
        )
        try:
            answer = await place.transport.send(passed)
        except (ConnectionError, TimeoutError) as error:
            raise unreachable(error) from error
        return _returned(answer, behind)

    async def _spliced(self, request: Request, place: Place, target: str, headers: dict[str, str]) -> Response:
        """An upgrade: the connection is theirs once the backend has agreed."""
        wanted = {name: request.headers[name] for name in request.headers if name.startswith("sec-websocket-")}
        headers |= wanted | {"connection": "Upgrade", "upgrade": request.headers["upgrade"]}
        try:
            spliced = await place.transport.splice(Request(method=request.method, target=target, headers=headers))
        except (ConnectionError, TimeoutError) as error:
            raise unreachable(error) from error
        answer, inner = spliced
        if inner is None:
            return _not_upgraded(answer)

        async def run(outer: Channel) -> None:
            await join(outer, inner)

        return Response(upgrade=Upgrade(protocol="", run=run, headers=answer.headers))

    # Places

    def _place(self, route: Route) -> Place:
        if route.resource is resources.NODES:
            return self._node(Asked.of(route.name, "node"))
        if route.resource is resources.PODS:
            return self._pod(Asked.of(route.name, "pod"), route.namespace)
        return self._service(route.name, Asked.of(route.name, "service"), route.namespace)

    def _at(self, scheme: str, host: str, port: int) -> Place:
        """Raises BadRequest for addresses that are the server's own, or nobody's."""
        if not proxyable(host):
            raise BadRequest("address not allowed")
        authority = f"[{host}]" if ":" in host else host
        if port != _PORTS[scheme]:
            authority += f":{port}"
        return Place(self._reach(f"{scheme}://{authority}"), authority)

    def _node(self, asked: Asked) -> Place:
        place = self._kubelet(asked.name)
        host, _, port = place.authority.rpartition(":")
        if asked.port in ("", port):
            return place
        return self._at(asked.scheme, host.strip("[]"), _number(asked.port))

    def _pod(self, asked: Asked, namespace: str) -> Place:
        pod = self._registry.read(resources.PODS, namespace, asked.name)
        if pod is None:
            raise NotFound.of("pods", asked.name)
        address = (pod.get("status") or {}).get("podIP") or ""
        port = asked.port
        number = int(port) if port.isdecimal() else _container_port(pod, port) or _PORTS[asked.scheme]
        return self._at(asked.scheme, address, number)

    def _service(self, text: str, asked: Asked, namespace: str) -> Place:
        """A ready endpoint, at random; its pod must have the address, so that nobody reaches others by an endpoint."""
        name, port = asked.name, asked.port
        service = self._registry.read(resources.SERVICES, namespace, name)
        if service is None:
            raise NotFound.of("services", name)
        if port.isdecimal():
            ports = (service.get("spec") or {}).get("ports") or ()
            found = next((one for one in ports if one.get("port") == int(port)), None)
            if found is None:
                raise ServiceUnavailable(f'no service port {int(port)} found for service "{name}"')
            port = found.get("name") or ""
        places = [
            place
            for piece in self._registry.select(resources.ENDPOINT_SLICES, namespace)
            if labels_of(piece).get("kubernetes.io/service-name") == name
            for place in self._ready(piece, port)
        ]
        if not places:
            raise ServiceUnavailable(f'no endpoints available for service "{text}"')
        address, number = self._rng.choice(places)
        return self._at(asked.scheme, address, number)

    def _ready(self, piece: Obj, port_name: str) -> Iterable[tuple[str, int]]:
        numbers = [one.get("port") for one in piece.get("ports") or () if (one.get("name") or "") == port_name]
        for endpoint in piece.get("endpoints") or ():
            if (endpoint.get("conditions") or {}).get("ready", True) and self._is_pods(endpoint, piece):
                yield from ((endpoint["addresses"][0], number) for number in numbers if number)

    def _is_pods(self, endpoint: Obj, piece: Obj) -> bool:
        target = endpoint.get("targetRef") or {}
        namespace = namespace_of(piece)
        if target.get("kind") != "Pod" or target.get("namespace", namespace) != namespace:
            return False
        pod = self._registry.read(resources.PODS, namespace, target.get("name", ""))
        addresses = ((pod or {}).get("status") or {}).get("podIPs") or ()
        return endpoint["addresses"][0] in {one.get("ip") for one in addresses}


def unreachable(error: Exception) -> ServiceUnavailable:
    return ServiceUnavailable(f"error trying to reach service: {error}")


def proxyable(address: str) -> bool:
    """Whether requests may be passed on to an IP address: not to this host itself, nor to what only it can reach."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    found = getattr(found, "ipv4_mapped", None) or found
    return not (found.is_loopback or found.is_link_local or found.is_multicast or found.is_unspecified)


def _number(port: str) -> int:
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise BadRequest(f'invalid port "{port}"')
    return int(port)


def _container_port(pod: Obj, name: str) -> int | None:
    """The first TCP port, or the one of that name. Raises BadRequest."""
    for container in (pod.get("spec") or {}).get("containers") or ():
        for port in container.get("ports") or ():
            if name in ("", port.get("name")) and port.get("protocol", "TCP") == "TCP":
                return int(port["containerPort"])
    if name:
        raise BadRequest(f'pod {name_of(pod)} has no port "{name}"')
    return None


def _passed(request: Request, prefix: str) -> str:
    """The path behind a proxy: decoded, joined as Go's path.Join does, and encoded anew; "" for none.

    So no escape hides a step out of it, to whoever is there: what is passed on is what was decided about.
    """
    behind = request.path[len(prefix) :]
    whole = request.path.encode() if request.raw is None else unquote_to_bytes(request.raw[0])
    parts = whole.split(b"/")[-behind.count("/") :] if behind else []
    if not parts:
        return ""
    path = posixpath.normpath(b"/" + b"/".join(parts).lstrip(b"/"))
    return shown(path if path.endswith(b"/") or not whole.endswith(b"/") else path + b"/")


def _slashed(request: Request) -> Response:
    """Relative links of a page work only below a path with a slash (https://issue.k8s.io/4958)."""
    query = as_came(request)[1]
    return Response(status=301, headers={"location": f"{shown(request.path)}/{f'?{query}' if query else ''}"})


def _upgrades(request: Request) -> bool:
    tokens = request.headers.get("connection", "").lower().split(",")
    return "upgrade" in (token.strip() for token in tokens) and bool(request.headers.get("upgrade"))


def _kept(headers: Mapping[str, str]) -> dict[str, str]:
    """What is for the other end, not for this connection (RFC 9110 section 7.6.1)."""
    named = {name.strip().lower() for name in headers.get("connection", "").split(",")}
    return {name: value for name, value in headers.items() if goes_on(name) and name not in named}


def _sent(request: Request, behind: Behind, path: str) -> dict[str, str]:
    """The request's headers as the backend sees them: without credentials, with where the request came from."""
    headers = {name: value for name, value in _kept(request.headers).items() if not name.startswith(_OURS)}
    headers.pop("authorization", None)
    address = request.peer.address.rpartition(":")[0].strip("[]")
    before = headers.get("x-forwarded-for")
    headers["x-forwarded-for"] = f"{before}, {address}" if before else address
    headers["x-forwarded-uri"] = shown(behind.prefix) + path
    headers.setdefault("x-forwarded-proto", "https")
    if behind.asked:
        headers.setdefault("x-forwarded-host", behind.asked)
    return headers


def _returned(answer: Response, behind: Behind) -> Response:
    headers, body, length = _kept(answer.headers), answer.body, answer.length
    if answer.status in (204, 304):
        length = None
    if location := headers.get("location"):
        headers["location"] = behind.url(location)
    elif not isinstance(body, bytes) and headers.get("content-type", "").partition(";")[0].strip() == "text/html":
        coding = packing(headers.get("content-encoding", ""))
        if coding is not None:
            body, length = RewrittenHtml(body, behind.url, coding), None
    return Response(status=answer.status, headers=headers, body=body, length=length)


def _not_upgraded(answer: Response) -> Response:
    """A refusal is passed on. Raises ApiError for another answer, which is none to an upgrade."""
    if answer.status >= 400:
        return Response(status=answer.status, headers=_kept(answer.headers), body=answer.body)
    text = f"invalid upgrade response: status code {answer.status}"
    raise ApiError(text, status=ApiError(text).status | {"code": 502, "reason": "BadGateway"})


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
